"""Failures: work that ran out of tries by cause, what is withheld and why, and failed syncs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db import connection
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from integrations.actions_work import WorkRefused, create_rule, discard_work, end_rule, retry_work
from integrations.bulk import PIPELINE
from integrations.models import QuarantineRule, ReconcileRun, WebhookWork, WorkEvent
from integrations.providers import provider_choices
from integrations.rules import PREVIEW_DAYS, PREVIEW_SCAN, preview
from integrations.selections import MOST, Selection, read_selection
from leads.actions import owner
from messaging.views.access import door, found
from messaging.views.webhook_actions import OLD, bulk_answer
from pipelines.models import DeadLetter, PipelineRun
from tenants.http import TenantRequest
from tenants.ulids import to_text

TABS = {"letters": "Dead letters", "quarantine": "Quarantine", "sync": "Sync errors"}
PAGE = 50
#: Groups on a page; more causes than this at once are one cause nobody has seen yet.
GROUPS = 100
_FIELDS = {"source": 40, "event_type": 80, "sender": 40, "contains": 120, "reason": 500}


@dataclass(frozen=True, kw_only=True)
class Group:
    """Failures of one cause, or what is withheld for one."""

    label: str
    error: str
    count: int
    busy: int  # of them, being retried right now
    oldest: datetime
    retry_after: datetime | None
    selection: Selection  # what the buttons act on

    @property
    def signed(self) -> str:
        return self.selection.sign()


@require_GET
@door("replay")
def index(request: TenantRequest, slug: str) -> HttpResponse:
    """Page: what needs repair, by cause; ``?tab=`` chooses dead letters, quarantine or sync."""
    tab = request.GET.get("tab", "letters")
    if tab not in TABS:
        raise Http404
    context: dict[str, Any] = {"tab": tab, "tabs": TABS, "runs": _runs()}
    match tab:
        case "letters":
            context["groups"] = letter_groups()
            if not context["groups"]:
                context["last"] = DeadLetter.objects.order_by("-id").first()
        case "quarantine":
            context["groups"] = withheld_groups()
            live = QuarantineRule.objects.filter(ended_at=None).select_related("actor")
            context["rules"] = live.order_by("-id")[:PAGE]
            context["providers"] = provider_choices()
        case _:
            failed = ReconcileRun.objects.filter(status="failed").select_related("integration")
            context["syncs"] = failed.defer("integration__secret").order_by("-id")[:PAGE]
    return render(request, "integrations/failures.html", context)


def _runs() -> list[PipelineRun]:
    """Return the bulk actions under way."""
    return list(PipelineRun.objects.filter(pipeline_name=PIPELINE, status="running")[:10])


def letter_groups() -> list[Group]:
    """Return what failed and is open, by stage and cause, the largest first."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT g.*, d.subject, d.error FROM ("
            "  SELECT stage, fingerprint, count(*) AS n,"
            "         count(*) FILTER (WHERE status = 'retrying') AS busy,"
            "         min(created_at) AS oldest, min(retry_after) AS retry_after,"
            "         max(id::text COLLATE \"C\") FILTER (WHERE status = 'open') AS newest,"
            '         max(id::text COLLATE "C") AS example'
            "  FROM (SELECT * FROM dead_letters WHERE tenant_id = %(owner)s"
            "        AND status IN ('open', 'retrying') LIMIT %(most)s) AS open_letters"
            "  GROUP BY stage, fingerprint ORDER BY n DESC LIMIT %(groups)s) AS g"
            " JOIN dead_letters AS d ON d.tenant_id = %(owner)s AND d.id = g.example::uuid"
            " ORDER BY g.n DESC, g.oldest",
            {"owner": owner(), "most": MOST, "groups": GROUPS},
        )
        rows = cursor.fetchall()
    return [
        Group(
            label=f"{DeadLetter.STAGES[stage]}: {subject}",
            error=error,
            count=n,
            busy=busy,
            oldest=oldest,
            retry_after=after,
            selection=Selection(
                kind="letters",
                filters={"fingerprint": fingerprint} if stage == "webhook" else {},
                newest=newest or "",
                count=n - busy if stage == "webhook" else 0,
            ),
        )
        for stage, fingerprint, n, busy, oldest, after, newest, _, subject, error in rows
    ]


