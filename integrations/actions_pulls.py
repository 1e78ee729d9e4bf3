"""What people do with vendor pulls: save a query, run it, pause, resume or cancel its sweep."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models.functions import Now

from integrations.models import UNFINISHED, Integration, PullQuery, PullSweep
from integrations.providers import Account, providers
from integrations.providers.data import Searches
from integrations.pull_pages import stats_of
from integrations.pull_queries import QueryRefused, query_params, query_signature
from integrations.pulls import begin_sweep
from pipelines.actions import end_run
from tenants.actions import note
from tenants.context import database_now

#: Smallest page; largest cap and price, in cents; shortest and longest rhythm, in minutes.
LEAST_PAGE, MOST_CENTS, MOST_PRICE = 10, 100_000_000, 100_000
LEAST_MINUTES, MOST_MINUTES = 5, 60 * 24 * 366


class PullRefused(Exception):
    """It cannot be done as things are; nothing was written."""


@dataclass(frozen=True, kw_only=True)
class QueryValues:
    """What a person says of a query.

    Attributes:
        integration_id: ``intg_…`` of an account whose vendor can be searched.
        name: how people call it.
        criteria: of the vendor's search; see ``query_params``.
        run_cap_cents: what a sweep may spend.
        price_cents: per record of the result set; None: the vendor's list price.
        page_size: records per page; the vendor's own limit holds, too.
        every_minutes: its rhythm; None: only when somebody runs it.
        first_run_at: when it is due next; None: at once, where it has a new rhythm.
        enabled: whether it runs by itself.
    """

    integration_id: str
    name: str
    criteria: dict[str, Any]
    run_cap_cents: int
    price_cents: int | None = None
    page_size: int = 100
    every_minutes: int | None = None
    first_run_at: datetime | None = None
    enabled: bool = True


@transaction.atomic
def save_query(query: PullQuery | None, values: QueryValues, *, actor_id: str | None) -> PullQuery:
    """Save a new query, or change one. A sweep that runs goes on as it began.

    Args:
        query: the one to change, or None for a new one.
        values: what it is to be.
        actor_id: who saves it.

    Raises:
        PullRefused, QueryRefused: something is missing, odd, or there is such a query already.
    """
    account = Integration.objects.filter(pk=values.integration_id).first()
    vendor = providers[account.provider] if account else None
    if account is None or vendor is None or not issubclass(vendor, Searches):
        raise PullRefused("Choose an account with a vendor that can be searched.")
    name = " ".join(values.name.split())
    if not name or len(name) > 120 or not name.isprintable():
        raise PullRefused("Give the query a name of at most 120 characters.")
    params = query_params(values.criteria)
    try:
        vendor().build_search(params, 0, 0, Account(base_url="https://vendor.example", api_key=""))
    except ValueError as error:
        raise QueryRefused(str(error)) from error
    _check_numbers(values, vendor)
    row = query or PullQuery(actor_id=actor_id)
    before = _said(row) if query else None
    is_new_rhythm = row.every_minutes != values.every_minutes
    row.integration, row.name, row.params = account, name, params
    row.query_sig = query_signature(account.provider, params)
    row.price_cents = vendor.record_cents if values.price_cents is None else values.price_cents
    row.run_cap_cents, row.page_size = values.run_cap_cents, values.page_size
    row.every_minutes, row.enabled = values.every_minutes, values.enabled
    _plan_first(row, values.first_run_at, is_new_rhythm=is_new_rhythm)
    _write(row)
    verb = "changed" if query else "created"
    note(f"pull_query.{verb}", actor_id=actor_id, subject=row, before=before, after=_said(row))
    return row


def _check_numbers(values: QueryValues, vendor: type[Searches]) -> None:
    if not 1 <= values.run_cap_cents <= MOST_CENTS:
        raise PullRefused("The cap must be an amount from $0.01 to $1,000,000.")
    if not 0 <= (values.price_cents or 0) <= MOST_PRICE:
        raise PullRefused("The price per record must be from $0 to $1,000.")
    if not LEAST_PAGE <= values.page_size <= vendor.max_take:
        raise PullRefused(f"A page has {LEAST_PAGE} to {vendor.max_take} records.")
    every = values.every_minutes
    if every is not None and not LEAST_MINUTES <= every <= MOST_MINUTES:
        raise PullRefused("A query runs at most every 5 minutes and at least once a year.")


def _plan_first(row: PullQuery, first: datetime | None, *, is_new_rhythm: bool) -> None:
    if row.every_minutes is None:
        row.next_run_at = None
    elif first is not None:
        row.next_run_at = first
    elif row.next_run_at is None or is_new_rhythm:
        row.next_run_at = database_now()


def _write(row: PullQuery) -> None:
    same = PullQuery.objects.filter(integration=row.integration, query_sig=row.query_sig)
    if other := same.exclude(pk=row.pk).first():
        raise PullRefused(f"“{other.name}” asks for exactly this already.")
    row.updated_at = Now()
    is_new = row._state.adding
    if not is_new:
        old = PullQuery.objects.get(pk=row.pk)
        if old.query_sig != row.query_sig:  # what was counted was something else
            row.counted = row.counted_at = row.count_asked_at = None
            row.count_error = ""
    try:
        with transaction.atomic():
            row.save(force_insert=is_new)
    except IntegrityError as error:
        raise PullRefused("There is a query with this name already.") from error


def _said(row: PullQuery) -> dict[str, Any]:
    return {
        "name": row.name,
        "params": row.params,
        "run_cap_cents": row.run_cap_cents,
        "price_cents": row.price_cents,
        "every_minutes": row.every_minutes,
        "enabled": row.enabled,
    }


@transaction.atomic
def start_sweep(
    query_id: str,
    *,
    actor_id: str,
    cap_cents: int | None = None,
    is_full: bool = False,
) -> PullSweep:
    """Begin a sweep now; the next free process reads it.

    Args:
        query_id: ``plq_…``.
        actor_id: who wants it.
        cap_cents: what this sweep may spend; None: the query's own cap.
        is_full: read all of the list, also what is known.

    Raises:
        PullRefused: one is not finished yet, the account is off, or the cap is none.
    """
    query = PullQuery.objects.select_related("integration").get(pk=query_id)
    if not query.integration.enabled or not query.integration.base_url:
        raise PullRefused("The account of this query is switched off or has no address.")
    if cap_cents is not None and not 1 <= cap_cents <= MOST_CENTS:
        raise PullRefused("The cap must be an amount from $0.01 to $1,000,000.")
    try:
        with transaction.atomic():
            sweep = begin_sweep(
                query, trigger="person", cap_cents=cap_cents, is_full=is_full, actor_id=actor_id
            )
    except IntegrityError as error:
        raise PullRefused("A sweep of this query is not finished: resume or cancel it.") from error
    after = {"cap_cents": sweep.cap_cents, "is_full": is_full}
    note("pull_sweep.started", actor_id=actor_id, subject=sweep, after=after)
    return sweep


def _unfinished(sweep_id: str, status: list[str]) -> PullSweep:
    sweep = (
        PullSweep.objects.select_for_update(no_key=True)
        .filter(pk=sweep_id, status__in=status)
        .first()
    )
    if sweep is None:
        raise PullRefused("The sweep has moved on meanwhile.")
    return sweep


def _reason(text: str) -> str:
    reason = text.replace("\x00", "").strip()[:200]
    if not reason:
        raise PullRefused("Say why; the reason is kept with the sweep.")
    return reason


@transaction.atomic
def pause_sweep(sweep_id: str, *, reason: str, actor_id: str) -> None:
    """Have a sweep wait after the page it is at, until a person resumes it.

    Raises:
        PullRefused: it does not run, or no reason was given.
    """
    sweep, why = _unfinished(sweep_id, UNFINISHED), _reason(reason)
    PullSweep.objects.filter(pk=sweep.pk).update(
        status="paused", pause_kind="person", resume_at=None, stop_reason=why, updated_at=Now()
    )
    note("pull_sweep.paused", actor_id=actor_id, subject=sweep, reason=why)


@transaction.atomic
def resume_sweep(sweep_id: str, *, actor_id: str, cap_cents: int | None = None) -> None:
    """Have a paused sweep go on, from the front of the list; what it has is jumped over.

    Args:
        sweep_id: ``swp_…``.
        actor_id: who wants it.
        cap_cents: a new cap of the sweep, at least what it spent.

    Raises:
        PullRefused: it is not paused, or the cap is too small.
    """
    sweep = _unfinished(sweep_id, ["paused"])
    cap = sweep.cap_cents if cap_cents is None else cap_cents
    if not max(1, sweep.cost_cents - sweep.overrun_cents) <= cap <= MOST_CENTS:
        raise PullRefused("The cap must be at least what the sweep has spent.")
    changed: dict[str, Any] = {}
    is_read = sweep.lease_until is not None and sweep.lease_until > database_now()
    if sweep.pages and not is_read:
        changed = {"pass_no": sweep.pass_no + 1, "next_skip": 0, "expected_id": ""}
    PullSweep.objects.filter(pk=sweep.pk).update(
        status="open",
        pause_kind="",
        resume_at=None,
        stop_reason="",
        cap_cents=cap,
        steps_back=0,
        updated_at=Now(),
        **changed,
    )
    note(
        "pull_sweep.resumed",
        actor_id=actor_id,
        subject=sweep,
        before={"cap_cents": sweep.cap_cents, "why": sweep.stop_reason},
        after={"cap_cents": cap},
    )


@transaction.atomic
def cancel_sweep(sweep_id: str, *, reason: str, actor_id: str) -> None:
    """End a sweep that is not complete. Its leads stay; the next sweep reads all of the list again.

    Raises:
        PullRefused: it has ended, or no reason was given.
    """
    sweep, why = _unfinished(sweep_id, UNFINISHED), _reason(reason)
    PullSweep.objects.filter(pk=sweep.pk).update(
        status="cancelled",
        pause_kind="",
        resume_at=None,
        stop_reason=why,
        closed_at=Now(),
        lease_until=None,
        epoch=sweep.epoch + 1,  # whoever reads it files nothing any more
        updated_at=Now(),
    )
    if sweep.run_id:
        end_run(sweep.run_id, status="cancelled", stats=stats_of(sweep))
    note("pull_sweep.cancelled", actor_id=actor_id, subject=sweep, reason=why)
