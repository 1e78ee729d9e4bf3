"""What PostgreSQL itself promises, read from its catalog: tenants, history, rights."""

from __future__ import annotations

import psycopg
import pytest
from django.apps import apps
from django.conf import settings

from leads.models import LeadTransition
from leads.states import MOVES, LeadState
from tenants.constraints import AppendOnly
from tests.raw import connected, rows

pytestmark = pytest.mark.django_db

#: Tables with a tenant_id, made by models or by SQL.
TENANT_TABLES = """
    SELECT c.relname FROM pg_class AS c
    JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'tenant_id'
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
    ORDER BY 1
"""

#: Unique indexes that do not begin with the tenant, and why they may.
UNIQUE_WITHOUT_TENANT = {
    "webhook_work_pkey": "Django's key; the tenant-led ux_webhook_work_run stands beside it",
    "live_events_pkey": "a hint's place in the order of all tenants; pruned after two days",
}

#: Functions that run as the owner. A new one is a decision: look at what it tells across tenants.
DEFINERS = {
    "address_digest",
    "redact_history",
    "tenants_with_consent_work",
    "tenants_of",
    "tenants_with_timers",
    "api_key_by_hash",
    "endpoint_by_token",
    "find_leads",
    "tenant_of_account",
    "tenants_with_work",
    "tenants_with_sends",
    "tenants_with_wakes",
    "tenants_with_letters",
    "tenants_with_bulk_work",
    "tenants_with_enrichments",
    "tenants_with_rescores",
    "health_counts",
    "imports_due",
    "ensure_partitions",
    "live_events_after",
    "prune_live_events",
    "live_seq",
    "reconciles_due",
    "pulls_due",
    "refresh_lead_statistics",
}

APPEND_ONLY = {
    "artifact_parents",
    "artifacts",
    "audit_log",
    "consent_effects",
    "consent_events",
    "dossier_exports",
    "lead_activities",
    "lead_events",
    "pull_pages",
    "quality_scores",
    "redactions",
    "score_rules",
    "send_attempts",
    "send_outcomes",
    "vendor_answers",
    "vendor_calls",
    "verifications",
    "webhook_events",
    "webhook_receipts",
    "webhook_rejections",
    "work_events",
}


def test_tests_run_as_the_app():
    user, is_superuser, bypasses = rows(
        "SELECT current_user, rolsuper, rolbypassrls FROM pg_roles WHERE rolname = current_user"
    )[0]

    assert (user, is_superuser, bypasses) == ("fairlead_app", False, False)


def test_the_app_owns_nothing_and_creates_nothing():
    owned = rows(
        "SELECT relname FROM pg_class WHERE pg_get_userbyid(relowner) = 'fairlead_app'"
        " AND relnamespace = 'public'::regnamespace"
    )
    may_create = rows("SELECT has_schema_privilege('public', 'CREATE')")[0][0]
    memberships = rows("SELECT pg_has_role('fairlead_app', 'fairlead_owner', 'MEMBER')")[0][0]

    assert (owned, may_create, memberships) == ([], False, False)


def test_every_model_of_a_tenant_is_in_the_list_of_tables():
    tables = {name for (name,) in rows(TENANT_TABLES)}
    models = {
        model._meta.db_table
        for label in settings.LOCAL_APPS
        for model in apps.get_app_config(label).get_models()
        if any(field.column == "tenant_id" for field in model._meta.local_concrete_fields)
    }

    assert tables == models


def test_every_tenant_column_is_not_null():
    nullable = rows(
        "SELECT c.relname FROM pg_class AS c"
        " JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'tenant_id'"
        " WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')"
        " AND NOT a.attnotnull"
    )

    assert nullable == []


def test_every_tenant_table_forces_row_level_security():
    lax = rows(
        "SELECT relname FROM pg_class WHERE relname = ANY(%s)"
        " AND relnamespace = 'public'::regnamespace"
        " AND NOT (relrowsecurity AND relforcerowsecurity)",
        [name for (name,) in rows(TENANT_TABLES)],
    )

    assert lax == []


