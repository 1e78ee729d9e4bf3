"""One page of a sweep: where it lies in the list, what becomes of it, and where to read on.

Records that are new to the vendor come first and push the others down; records that leave pull
them up. A page is *connected* when it overlaps with what was read before it, so that nothing can
have slipped between. Only what lies in one piece without a gap may let a reader stop or jump.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connection
from django.db.models.functions import Now

from integrations.failures import fingerprint_of
from integrations.models import PullPage, PullSweep
from integrations.providers.data import SearchPage, VendorRecord
from integrations.pull_money import Reading, spent_on
from integrations.pull_records import resolve_records
from leads.actions import owner, sql_id
from leads.identity.records import Resolved
from leads.scoring import score_leads
from pipelines.actions import end_run
from pipelines.models import DeadLetter
from tenants.context import tenant_context
from tenants.correlation import correlation_id
from tenants.faultpoints import hit
from tenants.ulids import to_text

#: Records that a page shares with the one before it.
OVERLAP = 1
#: How often a list may move the wrong way before a person looks at it.
MOST_STEPS_BACK = 10
#: Outcome of a record → counter of the sweep.
COUNTERS = {
    "created": "created",
    "updated": "updated",
    "unchanged": "unchanged",
    "duplicate": "unchanged",
    "blocked": "blocked",
    "review": "reviews",
    "error": "errors",
}
#: Columns of a sweep that its run tells, and all those that a page moves.
TOLD = (
    "pages",
    "records",
    "new_ids",
    "created",
    "updated",
    "unchanged",
    "reviews",
    "blocked",
    "errors",
    "cost_cents",
)
MOVED = (
    *TOLD,
    "status",
    "pause_kind",
    "resume_at",
    "stop_reason",
    "next_skip",
    "deepest_skip",
    "expected_id",
    "pass_no",
    "joined_pass",
    "steps_back",
    "results_found",
    "overrun_cents",
)


class Fenced(Exception):
    """Somebody else took the sweep over, or it ended: nothing was written."""


@dataclass(frozen=True, kw_only=True)
class Bought:
    """A page that was paid for, and not filed yet."""

    call_id: str
    artifact_id: str
    skip: int
    page: SearchPage
    cost_cents: int = 0

    @property
    def listed(self) -> int:
        return len(self.page.records) + self.page.unread

    @property
    def end(self) -> int:
        return self.skip + self.listed


@dataclass(frozen=True, kw_only=True)
class Place:
    """What a page's ids say about where it lies."""

    is_connected: bool
    all_closed: bool
    all_joined: bool
    leaves_joined: bool  # it has some of the joined piece, and its last record is below that
    new_ids: int


def file_page(reading: Reading, bought: Bought) -> PullSweep:
    """File a page and all it brings, in one commit under the reader's epoch.

    Returns:
        The sweep as it is then: ``next_skip`` to read on from, or ended.

    Raises:
        Fenced: it is not the reader's any more.
    """
    with tenant_context(reading.tenant_id, durable=True):
        sweep = (
            PullSweep.objects.select_for_update(no_key=True)
            .filter(pk=reading.sweep_id, epoch=reading.epoch, status__in=["open", "paused"])
            .first()
        )
        if sweep is None:
            raise Fenced
        records = list({one.vendor_id: one for one in bought.page.records}.values())
        place = _place(sweep, reading, bought, [one.vendor_id for one in records])
        page = _keep(sweep, bought, place)
        if place.is_connected:
            _mark(sweep, page, records)
        _resolve(sweep, page, records)
        _move_on(sweep, reading, bought, place)
        _count(sweep, bought, place)
        if not _save(sweep, reading):
            raise Fenced
        hit("pulls.before_commit")
    hit("pulls.after_commit")
    return sweep


# --- where it lies ----------------------------------------------------------------------------


