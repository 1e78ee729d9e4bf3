"""Finding leads: every way a person may write what they know, and nothing of others."""

from __future__ import annotations

import json

import pytest
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from integrations.models import ExternalId
from leads.actions import add_contact_point
from leads.models import Business, Contact, ContactPoint, Lead, LeadEvent, Property
from leads.search import MOST, Asked, read, search
from tenants.models import Tenant
from tests.raw import connected, rows

PHONE = "+12025550142"


@pytest.fixture
def smith(office):
    lead = office.lead(
        PHONE,
        full_name="John Smith",
        address_line1="1180 Alder St",
        company="Öresund Holdings",
        source="batchdata",
        source_id="bd-77-A",
        apn="123-45-678",
        county_fips="51059",
        mak="8005551234",
    )
    with office.inside():
        add_contact_point(lead.pk, kind="email", value="john@smith.example", source="test")
    office.lead("+12025550199", full_name="Zoe Quill", first_name="Zoe", last_name="Quill")
    return lead


def found(office, text):
    with office.inside():
        return [(hit.lead_id, hit.kind) for hit in search(text)]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("smi", "name"),
        ("SMITH", "name"),
        ("john smi", "name"),
        ("smith, john", "name"),
        ("Smith,jo", "name"),
        ("john smith jr", "name"),
        ("  john   smith ", "name"),
        ("öresund", "company"),
        ("ÖRES", "company"),
        (PHONE, "phone"),
        ("(202) 555-0142", "phone"),
        ("1 202 555 0142", "phone"),
        ("202.555.0142", "phone"),
        ("0142", "phone"),
        ("555-0142", "phone"),
        ("+1 (202) 555-014", "phone"),
        ("john@smith.example", "email"),
        ("JOHN@Smith.Example", "email"),
        ("1180 al", "address"),
        ("alder", "address"),
        ("bd-77-A", "code"),
        ("123-45-678", "code"),
        ("8005551234", "code"),
    ],
)
def test_a_lead_is_found_by_all_that_is_known_of_it(office, smith, text, kind):
    hits = [hit for hit in found(office, text) if hit[1] == kind]

    assert hits[0] == (smith.pk, kind)


@pytest.mark.django_db
@pytest.mark.parametrize(
    "text",
    ["ohn", "smith, zoe", "zoe smith", "john smithers", "014", "0143", "j", "", "  ", "80055"],
)
def test_what_nobody_is_called_finds_nothing(office, smith, text):
    assert found(office, text) == []


@pytest.mark.django_db
def test_ids_of_ours_and_of_other_systems_find_their_lead(office, smith):
    with office.inside():
        contact = Contact.objects.create(lead=smith, full_name="Ann Smith")
        house = Property.objects.create(lead=smith, source="batchdata")
        business = Business.objects.create(lead=smith, name="Smith LLC")
        point = ContactPoint.objects.filter(lead=smith).first()
        ExternalId.objects.create(integration=office.integration, external_id="ghl99", lead=smith)

    for text in (smith.pk, contact.pk, house.pk, business.pk, point.pk):
        assert found(office, text) == [(smith.pk, "id")], text
    assert found(office, "ghl99") == [(smith.pk, "code")]
    assert found(office, smith.pk.replace("lead_", "con_")) == []


@pytest.mark.django_db
def test_the_surest_find_comes_first_and_a_lead_comes_once(office):
    street = office.lead("+12025550111", full_name="A", address_line1="4444 Smith Rd")
    person = office.lead("+12025550112", full_name="Smith Smith", company="Smith")
    number = office.lead("+12025554444", full_name="B")

    assert found(office, "smith") == [(person.pk, "name"), (street.pk, "address")]
    assert [hit[0] for hit in found(office, "4444")] == [number.pk]


@pytest.mark.django_db
def test_merged_leads_are_found_by_their_id_alone(office, smith):
    stays = office.lead("+12025550113", full_name="Other")
    with office.inside(), connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        Lead.objects.filter(pk=smith.pk).update(
            merged_into=stays.pk, superseded_at=cursor.fetchone()[0]
        )

    assert found(office, "john smith") == []
    assert found(office, "bd-77-A") == []
    assert found(office, smith.pk) == [(smith.pk, "id")]


