"""The sandbox carrier for tests: real HTTP on a free port, and our outbox driven step by step."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx

from integrations.sandbox.server import running
from messaging.sender import Claim, _give_up_on_silent, claim, send
from tests.conftest import THEIRS, Office

T = TypeVar("T")


@dataclass
class Carrier:
    """A running sandbox and what its handsets got."""

    url: str
    client: httpx.Client

    def reset(self) -> None:
        self.client.post("/_control/reset")

    def fault(self, kind: str, **rule: Any) -> None:
        answer = self.client.post("/_control/faults", json={"kind": kind, **rule})
        assert answer.status_code == 201, answer.text

    def accepted(self, number: str = THEIRS) -> list[str]:
        """Bodies that the carrier took for a number."""
        texts = self.client.get("/_control/texts", params={"to": number}).json()["texts"]
        out = [text for text in texts if text["direction"] == "OUTBOUND"]
        return [text["messageBody"] for text in out if text["status"] != "FAILED"]

    def received(self, number: str = THEIRS) -> list[str]:
        """Bodies on a handset, once all that was accepted has arrived."""
        wanted = len(self.accepted(number))
        eventually(lambda: len(self._on(number)) >= wanted)
        return self._on(number)

    def _on(self, number: str) -> list[str]:
        texts = self.client.get(f"/_control/handsets/{number.lstrip('+')}").json()["texts"]
        return [text["text"] for text in texts if text["direction"] == "received"]


@contextmanager
def carrier_running() -> Iterator[Carrier]:
    with running() as url, httpx.Client(base_url=url, trust_env=False, timeout=5) as client:
        yield Carrier(url=url, client=client)


def eventually(question: Callable[[], T], seconds: float = 5.0) -> T:
    """Ask again and again until the answer is true; return the last one."""
    deadline = time.monotonic() + seconds
    while not (answer := question()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return answer


def send_due(office: Office, *, most: int = 50) -> list[Claim]:
    """Claim what is due and make the calls, one after the other, in this thread."""
    _give_up_on_silent(office.tenant.pk)
    claims = claim(office.tenant.pk, most=most)
    for one in claims:
        send(one)
    return claims
