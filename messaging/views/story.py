"""The story of a lead: texts, moves, edits, scores, vendors' calls and merges, in one line each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import OuterRef, Q, Subquery

from integrations.models import VendorAnswer, VendorCall
from leads.merging import family_of
from leads.models import Lead, LeadActivity, LeadEvent, Merge, QualityScore
from messaging import thread
from messaging.models import Message

PAGE = 50
#: What a story tells → how people read it.
KINDS = {
    "messages": "Messages",
    "state": "State",
    "identity": "Edits and identity",
    "enrichment": "Enrichment and score",
    "activities": "Activities",
}
#: What a page tells at once; the rest comes after it.
QUICK = {"messages", "state", "identity"}
#: Kinds of lead events that tell of identity rather than of state.
IDENTITY = {
    "created": "Lead created",
    "edited": "Edited by a person",
    "imported": "Brought up to date by an import",
    "pulled": "Brought up to date by a pull",
    "enriched": "Brought up to date by enrichment",
    "crm": "Brought up to date by another system",
    "merged": "Merged",
    "unmerged": "Merge taken back",
}


@dataclass(frozen=True, kw_only=True)
class Line:
    """One thing that happened; ``message`` where it is a text."""

    at: datetime
    icon: str
    word: str
    text: str = ""
    note: str = ""
    color: str = ""
    artifact_id: str | None = None
    message: Message | None = None


@dataclass(frozen=True, kw_only=True)
class Story:
    """Lines, newest first, the moment before which it goes on ("" at its end), and the filter."""

    lines: list[Line]
    before: str
    kinds: list[str]


def story_of(
    one: Lead, *, kinds: Iterable[str] = (), before: str = "", quick: bool = False
) -> Story:
    """Read what happened to a lead, newest first, with one query per table.

    Args:
        one: the lead.
        kinds: of ``KINDS``; none: all.
        before: moment, in ISO format, of the last line that was read.
        quick: only texts and lead events, two queries.

    Raises:
        ValueError: *before* is no moment.
    """
    moment = datetime.fromisoformat(before) if before else None
    if moment is not None and moment.tzinfo is None:
        raise ValueError(before)
    chosen = [kind for kind in kinds if kind in KINDS]
    wanted = set(chosen or KINDS) & (QUICK if quick else set(KINDS))
    # What merged leads lived through stays with their rows, and is this lead's story all the same.
    family = family_of(one.pk)
    found: list[Line] = []
    full = False
    for reader, of in _READERS:
        if wanted & of and not (quick and reader is _merges):
            lines = list(reader(family, moment, wanted))
            full = full or len(lines) >= PAGE
            found += lines
    found.sort(key=lambda line: line.at, reverse=True)
    shown = found[:PAGE]
    goes_on = bool(shown) and (full or len(found) > PAGE)
    return Story(lines=shown, before=shown[-1].at.isoformat() if goes_on else "", kinds=chosen)


Reader = Callable[[list[str], datetime | None, set[str]], Iterator[Line]]


def _until(column: str, moment: datetime | None) -> Q:
    return Q(**{f"{column}__lt": moment}) if moment else Q()


def _messages(family: list[str], moment: datetime | None, wanted: set[str]) -> Iterator[Line]:
    rows = Message.objects.filter(_until("occurred_at", moment), lead__in=family)
    for message in rows.select_related("actor").order_by("-id")[:PAGE]:
        inbound = message.direction == "in"
        yield Line(
            at=message.occurred_at,
            icon="message-square" if inbound else "send",
            word="Inbound" if inbound else "Outbound",
            color="in" if inbound else "",
            message=message,
        )


def _events(family: list[str], moment: datetime | None, wanted: set[str]) -> Iterator[Line]:
    rows = LeadEvent.objects.filter(_until("at", moment), lead__in=family)
    rows = rows.select_related("actor")
    if "state" not in wanted:
        rows = rows.filter(kind__in=IDENTITY)
    elif "identity" not in wanted:
        rows = rows.exclude(kind__in=IDENTITY)
    for event in rows.order_by("-at", "-seq")[:PAGE]:
        if event.kind in IDENTITY:
            yield _identity(event)
        elif thread.is_told(event):
            yield Line(
                at=event.at,
                icon="activity",
                word="Event",
                text=thread.fact(event),
                color="red" if event.to_state == "suppressed" else "",
            )


def _identity(event: LeadEvent) -> Line:
    fields = event.payload.get("fields")
    names = ", ".join(str(name).replace("_", " ") for name in fields) if fields else ""
    source = str(event.payload.get("source") or "")
    told = (source, str(event.actor or ""), names)
    return Line(
        at=event.at,
        icon="user-round",
        word="Identity",
        text=IDENTITY[event.kind],
        note=" · ".join(part for part in told if part),
    )


def _merges(family: list[str], moment: datetime | None, wanted: set[str]) -> Iterator[Line]:
    rows = Merge.objects.filter(_until("at", moment), survivor__in=family)
    for merge in rows.select_related("merged", "actor").order_by("-id")[:PAGE]:
        undone = " and was taken out again" if merge.undone_at else ""
        yield Line(
            at=merge.at,
            icon="git-merge",
            word="Merge",
            text=f"{merge.merged.display_name} became part of this lead{undone}",
            note=" · ".join(str(part) for part in (merge.actor, merge.reason) if part),
        )


def _scores(family: list[str], moment: datetime | None, wanted: set[str]) -> Iterator[Line]:
    rows = QualityScore.objects.filter(_until("created_at", moment), lead__in=family)
    for score in rows.order_by("-id")[:PAGE]:
        yield Line(
            at=score.created_at,
            icon="gauge",
            word="Score",
            text=f"Score {score.score}, {score.get_band_display().lower()}",
            note=f"rule {score.rule_version}",
        )


def _calls(family: list[str], moment: datetime | None, wanted: set[str]) -> Iterator[Line]:
    final = VendorAnswer.objects.filter(
        tenant=OuterRef("tenant"), call=OuterRef("pk"), is_final=True
    ).order_by("-id")
    rows = VendorCall.objects.filter(_until("at", moment), lead__in=family).annotate(
        result=Subquery(final.values("result")[:1]),
        cost=Subquery(final.values("cost_cents")[:1]),
        error=Subquery(final.values("error")[:1]),
        kept=Subquery(final.values("artifact")[:1]),
    )
    for call in rows.order_by("-id")[:PAGE]:
        result = VendorAnswer.RESULTS.get(call.result or "", "No answer yet")
        yield Line(
            at=call.at,
            icon="coins",
            word="Vendor",
            text=f"{call.provider.capitalize()} {call.service.replace('_', ' ')}: {result.lower()}",
            note=" · ".join(part for part in (_money(call), call.error or "") if part),
            artifact_id=call.kept,
        )


def _money(call: Any) -> str:
    if call.cost is not None:
        return f"${call.cost / 100:,.2f}"
    return f"at most ${call.reserved_cents / 100:,.2f}"


def _activities(family: list[str], moment: datetime | None, wanted: set[str]) -> Iterator[Line]:
    rows = LeadActivity.objects.filter(_until("at", moment), lead__in=family)
    for done in rows.select_related("worker").order_by("-id")[:PAGE]:
        yield Line(
            at=done.at,
            icon="list-checks",
            word="Activity",
            text=done.subject or done.kind.replace("_", " ").capitalize(),
            note=" · ".join(
                str(part) for part in (done.worker, done.channel, done.outcome) if part
            ),
        )


_READERS: tuple[tuple[Reader, set[str]], ...] = (
    (_messages, {"messages"}),
    (_events, {"state", "identity"}),
    (_merges, {"identity"}),
    (_scores, {"enrichment"}),
    (_calls, {"enrichment"}),
    (_activities, {"activities"}),
)