@pytest.mark.django_db
def test_leads_of_other_tenants_are_not_found_by_anything(office, other_office, smith):
    for text in (smith.pk, "smi", "smith, john", "0142", PHONE, "alder", "bd-77-A", "123-45-678"):
        assert found(other_office, text) == [], text
        assert found(office, text) != [], text
    assert rows("SELECT * FROM find_leads(%s, 50)", json.dumps({"words": "john"})) == []


@pytest.mark.django_db
def test_no_caller_names_the_tenant_or_gets_more_than_fifty(office):
    for number in range(60):
        office.lead(f"+1202777{number:04d}", full_name=f"Many {number}")

    with office.inside():
        assert len(search("many", most=1000)) == MOST == 50
        assert len(rows("SELECT * FROM find_leads(%s, 9999)", json.dumps({"words": "many"}))) == 50
        tenant = str(Tenant.objects.get(slug="harbor").pk)
        asked = {"words": "many", "owner": tenant}
        assert len(rows("SELECT * FROM find_leads(%s, -1)", json.dumps(asked))) == 0


@pytest.mark.django_db
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(text=st.text(max_size=60))
def test_any_text_is_read_without_an_error(office, text):
    with office.inside():
        assert len(search(text)) <= MOST


def test_wild_cards_are_letters_like_any_other():
    assert read("100%").words is None
    assert read("a%").words == "a%"
    assert read("x") == Asked()


#: What is typed → indexes that must answer, and the table that must not be read whole.
PLANS = {
    "person 0042": {"leads_full_name", "leads_company", "leads_address"},
    "zebra": {"leads_full_name", "leads_surname", "leads_company", "leads_street"},
    "zebra, person": {"leads_surname"},
    "(202) 600-0042": {"contact_points_value"},
    "0042": {"contact_points_tail"},
    "202 600": {"contact_points_value"},
    "p42@example.com": {"contact_points_value"},
    "sid-42": {"ux_leads_vendor", "ux_leads_mak", "ux_leads_apn"},
}


@pytest.fixture
def crowd(committed_office):
    """4,000 leads with a number and an address each, seen by other connections."""
    office, most = committed_office, 4000
    with office.inside():
        leads = Lead.objects.bulk_create(
            Lead(
                full_name=f"Person {n:04d}",
                last_name=f"Name{n:04d}",
                company=f"Company {n:04d}",
                address_line1=f"{n} Street{n:04d} Rd",
                source=("upload", "pull")[n % 2],
                source_id=f"sid-{n}",
                county_fips="51059",
                apn=f"apn-{n}",
                mak=f"mak{n}",
            )
            for n in range(most)
        )
        LeadEvent.objects.bulk_create(
            LeadEvent(lead=lead, seq=0, kind="created", to_state="new") for lead in leads
        )
        ContactPoint.objects.bulk_create(
            ContactPoint(lead=lead, kind=kind, normalized=value)
            for n, lead in enumerate(leads)
            for kind, value in (("phone", f"+1202600{n:04d}"), ("email", f"p{n}@example.com"))
        )
    with connected(as_owner=True) as own:
        own.execute("ANALYZE leads, contact_points")
        own.commit()
    return office


def scans(cursor):
    """Return (whole reads of the two tables, used indexes) of the open transaction."""
    cursor.execute(
        "SELECT coalesce(sum(seq_scan), 0) FROM pg_stat_xact_user_tables"
        " WHERE relname IN ('leads', 'contact_points')"
    )
    whole = cursor.fetchone()[0]
    cursor.execute(
        "SELECT i.relname, pg_stat_get_xact_numscans(i.oid) FROM pg_class AS i"
        " JOIN pg_index AS x ON x.indexrelid = i.oid"
        " WHERE x.indrelid IN ('leads'::regclass, 'contact_points'::regclass)"
    )
    return whole, dict(cursor.fetchall())


@pytest.mark.django_db(transaction=True)
def test_every_search_is_answered_by_its_index(crowd):
    for text, wanted in PLANS.items():
        for _ in range(7):  # beyond the fifth a function may plan once and for all
            with crowd.inside(), connection.cursor() as cursor:
                whole, before = scans(cursor)
                hits = search(text)
                whole_after, after = scans(cursor)
            used = {name for name, times in after.items() if times > before[name]}
            assert hits or "zebra" in text, text
            assert (whole_after - whole, wanted - used) == (0, set()), (text, used)
