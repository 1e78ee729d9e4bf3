import base64
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from integrations.events import BadPayload, ContactChanged, ContactOptedOut, CrmMessage
from integrations.providers import Account, Delivery, Reconciles, SignatureState, providers
from integrations.providers.ghl import PUBLIC_KEYS
from integrations.vendor_keys import load_key

VECTORS = {
    vector["scheme"]: vector
    for vector in json.loads(
        (Path(__file__).parent.parent / "fixtures" / "vectors" / "ghl.json").read_text()
    )["vectors"]
}
VECTOR = VECTORS["ghl_ed25519_testkey"]
NOW = datetime(2026, 11, 20, 18, 40, tzinfo=UTC)
ACCOUNT = Account(base_url="https://crm.example/", api_key="token-1", account_id="loc1")

#: The vendor's documented events that mean nothing to us yet, by what they are about.
UNUSED_BY_THING = {
    "Note": "Create Update Delete",
    "Task": "Create Complete Delete",
    "Opportunity": "Create Update Delete StageUpdate StatusUpdate MonetaryValueUpdate"
    " AssignedToUpdate",
    "Appointment": "Create Update Delete",
    "Invoice": "Create Update Sent Paid PartiallyPaid Void Delete",
    "Order": "Create StatusUpdate",
    "Product": "Create Update Delete",
    "Price": "Create Update Delete",
    "Association": "Create Update Delete",
    "ObjectSchema": "Create Update",
    "Record": "Create Update Delete",
    "Relation": "Create Delete",
    "Location": "Create Update",
    "User": "Create Update Delete",
    "CampaignStatus": "Update",
    "ConversationUnread": "Update",
    "LCEmail": "Stats",
    "Plan": "Change",
}
UNUSED = [
    thing + change for thing, changes in UNUSED_BY_THING.items() for change in changes.split()
]


def crm(**config):
    return providers["ghl"]({"public_keys": [VECTOR["public_key_pem"]], **config})


def verify(headers, *, body=None, now=NOW, **config):
    delivery = Delivery(body=body or VECTOR["raw_body"].encode(), headers=headers)
    return crm(**config).verify(delivery, [], now)


def parse(payload, **config):
    return crm(**config).parse(payload)


# --- who sent it ------------------------------------------------------------------------------


def test_a_signature_made_elsewhere_is_valid():
    assert verify(VECTOR["headers"]) is SignatureState.VALID
    tampered = VECTOR["raw_body"].replace("ContactUpdate", "ContactDelete").encode()
    assert verify(VECTOR["headers"], body=tampered) is SignatureState.INVALID


def test_we_sign_as_the_vector_says():
    body = VECTOR["raw_body"].encode()

    assert crm().sign(body, VECTOR["test_private_key_hex"], NOW, "") == VECTOR["headers"]


def test_the_published_keys_are_built_in():
    vendor = VECTORS["ghl_vendor_public_keys"]

    assert [pem.strip() for pem in PUBLIC_KEYS] == [
        vendor["ed25519_pem"].strip(),
        vendor["rsa_pem"].strip(),
    ]
    assert all(load_key(pem) for pem in PUBLIC_KEYS)
    delivery = Delivery(body=VECTOR["raw_body"].encode(), headers=VECTOR["headers"])
    assert providers["ghl"]().verify(delivery, [], NOW) is SignatureState.INVALID


def test_keys_rotate_by_configuration_and_what_is_no_key_counts_for_nothing():
    keys = ["nonsense", 5, PUBLIC_KEYS[0], VECTOR["public_key_pem"]]

    assert verify(VECTOR["headers"], public_keys=keys) is SignatureState.VALID
    assert verify(VECTOR["headers"], public_keys=keys[:3]) is SignatureState.INVALID


@pytest.mark.parametrize("value", ["", "N/A", "n/a", "  "])
def test_a_signature_that_says_nothing_is_missing(value):
    assert verify({"X-GHL-Signature": value}) is SignatureState.MISSING


