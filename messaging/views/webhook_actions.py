"""What operators do with webhooks: rehearse, replay, retry, withhold; one, or all that match."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from integrations.actions_replay import MAX_DRY_RUN, dry_run, replay_work
from integrations.actions_work import (
    WorkRefused,
    discard_work,
    quarantine_work,
    release_work,
    retry_work,
)
from integrations.bulk import PIPELINE, act_on, cancel_run, resume_run
from integrations.explorer import list_events
from integrations.models import WebhookWork
from integrations.selections import (
    Selection,
    SelectionChanged,
    read_part,
    read_selection,
    select,
)
from messaging.views.access import door, found
from messaging.views.webhooks import Asked, event_page, read_query
from pipelines.models import PipelineRun
from tenants.http import TenantRequest

#: Events that a preview names.
NAMED = 20
OLD = "This page is too old, or not this tenant's. Look again; nothing was done."
#: What is done with work that is not finished, by the button that was pressed.
DECISIONS = {
    "quarantine": (quarantine_work, "Quarantined. Nothing happens to it until it is released."),
    "release": (release_work, "Released: it is done now, in its old place."),
    "discard": (discard_work, "Discarded. Nothing waits for it any more."),
}


# --- one event ----------------------------------------------------------------------------------


@require_POST
@door("replay")
def rehearse(request: TenantRequest, slug: str, event_id: str) -> HttpResponse:
    """Page: one webhook, and every row that doing it would write. Nothing is kept."""
    context = event_page(slug, event_id, "summary")
    context["rehearsals"] = dry_run([context["work"].seq])
    return render(request, "integrations/webhook.html", context)


@require_POST
@door("replay")
def replay(request: TenantRequest, slug: str, event_id: str) -> HttpResponse:
    """Have a finished event done again, as a new run."""
    seq = _work(request, event_id)
    reason = request.POST.get("reason", "")[:500]
    if replay_work([seq], actor_id=request.actor.pk, reason=reason):
        messages.info(request, "Replayed: the new run is linked below.")
    else:
        messages.error(request, "Not replayed: it is not finished, or was replayed just now.")
    return redirect(f"{_address(slug, event_id)}?tab=replays")


@require_POST
@door("replay")
def retry(request: TenantRequest, slug: str, event_id: str) -> HttpResponse:
    """Make dead work ready again."""
    if retry_work([_work(request, event_id)], actor_id=request.actor.pk):
        messages.info(request, "It is tried again now.")
    else:
        messages.error(request, "Nothing was done: it is not a failure any more.")
    return redirect("messaging:webhook", slug, event_id)


@require_POST
@door("replay")
def decide(request: TenantRequest, slug: str, event_id: str) -> HttpResponse:
    """Quarantine, release or discard work that is not finished; a reason is needed."""
    seq = _work(request, event_id)
    what = request.POST.get("what", "")
    if what not in DECISIONS:
        raise Http404
    act, words = DECISIONS[what]
    try:
        done = act([seq], actor_id=request.actor.pk, reason=request.POST.get("reason", ""))
    except WorkRefused as refused:
        messages.error(request, str(refused))
    else:
        if done:
            messages.info(request, words)
        else:
            messages.error(request, "Nothing was done: it changed meanwhile.")
    return redirect("messaging:webhook", slug, event_id)


def _address(slug: str, event_id: str) -> str:
    return redirect("messaging:webhook", slug, event_id).url


def _work(request: TenantRequest, event_id: str) -> int:
    """Return the work a form named, if it is the event's."""
    text = request.POST.get("work", "")
    rows = WebhookWork.objects.filter(event=event_id) if event_id.startswith("wh_") else None
    if rows is None or not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise Http404
    return found(rows, text).seq


# --- all that match -----------------------------------------------------------------------------


@require_http_methods(["GET", "POST"])
@door("replay")
def matching(request: TenantRequest, slug: str) -> HttpResponse:
    """Page: how many finished events the filters of the list meet, to rehearse and to replay."""
    if request.method == "POST":
        return _do_matching(request, slug)
    asked = read_query(request)
    problem = _why_not(asked)
    selection = Selection(kind="events") if problem else _select(asked)
    context = _matching_page(asked, selection, problem)
    return render(request, "integrations/matching.html", context)


