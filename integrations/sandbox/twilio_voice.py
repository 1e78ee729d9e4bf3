"""How Twilio, and SignalWire after it, tell of texts: signed forms to the URLs that were given.

Written after the vendor's documentation and apart from our adapter, so that each tests the other.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import uuid
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode

from integrations.sandbox.carrier import Carrier, Text, segment_count
from integrations.sandbox.courier import POSTMEN, Delivery, Postman
from integrations.sandbox.network import VOICES, Network

STATUSES = {
    "ENQUEUED": "queued",
    "SENT": "sent",
    "DELIVERED": "delivered",
    "FAILED": "undelivered",
}
ATTEMPT_SECONDS = 15.0
PAUSE_SECONDS = 0.2
MAX_RETRIES = 5

SIGNATURES = {"twilio": "X-Twilio-Signature", "signalwire": "X-SignalWire-Signature"}


def status_of(text: Text) -> str:
    """The vendor's word for the state of a text."""
    return "received" if text.direction == "INBOUND" else STATUSES[text.status]


def signature(url: str, raw: bytes, token: str) -> str:
    """Base64 HMAC-SHA1 over the URL without its fragment and the sorted form."""
    pairs = set(parse_qsl(raw.decode(), keep_blank_values=True))
    signed = url.partition("#")[0] + "".join(key + value for key, value in sorted(pairs))
    return base64.b64encode(
        hmac.new(token.encode(), signed.encode(), hashlib.sha1).digest()
    ).decode()


def headers(carrier: Carrier, delivery: Delivery, raw: bytes) -> dict[str, str]:
    """Headers of one attempt: nothing in them changes from one to the next."""
    token = carrier.state.tokens.get(delivery.account, "")
    return {
        "Content-Type": "application/x-www-form-urlencoded; charset=UTF-8",
        "User-Agent": "TwilioProxy/1.1 (sandbox)",
        "I-Twilio-Idempotency-Token": delivery.delivery_id,
        SIGNATURES[delivery.vendor]: signature(delivery.url, raw, token),
    }


def pauses(url: str) -> tuple[float, ...]:
    """One more attempt, or as many as ``#rc=`` asks for."""
    asked = overrides(url).get("rc", "1")
    count = int(asked) if asked.isdecimal() else 1
    return (PAUSE_SECONDS,) * min(count, MAX_RETRIES)


def retries(url: str, status: int) -> bool:
    """Whether it tries again: no answer always, a bad one only where ``#rp=`` says so."""
    policies = set(overrides(url).get("rp", "ct").split(","))
    if status >= 500:
        return bool(policies & {"5xx", "all"})
    return status >= 400 and bool(policies & {"4xx", "all"})


def overrides(url: str) -> dict[str, str]:
    """The connection overrides in the fragment of a URL."""
    return {name: values[-1] for name, values in parse_qs(url.partition("#")[2]).items()}


class LamlVoice:
    """One vendor of the family."""

    def __init__(self, vendor: str) -> None:
        self.vendor = vendor

    def new_id(self) -> str:
        """34 characters, or a UUID at SignalWire."""
        return str(uuid.uuid4()) if self.vendor == "signalwire" else f"SM{secrets.token_hex(16)}"

    def event(self, text: Text) -> dict[str, Any]:
        """The status callback of a text as it is now."""
        status = status_of(text)
        fields = {
            "SmsSid": text.id,
            "SmsStatus": status,
            "MessageStatus": status,
            "To": f"+{text.recipient}",
            "MessageSid": text.id,
            "AccountSid": text.group,
            "From": f"+{text.sender}",
            "ApiVersion": "2010-04-01",
        }
        if text.error_code:
            fields |= {"ErrorCode": text.error_code, "ErrorMessage": text.reason or ""}
        return {"event": status, "identifier": text.id, "raw": urlencode(fields)}

    def report(self, network: Network, text: Text, event: dict[str, Any]) -> None:
        """Post to the text's own StatusCallback, if it has one."""
        if text.callback_url:
            self._post(network, text, text.callback_url, event)

    def announce(self, network: Network, text: Text, options: dict[str, Any]) -> list[Delivery]:
        """Post to the number's URL. `options`: ``opt_out_type``, ``media``, ``repeat``."""
        number = network.carrier.state.numbers.get(text.recipient)
        if number is None or not number.inbound_url:
            return []
        media = [str(url) for url in options.get("media") or []]
        fields = {
            "ToCountry": "US",
            "SmsMessageSid": text.id,
            "NumMedia": str(len(media)),
            "SmsSid": text.id,
            "SmsStatus": "received",
            "Body": text.body,
            "FromCountry": "US",
            "To": f"+{text.recipient}",
            "NumSegments": str(segment_count(text.body)),
            "MessageSid": text.id,
            "AccountSid": text.group,
            "From": f"+{text.sender}",
            "ApiVersion": "2010-04-01",
            **{f"MediaUrl{place}": url for place, url in enumerate(media)},
        }
        if options.get("opt_out_type"):  # only with Advanced Opt-Out
            fields["OptOutType"] = str(options["opt_out_type"])
        event = {"event": "received", "identifier": text.id, "raw": urlencode(fields)}
        times = max(1, int(options.get("repeat") or 1))
        return [self._post(network, text, number.inbound_url, event) for _ in range(times)]

    def scope(self, text: Text) -> str:
        """A STOP holds for the number that it was sent to."""
        return block_scope(text.group, text.recipient)

    def _post(self, network: Network, text: Text, url: str, event: dict[str, Any]) -> Delivery:
        return network.courier.post(
            url=url,
            raw=event["raw"],
            event=event["event"],
            identifier=event["identifier"],
            vendor=self.vendor,
            account=text.group,
        )


def block_scope(account: str, ours: str) -> str:
    """The pair for which an opt-out is kept."""
    return f"{account}/{ours}"


for name in SIGNATURES:
    VOICES[name] = LamlVoice(name)
    POSTMEN[name] = Postman(
        seconds=ATTEMPT_SECONDS, pauses=pauses, headers=headers, retries=retries
    )
