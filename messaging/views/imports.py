"""The import wizard: file, map, check, confirm, result. Views of ``leads.imports.actions``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, BinaryIO, cast

from django.conf import settings
from django.contrib import messages
from django.db.models import Count, Min
from django.http import Http404, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods

from leads.identity import targets
from leads.imports import actions, hooks, presets, rejects
from leads.imports.actions import BadMapping, ImportRefused, UnreadableFile
from leads.imports.columns import Column, detail
from leads.imports.transforms import options_for, preview
from leads.imports.undoing import first_message_sent, kept_rows
from leads.imports.uploads import was_too_large
from leads.models import Import, ImportRow
from messaging.views.access import door, found
from tenants.http import TenantRequest
from tenants.permissions import allows

PAGE = 50
#: Rows of a problem that the check shows, groups of problems, samples of a column.
SHOWN, GROUPS, SAMPLES = 5, 30, 3
STEPS = (("map", "Map"), ("check", "Check"), ("confirm", "Confirm"), ("result", "Result"))
#: State → the step its page is.
STEP_OF = {
    "uploaded": "map", "checking": "check", "checked": "check", "importing": "result",
    "paused": "result", "imported": "result", "undoing": "result", "undone": "result",
    "failed": "result", "discarded": "result", "uploading": "result",
}  # fmt: skip
#: Steps that a state lets people open.
OPEN = {
    "uploaded": {"map"},
    "checking": {"check"},
    "checked": {"map", "check", "confirm"},
}


@require_GET
@door("view")
def index(request: TenantRequest, slug: str) -> HttpResponse:
    """Page: the imports, newest first."""
    rows = Import.objects.exclude(state="discarded").select_related("actor").order_by("-id")
    after = request.GET.get("after", "")
    if after:
        rows = rows.filter(id__lt=found(Import.objects.all(), after).pk)
    imports = list(rows[: PAGE + 1])
    context = {
        "imports": imports[:PAGE],
        "after": imports[PAGE - 1].pk if len(imports) > PAGE else "",
        "first": not after,
        "may_import": allows(request.actor, "import"),
    }
    return render(request, "leads/imports/index.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@door("import")
def new(request: TenantRequest, slug: str) -> HttpResponse:
    """Page: choose a file. Posted, it is stored and looked at; no lead is touched."""
    if request.method != "POST":
        return render(request, "leads/imports/new.html", _new_page())
    given = request.FILES.get("file")
    try:
        if was_too_large(request.META):
            raise ImportRefused(
                f"The file is larger than {settings.UPLOAD_MB} MB. Larger ones go through"
                " “manage.py import_leads”."
            )
        if given is None or given.file is None:
            raise ImportRefused("Choose a file.")
        made = actions.begin(
            cast(BinaryIO, given.file), name=given.name or "", actor_id=request.actor.pk
        )
        if made.options.get("preset"):  # it is known how this is read
            made = actions.check(made.pk, actor_id=request.actor.pk)
    except (ImportRefused, UnreadableFile, BadMapping) as refused:
        page = _new_page(error=str(refused))
        return render(request, "leads/imports/new.html", page, status=422)
    return redirect("messaging:import-step", slug, made.pk, STEP_OF[made.state])


def _new_page(**more: Any) -> dict[str, Any]:
    return {"steps": _steps(None, "file"), "most": settings.UPLOAD_MB, **more}


def _steps(one: Import | None, current: str) -> list[dict[str, Any]]:
    opened = OPEN.get(one.state, {"result"}) if one else set()
    return [
        {"key": key, "label": label, "open": key in opened, "current": key == current}
        for key, label in (("file", "File"), *STEPS)
    ]


@require_GET
@door("view")
def one(request: TenantRequest, slug: str, import_id: str) -> HttpResponse:
    """Redirect to the step an import is at."""
    shown = found(Import.objects.all(), import_id)
    return redirect("messaging:import-step", slug, shown.pk, STEP_OF[shown.state])


@require_http_methods(["GET", "HEAD", "POST"])
@door("import")
def step(request: TenantRequest, slug: str, import_id: str, step: str) -> HttpResponse:
    """Page: one step of an import. One that its state does not allow leads to the right one."""
    shown = found(Import.objects.select_related("actor", "preset", "run"), import_id)
    if step not in PAGES:
        raise Http404
    if step not in OPEN.get(shown.state, {"result"}):
        return redirect("messaging:import-step", slug, shown.pk, STEP_OF[shown.state])
    error, given = "", None
    if request.method == "POST":
        try:
            if step != "map" or request.POST.get("do") == "discard":
                return _acted(request, shown)
            given = _columns_from(request, shown)
            if request.POST.get("do") != "preview":
                return _mapped(request, shown, given)
        except (ImportRefused, BadMapping) as refused:
            error = str(refused)
    context = {
        "import": shown,
        "steps": _steps(shown, step),
        "same": actions.same_file(shown),
        "error": error,
        **PAGES[step](shown, given),
    }
    return render(request, f"leads/imports/{step}.html", context, status=422 if error else 200)


# --- map --------------------------------------------------------------------------------------


def _columns_from(request: TenantRequest, shown: Import) -> list[Column]:
    columns = []
    for place, before in enumerate(actions.columns_of(shown)):
        target = request.POST.get(f"target-{place}", before.target)
        if target == "keep":
            target = detail(before.header)
        how = request.POST.get(f"how-{place}", "")
        if how not in dict(options_for(target)):
            how = ""
        match = before.match if target == before.target else ""
        columns.append(Column(header=before.header, target=target, transform=how, match=match))
    return columns


def _mapped(request: TenantRequest, shown: Import, columns: list[Column]) -> HttpResponse:
    who = request.actor.pk
    actions.set_mapping(
        shown.pk,
        columns=columns,
        source=request.POST.get("source", ""),
        preset_name=request.POST.get("preset", ""),
        actor_id=who,
    )
    actions.check(shown.pk, actor_id=who)
    return redirect("messaging:import-step", request.tenant.slug, shown.pk, "check")


def _map_page(shown: Import, given: list[Column] | None) -> dict[str, Any]:
    columns = given or actions.columns_of(shown)
    samples = shown.samples[:SAMPLES]
    read = preview(columns, samples)
    rows = []
    for place, column in enumerate(columns):
        values = [row[place] for row in samples if place < len(row) and row[place].strip()]
        told = [row.get(column.target, ("", "")) for row in read]
        rows.append(
            {
                "column": column,
                "place": place,
                "samples": values,
                "read": [value for value, _ in told if value],
                "problems": [problem for _, problem in told if problem],
                "ways": options_for(column.target),
                "keep": detail(column.header),
            }
        )
    name = shown.options.get("preset", "")
    return {"rows": rows, "choices": targets.choices(), "preset_name": name}


# --- check and confirm ------------------------------------------------------------------------


def _check_page(shown: Import, given: object) -> dict[str, Any]:
    groups = (
        ImportRow.objects.filter(imported=shown, outcome="error")
        .values("problem")
        .annotate(count=Count("id"), first=Min("row_no"))
        .order_by("-count", "problem")[:GROUPS]
    )
    problems = [{**group, "fixable": _fixable(shown, group["problem"])} for group in groups]
    for group in problems:
        rows = ImportRow.objects.filter(
            imported=shown, outcome="error", problem=group["problem"]
        ).order_by("row_no")
        group["rows"] = list(rows[:SHOWN])
    others = [
        {"outcome": label, "rows": list(_first(shown, key)), "count": count}
        for key, label, count in (
            ("duplicate", "Duplicates in the file", shown.duplicates),
            ("blocked", "Opted out already: kept, and blocked", shown.blocked),
            ("review", "May be one of several leads: a person decides", shown.reviews),
        )
        if count
    ]
    return {
        "problems": problems,
        "others": others,
        "writes": actions.writes(shown),
        "fixes": [one.label for name in actions.fixes_of(shown) if (one := targets.find(name))],
        "open_warnings": actions.warnings_open(shown),
    }


def _first(shown: Import, outcome: str) -> Any:
    return ImportRow.objects.filter(imported=shown, outcome=outcome).order_by("row_no")[:SHOWN]


def _fixable(shown: Import, problem: str) -> bool:
    return bool(actions.targets_of_problem(problem, actions.columns_of(shown)))


def _confirm_page(shown: Import, given: object) -> dict[str, Any]:
    return {
        "writes": actions.writes(shown),
        "skips": shown.total - actions.writes(shown),
        "open_warnings": actions.warnings_open(shown),
        "estimate": hooks.estimate_for(shown),
    }


def _result_page(shown: Import, given: object) -> dict[str, Any]:
    ended = shown.state in ("imported", "undone", "paused", "failed")
    return {
        "kept": kept_rows(shown) if shown.kept else [],
        "problems": list(_first(shown, "error")) if ended else [],
        "texted": ended and shown.confirmed_at is not None and first_message_sent(shown),
    }


PAGES: dict[str, Callable[[Import, Any], dict[str, Any]]] = {
    "map": _map_page,
    "check": _check_page,
    "confirm": _confirm_page,
    "result": _result_page,
}


def _acted(request: TenantRequest, shown: Import) -> HttpResponse:
    """Do what a button of the check, confirm or result page says.

    Raises:
        ImportRefused: it cannot be done now.
    """
    values, slug, do = request.POST, request.tenant.slug, request.POST.get("do", "")
    more: dict[str, dict[str, Any]] = {
        "check": {},
        "drop": {"problems": [values.get("problem", "")]},
        "accept": {},
        "confirm": {"label": values.get("label", ""), "enrich": values.get("enrich") == "on"},
        "cancel": {},
        "resume": {},
        "undo": {"reason": values.get("reason", "")},
        "discard": {},
    }
    if do not in more:
        raise ImportRefused("Choose what to do.")
    ACTS[do](shown.pk, actor_id=request.actor.pk, **more[do])
    if do == "accept":
        return redirect("messaging:import-step", slug, shown.pk, "confirm")
    if do == "discard":
        messages.info(request, "The file is gone. No lead was touched.")
        return redirect("messaging:imports", slug)
    return redirect("messaging:import", slug, shown.pk)


ACTS: dict[str, Callable[..., Import]] = {
    "check": actions.check,
    "drop": actions.drop_values,
    "accept": actions.accept_warnings,
    "confirm": actions.confirm,
    "cancel": actions.cancel,
    "resume": actions.resume,
    "undo": actions.undo,
    "discard": actions.discard,
}


@require_GET
@door("view")
def progress(request: TenantRequest, slug: str, import_id: str) -> HttpResponse:
    """Fragment: how far an import has come; when its step is over the page is loaded again."""
    shown = found(Import.objects.all(), import_id)
    answer = render(request, "leads/imports/_progress.html", {"import": shown})
    if shown.state not in actions.ACTIVE:
        answer["HX-Refresh"] = "true"
    return answer


# --- files ------------------------------------------------------------------------------------


@require_GET
@door("import")
def reject_file(request: TenantRequest, slug: str, import_id: str) -> Any:
    """File: the rows that were not taken, as they were, with why; mended, it can be imported."""
    shown = found(Import.objects.all(), import_id)
    outcome = request.GET.get("outcome", "error")
    if outcome not in ("error", "duplicate", "review"):
        outcome = "error"
    pieces = rejects.reject_file(shown, tenant_id=request.tenant.pk, outcome=outcome)
    return _download(StreamingHttpResponse(pieces, content_type=CSV), f"rejects-{shown.pk}.csv")


@require_GET
@door("view")
def template(request: TenantRequest, slug: str) -> Any:
    """File: an empty table with the columns that need no mapping."""
    header = ",".join(presets.BUILTIN["Plain"]) + "\r\n"
    return _download(HttpResponse(header, content_type=CSV), "leads-template.csv")


CSV = "text/csv; charset=utf-8"


def _download(answer: Any, name: str) -> Any:
    answer["Content-Disposition"] = f'attachment; filename="{name}"'
    return answer
