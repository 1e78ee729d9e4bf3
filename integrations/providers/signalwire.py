"""SignalWire's Twilio-compatible API. Wire format: ``docs/providers/signalwire.md``."""

from __future__ import annotations

from integrations.events import BadPayload
from integrations.payloads import Payload, pick, read_note
from integrations.providers.base import Delivery, providers, usable_key
from integrations.providers.laml import Laml
from integrations.providers.laml_signing import SIGNATURE, hex_hmac, spellings


@providers.register("signalwire")
class SignalWire(Laml):
    name = "signalwire"
    label = "SignalWire"
    note = (
        "Signatures cover the public address of this site: the webhook URL must reach it unchanged."
    )
    root = "/api/laml/2010-04-01"
    #: Compatible webhooks carry Twilio's name, newer ones their own; each may hold either kind.
    signature_headers = ("X-SignalWire-Signature", SIGNATURE)

    def expected(self, delivery: Delivery, secret: str) -> list[str]:
        raw = [
            hex_hmac(spelling.encode("utf-8", "replace") + delivery.body, secret)
            for spelling in spellings(delivery.url)
        ]
        return [*raw, *super().expected(delivery, secret)]

    def delivery_key(self, delivery: Delivery, payload: Payload | None) -> str:
        call = (payload or {}).get("call")
        if isinstance(call, dict):
            parts = [read_note(call.get("call_id")), read_note(call.get("call_state"))]
            key = ":".join(parts)
            if all(parts) and usable_key(key):
                return key
        return super().delivery_key(delivery, payload)

    def event_type(self, payload: Payload | None) -> str:
        call = (payload or {}).get("call")
        if isinstance(call, dict):
            return f"call.{read_note(call.get('call_state'))}"[:200]
        return super().event_type(payload)

    def external_id(self, payload: Payload) -> str:
        call = payload.get("call")
        if isinstance(call, dict):
            sid = read_note(pick(call, "call_id"))
            if not usable_key(sid):
                raise BadPayload("signalwire: call_id is missing")
            return sid
        return super().external_id(payload)
