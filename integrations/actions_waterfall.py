"""How people set the waterfall up: its stages, their order, the bar, and what all may spend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models.functions import Now

from integrations.models import Integration, WaterfallStage
from integrations.providers import providers
from integrations.providers.data import services_of
from integrations.waterfall_calls import ABLE
from integrations.waterfall_plan import WORDS
from leads.models.score import BANDS
from tenants.actions import note
from tenants.context import current_tenant_id
from tenants.models import Tenant

LINES = ("mobile", "landline", "voip")
#: Most cents of a call; cents, or calls, of a cap; days.
MAX_CENTS, MAX_CAP, MAX_DAYS = 1_000_000, 2_000_000_000, 3_650


class WaterfallRefused(Exception):
    """It makes no sense as asked, in words for the person who asked; nothing was written."""


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A stage of the plan that tenants start with."""

    name: str
    provider: str
    service: str
    kind: str
    gate: Mapping[str, Any]
    wanted_lines: tuple[str, ...] = ()
    daily_call_cap: int | None = None
    enabled: bool = True


#: Who is asked first, and when the dearer ones are. A lead at the bar is asked about no more.
PRESETS = (
    Preset(
        name="Melissa Personator",
        provider="melissa",
        service="personator",
        kind="enrich",
        gate={},
        wanted_lines=("mobile",),
    ),
    Preset(
        name="BatchData skip trace",
        provider="batchdata",
        service="skip_trace",
        kind="enrich",
        gate={"without": ["mobile", "email"]},
        wanted_lines=("mobile",),
        daily_call_cap=1000,
    ),
    Preset(
        name="Apollo",
        provider="apollo",
        service="match_phone",
        kind="enrich",
        gate={"without": ["mobile"]},
        wanted_lines=("mobile",),
        enabled=False,
    ),
    Preset(
        name="Verify e-mail",
        provider="instantly",
        service="email_verification",
        kind="verify_email",
        gate={"with": ["email"], "most": 3},
    ),
    Preset(
        name="Look up phone",
        provider="twilio",
        service="lookup",
        kind="verify_phone",
        gate={"with": ["phone"], "most": 3},
    ),
)


@transaction.atomic
def seed_stages(*, actor_id: str | None) -> list[WaterfallStage]:
    """Add the usual stages that the tenant has accounts for and no stage of yet; return them."""
    there = set(WaterfallStage.objects.values_list("integration__provider", "service"))
    names = set(WaterfallStage.objects.values_list("name", flat=True))
    position = _last_position()
    added = []
    for preset in PRESETS:
        account = (
            Integration.objects.filter(provider=preset.provider, enabled=True)
            .order_by("id")
            .first()
        )
        service = services_of(providers[preset.provider]).get(preset.service)
        if account is None or service is None or preset.name in names:
            continue
        if (preset.provider, preset.service) in there:
            continue
        position += 1
        added.append(
            WaterfallStage.objects.create(
                integration=account,
                name=preset.name,
                kind=preset.kind,
                service=preset.service,
                position=position,
                gate=dict(preset.gate),
                wanted_lines=list(preset.wanted_lines),
                price_cents=service.price_cents,
                daily_call_cap=preset.daily_call_cap,
                enabled=preset.enabled,
            )
        )
    for stage in added:
        note("waterfall_stage.created", actor_id=actor_id, subject=stage, after=told(stage))
    return added


@transaction.atomic
def save_stage(
    stage_id: str | None, *, values: Mapping[str, Any], actor_id: str | None
) -> WaterfallStage:
    """Change a stage, or make one (None); calls under way keep the price they were reserved at.

    Args:
        stage_id: ``wfs_…`` of the running tenant.
        values: any of integration_id, name, service, gate, wanted_lines, price_cents,
            daily_call_cap, daily_cents_cap, monthly_cents_cap, cool_down_days, fresh_days, enabled.
        actor_id: who does it.

    Raises:
        WaterfallRefused: a value makes no sense.
        WaterfallStage.DoesNotExist: there is no such stage.
    """
    stage = WaterfallStage(position=_last_position() + 1)
    if stage_id is not None:
        stage = WaterfallStage.objects.select_for_update(no_key=True).get(pk=stage_id)
    before = told(stage) if stage_id else None
    for name, value in values.items():
        setattr(stage, name, value)
    check_stage(stage)
    stage.updated_at = Now()
    stage.save(force_insert=stage_id is None)
    stage.refresh_from_db()
    verb = "changed" if stage_id else "created"
    note(
        f"waterfall_stage.{verb}",
        actor_id=actor_id,
        subject=stage,
        before=before,
        after=told(stage),
    )
    return stage


def check_stage(stage: WaterfallStage) -> None:
    """Check that a stage can work, and give it the kind of what it buys.

    Raises:
        WaterfallRefused: it cannot.
    """
    stage.kind = _kind_of(stage)
    stage.name = stage.name.strip()
    if not 1 <= len(stage.name) <= 80 or not stage.name.isprintable():
        raise WaterfallRefused("Give it a name of up to 80 characters.")
    if WaterfallStage.objects.filter(name=stage.name).exclude(pk=stage.pk).exists():
        raise WaterfallRefused(f"There is a stage called {stage.name} already.")
    stage.gate = checked_gate(stage.gate)
    if not isinstance(stage.wanted_lines, list) or set(stage.wanted_lines) - set(LINES):
        raise WaterfallRefused("Wanted lines are mobile, landline or voip.")
    if stage.kind != "enrich":
        stage.wanted_lines = []
    _number(stage.price_cents, "The price", MAX_CENTS)
    for cap in (stage.daily_call_cap, stage.daily_cents_cap, stage.monthly_cents_cap):
        if cap is not None:
            _number(cap, "A cap", MAX_CAP)
    _number(stage.cool_down_days, "The cool-down", MAX_DAYS)
    _number(stage.fresh_days, "The freshness", MAX_DAYS)


