"""Everything about one lead: its tabs, its story, edits, artifacts, and keys of the API."""

from __future__ import annotations

import hashlib
import re
from urllib.parse import unquote

import pytest
from django.utils import timezone

from integrations.models import (
    ExternalId,
    VendorAnswer,
    VendorCall,
    WaterfallStage,
)
from leads.actions import Choice, add_contact_point, create_lead, put_label, record_choice
from leads.actions_leads import version_of
from leads.models import (
    Business,
    Contact,
    ContactPoint,
    Lead,
    LeadActivity,
    LeadEvent,
    LeadLabel,
    LeadScore,
    MergeReview,
    Property,
    QualityScore,
    Verification,
)
from messaging.views.lead import TABS
from pipelines.artifacts import keep
from pipelines.models import Artifact
from tenants.models import ApiKey, AuditEntry
from tests.messaging.pages import client_of, make_thread, person, queries, say, url

pytestmark = pytest.mark.django_db

#: Queries of any side of a lead, whatever hangs from it.
MOST_QUERIES = 12
PHONE = "+12025550142"


@pytest.fixture
def agent(office):
    return client_of(office.agent)


@pytest.fixture
def rich(office):
    """A lead with something of everything."""
    lead = office.lead(
        PHONE,
        full_name="Marisol Ortega",
        address_line1="12 Elm St",
        city="Austin",
        region="TX",
        postal_code="78701",
        source="batchdata",
        source_id="bd-1",
    )
    with office.inside():
        answer = keep(
            b'{"city": "Austin", "deep": [1, {"x": null}]}', artifact_type="vendor_answer"
        )
        said = {"source": "melissa", "at": timezone.now().isoformat(), "artifact": answer.pk}
        Lead.objects.filter(pk=lead.pk).update(provenance={"city": said})
        point = ContactPoint.objects.get(lead=lead)
        ContactPoint.objects.filter(pk=point.pk).update(dnc=True, litigator=False)
        proof = Verification.objects.create(
            point=point, provider="twilio", code="mobile", verdict="verified", artifact=answer
        )
        ContactPoint.objects.filter(pk=point.pk).update(
            verified_at=timezone.now(), verified_by="twilio", verification=proof
        )
        Contact.objects.create(lead=lead, full_name="Luis Ortega", is_litigator=None)
        Property.objects.create(lead=lead, source="batchdata", address_line1="12 Elm St")
        Business.objects.create(lead=lead, name="Ortega LLC")
        LeadActivity.objects.create(lead=lead, kind="note", subject="Walked the house")
        parts = {"email": None, "phone": 30, "parcel": 0, "occupied": None, "demographics": None}
        LeadScore.objects.create(lead=lead, score=30, band="low", rule_version=1, **parts)
        for points in (10, 30):
            QualityScore.objects.create(
                lead=lead, score=points, band="low", rule_version=1, phone=points
            )
        ExternalId.objects.create(integration=office.integration, external_id="ghl-9", lead=lead)
        put_label(lead.pk, key="GOLD", source="x")
        call = VendorCall.objects.create(
            provider="melissa",
            service="personator",
            integration=office.integration,
            lead=lead,
            fingerprint="0" * 64,
            reserved_cents=12,
            day=timezone.now().date(),
        )
        VendorAnswer.objects.create(call=call, result="hit", cost_cents=5, artifact=answer)
        WaterfallStage.objects.create(
            integration=office.integration,
            name="Melissa",
            service="personator",
            position=1,
            price_cents=12,
        )
        twin = create_lead(full_name="M Ortega", phone=PHONE)
        left, right = sorted([lead.pk, twin.pk])
        MergeReview.objects.create(left_id=left, right_id=right, score=72, source="finder")
    return {"lead": lead, "artifact": answer, "twin": twin, "point": point}


def side(client, office, lead, tab):
    answer = client.get(url(office, f"leads/{lead.pk}/"), {"tab": tab})
    assert answer.status_code == 200
    return answer.content.decode()


