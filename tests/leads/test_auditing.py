"""The audit of ids: an older system's own bad examples, and our tables beside them."""

from __future__ import annotations

import io
import json

import pytest
from django.core.management import CommandError, call_command

from leads.actions import create_lead
from leads.audit_rules import LEGACY, OURS
from leads.auditing import Found, audit_ours, audit_schema
from leads.models import Business, Lead
from tenants.models import AuditEntry
from tests.raw import connected

SCHEMA = "legacy"
TABLES = """
CREATE TABLE messages (id text PRIMARY KEY, team_id text, provider text, external_id text);
CREATE TABLE businesses (id text PRIMARY KEY, team_id text, source_record_id text,
    source_file text);
CREATE TABLE unified_lead_cards (id text PRIMARY KEY, team_id text, persona_id text,
    total_score int, created_at timestamptz DEFAULT now());
CREATE TABLE campaign_queue (id text PRIMARY KEY, team_id text, lead_card_id text, agent text,
    channel text, status text, created_at timestamptz DEFAULT now());
CREATE TABLE skiptrace_results (id text PRIMARY KEY, team_id text, persona_id text, provider text,
    success boolean, created_at timestamptz DEFAULT now());
CREATE TABLE lead_activities (id text PRIMARY KEY, team_id text, lead_card_id text,
    external_id text);
CREATE TABLE leads (id text PRIMARY KEY, team_id text, integration_id text, external_id text);
CREATE TABLE properties (id text PRIMARY KEY, team_id text, external_id text, source text);
CREATE TABLE property_distress_scores (id text PRIMARY KEY, provider text, external_id text);
CREATE TABLE integrations (id text PRIMARY KEY, team_id text, name text);
CREATE TABLE integration_fields (id text PRIMARY KEY, integration_id text, module_name text,
    source_field text);
CREATE TABLE campaign_leads (id text PRIMARY KEY, campaign_id text, lead_id text);
CREATE TABLE persona_phones (id text PRIMARY KEY, persona_id text, normalized_number text);
CREATE TABLE business_owners (id text PRIMARY KEY, persona_id text, business_id text);
"""


@pytest.fixture
def legacy(transactional_db):
    """An older system's empty tables in a schema of the owner's; gone afterwards."""
    with connected(as_owner=True) as own:
        own.execute(f"CREATE SCHEMA {SCHEMA}")
        own.execute(f"SET search_path = {SCHEMA}")
        own.execute(TABLES)
        own.commit()
        yield Legacy(own)
        own.rollback()
        own.execute(f"DROP SCHEMA {SCHEMA} CASCADE")
        own.commit()


class Legacy:
    def __init__(self, own):
        self.own = own

    def do(self, sentence, *args):
        self.own.execute(sentence, args or None)
        self.own.commit()

    def rows(self, sentence):
        found = self.own.execute(sentence).fetchall()
        self.own.commit()
        return found

    def add(self, table, *rows):
        for row in rows:
            names = ", ".join(row)
            marks = ", ".join(["%s"] * len(row))
            self.own.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", list(row.values()))
        self.own.commit()


def audit(*options, status: int | None = None) -> dict[str, Found]:
    """Run the command on the older tables; its findings by table."""
    out = io.StringIO()
    try:
        call_command("audit_ids", "--tables", SCHEMA, "--json", *options, stdout=out)
        ended = 0
    except SystemExit as end:
        ended = end.code
    if status is not None:
        assert ended == status
    return {one["table"]: Found(**one) for one in json.loads(out.getvalue())[SCHEMA]}


def kept(found: Found) -> list[str]:
    return [example["kept"] for example in found.examples]


def test_tables_in_order_are_found_in_order(legacy):
    found = audit(status=0)

    assert set(found) == {rule.table for rule in LEGACY}
    assert {one.rows for one in found.values()} == {0}
    assert {one.skipped for one in found.values()} == {""}


def test_s1_the_history_of_a_queue_is_nobodys_duplicate(legacy):
    """Two sent, one failed and one pending of one card: nothing is too many."""
    row = {"team_id": "t1", "lead_card_id": "c1", "agent": "gianna", "channel": "sms"}
    states = ("sent", "sent", "failed", "pending")
    legacy.add("campaign_queue", *({"id": f"q{n}", "status": state} | row
                                   for n, state in enumerate(states)))  # fmt: skip

    assert audit("--supersede", status=0)["campaign_queue"].rows == 0
    assert legacy.rows("SELECT count(*) FROM campaign_queue") == [(4,)]


def test_s2_what_is_being_sent_is_open_too(legacy):
    row = {"team_id": "t1", "lead_card_id": "c1", "agent": "gianna", "channel": "sms"}
    legacy.add(
        "campaign_queue",
        {"id": "q1", "status": "pending"} | row,
        {"id": "q2", "status": "processing"} | row,
        {"id": "q3", "status": "pending"} | row | {"channel": "email"},
    )

    found = audit(status=1)["campaign_queue"]

    assert (found.groups, found.rows, kept(found)) == (1, 1, ["q2"])


