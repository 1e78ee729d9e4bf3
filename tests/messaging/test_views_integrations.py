"""Integrations in the shell: who sees what, rotating secrets, test events, the mapping editor."""

from __future__ import annotations

import json
import re
import threading
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from django.utils import timezone

from integrations.actions import create_endpoint, note_use
from integrations.actions_mappings import (
    MappingMoved,
    MappingRefused,
    rows_of,
    save_mappings,
    save_reading,
    version_of,
)
from integrations.endpoints import find_endpoint, forget
from integrations.mapping import Row
from integrations.models import (
    FieldMapping,
    Integration,
    WebhookEndpoint,
    WebhookEvent,
    WebhookWork,
)
from integrations.providers import Delivery, providers
from messaging.models import Message
from tenants.models import AuditEntry
from tests.conftest import OURS, SECRET, THEIRS, drain
from tests.messaging.pages import client_of, person, queries, url

pytestmark = pytest.mark.django_db

ROWS = [
    Row(target="sender", source="sms.from", transform="e164"),
    Row(target="recipient", source="sms.to", transform="e164"),
    Row(target="body", source="sms.text|text", default="(no words)"),
]
PAYLOAD = {"event": "sms.in", "sms": {"from": "2025550142", "to": OURS, "text": "Yes, tell me"}}
KEY = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="


@pytest.fixture
def operator(office):
    return person(office, role="operator", name="Olga Operator")[1]


@pytest.fixture
def boss(office):
    return person(office, role="tenant_admin", name="Tara Admin")[1]


@pytest.fixture
def custom(office):
    """A custom webhook whose texts are mapped."""
    with office.inside():
        integration = Integration.objects.create(provider="custom", name="Automations", secret=KEY)
        create_endpoint(integration)
        save_mappings(integration.pk, module="message.received", rows=ROWS, base=0, actor_id=None)
        save_reading(
            integration.pk,
            event_path="event",
            events={"sms.in": "message.received"},
            default_event="",
            id_path="",
            base=1,
            actor_id=None,
        )
        return Integration.objects.get(pk=integration.pk)


def page(office, integration, path=""):
    return url(office, f"integrations/{integration.pk}/{path}")


def act(client, office, integration, path, **fields):
    return client.post(page(office, integration, path), {"_tenant": office.tenant.pk, **fields})


def typed(rows, module="message.received", base=2, **more):
    fields = {"module": module, "base": base, **more}
    for row in rows:
        fields |= {
            f"source-{row.target}": row.source,
            f"transform-{row.target}": row.transform,
            f"default-{row.target}": row.default,
        }
        if row.required:
            fields[f"required-{row.target}"] = "on"
    return fields


def post(office, integration, payload, *, delivery="d-1"):
    with office.inside():
        endpoint = WebhookEndpoint.objects.get(integration=integration)
    body = json.dumps(payload).encode()
    headers = providers["custom"]().sign(body, KEY, timezone.now(), delivery)
    return office.client.post(
        f"/hooks/custom/{endpoint.token}/", body, content_type="application/json", headers=headers
    )


def audit(office, action):
    with office.inside():
        return AuditEntry.objects.filter(action=action).order_by("-id").first()


# --- who may see and do what --------------------------------------------------------------------


def test_agents_are_told_what_they_lack(office):
    agent = client_of(office.agent)

    answer = agent.get(url(office, "integrations/"))

    assert answer.status_code == 403
    assert "may not change settings" in answer.content.decode()
    assert agent.get(page(office, office.integration)).status_code == 403


def test_operators_see_the_accounts_and_no_secret_of_them(office, custom, operator):
    with office.inside():
        endpoints = list(WebhookEndpoint.objects.all())
    for path in ("", f"{office.integration.pk}/", f"{custom.pk}/", f"{custom.pk}/mapping/"):
        text = operator.get(url(office, f"integrations/{path}")).content.decode()
        for secret in (SECRET, KEY, *(endpoint.token for endpoint in endpoints)):
            assert secret not in text, path


