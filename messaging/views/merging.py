"""Leads that may be one, in the browser: the queue, a pair side by side, merges and their end."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import connection
from django.db.models import F, Q, QuerySet
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST
from django_q.tasks import async_task

from leads import duplicates
from leads.duplicates import Thresholds, ThresholdsRefused
from leads.merge_fields import FIELDS, STATE
from leads.merging import MergeRefused, merge, plan, root_of
from leads.models import ContactPoint, Lead, Merge, MergeReview
from leads.reviews import DecisionRefused, decide, waiting
from leads.unmerging import unmerge
from messaging.views.access import door, found
from messaging.views.merge_rows import card, rows_of
from messaging.views.story import story_of
from pipelines.models import PipelineRun
from tenants.http import TenantRequest
from tenants.permissions import allows

PAGE = 50
#: Lines of each lead's timeline beside the other's.
LINES = 5
#: Leads a search shows.
HITS = 20
TABS = {"likely": "Likely", "records": "Records waiting", "unlikely": "Unlikely"}


@require_GET
@door("view")
def index(request: TenantRequest, slug: str) -> HttpResponse:
    """Page: open pairs, the surest first."""
    return render(request, "leads/merging/queue.html", _queue_page(request))


def _queue_page(request: TenantRequest, **more: Any) -> dict[str, Any]:
    wanted = duplicates.read_thresholds(request.tenant.settings)
    tab = request.GET.get("tab", "")
    tab = tab if tab in TABS else "likely"
    rows = _queue(tab, wanted).select_related("left", "right")
    if after := request.GET.get("after", ""):
        rows = rows.filter(_behind(after))
    reviews = list(rows[: PAGE + 1])
    last = reviews[PAGE - 1] if len(reviews) > PAGE else None
    return {
        "reviews": reviews[:PAGE],
        "after": f"{last.score}.{last.pk}" if last else "",
        "first": not after,
        "tab": tab,
        "tabs": TABS,
        "thresholds": wanted,
        "counts": duplicates.counts(wanted.review, wanted.automatic),
        "run": PipelineRun.objects.filter(pipeline_name=duplicates.PIPELINE)
        .order_by("-pk")
        .first(),
        "may_merge": allows(request.actor, "import"),
        "may_configure": allows(request.actor, "configure"),
        "least": duplicates.LEAST,
        **more,
    }


def _queue(tab: str, wanted: Thresholds) -> QuerySet[MergeReview]:
    rows = MergeReview.objects.filter(status="open").order_by("-score", "-pk")
    if tab == "records":
        return rows.filter(incoming__isnull=False)
    if tab == "unlikely":
        return rows.filter(score__lt=wanted.review)
    return rows.filter(score__gte=wanted.review)


def _behind(after: str) -> Q:
    """Return what comes behind the pair at *after*, ``<score>.mrv_…``; nonsense is the start."""
    score, _, pk = after.partition(".")
    if not (score.isascii() and score.isdigit() and len(score) <= 3):
        return Q()
    last = found(MergeReview.objects.all(), pk)
    return Q(score__lt=int(score)) | Q(score=int(score), pk__lt=last.pk)


# --- thresholds and runs ----------------------------------------------------------------------


def _typed(values: Any) -> Thresholds:
    """Read thresholds from a form.

    Raises:
        ThresholdsRefused: one is no number.
    """
    given = {}
    for name in ("review", "automatic"):
        text = values.get(name, "")
        if not (text.isascii() and text.isdigit() and len(text) <= 3):
            raise ThresholdsRefused("Choose whole numbers from 0 to 100.")
        given[name] = int(text)
    return Thresholds(**given, merges=values.get("merges") == "on")


@require_GET
@door("view")
def preview(request: TenantRequest, slug: str) -> HttpResponse:
    """Fragment: how many pairs these thresholds would show, and merge by themselves."""
    try:
        wanted = _typed(request.GET)
    except ThresholdsRefused as refused:
        return render(request, "leads/merging/_preview.html", {"error": str(refused)})
    context = {"counts": duplicates.counts(wanted.review, wanted.automatic), "thresholds": wanted}
    return render(request, "leads/merging/_preview.html", context)


@require_POST
@door("configure")
def set_thresholds(request: TenantRequest, slug: str) -> HttpResponse:
    """Change from which scores pairs are shown, and merged by themselves."""
    try:
        duplicates.set_thresholds(_typed(request.POST), actor_id=request.actor.pk)
    except ThresholdsRefused as refused:
        context = _queue_page(request, error=str(refused))
        return render(request, "leads/merging/queue.html", context, status=422)
    messages.info(request, "Saved.")
    return redirect("messaging:duplicates", slug)


@require_POST
@door("import")
def look(request: TenantRequest, slug: str) -> HttpResponse:
    """Look through the leads, or stop looking: ``do`` is whole, new or stop."""
    do = request.POST.get("do", "")
    if do == "stop":
        running = PipelineRun.objects.filter(pipeline_name=duplicates.PIPELINE, status="running")
        for run in running:
            duplicates.cancel(run.pk)
    else:
        duplicates.begin(whole=do != "new")
        async_task("leads.tasks.look_for_duplicates", request.tenant.pk)
    return redirect("messaging:duplicates", slug)


# --- one pair ---------------------------------------------------------------------------------


@require_GET
@door("view")
def review(request: TenantRequest, slug: str, review_id: str) -> HttpResponse:
    """Page: two leads side by side, and what is known of them."""
    shown = found(MergeReview.objects.select_related("left", "right", "decided_by"), review_id)
    return render(request, "leads/merging/review.html", _review_page(request, shown))


def _review_page(request: TenantRequest, shown: MergeReview, **more: Any) -> dict[str, Any]:
    left, right = (Lead.objects.get(pk=root_of(pk)) for pk in (shown.left_id, shown.right_id))
    return {
        "review": shown,
        "records": list(waiting(shown)),
        "reasons": shown.reasons,
        **_pair(left, right, request),
        **more,
    }


def _pair(left: Lead, right: Lead, request: TenantRequest) -> dict[str, Any]:
    """Return the context of two leads side by side; ``left`` stays unless somebody says else."""
    try:
        rows = rows_of(plan(left.pk, right.pk))
    except MergeRefused:
        rows = []
    return {
        "left": left,
        "right": right,
        "cards": [card(lead, story_of(lead, quick=True).lines[:LINES]) for lead in (left, right)],
        "rows": rows,
        "may_merge": allows(request.actor, "import"),
        "is_one": left.pk == right.pk,
    }


def _choices(request: TenantRequest) -> dict[str, str]:
    named = ((field, request.POST.get(f"field.{field}", "")) for field in (*FIELDS, STATE))
    return {field: lead_id for field, lead_id in named if lead_id}


@require_POST
@door("import")
def decide_review(request: TenantRequest, slug: str, review_id: str) -> HttpResponse:
    """Merge a pair, settle that it is two, close it, or leave it for later; then show the next."""
    shown = found(MergeReview.objects.select_related("left", "right", "decided_by"), review_id)
    do = request.POST.get("do", "")
    if do != "later":
        try:
            made = decide(
                shown.pk,
                do,
                actor_id=request.actor.pk,
                survivor_id=request.POST.get("survivor") or None,
                choices=_choices(request),
                give_to=request.POST.get("give_to") or None,
                reason=request.POST.get("reason", "").strip(),
            )
        except (DecisionRefused, MergeRefused) as refused:
            shown.refresh_from_db()
            context = _review_page(request, shown, error=str(refused))
            return render(request, "leads/merging/review.html", context, status=422)
        _say(request, do, made)
    rest = _queue("likely", duplicates.read_thresholds(request.tenant.settings))
    behind = rest.filter(Q(score__lt=shown.score) | Q(score=shown.score, pk__lt=shown.pk))
    if following := behind.exclude(pk=shown.pk).first():
        return redirect("messaging:review", slug, following.pk)
    return redirect("messaging:duplicates", slug)


def _say(request: TenantRequest, do: str, made: Merge | None) -> None:
    if made is not None:
        name = made.survivor.display_name
        messages.info(request, f"Merged. The page of {name} can take it back.")
    elif do == "not_duplicate":
        messages.info(request, "They stay two, for good.")
    else:
        messages.info(request, "Closed.")


# --- by hand ----------------------------------------------------------------------------------


@require_GET
@door("import")
def by_hand(request: TenantRequest, slug: str) -> HttpResponse:
    """Page: choose two leads by id, number or e-mail address, and see them side by side."""
    left, right = (_named(request.GET.get(name, "")) for name in ("lead", "with"))
    query = request.GET.get("q", "").strip()[:80].replace("\x00", "")
    context: dict[str, Any] = {"query": query, "first": left, "second": right}
    if left and right:
        context |= _pair(left, right, request) | {"reasons": duplicates.evidence(left, right)}
    elif query:
        hits = _search(query).exclude(pk=left.pk if left else None)
        context["hits"] = list(hits.order_by("-pk")[:HITS])
    return render(request, "leads/merging/by_hand.html", context)


def _named(lead_id: str) -> Lead | None:
    return found(Lead.objects.filter(superseded_at=None), lead_id) if lead_id else None


def _search(query: str) -> QuerySet[Lead]:
    living = Lead.objects.filter(superseded_at=None)
    if query.startswith("lead_"):
        return living.filter(pk=found(Lead.objects.all(), query).pk)
    with connection.cursor() as cursor:
        cursor.execute("SELECT normalize_phone(%s), normalize_email(%s)", [query, query])
        values = [value for value in cursor.fetchone() if value]
    points = ContactPoint.objects.filter(normalized__in=values)
    return living.filter(pk__in=points.values("lead_id"))


@require_POST
@door("import")
def merge_by_hand(request: TenantRequest, slug: str) -> HttpResponse:
    """Merge two leads that a person named."""
    left, right = (
        found(Lead.objects.filter(superseded_at=None), request.POST.get(name, ""))
        for name in ("left", "right")
    )
    survivor, merged = (right, left) if request.POST.get("survivor") == right.pk else (left, right)
    try:
        made = merge(
            survivor.pk,
            merged.pk,
            choices=_choices(request),
            actor_id=request.actor.pk,
            reason=request.POST.get("reason", "").strip(),
            evidence={"reasons": duplicates.evidence(left, right)},
        )
    except MergeRefused as refused:
        context = {
            "query": "",
            "first": left,
            "second": right,
            "error": str(refused),
            "reasons": [],
            **_pair(left, right, request),
        }
        return render(request, "leads/merging/by_hand.html", context, status=422)
    _say(request, "merge", made)
    return redirect("messaging:lead", slug, survivor.pk)


@require_GET
@door("view")
def history(request: TenantRequest, slug: str, lead_id: str) -> HttpResponse:
    """Fragment: what became part of a lead, and of what it became part."""
    lead = found(Lead.objects.all(), lead_id)
    merges = list(
        Merge.objects.filter(Q(survivor=lead) | Q(merged=lead))
        .select_related("survivor", "merged", "actor", "undone_by")
        .order_by(F("undone_at").desc(nulls_first=True), "-pk")[:PAGE]
    )
    live = next((one.pk for one in merges if one.undone_at is None), None)
    may_merge = allows(request.actor, "import")
    context = {"lead": lead, "merges": merges, "live": live, "may_merge": may_merge}
    return render(request, "leads/merging/_history.html", context)


@require_POST
@door("view")
def undo(request: TenantRequest, slug: str, merge_id: str) -> HttpResponse:
    """Take a merge back."""
    one = found(Merge.objects.all(), merge_id)
    if not allows(request.actor, "import"):
        raise PermissionDenied("Your role may not merge leads. A tenant admin can grant it.")
    try:
        back = unmerge(one.pk, actor_id=request.actor.pk)
    except MergeRefused as refused:
        messages.error(request, str(refused))
    else:
        messages.info(request, f"They are two leads again. {back.words}".strip())
    return redirect("messaging:lead", slug, one.survivor_id)