def _kind_of(stage: WaterfallStage) -> str:
    account = Integration.objects.filter(pk=stage.integration_id).first()
    if account is None:
        raise WaterfallRefused("Choose an account with a vendor.")
    vendor = providers[account.provider]
    service = services_of(vendor).get(stage.service)
    if service is None or not issubclass(vendor, ABLE[service.kind]):
        raise WaterfallRefused(f"{account.name} does not sell that.")
    return service.kind


def checked_gate(gate: Any) -> dict[str, Any]:
    """Return a gate with only what it may hold.

    Raises:
        WaterfallRefused: it holds something else.
    """
    if not isinstance(gate, dict) or set(gate) - {
        "score_below",
        "without",
        "with",
        "bands",
        "most",
        "always",
    }:
        raise WaterfallRefused("The gate asks for something nobody knows.")
    clean: dict[str, Any] = {}
    for name, choices in (("without", WORDS), ("with", WORDS), ("bands", tuple(BANDS))):
        chosen = gate.get(name) or []
        if not isinstance(chosen, list) or any(one not in choices for one in chosen):
            raise WaterfallRefused(f"The gate may ask for {', '.join(choices)}.")
        if chosen:
            clean[name] = sorted(set(chosen), key=choices.index)
    if gate.get("score_below") is not None:
        _number(gate["score_below"], "The score", 100)
        clean["score_below"] = gate["score_below"]
    if gate.get("most") is not None:
        _number(gate["most"], "Phones or e-mails per lead", 10)
        clean["most"] = gate["most"]
    if gate.get("always"):
        clean["always"] = True
    return clean


def _number(value: Any, what: str, most: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
        raise WaterfallRefused(f"{what} is a whole number from 0 to {most:,}.")


@transaction.atomic
def order_stages(stage_ids: Sequence[str], *, actor_id: str | None) -> None:
    """Put the stages into this order; leads under way go on in it, none twice through one stage.

    Raises:
        WaterfallRefused: these are not all stages of the tenant.
    """
    rows: dict[str, WaterfallStage] = {
        str(row.pk): row for row in WaterfallStage.objects.select_for_update(no_key=True)
    }
    if set(stage_ids) != set(rows) or len(stage_ids) != len(rows):
        raise WaterfallRefused("Somebody added a stage meanwhile. Load the page again.")
    before = [row.name for row in sorted(rows.values(), key=lambda row: row.position)]
    for position, stage_id in enumerate(stage_ids, start=1):
        WaterfallStage.objects.filter(pk=stage_id).update(position=position, updated_at=Now())
    note(
        "waterfall.ordered",
        actor_id=actor_id,
        before={"order": before},
        after={"order": [rows[one].name for one in stage_ids]},
    )


@transaction.atomic
def set_bar(score: int | None, *, actor_id: str | None) -> None:
    """Set the score from which on nothing more is bought for a lead; None: there is no bar.

    Raises:
        WaterfallRefused: no score from 1 to 100.
    """
    if score is not None and not 1 <= score <= 100:
        raise WaterfallRefused("The bar is a score from 1 to 100.")
    tenant = Tenant.objects.select_for_update(no_key=True).get(pk=current_tenant_id())
    settings = dict(tenant.settings.get("waterfall") or {})
    before = settings.get("stop_at")
    settings["stop_at"] = score
    tenant.settings = {**tenant.settings, "waterfall": settings}
    tenant.save(update_fields=["settings"])
    note("waterfall.bar", actor_id=actor_id, before={"bar": before}, after={"bar": score})


@transaction.atomic
def set_tenant_caps(*, caps: Mapping[str, int | None], actor_id: str | None) -> None:
    """Set what the tenant may spend in all: day_cents, month_cents, day_calls, month_calls.

    Raises:
        WaterfallRefused: an odd name or number.
    """
    for name, value in caps.items():
        if name not in ("day_cents", "month_cents", "day_calls", "month_calls"):
            raise WaterfallRefused("There is no such cap.")
        if value is not None:
            _number(value, "A cap", MAX_CAP)
    tenant = Tenant.objects.select_for_update(no_key=True).get(pk=current_tenant_id())
    before = dict(tenant.settings.get("spend_caps") or {})
    after = {name: value for name, value in (before | dict(caps)).items() if value is not None}
    tenant.settings = {**tenant.settings, "spend_caps": after}
    tenant.save(update_fields=["settings"])
    note("spend_caps.changed", actor_id=actor_id, before=before, after=after)


def told(stage: WaterfallStage) -> dict[str, Any]:
    """Return a stage in plain values, for the audit log."""
    return {
        name: getattr(stage, name)
        for name in (
            "name",
            "service",
            "position",
            "gate",
            "wanted_lines",
            "price_cents",
            "daily_call_cap",
            "daily_cents_cap",
            "monthly_cents_cap",
            "cool_down_days",
            "fresh_days",
            "enabled",
        )
    }


def _last_position() -> int:
    last = WaterfallStage.objects.order_by("-position").values_list("position", flat=True).first()
    return last or 0
