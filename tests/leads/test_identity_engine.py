"""Batches through the engine: who a record is, what it changes, what a person is asked."""

from __future__ import annotations

import json

import pytest
from django.db import connection
from django.db.models.functions import Now

from leads.actions import Choice, owner, record_choice
from leads.identity.engine import MOST, TooMany, check, resolve
from leads.identity.provenance import remember
from leads.identity.records import Incoming, Point, from_json
from leads.models import (
    Business,
    Consent,
    Contact,
    ContactPoint,
    Lead,
    LeadEvent,
    MergeReview,
    Property,
)
from tenants.ulids import new_id
from tests.conftest import THEIRS

pytestmark = pytest.mark.django_db

HOUSE = {"address_line1": "123 Main St", "city": "Reno", "region": "NV", "postal_code": "89501"}
JO = {"first_name": "Jo", "last_name": "Sample"}
PAT = {"first_name": "Pat", "last_name": "Lee"}


def phone(value=THEIRS, **more):
    return Point(kind="phone", value=value, **more)


def email(value="jo@example.com", **more):
    return Point(kind="email", value=value, **more)


@pytest.fixture
def inside(office):
    with office.inside():
        yield office


def put(*records, source="upload", **options):
    """Resolve records and return (outcome, by) of each."""
    return [(one.outcome, one.by) for one in resolve(records, source=source, **options)]


def record(key="1", points=(), **fields):
    extra = {name: fields.pop(name) for name in EXTRA if name in fields}
    return Incoming(key=key, fields=fields, points=points, **extra)


EXTRA = ("source_id", "lead_id", "property", "contacts", "business", "raw")


def test_a_record_that_nobody_is_becomes_a_lead(inside):
    [done] = resolve(
        [
            record(
                **HOUSE,
                **JO,
                points=[
                    phone("(202) 555-0142", line_type="mobile", dnc=False),
                    email("JO@Example.com"),
                ],
                source_id="b-1",
                property_value="$850,000",
                owner_occupied=True,
                raw={"list": "spring"},
            )
        ],
        source="batchdata",
    )

    lead = Lead.objects.get(pk=done.lead_id)
    assert done.outcome == "created"
    assert (lead.source, lead.source_id, lead.property_value) == ("batchdata", "b-1", 850_000)
    assert (lead.owner_occupied, lead.raw_data) == (True, {"list": "spring"})
    assert (len(lead.addr_hash), lead.addr_owner) == (64, "JO SAMPLE")
    points = ContactPoint.objects.filter(lead=lead).order_by("kind")
    assert [(p.normalized, p.is_primary, p.sources, p.line_type) for p in points] == [
        ("jo@example.com", True, ["batchdata"], "unknown"),
        (THEIRS, True, ["batchdata"], "mobile"),
    ]
    event = LeadEvent.objects.get(lead=lead)
    assert (event.seq, event.kind, event.payload) == (0, "created", {"source": "batchdata"})


def test_the_same_batch_again_changes_nothing(inside):
    batch = [
        record("1", **HOUSE, **JO, points=[phone()], raw={"a": 1}, property={"value": 5}),
        record("2", **PAT, points=[phone("+12025550143"), email("pat@example.com")]),
        record("3", source_id="v3", company="Acme", contacts=[{"full_name": "Al Bo"}]),
    ]
    assert [one for one, _ in put(*batch)] == ["created"] * 3
    tables = ("leads", "contact_points", "lead_events", "contacts", "properties", "merge_reviews")

    def versions():
        with connection.cursor() as cursor:
            found = {}
            for table in tables:
                cursor.execute(f"SELECT id, xmin::text, ctid::text FROM {table} ORDER BY id")
                found[table] = cursor.fetchall()
        return found

    before = versions()
    assert put(*batch) == [
        ("unchanged", "address"),
        ("unchanged", "phone"),
        ("unchanged", "vendor"),
    ]
    assert versions() == before