def test_every_tenant_table_has_one_policy_for_reading_and_writing():
    policies = rows(
        "SELECT c.relname, p.polcmd, pg_get_expr(p.polqual, p.polrelid),"
        " pg_get_expr(p.polwithcheck, p.polrelid), p.polroles"
        " FROM pg_policy AS p JOIN pg_class AS c ON c.oid = p.polrelid"
        " WHERE p.polname <> 'owner_sees_all' AND c.relname <> 'tenants'"
    )
    wanted = "( SELECT (NULLIF(current_setting('app.tenant_id'::text, true), ''::text))::uuid AS"

    assert sorted(row[0] for row in policies) == [name for (name,) in rows(TENANT_TABLES)]
    for table, command, using, check, roles in policies:
        assert (command, roles) == ("*", [0]), table
        assert wanted in using, table
        assert using == check, table
        assert using.startswith("(tenant_id = "), table


def test_tenants_are_read_by_all_and_changed_by_themselves():
    with connected() as own:
        changed = own.execute("UPDATE tenants SET name = 'x'").rowcount

    assert changed == 0


def test_no_table_without_a_tenant_is_new():
    tables = {
        name
        for (name,) in rows(
            "SELECT c.relname FROM pg_class AS c WHERE c.relnamespace = 'public'::regnamespace"
            " AND c.relkind IN ('r', 'p')"
        )
    } - {name for (name,) in rows(TENANT_TABLES)}
    of_packages = ("auth_", "axes_", "django_")

    assert {name for name in tables if not name.startswith(of_packages)} == {
        "erasure_keys",  # nobody but the owner reads it
        "lead_transitions",
        "spool_hosts",
        "suppression_rows",  # staging, which COPY fills: by the id of its list
        "tenants",
        "users",
        "users_groups",
        "users_user_permissions",
        "verification_codes",  # what vendors' words mean; the installation's
    }


def test_every_unique_key_begins_with_the_tenant():
    indexes = rows(
        "SELECT i.relname, t.relname, a.attname, x.indisprimary, x.indnatts"
        " FROM pg_index AS x"
        " JOIN pg_class AS i ON i.oid = x.indexrelid"
        " JOIN pg_class AS t ON t.oid = x.indrelid"
        " LEFT JOIN pg_attribute AS a ON a.attrelid = t.oid AND a.attnum = x.indkey[0]"
        " WHERE x.indisunique AND t.relname = ANY(%s)"
        " AND t.relnamespace = 'public'::regnamespace",
        [name for (name,) in rows(TENANT_TABLES)],
    )
    wrong = {}
    with_key = set()
    for index, table, first, is_primary, width in indexes:
        if first == "tenant_id":
            with_key.add(table)
        elif not (is_primary and width == 1 and first == "id"):  # Django's key: a ULID
            wrong[index] = table

    assert set(wrong) == set(UNIQUE_WITHOUT_TENANT)
    assert {name for (name,) in rows(TENANT_TABLES)} - with_key == {"live_events"}


def test_every_foreign_key_between_tenant_tables_carries_the_tenant():
    keys = rows(
        "SELECT k.conname, t.relname, f.relname,"
        " (SELECT array_agg(a.attname ORDER BY u.n) FROM unnest(k.conkey) WITH ORDINALITY u(no, n)"
        "  JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.no),"
        " (SELECT array_agg(a.attname ORDER BY u.n) FROM unnest(k.confkey) WITH ORDINALITY u(no, n)"
        "  JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.no), k.convalidated"
        " FROM pg_constraint AS k JOIN pg_class AS t ON t.oid = k.conrelid"
        " JOIN pg_class AS f ON f.oid = k.confrelid"
        " WHERE k.contype = 'f' AND t.relnamespace = 'public'::regnamespace"
    )
    tables = {name for (name,) in rows(TENANT_TABLES)}
    between = [key for key in keys if {key[1], key[2]} <= tables]

    assert len(between) > 30
    for name, _, _, here, there, is_valid in between:
        assert (here[0], there[0]) == ("tenant_id", "tenant_id"), name
        assert len(here) > 1, name
        assert is_valid, name