def _matching_page(asked: Asked | None, selection: Selection, problem: str = "") -> dict[str, Any]:
    return {
        "asked": asked,
        "selection": selection,
        "signed": selection.sign(),
        "problem": problem,
        "named": list_events(asked.query).rows[:NAMED] if asked and selection.count else [],
        "most": MAX_DRY_RUN,
    }


def _why_not(asked: Asked) -> str:
    if asked.query.contains:
        return (
            "A search for words in the body looks at the newest events only, so it cannot say"
            " how many there are. Filter by source, type, number or time."
        )
    if asked.query.status not in ("", "done", "discarded"):
        return "Only finished events are replayed. Retry or release the others under Failures."
    return ""


def _select(asked: Asked) -> Selection:
    query = asked.query
    return select(
        "events",
        source=query.source,
        event_type=query.event_type,
        state=query.status,
        since=query.since.isoformat(),
        until=query.until.isoformat() if query.until else "",
        their_number=query.their_number,
        correlation=query.correlation,
    )


def _do_matching(request: TenantRequest, slug: str) -> HttpResponse:
    selection = read_selection(request.POST.get("selection", ""))
    if selection is None:
        messages.error(request, OLD)
        return redirect("messaging:webhooks", slug)
    if request.POST.get("what") == "dry-run":
        seqs = [seq for _, seq in read_part(selection, most=MAX_DRY_RUN)]
        context = _matching_page(None, selection)
        context["rehearsals"] = dry_run(seqs)
        context["left_out"] = max(selection.count - len(seqs), 0)
        return render(request, "integrations/matching.html", context)
    return bulk_answer(request, slug, "replay", selection, "messaging:webhooks")


def bulk_answer(
    request: TenantRequest, slug: str, action: str, selection: Selection, back: str
) -> HttpResponse:
    """Do *action* to a selection and say what came of it, on the page *back* or that of its run."""
    reason = request.POST.get("reason", "")
    try:
        outcome = act_on(action, selection, actor_id=request.actor.pk, reason=reason)
    except (SelectionChanged, WorkRefused) as refused:
        messages.error(request, str(refused))
        return redirect(back, slug)
    if outcome.run_id:
        return redirect("messaging:bulk-run", slug, outcome.run_id)
    words = {"retry": "retried", "discard": "discarded", "release": "released"}
    events = "1 event was" if outcome.done == 1 else f"{outcome.done:,} events were"
    messages.info(request, f"{events} {words.get(action, 'replayed')}.")
    return redirect(back, slug)


# --- runs in the background ---------------------------------------------------------------------


@require_GET
@door("replay")
def run(request: TenantRequest, slug: str, run_id: str) -> HttpResponse:
    """Page: how far an action on many events came."""
    return render(request, "integrations/bulk_run.html", _run_page(run_id))


@require_GET
@door("replay")
def run_progress(request: TenantRequest, slug: str, run_id: str) -> HttpResponse:
    """Fragment: the same, as it is now."""
    return render(request, "integrations/_bulk_run.html", _run_page(run_id))


@require_POST
@door("replay")
def run_cancel(request: TenantRequest, slug: str, run_id: str) -> HttpResponse:
    """Stop a run after the chunk it is at."""
    cancel_run(_run(run_id).pk, actor_id=request.actor.pk)
    return redirect("messaging:bulk-run", slug, run_id)


@require_POST
@door("replay")
def run_resume(request: TenantRequest, slug: str, run_id: str) -> HttpResponse:
    """Go on with a run where it stopped."""
    resume_run(_run(run_id).pk, actor_id=request.actor.pk)
    return redirect("messaging:bulk-run", slug, run_id)


def _run(run_id: str) -> PipelineRun:
    return found(PipelineRun.objects.filter(pipeline_name=PIPELINE), run_id)


def _run_page(run_id: str) -> dict[str, Any]:
    one = _run(run_id)
    total = one.stats["total"] or 1
    return {"run": one, "stats": one.stats, "percent": round(100 * one.stats["done"] / total)}
