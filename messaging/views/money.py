"""Pages about money: what was bought and brought, unknown calls, and runs of the waterfall."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import Count, Sum
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from integrations import actions_enrich as actions
from integrations import money
from integrations.actions_enrich import EnrichmentRefused
from integrations.models import Enrichment, VendorCall
from integrations.models.waterfall import OPEN_STATES
from integrations.waterfall_plan import Step, forecast, stages, stop_at
from integrations.waterfall_work import PIPELINE
from leads.actions_leads import EditRefused
from leads.models import Lead
from messaging.views.access import door, found
from pipelines.models import PipelineRun
from tenants.http import TenantRequest
from tenants.permissions import WORDS, allows

#: Days that the page may show; runs and unknown calls on one page; leads of one form.
DAYS = (7, 30, 90)
RUNS, PAGE = 20, 50
MOST_IN_FORM = 1_000


def need(request: TenantRequest, permission: str) -> None:
    """Raise when the person's role lacks *permission*."""
    if not allows(request.actor, permission):
        raise PermissionDenied(
            f"Your role may not {WORDS[permission]}. A tenant admin can grant it."
        )


@require_GET
@door("view")
def index(request: TenantRequest, slug: str) -> HttpResponse:
    """Page: spend over time, what it brought, caps, circuits, runs."""
    asked = request.GET.get("days", "")
    days = int(asked) if asked in {str(one) for one in DAYS} else 30
    by = "stage" if request.GET.get("by") == "stage" else "provider"
    runs = PipelineRun.objects.filter(pipeline_name=PIPELINE).order_by("-id")
    if after := request.GET.get("after"):
        runs = runs.filter(pk__lt=found(PipelineRun.objects.all(), after).pk)
    listed = list(runs[: RUNS + 1])
    context = {
        "spending": money.spending(by, days),
        "days": days,
        "choices": DAYS,
        "by": by,
        "yields": money.yields(days),
        "uses": money.tenant_uses(request.tenant.settings.get("spend_caps") or {}),
        "circuits": money.circuits(),
        "unknown": len(money.unknown_calls(most=PAGE)),
        "page": PAGE,
        "runs": listed[:RUNS],
        "after": listed[RUNS - 1].pk if len(listed) > RUNS else "",
        "first": not after,
        "may_configure": allows(request.actor, "configure"),
    }
    return render(request, "integrations/money/index.html", context)


# --- unknown calls ----------------------------------------------------------------------------


@require_GET
@door("view")
def unknown(request: TenantRequest, slug: str) -> HttpResponse:
    """Page: calls of which nobody knows what became of them."""
    before = None
    if after := request.GET.get("after"):
        before = found(VendorCall.objects.all(), after).at
    rows = money.unknown_calls(before=before, most=PAGE + 1)
    context = {
        "rows": rows[:PAGE],
        "after": rows[PAGE - 1].call.pk if len(rows) > PAGE else "",
        "first": not after,
        "may_configure": allows(request.actor, "configure"),
    }
    return render(request, "integrations/money/unknown.html", context)


@require_POST
@door("view")
def settle(request: TenantRequest, slug: str, call_id: str) -> HttpResponse:
    """Say what became of a call, from the vendor's invoice."""
    row = found(VendorCall.objects.all(), call_id)
    need(request, "configure")
    was_billed = request.POST.get("billed", "")
    try:
        if was_billed not in ("yes", "no"):
            raise EnrichmentRefused("Say whether the vendor billed it.")
        actions.settle_unknown(
            row.pk,
            was_billed=was_billed == "yes",
            cost_cents=row.reserved_cents if was_billed == "yes" else 0,
            reason=request.POST.get("reason", ""),
            actor_id=request.actor.pk,
        )
    except EnrichmentRefused as refused:
        messages.error(request, str(refused))
    else:
        messages.info(request, "Settled. Its lead goes on.")
    return redirect("messaging:money-unknown", slug)


# --- runs -------------------------------------------------------------------------------------


@require_GET
@door("view")
def run(request: TenantRequest, slug: str, run_id: str) -> HttpResponse:
    """Page: how far a run came, stage by stage, and what it cost."""
    row = found(PipelineRun.objects.filter(pipeline_name=PIPELINE), run_id)
    rows = Enrichment.objects.filter(run=row).select_related("lead").order_by("-id")
    if after := request.GET.get("after"):
        rows = rows.filter(pk__lt=found(Enrichment.objects.all(), after).pk)
    listed = list(rows[: PAGE + 1])
    context = {
        **_progress(request, row),
        "enrichments": listed[:PAGE],
        "after": listed[PAGE - 1].pk if len(listed) > PAGE else "",
        "first": not after,
    }
    return render(request, "integrations/money/run.html", context)


