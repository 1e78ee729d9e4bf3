"""The contact rules of a tenant."""

from __future__ import annotations

from django.db import connection

from leads.actions import owner


def seed_contact_rules() -> None:
    """Give the running tenant the rules that every tenant starts with, if it has none."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT seed_contact_rules(%s)", [owner()])