def test_each_side_shows_what_it_is_for(office, agent, rich):
    wanted = {
        "overview": ["GOLD", "Text this lead", "1 lead may be the same"],
        "reach": ["Twilio: mobile", "Luis Ortega", "Do not call", "Unknown", "No choice recorded"],
        "score": ["Verified mobile or VoIP", "Last 2 scores: 10, 30", "Unknown is not zero"],
        "records": ["12 Elm St", "Ortega LLC"],
        "origin": ["Melissa", "ghl-9", "bd-1"],
        "enrichment": ["$0.05", "$0.12", "Personator"],
    }
    assert set(wanted) == set(TABS)
    for tab, words in wanted.items():
        html = side(agent, office, rich["lead"], tab)
        for word in words:
            assert word in html, (tab, word)
    assert agent.get(url(office, f"leads/{rich['lead'].pk}/"), {"tab": "x"}).status_code == 404


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ("kin", ["72 of 100 sure", "M Ortega", "Who shares a number gets one text."]),
        ("cards", ["Walked the house", "No card was made."]),
    ],
)
def test_what_is_heavy_comes_after_the_page(office, agent, rich, part, words):
    address = url(office, f"leads/{rich['lead'].pk}/more/part/")
    with queries() as sent:
        html = agent.get(address, {"part": part}).content.decode()

    assert len(sent) <= MOST_QUERIES
    for word in words:
        assert word in html, word
    assert agent.get(address, {"part": "household"}).status_code == 404


def test_lists_that_nobody_asked_are_unknown_and_not_no(office, agent, rich):
    html = side(agent, office, rich["lead"], "reach")
    marks = dict(
        re.findall(r"<dt>([^<]+)</dt><dd><span class=\"chip chip--\w+\">(\w+)</span>", html)
    )

    assert marks == {"Do not call": "Yes", "Litigator": "No", "TCPA": "Unknown"}


def test_a_part_without_evidence_is_unknown_and_one_without_points_is_zero(office, agent, rich):
    html = side(agent, office, rich["lead"], "score")
    rows = re.findall(r"<tr><td>([^<]+)</td>.*?<td class=\"num nowrap\">(.*?)</td></tr>", html)
    said = {name: re.sub(r"<[^>]+>", "", text).strip() for name, text in rows}

    assert said["Verified e-mail"] == "Unknown"
    assert said["Address key and parcel"].startswith("0")
    assert said["Verified mobile or VoIP"].startswith("30")


def test_a_field_leads_to_its_proof_in_one_click(office, agent, rich):
    html = side(agent, office, rich["lead"], "origin")
    row = re.search(r'<th scope="row">City</th>.*?</tr>', html, re.S)[0]
    link = re.search(r'href="([^"]+)">Artifact', row)[1]

    page = agent.get(link, follow=True).content.decode()

    assert "Melissa" in row
    assert rich["artifact"].checksum in page
    assert "Verified" in page


def test_provenance_that_is_damaged_breaks_no_page(office, agent, rich):
    with office.inside():
        Lead.objects.filter(pk=rich["lead"].pk).update(
            provenance={"city": {"at": 3, "actor": "x"}, "nonsense": {}, "age": {"at": "never"}}
        )

    assert "Austin" in side(agent, office, rich["lead"], "origin")


@pytest.mark.parametrize("tab", list(TABS))
def test_no_side_costs_more_than_twelve_queries_however_much_hangs_from_it(office, rich, tab):
    _, operator = person(office, role="operator")
    with queries() as few:
        side(operator, office, rich["lead"], tab)
    with office.inside():
        for number in range(30):
            add_contact_point(
                rich["lead"].pk, kind="phone", value=f"+1202556{number:04d}", source="x"
            )
            Contact.objects.create(lead=rich["lead"], full_name=f"Person {number}")
            Property.objects.create(lead=rich["lead"], source=f"s{number}")
            QualityScore.objects.create(
                lead=rich["lead"], score=10, band="low", rule_version=1, phone=10
            )
    with queries() as lots:
        side(operator, office, rich["lead"], tab)

    budget = MOST_QUERIES + (6 if tab == "overview" else 0)  # the composer asks for itself
    assert (len(few), len(lots) <= budget) == (len(lots), True), (len(few), len(lots))