def _place(sweep: PullSweep, reading: Reading, bought: Bought, ids: Sequence[str]) -> Place:
    known = _known(reading, ids)

    def is_mine(one: str) -> bool:
        row = known.get(one)
        return (
            row is not None
            and row["sweep"] == sweep.pk
            and (row["pass_no"] <= sweep.joined_pass or row["pass_no"] == sweep.pass_no)
        )

    def is_joined(one: str) -> bool:
        row = known.get(one)
        if row is None:
            return False
        if row["closed"] and not reading.is_full:
            return True
        return bool(row["sweep"] == sweep.pk and row["pass_no"] <= sweep.joined_pass)

    in_piece = [one for one in ids if is_joined(one) and is_mine(one)]
    if bought.skip == 0:
        is_connected = True
    elif sweep.expected_id:
        is_connected = sweep.expected_id in ids
    else:
        is_connected = any(is_mine(one) for one in ids)
    return Place(
        is_connected=is_connected,
        all_closed=bool(ids)
        and not reading.is_full
        and not bought.page.unread
        and _are_closed(reading, ids),
        all_joined=bool(ids) and all(is_joined(one) for one in ids),
        leaves_joined=bool(in_piece) and not is_joined(ids[-1]),
        new_ids=sum(one not in known for one in ids),
    )


def _known(reading: Reading, ids: Sequence[str]) -> Mapping[str, Mapping[str, Any]]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT s.vendor_id, s.closed, s.sweep_id, s.pass_no FROM vendor_seen AS s"
            " WHERE s.tenant_id = %s AND s.source = %s AND s.query_sig = %s"
            " AND s.vendor_id = ANY(%s)",
            [owner(), reading.source, reading.query_sig, list(ids)],
        )
        return {
            vendor_id: {"closed": closed, "sweep": to_text("swp", sweep), "pass_no": pass_no}
            for vendor_id, closed, sweep, pass_no in cursor.fetchall()
        }


def _are_closed(reading: Reading, ids: Sequence[str]) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT has_vendor_ids_been_seen(%s, %s, %s, %s)",
            [owner(), reading.source, reading.query_sig, list(ids)],
        )
        return bool(cursor.fetchone()[0])


# --- what it brings ---------------------------------------------------------------------------


def _keep(sweep: PullSweep, bought: Bought, place: Place) -> PullPage:
    ids = [one.vendor_id for one in bought.page.records]
    return PullPage.objects.create(
        sweep=sweep,
        page_no=sweep.pages + 1,
        skip=bought.skip,
        epoch=sweep.epoch,
        pass_no=sweep.pass_no,
        is_connected=place.is_connected,
        ids=ids,
        first_id=ids[0] if ids else "",
        last_id=ids[-1] if ids else "",
        results_found=bought.page.results_found,
        new_ids=place.new_ids,
        cost_cents=bought.cost_cents,
        artifact_id=bought.artifact_id,
        call_id=bought.call_id,
    )


def _mark(sweep: PullSweep, page: PullPage, records: Sequence[VendorRecord]) -> None:
    """Note that these were seen. What is in one piece already stays as it was marked.

    Of a full reading, closed records are marked anew: only so does it know what it has read.
    """
    if not records:
        return
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO vendor_seen AS s (tenant_id, id, sweep_id, source, query_sig, vendor_id,"
            " closed, page_id, pass_no)"
            " SELECT %(owner)s, ulid_new(), %(sweep)s, %(source)s, %(sig)s, one, false, %(page)s,"
            " %(pass)s FROM unnest(%(ids)s::text[]) AS one"
            " ON CONFLICT (tenant_id, source, query_sig, vendor_id) DO UPDATE"
            " SET sweep_id = excluded.sweep_id, page_id = excluded.page_id,"
            " pass_no = excluded.pass_no"
            " WHERE (NOT s.closed OR %(full)s)"
            " AND (s.sweep_id <> excluded.sweep_id OR s.pass_no > %(joined)s)",
            {
                "owner": owner(),
                "sweep": sql_id(sweep.pk),
                "source": sweep.source,
                "sig": sweep.query_sig,
                "page": sql_id(page.pk),
                "pass": sweep.pass_no,
                "ids": [one.vendor_id for one in records],
                "full": sweep.is_full,
                "joined": sweep.joined_pass,
            },
        )


def _resolve(sweep: PullSweep, page: PullPage, records: Sequence[VendorRecord]) -> None:
    """Turn records into leads and count what became of them; what cannot be read waits."""
    results = resolve_records(
        records, source=sweep.source, run_id=sweep.run_id, artifact_id=page.artifact_id
    )
    for one in results:
        name = COUNTERS[one.outcome]
        setattr(sweep, name, getattr(sweep, name) + 1)
    score_leads(one.lead_id for one in results if one.lead_id and one.outcome != "unchanged")
    failed = [one for one in results if one.outcome == "error"]
    if failed:
        note_letter(page, sweep, failed)


