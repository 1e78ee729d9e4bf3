"""GoHighLevel (LeadConnector): contacts and conversations. Format: ``docs/providers/ghl.md``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from integrations.addresses import read_phone
from integrations.contacts import read_facts
from integrations.events import (
    AppChanged,
    BadPayload,
    ConsentChannel,
    ContactChanged,
    ContactOptedOut,
    Event,
)
from integrations.payloads import Payload, pick, read_identifier, read_instant, read_note
from integrations.providers.base import (
    Delivery,
    Lane,
    Provider,
    SignatureState,
    body_key,
    providers,
    usable_key,
)
from integrations.providers.ghl_api import GhlApi
from integrations.providers.ghl_bodies import (
    APP_KINDS,
    CONTACT_KINDS,
    FACTS,
    MESSAGE_KINDS,
    contact_id_of,
    contact_of,
    is_handed_over,
    is_ping,
    kind_of,
    message_event,
    message_id_of,
    moment_of,
    name_of,
    record_of,
    tags_of,
)
from integrations.tolerant import parse_json
from integrations.vendor_keys import sign_ed25519, signed_by_any

SIGNATURE = "X-GHL-Signature"  # base64 Ed25519 over the raw body
SIGNATURE_RSA = "X-WH-Signature"  # base64 RSA-SHA256; the vendor stopped sending it in 2026-09

#: The vendor's published keys. ``config["public_keys"]`` replaces them.
PUBLIC_KEYS = (
    """-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAi2HR1srL4o18O8BRa7gVJY7G7bupbN3H9AwJrHCDiOg=
-----END PUBLIC KEY-----
""",
    """-----BEGIN PUBLIC KEY-----