@require_GET
@door("view")
def run_part(request: TenantRequest, slug: str, run_id: str) -> HttpResponse:
    """Fragment: the progress of a run."""
    row = found(PipelineRun.objects.filter(pipeline_name=PIPELINE), run_id)
    return render(request, "integrations/money/_run.html", _progress(request, row))


def _progress(request: TenantRequest, row: PipelineRun) -> dict[str, Any]:
    rows = Enrichment.objects.filter(run=row)
    by_state = dict(rows.order_by().values_list("state").annotate(many=Count("pk")))
    total = sum(by_state.values())
    left = sum(by_state.get(state, 0) for state in OPEN_STATES)
    sums = rows.aggregate(cost=Sum("cost_cents"), saved=Sum("saved_cents"))
    return {
        "run": row,
        "states": [
            (state, words, by_state[state])
            for state, words in Enrichment.STATES.items()
            if state in by_state
        ],
        "total": total,
        "left": left,
        "percent": round(100 * (total - left) / total) if total else 100,
        "cost": sums["cost"] or 0,
        "saved": sums["saved"] or 0,
        "failed": by_state.get("failed", 0),
        "funnel": money.funnel(row.pk),
        "may_start": allows(request.actor, "import"),
    }


@require_POST
@door("view")
def run_act(request: TenantRequest, slug: str, run_id: str) -> HttpResponse:
    """Cancel or resume a run, or try its failed leads again: ``do`` says which."""
    row = found(PipelineRun.objects.filter(pipeline_name=PIPELINE), run_id)
    need(request, "import")
    try:
        match request.POST.get("do", ""):
            case "cancel":
                actions.cancel(row.pk, actor_id=request.actor.pk)
            case "resume":
                actions.resume(row.pk, actor_id=request.actor.pk)
            case "retry":
                actions.retry_failed(row.pk, actor_id=request.actor.pk)
            case _:
                raise EnrichmentRefused("Say what to do with the run.")
    except EnrichmentRefused as refused:
        messages.error(request, str(refused))
    return redirect("messaging:money-run", slug, row.pk)


# --- starting ---------------------------------------------------------------------------------


@require_http_methods(["GET", "POST"])
@door("view")
def start(request: TenantRequest, slug: str) -> HttpResponse:
    """Page: what it would cost to send these leads down the waterfall. ``lead`` may repeat."""
    given = request.POST if request.method == "POST" else request.GET
    return offer(request, _leads(given.getlist("lead")))


def offer(request: TenantRequest, ids: list[str]) -> HttpResponse:
    """Answer with the page that says what these leads of the tenant would cost.

    Raises:
        EditRefused: they are more than its form can name.
    """
    if len(ids) > MOST_IN_FORM:
        raise EditRefused(f"At most {MOST_IN_FORM:,} leads at once: narrow the list.")
    can_go = actions.startable(ids)
    plan = [Step.of(stage) for stage in stages()]
    told = forecast(can_go, plan, stop_at())
    context = {
        "leads": can_go,
        "left_out": len(ids) - len(can_go),
        "forecast": told,
        "most_cents": sum(one.most_cents for one in told),
        "usual_cents": sum(one.usual_cents for one in told),
        "saved_cents": sum(one.saved_cents for one in told),
        "kept": sum(one.kept for one in told),
        "one": Lead.objects.get(pk=can_go[0]) if len(can_go) == 1 else None,
        "may_start": allows(request.actor, "import"),
    }
    return render(request, "integrations/money/start.html", context)


@require_POST
@door("view")
def go(request: TenantRequest, slug: str) -> HttpResponse:
    """Start a run with the leads that the person was shown."""
    need(request, "import")
    ids = _leads(request.POST.getlist("lead"))
    expected = request.POST.get("expected", "")
    try:
        made = actions.start(
            ids,
            actor_id=request.actor.pk,
            expected=int(expected) if expected.isdecimal() and len(expected) < 7 else None,
        )
    except EnrichmentRefused as refused:
        messages.error(request, str(refused))
        return redirect("messaging:money", slug)
    return redirect("messaging:money-run", slug, made.pk)


def _leads(given: Iterable[str]) -> list[str]:
    """Return the leads of this tenant that a form names; what is no id is left out."""
    ids = []
    for text in list(given)[:MOST_IN_FORM]:
        try:
            ids.append(str(Lead._meta.pk.to_python(text)))
        except ValidationError:
            continue
    return list(Lead.objects.filter(pk__in=ids).order_by("id").values_list("pk", flat=True))