@pytest.mark.parametrize("path", ["secret/", "secret/drop/", "urls/"])
def test_operators_touch_no_keys(office, operator, path):
    answer = act(operator, office, office.integration, path, secret="stolen", make="1")

    assert answer.status_code == 403
    with office.inside():
        office.integration.refresh_from_db()
        assert office.integration.secret == SECRET
        assert WebhookEndpoint.objects.count() == 1


def test_tenant_admins_see_and_copy_the_urls(office, boss):
    answer = boss.get(page(office, office.integration))

    assert office.endpoint.token in answer.content.decode()
    assert "no-store" in answer["Cache-Control"]
    assert SECRET not in answer.content.decode()


def test_the_form_of_another_tenant_changes_nothing(office, other_office, boss):
    answer = boss.post(
        page(office, office.integration, "secret/"),
        {"_tenant": other_office.tenant.pk, "secret": "x"},
    )

    assert answer.status_code == 409


# --- the list -----------------------------------------------------------------------------------


def test_the_list_says_what_arrives_from_whom(office, custom, operator):
    office.post(office.payload("hello"))
    with office.inside():
        Integration.objects.filter(pk=custom.pk).update(
            silence_minutes=30, last_event_at=timezone.now() - timedelta(hours=1)
        )

    text = operator.get(url(office, "integrations/")).content.decode()

    receiving, silent = sorted(re.findall(r'chip--\w+">([^<]+)<', text))
    assert (receiving, silent) == ("Receiving", "Silent")
    assert re.search(r'<td class="num">1<', text)
    assert "after 30 min" in text
    assert "Current" in text


def test_the_list_asks_little_however_many_there_are(office, operator):
    with office.inside():
        for number in range(12):
            integration = Integration.objects.create(provider="custom", name=f"No {number}")
            create_endpoint(integration)

    with queries() as asked:
        assert operator.get(url(office, "integrations/")).status_code == 200

    assert len(asked) <= 9, asked


def test_the_pages_of_one_account_ask_little(office, custom, boss):
    for number in range(5):
        post(office, custom, PAYLOAD, delivery=f"d-{number}")
    for path, most in (("", 10), ("mapping/", 10)):
        with queries() as asked:
            assert boss.get(page(office, custom, path)).status_code == 200
        assert len(asked) <= most, asked


# --- secrets and urls ---------------------------------------------------------------------------


def test_a_rotated_secret_leaves_the_one_before_for_a_while_and_shows_which_is_used(office, boss):
    answer = act(boss, office, office.integration, "secret/", secret="brand-new", grace="168")

    assert answer.url == page(office, office.integration)
    with office.inside():
        row = Integration.objects.get(pk=office.integration.pk)
    assert (row.secret, row.previous_secret) == ("brand-new", SECRET)
    assert timedelta(days=6) < row.previous_valid_until - timezone.now() <= timedelta(days=7)
    forget()
    assert office.post(office.payload("old"), secret=SECRET).status_code == 202
    text = boss.get(page(office, row)).content.decode()
    assert "The one before" in text
    assert re.search(r"Current</span>.*?not used yet", text, re.DOTALL)
    assert re.search(r"The one before</span>.*?used <time", text, re.DOTALL)

    act(boss, office, row, "secret/drop/")

    forget()
    assert office.post(office.payload("old"), secret=SECRET).status_code == 401
    assert office.post(office.payload("new"), secret="brand-new").status_code == 202
    assert audit(office, "integration.secret_rotated").after == {"old_secret_hours": 168.0}


def test_a_secret_made_here_is_shown_once_and_signs(office, custom, boss):
    answer = act(boss, office, custom, "secret/", make="1", grace="0")

    made = re.search(r'id="made-secret">(whsec_[^<]+)<', answer.content.decode())[1]
    with office.inside():
        row = Integration.objects.get(pk=custom.pk)
    assert (row.secret, row.previous_secret) == (made, "")
    assert "no-store" in answer["Cache-Control"]
    assert made not in boss.get(page(office, custom)).content.decode()
    with office.inside():
        assert not AuditEntry.objects.filter(after__icontains=made[6:20]).exists()


