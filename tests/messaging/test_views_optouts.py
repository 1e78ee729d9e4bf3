"""The pages of the registry: what they show, who may do what, and how often they ask."""

from __future__ import annotations

import io
import re
from datetime import timedelta
from urllib.parse import unquote

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db.models import F
from django.utils import timezone

from integrations.models import Integration
from leads.actions import Choice, record_choice
from leads.models import Consent, ConsentEvent, Redaction
from messaging.actions.consent import confirm_hold, opt_out
from messaging.actions.suppressions import advance, check_file
from messaging.models import ConsentAck, ContactRule, DossierExport, SuppressionList
from tests.conftest import THEIRS
from tests.messaging.pages import client_of, person, queries, url

pytestmark = pytest.mark.django_db

NUMBER = "+15035550142"


@pytest.fixture
def agent(office):
    return client_of(office.agent)


@pytest.fixture
def operator(office):
    return person(office, role="operator", name="Olga Operator")[1]


@pytest.fixture
def admin(office):
    return person(office, role="tenant_admin", name="Tara Admin")[1]


def page(client, office, path="", **query):
    answer = client.get(url(office, f"optouts/{path}"), query)
    assert answer.status_code == 200, answer.status_code
    return answer.content.decode()


def record(office, address=NUMBER, kind="opt_out", **more):
    with office.inside():
        return record_choice(Choice(address=address, kind=kind, **more))


# --- the list ---------------------------------------------------------------------------------


def test_filters_narrow_the_list(office, agent):
    record(office, "+15035550101", reason="asked")
    record(office, "+15035550102", kind="opt_in")
    record(office, "+15035550103", source="texting", keyword="stop")
    record(office, "+15035550104", channel="call")
    record(office, "+15035550105", scope="list:sup_1")

    def shown(**query):
        return set(re.findall(r"optouts/(\+1503555\d{4})/", page(agent, office, **query)))

    assert len(shown()) == 5
    assert shown(state="opted_in") == {"+15035550102"}
    assert shown(source="texting") == {"+15035550103"}
    assert shown(channel="call") == {"+15035550104"}
    assert shown(scope="list") == {"+15035550105"}
    assert shown(q="0101") == {"+15035550101"}
    assert shown(q="503 555 0103") == {"+15035550103"}
    assert shown(until="2001-01-01") == set()
    assert shown(since=f"{timezone.localdate() - timedelta(days=1)}") == shown()
    assert "Nothing fits" in page(agent, office, until="2001-01-01")
    assert "Four digits at least" in page(agent, office, q="01")


def test_odd_filters_are_left_out(office, agent):
    record(office)

    for odd in ({"state": "x"}, {"since": "soon"}, {"after": "x~y"}, {"q": "\x00"}, {"since": "0"}):
        assert agent.get(url(office, "optouts/"), odd).status_code == 200


def test_holds_come_first_to_be_decided(office, agent):
    office.receive("stop by tomorrow?", theirs="+15035550101")
    text = page(agent, office)

    assert "To decide" in text
    assert "stop by tomorrow?" in text
    with office.inside():
        confirm_hold("+15035550101", actor_id=office.agent.pk)
    assert "To decide" not in page(agent, office)


def test_pages_follow_each_other_without_a_gap(office, agent):
    for n in range(120):
        record(office, f"+1503555{n:04d}")
    seen, query = [], {}
    for _ in range(5):
        text = page(agent, office, **query)
        seen += re.findall(r"optouts/(\+1503555\d{4})/\"", text)
        more = re.search(r"after=([^\"]+)\">Older", text)
        if not more:
            break
        query = {"after": unquote(more[1])}

    assert len(seen) == len(set(seen)) == 120


def asked(office, client, path="optouts/"):
    client.get(url(office, path))
    with queries() as sql:
        assert client.get(url(office, path)).status_code == 200
    return len(sql)


@pytest.mark.parametrize("path", ["", "figures/", "lists/", "rules/"])
def test_queries_are_as_many_for_a_thousand_rows(office, agent, path):
    for n in range(10):
        record(office, f"+1503555{n:04d}")
    path = f"optouts/{path}"
    few = asked(office, agent, path)
    with office.inside():
        for n in range(10, 200):
            record_choice(Choice(address=f"+1503555{n:04d}", kind="hold" if n % 3 else "opt_out"))
        Consent.objects.bulk_create(Consent(address=f"+1503666{n:04d}") for n in range(800))
        SuppressionList.objects.bulk_create(
            SuppressionList(name=f"n{n}", source="x", reason="x") for n in range(60)
        )

    assert asked(office, agent, path) == few <= 12


