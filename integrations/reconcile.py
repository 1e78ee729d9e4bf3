"""Ask vendors what their webhooks should have told us, and take in what they did not.

A vendor gives up after a few tries, so a webhook may be lost however well we listen. A run reads
the vendor's list from where the last one ended, less an overlap, and makes an event of whatever we
do not know. It is keyed by what the vendor says, never by the run: a run may die anywhere, or be
repeated, and nothing comes twice. Every page is one transaction with the run's lease in it.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import cast

import structlog
from django.db import IntegrityError, connection, transaction
from django.db.models import F
from django.db.models.functions import Now

from integrations.endpoints import Endpoint
from integrations.events import BadPayload
from integrations.intake import Intake, choices_of, events_of, take_within
from integrations.known import missing_of
from integrations.models import Integration, ReconcileRun, SyncState
from integrations.pauses import sends_paused
from integrations.providers import (
    Account,
    Delivery,
    Provider,
    Pulled,
    PullPage,
    Reconciles,
    providers,
)
from integrations.transport import Answer, NoAnswer, NotWritten, call
from leads.actions import lock_consents
from tenants.context import tenant_context
from tenants.fields import Secret
from tenants.ulids import to_text

#: The one job there is so far, and its row of ``sync_state``.
JOB = "events"
#: How far back a run looks behind the end of the last one, and the very first one.
OVERLAP, FIRST_LOOK = timedelta(minutes=5), timedelta(hours=24)
#: What is younger than this, in seconds, may still come by itself.
SETTLE_S = 30.0
#: A run that has shown no page for so long is dead.
LEASE = timedelta(minutes=3)
#: Seconds a call may take, tries for one page, the first pause between them, the longest wait.
CALL_S, TRIES, PAUSE_S, LONGEST_WAIT_S = 15.0, 4, 1.0, 60.0
#: Seconds a scheduled run works at most; the next one goes on where it ended.
SLICE_S = 40.0

logger = structlog.get_logger(__name__)


class Stopped(Exception):
    """The run was told to stop, or another one took its place."""


class VendorRefused(Exception):
    """The vendor gave no list; the text says what it gave."""


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """What a run works with."""

    tenant_id: str
    integration_id: str
    run_id: str
    provider: Provider
    account: Account
    since: datetime
    settled: datetime  # younger things are left for their webhooks
    cursor: str


@dataclass(frozen=True, kw_only=True)
class Due:
    """An integration whose list should be read now."""

    tenant_id: str
    integration_id: str


def due() -> list[Due]:
    """Return the integrations, of all tenants, whose list should be read now."""
    names = [name for name in providers if issubclass(providers[name], Reconciles)]
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM reconciles_due(%s)", [names])
        return [
            Due(tenant_id=to_text("tenant", tenant), integration_id=to_text("intg", account))
            for tenant, account in cursor.fetchall()
        ]


def reconcile(
    tenant_id: str,
    integration_id: str,
    *,
    stop: threading.Event | None = None,
    seconds: float | None = None,
) -> ReconcileRun | None:
    """Compare an integration's list with what we know, and take in what is missing.

    Args:
        tenant_id: ``tenant_…``.
        integration_id: ``intg_…`` of that tenant.
        stop: ends the run at its next page.
        seconds: the longest it may take; None: until the list ends.

    Returns:
        The run as it ended, or None when there is nothing to do now: another run is at it, the
        provider has no list, or a spool still holds what would look missing.
    """
    stop = stop or threading.Event()
    sweep = _begin(tenant_id, integration_id)
    if sweep is None:
        return None
    end = None if seconds is None else time.monotonic() + seconds
    try:
        is_whole = _read_all(sweep, stop, end)
    except Stopped as reason:
        return _finish(sweep, error=str(reason))
    except (VendorRefused, NotWritten, NoAnswer) as error:
        logger.warning("a list could not be read", integration=integration_id, error=str(error))
        return _finish(sweep, error=str(error) or type(error).__name__, forgets_cursor=True)
    except Exception as error:
        _finish(sweep, error=f"{type(error).__name__}: {error}", forgets_cursor=True)
        raise
    return _finish(sweep, is_whole=is_whole)


# --- begin and end ----------------------------------------------------------------------------


def _begin(tenant_id: str, integration_id: str) -> Sweep | None:
    with tenant_context(tenant_id, durable=True):
        integration = Integration.objects.filter(pk=integration_id, enabled=True).first()
        if integration is None or not integration.base_url or sends_paused():
            return None
        if not issubclass(providers[integration.provider], Reconciles):
            return None
        ReconcileRun.objects.filter(
            integration=integration, job_name=JOB, status="running", heard_at__lt=Now() - LEASE
        ).update(status="failed", finished_at=Now(), error="its process died")
        try:
            with transaction.atomic():
                run = ReconcileRun.objects.create(integration=integration, job_name=JOB)
        except IntegrityError:
            return None
        run.refresh_from_db()
        state, _ = SyncState.objects.get_or_create(
            integration=integration, direction="in", entity_type=JOB
        )
        if not state.cursor_id:  # a new sweep; else the last run ended in the middle of one
            SyncState.objects.filter(pk=state.pk).update(last_run_at=run.started_at)
        SyncState.objects.filter(pk=state.pk).update(updated_at=Now())
        return Sweep(
            tenant_id=tenant_id,
            integration_id=integration.pk,
            run_id=run.pk,
            provider=providers[integration.provider](integration.settings),
            account=Account(
                base_url=integration.base_url,
                api_key=integration.api_key,
                account_id=integration.account_id or "",
                settings=integration.settings,
            ),
            since=state.cursor_at - OVERLAP if state.cursor_at else run.started_at - FIRST_LOOK,
            settled=run.started_at - timedelta(seconds=SETTLE_S),
            cursor=state.cursor_id,
        )


def _finish(
    sweep: Sweep, *, error: str = "", is_whole: bool = False, forgets_cursor: bool = False
) -> ReconcileRun:
    with tenant_context(sweep.tenant_id, durable=True):
        ended = ReconcileRun.objects.filter(pk=sweep.run_id, status="running").update(
            status="failed" if error else "completed", finished_at=Now(), error=error[:2000]
        )
        state = SyncState.objects.filter(
            integration=sweep.integration_id, direction="in", entity_type=JOB
        )
        if ended and is_whole:
            # Known is what had settled when the sweep began.
            known = F("last_run_at") - timedelta(seconds=SETTLE_S)
            state.update(cursor_at=known, cursor_id="", last_success_at=Now(), updated_at=Now())
        elif ended and forgets_cursor:  # it may be the cursor that the vendor does not like
            state.update(cursor_id="", updated_at=Now())
        return ReconcileRun.objects.get(pk=sweep.run_id)


# --- pages ------------------------------------------------------------------------------------


def _read_all(sweep: Sweep, stop: threading.Event, end: float | None) -> bool:
    """Read page after page; return whether the list came to its end."""
    cursor = sweep.cursor
    while True:
        if stop.is_set():
            raise Stopped("cancelled")
        page = _fetch(sweep, cursor, stop)
        new = [item for item in page.items if item.at >= sweep.since]
        all_old = bool(page.items) and not new
        is_last = not page.cursor or (all_old and cast(Reconciles, sweep.provider).is_newest_first)
        _take_in(sweep, new, "" if is_last else page.cursor)
        if is_last:
            return True
        cursor = page.cursor
        if end is not None and time.monotonic() > end:
            return False


def _fetch(sweep: Sweep, cursor: str, stop: threading.Event) -> PullPage:
    """Ask for a page, patiently.

    Raises:
        VendorRefused: something else came back, however often we asked.
        NotWritten, NoAnswer: nothing did.
        Stopped: while we waited.
    """
    lister = cast(Reconciles, sweep.provider)
    request = lister.build_pull(sweep.since, cursor, sweep.account)
    for attempt in range(1, TRIES + 1):
        pause = PAUSE_S * 2 ** (attempt - 1)
        try:
            answer = call(request, deadline_s=CALL_S)
        except (NotWritten, NoAnswer):
            if attempt == TRIES:
                raise
        else:
            page = lister.read_pull(answer.status, answer.body)
            if page is not None:
                return page
            pause = _pause_after(answer, pause, is_last=attempt == TRIES)
        if stop.wait(pause):
            raise Stopped("cancelled")
    raise VendorRefused("no answer to go by")


def _pause_after(answer: Answer, pause: float, *, is_last: bool) -> float:
    """Return how long to wait before asking again.

    Raises:
        VendorRefused: asking again helps nothing, or only much later.
    """
    if is_last or (answer.status != 429 and answer.status < 500):
        raise VendorRefused(f"answered {answer.status}")
    told = answer.headers.get("retry-after", "").strip()
    if told.isdecimal():
        pause = max(pause, float(told))
    if pause > LONGEST_WAIT_S:
        raise VendorRefused(f"answered {answer.status}: wait {told} s")
    return pause


def _take_in(sweep: Sweep, items: list[Pulled], cursor: str) -> None:
    """Make events of what is missing, note the place, and prove that we still run: one commit.

    Raises:
        Stopped: another run took our place.
    """
    with tenant_context(sweep.tenant_id, durable=True):
        run = ReconcileRun.objects.select_for_update(no_key=True).get(pk=sweep.run_id)
        if run.status != "running":
            raise Stopped("another run took its place")
        settled = tuple(item for item in items if item.at <= sweep.settled)
        missing = missing_of(sweep.provider, sweep.integration_id, settled)
        intakes = [_intake(sweep, item) for item in reversed(missing)]  # the oldest first
        _lock_people(intakes)
        added = sum(take_within(one).outcome == "new" for one in intakes)
        ReconcileRun.objects.filter(pk=run.pk).update(
            heard_at=Now(),
            pages=F("pages") + 1,
            seen=F("seen") + len(items),
            missing=F("missing") + added,
        )
        SyncState.objects.filter(
            integration=sweep.integration_id, direction="in", entity_type=JOB
        ).update(cursor_id=cursor, updated_at=Now())
    if added:
        logger.warning("webhooks were missing", integration=sweep.integration_id, count=added)


def _lock_people(intakes: list[Intake]) -> None:
    """Lock all whose consent changes, in the order in which everybody locks."""
    addresses = []
    for intake in intakes:
        try:
            addresses += [choice.address for choice in choices_of(events_of(intake))]
        except BadPayload:
            continue  # it will be withheld
    lock_consents(addresses)


def _intake(sweep: Sweep, item: Pulled) -> Intake:
    provider = sweep.provider
    content_type = provider.content_types[0]
    delivery = Delivery(
        body=item.body, headers={"content-type": content_type}, content_type=content_type
    )
    return Intake(
        endpoint=Endpoint(
            id="",
            tenant_id=sweep.tenant_id,
            integration_id=sweep.integration_id,
            provider=provider.name,
            signed=True,
            our_number="",
            retired=False,
            secret=Secret(),
            previous_secret=Secret(),
            previous_valid_until=None,
        ),
        provider=provider,
        delivery=delivery,
        parsed=provider.read(item.body, content_type),
        signature_state="pulled",
        key=f"pulled:{item.key}",
    )
