"""One sweep of a vendor's list in the browser: how far it is, what it costs, what it brought."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_GET, require_POST

from integrations import tasks
from integrations.actions_pulls import PullRefused, cancel_sweep, pause_sweep, resume_sweep
from integrations.models import PullPage, PullSweep, VendorSeen
from integrations.pull_failures import RetryRefused, read_page, retry_letter
from integrations.pull_queries import QueryRefused
from leads.models import Lead
from messaging.views.access import door, found
from messaging.views.jsontree import tree_of
from messaging.views.pulls import cents_of
from pipelines.models import DeadLetter
from tenants.http import TenantRequest
from tenants.permissions import allows

#: Pages that are drawn as bars, and listed; letters that are listed.
BARS, PAGES, LETTERS = 60, 50, 20


@require_GET
@door("view")
def sweep(request: TenantRequest, slug: str, sweep: str) -> HttpResponse:
    """Page: one sweep, page by page."""
    row = found(PullSweep.objects.select_related("query", "actor", "run"), sweep)
    return render(request, "integrations/pulls/sweep.html", _context(request, row))


@require_GET
@door("view")
def part(request: TenantRequest, slug: str, sweep: str) -> HttpResponse:
    """Fragment: how far a sweep is; the whole page comes anew when its status changed."""
    row = found(PullSweep.objects.select_related("query", "actor", "run"), sweep)
    answer = render(request, "integrations/pulls/_sweep.html", _context(request, row))
    if request.GET.get("was", row.status) != row.status:
        answer["HX-Refresh"] = "true"
    return answer


def _context(request: TenantRequest, row: PullSweep) -> dict[str, Any]:
    pages = PullPage.objects.filter(sweep=row).defer("ids")
    if before := request.GET.get("before"):
        pages = pages.filter(page_no__lt=_number(before))
    listed = list(pages.order_by("-page_no")[: PAGES + 1])
    newest = PullPage.objects.filter(sweep=row).order_by("-page_no")[:BARS]
    bars = [(one.page_no, one.new_ids, len(one.ids)) for one in reversed(newest)]
    return {
        "sweep": row,
        "pages": listed[:PAGES],
        "before": listed[PAGES - 1].page_no if len(listed) > PAGES else "",
        "first": not before,
        "bars": bars,
        "letters": _letters(row),
        "may_configure": allows(request.actor, "configure"),
        "tab": "queries",
    }


def _number(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > 9:
        raise Http404
    return int(text)


def _letters(row: PullSweep) -> list[DeadLetter]:
    """Return the open letters of a sweep: its run is the thread through them."""
    if row.run is None or not row.run.correlation_id:
        return []
    letters = DeadLetter.objects.filter(
        stage="pull", status="open", correlation_id=row.run.correlation_id
    )
    return list(letters.order_by("-id")[:LETTERS])


@require_POST
@door("configure")
def act(request: TenantRequest, slug: str, sweep: str) -> HttpResponse:
    """Pause, resume or cancel a sweep: ``do`` says which."""
    row = found(PullSweep.objects.all(), sweep)
    who, reason = request.actor.pk, request.POST.get("reason", "")
    try:
        match request.POST.get("do", ""):
            case "pause":
                pause_sweep(row.pk, reason=reason, actor_id=who)
            case "resume":
                cap = cents_of(request.POST.get("cap", ""), "The cap")
                resume_sweep(row.pk, cap_cents=cap, actor_id=who)
                tasks.pull_soon(request.tenant.pk, row.query_id)
            case "cancel":
                cancel_sweep(row.pk, reason=reason, actor_id=who)
    except (PullRefused, QueryRefused) as refused:
        messages.error(request, str(refused))
    return redirect("messaging:pull-sweep", slug, row.pk)


@require_POST
@door("replay")
def retry(request: TenantRequest, slug: str, letter_id: str) -> HttpResponse:
    """Resolve again what became no leads; nothing is paid for it."""
    letter = found(DeadLetter.objects.filter(stage="pull"), letter_id)
    try:
        left = retry_letter(letter.pk, actor_id=request.actor.pk)
    except RetryRefused as refused:
        messages.error(request, str(refused))
    else:
        words = f"{left} records still become no leads." if left else "All of them are leads now."
        (messages.error if left else messages.success)(request, words)
    if letter.ref.startswith("spg_"):
        page = PullPage.objects.filter(pk=letter.ref).first()
        if page is not None:
            return redirect("messaging:pull-sweep", slug, page.sweep_id)
    return redirect("messaging:pulls", slug)


# --- what the vendor said ---------------------------------------------------------------------


@require_GET
@door("view")
def page(request: TenantRequest, slug: str, pull_page: str) -> HttpResponse:
    """Page: the records of one page as the vendor listed them; ``record`` opens one."""
    row = found(PullPage.objects.select_related("sweep__query", "artifact"), pull_page)
    wanted = request.GET.get("record", "")[:120]
    problem, raw = "", None
    try:
        if row.artifact is None:
            raise RetryRefused("The page was not kept.")
        records = read_page(row.artifact, row.sweep.source).records
        raw = next((one.raw for one in records if one.vendor_id == wanted), None)
    except RetryRefused as refused:
        problem = str(refused)
    if wanted and wanted not in row.ids:
        raise Http404
    leads = dict(
        Lead.objects.filter(
            source=row.sweep.source, source_id__in=row.ids, superseded_at=None
        ).values_list("source_id", "id")
    )
    context = {
        "page": row,
        "sweep": row.sweep,
        "records": [(one, leads.get(one)) for one in dict.fromkeys(row.ids)],
        "wanted": wanted,
        "lead": leads.get(wanted),
        "nodes": tree_of(raw) if raw is not None else [],
        "problem": problem,
        "tab": "queries",
    }
    return render(request, "integrations/pulls/page.html", context)


@require_GET
@door("view")
def of_lead(request: TenantRequest, slug: str, lead_id: str) -> HttpResponse:
    """Lead from a lead to the vendor's row it came from."""
    lead = found(Lead.objects.all(), lead_id)
    seen = (
        VendorSeen.objects.filter(source=lead.source, vendor_id=lead.source_id, page__isnull=False)
        .order_by("-id")
        .first()
        if lead.source_id
        else None
    )
    if seen is None:
        raise Http404
    place = reverse("messaging:pull-page", args=[slug, seen.page_id])
    return redirect(f"{place}?{urlencode({'record': seen.vendor_id})}")
