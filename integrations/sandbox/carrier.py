"""What the carrier knows: accounts, numbers, texts, opt-outs, and a journal that survives a kill.

Every change is one journal line, applied by the method named after it, so the state after a
restart is the state before it: a text accepted under an idempotency key stays accepted.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import time
from collections import defaultdict
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

TERMINAL = frozenset({"DELIVERED", "FAILED"})


def now_iso() -> str:
    """The time as the vendor writes it: UTC, milliseconds, ``Z``."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def new_id() -> str:
    """24 hexadecimal digits, time first, like the vendor's document ids."""
    return f"{int(time.time()):08x}{secrets.token_hex(8)}"


def group_of(api_key: str) -> str:
    """The account group that a key is bound to."""
    return f"G{int(hashlib.sha256(api_key.encode()).hexdigest()[:12], 16) % 10**8:08d}"


def segment_count(body: str) -> int:
    """Billing units, near enough for a carrier that bills nobody."""
    single, joined = (160, 153) if body.isascii() else (70, 67)
    return 1 if len(body) <= single else -(-len(body) // joined)


@dataclass(kw_only=True)
class Text:
    """One text, either way. Numbers are digits with country code.

    `fails_with` is the error code under which it will fail on the network.
    """

    id: str
    group: str
    direction: str
    sender: str
    recipient: str
    body: str
    status: str
    created_at: str
    error_code: str | None = None
    reason: str | None = None
    fails_with: str | None = None
    callback_url: str | None = None
    callbacks: str = "normal"
    is_scripted: bool = False
    vendor: str = "signalhouse"

    def document(self) -> dict[str, Any]:
        """The message as the vendor's API and delivery events show it."""
        return {
            "_id": self.id,
            "direction": self.direction,
            "senderPhoneNumber": self.sender,
            "recipientPhoneNumber": self.recipient,
            "messageBody": self.body,
            "messageType": "SMS",
            "channel": "tenDLC",
            "status": self.status,
            "segmentCount": segment_count(self.body),
            "errorCode": self.error_code,
            "successOrFailureReason": self.reason,
            "groupId": self.group,
            "createdAt": self.created_at,
        }


@dataclass(kw_only=True)
class Endpoint:
    """A registered webhook and its secrets."""

    id: str
    group: str
    name: str
    url: str
    events: list[str]
    auth_type: str
    secret: str
    previous_secret: str | None = None
    previous_until: float = 0.0

    def previous(self) -> str | None:
        """The rotated secret while its grace period lasts."""
        return self.previous_secret if time.time() < self.previous_until else None

    def document(self) -> dict[str, Any]:
        """The endpoint as listed: the secret is shown once, at creation or rotation."""
        return {
            "_id": self.id,
            "groupId": self.group,
            "name": self.name,
            "url": self.url,
            "subscribedEvents": self.events,
            "authType": self.auth_type,
            "isActive": True,
        }


@dataclass(kw_only=True)
class Number:
    """One of the customers' numbers; `inbound_url` is its own address for inbound texts.

    SignalHouse does not sign what goes there, Twilio does.
    """

    number: str
    group: str
    inbound_url: str | None = None
    vendor: str = "signalhouse"


@dataclass(kw_only=True)
class State:
    """Everything that the journal rebuilds."""

    numbers: dict[str, Number] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)  # by account, of vendors with account ids
    endpoints: dict[str, Endpoint] = field(default_factory=dict)
    texts: dict[str, Text] = field(default_factory=dict)
    handsets: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    answers: dict[str, dict[str, Any]] = field(default_factory=dict)
    notifications: dict[str, list[dict[str, Any]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    dnc: dict[str, dict[str, Any]] = field(default_factory=dict)
    people: dict[str, dict[str, str]] = field(default_factory=dict)
    deliveries: dict[str, dict[str, Any]] = field(default_factory=dict)


class Carrier:
    """The state and the only door to it: `commit`."""

    def __init__(self, journal: Path | None = None) -> None:
        self.state = State()
        self._path = journal
        self._fd: int | None = None
        if journal is not None:
            journal.parent.mkdir(parents=True, exist_ok=True)
            self._replay(journal)
            self._fd = os.open(journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def _replay(self, journal: Path) -> None:
        if not journal.exists():
            return
        whole = 0
        for line in journal.read_bytes().splitlines(keepends=True):
            # A kill in the middle of a write leaves half a line at the end, never elsewhere.
            if not line.endswith(b"\n"):
                break
            entry = json.loads(line)
            self._apply(entry["kind"], entry["data"])
            whole += len(line)
        os.truncate(journal, whole)

    def commit(self, kind: str, **data: Any) -> None:
        """Write one change and apply it; the order in the journal is the order in memory."""
        if self._fd is not None:
            os.write(self._fd, json.dumps({"kind": kind, "data": data}).encode() + b"\n")
        self._apply(kind, data)

    def reset(self) -> None:
        """Forget everything."""
        self.state = State()
        if self._fd is not None:
            os.ftruncate(self._fd, 0)

    def close(self) -> None:
        """Close the journal."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _apply(self, kind: str, data: dict[str, Any]) -> None:
        getattr(self, f"_on_{kind}")(**data)

    # Changes ----------------------------------------------------------------------------------

    def _on_number(self, **fields: Any) -> None:
        self.state.numbers[fields["number"]] = Number(**fields)

    def _on_token(self, account: str, token: str) -> None:
        self.state.tokens[account] = token

    def _on_endpoint(self, **fields: Any) -> None:
        self.state.endpoints[fields["id"]] = Endpoint(**fields)

    def _on_rotated(self, id: str, secret: str, until: float) -> None:
        endpoint = self.state.endpoints[id]
        endpoint.previous_secret, endpoint.previous_until = endpoint.secret, until
        endpoint.secret = secret

    def _on_endpoint_removed(self, id: str) -> None:
        del self.state.endpoints[id]

    def _on_send(self, texts: list[dict[str, Any]], answer: dict[str, Any] | None) -> None:
        # Texts and the remembered answer are one line: half of it would let a retry send twice.
        for fields in texts:
            self.state.texts[fields["id"]] = Text(**fields)
        if answer is not None:
            self.state.answers[answer["key"]] = answer

    def _on_status(self, id: str, status: str, error_code: str | None, reason: str | None) -> None:
        text = self.state.texts[id]
        text.status, text.error_code, text.reason = status, error_code, reason
        if status == "DELIVERED":
            self.state.handsets[text.recipient].append(id)

    def _on_inbound(self, **fields: Any) -> None:
        text = Text(**fields)
        self.state.texts[text.id] = text
        self.state.handsets[text.sender].append(text.id)

    def _on_notification(self, group: str, event: dict[str, Any]) -> None:
        self.state.notifications[group].append(event)

    def _on_dnc(self, group: str, number: str, **entry: Any) -> None:
        self.state.dnc[f"{group}:{number}"] = {"group": group, "number": number, **entry}

    def _on_dnc_lifted(self, group: str, number: str) -> None:
        self.state.dnc.pop(f"{group}:{number}", None)

    def _on_person(self, number: str, **fields: str) -> None:
        self.state.people.setdefault(number, {}).update(fields)

    def _on_delivery(self, **fields: Any) -> None:
        self.state.deliveries[fields["job"]] = fields

    def _on_delivery_done(self, job: str) -> None:
        self.state.deliveries.pop(job, None)

    # Questions --------------------------------------------------------------------------------

    def knows(self, account: str, token: str) -> bool:
        """Whether the token is that of the account; the first one seen opens it."""
        known = self.state.tokens.get(account)
        if known is None:
            self.commit("token", account=account, token=token)
        return known in (None, token)

    def vendor_of(self, number: str) -> str:
        """Which vendor one of our numbers is rented from."""
        known = self.state.numbers.get(number)
        return known.vendor if known is not None else "signalhouse"

    def owner_of(self, number: str) -> str | None:
        """The group of one of our numbers; a carrier with a single customer needs no register."""
        known = self.state.numbers.get(number)
        if known is not None:
            return known.group
        groups = {endpoint.group for endpoint in self.state.endpoints.values()}
        return groups.pop() if len(groups) == 1 else None

    def endpoints_for(self, group: str, event: str) -> list[Endpoint]:
        """The group's endpoints that subscribed to an event."""
        return [
            endpoint
            for endpoint in self.state.endpoints.values()
            if endpoint.group == group and event in endpoint.events
        ]

    def thread(self, handset: str) -> list[Text]:
        """What the handset got and sent, in the order in which it happened."""
        return [self.state.texts[id] for id in self.state.handsets.get(handset, ())]

    def turns_taken(self, handset: str, ours: str) -> int:
        """How many scripted answers this handset has already given to one of our numbers."""
        return sum(
            text.is_scripted and text.recipient == ours and text.direction == "INBOUND"
            for text in self.thread(handset)
        )

    def blocks(self, group: str, number: str) -> bool:
        """Whether the carrier itself refuses to deliver; entries made by STOP are only recorded."""
        entry = self.state.dnc.get(f"{group}:{number}")
        return entry is not None and bool(entry["enforced"])

    def unfinished(self) -> list[Text]:
        """Accepted texts that have not reached an end."""
        return [
            text
            for text in self.state.texts.values()
            if text.direction == "OUTBOUND" and text.status not in TERMINAL
        ]


def fields_of(record: Text | Endpoint) -> dict[str, Any]:
    """A record as the journal keeps it."""
    return asdict(record)
