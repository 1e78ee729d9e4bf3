"""The answer table of intake: what every kind of request is told, and what is kept of it."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from integrations.actions import create_endpoint
from integrations.endpoints import forget
from integrations.models import (
    WebhookEvent,
    WebhookReceipt,
    WebhookRejection,
    WebhookWork,
    WorkEvent,
)
from integrations.providers import providers
from leads.models import Consent, ConsentEvent
from tests.conftest import OURS, SECRET, THEIRS


def test_new_delivery_is_stored_before_it_is_answered(office):
    answer = office.post(office.payload("Yes, tell me more", id="in_1"))

    assert answer.status_code == 202
    with office.inside():
        event = WebhookEvent.objects.get()
        work = WebhookWork.objects.get()
    assert answer.json() == {"id": event.pk}
    assert json.loads(bytes(event.body)) == event.payload
    assert event.event_type == "MESSAGE_RECEIVED"
    assert (event.signature_state, event.parse_state) == ("valid", "clean")
    assert event.lane == work.lane == f"{OURS}|{THEIRS}"
    assert (work.state, work.is_inbound, work.their_number) == ("ready", True, THEIRS)


def test_duplicate_delivery_gets_the_same_body_and_changes_nothing(office):
    payload = office.payload("Yes", id="in_1")
    first = office.post(payload, delivery="d-1")

    second = office.post(payload, delivery="d-1")

    assert (first.status_code, second.status_code) == (202, 200)
    assert first.json() == second.json()
    with office.inside():
        assert WebhookReceipt.objects.count() == WebhookWork.objects.count() == 1


def test_same_key_with_another_body_is_kept_and_quarantined(office):
    office.post(office.payload("Yes", id="in_1"), delivery="d-1")
    clash = office.payload("No", id="in_1")

    answer = office.post(clash, delivery="d-1")
    again = office.post(clash, delivery="d-1")

    assert (answer.status_code, again.status_code) == (202, 200)
    with office.inside():
        states = list(WebhookWork.objects.order_by("seq").values_list("state", flat=True))
        reason = WorkEvent.objects.get(what="quarantine").reason
    assert states == ["ready", "quarantined"]
    assert "same delivery key as wh_" in reason


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"X-SignalHouse-Signature": "0" * 64, "X-SignalHouse-Signature-V1": ""}, "invalid"),
        ({"X-SignalHouse-Signature": "", "X-SignalHouse-Signature-V1": ""}, "missing"),
        ({"X-SignalHouse-Signature": "N/A", "X-SignalHouse-Signature-V1": "N/A"}, "missing"),
    ],
)
def test_bad_signatures_are_refused_with_a_bounded_sample(office, change, problem):
    body = json.dumps(office.payload("Yes")).encode()
    headers = providers["signalhouse"]().sign(body, SECRET, datetime.now(UTC), "d-1") | change

    answer = office.post(body, headers=headers)

    assert answer.status_code == 401
    assert problem in answer.json()["problem"]
    with office.inside():
        assert not WebhookEvent.objects.exists()
        assert bytes(WebhookRejection.objects.get().body) == body


def test_stale_signature_is_refused(office):
    body = json.dumps(office.payload("Yes")).encode()
    then = datetime.now(UTC) - timedelta(minutes=6)
    headers = providers["signalhouse"]().sign(body, SECRET, then, "d-1")

    answer = office.post(body, headers=headers)

    assert answer.status_code == 401
    assert "stale" in answer.json()["problem"]


def test_another_tenants_signature_is_refused(office, other_office):
    with other_office.inside():
        other_office.integration.secret = "another"
        other_office.integration.save()

    answer = office.post(office.payload("Yes"), secret="another")

    assert answer.status_code == 401


def test_samples_of_refused_bodies_are_bounded(office):
    for n in range(55):
        office.post(b'{"n": %d}' % n, headers={})

    with office.inside():
        assert WebhookRejection.objects.count() == 50


def test_old_secret_counts_until_its_grace_ends(office):
    with office.inside():
        office.integration.secret, office.integration.previous_secret = "new", SECRET
        office.integration.previous_valid_until = timezone.now() + timedelta(hours=1)
        office.integration.save()
    assert office.post(office.payload("one")).status_code == 202
    assert office.post(office.payload("two"), secret="new").status_code == 202

    with office.inside():
        office.integration.previous_valid_until = timezone.now() - timedelta(seconds=1)
        office.integration.save()
    forget()

    assert office.post(office.payload("three")).status_code == 401


def test_unknown_token_is_404_and_retired_is_410(office):
    unknown = office.post(office.payload("Yes"), path=f"/hooks/signalhouse/{'x' * 43}/")
    foreign = office.post(
        office.payload("Yes"), path=office.path.replace("signalhouse", "standard_webhooks")
    )
    with office.inside():
        office.endpoint.retired_at = timezone.now()
        office.endpoint.save()

    retired = office.post(office.payload("Yes"))

    assert unknown.status_code == foreign.status_code == 404
    assert retired.status_code == 410


def test_url_answers_without_its_final_slash_too(office):
    assert office.post(office.payload("Yes"), path=office.path.rstrip("/")).status_code == 202


@pytest.mark.parametrize(
    "body",
    [b"{", b"[]", b"null", b"\xff\xfe", b'{"a":' * 5000, b"7", b'{"event": 3}', b"{}" * 10],
    ids=lambda body: repr(body[:12]),
)
def test_signed_but_malformed_is_kept_in_quarantine(office, body):
    answer = office.post(body)

    assert answer.status_code == 202
    with office.inside():
        event = WebhookEvent.objects.get()
        work = WebhookWork.objects.get()
    assert bytes(event.body) == body
    assert work.state == "quarantined"
    assert work.last_error


@pytest.mark.parametrize(
    "text", ["\\u0000", "\\ud800", "\\udc00\\ud800"], ids=["nul", "lone", "swapped"]
)
def test_what_jsonb_refuses_is_kept_as_bytes_and_still_processed(office, text):
    payload = json.dumps(office.payload("TEXT", id="in_1")).replace("TEXT", f"Yes {text} please")

    answer = office.post(payload.encode())

    assert answer.status_code == 202
    with office.inside():
        event = WebhookEvent.objects.get()
    assert event.parse_state == "unstorable"
    assert event.payload is None
    assert bytes(event.body) == payload.encode()


def test_unsigned_number_url_takes_its_own_texts_only(office):
    with office.inside():
        endpoint = create_endpoint(office.integration, signed=False, our_number=OURS)
    path = f"/hooks/signalhouse/{endpoint.token}/"

    good = office.post(office.payload("Yes"), path=path, headers={})
    malformed = office.post(b"{", path=path, headers={})
    foreign = office.post(office.payload("Yes", ours="+12025550199"), path=path, headers={})

    assert (good.status_code, malformed.status_code, foreign.status_code) == (202, 400, 400)


def test_limits_and_methods(office):
    huge = office.post(b'{"a": "%s"}' % (b"x" * 300_000))
    form = office.post(b"a=b", content_type="application/x-www-form-urlencoded")
    get = office.client.get(office.path)

    assert (huge.status_code, form.status_code, get.status_code) == (413, 415, 405)


def test_body_without_length_is_411(office):
    answer = office.client.generic(
        "POST", office.path, b"", CONTENT_TYPE="application/json", CONTENT_LENGTH=""
    )

    assert answer.status_code == 411


def test_stop_is_consent_before_anything_is_processed(office):
    payload = office.payload("Please STOP texting me")
    office.post(payload, delivery="d-1")
    office.post(payload, delivery="d-1")

    with office.inside():
        consent = Consent.objects.get(address=THEIRS)
        event = ConsentEvent.objects.get()
        webhook = WebhookEvent.objects.get()
    assert consent.state == "opted_out"
    assert (event.kind, event.source, event.webhook_event) == ("opt_out", "texting", webhook.pk)


def test_doubtful_refusal_is_a_hold(office):
    office.post(office.payload("stop by tomorrow?"))

    with office.inside():
        assert Consent.objects.get(address=THEIRS).state == "held"


def test_receipt_keeps_hashes_only(office):
    payload = json.dumps(office.payload("Yes")).encode()
    office.post(payload)

    with office.inside():
        receipt = WebhookReceipt.objects.get()
    assert bytes(receipt.body_hash) == hashlib.sha256(payload).digest()[:16]
    assert len(bytes(receipt.idem_key)) == 32


def test_secrets_do_not_reach_what_is_kept(office):
    body = json.dumps(office.payload("Yes")).encode()
    headers = providers["signalhouse"]().sign(body, SECRET, datetime.now(UTC), "d-1")

    office.post(
        body,
        headers={
            **headers,
            "Authorization": "Bearer canary",
            "Cookie": "c=canary",
            "X-Api-Key": "canary",
        },
    )

    with office.inside():
        assert "canary" not in json.dumps(WebhookEvent.objects.get().headers)
