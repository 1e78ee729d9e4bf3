"""What a custom webhook means: its mapping, edited beside a preview that stores nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from integrations.actions_mappings import (
    MappingMoved,
    MappingRefused,
    check_rows,
    config_for,
    rows_of,
    save_mappings,
    save_reading,
    settings_of,
    version_of,
)
from integrations.events import Event
from integrations.mapping import Problem, Row, quoted
from integrations.models import Integration, WebhookEvent
from integrations.modules import MODULES, Module, Target
from integrations.providers.custom import Custom, Explained
from integrations.tolerant import Parsed
from integrations.transforms import TRANSFORMS
from messaging.views.access import door, found
from messaging.views.integrations import recent_events
from tenants.http import TenantRequest

MAX_PASTED = Custom.max_body
#: Rows for names of events that the form offers beside those that are there.
SPARE = 3
MOVED = "Somebody else saved meanwhile. Look at what they did, then save again."
#: Characters of a payload that are drawn back.
MAX_DRAWN = 20_000


@dataclass(frozen=True, kw_only=True)
class Line:
    """One target in the editor: its row, and what is wrong with it."""

    target: Target
    row: Row
    error: str = ""


@dataclass(frozen=True, kw_only=True)
class Shown:
    """One target in the preview: what it got, or why it got nothing."""

    target: str
    value: str
    at: str
    problem: Problem | None = None


@require_GET
@door("configure")
def editor(request: TenantRequest, slug: str, integration: str) -> HttpResponse:
    """Page: the mapping of one kind of event, ``?module=``, with an empty preview."""
    row, module = custom_or_404(integration), module_or_404(request.GET)
    return _page(request, row, module, rows_of(row, module.name))


@require_POST
@door("configure")
def save(request: TenantRequest, slug: str, integration: str) -> HttpResponse:
    """Store the mapping of one kind of event, all of it."""
    row, module = custom_or_404(integration), module_or_404(request.POST)
    rows = read_rows(request.POST, module)
    try:
        save_mappings(
            row.pk,
            module=module.name,
            rows=rows,
            base=_base(request.POST),
            actor_id=request.actor.pk,
        )
    except MappingRefused as refused:
        return _page(request, row, module, rows, errors=refused.problems, status=422)
    except MappingMoved:
        return _page(request, row, module, rows, moved=MOVED, status=409)
    messages.info(request, f"Saved: {module.label.lower()}.")
    page = reverse("messaging:mapping", args=[slug, row.pk])
    return redirect(f"{page}?module={module.name}")


@require_POST
@door("configure")
def save_names(request: TenantRequest, slug: str, integration: str) -> HttpResponse:
    """Store how the sender's events are told apart."""
    row, module = custom_or_404(integration), module_or_404(request.POST)
    typed = read_reading(request.POST)
    try:
        save_reading(row.pk, **typed, base=_base(request.POST), actor_id=request.actor.pk)
    except MappingRefused as refused:
        rows, problems = rows_of(row, module.name), refused.problems
        return _page(request, row, module, rows, typed=typed, name_errors=problems, status=422)
    except MappingMoved:
        rows = rows_of(row, module.name)
        return _page(request, row, module, rows, typed=typed, moved=MOVED, status=409)
    messages.info(request, "Saved.")
    page = reverse("messaging:mapping", args=[slug, row.pk])
    return redirect(f"{page}?module={module.name}")


@require_POST
@door("configure")
def preview(
    request: TenantRequest, slug: str, integration: str, part: bool = False
) -> HttpResponse:
    """Read a payload with the rows as typed. Fragment or page; nothing is stored."""
    row, module = custom_or_404(integration), module_or_404(request.POST)
    rows = read_rows(request.POST, module)
    context = preview_of(row, module, rows, request.POST)
    if part:
        return render(request, "integrations/_preview_part.html", context)
    errors = check_rows(module.name, rows)
    return _page(request, row, module, rows, errors=errors, **context)


# --- reading what was typed ---------------------------------------------------------------------


def custom_or_404(integration: str) -> Integration:
    """Return an integration whose webhooks are read by a mapping."""
    return found(Integration.objects.filter(provider=Custom.name), integration)


def module_or_404(form: QueryDict) -> Module:
    """Return the kind of event a form is about; the first one when it does not say."""
    name = form.get("module", next(iter(MODULES)))
    if name not in MODULES:
        raise Http404
    return MODULES[name]


def read_rows(form: QueryDict, module: Module) -> list[Row]:
    """Return the rows as typed; a target with neither path nor default has none."""
    rows = [
        Row(
            target=target.name,
            source=form.get(f"source-{target.name}", "").strip(),
            transform=form.get(f"transform-{target.name}", ""),
            default=form.get(f"default-{target.name}", "").strip(),
            required=f"required-{target.name}" in form,
        )
        for target in module.targets
    ]
    return [row for row in rows if row.source or row.default]


def read_reading(form: QueryDict) -> dict[str, Any]:
    """Return how events are told apart, as typed; a name without a kind is dropped."""
    names, kinds = form.getlist("name"), form.getlist("kind")
    return {
        "event_path": form.get("event_path", ""),
        "id_path": form.get("id_path", ""),
        "default_event": form.get("default_event", ""),
        "events": {
            name.strip(): kind
            for name, kind in zip(names, kinds, strict=False)
            if name.strip() and kind
        },
    }


