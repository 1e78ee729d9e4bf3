"""Pages of the waterfall: its stages in order, and one of them with a what-if before saving."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from django.contrib import messages
from django.http import HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from integrations import actions_waterfall as actions
from integrations.actions_waterfall import LINES, WaterfallRefused
from integrations.models import Integration, WaterfallStage
from integrations.providers import providers
from integrations.providers.data import services_of
from integrations.waterfall_plan import WORDS, Step, points_of, stages, stop_at, what_if
from leads.models.score import BANDS
from messaging.views.access import door, found
from messaging.views.money import need
from tenants.http import TenantRequest
from tenants.permissions import allows

#: Longest number that a field may hold.
DIGITS = 9


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Something a stage can buy: an account and one of its vendor's services."""

    value: str  # intg_…:service
    label: str


@require_GET
@door("view")
def index(request: TenantRequest, slug: str) -> HttpResponse:
    """Page: the stages in order, the bar, and the caps of the whole tenant."""
    rows = WaterfallStage.objects.select_related("integration").order_by("position", "id")
    caps = request.tenant.settings.get("spend_caps") or {}
    context = {
        "stages": list(rows),
        "bar": stop_at(),
        "caps": [
            (name, label, _as_dollars(caps.get(name)))
            for name, label in (("day_cents", "A day"), ("month_cents", "A month"))
        ],
        "may_configure": allows(request.actor, "configure"),
    }
    return render(request, "integrations/money/stages.html", context)


@require_POST
@door("view")
def act(request: TenantRequest, slug: str) -> HttpResponse:
    """Seed the usual stages, move one up, set the bar or the caps: ``do`` says which."""
    need(request, "configure")
    given, who = request.POST, request.actor.pk
    try:
        match given.get("do", ""):
            case "seed":
                made = actions.seed_stages(actor_id=who)
                messages.info(request, f"{len(made)} stage{'s' if len(made) != 1 else ''} added.")
            case "up":
                stage = found(WaterfallStage.objects.all(), given.get("stage", ""))
                actions.order_stages(_moved_up(stage.pk), actor_id=who)
            case "bar":
                actions.set_bar(_number(given.get("bar", "")), actor_id=who)
            case "caps":
                caps = {name: _cents(given.get(name, "")) for name in ("day_cents", "month_cents")}
                actions.set_tenant_caps(caps=caps, actor_id=who)
            case _:
                raise WaterfallRefused("Say what to do.")
    except WaterfallRefused as refused:
        messages.error(request, str(refused))
    return redirect("messaging:money-stages", slug)


def _moved_up(stage_id: str) -> list[str]:
    ids = list(WaterfallStage.objects.order_by("position", "id").values_list("pk", flat=True))
    place = ids.index(stage_id)
    if place:
        ids[place - 1], ids[place] = ids[place], ids[place - 1]
    return ids


@require_http_methods(["GET", "POST"])
@door("view")
def add(request: TenantRequest, slug: str) -> HttpResponse:
    """Page: a new stage."""
    need(request, "configure")
    return _editor(request, slug, None)


@require_http_methods(["GET", "POST"])
@door("view")
def stage(request: TenantRequest, slug: str, stage_id: str) -> HttpResponse:
    """Page: one stage, to look at and to change."""
    rows = WaterfallStage.objects.select_related("integration")
    return _editor(request, slug, found(rows, stage_id))


def _editor(request: TenantRequest, slug: str, row: WaterfallStage | None) -> HttpResponse:
    context: dict[str, Any] = {}
    if request.method == "POST":
        need(request, "configure")
        try:
            values = _values(request.POST)
            saved = actions.save_stage(
                row.pk if row else None, values=values, actor_id=request.actor.pk
            )
        except WaterfallRefused as refused:
            context = {"error": str(refused)}
        else:
            messages.info(request, f"{saved.name} is saved.")
            return redirect("messaging:money-stage", slug, saved.pk)
    shown = _shown(request.POST) if context else _stored(row)
    context |= {
        "row": row,
        "form": shown,
        "choices": _choices(),
        "words": WORDS,
        "bands": BANDS,
        "lines": LINES,
        "may_configure": allows(request.actor, "configure"),
    }
    status = 422 if "error" in context else 200
    return render(request, "integrations/money/stage.html", context, status=status)