# --- story --------------------------------------------------------------------------------------


def test_the_story_tells_every_kind_and_can_be_narrowed(office, agent, rich):
    part = url(office, f"leads/{rich['lead'].pk}/story/part/")
    with queries() as sent:
        whole = agent.get(part).content.decode()
    only = agent.get(part, {"kind": ["enrichment"]}).content.decode()

    for word in ("Lead created", "Score 30, low", "Melissa personator: hit", "Walked the house"):
        assert word in whole, word
    assert "Melissa personator: hit" in only
    assert "Lead created" not in only
    assert len(sent) <= MOST_QUERIES + 1  # and whom it was merged with


def test_the_story_goes_on_where_it_stopped(office, agent):
    conversation = make_thread(office, "first words")
    with office.inside():
        for number in range(60):
            say(conversation, f"text number {number:02d}")
    part = url(office, f"leads/{conversation.lead_id}/story/part/")
    first = agent.get(part, {"kind": "messages"}).content.decode()
    before = re.search(r"before=([^&\"]+)", first)[1]

    second = agent.get(part, {"kind": "messages", "before": unquote(before)}).content.decode()

    told = re.findall(r"text number \d\d", first + second)
    assert len(told) == len(set(told)) == 60
    assert "first words" in second
    assert agent.get(part, {"before": "x"}).status_code == 404
    assert agent.get(part, {"before": "2026-01-01"}).status_code == 404


# --- edits --------------------------------------------------------------------------------------


def form_of(client, office, lead):
    html = client.get(url(office, f"leads/{lead.pk}/edit/")).content.decode()
    fields = dict(re.findall(r'<input type="(?:text|number)" name="(\w+)" value="([^"]*)"', html))
    return fields | {"seen": re.search(r'name="seen" value="(\w+)"', html)[1]}


def test_an_edit_is_saved_with_who_said_so(office, agent, rich):
    lead = rich["lead"]
    form = form_of(agent, office, lead) | {"city": "Dallas", "owner_occupied": "true"}

    answer = agent.post(url(office, f"leads/{lead.pk}/edit/"), form)

    assert answer.status_code == 302, answer.content.decode()
    with office.inside():
        fresh = Lead.objects.get(pk=lead.pk)
        said = fresh.provenance["city"]
        event = LeadEvent.objects.get(lead=lead, kind="edited")
        entry = AuditEntry.objects.get(action="lead.edited")
    assert (fresh.city, fresh.owner_occupied) == ("Dallas", True)
    assert (said["source"], said["actor"]) == ("person", office.agent.pk)
    assert event.payload["fields"] == ["city", "owner_occupied"]
    assert entry.before == {"city": "Austin", "owner_occupied": None}
    assert "Edited by a person" in side(agent, office, lead, "overview")


def test_an_edit_of_something_older_shows_both_and_loses_neither(office, agent, rich):
    lead = rich["lead"]
    form = form_of(agent, office, lead)
    first = agent.post(url(office, f"leads/{lead.pk}/edit/"), form | {"city": "Dallas"})
    second = agent.post(url(office, f"leads/{lead.pk}/edit/"), form | {"city": "Waco"})
    html = second.content.decode()

    assert (first.status_code, second.status_code) == (302, 409)
    assert 'Dallas</td><td class="break">Waco' in html
    with office.inside():
        assert Lead.objects.get(pk=lead.pk).city == "Dallas"
    again = form | {"city": "Waco", "seen": re.search(r'name="seen" value="(\w+)"', html)[1]}
    assert agent.post(url(office, f"leads/{lead.pk}/edit/"), again).status_code == 302


