"""The sandbox as an ASGI application."""

from __future__ import annotations

from pathlib import Path

from integrations.sandbox import (
    aloware,
    apollo,
    batchdata,
    batchdata_trace,
    control,
    ghl,
    instantly,
    market,
    melissa,
    pages,
    twilio,
    vendor,
)
from integrations.sandbox.carrier import Carrier
from integrations.sandbox.courier import Courier
from integrations.sandbox.crm import Crm
from integrations.sandbox.faults import AFTER_ACCEPTING, REFUSALS, SEND_PATH, Faults
from integrations.sandbox.market import Market
from integrations.sandbox.network import Network
from integrations.sandbox.wire import (
    Receive,
    Refused,
    Request,
    Response,
    Scope,
    Send,
    json_response,
    read_request,
    send_response,
)

ROUTERS = (
    vendor.router,
    twilio.router,
    ghl.router,
    aloware.router,
    batchdata.router,
    batchdata_trace.router,
    melissa.router,
    instantly.router,
    apollo.router,
    market.router,
    control.router,
    pages.router,
)


class Sandbox:
    """One carrier with its accounts, handsets and faults.

    Args:
        journal: File that keeps the state over a restart; without it memory only.
        pace: Scales every delay of the network and of people; 0 is at once.
        answers: Whether scripted handsets answer.
        seed: Varies how long people take and who they are, the same for the same seed.
    """

    def __init__(
        self,
        *,
        journal: Path | None = None,
        pace: float = 1.0,
        answers: bool = True,
        seed: int = 0,
    ) -> None:
        self.carrier = Carrier(journal)
        self.courier = Courier(self.carrier)
        self.network = Network(self.carrier, self.courier, pace=pace, answers=answers, seed=seed)
        self.faults = Faults()
        self.crm = Crm()
        self.market = Market(seed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            response = await self._respond(await read_request(scope, receive))
            await send_response(response, scope, receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                self.courier.start()
                self.network.start()
                await send({"type": "lifespan.startup.complete"})
            else:
                await self.network.stop()
                await self.courier.stop()
                self.carrier.close()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _respond(self, request: Request) -> Response:
        try:
            return await self._route(request)
        except Refused as refusal:
            return json_response({"message": refusal.message}, refusal.status)

    async def _route(self, request: Request) -> Response:
        missing: Refused | None = None
        for router in ROUTERS:
            try:
                handler, segments = router.find(request.method, request.path)
            except Refused as refusal:
                # "Method not allowed" says more than "not found".
                missing = missing if missing and missing.status == 405 else refusal
            else:
                spoiled = self._spoil_elsewhere(request)
                return spoiled or self._spoil_after(
                    request, await handler(self, request, **segments)
                )
        raise missing or Refused(404, "Not found")

    def _spoil_elsewhere(self, request: Request) -> Response | None:
        """Rules with a `path` hit the vendor's other calls; sends look after themselves."""
        from_vendor = not request.path.startswith("/_control")
        if not from_vendor or request.path.rstrip("/") == SEND_PATH:
            return None
        fault = self.faults.take(REFUSALS, {"path": request.path.rstrip("/")})
        return None if fault is None else vendor.answer_fault(fault)

    def _spoil_after(self, request: Request, response: Response) -> Response:
        """The same for what breaks once the work is done, and billed."""
        if request.path.startswith("/_control") or request.path.rstrip("/") == SEND_PATH:
            return response
        fault = self.faults.take(AFTER_ACCEPTING, {"path": request.path.rstrip("/")})
        return response if fault is None else vendor.spoil(response, fault)

    async def reset(self) -> None:
        """Forget everything, what is under way included."""
        await self.network.stop()
        for task in list(self.courier.tasks):
            task.cancel()
        self.carrier.reset()
        self.courier.log.clear()
        self.faults.clear()
        self.crm = Crm()
        self.market = Market(self.market.population.seed)
