"""Rules about the project itself: history, SQL files, migrations, and the one door of a write."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import psycopg
import pytest
from django.apps import apps
from django.conf import settings
from django.core.management import call_command
from django.db import connection
from django.db.migrations import RunSQL
from django.db.migrations.loader import MigrationLoader

from integrations.providers import providers
from leads.actions import create_lead, record_event
from leads.models import Lead, Redaction
from messaging.actions.dossiers import export_dossier
from messaging.actions.sending import send_reply
from messaging.models import SendAttempt
from messaging.outcomes import Outcome, record_outcome
from messaging.sender import claim
from tenants.models import AuditEntry, ChildModel, TenantModel
from tenants.sql import run_sql_file
from tenants.ulids import to_uuid
from tests.admin_world import fill_lead_records, fill_vendor_records
from tests.conftest import THEIRS, drain
from tests.raw import connected
from tests.test_catalog import APPEND_ONLY

ROOT = Path(settings.BASE_DIR)
PYTHON = [
    path for app in [*settings.LOCAL_APPS, "config"] for path in sorted((ROOT / app).rglob("*.py"))
]
MODULES = [path for path in PYTHON if "migrations" not in path.parts]


def local_models():
    for label in settings.LOCAL_APPS:
        yield from apps.get_app_config(label).get_models()


# --- history ----------------------------------------------------------------------------------


def queue(office):
    """Queue an agent's answer to a text."""
    message = office.receive("hello", theirs="+12025550177")
    with office.inside():
        return send_reply(
            message.conversation_id, body="Hi", actor_id=office.agent.pk, send_key="click-0001"
        )


@pytest.fixture
def lived_in(committed_office):
    """An office where something happened in every append-only table."""
    office = committed_office
    office.receive("STOP")
    with office.inside():
        export_dossier(THEIRS, tenant=office.tenant, actor=office.agent)
        Redaction.objects.create(digest="erased:0", reason="test")
    office.post(b"{", headers={})
    outbound = queue(office)
    claim(office.tenant.pk, most=5)
    with office.inside():
        record_outcome(outbound.pk, 1, Outcome(kind="accepted", source="call"))
        record_event(outbound.lead_id, kind="note")
        AuditEntry.objects.create(action="test")
        lead, twin = Lead.objects.get(pk=outbound.lead_id), create_lead(full_name="Twin")
        fill_lead_records(office, lead, twin, "TEST")
        fill_vendor_records(office, lead, "TEST")
    office.post(office.payload("x") | {"identifier": None})
    drain()
    return office


@pytest.mark.django_db(transaction=True)
def test_no_row_of_history_is_changed_or_deleted_by_app_or_owner(lived_in):
    for as_owner, code in ((False, "42501"), (True, "LD010")):
        with connected(as_owner=as_owner) as own:
            for table in sorted(APPEND_ONLY):
                own.execute(
                    "SELECT set_config('app.tenant_id', %s, true)",
                    [str(to_uuid(lived_in.tenant.pk))],
                )
                assert own.execute(f"SELECT FROM {table} LIMIT 1").fetchone() is not None, table
                for sentence in (
                    f"UPDATE {table} SET tenant_id = tenant_id",
                    f"DELETE FROM {table}",
                ):
                    with pytest.raises(psycopg.Error) as caught, own.transaction():
                        own.execute(sentence)
                    assert caught.value.sqlstate == code, sentence


@pytest.mark.django_db(transaction=True)
def test_partitions_do_not_lead_around_history(lived_in):
    with connected(as_owner=True) as own:
        parts = [
            name
            for (name,) in own.execute(
                "SELECT inhrelid::regclass::text FROM pg_inherits"
                " WHERE inhparent = 'webhook_events'::regclass"
            )
        ]
        assert len(parts) >= 5
        filled = [part for part in parts if own.execute(f"SELECT 1 FROM {part} LIMIT 1").fetchone()]
        assert len(filled) == 1
        for sentence in (f"DELETE FROM {filled[0]}", f"UPDATE {filled[0]} SET event_type = 'x'"):
            with pytest.raises(psycopg.Error) as caught, own.transaction():
                own.execute(sentence)
            assert caught.value.sqlstate == "LD010"


