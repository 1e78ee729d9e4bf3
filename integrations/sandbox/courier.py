"""Delivers webhooks as the vendor does: signed, three attempts, then never again."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import httpx

from integrations.sandbox.carrier import Carrier, Endpoint, now_iso
from integrations.sandbox.signing import signature_headers

ATTEMPT_SECONDS = 3.0
#: Pauses before the second and the third attempt.
PAUSES_SECONDS = (0.5, 1.0)
LOG_LENGTH = 5_000
#: Connections at once; what is beyond waits its turn without using up its 3 seconds.
CONCURRENT = 64


@dataclass(kw_only=True)
class Delivery:
    """One webhook on its way. `state`: pending, delivered, refused (4xx is final) or lost."""

    job: str
    delivery_id: str
    url: str
    raw: str
    event: str
    identifier: str
    endpoint: str | None
    vendor: str = "signalhouse"
    account: str = ""
    state: str = "pending"
    attempts: list[dict[str, Any]] = field(default_factory=list)

    def public(self) -> dict[str, Any]:
        """The delivery as the control API lists it."""
        return {name: value for name, value in asdict(self).items() if name not in ("job", "raw")}


@dataclass(frozen=True, kw_only=True)
class Postman:
    """How another vendor than SignalHouse delivers.

    `pauses` come before each further attempt, and are chosen by the URL.
    """

    seconds: float
    pauses: Callable[[str], tuple[float, ...]]
    headers: Callable[[Carrier, Delivery, bytes], dict[str, str]]
    retries: Callable[[str, int], bool]  # whether it tries again after this status


#: By vendor; SignalHouse's own way is below.
POSTMEN: dict[str, Postman] = {}


class Courier:
    """Posts deliveries and keeps the log of the last ones."""

    def __init__(self, carrier: Carrier) -> None:
        self.carrier = carrier
        self.log: deque[Delivery] = deque(maxlen=LOG_LENGTH)
        self.tasks: set[asyncio.Task[None]] = set()
        self._client: httpx.AsyncClient | None = None
        self._slots = asyncio.Semaphore(CONCURRENT)

    def start(self) -> None:
        """Open the client and take up what a killed sandbox had not delivered."""
        self._client = httpx.AsyncClient(trust_env=False, timeout=ATTEMPT_SECONDS)
        for fields in list(self.carrier.state.deliveries.values()):
            self._launch(Delivery(**fields))

    async def stop(self) -> None:
        """Abandon what is under way; the journal knows it."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        if self._client is not None:
            await self._client.aclose()

    def post(
        self,
        *,
        url: str,
        raw: str,
        event: str,
        identifier: str,
        endpoint: Endpoint | None = None,
        delivery_id: str | None = None,
        vendor: str = "signalhouse",
        account: str = "",
    ) -> Delivery:
        """Start one delivery; SignalHouse signs those with an endpoint, others by `account`."""
        delivery = Delivery(
            job=uuid.uuid4().hex,
            delivery_id=delivery_id or str(uuid.uuid4()),
            url=url,
            raw=raw,
            event=event,
            identifier=identifier,
            endpoint=endpoint.id if endpoint else None,
            vendor=vendor,
            account=account,
        )
        self.carrier.commit(
            "delivery",
            job=delivery.job,
            delivery_id=delivery.delivery_id,
            url=url,
            raw=raw,
            event=event,
            identifier=identifier,
            endpoint=delivery.endpoint,
            vendor=vendor,
            account=account,
        )
        self._launch(delivery)
        return delivery

    def _launch(self, delivery: Delivery) -> None:
        self.log.append(delivery)
        task = asyncio.create_task(self._run(delivery))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _run(self, delivery: Delivery) -> None:
        postman = POSTMEN.get(delivery.vendor)
        pauses = postman.pauses(delivery.url) if postman else PAUSES_SECONDS
        for pause in (0.0, *pauses):
            await asyncio.sleep(pause)
            async with self._slots:
                status = await self._attempt(delivery)
            if status is not None and not _tries_again(delivery, status):
                delivery.state = _end(status)
                break
        else:
            delivery.state = "lost"
        self.carrier.commit("delivery_done", job=delivery.job)

    async def _attempt(self, delivery: Delivery) -> int | None:
        if self._client is None:
            raise RuntimeError("Courier.start() comes first")
        raw = delivery.raw.encode()
        postman = POSTMEN.get(delivery.vendor)
        seconds = postman.seconds if postman else ATTEMPT_SECONDS
        headers = (
            postman.headers(self.carrier, delivery, raw)
            if postman
            else self._headers(delivery, raw)
        )
        entry: dict[str, Any] = {"at": now_iso(), "status": None, "error": None}
        delivery.attempts.append(entry)
        try:
            # httpx limits each read; the vendor limits the whole attempt.
            response = await asyncio.wait_for(
                self._client.post(delivery.url, content=raw, headers=headers, timeout=seconds),
                seconds,
            )
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            entry["error"] = type(error).__name__
            return None
        entry["status"] = response.status_code
        return response.status_code

    def _headers(self, delivery: Delivery, raw: bytes) -> dict[str, str]:
        return {
            "Content-Type": "application/json",
            "User-Agent": "SignalHouse-Webhooks/2.0 (sandbox)",
            "X-SignalHouse-Delivery-Id": delivery.delivery_id,
            **self._signature(delivery, raw),
        }

    def _signature(self, delivery: Delivery, raw: bytes) -> dict[str, str]:
        endpoint = self.carrier.state.endpoints.get(delivery.endpoint or "")
        if endpoint is None:
            return {}
        # Stamped per attempt: a retry carries a fresh time and so a fresh signature.
        return signature_headers(
            raw,
            timestamp_ms=time.time_ns() // 1_000_000,
            secret=endpoint.secret,
            previous_secret=endpoint.previous(),
        )


def _tries_again(delivery: Delivery, status: int) -> bool:
    postman = POSTMEN.get(delivery.vendor)
    if postman is not None:
        return postman.retries(delivery.url, status)
    return status >= 500 or status == 429


def _end(status: int) -> str:
    if status < 300:
        return "delivered"
    return "refused" if status < 500 else "lost"