def test_only_our_own_scheme_makes_secrets(office, boss):
    assert act(boss, office, office.integration, "secret/", make="1").status_code == 404


@pytest.mark.parametrize("fields", [{"secret": ""}, {"secret": "  "}, {"secret": "x" * 501}])
def test_no_secret_is_no_rotation(office, boss, fields):
    answer = act(boss, office, office.integration, "secret/", **fields)

    assert answer.status_code == 422
    assert "Nothing was changed" in answer.content.decode()
    with office.inside():
        office.integration.refresh_from_db()
        assert office.integration.secret == SECRET


def test_a_vendor_that_sends_nothing_gets_no_url(office, boss):
    with office.inside():
        melissa = Integration.objects.create(provider="melissa", name="Melissa")

    answer = act(boss, office, melissa, "urls/")

    assert answer.status_code == 422
    assert "Melissa sends no webhooks" in answer.content.decode()
    with office.inside():
        assert not melissa.endpoints.exists()


def test_urls_are_made_and_retired(office, boss):
    act(boss, office, office.integration, "urls/")
    act(boss, office, office.integration, "urls/", our_number="(202) 555-0100")
    wrong = act(boss, office, office.integration, "urls/", our_number="12")

    assert wrong.status_code == 422
    with office.inside():
        made = list(WebhookEndpoint.objects.exclude(pk=office.endpoint.pk).order_by("id"))
    assert [(one.signed, one.our_number) for one in made] == [(True, ""), (False, OURS)]

    act(boss, office, office.integration, f"urls/{office.endpoint.pk}/retire/")

    forget()
    assert office.post(office.payload("hello")).status_code == 410
    assert office.endpoint.token not in boss.get(page(office, office.integration)).content.decode()
    assert audit(office, "endpoint.retired") is not None


def test_the_url_of_another_account_is_not_retired_through_this_one(office, custom, boss):
    assert act(boss, office, custom, f"urls/{office.endpoint.pk}/retire/").status_code == 404


@pytest.mark.parametrize(
    ("minutes", "status", "kept"),
    [("30", 302, 30), ("", 302, None), ("0", 422, None), ("x", 422, None), ("99999", 422, None)],
)
def test_the_silence_alarm_is_set_or_taken_away(office, operator, minutes, status, kept):
    answer = act(operator, office, office.integration, "silence/", minutes=minutes)

    assert answer.status_code == status
    with office.inside():
        office.integration.refresh_from_db()
        assert office.integration.silence_minutes == kept


# --- test events --------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_a_test_event_goes_out_over_http_and_comes_back_as_a_stored_event(
    committed_office, live_server, settings
):
    office = committed_office
    settings.BASE_URL = live_server.url
    _, operator = person(office, role="operator", name="Olga Operator")

    answer = act(operator, office, office.integration, "test/", endpoint=office.endpoint.pk)

    text = answer.content.decode()
    assert answer.status_code == 200
    assert "Answer 202" in text
    with office.inside():
        event = WebhookEvent.objects.get()
        assert (event.event_type, event.signature_state) == ("fairlead.test", "valid")
        assert url(office, f"go/{event.pk}/") in text
        office.integration.refresh_from_db()
        assert office.integration.secret_used_at is not None
        assert audit(office, "integration.tested").after == {"status": 202, "event": event.pk}
    drain()
    with office.inside():
        assert not Message.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_sender_with_an_answer_of_its_own_gets_its_link_too(
    committed_office, live_server, settings, monkeypatch
):
    office = committed_office
    settings.BASE_URL = live_server.url
    monkeypatch.setattr(providers["signalhouse"], "acknowledgement", (b"<Response/>", "text/xml"))
    _, operator = person(office, role="operator", name="Olga Operator")

    answer = act(operator, office, office.integration, "test/", endpoint=office.endpoint.pk)

    with office.inside():
        assert url(office, f"go/{WebhookEvent.objects.get().pk}/") in answer.content.decode()


