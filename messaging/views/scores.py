"""Scores: how leads are spread, what is known of them, and the rule with what a change would do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST

from leads import scoring
from leads.models import LeadScore, ScoreRule
from leads.score_figures import PART_NAMES, figures
from leads.scoring import Draft, Move, RuleRefused
from messaging.views.access import door
from messaging.views.numbers import need
from pipelines.models import PipelineRun
from tenants.http import TenantRequest
from tenants.permissions import allows

VERSIONS = 20
#: Box of the chart: ten columns, twelve apart.
WIDTH, HEIGHT, COLUMN = 120, 60, 12
LABELS = {
    **PART_NAMES,
    "age_min": "Age from",
    "value_min": "Value from, dollars",
    "equity_above": "Equity above, dollars",
    "contactable_from": "Contactable from",
    "enriched_from": "Enriched from",
}
BANDS = {"": "Not scored", **LeadScore.BANDS}


@dataclass(frozen=True, kw_only=True)
class Field:
    """One number of the rule in the form."""

    name: str
    label: str
    value: str
    hint: str = ""


def read_draft(values: Mapping[str, Any]) -> Draft:
    """Read a rule from a form.

    Raises:
        RuleRefused: something is no whole number, or the rule makes no sense.
    """
    numbers: dict[str, int] = {}
    for name, label in LABELS.items():
        text = str(values.get(name, "")).strip().replace(",", "")
        digits = text.removeprefix("-")
        if not (digits.isascii() and digits.isdecimal() and len(digits) <= 10):
            raise RuleRefused(f"“{label}” needs a whole number.")
        numbers[name] = int(text)
    return Draft(**numbers)


@require_GET
@door("view")
def index(request: TenantRequest, slug: str) -> HttpResponse:
    """Page: how scores are spread, the rule, its versions; with a rule to try where one is asked."""  # noqa: E501
    rule = scoring.rule_in_force()
    given = request.GET if "email" in request.GET else asdict(Draft.of(rule))
    found = figures()
    context = {
        "figures": found,
        "bands": [(label, found.bands[band], band) for band, label in LeadScore.BANDS.items()],
        "columns": columns(found.bars, found.most),
        "rule": rule,
        "fields": [
            Field(name=name, label=label, value=str(given.get(name, ""))[:12])
            for name, label in LABELS.items()
        ],
        "versions": ScoreRule.objects.select_related("actor").order_by("-version")[:VERSIONS],
        "run": newest_run(),
        "may_configure": allows(request.actor, "configure"),
        **(tried(request) if "email" in request.GET else {}),
    }
    return render(request, "leads/scores/index.html", context)


def columns(bars: list[Any], most: int) -> list[dict[str, Any]]:
    """Place the columns of the chart; the highest touches the top."""
    placed = []
    for place, bar in enumerate(bars):
        height = round((HEIGHT - 2) * bar.leads / most, 1) if most else 0
        band = max(bar.bands, key=lambda one: bar.bands[one], default="low")
        placed.append(
            {
                "x": place * COLUMN + 1,
                "middle": place * COLUMN + 6,
                "y": HEIGHT - height,
                "above": HEIGHT - height - 1.5,
                "height": height,
                "band": band,
                "leads": bar.leads,
                "range": f"{bar.first}\N{EN DASH}{bar.last}",
            }
        )
    return placed


@require_GET
@door("view")
def preview(request: TenantRequest, slug: str) -> HttpResponse:
    """Fragment: how many leads the rule in the form would move."""
    return render(request, "leads/scores/_preview.html", tried(request))


def tried(request: TenantRequest) -> dict[str, Any]:
    """What a rule of the query would do, or why it cannot be tried."""
    try:
        draft = read_draft(request.GET)
    except RuleRefused as refused:
        return {"problem": str(refused), "tried": True}
    moves = scoring.preview_rule(draft)
    after = dict.fromkeys(LeadScore.BANDS, 0)
    for move in moves:
        after[move.becomes] += move.leads
    return {
        "tried": True,
        "moves": [(BANDS[m.was], BANDS[m.becomes], m.leads) for m in moves if m.was != m.becomes],
        "moved": moved(moves),
        "after": [(LeadScore.BANDS[band], leads) for band, leads in after.items()],
    }


def moved(moves: list[Move]) -> int:
    return sum(move.leads for move in moves if move.was != move.becomes)


@require_POST
@door("view")
def save(request: TenantRequest, slug: str) -> HttpResponse:
    """Put the rule in force; all leads are scored by it in the background."""
    need(request, "configure")
    based_on = request.POST.get("based_on", "")
    try:
        if not (based_on.isascii() and based_on.isdecimal() and len(based_on) < 9):
            raise RuleRefused("The form is too old. Load the page and try again.")
        draft = read_draft(request.POST)
        reason = request.POST.get("reason", "").replace("\0", "")
        made = scoring.save_rule(
            draft, reason=reason, based_on=int(based_on), actor_id=request.actor.pk
        )
    except RuleRefused as refused:
        messages.error(request, f"{refused} Nothing was saved.")
    else:
        messages.info(request, f"Version {made.version} is in force. All leads are scored by it.")
    return redirect("messaging:scores", slug)


@require_POST
@door("view")
def rescore(request: TenantRequest, slug: str) -> HttpResponse:
    """Begin to score all leads anew, or stop it."""
    need(request, "configure")
    if request.POST.get("do") == "stop":
        stopped = scoring.stop_rescore(actor_id=request.actor.pk)
        messages.info(request, "Stopped." if stopped else "It had ended already.")
    else:
        scoring.begin_rescore(trigger="person")
        messages.info(request, "All leads are being scored anew.")
    return redirect("messaging:scores", slug)


@require_GET
@door("view")
def progress(request: TenantRequest, slug: str) -> HttpResponse:
    """Fragment: how far the scoring of all leads has come."""
    return render(
        request,
        "leads/scores/_progress.html",
        {"run": newest_run(), "may_configure": allows(request.actor, "configure")},
    )


def newest_run() -> PipelineRun | None:
    """Return the newest scoring of all leads."""
    return PipelineRun.objects.filter(pipeline_name=scoring.PIPELINE).order_by("-id").first()
