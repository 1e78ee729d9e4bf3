"""What the CRM and the dialer of the sandbox know, and how their webhooks go out.

Kept in memory: a restart forgets it. Each vendor's own calls are in a module of its name.
"""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx

from integrations.sandbox.carrier import now_iso
from integrations.sandbox.courier import ATTEMPT_SECONDS, Delivery
from integrations.sandbox.wire import Refused

if TYPE_CHECKING:
    from integrations.sandbox.app import Sandbox

#: Signs the sandbox's GoHighLevel webhooks: the private key of a published test vector.
TEST_PRIVATE_KEY = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
TEST_PUBLIC_KEY = (
    "-----BEGIN PUBLIC KEY-----\n"
    "MCowBQYDK2VwAyEAA6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=\n"
    "-----END PUBLIC KEY-----\n"
)

#: Requests in a window of so many seconds, for each location.
BURST, WINDOW_SECONDS = 100, 10.0
DAILY = 200_000


@dataclass(kw_only=True)
class Hook:
    """Where a vendor's webhooks go; `secret` is what Aloware sends along."""

    url: str
    secret: str = ""


@dataclass(kw_only=True)
class Crm:
    """The state of both vendors."""

    contacts: dict[str, dict[str, Any]] = field(default_factory=dict)
    messages: dict[str, dict[str, Any]] = field(default_factory=dict)
    dialer_contacts: dict[str, dict[str, Any]] = field(default_factory=dict)
    opt_outs: list[dict[str, Any]] = field(default_factory=list)
    hooks: dict[str, Hook] = field(default_factory=dict)
    refresh_tokens: set[str] = field(default_factory=set)
    requests: dict[str, deque[float]] = field(default_factory=dict)
    serial: int = 0

    def next_id(self, prefix: str) -> str:
        """An id of 20 characters, like the vendor's."""
        self.serial += 1
        return f"{prefix}{self.serial:0{20 - len(prefix)}d}"

    def count(self, token: str) -> int:
        """Count a request of a token's location; return how many are left in the window.

        Raises:
            Refused: 429, when there are none.
        """
        now = time.monotonic()
        recent = self.requests.setdefault(token, deque())
        while recent and now - recent[0] > WINDOW_SECONDS:
            recent.popleft()
        if len(recent) >= BURST:
            raise Refused(429, "Too Many Requests")
        recent.append(now)
        return BURST - len(recent)


def post_webhook(
    sandbox: Sandbox,
    vendor: str,
    body: dict[str, Any],
    *,
    identifier: str,
    headers: Callable[[bytes], dict[str, str]],
    pauses: tuple[float, ...] = (),
) -> Delivery | None:
    """Send a webhook to where the vendor's go, in the background; None when that is nowhere.

    It is tried again only after 429, once for each of *pauses* (seconds at pace 1).
    """
    hook = sandbox.crm.hooks.get(vendor)
    if hook is None:
        return None
    delivery = Delivery(
        job=uuid.uuid4().hex,
        delivery_id=str(body.get("webhookId") or uuid.uuid4()),
        url=hook.url,
        raw=json.dumps(body),
        event=str(body.get("type") or body.get("event") or ""),
        identifier=identifier,
        endpoint=None,
    )
    sandbox.courier.log.append(delivery)
    scaled = tuple(pause * sandbox.network.pace for pause in pauses)
    task = asyncio.create_task(_deliver(delivery, headers(delivery.raw.encode()), scaled))
    sandbox.courier.tasks.add(task)
    task.add_done_callback(sandbox.courier.tasks.discard)
    return delivery


async def _deliver(delivery: Delivery, headers: dict[str, str], pauses: tuple[float, ...]) -> None:
    async with httpx.AsyncClient(trust_env=False, timeout=ATTEMPT_SECONDS) as client:
        for pause in (0.0, *pauses):
            await asyncio.sleep(pause)
            status = await _attempt(client, delivery, headers)
            if status != 429:
                break
    delivered = status is not None and status < 300
    delivery.state = "delivered" if delivered else "lost"


async def _attempt(
    client: httpx.AsyncClient, delivery: Delivery, headers: dict[str, str]
) -> int | None:
    entry: dict[str, Any] = {"at": now_iso(), "status": None, "error": None}
    delivery.attempts.append(entry)
    try:
        response = await client.post(
            delivery.url,
            content=delivery.raw.encode(),
            headers={"Content-Type": "application/json", **headers},
        )
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        entry["error"] = type(error).__name__
        return None
    entry["status"] = response.status_code
    return response.status_code