@pytest.mark.django_db(transaction=True)
def test_an_attempt_stands_before_its_call(committed_office):
    """The claim and its attempt are one commit: whoever dies later has left a trace."""
    queue(committed_office)

    claim(committed_office.tenant.pk, most=5)

    with connected(tenant=committed_office.tenant.pk) as own:
        assert own.execute("SELECT count(*) FROM send_attempts").fetchone() == (1,)
    with committed_office.inside():
        assert SendAttempt.objects.count() == 1


# --- models and migrations --------------------------------------------------------------------


def test_every_model_of_a_tenant_has_the_common_base():
    for model in local_models():
        names = {field.name for field in model._meta.local_fields}
        if "tenant" in names and model._meta.managed and model.__name__ != "LiveEvent":
            assert issubclass(model, TenantModel | ChildModel), model


def test_every_key_is_prefixed_and_no_two_models_share_a_prefix():
    prefixes = {}
    for model in local_models():
        prefix = getattr(model._meta.pk, "prefix", None)
        if prefix is not None:
            prefixes.setdefault(prefix, []).append(model)
    shared = {prefix: models for prefix, models in prefixes.items() if len(models) > 1}

    # A receipt is the proof of an event, and is called by the event's id.
    assert {prefix: len(models) for prefix, models in shared.items()} == {"wh": 2}
    assert len(prefixes) > 25


@pytest.mark.django_db
def test_models_and_migrations_agree():
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)


def sql_operations():
    loader = MigrationLoader(connection)
    for (app, name), migration in loader.disk_migrations.items():
        if app in settings.LOCAL_APPS:
            for operation in migration.operations:
                if isinstance(operation, RunSQL):
                    yield app, name, operation


@pytest.mark.django_db
def test_every_sql_file_is_run_by_the_migration_of_its_name():
    run = {}
    for app, name, operation in sql_operations():
        assert operation.reverse_sql, f"{app}.{name} cannot be reversed"
        run[f"{app}/sql/{name}.sql"] = operation.sql
    files = {
        str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
        for app in settings.LOCAL_APPS
        for path in (ROOT / app).glob("sql/*.sql")
    }

    assert run == files
    assert run_sql_file.__module__ == "tenants.sql"


@pytest.mark.django_db
def test_every_function_that_a_file_makes_is_dropped_by_its_reverse():
    for app, name, operation in sql_operations():
        made = {
            line.split("(")[0].split()[-1]
            for line in operation.sql.splitlines()
            if line.startswith("CREATE FUNCTION")
        }
        lost = {function for function in made if function not in str(operation.reverse_sql)}
        assert not lost, f"{app}.{name}"


# --- the code ---------------------------------------------------------------------------------


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_modules_keep_their_measure(path):
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)

    assert len(text.splitlines()) <= 400
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body
            assert body[-1].end_lineno - node.lineno < 62, node.name
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None, f"a bare except at line {node.lineno}"


def test_nothing_of_the_product_reads_the_workers_clock_where_the_database_decides():
    """Leases, windows and caps are the database's: SQL says clock_timestamp(), never now()."""
    for path in (ROOT / app / "sql" for app in settings.LOCAL_APPS):
        for file in path.glob("*.sql"):
            assert " now()" not in file.read_text(), file


def test_only_the_outbox_action_makes_outbound_messages():
    made = {
        str(path.relative_to(ROOT))
        for path in MODULES
        if "OutboundMessage.objects.create" in (text := path.read_text())
        or "OutboundMessage.objects.bulk_create" in text
    }

    assert made <= {"messaging/actions/sending.py", "campaigns/demo/history.py"}


def test_network_calls_are_made_in_one_place():
    importing = {
        str(path.relative_to(ROOT))
        for path in MODULES
        if "import httpx" in path.read_text() and "sandbox" not in path.parts
    }

    assert importing <= {
        "integrations/transport.py",
        "integrations/outward.py",
        "campaigns/demo/link.py",
        "campaigns/demo/systems.py",
        "campaigns/demo/run.py",
        "campaigns/management/commands/demo.py",
    }


def test_every_provider_has_recorded_payloads_and_a_page():
    for name in providers:
        assert list((ROOT / "tests/fixtures").rglob(f"*{name}*")), name
        assert (ROOT / f"docs/providers/{name}.md").exists(), name


def test_every_app_is_importable_alone():
    for label in settings.LOCAL_APPS:
        assert importlib.import_module(label)