def withheld_groups() -> list[Group]:
    """Return what is in quarantine, by sender and cause, the largest first."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT e.source, cause_of(w.last_error) AS cause, count(*) AS n, min(e.received_at),"
            "       max(w.seq), (array_agg(w.last_error ORDER BY w.seq DESC))[1]"
            " FROM (SELECT * FROM webhook_work WHERE tenant_id = %(owner)s"
            "       AND state = 'quarantined' LIMIT %(most)s) AS w"
            " JOIN webhook_events AS e"
            "  ON e.tenant_id = %(owner)s AND e.id = w.event AND e.received_at = w.received_at"
            " GROUP BY 1, 2 ORDER BY n DESC LIMIT %(groups)s",
            {"owner": owner(), "most": MOST, "groups": GROUPS},
        )
        rows = cursor.fetchall()
    return [
        Group(
            label=source,
            error=error,
            count=n,
            busy=0,
            oldest=oldest,
            retry_after=None,
            selection=Selection(
                kind="withheld",
                filters={"source": source, "cause": cause},
                newest=str(newest),
                count=n,
            ),
        )
        for source, cause, n, oldest, newest, error in rows
    ]


@require_GET
@door("replay")
def group(request: TenantRequest, slug: str) -> HttpResponse:
    """Page: the failures of one cause, newest first; ``?fingerprint=``."""
    fingerprint, after = request.GET.get("fingerprint", ""), request.GET.get("after", "")
    letters = DeadLetter.objects.filter(
        stage="webhook", status__in=["open", "retrying"], fingerprint=fingerprint
    )
    try:
        page = list(
            (letters.filter(id__lt=after) if after else letters).order_by("-id")[: PAGE + 1]
        )
    except (ValidationError, ValueError) as error:
        raise Http404 from error
    context = {
        "letters": page[:PAGE],
        "fingerprint": fingerprint,
        "after": page[PAGE - 1].pk if len(page) > PAGE else "",
        "first": not after,
        "group": next(
            (
                one
                for one in letter_groups()
                if one.selection.filters == {"fingerprint": fingerprint}
            ),
            None,
        ),
    }
    return render(request, "integrations/failure_group.html", context)


@require_GET
@door("replay")
def withheld(request: TenantRequest, slug: str) -> HttpResponse:
    """Page: what is withheld for one cause, oldest first; ``?source=`` and ``?cause=``."""
    source, cause = request.GET.get("source", ""), request.GET.get("cause", "")
    after = request.GET.get("after", "0")
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT w.seq, e.id, e.event_type, e.received_at, w.their_number, w.last_error"
            " FROM webhook_work AS w JOIN webhook_events AS e"
            "  ON e.tenant_id = w.tenant_id AND e.id = w.event AND e.received_at = w.received_at"
            " WHERE w.tenant_id = %s AND w.state = 'quarantined' AND w.seq > %s"
            "   AND e.source = %s AND cause_of(w.last_error) = %s ORDER BY w.seq LIMIT %s",
            [
                owner(),
                int(after) if after.isascii() and after.isdecimal() and len(after) < 19 else 0,
                source.replace("\x00", ""),
                cause.replace("\x00", ""),
                PAGE + 1,
            ],
        )
        rows = [(seq, to_text("wh", event), *rest) for seq, event, *rest in cursor.fetchall()]
    wanted = {"source": source, "cause": cause}
    context = {
        "rows": rows[:PAGE],
        "after": rows[PAGE - 1][0] if len(rows) > PAGE else "",
        "wanted": wanted,
        "group": next((one for one in withheld_groups() if one.selection.filters == wanted), None),
    }
    return render(request, "integrations/withheld_group.html", context)


@require_GET
@door("replay")
def letter(request: TenantRequest, slug: str, letter_id: str) -> HttpResponse:
    """Page: one dead letter, with all that happened to its work."""
    one = found(DeadLetter.objects.select_related("actor"), letter_id)
    work = None
    if one.stage == "webhook":
        work = WebhookWork.objects.filter(pk=int(one.ref)).first()
    notes = WorkEvent.objects.filter(work=work.seq) if work else WorkEvent.objects.none()
    context = {
        "letter": one,
        "work": work,
        "notes": notes.select_related("actor").order_by("id")[:200],
        "is_open": one.status in ("open", "retrying"),
    }
    return render(request, "integrations/failure.html", context)


@require_POST
@door("replay")
def act(request: TenantRequest, slug: str, letter_id: str) -> HttpResponse:
    """Retry or discard one dead letter."""
    one = found(DeadLetter.objects.filter(stage="webhook"), letter_id)
    what, actor = request.POST.get("what", ""), request.actor.pk
    if what not in ("retry", "discard"):
        raise Http404
    try:
        if what == "retry":
            done = retry_work([int(one.ref)], actor_id=actor)
        else:
            reason = request.POST.get("reason", "")
            done = discard_work([int(one.ref)], actor_id=actor, reason=reason)
    except WorkRefused as refused:
        messages.error(request, str(refused))
        return redirect("messaging:failure", slug, letter_id)
    words = "It is tried again now." if what == "retry" else "Discarded, with your reason."
    if done:
        messages.info(request, words)
    else:
        messages.error(request, "Nothing was done: it is not a failure any more.")
    return redirect("messaging:failure", slug, letter_id)


@require_POST
@door("replay")
def bulk(request: TenantRequest, slug: str) -> HttpResponse:
    """Retry, discard or release exactly the work that a person was shown."""
    action = request.POST.get("what", "")
    if action not in ("retry", "discard", "release"):
        raise Http404
    selection = read_selection(request.POST.get("selection", ""))
    if selection is None:
        messages.error(request, OLD)
        return redirect("messaging:failures", slug)
    return bulk_answer(request, slug, action, selection, "messaging:failures")


# --- rules --------------------------------------------------------------------------------------


@require_http_methods(["GET", "POST"])
@door("replay")
def rule(request: TenantRequest, slug: str) -> HttpResponse:
    """Page: what a rule would have met of late; POST makes it."""
    given = request.POST if request.method == "POST" else request.GET
    made = QuarantineRule(
        **{
            name: given.get(name, "").strip().replace("\x00", "")[:longest]
            for name, longest in _FIELDS.items()
        }
    )
    error = ""
    if request.method == "POST":
        try:
            create_rule(made, actor_id=request.actor.pk)
        except WorkRefused as refused:
            error = str(refused)
        else:
            messages.info(request, f"From now on events of {made} are withheld.")
            return redirect(f"{redirect('messaging:failures', slug).url}?tab=quarantine")
    context = {
        "rule": made,
        "preview": preview(made),
        "error": error,
        "days": PREVIEW_DAYS,
        "scan": PREVIEW_SCAN,
        "providers": provider_choices(),
    }
    return render(request, "integrations/rule.html", context, status=422 if error else 200)


@require_POST
@door("replay")
def rule_end(request: TenantRequest, slug: str, rule_id: str) -> HttpResponse:
    """End a rule; what it withheld stays where it is."""
    one = found(QuarantineRule.objects.all(), rule_id)
    if end_rule(one.pk, actor_id=request.actor.pk):
        messages.info(request, "The rule is over. What it withheld waits to be released.")
    return redirect(f"{redirect('messaging:failures', slug).url}?tab=quarantine")
