"""`manage.py create_tenant`: a tenant with its stages and workers, and its first admin."""

from __future__ import annotations

import secrets
from typing import Any

from django.contrib.auth.hashers import make_password
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.core.validators import validate_email
from django.db import transaction

from campaigns.actions_tenants import SlugTaken, add_member, create_tenant, make_user
from tenants.models import User


class Command(BaseCommand):
    """The one way to make a tenant."""

    help = "Make a tenant, its stages and workers, and its first admin."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("slug", help="short name in addresses: /t/<slug>/")
        parser.add_argument("--name", required=True, help="name to show")
        parser.add_argument("--admin-email", required=True, help="the first admin's address")
        parser.add_argument("--admin-name", default="", help="the first admin's name")
        parser.add_argument("--time-zone", default="America/New_York")

    def handle(self, *args: Any, **options: Any) -> None:
        email = options["admin_email"].strip().lower()
        try:
            validate_email(email)
            with transaction.atomic():
                password = self.make(options, email)
        except SlugTaken as refusal:
            raise CommandError(str(refusal)) from refusal
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from error
        self.stdout.write(f"{options['name']} is ready at /t/{options['slug']}/")
        if password:
            self.stdout.write(f"Log in as {email} with the password {password} and change it.")
        else:
            self.stdout.write(f"{email} had a login already and is now its admin.")

    def make(self, options: dict[str, Any], email: str) -> str:
        """Make tenant and admin; return the new password, or nothing for a known person."""
        tenant = create_tenant(
            slug=options["slug"], name=options["name"], time_zone=options["time_zone"]
        )
        user = User.objects.filter(username=email).first()
        password = "" if user else secrets.token_urlsafe(12)
        user = user or make_user(
            username=email,
            name=options["admin_name"] or email.partition("@")[0],
            email=email,
            password_hash=make_password(password),
            is_staff=True,
        )
        add_member(tenant.pk, user=user, role="tenant_admin", name=options["admin_name"])
        return password