@require_POST
@door("view")
def preview(request: TenantRequest, slug: str, stage_id: str) -> HttpResponse:
    """Fragment: what the newest enrichments had done with the stage as it is typed now."""
    row = found(WaterfallStage.objects.select_related("integration"), stage_id)
    try:
        values = _values(request.POST)
        gate = actions.checked_gate(values["gate"])
    except WaterfallRefused as refused:
        return render(request, "integrations/money/_what_if.html", {"error": str(refused)})
    saved = [Step.of(one) for one in stages()]
    draft = replace(Step.of(row), gate=gate, price_cents=values["price_cents"])
    changed = [draft if step.stage_id == row.pk else step for step in saved]
    if values["enabled"] and draft not in changed:
        changed.append(draft)
    if not values["enabled"]:
        changed = [step for step in changed if step.stage_id != row.pk]
    bar = stop_at()
    many, before = what_if(saved, bar)
    _, after = what_if(changed, bar)
    context = {
        "many": many,
        "rows": [
            (one, next((old for old in before if old.step.stage_id == one.step.stage_id), None))
            for one in after
        ],
        "before_cents": sum(one.cents for one in before),
        "after_cents": sum(one.cents for one in after),
        "certain_cents": sum(one.certain_cents for one in after),
    }
    return render(request, "integrations/money/_what_if.html", context)


# --- forms ------------------------------------------------------------------------------------


def _choices() -> list[Choice]:
    accounts = Integration.objects.filter(enabled=True).order_by("name")
    return [
        Choice(value=f"{account.pk}:{key}", label=f"{account.name}: {service.label}")
        for account in accounts
        if account.provider in providers
        for key, service in services_of(providers[account.provider]).items()
    ]


def _values(given: QueryDict) -> dict[str, Any]:
    """Read the form of a stage.

    Raises:
        WaterfallRefused: a field holds something odd.
    """
    integration_id, _, service = given.get("buys", "").partition(":")
    account = Integration.objects.filter(pk__in=_known_ids(integration_id)).first()
    if account is None:
        raise WaterfallRefused("Choose what the stage buys.")
    gate: dict[str, Any] = {
        name: given.getlist(name) for name in ("without", "with", "bands") if given.getlist(name)
    }
    for name in ("score_below", "most"):
        if (number := _number(given.get(name, ""))) is not None:
            gate[name] = number
    if given.get("always"):
        gate["always"] = True
    price = _cents(given.get("price", ""))
    if price is None:
        raise WaterfallRefused("Say what a call costs at most.")
    return {
        "integration_id": account.pk,
        "service": service[:40],
        "name": given.get("name", "").replace("\x00", ""),
        "gate": gate,
        "wanted_lines": given.getlist("wanted_lines"),
        "price_cents": price,
        "daily_call_cap": _number(given.get("daily_call_cap", "")),
        "daily_cents_cap": _cents(given.get("daily_cents_cap", "")),
        "monthly_cents_cap": _cents(given.get("monthly_cents_cap", "")),
        "cool_down_days": _number(given.get("cool_down_days", "")) or 0,
        "fresh_days": _number(given.get("fresh_days", "")) or 0,
        "enabled": bool(given.get("enabled")),
    }


def _known_ids(text: str) -> list[str]:
    return [one for one in Integration.objects.values_list("pk", flat=True) if one == text]


def _number(text: str) -> int | None:
    text = text.strip()
    if not text:
        return None
    if not (text.isascii() and text.isdecimal()) or len(text) > DIGITS:
        raise WaterfallRefused("Numbers are whole, such as 250.")
    return int(text)


def _cents(text: str) -> int | None:
    """Read dollars, such as 0.15 or 1,000."""
    text = text.strip().lstrip("$").replace(",", "")
    if not text:
        return None
    whole, dot, rest = text.partition(".")
    digits = whole + rest
    if not (digits.isascii() and digits.isdecimal()) or len(digits) > DIGITS or len(rest) > 2:
        raise WaterfallRefused("Amounts are dollars and cents, such as 0.15.")
    return int(whole or "0") * 100 + int(rest.ljust(2, "0") if dot else "0")


def _as_dollars(cents: int | None) -> str:
    return "" if cents is None else f"{cents / 100:.2f}"


def _stored(row: WaterfallStage | None) -> dict[str, Any]:
    """Return what the form shows of a stage."""
    row = row or WaterfallStage(price_cents=5, gate={})
    return {
        "name": row.name,
        "buys": f"{row.integration_id}:{row.service}",
        "without": row.gate.get("without", []),
        "with": row.gate.get("with", []),
        "bands": row.gate.get("bands", []),
        "score_below": row.gate.get("score_below", ""),
        "most": points_of(row.gate),
        "always": row.gate.get("always", False),
        "wanted_lines": row.wanted_lines,
        "price": _as_dollars(row.price_cents),
        "daily_call_cap": "" if row.daily_call_cap is None else row.daily_call_cap,
        "daily_cents_cap": _as_dollars(row.daily_cents_cap),
        "monthly_cents_cap": _as_dollars(row.monthly_cents_cap),
        "cool_down_days": row.cool_down_days,
        "fresh_days": row.fresh_days,
        "enabled": row.enabled,
    }


def _shown(given: QueryDict) -> dict[str, Any]:
    """Return the form as it was typed."""
    lists = {name: given.getlist(name) for name in ("without", "with", "bands", "wanted_lines")}
    return {**given.dict(), **lists}
