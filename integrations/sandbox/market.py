"""What the data vendors know beside the population: accounts, invoices, answers under way.

Kept in memory: a restart forgets it.

An invoice is what a vendor would send at the end of the month: every billed item, in whole cents.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx

from integrations.sandbox.carrier import now_iso
from integrations.sandbox.courier import ATTEMPT_SECONDS, Delivery
from integrations.sandbox.people import Household, Phone, Population, Resident, address_key
from integrations.sandbox.wire import Refused, Request, Response, Router, json_response

if TYPE_CHECKING:
    from integrations.sandbox.app import Sandbox

router = Router()

VENDORS = ("batchdata", "melissa", "instantly", "apollo", "twilio")
#: Cents of one unit, until an account says otherwise.
PRICES = {
    "batchdata": {
        "search": 10,
        "skip_trace": 15,
        "phone_verification": 1,
        "phone_dnc": 1,
        "phone_tcpa": 1,
    },
    "melissa": {"personator": 5},
    "instantly": {"email_verification": 1},
    "apollo": {"person": 2, "phone": 16},
    "twilio": {"lookup": 1},
}
#: What a new account has: enough for anything but a test of its end.
BALANCE_CENTS = 100_000_000

#: Seconds, at pace 1, after which an answer that was promised is there.
ANSWER_SECONDS = 3.0
#: A key that the vendor has let expire, to try a 401 with.
EXPIRED_KEY = "expired"


@dataclass(kw_only=True)
class Account:
    """One customer of one vendor, known by its key."""

    vendor: str
    api_key: str
    balance_cents: int = BALANCE_CENTS
    prices: dict[str, int] = field(default_factory=dict)
    items: list[dict[str, Any]] = field(default_factory=list)
    found: dict[str, int] = field(default_factory=dict)  # query and day → most records billed

    @property
    def total_cents(self) -> int:
        return sum(item["cents"] for item in self.items)

    def price(self, service: str, units: int = 1) -> int:
        return units * self.prices.get(service, PRICES[self.vendor][service])

    def can_pay(self, service: str, units: int = 1) -> bool:
        return self.price(service, units) <= self.balance_cents

    def invoice(self) -> dict[str, Any]:
        """Every billed item, oldest first, and what they come to."""
        return {
            "vendor": self.vendor,
            "api_key": self.api_key,
            "items": self.items,
            "total_cents": self.total_cents,
            "balance_cents": self.balance_cents,
        }


@dataclass(kw_only=True)
class Job:
    """An answer that was promised. ``ready`` once it is there; ``deliver`` then posts and bills."""

    id: str
    vendor: str
    account: Account
    url: str
    finish: Callable[[Job], dict[str, Any]]
    ready: bool = False
    expired: bool = False
    answer: dict[str, Any] = field(default_factory=dict)


class Market:
    """The data vendors' state."""

    def __init__(self, seed: int = 0) -> None:
        self.population = Population(seed)
        self.accounts: dict[tuple[str, str], Account] = {}
        self.facts: dict[str, dict[str, Any]] = {}  # set by hand: key → facts
        self.jobs: dict[str, Job] = {}
        self.is_held: set[str] = set()  # vendors whose promised answers wait for a release
        self.day_offset = 0
        self.serial = 0
        # BatchData's list: what was added to the population, and what left it.
        self.added: dict[int, dict[str, Any]] = {}  # place → {"zip"?, "quickLists"?}
        self.removed: set[int] = set()
        self.arrivals: list[dict[str, Any]] = []  # {"after", "count", …}: still to come
        self.results: dict[str, list[int]] = {}  # query → places, newest first

    def account(self, vendor: str, api_key: str) -> Account:
        """The account of a key; the first use opens it.

        Raises:
            Refused: 401, without a key or with the expired one.
        """
        if not api_key or api_key == EXPIRED_KEY:
            raise Refused(401, "Invalid or expired API key")
        found = self.accounts.get((vendor, api_key))
        if found is None:
            found = self.accounts[vendor, api_key] = Account(vendor=vendor, api_key=api_key)
        return found

    def bill(
        self, account: Account, service: str, units: int, request: Request, subject: str = ""
    ) -> None:
        """Put an item on the invoice and take it off the balance; no units, no item."""
        if units <= 0:
            return
        cents = account.price(service, units)
        account.balance_cents -= cents
        account.items.append(
            {
                "no": len(account.items) + 1,
                "at": now_iso(),
                "day": self.today(),
                "service": service,
                "units": units,
                "cents": cents,
                "fingerprint": fingerprint(request),
                "subject": subject,
            }
        )

    def today(self) -> str:
        """The day of the invoice: UTC, moved by the control API."""
        return (datetime.now(UTC) + timedelta(days=self.day_offset)).date().isoformat()

    def next_serial(self) -> int:
        self.serial += 1
        return self.serial

    def household(self, street: str, zip_code: str) -> Household:
        """What is true of an address, with what was set by hand."""
        found = self.population.household(street, zip_code)
        told = self.facts.get(f"address:{address_key(street, zip_code)}")
        return overridden(found, told) if told else found

    def parcel(self, fips: str, apn: str) -> Household | None:
        """What is true of a parcel of the list; None of one that is not there."""
        tail = apn.rpartition("-")[2]
        if not tail.isdecimal() or len(tail) > 7:
            return None
        index = int(tail)
        address = self.population.address(index)
        if (address["apn"], address["countyFipsCode"]) != (apn, fips):
            return None
        return self.household(address["street"], address["zip"])


