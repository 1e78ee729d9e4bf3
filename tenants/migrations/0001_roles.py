from django.db import migrations

from tenants.sql import run_sql_file


class Migration(migrations.Migration):
    """Before every other migration of every app: default privileges bind what comes after."""

    initial = True
    run_before = [
        ("contenttypes", "0001_initial"),
        ("django_q", "0001_initial"),
        ("sessions", "0001_initial"),
        ("axes", "0001_initial"),
    ]
    operations = [
        run_sql_file(__file__, reverse_sql="DROP FUNCTION refuse_change(), ulid_text(text, uuid), ulid_new();")
    ]
