import base64
import dataclasses
import hashlib
import hmac
import json
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qsl, quote, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from integrations.events import BadPayload
from integrations.forms import parse_form
from integrations.providers import Account, Delivery, OutboundText, SignatureState, providers
from integrations.providers.laml_signing import spellings
from integrations.providers.twilio_codes import error_class
from integrations.providers.twilio_lookup import (
    NumberFacts,
    build_number_lookup,
    read_number_lookup,
)
from tests.integrations.vendor_answers import BODIES, HEADERS, STATUSES, check

FIXTURES = Path(__file__).parent.parent / "fixtures"
VECTORS = {
    vector["scheme"]: vector
    for vector in json.loads((FIXTURES / "signature_vectors.json").read_text())["vectors"]
}
SID = "AC00000000000000000000000000000001"
SM = "SM00000000000000000000000000000003"
NOW = datetime(2026, 11, 20, 18, 40, tzinfo=UTC)
ACCOUNT = Account(base_url="https://api.twilio.example/", api_key="token-1", account_id=SID)
TEXT = OutboundText(
    sender="+12025550100",
    recipient="+12025550142",
    body="Hi \u201cJordan\u201d & co \U0001f600",
    idempotency_key="out_1.1",
    status_callback_url="https://hooks.example.com/hooks/twilio/t/a/",
)
FORM = "application/x-www-form-urlencoded"


@pytest.fixture
def carrier():
    return providers["twilio"]()


# --- signatures -------------------------------------------------------------------------------


def delivery_of(scheme, **changes):
    vector = VECTORS[scheme]
    raw = vector.get("raw_body") or VECTORS["twilio_form_sha1"]["raw_body"]
    delivery = Delivery(body=raw.encode(), url=vector["url"], headers=vector["headers"])
    return dataclasses.replace(delivery, **changes), [vector["secret"]]


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.example.com/w/tok_abc/twilio",
        "https://hooks.example.com:443/w/tok_abc/twilio",
    ],
)
def test_a_port_in_the_url_makes_no_difference(carrier, url):
    delivery, secrets = delivery_of("twilio_form_sha1", url=url)

    assert carrier.verify(delivery, secrets, NOW) is SignatureState.VALID


@pytest.mark.parametrize(
    ("url", "known"),
    [
        ("https://h.example/a?b=c", {"https://h.example/a?b=c", "https://h.example:443/a?b=c"}),
        ("http://h.example:8000/", {"http://h.example:8000/", "http://h.example/"}),
        ("http://h.example", {"http://h.example", "http://h.example:80"}),
        ("https://[::1]:8443/a", {"https://[::1]:8443/a", "https://[::1]/a"}),
        ("https://h.example?x=1:2", {"https://h.example?x=1:2", "https://h.example:443?x=1:2"}),
        ("", {""}),
        ("no url", {"no url"}),
        ("ftp://h.example/", {"ftp://h.example/"}),
    ],
)
def test_a_url_is_spelt_with_and_without_its_port(url, known):
    assert set(spellings(url)) == known


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.example.com/w/tok_abc/twilio/",
        "http://hooks.example.com/w/tok_abc/twilio",
        "https://hooks.example.com/w/other/twilio",
        "https://hooks.example.com/w/tok_abc/twilio?a=1",
        "",
    ],
)
def test_another_url_is_not_what_was_signed(carrier, url):
    delivery, secrets = delivery_of("twilio_form_sha1", url=url)

    assert carrier.verify(delivery, secrets, NOW) is SignatureState.INVALID


@pytest.mark.parametrize(
    ("body", "state"),
    [
        (b"A=2&A=1&A=1", SignatureState.VALID),
        (b"A=1&A=2", SignatureState.VALID),  # order and repetition are not signed
        (b"A=1&A=3", SignatureState.INVALID),
        (b"A=1&A=2&B=", SignatureState.INVALID),  # blank values are
        (b"A=1", SignatureState.INVALID),
    ],
)
def test_repeated_keys_are_sorted_and_counted_once(carrier, body, state):
    delivery, secrets = delivery_of("twilio_form_repeated_key", body=body)

    assert carrier.verify(delivery, secrets, NOW) is state


def test_blank_values_are_part_of_the_signature(carrier):
    body = b"Body=&To=%2B12025550100"
    headers = carrier.sign(body, "s", NOW, "", url="https://h.example/")
    wanted = hmac.new(b"s", b"https://h.example/BodyTo+12025550100", hashlib.sha1).digest()

    assert headers == {"X-Twilio-Signature": base64.b64encode(wanted).decode()}