def overridden(found: Household, told: dict[str, Any]) -> Household:
    """A household with facts set by hand: those of its first resident, and who knows it."""
    first = found.residents[0]
    for name in ("melissa", "melissa_phone", "melissa_email", "batchdata", "mak", "fips", "apn"):
        if name in told:
            setattr(found, name, told[name])
    phones = [Phone(**one) for one in told["phones"]] if "phones" in told else first.phones
    found.residents = [
        Resident(
            first=str(told.get("first", first.first)),
            last=str(told.get("last", first.last)),
            phones=phones,
            emails=[str(one) for one in told.get("emails", first.emails)],
            litigator=bool(told.get("litigator", first.litigator)),
            deceased=bool(told.get("deceased", first.deceased)),
            born=str(told.get("born", first.born)),
        ),
        *found.residents[1:],
    ]
    return found


def fingerprint(request: Request) -> str:
    """What makes two requests the same: SHA-256 of method, path and body."""
    line = f"{request.method} {request.path}\n".encode()
    return hashlib.sha256(line + request.body).hexdigest()


def bearer(request: Request) -> str:
    """The key of an ``Authorization: Bearer`` header; "" when there is none."""
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else ""


# --- answers that come later ------------------------------------------------------------------


def promise(sandbox: Sandbox, job: Job) -> Job:
    """Take a job in; it is ready after `ANSWER_SECONDS`, or when its vendor is released."""
    market = sandbox.market
    market.jobs[job.id] = job
    if job.vendor not in market.is_held:
        start(sandbox, _later(sandbox, job))
    return job


def start(sandbox: Sandbox, work: Awaitable[None]) -> None:
    """Run something in the background until a reset."""
    task = asyncio.ensure_future(work)
    sandbox.courier.tasks.add(task)
    task.add_done_callback(sandbox.courier.tasks.discard)


async def _later(sandbox: Sandbox, job: Job) -> None:
    await asyncio.sleep(ANSWER_SECONDS * sandbox.network.pace)
    await finish(sandbox, job)


async def finish(sandbox: Sandbox, job: Job) -> None:
    """Make a job ready, once, and post its answer to its URL if it has one."""
    if not job.ready:
        job.ready = True
        job.answer = job.finish(job)
        if job.url:
            await _post(sandbox, job)


async def _post(sandbox: Sandbox, job: Job) -> None:
    """Post an answer: unsigned and, unless a fault repeats it, once."""
    delivery = Delivery(
        job=uuid.uuid4().hex,
        delivery_id=str(uuid.uuid4()),
        url=job.url,
        raw=json.dumps(job.answer),
        event=job.vendor,
        identifier=job.id,
        endpoint=None,
        vendor=job.vendor,
    )
    sandbox.courier.log.append(delivery)
    fault = sandbox.faults.take(
        frozenset({"no_callbacks", "duplicate_callbacks"}), {"path": f"/{job.vendor}"}
    )
    times = 1 if fault is None else 0 if fault.kind == "no_callbacks" else 2
    async with httpx.AsyncClient(trust_env=False, timeout=ATTEMPT_SECONDS) as client:
        for _ in range(times):
            entry: dict[str, Any] = {"at": now_iso(), "status": None, "error": None}
            delivery.attempts.append(entry)
            try:
                response = await client.post(
                    job.url,
                    content=delivery.raw.encode(),
                    headers={"Content-Type": "application/json"},
                )
                entry["status"] = response.status_code
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                entry["error"] = type(error).__name__
    taken = [entry for entry in delivery.attempts if (entry["status"] or 500) < 300]
    delivery.state = "delivered" if taken else "lost"


