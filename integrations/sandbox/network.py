"""The life of a text on the network: handed over, delivered or failed, reported, answered."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Coroutine
from typing import Any, Protocol

from integrations.sandbox import scripts
from integrations.sandbox.carrier import (
    Carrier,
    Endpoint,
    Text,
    fields_of,
    new_id,
    now_iso,
)
from integrations.sandbox.courier import Courier, Delivery
from integrations.sandbox.faults import digits
from integrations.sandbox.wire import Refused

#: Seconds from acceptance to the carrier and from there to the handset, at pace 1.
TO_CARRIER_SECONDS = 0.3
TO_HANDSET_SECONDS = 0.7

OPT_OUT_WORDS = frozenset({"STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT"})
OPT_IN_WORDS = frozenset({"START", "UNSTOP"})

#: Prefix that makes a body begin with a byte-order mark, as one legacy sender does.
BYTE_ORDER_MARK = "\ufeff"


class Voice(Protocol):
    """How another vendor than SignalHouse tells of texts."""

    def new_id(self) -> str:
        """The vendor's id of a new text."""

    def event(self, text: Text) -> dict[str, Any]:
        """What is to be reported of a text as it is now: ``{event, identifier, …}``."""

    def report(self, network: Network, text: Text, event: dict[str, Any]) -> None:
        """Deliver a report to where the text's sender wants it."""

    def announce(self, network: Network, text: Text, options: dict[str, Any]) -> list[Delivery]:
        """Deliver an inbound text to where the number's owner wants it."""

    def scope(self, text: Text) -> str:
        """For whom a person's STOP, said in `text`, is enforced."""


#: By vendor; SignalHouse's own way is below.
VOICES: dict[str, Voice] = {}