def test_s4_two_teams_and_two_providers_may_have_one_id(legacy):
    legacy.add(
        "messages",
        {"id": "m1", "team_id": "t1", "provider": "a", "external_id": "1001"},
        {"id": "m2", "team_id": "t2", "provider": "a", "external_id": "1001"},
        {"id": "m3", "team_id": "t1", "provider": "b", "external_id": "1001"},
        {"id": "m4", "team_id": "t1", "provider": "a", "external_id": None},
        {"id": "m5", "team_id": "t1", "provider": "a", "external_id": None},
    )
    assert audit(status=0)["messages"].rows == 0
    legacy.add("messages", {"id": "m6", "team_id": "t1", "provider": "a", "external_id": "1001"})

    found = audit(status=1)["messages"]

    assert (found.rows, kept(found)) == (1, ["m1"])
    assert found.examples[0]["key"] == {"team_id": "t1", "provider": "a", "external_id": "1001"}


def test_s5_rows_without_an_integration_are_duplicates_too(legacy):
    row = {"team_id": "t1", "integration_id": None, "external_id": "x"}
    legacy.add("leads", {"id": "l1"} | row, {"id": "l2"} | row,
               {"id": "l3"} | row | {"integration_id": "i1"},
               {"id": "l4"} | row | {"external_id": None},
               {"id": "l5"} | row | {"external_id": None})  # fmt: skip

    found = audit(status=1)["leads"]

    assert (found.rows, found.examples[0]["ids"]) == (1, ["l1", "l2"])


def test_s6_a_parcel_may_be_two_teams(legacy):
    legacy.add(
        "properties",
        {"id": "p1", "team_id": "t1", "external_id": "7", "source": "x"},
        {"id": "p2", "team_id": "t2", "external_id": "7", "source": "x"},
    )

    assert audit(status=0)["properties"].rows == 0


def test_s7_superseding_keeps_children_and_writes_where_to_go(legacy):
    row = {"team_id": "t1", "persona_id": "p1"}
    legacy.add(
        "unified_lead_cards",
        {"id": "c1", "total_score": 10} | row,
        {"id": "c2", "total_score": 90} | row,
        {"id": "c3", "total_score": None} | row,
    )
    legacy.add("lead_activities", {"id": "a1", "team_id": "t1", "lead_card_id": "c1"})

    first = audit("--supersede", status=0)["unified_lead_cards"]
    again = audit("--supersede", status=0)["unified_lead_cards"]

    assert (first.rows, first.superseded, again.rows, again.superseded) == (2, 2, 0, 0)
    assert legacy.rows("SELECT count(*) FROM unified_lead_cards") == [(3,)]
    assert legacy.rows("SELECT lead_card_id FROM lead_activities") == [("c1",)]
    redirects = f"SELECT id, superseded_by FROM {SCHEMA}.audit_superseded ORDER BY id"
    assert legacy.rows(redirects) == [("c1", "c2"), ("c3", "c2")]


def test_s8_a_duplicate_that_comes_after_is_found_next_time(legacy):
    row = {"team_id": "t1", "source_record_id": "1", "source_file": "a.csv"}
    legacy.add("businesses", {"id": "b1"} | row, {"id": "b2"} | row)
    audit("--supersede", status=0)
    legacy.add("businesses", {"id": "b3"} | row)

    found = audit("--supersede", status=0)["businesses"]

    assert (found.rows, found.superseded, found.examples[0]["ids"]) == (1, 1, ["b1", "b3"])


def test_the_newest_success_of_a_skip_trace_stays(legacy):
    row = {"team_id": "t1", "persona_id": "p1", "provider": "melissa"}
    legacy.add(
        "skiptrace_results",
        {"id": "s1", "success": True, "created_at": "2025-01-01"} | row,
        {"id": "s2", "success": True, "created_at": "2025-02-01"} | row,
        {"id": "s3", "success": False, "created_at": "2025-03-01"} | row,
        {"id": "s4", "success": None, "created_at": "2025-04-01"} | row,
    )

    assert kept(audit(status=1)["skiptrace_results"]) == ["s2"]


@pytest.mark.parametrize(
    "rule", [rule for rule in LEGACY if not rule.needs], ids=lambda rule: rule.table
)
def test_every_rule_finds_its_duplicate(legacy, rule):
    row = dict.fromkeys(rule.key, "v")
    legacy.add(rule.table, {"id": "1"} | row, {"id": "2"} | row, {"id": "3"} | row)

    found = audit(status=1)

    assert (found[rule.table].rows, found[rule.table].examples[0]["ids"]) == (2, ["1", "2", "3"])
    assert sum(one.rows for one in found.values()) == 2


