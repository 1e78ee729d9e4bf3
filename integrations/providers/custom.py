"""Any sender's own format, read by the field mappings of its integration: ``docs/providers``.

Settings of the integration: ``event_path`` is where the event's name stands, ``events`` says what
their names mean (``{"sms.in": "message.received"}``), ``default_event`` is what an event without
a name is, ``id_path`` is where an id of the delivery stands when no header carries one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, cast

from integrations.addresses import normalize_address
from integrations.events import (
    BadPayload,
    BroadcastReported,
    CallReported,
    ContactChanged,
    ContactOptedOut,
    Event,
    MessageReceived,
    MessageStatus,
    PaymentSucceeded,
)
from integrations.mapping import BadMapping, Mapped, Row, look_up, map_payload
from integrations.modules import COUNTERS, DND_CHANNELS, FACT_NAMES, MODULES
from integrations.payloads import Payload, read_note
from integrations.providers.base import Delivery, body_key, providers, usable_key
from integrations.providers.standard_signing import ID, StandardSigned

Values = Mapping[str, Any]

TEST = "fairlead.test"


@dataclass(frozen=True, kw_only=True)
class Explained:
    """How a payload is understood, step by step, for people who write mappings."""

    name: str  # the sender's name of the event, "" when it has none
    module: str  # what it means, "" when nobody said
    rows: tuple[Row, ...] = ()
    mapped: Mapped = field(default_factory=Mapped)
    events: tuple[Event, ...] = ()
    refusal: str = ""  # why there is no event although it means something


@providers.register("custom")
class Custom(StandardSigned):
    name = "custom"
    label = "Custom webhook"
    note = "Say in its mapping which of their fields means what."
    is_configured = True

    def delivery_key(self, delivery: Delivery, payload: Payload | None) -> str:
        for key in (delivery.header(ID), self._look_up(payload, "id_path")):
            if usable_key(key):
                return key
        return body_key(delivery.body)

    def event_type(self, payload: Payload | None) -> str:
        return TEST if _is_test(payload) else self._look_up(payload, "event_path")

    def external_id(self, payload: Payload) -> str:
        return str(self.explain(payload).mapped.values.get("external_id") or payload_key(payload))

    def parties(self, payload: Payload) -> tuple[str | None, str | None]:
        explained = self.explain(payload)
        ours, theirs = _PARTIES.get(explained.module, ("", ""))
        values = explained.mapped.values
        return _number(values.get(ours)), _number(values.get(theirs))

    def parse(self, payload: Payload) -> list[Event]:
        explained = self.explain(payload)
        if explained.refusal:
            raise BadPayload(explained.refusal)
        return list(explained.events)

    def module_of(self, payload: Payload) -> str:
        """Return the kind of event *payload* is, ``""`` when no setting says."""
        name = self.event_type(payload)
        events = self.config.get("events")
        meaning = self.config.get("default_event")
        if name:
            meaning = events.get(name) if isinstance(events, Mapping) else None
        if _is_test(payload) or not isinstance(meaning, str) or meaning not in MODULES:
            return ""
        return meaning

    def explain(self, payload: Payload, module: str = "") -> Explained:
        """Return how *payload* is read: what ``parse`` does, with its reasons. Never raises.

        Args:
            payload: a parsed body.
            module: read it as this kind of event, whatever the settings say.
        """
        name = self.event_type(payload)
        module = module or self.module_of(payload)
        if not module:
            return Explained(name=name, module="")
        kind, rows = MODULES[module], self._rows(module)
        mapped = map_payload(payload, rows, kind.readers, kind.needed)
        events: tuple[Event, ...] = ()
        refusal = str(mapped.fatal) if mapped.fatal else ""
        if not refusal:
            try:
                events = (_event(module, mapped.values, payload),)
            except BadPayload as error:
                refusal = str(error)
        return Explained(
            name=name, module=module, rows=rows, mapped=mapped, events=events, refusal=refusal
        )

    def _rows(self, module: str) -> tuple[Row, ...]:
        stored = self.config.get("mappings")
        rows = stored if isinstance(stored, list | tuple) else ()
        return tuple(
            Row.of(row) for row in rows if isinstance(row, Mapping) and row.get("module") == module
        )

    def _look_up(self, payload: Payload | None, setting: str) -> str:
        path = self.config.get(setting)
        if payload is None or not isinstance(path, str) or not path.strip():
            return ""
        with suppress(BadMapping):
            return read_note(look_up(payload, path))
        return ""


def payload_key(payload: Payload) -> str:
    """Return an id made of all of *payload*: the same content is the same thing."""
    text = json.dumps(payload, sort_keys=True, default=str)
    return f"sha256:{hashlib.sha256(text.encode('utf-8', 'replace')).hexdigest()}"


def _is_test(payload: Payload | None) -> bool:
    """Tell whether this is ``test_event``: it has our name, wherever theirs would stand."""
    return payload is not None and payload.get("event") == TEST == payload.get("type")


def _number(value: Any) -> str | None:
    with suppress(BadPayload):
        return normalize_address(value)
    return None


#: Module → targets that hold (our number, theirs); contacts and money have lanes by their id.
_PARTIES = {
    "message.received": ("recipient", "sender"),
    "message.status": ("sender", "recipient"),
    "contact.opted_out": ("our_number", "address"),
    "call.completed": ("ours", "theirs"),
}


def _event(module: str, values: Values, payload: Payload) -> Event:
    """Build the event of *module*; its needed values are there."""
    common: dict[str, Any] = {
        "external_id": values.get("external_id") or payload_key(payload),
        "occurred_at": values.get("occurred_at"),
    }
    family, _, verb = module.partition(".")
    match family:
        case "message" if verb == "received":
            return _received(values, common)
        case "message":
            return MessageStatus(**common, **_only(values, _STATUS))
        case "contact" if verb == "opted_out":
            return _opted_out(values, common)
        case "contact":
            return _changed(verb, values, common)
        case "call":
            return CallReported(**common, **{"status": "completed", **_only(values, _CALL)})
        case "payment":
            return PaymentSucceeded(**common, **{"currency": "usd", **_only(values, _PAYMENT)})
    counters = _only(values, COUNTERS)
    name = values.get("name", "")
    return BroadcastReported(
        **common, name=name, counters=counters, is_completed=verb == "completed"
    )


_STATUS = ("sender", "recipient", "status", "error_code", "error", "segments")
_CALL = (
    *("status", "direction", "ours", "theirs", "contact_id", "duration_s"),
    *("disposition", "summary", "recording_url"),
)
_PAYMENT = ("amount_cents", "currency", "email", "phone", "description")


def _only(values: Values, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: values[name] for name in names if name in values}


def _received(values: Values, common: dict[str, Any]) -> MessageReceived:
    media = values.get("media", ())
    if not media and "body" not in values:
        raise BadPayload("body: a text without words or pictures is none. Map one of them.")
    return MessageReceived(
        **common,
        **_only(values, ("sender", "recipient", "carrier_keyword")),
        body=values.get("body", ""),
        channel="mms" if media else "sms",
        media=media,
    )


def _opted_out(values: Values, common: dict[str, Any]) -> ContactOptedOut:
    channel = values.get("channel", "sms")
    if channel != "email" and "@" in values["address"]:
        raise BadPayload(f"address: an e-mail address cannot opt out of {channel}. Map the number.")
    names = ("address", "our_number", "keyword", "reason")
    return ContactOptedOut(**common, channel=channel, **_only(values, names))


def _changed(verb: str, values: Values, common: dict[str, Any]) -> ContactChanged:
    return ContactChanged(
        **common,
        change=cast(Any, verb),
        facts=_only(values, FACT_NAMES),
        tags=values.get("tags"),
        dnd={
            channel: values[f"dnd_{channel}"]
            for channel in DND_CHANNELS
            if f"dnd_{channel}" in values
        },
    )