# --- control ----------------------------------------------------------------------------------


@router.route("GET", "/_control/invoice")
async def show_invoice(sandbox: Sandbox, request: Request) -> Response:
    """The invoices; `vendor` and `api_key` filter. ``{invoices: […], total_cents}``."""
    query = request.query
    found = [
        account.invoice()
        for (vendor, key), account in sandbox.market.accounts.items()
        if query.get("vendor") in (None, vendor) and query.get("api_key") in (None, key)
    ]
    total = sum(invoice["total_cents"] for invoice in found)
    return json_response({"invoices": found, "total_cents": total})


@router.route("POST", "/_control/account")
async def set_account(sandbox: Sandbox, request: Request) -> Response:
    """Set an account: ``{vendor, api_key, balance_cents?, prices?: {service: cents}}``."""
    data = request.json()
    vendor, prices = str(data.get("vendor")), data.get("prices") or {}
    known = vendor in VENDORS and isinstance(prices, dict)
    if not known or not isinstance(data.get("api_key"), str):
        raise Refused(400, f"vendor (one of {', '.join(VENDORS)}) and api_key are required")
    unknown = set(prices) - set(PRICES[vendor])
    if unknown:
        raise Refused(400, f"{vendor} sells {', '.join(PRICES[vendor])}")
    account = sandbox.market.account(vendor, data["api_key"])
    balance = data.get("balance_cents", account.balance_cents)
    if not all(isinstance(cents, int) for cents in (balance, *prices.values())):
        raise Refused(400, "balance_cents and prices must be whole cents")
    account.balance_cents = balance
    account.prices |= prices
    return json_response(account.invoice(), 201)


@router.route("POST", "/_control/facts")
async def set_facts(sandbox: Sandbox, request: Request) -> Response:
    """Set what is true: of ``{address: {street, zip}}``, ``{email}``, ``{phone}``; see README."""
    data = request.json()
    address = data.pop("address", None)
    if isinstance(address, dict):
        key = f"address:{address_key(str(address.get('street')), str(address.get('zip')))}"
        try:
            overridden(sandbox.market.population.household("1 A St", "0"), data)
        except TypeError as error:
            raise Refused(400, "phones are {number, line, dnc?, tcpa?, reachable?}") from error
    elif isinstance(data.get("email"), str):
        key = f"email:{data.pop('email').lower()}"
    elif isinstance(data.get("phone"), str):
        key = f"phone:{data.pop('phone')[-10:]}"
    else:
        raise Refused(400, "address, email or phone is required")
    sandbox.market.facts[key] = data
    return json_response({"key": key, **data}, 201)


@router.route("POST", "/_control/hold")
async def hold(sandbox: Sandbox, request: Request) -> Response:
    """Keep a vendor's promised answers back, or let them go: ``{vendor, enabled}``."""
    data = request.json()
    vendor = data.get("vendor")
    if vendor not in VENDORS:
        raise Refused(400, f"vendor must be one of {', '.join(VENDORS)}")
    market = sandbox.market
    if data.get("enabled", True):
        market.is_held.add(vendor)
        return json_response({"held": sorted(market.is_held)})
    market.is_held.discard(vendor)
    waiting = [job for job in market.jobs.values() if job.vendor == vendor and not job.ready]
    for job in waiting:
        await finish(sandbox, job)
    return json_response({"held": sorted(market.is_held), "released": len(waiting)})


@router.route("POST", "/_control/day")
async def move_day(sandbox: Sandbox, request: Request) -> Response:
    """Move the vendors' billing day: ``{offset}`` days from today."""
    offset = request.json().get("offset", 0)
    if not isinstance(offset, int):
        raise Refused(400, "offset must be a number of days")
    sandbox.market.day_offset = offset
    return json_response({"day": sandbox.market.today()})