def test_every_reference_of_a_model_stands_in_the_database():
    """A TenantForeignKey is checked by a composite key, whatever Django believes."""
    keys = {
        (table, tuple(columns))
        for table, columns in rows(
            "SELECT t.relname, (SELECT array_agg(a.attname::text ORDER BY u.n)"
            " FROM unnest(k.conkey) WITH ORDINALITY u(no, n)"
            " JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.no)"
            " FROM pg_constraint AS k JOIN pg_class AS t ON t.oid = k.conrelid"
            " WHERE k.contype = 'f'"
        )
    }
    for label in settings.LOCAL_APPS:
        for model in apps.get_app_config(label).get_models():
            for field in model._meta.local_fields:
                if not field.is_relation or field.name == "tenant":
                    continue
                columns = {(field.column,), ("tenant_id", field.column)}
                found = {here for table, here in keys if table == model._meta.db_table}
                assert columns & found, f"{model.__name__}.{field.name}"


def test_every_tenant_table_is_tied_to_tenants_or_to_a_table_that_is():
    """Without a foreign key of its own a row must hang from one that has it; intake is exempt."""
    tied = {
        name
        for (name,) in rows(
            "SELECT t.relname FROM pg_constraint AS k JOIN pg_class AS t ON t.oid = k.conrelid"
            " WHERE k.contype = 'f' AND k.confrelid = 'tenants'::regclass"
        )
    }
    parents = rows(
        "SELECT t.relname, f.relname FROM pg_constraint AS k"
        " JOIN pg_class AS t ON t.oid = k.conrelid JOIN pg_class AS f ON f.oid = k.confrelid"
        " WHERE k.contype = 'f' AND k.conrelid <> k.confrelid"
        " AND NOT EXISTS (SELECT FROM unnest(k.conkey) AS n JOIN pg_attribute AS a"
        "                 ON a.attrelid = k.conrelid AND a.attnum = n AND NOT a.attnotnull)"
    )
    while more := {table for table, parent in parents if parent in tied} - tied:
        tied |= more

    loose = {name for (name,) in rows(TENANT_TABLES)} - tied
    assert loose == {
        "webhook_receipts",
        "webhook_events",
        "webhook_work",
        "work_flights",
        "live_events",
    }


def test_partitions_live_where_the_app_cannot_go():
    outside = rows(
        "SELECT relname FROM pg_class WHERE relispartition AND relkind IN ('r', 'p')"
        " AND relnamespace <> 'parts'::regnamespace"
    )
    may_enter = rows("SELECT has_schema_privilege('parts', 'USAGE')")[0][0]
    readable = rows(
        "SELECT relname FROM pg_class WHERE relnamespace = 'parts'::regnamespace"
        " AND relkind = 'r' AND has_table_privilege(oid, 'SELECT')"
    )

    assert (outside, may_enter, readable) == ([], False, [])


def test_partitions_are_made_ahead():
    months, in_default = rows("SELECT months_ahead, default_partition_rows FROM health_counts()")[0]

    assert (months >= 3, in_default) == (True, 0)


def test_definer_functions_are_the_pinned_ones():
    found = rows(
        "SELECT p.proname, p.proconfig, pg_get_userbyid(p.proowner),"
        " EXISTS (SELECT FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) AS x"
        "         WHERE x.grantee = 0 AND x.privilege_type = 'EXECUTE')"
        " FROM pg_proc AS p WHERE p.pronamespace = 'public'::regnamespace AND p.prosecdef"
    )

    assert {name for name, *_ in found} == DEFINERS
    for name, options, owner, is_public in found:
        assert options == ["search_path=pg_catalog, pg_temp"], name
        assert owner != "fairlead_app", name
        assert not is_public, name