@pytest.mark.parametrize("value", ["AAAA", "%%%", "\u2603", "=" * 100])
def test_what_is_no_signature_is_invalid(value):
    assert verify({"X-GHL-Signature": value}) is SignatureState.INVALID


@pytest.mark.parametrize(
    ("hours", "state"),
    [(71.9, SignatureState.VALID), (72.1, SignatureState.STALE), (-72.1, SignatureState.STALE)],
)
def test_a_body_counts_for_three_days(hours, state):
    assert verify(VECTOR["headers"], now=NOW + timedelta(hours=hours)) is state


@pytest.mark.parametrize("body", [b'{"type": "x"}', b'{"timestamp": "x"}', b"not json"])
def test_a_signed_body_that_tells_no_time_is_valid(body):
    headers = crm().sign(body, VECTOR["test_private_key_hex"], NOW, "")

    assert verify(headers, body=body) is SignatureState.VALID


def test_the_old_rsa_header_counts_only_where_it_is_allowed():
    key = generate_private_key(65537, 2048)
    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    signature = key.sign(VECTOR["raw_body"].encode(), PKCS1v15(), SHA256())
    headers = {"X-WH-Signature": base64.b64encode(signature).decode()}

    assert verify(headers, public_keys=[pem]) is SignatureState.MISSING
    assert verify(headers, public_keys=[pem], accept_rsa=True) is SignatureState.VALID
    assert verify(headers, accept_rsa=True) is SignatureState.INVALID
    both = headers | {"X-GHL-Signature": "AAAA"}
    assert verify(both, public_keys=[pem], accept_rsa=True) is SignatureState.INVALID


def test_one_url_serves_all_and_the_busy_answer_is_the_one_they_heed():
    kind = providers["ghl"]

    assert (kind.is_shared, kind.has_vendor_key, kind.can_sign) == (True, True, False)
    assert (kind.busy_status, kind.hold_s, kind.max_body) == (429, 5, 1024 * 1024)


# --- whose it is ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("payload", "account"),
    [
        ({"type": "ContactCreate", "locationId": "loc1", "companyId": "cmp1"}, "loc1"),
        ({"type": "ContactCreate", "data": {"locationId": "loc1"}}, "loc1"),
        ({"contact_id": "c", "location": {"id": "loc1", "name": "x"}}, "loc1"),
        ({"type": "ContactCreate", "locationId": 5001}, "5001"),
        ({"type": "INSTALL", "companyId": "cmp1"}, "cmp1"),
        ({"type": "INSTALL", "locationId": "loc1", "companyId": "cmp1"}, "loc1"),
        ({"type": "ContactCreate", "companyId": "cmp1"}, None),
        ({"type": "ContactCreate", "locationId": {}}, None),
        ({}, None),
        (None, None),
    ],
)
def test_the_account_is_found_wherever_it_stands(payload, account):
    assert crm().route(payload) == account


def test_all_that_concerns_a_contact_travels_in_its_lane():
    payloads = [
        {"type": "ContactUpdate", "id": "con1", "phone": "(202) 555-0142"},
        {"type": "InboundMessage", "contactId": "con1", "messageId": "m1"},
        {"event": "contact.tag.added", "contactId": "con1", "tag": "hot"},
        {"contact_id": "con1", "phone": "2025550142"},
        {"type": "OpportunityCreate", "id": "op1", "contactId": "con1"},
    ]

    lanes = [crm().lane(payload, "key") for payload in payloads]

    assert {lane.text for lane in lanes} == {"crm:con1"}
    assert [lane.theirs for lane in lanes] == [
        "+12025550142",
        None,
        None,
        "+12025550142",
        None,
    ]


def test_the_webhook_id_makes_a_delivery_unique_else_its_bytes():
    delivery = Delivery(body=b"{}")

    assert crm().delivery_key(delivery, {"webhookId": "w1"}) == "ghl:w1"
    assert crm().delivery_key(delivery, {"webhookId": ""}).startswith("sha256:")
    assert crm().delivery_key(delivery, {"webhookId": "x" * 300}) != "x" * 300
    assert crm().delivery_key(delivery, {}).startswith("sha256:")