# --- keys -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second", "by"),
    [
        ({"source_id": "v1"}, {"source_id": "v1"}, "vendor"),
        ({"mak": "M1"}, {"mak": "M1"}, "mak"),
        ({"county_fips": "6037", "apn": "5-1"}, {"county_fips": "06037", "apn": "5-1"}, "apn"),
        (
            {**HOUSE, **JO},
            {**HOUSE, **JO, "address_line1": "123 MAIN STREET", "postal_code": "89501-1234"},
            "address",
        ),
        ({**HOUSE, **JO}, {**HOUSE, "full_name": "SAMPLE, JO A."}, "address"),
        ({**HOUSE, **JO}, {**HOUSE, "first_name": "Jo"}, "address"),
        ({**HOUSE, **JO}, HOUSE, "address"),
        (HOUSE, {**HOUSE, **JO}, "address"),
        ({"points": [phone()]}, {"points": [phone("202.555.0142 x5")]}, "phone"),
        ({"points": [email()]}, {"points": [email("JO@EXAMPLE.com")]}, "email"),
    ],
)
def test_each_key_finds_the_lead(inside, first, second, by):
    assert put(record(**first)) == [("created", "")]

    outcome, found_by = put(record(**second))[0]

    assert (found_by, Lead.objects.count()) == (by, 1)
    assert outcome in ("updated", "unchanged")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({**HOUSE, **JO}, {**HOUSE, **PAT}),  # two owners at one address
        ({**HOUSE, **JO, "unit": "1"}, {**HOUSE, **JO, "unit": "2"}),  # S-14: two flats
        ({**JO, "source_id": "v1"}, {**JO, "source_id": "v2"}),  # a name alone never matches
        ({"county_fips": "06037", "apn": "5"}, {"county_fips": "06038", "apn": "5"}),
        ({**HOUSE, **JO, "points": [phone()]}, {**HOUSE, **PAT, "points": [phone()]}),  # household
    ],
)
def test_what_is_not_the_same_stays_two(inside, first, second):
    put(record(**first))

    assert put(record(**second)) == [("created", "")]
    assert Lead.objects.count() == 2
    assert put(record(**first))[0][0] == put(record(**second))[0][0] == "unchanged"


def test_s5_a_record_without_an_integration_comes_once(inside):
    assert [put(record(source_id="7", **JO))[0][0] for _ in range(2)] == ["created", "unchanged"]


def test_s6_the_same_record_is_a_lead_of_its_own_in_every_tenant(office, other_office):
    for desk in (office, other_office):
        with desk.inside():
            assert put(record(source_id="7", **HOUSE, **JO, points=[phone()]))[0][0] == "created"


def test_s13_a_record_that_bridges_two_leads_changes_neither_and_is_kept(inside):
    one, two = resolve(
        [record("1", mak="M1", **JO), record("2", **HOUSE, **PAT)], source="batchdata"
    )
    before = list(Lead.objects.order_by("id").values())
    bridge = record("3", mak="M1", **HOUSE, **PAT, points=[phone(dnc=True)], age="71")

    done = resolve([bridge], source="batchdata")[0]
    again = resolve([bridge], source="batchdata")[0]

    review = MergeReview.objects.get()
    assert (done.outcome, done.by, done.lead_id) == ("review", "mak", None)
    assert done.review_id == again.review_id == review.pk
    assert {review.left_id, review.right_id} == {one.lead_id, two.lead_id}
    assert list(Lead.objects.order_by("id").values()) == before
    [kept] = from_json(review.incoming, key="3", lead_id=one.lead_id)
    assert kept.fields == {"mak": "M1", **HOUSE, **PAT, "age": 71}
    assert kept.points == [phone(dnc=True)]
    assert resolve([kept], source="batchdata")[0].outcome == "updated"


def test_several_leads_with_one_number_ask_a_person_unless_a_name_decides(inside):
    put(record("1", **HOUSE, **JO, points=[phone()]), record("2", **HOUSE, **PAT, points=[phone()]))

    assert put(record(points=[phone()])) == [("review", "phone")]
    assert put(record(**PAT, points=[phone()], title="Dr"))[0][0] == "updated"
    assert Lead.objects.get(title="Dr").first_name == "Pat"


def test_a_number_of_somebody_else_elsewhere_makes_a_lead_and_a_question(inside):
    [one] = resolve([record(**HOUSE, **JO, points=[phone()])], source="upload")
    far = {**HOUSE, "address_line1": "9 Oak Dr"}

    [two] = resolve([record(**far, **PAT, points=[phone()])], source="upload")

    review = MergeReview.objects.get()
    assert (two.outcome, review.score, review.incoming) == ("created", 30, None)
    assert {review.left_id, review.right_id} == {one.lead_id, two.lead_id}