def test_an_address_and_owner_of_another_lead_is_refused_with_its_name(office, agent, rich):
    with office.inside():
        lead = create_lead(full_name="Marisol Ortega", phone="+12025550999")
    form = form_of(agent, office, lead)
    place = {
        "address_line1": "12 Elm Street",
        "city": "Austin",
        "region": "tx",
        "postal_code": "78701",
    }

    answer = agent.post(url(office, f"leads/{lead.pk}/edit/"), form | place)
    html = answer.content.decode()

    assert answer.status_code == 409
    assert "Another lead has this address and owner" in html
    assert url(office, f"leads/{rich['lead'].pk}/") in html
    assert "12 Elm Street" in html
    with office.inside():
        fresh = Lead.objects.get(pk=lead.pk)
        assert (fresh.address_line1, version_of(fresh)) == ("", form["seen"])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("county_fips", "12"),
        ("region", "Texas"),
        ("age", "900"),
        ("age", "old"),
        ("property_value", "9" * 30),
        ("property_value", "-1"),
        ("time_zone", "Moon/Base"),
        ("city", "a\x00b"),
        ("full_name", "x" * 300),
    ],
)
def test_a_value_that_cannot_be_is_refused_under_its_field(office, agent, rich, field, value):
    form = form_of(agent, office, rich["lead"]) | {field: value}

    answer = agent.post(url(office, f"leads/{rich['lead'].pk}/edit/"), form)

    assert answer.status_code == 422
    assert 'role="alert"' in answer.content.decode()


def test_observers_do_not_edit_and_merged_leads_are_not_edited(office, agent, rich):
    _, observer = person(office, role="observer")
    address = url(office, f"leads/{rich['lead'].pk}/edit/")
    assert observer.get(address).status_code == 403
    assert observer.post(address, {"city": "x"}).status_code == 403
    with office.inside():
        Lead.objects.filter(pk=rich["lead"].pk).update(
            merged_into=rich["twin"].pk, superseded_at=timezone.now()
        )
    assert agent.get(address).status_code == 404
    told = agent.get(url(office, f"leads/{rich['lead'].pk}/"), follow=True).content.decode()
    assert "became part of this lead" in told


def test_points_and_labels_are_added_and_taken_off(office, agent, rich):
    base = f"leads/{rich['lead'].pk}/"
    agent.post(url(office, f"{base}points/"), {"kind": "phone", "value": "(202) 555-0177"})
    told = agent.post(
        url(office, f"{base}points/"), {"kind": "phone", "value": "12"}, follow=True
    ).content.decode()
    agent.post(url(office, f"{base}label/"), {"name": "Call first", "kind": "flag"})
    with office.inside():
        label = LeadLabel.objects.get(lead=rich["lead"], label__key="call-first").label
        assert ContactPoint.objects.filter(normalized="+12025550177").exists()
    agent.post(url(office, f"{base}label/"), {"off": label.pk})

    assert "Write the number as" in told
    with office.inside():
        assert not LeadLabel.objects.filter(label=label).exists()


def test_who_may_not_spend_cannot_enrich(office, agent, rich):
    assert agent.post(url(office, f"leads/{rich['lead'].pk}/enrich/")).status_code == 403


def test_an_opt_out_is_shown_beside_its_number(office, agent, rich):
    with office.inside():
        record_choice(Choice(address=PHONE, kind="opt_out"))

    assert "Opted out" in side(agent, office, rich["lead"], "reach")


# --- artifacts ----------------------------------------------------------------------------------


def test_an_artifact_is_shown_as_a_tree_with_its_lineage_and_downloaded_as_it_came(office, agent):
    with office.inside():
        parent = keep(b"a,b\n1,2\n", artifact_type="csv_import", mime_type="text/csv")
        child = keep(b'{"a": {"b": "<script>"}}', artifact_type="answer", parents=[parent])
    page = agent.get(url(office, f"artifacts/{child.pk}/")).content.decode()
    above = agent.get(url(office, f"artifacts/{parent.pk}/")).content.decode()
    file = agent.get(url(office, f"artifacts/{parent.pk}/raw/"))

    assert "&lt;script&gt;" in page
    assert f"artifacts/{parent.pk}/" in page
    assert f"artifacts/{child.pk}/" in above
    assert (file.content, file["Content-Type"]) == (b"a,b\n1,2\n", "application/octet-stream")
    assert f'filename="{parent.pk}.csv"' in file["Content-Disposition"]


