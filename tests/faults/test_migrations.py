"""Migrations beside a running system: they wait for no lock, and the linter finds what would."""

from __future__ import annotations

import time

import psycopg
import pytest
from django.apps import apps
from django.conf import settings
from django.core.management import call_command
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.db.models.signals import pre_migrate

from tenants.management.commands.migrate import LOCK_TIMEOUT
from tests.faults.migrations import HOT, faults_of
from tests.raw import connected

#: Released while no system ran yet: they may stay as they are.
GRANDFATHERED = {
    ("integrations", "0004_repair"),
    ("integrations", "0006_work"),
    ("leads", "0003_registry"),
    ("leads", "0004_registry_sql"),
    ("messaging", "0002_sending"),
    ("messaging", "0004_number_health"),
    ("messaging", "0005_claims"),
    ("messaging", "0006_webhook_hints"),
    ("messaging", "0008_consent_gate"),
}


def statements_of_every_migration():
    loader = MigrationLoader(connection, replace_migrations=False)
    for app, name in sorted(loader.disk_migrations):
        if app in settings.LOCAL_APPS:
            plan = [(loader.disk_migrations[app, name], False)]
            sql = "\n".join(loader.collect_sql(plan))
            yield app, name, sql, loader.disk_migrations[app, name].atomic


@pytest.mark.django_db(transaction=True)  # some indexes are made outside of any
def test_fault_54_no_migration_locks_a_hot_table():
    seen = set()
    for app, name, sql, _ in statements_of_every_migration():
        faults = faults_of(sql)
        if (app, name) in GRANDFATHERED:
            seen |= {(app, name)} if faults else set()
            continue
        assert faults == [], f"{app}.{name}"
    assert seen == GRANDFATHERED, "take out of the list what needs no exception"


def test_fault_54_hot_tables_exist():
    tables = {model._meta.db_table for model in apps.get_models()}

    assert tables >= HOT


@pytest.mark.parametrize(
    ("sql", "fault"),
    [
        ("CREATE INDEX i ON leads (stage);", "CONCURRENTLY"),
        ('CREATE UNIQUE INDEX "i" ON "leads" ("stage");', "CONCURRENTLY"),
        ("CREATE INDEX CONCURRENTLY i ON leads (stage);", ""),
        ("CREATE INDEX i ON labels (key);", ""),
        ("CREATE TABLE leads (id uuid); CREATE INDEX i ON leads (id);", ""),
        ("ALTER TABLE leads ADD CONSTRAINT c CHECK (a > 0);", "NOT VALID"),
        ("ALTER TABLE leads ADD CONSTRAINT c CHECK (a > 0) NOT VALID;", ""),
        ("ALTER TABLE leads VALIDATE CONSTRAINT c;", ""),
        ('ALTER TABLE "leads" ADD CONSTRAINT "f" FOREIGN KEY (a) REFERENCES b (a);', "NOT VALID"),
        ("ALTER TABLE leads ADD CONSTRAINT u UNIQUE (a);", "USING INDEX"),
        ("ALTER TABLE leads ADD CONSTRAINT u UNIQUE USING INDEX i;", ""),
        ("ALTER TABLE leads ALTER COLUMN a SET NOT NULL;", "SET NOT NULL"),
        ("ALTER TABLE leads ALTER COLUMN a TYPE bigint;", "rewritten"),
        ("ALTER TABLE leads DROP COLUMN a;", "dropped"),
        ("ALTER TABLE leads ADD COLUMN a uuid DEFAULT gen_random_uuid();", "rewrites"),
        ("ALTER TABLE leads ADD COLUMN a text DEFAULT '' NOT NULL;", ""),
        ("UPDATE leads SET a = 1;", "all at once"),
        ("CREATE FUNCTION f() RETURNS void LANGUAGE sql AS $$ UPDATE leads SET a = 1 $$;", ""),
        ("-- UPDATE leads SET a = 1;\nSELECT 1;", ""),
    ],
)
def test_fault_54_the_linter_knows(sql, fault):
    found = faults_of(sql)

    assert bool(found) == bool(fault)
    assert all(fault in one for one in found)


@pytest.mark.django_db(transaction=True)
def test_fault_54_a_migration_waits_for_no_lock():
    """`migrate` has a lock timeout: what cannot lock a table fails before a queue has formed."""
    said = []

    def ask(**_):
        with connection.cursor() as cursor:
            cursor.execute("SHOW lock_timeout")
            said.append(cursor.fetchone()[0])
            with connected(as_owner=True) as report:
                report.execute("SELECT count(*) FROM leads")
                began = time.monotonic()
                try:
                    cursor.execute("ALTER TABLE leads ADD COLUMN never text")
                except Exception as error:
                    said.append(type(error.__cause__))
                said.append(time.monotonic() - began < 5)

    pre_migrate.connect(ask, sender=apps.get_app_config("leads"), weak=False)
    try:
        call_command("migrate", verbosity=0)
    finally:
        pre_migrate.disconnect(ask, sender=apps.get_app_config("leads"))

    assert said == [LOCK_TIMEOUT, psycopg.errors.LockNotAvailable, True]
    with connection.cursor() as cursor:
        cursor.execute("SHOW lock_timeout")
        assert cursor.fetchone()[0] == "0"  # the application's sessions are their own