def test_a_given_lead_is_the_one_and_what_another_has_is_not_taken(inside):
    one, two = resolve([record("1", mak="M1"), record("2", mak="M2", **JO)], source="upload")

    [done] = resolve(
        [record(lead_id=one.lead_id, mak="M2", title="Dr", points=[phone()])], source="melissa"
    )

    lead = Lead.objects.get(pk=one.lead_id)
    assert (done.outcome, done.by, lead.mak, lead.title) == ("updated", "given", "M1", "Dr")
    assert MergeReview.objects.get().right_id in (one.lead_id, two.lead_id)
    assert LeadEvent.objects.get(lead=lead, seq=1).kind == "enriched"


def test_two_given_leads_that_share_a_number_stay_two(inside):
    one, two = resolve([record("1", source_id="1"), record("2", source_id="2")], source="upload")

    done = resolve(
        [record(key, lead_id=key, points=[phone()]) for key in (one.lead_id, two.lead_id)],
        source="melissa",
    )

    assert [(d.lead_id, d.outcome) for d in done] == [(d.key, "updated") for d in done]


def test_a_merged_lead_is_met_in_the_one_it_lives_on_in(inside):
    one, two = resolve([record("1", source_id="1", **JO), record("2", **HOUSE, **PAT)], source="x")
    Lead.objects.filter(pk=one.lead_id).update(merged_into=two.lead_id, superseded_at=Now())

    assert resolve([record(source_id="1", **JO)], source="x")[0].lead_id == two.lead_id
    given = resolve([record(lead_id=one.lead_id, title="Dr")], source="x")[0]
    assert (given.lead_id, given.outcome) == (two.lead_id, "updated")


# --- values -----------------------------------------------------------------------------------


def test_a_source_overwrites_what_ranks_no_higher_and_fills_what_is_empty(inside):
    [one] = resolve([record(source_id="1", title="Owner", city="Reno")], source="upload")
    put(record(lead_id=one.lead_id, title="CEO", county="Washoe"), source="melissa")
    put(record(lead_id=one.lead_id, title="Boss", city="Sparks", sector="Retail"), source="upload")
    put(record(lead_id=one.lead_id, title="", city=None), source="melissa")

    lead = Lead.objects.get(pk=one.lead_id)
    assert (lead.title, lead.city, lead.county, lead.sector) == (
        "CEO",
        "Sparks",
        "Washoe",
        "Retail",
    )
    assert lead.provenance["title"]["source"] == "melissa"
    told = LeadEvent.objects.filter(lead=lead, seq__gt=0).order_by("seq")
    assert [event.payload["fields"] for event in told] == [
        {"title": ["Owner", "CEO"], "county": ["", "Washoe"]},
        {"city": ["Reno", "Sparks"], "sector": ["", "Retail"]},
    ]


def test_a_person_outranks_everybody_and_a_tenant_may_rank_anew(inside):
    [one] = resolve([record(source_id="1", title="Owner")], source="upload")
    remember(one.lead_id, ["title"])
    assert put(record(lead_id=one.lead_id, title="CEO"), source="melissa")[0][0] == "unchanged"

    inside.tenant.settings = {"source_ranks": {"melissa": 100}}
    inside.tenant.save()

    assert put(record(lead_id=one.lead_id, title="CEO"), source="melissa")[0][0] == "updated"


def test_one_phone_from_three_vendors_is_one_row_with_three_sources(inside):
    [one] = resolve([record(points=[phone()])], source="upload")
    put(record(lead_id=one.lead_id, points=[phone(line_type="mobile", dnc=True)]), source="melissa")
    put(record(lead_id=one.lead_id, points=[phone(dnc=False, score=90)]), source="apollo")

    point = ContactPoint.objects.get()
    assert point.sources == ["upload", "melissa", "apollo"]
    assert (point.line_type, point.dnc, point.score) == ("mobile", True, 90)
    assert (point.litigator, point.verified_at) == (None, None)


def test_a_number_that_opted_out_is_kept_and_told_and_consent_stays(inside):
    record_choice(Choice(address=THEIRS, kind="opt_out"))

    [done] = resolve([record(**HOUSE, **JO, points=[phone()])], source="upload")

    assert (done.outcome, done.problem) == ("blocked", f"{THEIRS} opted out")
    assert ContactPoint.objects.get().lead_id == done.lead_id
    assert Consent.objects.get(scope="").rev == 1


def test_what_cannot_be_read_is_told_and_a_record_of_nothing_is_an_error(inside):
    done = resolve(
        [
            record("1", **HOUSE, points=[phone("12345")], age="old"),
            record("2", **JO),
            record("3", lead_id="lead_nonsense", title="x"),
            record("4", lead_id=new_id("lead"), title="x"),
            record("5", points=[phone("911 555 0142")], first_name="a\x00b"),
        ],
        source="upload",
    )

    assert [one.outcome for one in done] == ["created", "error", "error", "error", "error"]
    assert done[0].problem == "phone1: too short; age: cannot be read"
    assert done[1].problem.startswith("nothing to find it by")
    assert done[2].problem == done[3].problem == "no such lead"
    assert "no such area code: 911" in done[4].problem