# --- what it says -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", UNUSED)
def test_documented_events_of_no_use_are_no_error(name):
    payload = {"type": name, "locationId": "loc1", "id": "x1", "contactId": "con1"}

    assert parse(payload) == []
    assert parse({"type": name, "data": payload}) == []


def test_a_body_of_no_known_shape_is_refused_not_guessed():
    for payload in ({}, {"id": "x"}, {"phone": "+12025550142"}, {"locationId": "loc1", "foo": 1}):
        with pytest.raises(BadPayload):
            parse(payload)


def test_the_type_says_the_direction_not_the_direction():
    [message] = parse(
        {"type": "OutboundMessage", "direction": "inbound", "messageId": "m1", "contactId": "c1"}
    )

    assert isinstance(message, CrmMessage)
    assert message.direction == "out"


@pytest.mark.parametrize(
    ("fields", "channels"),
    [
        ({"dndSettings": {"SMS": {"status": "active"}}}, {"sms": True}),
        ({"dndSettings": {"sms": {"status": "Permanent"}}}, {"sms": True}),
        ({"dndSettings": {"SMS": "active"}}, {"sms": True}),
        ({"dndSettings": {"SMS": {"status": "inactive"}}}, {"sms": False}),
        ({"dndSettings": {"WhatsApp": {"status": "active"}, "SMS": {}}}, {}),
        ({"dnd": True}, {"sms": True, "call": True, "email": True}),
        (
            {"dnd": True, "dndSettings": {"SMS": {"status": "inactive"}}},
            {"sms": False, "call": True, "email": True},
        ),
        ({"dnd": "yes", "dndSettings": []}, {}),
        ({"tags": ["dnc-sms"]}, {"sms": True}),
        ({"tags": ["Do Not Call"]}, {"sms": True, "call": True}),
        ({"dnd": False, "tags": ["DNC"]}, {"sms": True, "call": True, "email": False}),
        ({"tags": ["dnc later"]}, {}),
    ],
)
def test_do_not_disturb_is_read_by_channel(fields, channels):
    contact = {"type": "ContactUpdate", "id": "c1", "phone": "+12025550142", "email": "a@b.co"}
    changed, *opt_outs = parse(contact | fields)

    assert isinstance(changed, ContactChanged)
    assert changed.dnd == channels
    assert {event.channel for event in opt_outs} == {name for name, on in channels.items() if on}
    assert all(isinstance(event, ContactOptedOut) for event in opt_outs)
    for event in opt_outs:
        assert event.address == ("a@b.co" if event.channel == "email" else "+12025550142")


def test_opt_out_tags_are_the_tenants_to_name():
    contact = {"type": "ContactUpdate", "id": "c1", "phone": "+12025550142"}

    assert len(parse({**contact, "tags": ["No Texts"]}, opt_out_tags=["no texts"])) == 2
    assert len(parse({**contact, "tags": ["DNC"]}, opt_out_tags=["no texts"])) == 1


def test_without_a_number_an_opt_out_is_said_of_the_contact_alone():
    events = parse({"event": "contact.tag.added", "contactId": "c1", "tag": "SMS Opted Out"})

    assert [type(event) for event in events] == [ContactChanged]
    assert events[0].dnd == {"sms": True}


def test_what_is_not_told_is_no_fact():
    [changed] = parse(
        {
            "type": "ContactUpdate",
            "id": "c1",
            "firstName": "Jo\0",
            "lastName": None,
            "email": "nobody",
            "phone": "call me",
            "city": " ",
            "state": "Illinois",
            "timezone": "Mars/Olympus",
            "companyName": "x" * 500,
        }
    )

    assert changed.facts == {"first_name": "Jo", "city": "", "company": "x" * 200}


# --- their API --------------------------------------------------------------------------------