def _base(form: QueryDict) -> int:
    text = form.get("base", "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else -1


# --- the preview --------------------------------------------------------------------------------


def preview_of(
    row: Integration, module: Module, rows: Sequence[Row], form: QueryDict
) -> dict[str, Any]:
    """Return what the preview shows of the payload that *form* pastes or chooses."""
    pasted, chosen = form.get("payload", ""), form.get("stored", "")
    context: dict[str, Any] = {"pasted": pasted, "chosen": chosen}
    config = config_for(row)
    others = [one for one in config["mappings"] if one["module"] != module.name]
    mappings = [*others, *({**vars(one), "module": module.name} for one in rows)]
    provider = Custom({**config, "mappings": mappings})
    body = pasted.encode("utf-8", "replace")
    if chosen:
        event = found(WebhookEvent.objects.filter(integration=row.pk), chosen)
        body = bytes(event.body)
        context["drawn"] = body.decode("utf-8", "replace")[:MAX_DRAWN]
    if not body.strip():
        return context
    if len(body) > MAX_PASTED:
        return context | {"unreadable": f"More than {MAX_PASTED // 1024} kB."}
    parsed: Parsed = provider.read(body)
    if parsed.payload is None:
        return context | {"unreadable": f"This is {parsed.reason}."}
    explained = provider.explain(parsed.payload, module.name)
    return context | {
        "explained": explained,
        "shown": shown_of(module, explained),
        "missing": [p for p in explained.mapped.problems if p.row is None],
        "facts": [fact for event in explained.events for fact in facts_of(event)],
        "kind": type(explained.events[0]).__name__ if explained.events else "",
        "meaning": meaning_of(provider, parsed.payload, module),
    }


def shown_of(module: Module, explained: Explained) -> list[Shown]:
    """Return a line for every row: its value and where it stood, or its problem."""
    mapped = explained.mapped
    problems = {problem.target: problem for problem in mapped.problems if problem.row is not None}
    shown = []
    for row in explained.rows:
        target = module.target(row.target)
        at = mapped.found_at.get(row.target)
        shown.append(
            Shown(
                target=target.label if target else row.target,
                value=words_of(mapped.values.get(row.target)),
                at="its default" if at == "" else at or "",
                problem=problems.get(row.target),
            )
        )
    return shown


def meaning_of(provider: Custom, payload: Mapping[str, Any], module: Module) -> str:
    """Say what would become of this payload if it arrived with the settings as saved."""
    name, meant = provider.event_type(payload), provider.module_of(payload)
    called = f"“{name}”" if name else "no name"
    if meant == module.name:
        return f"This event has {called}: it is read by this mapping."
    if meant:
        return f"This event has {called}: it would be read as “{MODULES[meant].label.lower()}”."
    return f"This event has {called}: it would be stored as unmapped. Say below what it means."


def facts_of(event: Event) -> list[tuple[str, str]]:
    """Return the fields of an event that say something, as words."""
    facts = []
    for field in dataclasses.fields(event):
        value = getattr(event, field.name)
        if value not in (None, "", (), {}):
            facts.append((field.name.replace("_", " "), words_of(value)))
    return facts


def words_of(value: Any) -> str:
    """Say a mapped value: its beginning, if it is long."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S} UTC"
    if isinstance(value, list | tuple):
        return ", ".join(quoted(item) for item in value[:20]) or "an empty list"
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {words_of(item)}" for name, item in value.items())
    return quoted(value) or "empty"


# --- the page -----------------------------------------------------------------------------------


def _page(
    request: TenantRequest,
    row: Integration,
    module: Module,
    rows: Sequence[Row],
    *,
    errors: Mapping[str, str] | None = None,
    typed: Mapping[str, Any] | None = None,
    status: int = 200,
    **more: Any,
) -> HttpResponse:
    by_target = {one.target: one for one in rows}
    reading = dict(typed) if typed else reading_of(row)
    names = [*reading["events"].items(), *[("", "")] * SPARE]
    context = {
        "integration": row,
        "module": module,
        "modules": MODULES.values(),
        "lines": [
            Line(
                target=target,
                row=by_target.get(target.name, Row(target=target.name)),
                error=(errors or {}).get(target.name, ""),
            )
            for target in module.targets
        ],
        "transforms": TRANSFORMS,
        "reading": reading,
        "names": names,
        "base": version_of(Integration.objects.only("settings").get(pk=row.pk)),
        "recent": recent_events(request.tenant.pk, row.pk),
        **more,
    }
    return render(request, "integrations/mapping.html", context, status=status)


def reading_of(row: Integration) -> dict[str, Any]:
    """Return the stored settings of how events are told apart, whatever somebody made of them."""
    stored = settings_of(row)
    events = stored.get("events")
    texts = {
        name: value if isinstance(value := stored.get(name), str) else ""
        for name in ("event_path", "id_path", "default_event")
    }
    kept = events.items() if isinstance(events, dict) else ()
    return {**texts, "events": {str(name): str(kind) for name, kind in kept}}
