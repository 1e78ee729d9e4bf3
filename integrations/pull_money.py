"""What reading a list costs: counted before it is paid, set aside in the ledger, settled after.

The vendor bills the result set of a query once a day: a request is billed for the records it finds
beyond those of earlier requests of the day. So reading on, and reading again, is free that day.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from email.utils import parsedate_to_datetime
from typing import Any, cast

from django.db import connection
from django.db.models import F
from django.db.models.functions import Now

from integrations.ledger import Cap, Purchase, Refused, Reserved, Settlement, fingerprint, settle
from integrations.ledger import reserve as reserve_call
from integrations.models import PullBill, PullSweep, VendorAnswer
from integrations.providers import Account, Provider
from integrations.providers.data import Searches
from integrations.transport import Answer
from leads.actions import owner, sql_id
from tenants.context import database_now, tenant_context
from tenants.ulids import to_text

SERVICE = "search"
#: Records that may appear between a count and the page it was made for: at least, and in percent.
GROWTH, GROWTH_PERCENT = 10, 1

_SPENT = """
SELECT coalesce(sum(coalesce(a.cost_cents, c.reserved_cents)), 0)
FROM vendor_calls AS c
LEFT JOIN vendor_answers AS a ON a.tenant_id = c.tenant_id AND a.call_id = c.id AND a.is_final
WHERE c.tenant_id = %(owner)s AND c.sweep_id = %(sweep)s
"""
_UNSETTLED = """
SELECT c.id, c.reserved_cents
FROM vendor_calls AS c
JOIN pull_sweeps AS s ON s.tenant_id = c.tenant_id AND s.id = c.sweep_id
WHERE c.tenant_id = %(owner)s AND c.provider = %(source)s AND c.day >= %(day)s::date - 1
  AND (c.at AT TIME ZONE 'UTC')::date = %(day)s
  AND c.integration_id = %(account)s AND s.query_sig = %(sig)s
  AND NOT EXISTS (SELECT FROM vendor_answers AS a
                  WHERE a.tenant_id = c.tenant_id AND a.call_id = c.id AND a.is_final)
ORDER BY c.id
"""


class Pause(Exception):
    """A sweep must wait. *kind*: of ``PAUSE_KINDS``; *until*: it goes on by itself then."""

    def __init__(self, kind: str, words: str, until: datetime | None = None) -> None:
        super().__init__(words)
        self.kind, self.words, self.until = kind, words, until


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One process's turn at a sweep."""

    tenant_id: str
    query_id: str
    sweep_id: str
    run_id: str | None
    epoch: int
    integration_id: str
    provider: Provider
    account: Account = field(repr=False)
    source: str
    query_sig: str
    params: Mapping[str, Any]
    page_size: int
    price_cents: int
    is_full: bool

    @property
    def search(self) -> Searches:
        return cast(Searches, self.provider)


@dataclass(frozen=True, kw_only=True)
class Quote:
    """What the next request of a query may cost, in cents."""

    needed: int  # if the vendor finds as many records as it said
    growth: int  # if it finds a few more
    left: int  # of the sweep's cap


def vendor_day(answer: Answer | None = None) -> date:
    """Return the day, of the vendor's, to which an answer is billed; without one: today."""
    told = answer.headers.get("date", "") if answer else ""
    try:
        return parsedate_to_datetime(told).astimezone(UTC).date()
    except (TypeError, ValueError, OverflowError):
        return database_now().astimezone(UTC).date()


def price(records: int, price_cents: int) -> int:
    return records * price_cents


def spent_on(sweep_id: str) -> int:
    """Return what a sweep spent in cents; what is not settled counts as reserved."""
    with connection.cursor() as cursor:
        cursor.execute(_SPENT, {"owner": owner(), "sweep": sql_id(sweep_id)})
        return int(cursor.fetchone()[0])


def _unsettled(reading: Reading, day: date, *, but: str | None = None) -> list[tuple[str, int]]:
    """Return (call, cents) of the query's requests of *day* whose cost nobody knows yet."""
    with connection.cursor() as cursor:
        cursor.execute(
            _UNSETTLED,
            {
                "owner": owner(),
                "source": reading.source,
                "day": day,
                "account": sql_id(reading.integration_id),
                "sig": reading.query_sig,
            },
        )
        found = [(to_text("strace", call), int(cents)) for call, cents in cursor.fetchall()]
    return [(call, cents) for call, cents in found if call != but]