@pytest.fixture
def listener():
    """A server that notes who calls, and sends callers elsewhere."""
    called = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            called.append(self.path)
            self.send_response(302)
            self.send_header("Location", f"http://{self.headers['Host']}/elsewhere/")
            self.end_headers()

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_port, called
    server.shutdown()
    server.server_close()
    thread.join(5)


def test_a_test_event_goes_to_our_own_url_alone_whatever_is_typed(
    office, operator, settings, listener
):
    port, called = listener
    settings.BASE_URL = f"http://127.0.0.1:{port}"
    for endpoint in (f"http://127.0.0.1:{port}/typed/", "wep_x", ""):
        answer = act(operator, office, office.integration, "test/", endpoint=endpoint)
        assert answer.status_code == 404
    assert called == []

    fields = {"endpoint": office.endpoint.pk, "url": f"http://127.0.0.1:{port}/typed/"}
    answer = act(operator, office, office.integration, "test/", **fields)

    assert called == [office.path]
    assert "Answer 302" in answer.content.decode()


def test_a_silent_address_is_said_in_words(office, operator, settings):
    settings.BASE_URL = "http://127.0.0.1:9"

    answer = act(operator, office, office.integration, "test/", endpoint=office.endpoint.pk)

    assert "Our own address did not answer" in answer.content.decode()


def test_without_a_secret_or_a_url_the_page_says_what_to_do(office, custom, operator):
    with office.inside():
        Integration.objects.filter(pk=custom.pk).update(secret="")
    assert "Store one first" in operator.get(page(office, custom)).content.decode()
    with office.inside():
        endpoint = WebhookEndpoint.objects.get(integration=custom)
    refused = act(operator, office, custom, "test/", endpoint=endpoint.pk)
    assert refused.status_code == 422
    with office.inside():
        WebhookEndpoint.objects.filter(integration=custom).update(retired_at=timezone.now())
    assert "Make one first" in operator.get(page(office, custom)).content.decode()


def test_a_provider_only_the_vendor_can_sign_for_says_so(office, operator, monkeypatch):
    monkeypatch.setattr(providers["signalhouse"], "can_sign", False)

    text = operator.get(page(office, office.integration)).content.decode()

    assert "Only SignalHouse can sign its events" in text
    assert "Send me a test event" not in text


def test_the_test_event_of_every_provider_has_no_effect():
    for name in providers:
        provider = providers[name]({"default_event": "message.received"})
        body = provider.test_event(timezone.now())
        payload = provider.read(body, provider.content_types[0]).payload
        assert payload is not None, name
        assert provider.parse(payload) == [], name
        delivery = Delivery(body=body, content_type=provider.content_types[0])
        assert provider.delivery_key(delivery, payload)


# --- the mapping --------------------------------------------------------------------------------


def test_a_mapped_webhook_becomes_a_text(office, custom):
    answer = post(office, custom, PAYLOAD)
    drain()

    assert answer.status_code == 202
    with office.inside():
        message = Message.objects.get()
    assert (message.provider, message.sender, message.body) == ("custom", THEIRS, "Yes, tell me")


def test_what_a_mapping_cannot_read_is_set_aside_with_the_reason(office, custom):
    answer = post(office, custom, {"event": "sms.in", "sms": {"to": OURS}})
    drain()

    assert answer.status_code == 202
    with office.inside():
        work = WebhookWork.objects.get()
        assert not Message.objects.exists()
    assert work.state == "quarantined"
    assert work.last_error.startswith("sender: nothing found at sms.from. In sms there is: to.")