def note_letter(page: PullPage, sweep: PullSweep, failed: Sequence[Resolved]) -> None:
    """Keep, for a person to retry, that records of a page became no leads."""
    first = failed[0].problem or "not readable"
    names = ", ".join(one.key for one in failed[:20])
    DeadLetter.objects.create(
        stage="pull",
        ref=page.pk,
        subject=f"{sweep.source} search",
        error_class="RecordRefused",
        error=f"{len(failed)} of {len(page.ids)} records of page {page.page_no}: {first}"
        f"\nRecords: {names}",
        fingerprint=fingerprint_of("RecordRefused", first),
        correlation_id=correlation_id(),
    )


# --- where to read on -------------------------------------------------------------------------


def _move_on(sweep: PullSweep, reading: Reading, bought: Bought, place: Place) -> None:
    """Say where the next page begins, or that there is none; see the module's first words."""
    in_front = sweep.joined_pass < sweep.pass_no
    if not place.is_connected:
        _step_back(sweep, reading, bought, in_front=in_front)
        return
    is_last = bought.end >= bought.page.results_found
    if is_last or place.all_closed:
        why = "the list ends here" if is_last else "all that follows is known"
        _close(sweep, why)
        return
    if bought.listed == 0:  # not the end, says the count
        _step_back(sweep, reading, bought, in_front=in_front)
        return
    sweep.next_skip = max(bought.skip + 1, bought.end - OVERLAP)
    sweep.expected_id = bought.page.records[-1].vendor_id if bought.page.records else ""
    if in_front and (place.all_joined or place.leaves_joined):
        sweep.joined_pass = sweep.pass_no  # this pass met the piece: they are one now
        jump = sweep.deepest_skip - reading.page_size
        if place.all_joined and jump > sweep.next_skip:
            sweep.next_skip, sweep.expected_id = jump, ""
    if sweep.joined_pass == sweep.pass_no:
        sweep.deepest_skip = max(sweep.deepest_skip, bought.end)


def _step_back(sweep: PullSweep, reading: Reading, bought: Bought, *, in_front: bool) -> None:
    """Read again what may have moved up: a page back, or, at the front, from the first record."""
    sweep.steps_back += 1
    sweep.expected_id = ""
    target = 0 if in_front else max(0, bought.skip - reading.page_size)
    sweep.next_skip = target
    if target == 0:  # what is read now may not be in one piece with what was
        sweep.pass_no += 1
    if sweep.steps_back >= MOST_STEPS_BACK and sweep.status == "open":
        sweep.status, sweep.pause_kind = "paused", "unsteady"
        sweep.stop_reason = (
            "The list keeps moving while it is read, so records could slip through."
            " Resume to go on reading."
        )


def _close(sweep: PullSweep, why: str) -> None:
    """End a sweep that is complete, and with it all that it saw."""
    sweep.status, sweep.pause_kind, sweep.resume_at = "closed", "", None
    sweep.stop_reason = why
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE vendor_seen AS s SET closed = true"
            " WHERE s.tenant_id = %s AND s.sweep_id = %s AND NOT s.closed",
            [owner(), sql_id(sweep.pk)],
        )


def _count(sweep: PullSweep, bought: Bought, place: Place) -> None:
    sweep.pages += 1
    sweep.records += bought.listed
    sweep.errors += bought.page.unread
    sweep.new_ids += place.new_ids
    sweep.results_found = bought.page.results_found
    sweep.cost_cents = spent_on(sweep.pk)
    sweep.overrun_cents = max(0, sweep.cost_cents - sweep.cap_cents)


def _save(sweep: PullSweep, reading: Reading) -> bool:
    """Write the sweep under the reader's epoch; False: it is not the reader's any more."""
    values: dict[str, Any] = {name: getattr(sweep, name) for name in MOVED}
    ended = sweep.status == "closed"
    if ended:
        values |= {"closed_at": Now(), "lease_until": None}
    saved = PullSweep.objects.filter(pk=sweep.pk, epoch=reading.epoch).update(
        **values, updated_at=Now()
    )
    if saved and ended and sweep.run_id:
        end_run(sweep.run_id, status="completed", stats=stats_of(sweep))
    return bool(saved)


def stats_of(sweep: PullSweep) -> dict[str, Any]:
    """Return what a sweep did, for its run."""
    return {name: getattr(sweep, name) for name in TOLD}