def test_history_is_what_the_list_says():
    triggers = {
        table
        for (table,) in rows(
            "SELECT t.relname FROM pg_trigger AS g JOIN pg_class AS t ON t.oid = g.tgrelid"
            " WHERE g.tgfoid = 'refuse_change'::regproc AND NOT t.relispartition"
            " GROUP BY t.relname HAVING count(*) = 2"
        )
    }
    said = {
        model._meta.db_table
        for label in settings.LOCAL_APPS
        for model in apps.get_app_config(label).get_models()
        if any(isinstance(c, AppendOnly) for c in model._meta.constraints)
    }

    assert triggers == APPEND_ONLY
    assert said <= APPEND_ONLY
    assert said | {"webhook_events", "webhook_receipts"} == APPEND_ONLY


def test_the_app_may_not_rewrite_history():
    rights = rows(
        "SELECT t, r FROM unnest(%s::text[]) AS t, unnest(ARRAY['UPDATE', 'DELETE', 'TRUNCATE']) r"
        " WHERE has_table_privilege(t, r)",
        sorted(APPEND_ONLY),
    )

    assert rights == []


def test_the_app_truncates_nothing_and_deletes_only_what_is_no_record():
    truncates = rows(
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        " AND relkind IN ('r', 'p') AND has_table_privilege(oid, 'TRUNCATE')"
    )
    deletes = {
        name
        for (name,) in rows(
            "SELECT c.relname FROM pg_class AS c WHERE c.relname = ANY(%s)"
            " AND c.relnamespace = 'public'::regnamespace AND has_table_privilege(c.oid, 'DELETE')",
            [name for (name,) in rows(TENANT_TABLES)],
        )
    }

    assert truncates == []
    assert deletes == {
        "api_answers",
        "drafts",
        "dry_run_changes",
        "field_mappings",
        "import_parts",
        "import_presets",
        "import_rows",
        "labels",
        "lead_labels",
        "notifications",
        "read_cursors",
        "saved_views",
        "stage_memberships",
        "work_flights",
    }


@pytest.mark.parametrize("table", sorted(APPEND_ONLY))
@pytest.mark.parametrize("as_owner", [False, True], ids=["app", "owner"])
def test_history_refuses_change_from_everybody(table, as_owner):
    sentences = (
        f"UPDATE {table} SET tenant_id = tenant_id",
        f"DELETE FROM {table}",
        f"TRUNCATE {table} CASCADE",
    )
    with connected(as_owner=as_owner) as own:
        for sentence in sentences:
            if as_owner and not sentence.startswith("TRUNCATE"):
                continue  # row triggers need a row: tests/test_architecture.py has them
            with pytest.raises(psycopg.Error) as caught:
                own.execute(sentence)
            own.rollback()
            assert caught.value.sqlstate == ("LD010" if as_owner else "42501"), sentence


def test_moves_are_the_same_in_code_and_database():
    stored = set(LeadTransition.objects.values_list("from_state", "to_state"))
    said = {(here.value, there.value) for here, moves in MOVES.items() for there in moves}
    said |= {(here.value, "suppressed") for here in LeadState if here != LeadState.SUPPRESSED}

    assert stored == said


def test_the_app_may_not_change_the_machine():
    with connected() as own, pytest.raises(psycopg.errors.InsufficientPrivilege):
        own.execute(
            "INSERT INTO lead_transitions (from_state, to_state, version)"
            " VALUES ('new', 'closed', 1)"
        )


def test_every_tenant_table_is_watched_by_dry_runs():
    """A dry run that misses a table would call a replay harmless that is not."""
    watched = {
        name
        for (name,) in rows(
            "SELECT c.relname FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid"
            " WHERE t.tgname = 'zz_dry_run' AND t.tgenabled = 'O' AND t.tgparentid = 0"
        )
    }

    assert {name for (name,) in rows(TENANT_TABLES)} - watched == {
        "dry_run_changes",
        "work_flights",
    }