@pytest.mark.parametrize(
    ("announced", "state"),
    [
        ("key=k,algorithm=HMAC_SHA256", SignatureState.VALID),
        ("algorithm=hmac_sha256, key=k", SignatureState.VALID),
        ("key=k,algorithm=HMAC_MD5", SignatureState.INVALID),
        ("key=k,algorithm=HMAC_SHA1", SignatureState.INVALID),
        ("", SignatureState.INVALID),
    ],
)
def test_the_settings_header_names_the_algorithm(carrier, announced, state):
    delivery, secrets = delivery_of("twilio_form_sha256_sharedkey")
    headers = {**delivery.headers, "X-Twilio-Webhooks-Signature-Settings": announced}

    delivery = dataclasses.replace(delivery, headers=headers)

    assert carrier.verify(delivery, secrets, NOW) is state


def test_a_body_hash_in_the_url_binds_the_body(carrier):
    delivery, secrets = delivery_of("twilio_json_bodysha256")
    doubled = delivery.url + "&" + urlsplit(delivery.url).query

    assert carrier.verify(delivery, secrets, NOW) is SignatureState.VALID
    for change in ({"body": b'{"MessageSid":"SM2"}'}, {"body": b""}, {"url": doubled}):
        tampered = dataclasses.replace(delivery, **change)
        assert carrier.verify(tampered, secrets, NOW) is SignatureState.INVALID


def test_without_a_body_hash_a_signature_of_the_url_alone_proves_nothing(carrier):
    url = "https://h.example/"
    signature = base64.b64encode(hmac.new(b"s", url.encode(), hashlib.sha1).digest()).decode()

    delivery = Delivery(
        body=b'{"MessageSid":"SM1"}', url=url, headers={"X-Twilio-Signature": signature}
    )

    assert carrier.verify(delivery, ["s"], NOW) is SignatureState.INVALID


@pytest.mark.parametrize("secrets", [["new", "old"], ["old"], ["", "old"]])
def test_during_rotation_either_token_is_enough(carrier, secrets):
    headers = carrier.sign(b"A=1", "old", NOW, "", url="https://h.example/")
    delivery = Delivery(body=b"A=1", url="https://h.example/", headers=headers)

    assert carrier.verify(delivery, secrets, NOW) is SignatureState.VALID