def test_an_opt_out_is_told_by_the_contacts_id():
    call = crm().build_opt_out("+12025550142", "con/1", ACCOUNT)

    assert (call.method, call.url) == ("PUT", "https://crm.example/contacts/con%2F1")
    assert call.headers["Authorization"] == "Bearer token-1"
    assert call.headers["Version"] == "2021-07-28"
    assert json.loads(call.body)["dndSettings"]["SMS"]["status"] == "active"
    assert crm().build_opt_out("+12025550142", "", ACCOUNT) is None
    assert "token-1" not in repr(call)


def test_the_answer_to_an_opt_out_is_read():
    assert crm().read_opt_out(200, b'{"succeded": true}') == ""
    assert crm().read_opt_out(404, b'{"message": "Contact not found"}') == "Contact not found"
    assert crm().read_opt_out(500, b"<html>") == "answered 500"


def test_lists_are_read_by_cursor_contacts_before_messages():
    provider, since = crm(), NOW - timedelta(hours=1)

    first = provider.build_pull(since, "", ACCOUNT)
    asked = json.loads(first.body)
    assert (first.method, first.url) == ("POST", "https://crm.example/contacts/search")
    assert asked["locationId"] == "loc1"
    assert asked["filters"][0]["value"] == {"gte": "2026-11-20T17:40:00.000Z"}
    page = provider.read_pull(200, json.dumps({"contacts": [], "total": 0}).encode())
    assert (page.items, page.cursor) == ((), "messages:")

    then = provider.build_pull(since, page.cursor, ACCOUNT)
    assert then.url.startswith("https://crm.example/conversations/messages/export?")
    assert "startDate=2026-11-20T17%3A40%3A00.000Z" in then.url
    assert then.headers["Version"] == "2021-04-15"
    message = {"id": "m1", "dateAdded": "2026-11-20T18:00:00Z", "direction": "inbound"}
    answer = {"messages": [message], "nextCursor": "n/1"}
    page = provider.read_pull(200, json.dumps(answer).encode())
    assert page.cursor == "messages:n/1"
    assert "cursor=n%2F1" in provider.build_pull(since, page.cursor, ACCOUNT).url
    assert provider.read_pull(200, b'{"messages": [], "nextCursor": "n2"}').cursor == ""


def test_a_full_page_of_contacts_goes_on_where_it_ended():
    contacts = [
        {"id": f"c{n}", "dateUpdated": "2026-11-20T18:00:00Z", "searchAfter": [n, f"c{n}"]}
        for n in range(50)
    ]

    page = crm().read_pull(200, json.dumps({"contacts": contacts}).encode())
    then = json.loads(crm().build_pull(NOW, page.cursor, ACCOUNT).body)

    assert len(page.items) == 50
    assert then["searchAfter"] == [49, "c49"]
    assert "page" not in then


def test_pulled_things_read_like_webhooks():
    contact = {"id": "c1", "dateUpdated": "2026-11-20T18:00:00.123Z", "phone": "+12025550142"}
    message = {
        "id": "m1",
        "dateAdded": "2026-11-20T18:00:00Z",
        "direction": "outbound",
        "type": 2,
        "messageType": "TYPE_SMS",
        "contactId": "c1",
        "body": "Hi",
    }

    [one] = crm().read_pull(200, json.dumps({"contacts": [contact, {"id": 5}]}).encode()).items
    [other] = crm().read_pull(200, json.dumps({"messages": [message, None]}).encode()).items

    assert one.key == "contact:c1:1795197600123"
    [changed] = parse(json.loads(one.body))
    assert (changed.external_id, changed.is_ordered) == ("c1", True)
    assert changed.occurred_at == one.at
    [sent] = parse(json.loads(other.body))
    assert (sent.external_id, sent.direction, sent.channel) == ("m1", "out", "sms")


@pytest.mark.parametrize(
    ("status", "body"), [(401, b"{}"), (200, b"[]"), (200, b"{}"), (429, b'{"contacts": []}')]
)
def test_what_is_no_list_ends_the_run(status, body):
    assert crm().read_pull(status, body) is None
    assert isinstance(crm(), Reconciles)