MIICIjANBgkqhkiG9w0BAQEFAAOCAg8AMIICCgKCAgEAokvo/r9tVgcfZ5DysOSC
Frm602qYV0MaAiNnX9O8KxMbiyRKWeL9JpCpVpt4XHIcBOK4u3cLSqJGOLaPuXw6
dO0t6Q/ZVdAV5Phz+ZtzPL16iCGeK9po6D6JHBpbi989mmzMryUnQJezlYJ3DVfB
csedpinheNnyYeFXolrJvcsjDtfAeRx5ByHQmTnSdFUzuAnC9/GepgLT9SM4nCpv
uxmZMxrJt5Rw+VUaQ9B8JSvbMPpez4peKaJPZHBbU3OdeCVx5klVXXZQGNHOs8gF
3kvoV5rTnXV0IknLBXlcKKAQLZcY/Q9rG6Ifi9c+5vqlvHPCUJFT5XUGG5RKgOKU
J062fRtN+rLYZUV+BjafxQauvC8wSWeYja63VSUruvmNj8xkx2zE/Juc+yjLjTXp
IocmaiFeAO6fUtNjDeFVkhf5LNb59vECyrHD2SQIrhgXpO4Q3dVNA5rw576PwTzN
h/AMfHKIjE4xQA1SZuYJmNnmVZLIZBlQAF9Ntd03rfadZ+yDiOXCCs9FkHibELhC
HULgCsnuDJHcrGNd5/Ddm5hxGQ0ASitgHeMZ0kcIOwKDOzOU53lDza6/Y09T7sYJ
PQe7z0cvj7aE4B+Ax1ZoZGPzpJlZtGXCsu9aTEGEnKzmsFqwcSsnw3JB31IGKAyk
T1hhTiaCeIY/OwwwNUY2yvcCAwEAAQ==
-----END PUBLIC KEY-----
""",
)

#: A retry repeats the body, its time included, for over an hour; longer ago than this is a replay.
REPLAY_WINDOW = timedelta(hours=72)


CHANNELS: dict[str, ConsentChannel] = {"sms": "sms", "call": "call", "email": "email"}
DO_NOT = {"active": True, "permanent": True, "inactive": False}
OPT_OUT_TAGS: dict[str, tuple[str, ...]] = {
    "dnc": ("sms", "call"),
    "do not call": ("sms", "call"),
    "dnc-sms": ("sms",),
    "sms opted out": ("sms",),
}


@providers.register("ghl")
class GoHighLevel(GhlApi, Provider):
    name = "ghl"
    label = "GoHighLevel"
    note = (
        "One webhook URL serves all locations; GoHighLevel signs with its own key. "
        "The list of changed contacts (POST /contacts/search) is unconfirmed by its specification."
    )
    is_configured = True
    can_sign = False
    has_vendor_key = True
    is_shared = True
    busy_status = 429  # the only answer after which they try again
    max_body = 1024 * 1024

    def verify(self, delivery: Delivery, secrets: Sequence[str], now: datetime) -> SignatureState:
        """Check the vendor's key; *secrets* of ours play no part."""
        given = delivery.header(SIGNATURE)
        if given:
            valid = signed_by_any(delivery.body, given, self._keys(), Ed25519PublicKey)
        elif self.config.get("accept_rsa") is True and delivery.header(SIGNATURE_RSA):
            given = delivery.header(SIGNATURE_RSA)
            valid = signed_by_any(delivery.body, given, self._keys(), RSAPublicKey)
        else:
            return SignatureState.MISSING
        return _age(delivery.body, now) if valid else SignatureState.INVALID

    def _keys(self) -> list[str]:
        own = self.config.get("public_keys")
        pems = own if isinstance(own, list) and own else PUBLIC_KEYS
        return [pem for pem in pems if isinstance(pem, str)]

    def sign(
        self, body: bytes, secret: str, now: datetime, delivery_id: str, url: str = ""
    ) -> dict[str, str]:
        """Sign as the holder of a private key (hex) would: for tests and the sandbox."""
        return {SIGNATURE: sign_ed25519(body, secret) if secret else ""}

    def delivery_key(self, delivery: Delivery, payload: Payload | None) -> str:
        key = read_note((payload or {}).get("webhookId"))
        return f"ghl:{key}" if usable_key(f"ghl:{key}") and key else body_key(delivery.body)

    def event_type(self, payload: Payload | None) -> str:
        if payload is None:
            return ""
        named = name_of(payload)
        return "ProviderOutboundMessage" if is_handed_over(payload) else named

    def external_id(self, payload: Payload) -> str:
        kind = kind_of(payload)
        if kind in MESSAGE_KINDS:
            return message_id_of(payload)
        if kind in CONTACT_KINDS:
            return contact_id_of(payload)
        if kind in APP_KINDS:
            return read_identifier(self.route(payload), "locationId")
        return read_identifier(record_of(payload).get("id"), "id")

    def parties(self, payload: Payload) -> tuple[str | None, str | None]:
        kind = kind_of(payload)
        if kind not in CONTACT_KINDS | MESSAGE_KINDS:
            return None, None
        return None, read_phone(record_of(payload).get("phone")) or None

    def lane(self, payload: Payload | None, delivery_key: str) -> Lane:
        """Return the lane of the contact: its events and messages are worked on in order."""
        if payload is not None:
            with suppress(BadPayload):
                theirs = self.parties(payload)[1]
                return Lane(ours=None, theirs=theirs, text=f"crm:{contact_id_of(payload)}"[:200])
        return super().lane(payload, delivery_key)

    def route(self, payload: Payload | None) -> str | None:
        record = record_of(payload or {})
        location = record.get("location")
        found = read_note(pick(record, "locationId", "location_id"))
        if not found and isinstance(location, Mapping):
            found = read_note(location.get("id"))
        if not found and payload is not None and kind_of(payload) in APP_KINDS:
            found = read_note(record.get("companyId"))
        return found or None

    def parse(self, payload: Payload) -> list[Event]:
        kind = kind_of(payload)
        if kind in CONTACT_KINDS:
            return self._changed(payload, kind)
        if kind in MESSAGE_KINDS:
            return [message_event(payload, kind)]
        if kind in APP_KINDS:
            return [
                AppChanged(
                    external_id=self.external_id(payload),
                    occurred_at=moment_of(payload, "timestamp"),
                    is_installed=kind == "installed",
                    name=read_note(record_of(payload).get("companyName")),
                )
            ]
        if not name_of(payload) and not is_ping(payload):
            raise BadPayload("ghl: neither an event name nor a known shape")
        return []

    def _changed(self, payload: Payload, kind: str) -> list[Event]:
        record, contact_id = contact_of(payload), contact_id_of(payload)
        occurred_at = moment_of(payload, "timestamp", "dateUpdated", "date_updated")
        tags, added, removed = tags_of(record, kind)
        facts = read_facts(record, FACTS)
        owner = record.get("owner")
        if "assigned_to" not in facts and isinstance(owner, Mapping):
            facts |= read_facts(owner, {"assigned_to": ("email", "id")})
        refused = self._refused(record, [*(tags or ()), *added])
        changed = ContactChanged(
            external_id=contact_id,
            occurred_at=occurred_at,
            change="created"
            if kind == "created"
            else "deleted"
            if kind == "deleted"
            else "updated",
            facts=facts,
            tags=tags,
            tags_added=added,
            tags_removed=removed,
            dnd={channel: bool(why) for channel, why in refused.items()},
            is_ordered=occurred_at is not None,
        )
        addresses = {"sms": "phone", "call": "phone", "email": "email"}
        opt_outs = [
            ContactOptedOut(
                external_id=contact_id,
                occurred_at=occurred_at,
                address=facts[addresses[channel]],
                channel=CHANNELS[channel],
                reason=why,
            )
            for channel, why in refused.items()
            if why and facts.get(addresses[channel])
        ]
        return [changed, *opt_outs]

    def _refused(self, record: Payload, tags: list[str]) -> dict[str, str]:
        """Return, for each channel that is told, why it must not be used; ``""``: it may be."""
        told: dict[str, str] = {}
        everything = record.get("dnd")
        if isinstance(everything, bool):
            told = dict.fromkeys(CHANNELS, "GoHighLevel: do not disturb" if everything else "")
        settings = record.get("dndSettings")
        for name, setting in settings.items() if isinstance(settings, Mapping) else ():
            status = setting.get("status") if isinstance(setting, Mapping) else setting
            channel = name.lower() if isinstance(name, str) else ""
            if channel in CHANNELS and isinstance(status, str) and status.lower() in DO_NOT:
                is_on = DO_NOT[status.lower()]
                told[channel] = f"GoHighLevel: {name} do not disturb" if is_on else ""
        for tag in tags:
            for channel in self._tag_channels().get(tag.casefold(), ()):
                told[channel] = told.get(channel) or f"GoHighLevel: tag {tag}"
        return told

    def _tag_channels(self) -> dict[str, tuple[str, ...]]:
        own = self.config.get("opt_out_tags")
        if not isinstance(own, list):
            return OPT_OUT_TAGS
        return {tag.casefold(): ("sms",) for tag in own if isinstance(tag, str)}


def _age(body: bytes, now: datetime) -> SignatureState:
    """Judge the time inside a signed body; the vendor's documents often leave it out."""
    payload = parse_json(body).payload or {}
    try:
        sent_at = read_instant(pick(payload, "timestamp"), "timestamp")
    except BadPayload:
        return SignatureState.VALID
    return SignatureState.VALID if abs(now - sent_at) <= REPLAY_WINDOW else SignatureState.STALE