# --- forms ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "payload"),
    [
        (b"A=1&B=", {"A": "1", "B": ""}),
        (b"A=1&A=1", {"A": "1"}),
        (b"A=2&A=1&A=2", {"A": ["2", "1"]}),
        (b"A=%F0%9F%98%80+%2B&\xc3\xa9=1", {"A": "\U0001f600 +", "\u00e9": "1"}),
        (b"A=100%&B=%zz", {"A": "100%", "B": "%zz"}),
        (b"A", None),
        (b"", None),
        (b"{}", None),
        (b'{"a": 1}', None),
        (b"A=%ff", None),
        (b"A=\xff", None),
        (b"A=%ed%a0%80", None),
        (b"&".join([b"a=1"] * 1_001), None),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_form_is_read_or_called_malformed(raw, payload):
    parsed = parse_form(raw)

    assert parsed.payload == payload == parsed.storable
    assert parsed.state == ("malformed" if payload is None else "clean")
    assert bool(parsed.reason) is (payload is None)


@pytest.mark.parametrize("raw", [b"A=x%00y", b"%00=1", b"A=1\x00"])
def test_a_nul_in_a_form_is_readable_but_not_storable(raw):
    parsed = parse_form(raw)

    assert (parsed.state, parsed.storable) == ("unstorable", None)
    assert parsed.payload
    assert parsed.reason


@given(st.binary(max_size=80))
@settings(max_examples=300, deadline=None, derandomize=True, database=None)
def test_no_form_at_all_raises(raw):
    parse_form(raw)
    carrier, raw = providers["twilio"](), b"A=" + raw
    headers = carrier.sign(raw, "s", NOW, "", url="https://h.example/")
    delivery = Delivery(body=raw, url="https://h.example/", headers=headers)

    assert carrier.verify(delivery, ["s"], NOW) is SignatureState.VALID


def test_json_is_read_where_it_is_announced(carrier):
    body = b'{"MessageSid":"SM1"}'

    assert carrier.read(body, "application/json; charset=utf-8").payload == {"MessageSid": "SM1"}
    assert carrier.read(body, FORM).payload is None
    assert carrier.accepts(FORM)


# --- webhooks ---------------------------------------------------------------------------------


def test_a_text_and_each_of_its_reports_have_keys_of_their_own(carrier):
    def key(**fields):
        return carrier.delivery_key(Delivery(body=b"raw"), {"MessageSid": SM, **fields})

    assert key(SmsStatus="received", Body="Yes") == SM == key(Body="Yes")
    assert key(MessageStatus="sent") == f"{SM}:sent"
    assert key(MessageStatus="Delivered", SmsStatus="sent") == f"{SM}:delivered"
    assert key(SmsStatus="receiving", Body="") == f"{SM}:receiving"
    assert key(ConversationSid="CH1", Body="Yes").startswith("sha256:")
    assert carrier.delivery_key(Delivery(body=b"raw"), {"CallSid": "CA1"}).startswith("sha256:")


@pytest.mark.parametrize("fields", [{"MessageSid": ["SM1", "SM2"]}, {"From": ["+1", "+2"]}])
def test_two_values_where_one_is_needed_are_refused(carrier, fields):
    payload = {"MessageSid": SM, "From": "+12025550142", "To": "+12025550100", "Body": "Yes"}

    with pytest.raises(BadPayload):
        carrier.parse(payload | fields)


@pytest.mark.parametrize(
    ("body", "count"), [("STOP", 1), ("stop.", 1), ("Unsubscribe", 1), ("please stop", 0)]
)
def test_an_opt_out_by_rcs_holds_for_texts(carrier, body, count):
    payload = {"MessageSid": SM, "SmsStatus": "received", "To": "rcs:acme", "Body": body}

    assert len(carrier.parse(payload | {"From": "rcs:+12025550142"})) == count
    assert carrier.parse(payload | {"From": "whatsapp:+12025550142"}) == []


def test_a_report_of_a_service_that_has_chosen_no_number_yet_is_read(carrier):
    payload = {"MessageSid": SM, "MessageStatus": "queued", "To": "+12025550142", "From": ""}

    assert carrier.parse(payload)[0].sender == ""


def test_a_test_event_has_no_effect_and_a_key_of_its_own(carrier):
    bodies = [carrier.test_event(NOW), carrier.test_event(NOW.replace(second=1))]
    payload = carrier.read(bodies[0], carrier.content_types[0]).payload

    assert carrier.event_type(payload) == "fairlead.test"
    assert carrier.parse(payload) == []
    assert len({carrier.delivery_key(Delivery(body=body), payload) for body in bodies}) == 2


def test_the_answer_holds_no_instructions(carrier):
    assert carrier.acknowledgement == (b"<Response/>", "text/xml")
    assert (carrier.busy_status, carrier.hold_s) == (503, 10)


# --- sending ----------------------------------------------------------------------------------


def test_a_send_is_written_as_documented(carrier):
    call = carrier.build_send(TEXT, ACCOUNT)

    assert call.method == "POST"
    assert call.url == f"https://api.twilio.example/2010-04-01/Accounts/{SID}/Messages.json"
    assert call.headers["Content-Type"] == FORM
    pair = base64.b64decode(call.headers["Authorization"].removeprefix("Basic ")).decode()
    assert pair == f"{SID}:token-1"
    assert dict(parse_qsl(call.body.decode(), strict_parsing=True)) == {
        "To": "+12025550142",
        "From": "+12025550100",
        "Body": "Hi \u201cJordan\u201d & co \U0001f600",
        "StatusCallback": "https://hooks.example.com/hooks/twilio/t/a/",
    }
    assert "token-1" not in repr(call)
    assert not carrier.has_idempotency_key


def test_without_a_callback_none_is_asked_for(carrier):
    call = carrier.build_send(dataclasses.replace(TEXT, status_callback_url=""), ACCOUNT)

    assert "StatusCallback" not in dict(parse_qsl(call.body.decode()))


def test_a_messaging_service_is_named_beside_our_number(carrier):
    account = dataclasses.replace(ACCOUNT, settings={"messaging_service_sid": "MG1"})

    fields = dict(parse_qsl(carrier.build_send(TEXT, account).body.decode()))

    assert (fields["MessagingServiceSid"], fields["From"]) == ("MG1", "+12025550100")


TAKEN = {
    "account_sid": SID,
    "body": "Hi Jordan",
    "date_created": "Fri, 20 Nov 2026 18:40:00 +0000",
    "direction": "outbound-api",
    "error_code": None,
    "error_message": None,
    "from": None,
    "messaging_service_sid": "MG00000000000000000000000000000001",
    "sid": SM,
    "status": "accepted",
    "to": "+12025550142",
}
BLOCKED = {"code": 21610, "message": "Attempt to send to unsubscribed recipient", "status": 400}


@pytest.mark.parametrize(
    ("status", "body", "kind", "provider_id", "code"),
    [
        (201, TAKEN, "accepted", SM, ""),
        (200, TAKEN | {"status": "queued"}, "accepted", SM, ""),
        (201, TAKEN | {"status": "failed", "error_code": 30034}, "failed", SM, "30034"),
        (201, TAKEN | {"status": "failed", "error_code": 21610}, "opted_out", SM, "21610"),
        (201, TAKEN | {"sid": None}, "ambiguous", "", ""),
        (201, b"", "ambiguous", "", ""),
        (201, b"<html>", "ambiguous", "", ""),
        (302, b"", "ambiguous", "", "302"),
        (400, BLOCKED, "opted_out", "", "21610"),
        (400, {"code": 21211, "message": "Invalid 'To' Phone Number"}, "failed", "", "21211"),
        (400, {"code": 21617, "message": "too long"}, "failed", "", "21617"),
        (401, {"code": 20003, "message": "Authenticate"}, "failed", "", "20003"),
        (403, b"", "failed", "", "403"),
        (404, b"\xff", "failed", "", "404"),
        (408, b"", "ambiguous", "", "408"),
        (409, b"", "ambiguous", "", "409"),
        (429, {"code": 20429, "message": "Too Many Requests"}, "throttled", "", "20429"),
        (429, b"", "throttled", "", "429"),
        (400, {"code": 20429}, "throttled", "", "20429"),
        (500, {"code": 20500, "message": "oops"}, "ambiguous", "", "500"),
        (503, {"code": 20429}, "ambiguous", "", "503"),
        (500, BLOCKED, "ambiguous", "", "500"),
    ],
)
def test_an_answer_is_read_for_what_it_means(carrier, status, body, kind, provider_id, code):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()

    result = carrier.read_send(status, {}, raw, "+12025550142")

    assert (result.kind, result.provider_id, result.error_code) == (kind, provider_id, code)
    assert bool(result.error) is (kind != "accepted")


@pytest.mark.parametrize(
    ("value", "seconds"), [("30", 30), ("1.5", 1.5), ("99999", 3600), ("", None), ("soon", None)]
)
def test_a_throttled_send_says_when_to_come_back(carrier, value, seconds):
    result = carrier.read_send(429, {"Retry-After": value}, b"")

    assert (result.kind, result.retry_after_s) == ("throttled", seconds)


@given(st.integers(100, 599), st.binary(max_size=60) | st.just(b'{"sid": [], "messages": [[]]}'))
@settings(max_examples=200, deadline=None, derandomize=True, database=None)
def test_no_answer_at_all_raises(status, body):
    carrier = providers["twilio"]()

    assert carrier.read_send(status, {}, body).kind in ("throttled", "failed", "ambiguous")
    carrier.read_lookup(status, body)
    carrier.read_pull(status, body)
    read_number_lookup(status, body)


@pytest.mark.parametrize(
    ("code", "meaning"),
    [
        ("21610", "suppress"),
        ("OUT", "suppress"),
        ("out", "suppress"),
        ("DNC", "suppress"),
        ("21211", "bad_number"),
        ("21614", "bad_number"),
        ("30005", "bad_number"),
        ("30006", "bad_number"),
        ("30007", "filtered"),
        ("21408", "config"),
        ("21606", "config"),
        ("30034", "config"),
        ("20429", "transient"),
        ("30001", "transient"),
        ("30008", "transient"),
        ("30022", "transient"),
        ("", ""),
        ("12345", ""),
    ],
)
def test_a_code_says_what_to_do(code, meaning):
    assert error_class(code) == meaning


# --- lists ------------------------------------------------------------------------------------

LISTED = TAKEN | {"from": "+12025550100", "status": "delivered"}
INBOUND = {
    "sid": "SM00000000000000000000000000000009",
    "direction": "inbound",
    "status": "received",
    "from": "+12025550142",
    "to": "+12025550100",
    "body": "S\u00ed & yes \U0001f600",
    "num_media": "0",
    "num_segments": "1",
    "date_sent": "Fri, 20 Nov 2026 18:41:00 +0000",
    "account_sid": SID,
}


def test_an_unknown_text_is_looked_up_by_recipient_and_day(carrier):
    since = datetime.fromisoformat("2026-11-20T18:40:00-08:00")

    call = carrier.build_lookup(TEXT, since, ACCOUNT)

    address, _, query = call.url.partition("?")
    assert (call.method, call.body) == ("GET", b"")
    assert address == f"https://api.twilio.example/2010-04-01/Accounts/{SID}/Messages.json"
    assert dict(parse_qsl(query)) == {
        "To": "+12025550142",
        "DateSent>": "2026-11-21",
        "PageSize": "50",
    }
    assert carrier.has_lookup
    midnight = datetime(2026, 11, 21, 0, 0, 1, tzinfo=UTC)
    assert "2026-11-20" in carrier.build_lookup(TEXT, midnight, ACCOUNT).url


def test_a_look_up_finds_our_texts_and_leaves_out_what_is_odd(carrier):
    odd = [{}, "x", LISTED | {"sid": None}, LISTED | {"to": "??"}, LISTED | {"status": "hovering"}]
    failed = LISTED | {"sid": "SM4", "from": None, "status": "undelivered", "error_code": 30005}
    body = json.dumps({"messages": [LISTED, INBOUND, *odd, failed]}).encode()

    first, second = carrier.read_lookup(200, body)

    assert (first.provider_id, first.sender, first.recipient, first.body, first.status) == (
        SM,
        "+12025550100",
        "+12025550142",
        "Hi Jordan",
        "delivered",
    )
    assert first.at == NOW
    assert (second.sender, second.status, second.error_code) == ("", "undelivered", "30005")


@pytest.mark.parametrize(
    ("status", "body"),
    [(500, b'{"messages": []}'), (200, b"{}"), (200, b"<html>"), (401, b""), (200, b"")],
)
def test_what_is_no_list_is_nothing_to_go_by(carrier, status, body):
    assert carrier.read_lookup(status, body) is None
    assert carrier.read_pull(status, body) is None
    assert carrier.read_lookup(200, b'{"messages": []}') == []


def test_a_pull_begins_where_texts_may_still_be_on_their_way(carrier):
    call = carrier.build_pull(datetime(2026, 11, 20, 9, 0, tzinfo=UTC), "", ACCOUNT)

    assert dict(parse_qsl(urlsplit(call.url).query))["DateSent>"] == "2026-11-19"


@pytest.mark.parametrize(
    "uri",
    [
        f"/2010-04-01/Accounts/{SID}/Messages.json?PageSize=50&Page=1&PageToken=PASM1",
        f"https://evil.example/2010-04-01/Accounts/{SID}/Messages.json?PageSize=50&Page=1"
        "&PageToken=PASM1",
        "//evil.example/?PageSize=50&Page=1&PageToken=PASM1",
    ],
)
def test_the_next_page_is_asked_of_the_same_host_whatever_the_answer_says(carrier, uri):
    page = carrier.read_pull(200, json.dumps({"messages": [], "next_page_uri": uri}).encode())

    call = carrier.build_pull(NOW, page.cursor, ACCOUNT)

    assert call.url == (
        f"https://api.twilio.example/2010-04-01/Accounts/{SID}/Messages.json"
        "?PageSize=50&Page=1&PageToken=PASM1"
    )


@pytest.mark.parametrize("uri", ["", "/no/query", 5, "/x?a=\n", "/x?a=\u2603"])
def test_a_next_page_that_cannot_be_asked_for_fails_the_pull(carrier, uri):
    body = json.dumps({"messages": [], "next_page_uri": uri}).encode()

    assert carrier.read_pull(200, body) is None


def test_what_is_pulled_reads_like_the_webhook_that_was_missed(carrier):
    report = LISTED | {
        "status": "undelivered",
        "error_code": 30006,
        "date_updated": "Fri, 20 Nov 2026 18:45:00 +0000",
    }
    skipped = [INBOUND | {"status": "receiving"}, LISTED | {"status": "hovering"}, {"sid": "SM1"}]
    body = json.dumps({"messages": [INBOUND, report, *skipped], "next_page_uri": None}).encode()

    page = carrier.read_pull(200, body)

    first, second = page.items
    assert page.cursor == ""
    assert (first.key, first.is_status) == (f"{INBOUND['sid']}:received", None)
    assert (second.key, second.is_status) == (f"{SM}:undelivered", "undelivered")
    [received] = carrier.parse(carrier.read(first.body, FORM).payload)
    assert (received.external_id, received.body) == (first.external_id, INBOUND["body"])
    assert (received.sender, received.recipient) == ("+12025550142", "+12025550100")
    assert received.occurred_at == first.at == datetime(2026, 11, 20, 18, 41, tzinfo=UTC)
    [reported] = carrier.parse(carrier.read(second.body, FORM).payload)
    assert (reported.external_id, reported.status) == (SM, "undelivered")
    assert (reported.error_code, reported.occurred_at) == ("30006", second.at)


# --- numbers ----------------------------------------------------------------------------------


def test_a_number_is_looked_up_at_its_own_host():
    call = build_number_lookup(ACCOUNT, "+12025550142")

    assert call.url == (
        "https://lookups.twilio.com/v2/PhoneNumbers/"
        f"{quote('+12025550142', safe='')}?Fields=line_type_intelligence"
    )
    assert call.headers["Authorization"].startswith("Basic ")
    elsewhere = dataclasses.replace(ACCOUNT, settings={"lookup_url": "http://127.0.0.1:8099/"})
    assert build_number_lookup(elsewhere, "+1").url.startswith("http://127.0.0.1:8099/v2/")


@pytest.mark.parametrize(
    ("kind", "line_type"),
    [
        ("mobile", "mobile"),
        ("landline", "landline"),
        ("fixedVoip", "voip"),
        ("nonFixedVoip", "voip"),
        ("tollFree", "unknown"),
        (None, "unknown"),
    ],
)
def test_a_number_has_a_kind_of_line(kind, line_type):
    line = {"type": kind, "carrier_name": "Example Wireless", "error_code": None}
    body = json.dumps({"valid": True, "line_type_intelligence": line}).encode()

    facts = read_number_lookup(200, body)

    assert facts == NumberFacts(valid=True, line_type=line_type, carrier="Example Wireless")


def test_what_is_not_known_of_a_number_is_not_made_up():
    assert read_number_lookup(200, b'{"valid": true, "line_type_intelligence": null}').valid
    assert read_number_lookup(200, b'{"valid": false}') == NumberFacts()
    assert read_number_lookup(404, b'{"code": 20404}') == NumberFacts()
    assert read_number_lookup(404, b"").error == "answered 404"
    assert read_number_lookup(401, b'{"message": "Authenticate"}').error == "Authenticate"
    assert read_number_lookup(200, b"<html>").error == "answered 200"


MOBILE = {"valid": True, "line_type_intelligence": {"type": "mobile"}}


def check_number(status, body, headers=None):
    return providers["twilio"]().read_phone_check(
        "lookup", status, headers or {}, body, "+12025550142"
    )


@pytest.mark.parametrize(
    ("status", "body", "kind", "verdict", "code", "units"),
    [
        (200, MOBILE, "hit", "verified", "mobile", 1),
        (200, {"valid": True, "line_type_intelligence": None}, "hit", "unknown", "unknown", 1),
        (200, {"valid": False}, "hit", "invalid", "invalid", 1),
        (404, {"code": 20404}, "hit", "invalid", "invalid", 0),
        (401, {"message": "Authenticate"}, "refused", "unknown", "", 0),
        (429, {"code": 20429}, "throttled", "unknown", "", 0),
        (500, {}, "ambiguous", "unknown", "", None),
        (200, {}, "ambiguous", "unknown", "", None),
    ],
)  # fmt: skip
def test_a_looked_up_number_is_verified_where_its_line_is_known(
    status, body, kind, verdict, code, units
):
    found = check_number(status, json.dumps(body).encode(), {"Retry-After": "2"})

    assert (found.kind, found.verdict, found.code, found.units) == (kind, verdict, code, units)
    assert found.retry_after_s == (2.0 if kind == "throttled" else None)
    assert bool(found.error) is (kind != "hit")


@pytest.mark.parametrize("body", BODIES)
def test_no_answer_about_a_number_is_too_odd_to_read(body):
    for status in STATUSES:
        for headers in HEADERS:
            check(check_number(status, body, headers))