def test_the_mapping_is_saved_whole_with_a_version_and_an_entry(office, custom, operator):
    rows = [*ROWS[:2], Row(target="body", source="words", transform="strip_blank", required=True)]

    answer = act(operator, office, custom, "mapping/save/", **typed(rows))

    assert answer.url == page(office, custom, "mapping/?module=message.received")
    with office.inside():
        saved = Integration.objects.get(pk=custom.pk)
        assert rows_of(saved, "message.received") == rows
        assert version_of(saved) == 3
    entry = audit(office, "mapping.saved")
    assert entry.after["version"] == 3
    assert entry.before["rows"][2]["source"] == "sms.text|text"
    assert entry.actor_id is not None

    act(operator, office, custom, "mapping/save/", **typed(rows[:2], base=3))
    with office.inside():
        assert FieldMapping.objects.filter(integration=custom).count() == 2


def test_a_mapping_saved_meanwhile_is_not_overwritten(office, custom, operator):
    answer = act(operator, office, custom, "mapping/save/", **typed(ROWS[:1], base=1))

    assert answer.status_code == 409
    assert "Somebody else saved meanwhile" in answer.content.decode()
    with office.inside():
        assert rows_of(custom, "message.received") == ROWS
        with pytest.raises(MappingMoved):
            save_mappings(custom.pk, module="message.received", rows=[], base=0, actor_id=None)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (Row(target="sender", source="a..b"), "is no path"),
        (Row(target="sender", source="a", transform="rot13"), "There is no transform"),
        (Row(target="sender", source="a", transform="e164", default="x@"), "default does not fit"),
    ],
)
def test_a_row_that_can_never_work_is_refused_with_words(office, custom, operator, row, words):
    answer = act(operator, office, custom, "mapping/save/", **typed([row]))

    assert answer.status_code == 422
    assert words in answer.content.decode()
    with office.inside():
        assert rows_of(custom, "message.received") == ROWS


def test_actions_refuse_what_no_form_sends(office, custom):
    with office.inside():
        for rows in ([Row(target="nowhere", source="a")], [ROWS[0], ROWS[0]]):
            with pytest.raises(MappingRefused):
                save_mappings(
                    custom.pk, module="message.received", rows=rows, base=2, actor_id=None
                )
        with pytest.raises(MappingRefused) as caught:
            save_reading(
                custom.pk,
                event_path="",
                events={"a": "message.received"},
                default_event="x",
                id_path="a..",
                base=2,
                actor_id=None,
            )
    assert set(caught.value.problems) == {"event_path", "default_event", "id_path"}


def test_names_of_events_are_saved_and_unknown_ones_stay_unmapped(office, custom, operator):
    answer = act(
        operator, office, custom, "mapping/names/", base=2, event_path="kind|event",
        name=["sms.in", "sms.new", "gone"], kind=["message.received", "message.received", ""],
        default_event="", id_path="id",
    )  # fmt: skip

    assert answer.status_code == 302
    forget()
    post(office, custom, {**PAYLOAD, "event": "sms.new"}, delivery="d-1")
    post(office, custom, {**PAYLOAD, "event": "weather"}, delivery="d-2")
    drain()
    with office.inside():
        assert Message.objects.count() == 1
        kinds = list(WebhookEvent.objects.order_by("id").values_list("event_type", flat=True))
    assert kinds == ["sms.new", "weather"]

    wrong = act(operator, office, custom, "mapping/names/", base=3, event_path="a..b",
                name=["x"], kind=["message.received"])  # fmt: skip
    assert wrong.status_code == 422
    assert "is no path" in wrong.content.decode()


def test_only_custom_webhooks_have_a_mapping(office, operator):
    assert operator.get(page(office, office.integration, "mapping/")).status_code == 404


# --- the preview --------------------------------------------------------------------------------


def preview(client, office, custom, rows=ROWS, payload=PAYLOAD, part="part/", **more):
    text = payload if isinstance(payload, str) else json.dumps(payload)
    fields = typed(rows, payload=text, **more)
    return act(client, office, custom, f"mapping/preview/{part}", **fields)


