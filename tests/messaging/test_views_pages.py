from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from campaigns.actions_tenants import add_member
from leads.actions import Choice, record_choice
from leads.models import Consent, ConsentEvent, ContactPoint, Lead, LeadTimer
from messaging.actions.consent import opt_out
from messaging.models import Conversation, OutboundMessage, PhoneNumber, StageMembership
from tenants.models import User
from tests.messaging.pages import client_of, make_thread, person, say, url

pytestmark = pytest.mark.django_db

NUMBER = "+15035550142"


@pytest.fixture
def agent(office):
    return client_of(office.agent)


def get(client, office, path, **query):
    return client.get(url(office, path), query)


# --- home ---------------------------------------------------------------------------------------


def test_home_says_what_waits_where_and_since_when(office, agent):
    make_thread(office, minutes=180)
    make_thread(office, minutes=5, stage="nudger", unread_for=office.agent)

    text = get(agent, office, "").content.decode()

    assert re.search(r"Waiting now</span><span class=\"figure__value\">2<", text)
    assert re.search(r'<span class="late"><time [^>]*>3 h<', text)
    assert re.search(r"Unread for you</span><span class=\"figure__value\">1<", text)


def test_home_counts_the_opt_outs_of_the_day(office, agent):
    conversation = make_thread(office)
    with office.inside():
        opt_out(Choice(address=conversation.their_number, kind="opt_out"))

    text = get(agent, office, "").content.decode()

    assert re.search(r"Opt-outs today</span><span class=\"figure__value\">1<", text)


def test_the_start_leads_an_agent_to_their_first_inbox_and_others_home(office):
    with office.inside():
        StageMembership.objects.filter(actor=office.agent, stage="initial_message").update(
            role="observer"
        )
    _, operator = person(office, role="operator")

    assert client_of(office.agent).get("/").url == url(office, "inbox/retarget/")
    assert operator.get("/").url == url(office)


def test_who_belongs_to_two_tenants_chooses(office, other_office):
    add_member(other_office.tenant.pk, user=office.agent.user, role="agent")

    text = client_of(office.agent).get("/").content.decode()

    assert url(office) in text
    assert url(other_office) in text


def test_a_pasted_id_opens_its_page(office, agent):
    conversation = make_thread(office)
    with office.inside():
        message = say(conversation, "hello")
    page = url(office, f"inbox/initial_message/c/{conversation.pk}/")

    assert get(agent, office, f"go/{conversation.pk}/").url == page
    assert get(agent, office, f"go/{message.pk}/").url == page
    lead = url(office, f"leads/{conversation.lead_id}/")
    assert get(agent, office, f"go/{conversation.lead_id}/").url == lead
    for nothing in ("x", "conv_x", "lead", "corr_01ARZ3NDEKTSV4RRFFQ69G5FAV"):
        assert get(agent, office, f"go/{nothing}/").status_code == 404


# --- leads --------------------------------------------------------------------------------------


def test_leads_are_found_by_name_number_mail_and_id(office, agent):
    lead = office.lead(NUMBER, full_name="Priya Raman", address_line1="12 Elm St")
    office.lead("+15035550143", full_name="Dwayne Whitfield")
    with office.inside():
        ContactPoint.objects.create(
            lead=lead, kind="email", raw="p@example.com", normalized="p@example.com"
        )

    for query in ("raman", "0142", "elm", "P@example.com"):
        text = get(agent, office, "leads/", q=query).content.decode()
        assert "Priya Raman" in text, query
        assert "Dwayne" not in text, query
    by_id = get(agent, office, "leads/", q=lead.pk)
    assert by_id.url == url(office, f"go/{lead.pk}/")


def test_a_list_of_leads_goes_on_page_by_page(office, agent):
    for number in range(60):
        office.lead(f"+1503555{number:04d}", full_name=f"Lead {number:02d}")

    first = get(agent, office, "leads/").content.decode()
    after = re.search(r"after=(lead_\w+)", first)[1]
    second = get(agent, office, "leads/", after=after).content.decode()

    names = re.findall(r"Lead \d\d", first) + re.findall(r"Lead \d\d", second)
    assert len(names) == len(set(names)) == 60


def test_a_lead_page_shows_all_its_conversations_and_its_story(office, agent):
    conversation = make_thread(office, "Maybe. What would you pay?")

    text = get(agent, office, f"leads/{conversation.lead_id}/").content.decode()

    assert "Maybe. What would you pay?" in text
    assert "Lead created" in text
    assert f"c/{conversation.pk}/" in text