def test_what_is_missing_is_said_and_the_rest_is_checked(legacy):
    legacy.do("DROP TABLE businesses")
    legacy.do("ALTER TABLE campaign_queue DROP COLUMN status")
    legacy.do("ALTER TABLE messages DROP COLUMN provider")
    legacy.add("messages", {"id": "1", "team_id": "t", "external_id": "x"},
               {"id": "2", "team_id": "t", "external_id": "x"})  # fmt: skip

    found = audit(status=1)

    assert found["businesses"].skipped == "no table businesses"
    assert found["campaign_queue"].skipped == "no column status"
    assert found["messages"].rows == 1


def test_a_schema_that_is_not_there_is_said_in_words(transactional_db):
    with pytest.raises(CommandError, match="There is no schema “nowhere”"):
        call_command("audit_ids", "--tables", "nowhere")


def test_names_that_hurt_are_names(legacy):
    with pytest.raises(CommandError, match="There is no schema"):
        call_command("audit_ids", "--tables", 'x"; DROP SCHEMA legacy; --')
    assert legacy.rows("SELECT count(*) FROM messages") == [(0,)]


def test_missing_rights_are_said_in_words(legacy):
    with pytest.raises(CommandError, match="GRANT USAGE ON SCHEMA"):
        call_command("audit_ids", "--tables", SCHEMA, "--as-app")
    legacy.do(f"GRANT USAGE ON SCHEMA {SCHEMA} TO fairlead_app")
    legacy.do(f"GRANT SELECT ON ALL TABLES IN SCHEMA {SCHEMA} TO fairlead_app")
    legacy.do(f"REVOKE SELECT ON {SCHEMA}.messages FROM fairlead_app")
    row = {"team_id": "t1", "source_record_id": "1", "source_file": "a.csv"}
    legacy.add("businesses", {"id": "b1"} | row, {"id": "b2"} | row)

    found = audit("--as-app", "--supersede", status=1)

    assert "permission denied" in found["messages"].skipped
    assert (found["businesses"].rows, found["businesses"].superseded) == (1, 0)
    assert "GRANT CREATE ON SCHEMA" in found["businesses"].refused


def test_the_words_name_counts_and_examples(legacy):
    row = {"team_id": "t1", "source_record_id": "1", "source_file": "a.csv"}
    legacy.add("businesses", {"id": "b1"} | row, {"id": "b2"} | row)
    out = io.StringIO()
    with pytest.raises(SystemExit):
        call_command("audit_ids", "--tables", SCHEMA, stdout=out)

    assert "businesses(sourceRecordId, sourceFile): 1 too many of 1 keys" in out.getvalue()
    assert "keeps b1 of ['b1', 'b2']" in out.getvalue()


# --- our own tables ---------------------------------------------------------------------------


@pytest.mark.django_db
def test_our_own_tables_are_checked_by_every_rule_that_has_one(office, other_office):
    with office.inside():
        create_lead(source="x", source_id="1")
        found = audit_ours()
    with other_office.inside():
        create_lead(source="x", source_id="1")

    assert {one.rule for one in found} == {rule.name for rule in OURS}
    assert {one.rows for one in found} == {0}
    assert {one.table for one in found if one.skipped} <= {"campaign_queue", "enrolments"}
    out = io.StringIO()
    call_command("audit_ids", "--tenant", office.tenant.slug, stdout=out)
    assert "leads(source, source id): 0 too many" in out.getvalue()


@pytest.mark.django_db
def test_a_tenant_that_is_not_there_is_said_in_words():
    with pytest.raises(CommandError, match="no tenant"):
        call_command("audit_ids", "--tenant", "nowhere")


@pytest.fixture
def without_keys(committed_office):
    """An office in a database whose unique indexes somebody dropped."""
    with connected(as_owner=True) as own:
        made = [
            (name, own.execute("SELECT pg_get_indexdef(%s::regclass)", [name]).fetchone()[0])
            for name in ("ux_leads_vendor", "ux_businesses_source")
        ]
        for name, _ in made:
            own.execute(f"DROP INDEX {name}")
        own.commit()
        yield committed_office
        own.rollback()
        for _, definition in made:
            own.execute(definition)
        own.commit()


def test_ours_are_superseded_with_a_way_on_and_not_deleted(without_keys):
    office = without_keys
    with office.inside():
        first = create_lead(source="x", source_id="1")
        second = create_lead(source="x", source_id="1")
        for _ in range(2):
            Business.objects.create(name="A", source_file="f", source_record_id="1")

        assert sum(one.rows for one in audit_ours()) == 2
        done = audit_ours(supersede=True)
        assert sum(one.superseded for one in done) == 2
        assert sum(one.rows for one in audit_ours(supersede=True)) == 0

        second.refresh_from_db()
        assert second.merged_into_id == first.pk
        assert Lead.objects.count() == 2
        assert Business.objects.filter(superseded_at=None).count() == 1
        assert AuditEntry.objects.filter(action="audit.superseded").count() == 2


def test_the_schema_is_audited_inside_a_transaction_of_the_callers(legacy):
    assert len(audit_schema("public")) == len(LEGACY)
