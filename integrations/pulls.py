"""Read a vendor's list of records into leads: every record once, nothing paid twice.

A sweep begins at the list's first record and ends where the list does, or with the first page that
lies wholly in what completed sweeps have seen. Every page is one commit under the epoch of its
reader. A process that dies loses at most the page it was at: the next one begins another pass at
the front, to catch what moved, and jumps over what is known to be in one piece.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import cast

import structlog
from django.db import IntegrityError, connection, transaction
from django.db.models.functions import Now

from integrations.models import UNFINISHED, Integration, PullQuery, PullSweep
from integrations.providers import Account, providers
from integrations.providers.data import Searches
from integrations.pull_asking import TRIES, buy, count, soon
from integrations.pull_failures import note_lost_page
from integrations.pull_money import Pause, Reading
from integrations.pull_pages import Bought, Fenced, file_page
from pipelines.actions import begin_run
from tenants.context import database_now, is_passing, tenant_context
from tenants.correlation import correlated
from tenants.ulids import to_text

PIPELINE = "vendor_pull"
#: A reader that filed no page for so long is dead; longer than all tries of one page take.
LEASE = timedelta(minutes=6)
#: A count that is older than this, in seconds, is asked again before money depends on it.
COUNT_S = 300.0
#: Seconds a scheduled run works at most; the next one goes on where it ended.
SLICE_S = 40.0

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Due:
    """A saved query that should be worked on now."""

    tenant_id: str
    query_id: str


def due() -> list[Due]:
    """Return the saved queries, of all tenants, that are due or have a sweep nobody reads."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM pulls_due()")
        return [
            Due(tenant_id=to_text("tenant", tenant), query_id=to_text("plq", query))
            for tenant, query in cursor.fetchall()
        ]


def pull(
    tenant_id: str,
    query_id: str,
    *,
    stop: threading.Event | None = None,
    seconds: float | None = None,
) -> PullSweep | None:
    """Read a query's sweep on, or begin one when it is due.

    Args:
        tenant_id: ``tenant_…``.
        query_id: ``plq_…`` of that tenant.
        stop: ends the turn before its next page.
        seconds: the longest it may take; None: until the sweep ends or must wait.

    Returns:
        The sweep as it is then, or None when there is nothing to do now: it is not due, it is
        paused, or another process reads it.
    """
    reading = take(tenant_id, query_id)
    if reading is None:
        return None
    with tenant_context(tenant_id, durable=True):
        sweep = PullSweep.objects.select_related("run").get(pk=reading.sweep_id)
        correlation = sweep.run.correlation_id if sweep.run else ""
    end = None if seconds is None else time.monotonic() + seconds
    with correlated(correlation):
        _take_turn(reading, stop or threading.Event(), end)
    with tenant_context(tenant_id, durable=True):
        return PullSweep.objects.get(pk=reading.sweep_id)


def _take_turn(reading: Reading, stop: threading.Event, end: float | None) -> None:
    try:
        _read_on(reading, stop, end)
    except Fenced:
        logger.info("another process reads this sweep", sweep=reading.sweep_id)
    except Pause as pause:
        _pause(reading, pause)
    except Exception as error:
        words = f"{type(error).__name__}: {error}"[:150]
        _pause(reading, Pause("failed", words, soon()))
        raise
    else:
        _release(reading)


# --- begin and end ----------------------------------------------------------------------------


def take(tenant_id: str, query_id: str) -> Reading | None:
    """Take a query's sweep over, if nobody reads it; begin one if the query is due."""
    with tenant_context(tenant_id, durable=True):
        query = PullQuery.objects.select_for_update(no_key=True).filter(pk=query_id).first()
        if query is None:
            return None
        now = database_now()
        sweep = (
            PullSweep.objects.select_for_update(no_key=True)
            .filter(query=query, status__in=UNFINISHED)
            .first()
        )
        is_due = query.enabled and query.next_run_at is not None and query.next_run_at <= now
        if is_due:
            plan_next(query, now)
        if sweep is None:
            sweep = _begun(query) if is_due else None
        if sweep is None or not _is_free(sweep, now):
            return None
        account = Integration.objects.filter(pk=query.integration_id, enabled=True).first()
        if account is None or not issubclass(providers[account.provider], Searches):
            return None
        return _reading(tenant_id, query, sweep, account)


def _is_free(sweep: PullSweep, now: datetime) -> bool:
    if sweep.status == "paused":
        return sweep.resume_at is not None and sweep.resume_at <= now
    return sweep.lease_until is None or sweep.lease_until <= now