def test_a_merged_lead_leads_to_the_one_that_stayed(office, agent):
    lost, stayed = office.lead(NUMBER), office.lead("+15035550143")
    with office.inside():
        Lead.objects.filter(pk=lost.pk).update(merged_into=stayed.pk, superseded_at=timezone.now())

    assert get(agent, office, f"leads/{lost.pk}/").url == url(office, f"leads/{stayed.pk}/")


def text_to(client, office, lead, body="Hi, are you still the owner?", **values):
    with office.inside():
        point = ContactPoint.objects.filter(lead=lead, kind="phone").first()
        values = {
            "to": point.pk,
            "number": PhoneNumber.objects.get().pk,
            "body": body,
            "send_key": "first-text-key",
            **values,
        }
    return client.post(url(office, f"leads/{lead.pk}/text/"), values)


def test_texting_a_lead_starts_a_conversation_once(office, agent):
    lead = office.lead(NUMBER, full_name="Marisol Ortega", time_zone="America/New_York")

    answers = [text_to(agent, office, lead) for _ in range(2)]

    with office.inside():
        sent, conversation = OutboundMessage.objects.get(), Conversation.objects.get()
    assert (sent.purpose, sent.to_address) == ("first_text", NUMBER)
    page = url(office, f"inbox/initial_message/c/{conversation.pk}/")
    assert [answer.url for answer in answers] == [page, page]


def test_an_opted_out_lead_has_no_composer_and_refuses_a_text(office, agent):
    lead = office.lead(NUMBER, full_name="Marisol Ortega")
    with office.inside():
        record_choice(Choice(address=NUMBER, kind="opt_out"))

    page = get(agent, office, f"leads/{lead.pk}/").content.decode()
    answer = text_to(agent, office, lead)

    assert "<textarea" not in page
    assert "has opted out" in page
    assert answer.status_code == 422
    with office.inside():
        assert not OutboundMessage.objects.exists()


def test_a_refused_first_text_keeps_what_was_typed(office, agent):
    lead = office.lead(NUMBER)

    answer = text_to(agent, office, lead, body="Hi {{first_name}}")

    assert answer.status_code == 422
    assert ">Hi {{first_name}}</textarea>" in answer.content.decode()


def test_numbers_of_other_leads_and_tenants_cannot_be_texted(office, other_office, agent):
    lead, neighbor = office.lead(NUMBER), office.lead("+15035550143")
    foreign = other_office.lead("+15035550144")
    with office.inside():
        not_theirs = ContactPoint.objects.get(lead=neighbor).pk
    with other_office.inside():
        not_ours = PhoneNumber.objects.get().pk

    assert text_to(agent, office, lead, to=not_theirs).status_code == 404
    assert text_to(agent, office, lead, number=not_ours).status_code == 404
    assert agent.post(url(office, f"leads/{foreign.pk}/text/")).status_code == 404


def test_a_timer_is_shown_while_it_runs(office, agent):
    lead = office.lead(NUMBER)
    with office.inside():
        LeadTimer.objects.create(lead=lead, kind="7D", fire_at=timezone.now() + timedelta(days=3))

    assert "7 days of silence" in get(agent, office, f"leads/{lead.pk}/").content.decode()


# --- opt-outs -----------------------------------------------------------------------------------


@pytest.mark.parametrize("typed", ["+1 503 555 0142", "(503) 555-0142", "5035550142"])
def test_a_number_is_checked_however_it_is_typed(office, agent, typed):
    answer = get(agent, office, "optouts/", check=typed)

    assert answer.url == url(office, f"optouts/{NUMBER}/")
    assert "No choice recorded" in agent.get(answer.url).content.decode()


def test_an_agent_records_an_opt_out_and_it_is_listed_with_its_proof(office, agent):
    agent.post(url(office, "optouts/add/"), {"address": "503 555 0142", "reason": "By phone"})

    listed = get(agent, office, "optouts/", state="opted_out").content.decode()
    page = get(agent, office, f"optouts/{NUMBER}/").content.decode()

    assert NUMBER in listed
    assert "Blocked" in page
    assert "By phone" in page
    with office.inside():
        assert ConsentEvent.objects.get().actor_id == office.agent.pk


def test_an_opt_out_without_a_reason_is_not_recorded(office, agent):
    answer = agent.post(url(office, "optouts/add/"), {"address": NUMBER}, follow=True)

    assert "Nothing was recorded" in answer.content.decode()
    with office.inside():
        assert not Consent.objects.exists()


