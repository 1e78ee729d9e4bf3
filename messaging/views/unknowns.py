"""Sends of which nobody knows whether they arrived: what was tried, what comes, who decides."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db.models import F, Q, QuerySet
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST

from messaging.actions.unknowns import DecisionRefused, decide_unknown
from messaging.models import OutboundMessage, SendOutcome
from messaging.outcomes import GIVE_UP_AFTER
from messaging.views.access import door, found
from messaging.views.numbers import need
from tenants.http import TenantRequest
from tenants.permissions import allows

PAGE, TWICE = 50, 20
TABS = {"decide": "To decide", "asked": "Still being asked about"}
#: What is said after a decision.
SAID = {
    "arrived": "Recorded as sent, with your reason.",
    "lost": "Recorded as failed, with your reason.",
    "resend": "Queued again, as a new attempt.",
}


@dataclass(frozen=True, kw_only=True)
class Doubt:
    """A text in doubt, with everything learnt about it."""

    text: OutboundMessage
    learnt: list[SendOutcome]

    @property
    def gives_up_at(self) -> datetime | None:
        """When it becomes a person's, if nobody can tell until then."""
        claimed = self.text.claimed_at
        return claimed + GIVE_UP_AFTER if claimed else None


@require_GET
@door("view")
def index(request: TenantRequest, slug: str) -> HttpResponse:
    """Page: the queue of the operator, oldest first, and texts that went out twice."""
    tab = request.GET.get("tab", "")
    tab = tab if tab in TABS else "decide"
    after = _parse(request.GET.get("after", ""))
    rows = _open(tab)
    if after:
        moment, pk = after
        rows = rows.filter(Q(claimed_at__gt=moment) | Q(claimed_at=moment, id__gt=pk))
    listed = list(rows[: PAGE + 1])
    last = listed[PAGE - 1] if len(listed) > PAGE else None
    context = {
        "doubts": _doubts(listed[:PAGE]),
        "tab": tab,
        "tabs": TABS,
        "after": f"{last.claimed_at.isoformat()}~{last.pk}" if last and last.claimed_at else "",
        "first": not after,
        "twice": _shown(OutboundMessage.objects.filter(went_twice=True)).order_by("-id")[:TWICE],
        "may_decide": allows(request.actor, "replay"),
    }
    return render(request, "messaging/unknowns.html", context)


@require_POST
@door("view")
def decide(request: TenantRequest, slug: str, outbound: str) -> HttpResponse:
    """Settle one text by a person's word (``arrived``, ``lost``), or ``resend`` it."""
    row = found(OutboundMessage.objects.only("id"), outbound)
    need(request, "replay")
    decision = request.POST.get("decision", "")
    try:
        decide_unknown(
            row.pk,
            decision=decision,
            reason=request.POST.get("reason", ""),
            actor_id=request.actor.pk,
        )
    except DecisionRefused as refused:
        messages.error(request, f"{refused} Nothing was changed.")
    else:
        messages.info(request, SAID[decision])
    return redirect("messaging:unknowns", slug)


def _open(tab: str) -> QuerySet[OutboundMessage]:
    texts = _shown(OutboundMessage.objects.order_by("claimed_at", "id"))
    if tab == "asked":
        return texts.filter(state="unknown")
    return texts.filter(state="failed", gave_up_at__isnull=False, decided_at=None)


def _shown(texts: QuerySet[OutboundMessage]) -> QuerySet[OutboundMessage]:
    related = texts.select_related("lead", "phone_number", "conversation").annotate(
        stage=F("conversation__stage")
    )
    return related.defer("verdict")


def _doubts(texts: list[OutboundMessage]) -> list[Doubt]:
    learnt: dict[str, list[Any]] = defaultdict(list)
    outcomes = SendOutcome.objects.filter(attempt__outbound__in=texts)
    for outcome in outcomes.select_related("attempt").order_by("id"):
        learnt[outcome.attempt.outbound_id].append(outcome)
    return [Doubt(text=text, learnt=learnt[text.pk]) for text in texts]


def _parse(after: str) -> tuple[datetime, str] | None:
    moment, _, pk = after.partition("~")
    try:
        OutboundMessage._meta.pk.to_python(pk)
        at = datetime.fromisoformat(moment)
    except (ValueError, ValidationError):
        return None
    return (at, pk) if pk and at.tzinfo else None
