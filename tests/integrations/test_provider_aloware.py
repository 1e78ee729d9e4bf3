from datetime import UTC, datetime

import pytest

from integrations.events import BadPayload, CallReported, MessageReceived
from integrations.providers import Account, Delivery, SignatureState, providers

NOW = datetime(2026, 11, 20, 18, 40, tzinfo=UTC)
CALL = {
    "id": 940000001,
    "direction": 2,
    "type": 1,
    "contact_id": 6890001,
    "lead_number": "+12025550142",
    "incoming_number": "+12025550100",
    "created_at": "2026-11-20 18:38:49",
}


@pytest.fixture
def dialer():
    return providers["aloware"]()


def verify(dialer, header, *secrets):
    delivery = Delivery(body=b"{}", headers={"Authorization": header})
    return dialer.verify(delivery, secrets, NOW)


def test_a_secret_with_a_colon_is_user_and_password_any_other_a_token(dialer):
    basic, bearer = "Basic dXNlcjpwYXNz", "Bearer token-1"

    assert dialer.sign(b"", "user:pass", NOW, "") == {"Authorization": basic}
    assert dialer.sign(b"", "token-1", NOW, "") == {"Authorization": bearer}
    assert verify(dialer, basic, "user:pass") is SignatureState.VALID
    assert verify(dialer, bearer, "token-1") is SignatureState.VALID
    assert verify(dialer, "bearer  token-1", "old:pass", "token-1") is SignatureState.VALID
    assert verify(dialer, basic, "token-1") is SignatureState.INVALID
    assert verify(dialer, "Basic dG9rZW4tMQ==", "token-1") is SignatureState.INVALID
    assert verify(dialer, "Bearer user:pass", "user:pass") is SignatureState.INVALID


@pytest.mark.parametrize(
    "header", ["Basic", "Basic ", "Basic ###", "Digest x", "token-1", "Bearer", "Bearer \u2603"]
)
def test_other_proofs_are_invalid(dialer, header):
    assert verify(dialer, header, "user:pass", "token-1", "") is SignatureState.INVALID


def test_no_proof_is_missing(dialer):
    assert verify(dialer, "", "token-1") is SignatureState.MISSING
    assert dialer.verify(Delivery(body=b"{}"), ["token-1"], NOW) is SignatureState.MISSING


def test_they_wait_long_and_never_repeat(dialer):
    assert (dialer.hold_s, dialer.busy_status) == (60, 503)


def test_their_test_button_says_nothing(dialer):
    assert dialer.parse({"test_payload": True}) == []
    assert dialer.parse({"event": "OutboundAppointment", "body": {"id": 1}}) == []
    with pytest.raises(BadPayload):
        dialer.parse({"test_payload": False})


@pytest.mark.parametrize(
    ("event", "status"),
    [
        ("OutboundPhoneCall", "started"),
        ("OutboundPhoneCall-DispositionCompleted", "completed"),
        ("OutboundPhoneCall-DispositionStatus-Completed", "completed"),
        ("OutboundPhoneCall-DispositionFailed", "failed"),
        ("InboundPhoneCall-DispositionMissed", "missed"),
        ("Call-Disposed", "completed"),
        ("Call Disposed", "completed"),
        ("Recording-Saved", "enriched"),
        ("transcription.call.summarized", "enriched"),
    ],
)
def test_names_on_the_wire_and_on_their_page_read_alike(dialer, event, status):
    [call] = dialer.parse({"event": event, "body": CALL})

    assert isinstance(call, CallReported)
    assert (call.external_id, call.status) == ("940000001", status)
    assert (call.ours, call.theirs) == ("+12025550100", "+12025550142")
    assert call.occurred_at == datetime(2026, 11, 20, 18, 38, 49, tzinfo=UTC)


@pytest.mark.parametrize("direction", [1, "1", "inbound"])
def test_numbers_written_as_text_are_numbers(dialer, direction):
    body = {key: str(value) for key, value in CALL.items()} | {"direction": direction}

    [call] = dialer.parse({"event": "InboundPhoneCall", "body": body})

    assert (call.external_id, call.contact_id, call.direction) == ("940000001", "6890001", "in")


@pytest.mark.parametrize(
    ("event", "leg", "was_dialled"),
    [
        ("OutboundPhoneCall-DispositionFailed", {"customer_leg_status": None}, False),
        ("OutboundPhoneCall-DispositionFailed", {"customer_leg_status": 6}, True),
        ("OutboundPhoneCall-DispositionFailed", {}, True),
        ("OutboundPhoneCall-DispositionCompleted", {"customer_leg_status": None}, True),
    ],
)
def test_a_failed_call_whose_second_leg_never_rang_was_not_dialled(dialer, event, leg, was_dialled):
    [call] = dialer.parse({"event": event, "body": CALL | leg})

    assert call.was_dialled is was_dialled


def test_transcriptions_nest_their_call(dialer):
    payload = {
        "event": "transcription.call.summarized",
        "body": {"id": 77, "summary": "Friday", "communication": CALL},
    }

    [call] = dialer.parse(payload)

    assert (call.external_id, call.summary) == ("940000001", "Friday")
    assert dialer.lane(payload, "key").text == "+12025550100|+12025550142"


def test_a_recording_link_is_not_shown_by_accident(dialer):
    url = "https://recordings.example.com/secret"
    [call] = dialer.parse({"event": "Recording-Saved", "body": CALL | {"recording_url": url}})

    assert call.recording_url == url
    assert url not in repr(call)


def test_texts_are_texts_and_an_unknown_disposition_says_nothing(dialer):
    text = CALL | {"type": 2, "body": "Hi", "direction": 1}

    [received] = dialer.parse({"event": "InboundSMS-DispositionCompleted", "body": text})
    assert isinstance(received, MessageReceived)
    assert (received.sender, received.recipient) == ("+12025550142", "+12025550100")
    assert dialer.parse({"event": "OutboundSMS-DispositionPondering", "body": text}) == []
    assert dialer.parse({"event": "Communication Disposed", "body": text}) == []
    with pytest.raises(BadPayload):
        dialer.parse({"event": "InboundSMS", "body": {**text, "lead_number": None}})


@pytest.mark.parametrize(("flag", "told"), [(True, True), (1, True), ("1", True), ("false", False)])
def test_do_not_contact_is_said_in_many_ways(dialer, flag, told):
    contact = {"id": 7, "phone_number": "2025550142", "is_dnc": flag}

    changed, *opt_outs = dialer.parse({"event": "Contact-DNC-Updated", "body": contact})

    assert changed.dnd == {"sms": told, "call": told}
    assert [event.channel for event in opt_outs] == (["sms", "call"] if told else [])


def test_contacts_without_numbers_have_a_lane_of_their_own(dialer):
    payload = {"event": "Contact Created", "body": {"contact": {"id": 7, "phone_number": "x"}}}

    assert dialer.lane(payload, "key").text == "crm:7"
    assert dialer.lane({"event": "Recording Saved", "body": {"id": 1}}, "key").text == "msg:1"
    assert dialer.lane(None, "key").text == "key:key"


def test_no_opt_out_can_be_told_to_them(dialer):
    account = Account(base_url="https://app.aloware.example", api_key="k")

    assert dialer.build_opt_out("+12025550142", "7", account) is None
    assert dialer.read_opt_out(200, b"{}")