def test_only_an_operator_lifts_an_opt_out_and_only_with_a_proof(office, agent):
    _, operator = person(office, role="operator")
    with office.inside():
        opt_out(Choice(address=NUMBER, kind="opt_out"))
    address = url(office, f"optouts/{NUMBER}/decide/")

    refused = agent.post(address, {"choice": "opt_in", "reason": "asked"})
    unproved = operator.post(address, {"choice": "opt_in"})
    with office.inside():
        assert Consent.objects.get(scope="").state == "opted_out"
    operator.post(address, {"choice": "opt_in", "reason": "Signed form of 3 May"})

    assert refused.status_code == 403
    assert unproved.status_code == 422
    with office.inside():
        assert Consent.objects.get(scope="").state == "opted_in"
        assert ConsentEvent.objects.get(kind="opt_in").reason == "Signed form of 3 May"


def test_a_hold_is_released_or_confirmed_in_the_registry(office, agent):
    address = url(office, f"optouts/{NUMBER}/decide/")
    with office.inside():
        record_choice(Choice(address=NUMBER, kind="hold"))

    assert "On hold" in get(agent, office, f"optouts/{NUMBER}/").content.decode()
    agent.post(address, {"choice": "release"})
    again = agent.post(address, {"choice": "release"}, follow=True)

    assert "not on hold" in again.content.decode()
    with office.inside():
        assert Consent.objects.get(scope="").state != "held"


def test_choices_of_another_tenant_are_not_told(office, other_office, agent):
    with other_office.inside():
        opt_out(Choice(address=NUMBER, kind="opt_out", reason="ZANZIBAR"))

    text = get(agent, office, f"optouts/{NUMBER}/").content.decode()

    assert "ZANZIBAR" not in text
    assert "No choice recorded" in text


@pytest.mark.parametrize("address", ["x" * 60, "+", "%20"])
def test_what_is_no_number_is_not_found(office, agent, address):
    assert agent.get(url(office, f"optouts/{address}/")).status_code == 404


# --- account ------------------------------------------------------------------------------------


def test_theme_density_and_shortcuts_are_the_persons_own(office, agent):
    agent.post(url(office, "account/theme/"), {"theme": "dark", "density": "compact"})
    agent.post(url(office, "account/shortcuts/"), {"shortcuts": "off"})

    text = get(agent, office, "").content.decode()

    assert '<html lang="en" data-theme="dark" data-density="compact">' in text
    assert 'data-shortcuts="off"' in text


@pytest.mark.parametrize("values", [{"theme": "pink"}, {"density": "huge"}])
def test_unknown_choices_are_not_found(office, agent, values):
    assert agent.post(url(office, "account/theme/"), values).status_code == 404


def test_a_theme_form_never_leads_to_another_site(office, agent):
    answer = agent.post(
        url(office, "account/theme/"), {"theme": "dark", "next": "https://evil.example/"}
    )

    assert answer.url == url(office, "account/")


def test_sound_and_desktop_notes_are_chosen_per_stage(office, agent):
    agent.post(
        url(office, "account/notifications/"),
        {"sound-nudger": "always", "desktop-nudger": "on"},
    )

    with office.inside():
        nudger = StageMembership.objects.get(actor=office.agent, stage="nudger")
        others = StageMembership.objects.filter(actor=office.agent).exclude(stage="nudger")
        assert (nudger.sound, nudger.desktop) == ("always", True)
        assert set(others.values_list("sound", "desktop")) == {("off", False)}


def test_a_new_password_needs_the_old_one_and_keeps_the_session(office, agent):
    user = User.objects.get(pk=office.agent.user_id)
    user.set_password("an old secret 1")
    user.save()
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    new = {"new_password1": "quite another secret", "new_password2": "quite another secret"}

    wrong = client.post(url(office, "account/"), {"old_password": "no", **new})
    right = client.post(url(office, "account/"), {"old_password": "an old secret 1", **new})

    assert wrong.status_code == 422
    assert right.status_code == 302
    assert client.get(url(office, "account/")).status_code == 200
    assert User.objects.get(pk=user.pk).check_password("quite another secret")


def test_error_pages_stay_in_the_shell(office, agent):
    answer = get(agent, office, "nowhere/")

    assert answer.status_code == 404
    assert "There is nothing at this address" in answer.content.decode()
    assert url(office, "inbox/nudger/") in answer.content.decode()


def test_logging_in_shows_what_was_wrong(client, office):
    answer = client.post("/login/", {"username": "nobody", "password": "x"})

    assert answer.status_code == 200
    assert 'role="alert"' in answer.content.decode()