class Network:
    """Moves texts and reports them; `pace` scales every delay, 0 is at once."""

    def __init__(
        self, carrier: Carrier, courier: Courier, *, pace: float, answers: bool, seed: int
    ) -> None:
        self.carrier = carrier
        self.courier = courier
        self.pace = pace
        self.answers = answers
        self.seed = seed
        self.tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Go on with the texts that were under way when the sandbox was killed."""
        for text in self.carrier.unfinished():
            self.carry(text)

    async def stop(self) -> None:
        """Stop moving texts."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    def carry(self, text: Text) -> None:
        """Take an accepted text to its handset in the background."""
        self._spawn(self._carry(text))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _carry(self, text: Text) -> None:
        await asyncio.sleep(TO_CARRIER_SECONDS * self.pace)
        self._set(text, "SENT", None, None)
        sent = self._event(text, "MESSAGE_SENT")
        if text.callbacks != "reorder_callbacks":
            self._report(text, sent)
        await asyncio.sleep(TO_HANDSET_SECONDS * self.pace)
        if text.fails_with or self._script(text.recipient) == "unreachable":
            self._set(text, "FAILED", text.fails_with or "30005", "Unknown or inactive handset")
            self._report(text, self._event(text, "MESSAGE_FAILED"))
        else:
            self._set(text, "DELIVERED", None, None)
            self._report(text, self._event(text, "MESSAGE_DELIVERED"))
        if text.callbacks == "reorder_callbacks":
            await asyncio.sleep(0.2)
            self._report(text, sent)
        if text.status == "DELIVERED":
            await self._think(text)

    def _set(self, text: Text, status: str, error_code: str | None, reason: str | None) -> None:
        self.carrier.commit(
            "status", id=text.id, status=status, error_code=error_code, reason=reason
        )

    # Reports ----------------------------------------------------------------------------------

    def _event(self, text: Text, event: str) -> dict[str, Any]:
        voice = VOICES.get(text.vendor)
        if voice is not None:
            return voice.event(text)
        # On delivery events metaData *is* the message document; inbound ones nest it.
        body: dict[str, Any] = {
            "timestamp": now_iso(),
            "event": event,
            "identifier": text.id,
            "metaData": text.document(),
        }
        self.carrier.commit("notification", group=text.group, event={**body, "status": "UNREAD"})
        return body

    def _report(self, text: Text, body: dict[str, Any]) -> None:
        if text.callbacks == "no_callbacks":
            return
        voice = VOICES.get(text.vendor)
        if voice is not None:
            for _ in range(2 if text.callbacks == "duplicate_callbacks" else 1):
                voice.report(self, text, body)
            return
        raw = json.dumps(body, separators=(",", ":"))
        for url, endpoint in self._report_targets(text, body["event"]):
            first = self._post(url, raw, body, endpoint)
            if text.callbacks == "duplicate_callbacks":
                # Once more as a retry whose answer was lost, and once as a new delivery.
                self._post(url, raw, body, endpoint, delivery_id=first.delivery_id)
                self._post(url, raw, body, endpoint)

    def _report_targets(self, text: Text, event: str) -> list[tuple[str, Endpoint | None]]:
        if text.callback_url is None:
            found = self.carrier.endpoints_for(text.group, event)
            return [(endpoint.url, endpoint) for endpoint in found]
        mine = [e for e in self.carrier.state.endpoints.values() if e.group == text.group]
        # A callback below a registered URL is signed with that endpoint's secret.
        under = [e for e in mine if text.callback_url.startswith(e.url.rstrip("/") + "/")]
        return [(text.callback_url, next(iter(under or mine), None))]

    def _post(
        self,
        url: str,
        raw: str,
        body: dict[str, Any],
        endpoint: Endpoint | None,
        delivery_id: str | None = None,
    ) -> Delivery:
        return self.courier.post(
            url=url,
            raw=raw,
            event=str(body.get("event", "")),
            identifier=str(body.get("identifier", "")),
            endpoint=endpoint,
            delivery_id=delivery_id,
        )

    # Handsets ---------------------------------------------------------------------------------

    def _script(self, handset: str) -> str:
        chosen = self.carrier.state.people.get(handset, {}).get("script")
        return chosen or scripts.script_for(handset)

    async def _think(self, text: Text) -> None:
        if not self.answers:
            return
        handset = text.recipient
        turn = self.carrier.turns_taken(handset, text.sender)
        name = self.carrier.state.people.get(handset, {}).get("name", "")
        words = scripts.answer(handset, self._script(handset), turn, name)
        if words is None:
            return
        await asyncio.sleep(scripts.think_seconds(handset, turn, self.seed) * self.pace)
        # Two texts in one breath get one answer: the turn must still be free.
        if self.carrier.turns_taken(handset, text.sender) == turn:
            self.inbound(handset, text.sender, words, is_scripted=True)

    def inbound(
        self,
        handset: str,
        ours: str,
        words: str,
        *,
        options: dict[str, Any] | None = None,
        is_scripted: bool = False,
    ) -> tuple[Text, list[Delivery]]:
        """A person texts one of our numbers.

        `options`: ``delivery_id``, ``repeat`` (identical deliveries at once), ``shape`` (v2, list,
        flat, wrapped), ``message_id``, ``timestamp``.

        Raises:
            Refused: 404, when nobody owns the number called.
        """
        options = options or {}
        handset, ours = digits(handset), digits(ours)
        group = self.carrier.owner_of(ours)
        if group is None:
            raise Refused(404, f"Nobody owns {ours}: register it with POST /_control/numbers")
        vendor = self.carrier.vendor_of(ours)
        fresh = VOICES[vendor].new_id if vendor in VOICES else new_id
        text = Text(
            id=str(options.get("message_id") or fresh()),
            group=group,
            direction="INBOUND",
            sender=handset,
            recipient=ours,
            body=words,
            status="DELIVERED",
            created_at=str(options.get("timestamp") or now_iso()),
            is_scripted=is_scripted,
            vendor=vendor,
        )
        self.carrier.commit("inbound", **fields_of(text))
        self._note_keyword(text)
        return text, self._announce(text, options)

    def _note_keyword(self, text: Text) -> None:
        word = text.body.strip(" .!").upper()
        voice = VOICES.get(text.vendor)
        scope = voice.scope(text) if voice is not None else text.group
        if word in OPT_OUT_WORDS:
            # SignalHouse by default records and does not enforce.
            self.carrier.commit(
                "dnc",
                group=scope,
                number=text.sender,
                sender=text.recipient,
                keyword=word,
                enforced=voice is not None,
            )
        elif word in OPT_IN_WORDS:
            self.carrier.commit("dnc_lifted", group=scope, number=text.sender)

    def _announce(self, text: Text, options: dict[str, Any]) -> list[Delivery]:
        voice = VOICES.get(text.vendor)
        if voice is not None:
            return voice.announce(self, text, options)
        document = text.document()
        body: dict[str, Any] = {
            "timestamp": text.created_at,
            "event": "MESSAGE_RECEIVED",
            "identifier": text.id,
            "metaData": {"Message": document},
        }
        self.carrier.commit("notification", group=text.group, event={**body, "status": "UNREAD"})
        raw = inbound_body(text, body, str(options.get("shape") or "v2"))
        targets: list[tuple[str, Endpoint | None]] = [
            (endpoint.url, endpoint)
            for endpoint in self.carrier.endpoints_for(text.group, "MESSAGE_RECEIVED")
        ]
        number = self.carrier.state.numbers.get(text.recipient)
        if number is not None and number.inbound_url:
            targets.append((number.inbound_url, None))
        deliveries = []
        for place, (url, endpoint) in enumerate(targets):
            given = options.get("delivery_id") if place == 0 else None
            delivery_id = str(given or uuid.uuid4())
            for _ in range(max(1, int(options.get("repeat") or 1))):
                deliveries.append(self._post(url, raw, body, endpoint, delivery_id=delivery_id))
        return deliveries


def inbound_body(text: Text, body: dict[str, Any], shape: str) -> str:
    """The body of an inbound webhook in one of the shapes seen in the field.

    Raises:
        Refused: 400, for an unknown shape.
    """
    flat = {"from": f"+{text.sender}", "to": f"+{text.recipient}", "timestamp": text.created_at}
    match shape:
        case "v2":
            shaped: dict[str, Any] = body
        case "list":
            listed = {**text.document(), "recipientPhoneNumber": [text.recipient]}
            shaped = {**body, "metaData": {"Message": listed}}
        case "flat":
            shaped = {
                "event": "message.received",
                "message_id": text.id,
                "text": text.body,
                **flat,
            }
        case "wrapped":
            inner = {"messageId": text.id, "message": text.body, "direction": "inbound", **flat}
            return BYTE_ORDER_MARK + json.dumps({"event": "SMS_RECEIVED", "data": inner})
        case _:
            raise Refused(400, f"Unknown shape {shape!r}; one of v2, list, flat, wrapped")
    return json.dumps(shaped, separators=(",", ":"))