def plan_next(query: PullQuery, now: datetime) -> None:
    """Set when a query is due next: in its rhythm, and after *now*."""
    if query.every_minutes is None or query.next_run_at is None:
        query.next_run_at = None
    else:
        step = timedelta(minutes=query.every_minutes)
        missed = max(0, (now - query.next_run_at) // step)
        query.next_run_at += step * (missed + 1)
    PullQuery.objects.filter(pk=query.pk).update(next_run_at=query.next_run_at, updated_at=Now())


def _begun(query: PullQuery) -> PullSweep | None:
    try:
        return begin_sweep(query, trigger="schedule")
    except IntegrityError:  # another account's query that asks the same is being read
        return None


def begin_sweep(
    query: PullQuery,
    *,
    trigger: str,
    cap_cents: int | None = None,
    is_full: bool = False,
    actor_id: str | None = None,
) -> PullSweep:
    """Begin a sweep of *query*, in the running transaction; the next process reads it.

    Raises:
        IntegrityError: one that asks the same is not finished.
    """
    source = Integration.objects.values_list("provider", flat=True).get(pk=query.integration_id)
    with transaction.atomic():
        return PullSweep.objects.create(
            query=query,
            source=source,
            query_sig=query.query_sig,
            params=query.params,
            cap_cents=query.run_cap_cents if cap_cents is None else cap_cents,
            is_full=is_full,
            run=begin_run(PIPELINE, trigger=trigger),
            actor_id=actor_id,
        )


def _reading(tenant_id: str, query: PullQuery, sweep: PullSweep, account: Integration) -> Reading:
    """Take the lease of a locked sweep; one that was dropped, or waited, begins a new pass."""
    was_left = sweep.lease_until is not None or sweep.status == "paused"
    if was_left and sweep.pages:
        sweep.pass_no += 1
        sweep.next_skip, sweep.expected_id = 0, ""
    PullSweep.objects.filter(pk=sweep.pk).update(
        status="open",
        pause_kind="",
        resume_at=None,
        stop_reason="",
        epoch=sweep.epoch + 1,
        lease_until=Now() + LEASE,
        pass_no=sweep.pass_no,
        next_skip=sweep.next_skip,
        expected_id=sweep.expected_id,
        updated_at=Now(),
    )
    search = cast(type[Searches], providers[account.provider])
    return Reading(
        tenant_id=tenant_id,
        query_id=query.pk,
        sweep_id=sweep.pk,
        run_id=sweep.run_id,
        epoch=sweep.epoch + 1,
        integration_id=account.pk,
        provider=providers[account.provider](account.settings),
        account=account_of(account),
        source=sweep.source,
        query_sig=sweep.query_sig,
        params=sweep.params,
        page_size=min(query.page_size, search.max_take),
        price_cents=query.price_cents,
        is_full=sweep.is_full,
    )


def account_of(integration: Integration) -> Account:
    return Account(
        base_url=integration.base_url,
        api_key=integration.api_key,
        account_id=integration.account_id or "",
        settings=integration.settings,
    )


def _release(reading: Reading) -> None:
    with tenant_context(reading.tenant_id, durable=True):
        PullSweep.objects.filter(pk=reading.sweep_id, epoch=reading.epoch).update(
            lease_until=None, updated_at=Now()
        )


def _pause(reading: Reading, pause: Pause) -> None:
    logger.warning("a sweep waits", sweep=reading.sweep_id, kind=pause.kind, words=pause.words)
    with tenant_context(reading.tenant_id, durable=True):
        mine = PullSweep.objects.filter(pk=reading.sweep_id, epoch=reading.epoch)
        mine.filter(status="open").update(
            status="paused",
            pause_kind=pause.kind,
            resume_at=pause.until,
            stop_reason=pause.words.replace("\x00", "")[:200],
            updated_at=Now(),
        )
        mine.update(lease_until=None)


# --- pages ------------------------------------------------------------------------------------


def _read_on(reading: Reading, stop: threading.Event, end: float | None) -> None:
    """Read page after page until the sweep ends, must wait, or the turn is over."""
    found, counted_at = 0, -COUNT_S
    while not stop.is_set():
        with tenant_context(reading.tenant_id, durable=True):
            sweep = PullSweep.objects.get(pk=reading.sweep_id)
        if sweep.epoch != reading.epoch:
            raise Fenced
        if sweep.status != "open":
            return
        if time.monotonic() - counted_at > COUNT_S:
            found, counted_at = count(reading, stop), time.monotonic()
        bought, found, counted_at = buy(reading, sweep, found, counted_at, stop)
        sweep = _file(reading, bought)
        if sweep.status == "closed" or (end is not None and time.monotonic() > end):
            return


def _file(reading: Reading, bought: Bought) -> PullSweep:
    """File a page; one that cannot be filed is kept for a person, and the sweep waits.

    Raises:
        Fenced, Pause: see there.
    """
    for attempt in range(1, TRIES + 1):
        try:
            return file_page(reading, bought)
        except Fenced:
            raise
        except Exception as error:
            if is_passing(error) and attempt < TRIES:
                continue
            logger.exception("a page could not be filed", sweep=reading.sweep_id)
            with tenant_context(reading.tenant_id, durable=True):
                note_lost_page(bought, error, source=reading.source)
            words = f"A page could not be filed: {type(error).__name__}. It is kept and can be"
            raise Pause("failed", f"{words} retried; the sweep reads it again.", None) from error
    raise Fenced  # not reached: the last try raises