@pytest.mark.parametrize("part", ["", "part/"])
def test_the_preview_shows_values_problems_and_the_event_and_stores_nothing(
    office, custom, operator, part
):
    rows = [*ROWS, Row(target="occurred_at", source="sms.text", transform="iso")]

    answer = preview(operator, office, custom, rows, part=part)

    text = answer.content.decode()
    assert answer.status_code == 200
    assert "Becomes MessageReceived" in text
    assert THEIRS in text
    assert "“Yes, tell me” is not a time with its zone" in text
    assert "it is read by this mapping" in text
    assert ("<html" in text) is (part == "")
    with office.inside():
        assert rows_of(custom, "message.received") == ROWS
        assert not WebhookEvent.objects.exists()


def test_the_preview_says_what_is_missing_and_what_stands_there(office, custom, operator):
    rows = [Row(target="sender", source="sms.form", transform="e164")]

    text = preview(operator, office, custom, rows).content.decode()

    assert "No event." in text
    assert "In sms there is: from, to, text" in text
    assert "no row fills it" in text


def test_the_preview_says_that_a_name_means_nothing_yet(office, custom, operator):
    text = preview(operator, office, custom, payload=PAYLOAD | {"event": "x"}).content.decode()

    assert "“x”: it would be stored as unmapped" in text


def test_a_stored_event_can_be_previewed_but_not_one_of_others(
    office, other_office, custom, operator
):
    post(office, custom, PAYLOAD)
    other_office.post(other_office.payload("secret words"))
    with office.inside():
        stored = WebhookEvent.objects.get().pk
    with other_office.inside():
        foreign = WebhookEvent.objects.get().pk

    text = preview(operator, office, custom, payload="", stored=stored).content.decode()

    assert "Becomes MessageReceived" in text
    assert "The payload" in text
    for wrong in (foreign, "wh_x", "\0"):
        answer = preview(operator, office, custom, payload="", stored=wrong)
        assert answer.status_code in (400, 404)
    form = operator.get(page(office, custom, "mapping/")).content.decode()
    assert stored in form
    assert foreign not in form


@pytest.mark.parametrize(
    "payload",
    [
        "", " ", "{", "[]", "null", "\ud83d", '{"a": "\\u0000"}', '{"a": "\\ud800"}', "[" * 5000,
        '{"sms": ' * 40, '{"event": {"a": []}, "sms": "x"}', '{"sms": {"from": 1e999}}',
        '{"event": "<script>alert(1)</script>", "sms": {"text": "<img src=x onerror=1>"}}',
        '{"x": "' + "y" * 300_000 + '"}',
    ],
    ids=lambda payload: payload[:12].encode("ascii", "backslashreplace").decode(),
)  # fmt: skip
def test_ugly_payloads_are_explained_and_escaped(office, custom, operator, payload):
    payload = payload.encode("utf-8", "replace").decode()
    for part in ("", "part/"):
        answer = preview(operator, office, custom, payload=payload, part=part)

        assert answer.status_code == 200
        text = answer.content.decode()
        assert "<script>alert" not in text
        assert "<img src" not in text


def test_ugly_settings_do_not_break_the_editor(office, custom, operator):
    for ugly in ([], {"events": 5, "event_path": {}, "mapping_version": "x"}, {"events": {"a": 1}}):
        with office.inside():
            Integration.objects.filter(pk=custom.pk).update(settings=ugly)
        assert operator.get(page(office, custom, "mapping/")).status_code == 200
        assert preview(operator, office, custom).status_code == 200


def test_use_is_noted_by_secret(office, custom):
    with office.inside():
        endpoint = WebhookEndpoint.objects.get(integration=custom)
    note_use(find_endpoint(endpoint.token), secret_no=1)
    with office.inside():
        custom.refresh_from_db()
    assert custom.secret_used_at is not None
    assert custom.previous_secret_used_at is None