def test_the_export_is_what_the_filters_show(office, agent):
    record(office, "+15035550101", reason="=1+1")
    record(office, "+15035550102", kind="opt_in")

    answer = agent.get(url(office, "optouts/export/"), {"state": "opted_out"})
    text = b"".join(answer.streaming_content).decode()

    assert "attachment" in answer["Content-Disposition"]
    assert "+15035550101" in text
    assert "'=1+1" in text
    assert "+15035550102" not in text


# --- one number -------------------------------------------------------------------------------


def test_the_page_of_a_number_is_its_dossier(office, agent):
    office.receive("STOP")
    text = page(agent, office, f"{THEIRS}/")

    assert "Blocked since" in text
    assert "Copy proof" in text
    assert re.search(r"blocked \d+(\.\d)? ms after receipt", text)
    assert "signature valid" in text
    assert "messageBody" in text
    assert re.search(r"SHA-256</dt><dd class=\"mono break\">[0-9a-f]{64}", text)
    assert "Stopped with it: 1 \N{MULTIPLICATION SIGN} lead suppressed" in text


def test_a_script_in_a_text_is_only_text(office, agent):
    office.receive("STOP <script>alert(1)</script>")
    text = page(agent, office, f"{THEIRS}/")

    assert "<script>alert" not in text


def test_a_listed_number_is_blocked_whoever_opted_in(office, agent):
    record(office, kind="opt_in")
    record(office, scope="list:sup_1")

    text = page(agent, office, f"{NUMBER}/")

    assert "Blocked since" in text
    assert "on a suppression list" in text


@pytest.mark.parametrize(
    ("days", "words"),
    [(9, "business days? left"), (-20, '<span class="late">\\d+ business days late')],
)
def test_the_clock_of_an_acknowledgement(office, operator, days, words):
    event = record(office)
    with office.inside():
        ConsentAck.objects.create(
            consent_event=ConsentEvent.objects.get(pk=event),
            integration=Integration.objects.get(),
            due_at=timezone.now() + timedelta(days=days),
        )
    text = page(operator, office, f"{NUMBER}/")

    assert re.search(words, text)
    assert "Tell again" in text
    with office.inside():
        ack = ConsentAck.objects.get()
        ConsentAck.objects.update(state="failed", next_at=None)
    answer = operator.post(url(office, "optouts/acks/retry/"), {"ack": ack.pk})
    assert answer.status_code == 302
    with office.inside():
        assert ConsentAck.objects.get().state == "pending"


def test_a_foreign_acknowledgement_is_404(office, other_office, operator):
    event = record(other_office)
    with other_office.inside():
        ack = ConsentAck.objects.create(
            consent_event=ConsentEvent.objects.get(pk=event),
            integration=Integration.objects.get(),
            due_at=timezone.now(),
        )

    assert operator.post(url(office, "optouts/acks/retry/"), {"ack": ack.pk}).status_code == 404


def test_mail_addresses_have_a_page_too(office, agent):
    record(office, "ann@example.com", channel="email")

    assert "Opt-out" in page(agent, office, "ann@example.com/")
    assert "ann@example.com" in page(agent, office)


# --- dossier, check, erasure ------------------------------------------------------------------


def test_a_dossier_is_downloaded_and_recognised(office, agent):
    office.receive("STOP")
    answer = agent.post(url(office, f"optouts/{THEIRS}/dossier/"))
    data = answer.content

    with office.inside():
        assert DossierExport.objects.get().head == answer["X-Dossier-Head"]
    assert answer["X-Dossier-Head"] in page(agent, office, f"{THEIRS}/")

    def said(content):
        given = SimpleUploadedFile("dossier.jsonl", content)
        answer = agent.post(url(office, "optouts/check-file/"), {"file": given}, follow=True)
        return answer.content.decode()

    assert "Genuine" in said(data)
    assert "Changed" in said(data.replace(b"STOP", b"STAP").replace(b"opt_out", b"opt_in_"))
    assert (
        "Choose a dossier"
        in agent.post(url(office, "optouts/check-file/"), follow=True).content.decode()
    )


def test_the_script_is_offered(office, agent):
    answer = agent.get(url(office, "optouts/verify_dossier.py"))

    assert answer.status_code == 200
    assert b"hashlib" in answer.content