def test_repeats_in_a_batch_collapse_into_one_and_their_points_are_kept(inside):
    done = resolve(
        [
            record("a", points=[phone()], **JO),
            record("b", points=[phone(), email()], mak="M1"),
            record("c", mak="M1", **HOUSE, **JO, title="Dr"),
            record("d", points=[phone("+12025550199")], **HOUSE, **PAT),
        ],
        source="upload",
    )

    assert [(d.outcome, d.duplicate_of) for d in done] == [
        ("duplicate", "c"),
        ("duplicate", "c"),
        ("created", None),
        ("created", None),
    ]
    lead = Lead.objects.get(pk=done[0].lead_id)
    assert (lead.pk, lead.mak, lead.title) == (done[2].lead_id, "M1", "Dr")
    assert set(lead.contact_points.values_list("normalized", flat=True)) == {
        THEIRS,
        "jo@example.com",
    }


def test_what_hangs_from_a_lead_is_written_once(inside):
    full = record(
        source_id="1",
        property={"value": 5, "bedrooms": "2.5", "external_id": "p1", "year_built": "long ago"},
        contacts=[{"full_name": "Al Bo", "age": 40}, {"title": "nobody"}],
        business={"name": "Acme", "employee_count": 3},
    )
    put(full)
    put(full)

    prop, contact, business = Property.objects.get(), Contact.objects.get(), Business.objects.get()
    assert (prop.value, str(prop.bedrooms), prop.year_built) == (5, "2.5", None)
    assert (contact.full_name, contact.position) == ("Al Bo", 2)
    assert (business.name, business.employee_count) == ("Acme", 3)


def test_a_check_writes_nothing(inside):
    put(record("1", mak="M1"))

    done = check([record("1", mak="M1", title="x"), record("2", mak="M2")], source="upload")

    assert [(one.outcome, one.by) for one in done] == [("updated", "mak"), ("created", "")]
    assert (done[1].lead_id, Lead.objects.count()) == (None, 1)
    assert LeadEvent.objects.count() == 1


def test_batches_that_are_too_large_or_ambiguous_are_refused(inside):
    with pytest.raises(TooMany):
        resolve([record("1"), record("1")], source="upload")
    with pytest.raises(TooMany):
        resolve([record(str(n)) for n in range(MOST + 1)], source="upload")
    with pytest.raises(ValueError, match="no field of a lead: state"):
        resolve([record(state="new")], source="upload")


# --- plans ------------------------------------------------------------------------------------


def test_one_record_is_found_by_indexes_among_thousands(inside):
    done = resolve(
        [
            record(
                str(n),
                source_id=str(n),
                mak=f"M{n}",
                county_fips="06037",
                apn=str(n),
                points=[phone(f"+1202555{n:04d}"), email(f"u{n}@example.com")],
                **{**HOUSE, "address_line1": f"{n} Main St"},
            )
            for n in range(3000)
        ],
        source="upload",
    )
    assert {one.outcome for one in done} == {"created"}
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname, seq_tup_read FROM pg_stat_xact_user_tables"
            " WHERE relname IN ('leads', 'contact_points')"
        )
        before = dict(cursor.fetchall())
        cursor.execute(
            "SELECT verdict, found_by FROM identity_of(%s, 'upload', %s::jsonb)",
            [
                owner(),
                json.dumps(
                    {
                        **HOUSE,
                        "address_line1": "7 Main Street",
                        "source_id": "7",
                        "mak": "M7",
                        "county_fips": "06037",
                        "apn": "7",
                    }
                ),
            ],
        )
        assert cursor.fetchone() == ("lead", "vendor")
        cursor.execute(
            "SELECT verdict, found_by FROM identity_of(%s, 'upload', %s::jsonb)",
            [owner(), json.dumps({"phones": ["+12025550007"], "emails": ["u7@example.com"]})],
        )
        assert cursor.fetchone() == ("lead", "phone")
        cursor.execute(
            "SELECT relname, seq_tup_read FROM pg_stat_xact_user_tables"
            " WHERE relname IN ('leads', 'contact_points')"
        )
        assert dict(cursor.fetchall()) == before