def test_a_damaged_artifact_says_so_and_is_not_handed_out(office, agent):
    content = b'{"a": 1}'
    with office.inside():
        bad = Artifact.objects.create(
            artifact_type="answer",
            content=content,
            size=len(content),
            checksum=hashlib.sha256(b"else").hexdigest(),
        )
        gone = Artifact.objects.create(
            artifact_type="answer",
            storage="object",
            path="no/where",
            size=200_000,
            checksum=hashlib.sha256(content).hexdigest(),
        )
    for one in (bad, gone):
        page = agent.get(url(office, f"artifacts/{one.pk}/")).content.decode()
        assert "This is not what was kept." in page
        assert one.checksum in page
        assert agent.get(url(office, f"artifacts/{one.pk}/raw/")).status_code == 404


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"null", b"[[[[", b'"word"', b"[]"])
def test_artifacts_of_any_content_have_a_page(office, agent, content):
    with office.inside():
        one = keep(content, artifact_type="odd")

    assert agent.get(url(office, f"artifacts/{one.pk}/")).status_code == 200


# --- keys ---------------------------------------------------------------------------------------


def test_a_key_is_shown_once_rotated_and_revoked(office):
    boss, admin = person(office, role="tenant_admin")
    made = admin.post(
        url(office, "keys/make/"), {"name": "CRM", "scope": ["leads:read"], "per_minute": "60"}
    )
    secret = re.search(r'id="new-key">(fl_[\w-]+)<', made.content.decode())[1]
    listed = admin.get(url(office, "keys/")).content.decode()
    with office.inside():
        key = ApiKey.objects.get()
    rotated = admin.post(url(office, f"keys/{key.pk}/act/"), {"do": "rotate", "overlap": "24"})
    admin.post(url(office, f"keys/{key.pk}/act/"), {"do": "revoke", "reason": "Leaked"})

    assert made["Cache-Control"] == "no-store"
    assert secret not in listed
    assert secret[:8] in listed
    assert re.search(r'id="new-key">(fl_[\w-]+)<', rotated.content.decode())[1] != secret
    assert "Revoked" in admin.get(url(office, "keys/")).content.decode()
    with office.inside():
        assert key.per_minute == 60
        entries = AuditEntry.objects.filter(object_id=key.pk).order_by("id")
        assert [one.action for one in entries] == [
            "apikey.made",
            "apikey.rotated",
            "apikey.revoked",
        ]
        assert {one.actor_id for one in entries} == {boss.pk}
        assert entries[2].reason == "Leaked"


@pytest.mark.parametrize(
    "form",
    [
        {"name": "", "scope": ["leads:read"]},
        {"name": "x"},
        {"name": "x", "scope": ["root"]},
        {"name": "x", "scope": ["leads:read"], "per_minute": "many"},
        {"name": "x", "scope": ["leads:read"], "per_minute": "0"},
        {"name": "x", "scope": ["leads:read"], "expires": "soon"},
        {"name": "x", "scope": ["leads:read"], "expires": "2001-01-01"},
    ],
)
def test_a_key_that_makes_no_sense_is_refused_with_words(office, form):
    _, admin = person(office, role="tenant_admin")

    answer = admin.post(url(office, "keys/make/"), form)

    assert answer.status_code == 422
    assert 'role="alert"' in answer.content.decode()
    with office.inside():
        assert not ApiKey.objects.exists()


@pytest.mark.parametrize("role", ["observer", "agent", "operator"])
def test_only_tenant_admins_see_or_make_keys(office, role):
    _, client = person(office, role=role)

    assert client.get(url(office, "keys/")).status_code == 403
    assert client.post(url(office, "keys/make/"), {"name": "x"}).status_code == 403