def test_erasing_needs_the_role_the_tick_and_a_reason(office, agent, admin):
    office.receive("STOP")
    address = url(office, f"optouts/{THEIRS}/erase/")

    assert "Erase for good" not in page(agent, office, f"{THEIRS}/")
    assert agent.post(address, {"sure": "yes", "reason": "x"}).status_code == 403
    assert "Erase for good" in page(admin, office, f"{THEIRS}/")
    for values in ({"reason": "x"}, {"sure": "yes", "reason": ""}):
        admin.post(address, values)
        with office.inside():
            assert not Redaction.objects.exists()

    answer = admin.post(address, {"sure": "yes", "reason": "letter"}, follow=True)

    text = answer.content.decode()
    assert "Erased address" in text
    assert "Blocked" in text
    assert "The body was erased." in text
    assert "2025550142" not in text
    assert "Erase for good" not in text
    assert "erased:" in page(admin, office)


# --- lists ------------------------------------------------------------------------------------


def upload(client, office, text=f"phone\n{NUMBER}\nhello\n", **more):
    values = {
        "file": SimpleUploadedFile("dnc.csv", text.encode()),
        "name": "DNC",
        "source": "registry",
        "reason": "by law",
        "channel": "sms",
        **more,
    }
    return client.post(url(office, "optouts/lists/add/"), values)


def test_a_list_goes_from_file_to_undo(office, operator):
    shown = operator.get(upload(operator, office).url).content.decode()
    assert "Nothing is blocked yet" in shown
    assert "this is no phone number" in shown
    with office.inside():
        made = SuppressionList.objects.get()
    act = url(office, f"optouts/lists/{made.pk}/act/")

    operator.post(act, {"do": "apply"})
    assert "Being applied" in page(operator, office, f"lists/{made.pk}/")
    assert 'hx-trigger="every 1s"' in page(operator, office, f"lists/{made.pk}/progress/part/")
    while advance(office.tenant.pk):
        pass
    assert "every 1s" not in page(operator, office, f"lists/{made.pk}/progress/part/")
    assert "Blocked since" in page(operator, office, f"{NUMBER}/")
    assert (
        "hello" in operator.get(url(office, f"optouts/lists/{made.pk}/rejects/")).content.decode()
    )

    assert "Say why" in operator.post(act, {"do": "undo"}, follow=True).content.decode()
    operator.post(act, {"do": "undo", "reason": "wrong file"})
    while advance(office.tenant.pk):
        pass
    assert "Blocked since" not in page(operator, office, f"{NUMBER}/")
    assert "Undone" in page(operator, office, "lists/")


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"reason": " "}, "Say how the list"),
        ({"expires": "soon"}, "no date"),
        ({"expires": "2001-01-01"}, "ended already"),
        ({"text": "a,b\nc,d\n"}, "No column"),
    ],
)
def test_a_bad_upload_says_why_and_keeps_what_was_typed(office, operator, more, words):
    answer = upload(operator, office, **more)

    assert answer.status_code == 422
    assert words in answer.content.decode()
    assert 'value="DNC"' in answer.content.decode()
    with office.inside():
        assert not SuppressionList.objects.exists()


def test_agents_see_lists_and_bring_none(office, agent):
    with office.inside():
        made = check_file(io.BytesIO(b"2025550111"), name="x", source="x", reason="x")

    assert "Import a list" not in page(agent, office, "lists/")
    assert "What to do" not in page(agent, office, f"lists/{made.pk}/")
    assert upload(agent, office).status_code == 403
    answer = agent.post(url(office, f"optouts/lists/{made.pk}/act/"), {"do": "apply"})
    assert answer.status_code == 403


# --- figures and rules ------------------------------------------------------------------------


def test_figures_have_counts_and_their_time(office, agent):
    office.receive("STOP")
    text = page(agent, office, "figures/")

    assert "1 opt-out since" in text
    assert "p50" in text
    assert "0 confirmed of 0 decided" in text


def test_rules_are_read_here_and_edited_in_the_admin(office, agent, operator):
    with office.inside():
        ContactRule.objects.filter(jurisdiction="US-FL").update(reviewed_on="2026-10-01")
    text = page(agent, office, "rules/")

    assert "Not legal advice" in text
    assert "47 CFR 64.1200(c)(1)" in text
    assert "1 Oct 2026" in text
    assert "3 texts" in text
    assert "not at all" in text
    assert "Edit in the admin" not in text
    assert "Edit in the admin" in page(operator, office, "rules/")


def test_an_opt_out_by_hand_still_works_from_the_list(office, agent):
    agent.post(url(office, "optouts/add/"), {"address": "503 555 0142", "reason": "By phone"})
    with office.inside():
        assert (
            Consent.objects.filter(address=NUMBER, rev=F("proved_rev")).get().state == "opted_out"
        )
        opt_out(Choice(address=NUMBER, kind="opt_out", reason="again"))
    assert "By phone" in page(agent, office, f"{NUMBER}/")