def quote(reading: Reading, found: int) -> Quote:
    """Say what the next request may cost when the vendor finds *found* records. In the tenant."""
    day = vendor_day()
    bill = PullBill.objects.filter(
        integration=reading.integration_id, query_sig=reading.query_sig, day=day
    ).first()
    billed = bill.records if bill else 0
    at_stake = sum(cents for _, cents in _unsettled(reading, day))
    newly = reading.search.newly_billed(found, billed)
    cap = PullSweep.objects.values_list("cap_cents", flat=True).get(pk=reading.sweep_id)
    return Quote(
        needed=max(0, price(newly, reading.price_cents) - at_stake),
        growth=price(max(GROWTH, found * GROWTH_PERCENT // 100), reading.price_cents),
        left=max(0, cap - spent_on(reading.sweep_id)),
    )


def reserve(reading: Reading, quoted: Quote, *, mark: str) -> str:
    """Set a request's price aside under every cap; return the call to settle.

    *mark* tells requests of one query apart: an answer to one is none to the next.

    Raises:
        Pause: a cap, the account's circuit, or the vendor's wish forbids it.
    """
    if quoted.needed > quoted.left:
        raise Pause(
            "cap",
            f"The next request may cost {dollars(quoted.needed)}, and {dollars(quoted.left)} of"
            " the cap of this sweep are left. Raise the cap and resume, or cancel.",
        )
    bought = reserve_call(
        reading.tenant_id,
        Purchase(
            integration_id=reading.integration_id,
            provider=reading.source,
            service=SERVICE,
            fingerprint=fingerprint(reading.query_sig, reading.sweep_id, reading.epoch, mark),
            price_cents=min(quoted.left, quoted.needed + quoted.growth),
            caps=(Cap(scope=f"query:{reading.query_id}", period="month"),),
            sweep_id=reading.sweep_id,
        ),
    )
    if isinstance(bought, Reserved):
        return bought.call_id
    if isinstance(bought, Refused):
        raise _pause_of(bought)
    raise Pause("unknown", "The ledger has an answer to a request that was never made.")


def _pause_of(refused: Refused) -> Pause:
    match refused.reason:
        case "cap":
            scope, _, period = refused.detail.rpartition(" ")
            whose = "all paid calls" if scope == "all" else scope.replace(":", " ")
            words = f"The budget of {whose} is spent for this {period}."
            return Pause("budget", words, refused.until)
        case "throttled":
            return Pause("busy", "The vendor asked to be left alone for a while.", refused.until)
        case "circuit":
            words = "The account failed too often and is left alone for a while."
            return Pause("failed", words, refused.until)
        case "disabled":
            return Pause("refused", "The integration is switched off.")
    return Pause("unknown", "A request like this is still without an answer.")


def settle_unmade(
    reading: Reading, call_id: str, settlement: Settlement, *, answer: Answer | None = None
) -> None:
    """Settle a request that brought no page."""
    told = settlement
    if answer is not None:
        told = Settlement(
            **{
                **settlement.__dict__,
                "http_status": answer.status,
                "latency_ms": answer.latency_ms,
            }
        )
    with tenant_context(reading.tenant_id, durable=True):
        settle(call_id, told)


def settle_page(
    reading: Reading, call_id: str, answer: Answer, found: int, *, artifact_id: str
) -> int:
    """Settle a request that brought a page, in the running transaction; return its cost in cents.

    By the vendor's rule an answer also tells what the requests before it cost together, so those
    that were lost on the way are settled, too: never more than was set aside for them.
    """
    day = vendor_day(answer)
    key = {"integration_id": reading.integration_id, "query_sig": reading.query_sig, "day": day}
    PullBill.objects.bulk_create([PullBill(**key)], ignore_conflicts=True)
    bill = PullBill.objects.select_for_update(no_key=True).get(**key)
    if VendorAnswer.objects.filter(call_id=call_id, is_final=True).exists():
        return 0  # whoever took our place settled it
    newly = reading.search.newly_billed(found, bill.records)
    due = total = price(newly, reading.price_cents)
    for lost, reserved in _unsettled(reading, day, but=call_id):
        share = min(due, reserved)
        words = "settled by the next answer of the same day"
        settle(lost, Settlement(result="hit", cost_cents=share, error=words))
        due -= share
    settle(
        call_id,
        Settlement(
            result="hit",
            cost_cents=due,
            http_status=answer.status,
            latency_ms=answer.latency_ms,
            artifact_id=artifact_id,
        ),
    )
    PullBill.objects.filter(pk=bill.pk).update(
        records=F("records") + newly, cents=F("cents") + total, updated_at=Now()
    )
    return due


def dollars(cents: int) -> str:
    """Write cents as ``$1,234.50``."""
    return f"${cents // 100:,}.{cents % 100:02d}"
