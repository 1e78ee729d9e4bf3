"""What was bought, from whom, and what it brought: figures of the running tenant."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from django.db import connection

from integrations.models import (
    ProviderCircuit,
    SpendCounter,
    VendorAnswer,
    VendorCall,
    VendorInput,
    WaterfallStage,
)
from integrations.providers import providers
from leads.actions import owner, sql_id

#: Newest enrichments that the figures of stages look at.
MOST = 20_000


@dataclass(frozen=True, kw_only=True)
class Use:
    """How much of a cap is used; without a cap only how much."""

    label: str
    used: int
    cap: int | None
    is_money: bool = True

    @property
    def length(self) -> int:
        """Percent of the cap, at most 100."""
        if self.cap is None:
            return 0
        return min(100, round(100 * self.used / self.cap)) if self.cap else 100

    @property
    def is_spent(self) -> bool:
        return self.cap is not None and self.used >= self.cap


@dataclass(frozen=True, kw_only=True)
class Day:
    """What a day cost, by provider or stage, in the order of ``Spending.names``."""

    day: date
    cents: tuple[int, ...]

    @property
    def total(self) -> int:
        return sum(self.cents)


@dataclass(frozen=True, kw_only=True)
class Spending:
    """Cents by day and by who got them, what is still open included."""

    names: tuple[str, ...]
    days: tuple[Day, ...]  # oldest first, none left out

    @property
    def total(self) -> int:
        return sum(day.total for day in self.days)

    @property
    def most(self) -> int:
        return max((day.total for day in self.days), default=0)

    @property
    def by_name(self) -> list[tuple[str, int]]:
        return [
            (name, sum(day.cents[place] for day in self.days))
            for place, name in enumerate(self.names)
        ]


@dataclass(frozen=True, kw_only=True)
class StageFigures:
    """What a stage did in the newest enrichments, and how much of its caps is used."""

    stage: WaterfallStage
    ran: int = 0
    hits: int = 0
    answered: int = 0  # hits and misses that were paid or could have been
    kept: int = 0  # answers used again
    gated: int = 0
    cents: int = 0
    saved_gate: int = 0
    saved_kept: int = 0
    uses: tuple[Use, ...] = ()

    @property
    def hit_rate(self) -> float | None:
        return self.hits / self.answered if self.answered else None


@dataclass(frozen=True, kw_only=True)
class Yield:
    """What enrichments since a day cost and brought."""

    since: date
    leads: int
    contactable: int  # of them; not contactable before
    cents: int
    saved_gate: int
    saved_kept: int
    stages: tuple[StageFigures, ...] = field(default_factory=tuple)

    @property
    def per_contactable(self) -> int | None:
        return round(self.cents / self.contactable) if self.contactable else None


@dataclass(frozen=True, kw_only=True)
class UnknownCall:
    """A paid call of which nobody knows the outcome."""

    call: VendorCall
    answer: VendorAnswer


def today() -> date:
    """Return the tenant's day by the database's clock."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT (clock_timestamp() AT TIME ZONE t.time_zone)::date FROM tenants AS t"
            " WHERE t.id = %s",
            [owner()],
        )
        found: date = cursor.fetchone()[0]
    return found


def spending(by: str, days: int) -> Spending:
    """Return what each of the last *days* cost; *by*: provider or stage."""
    last = today()
    first = last - timedelta(days=days - 1)
    rows = SpendCounter.objects.filter(
        period="day", starts__gte=first, scope__startswith=f"{by}:"
    ).exclude(cents=0)
    labels = _labels(by)
    found: dict[str, dict[date, int]] = {}
    for scope, starts, cents in rows.values_list("scope", "starts", "cents"):
        key = scope.partition(":")[2]
        found.setdefault(labels.get(key, key), {})[starts] = cents
    names = tuple(sorted(found, key=lambda name: (-sum(found[name].values()), name)))
    dates = [first + timedelta(days=n) for n in range(days)]
    return Spending(
        names=names,
        days=tuple(
            Day(day=day, cents=tuple(found[name].get(day, 0) for name in names)) for day in dates
        ),
    )


def _labels(by: str) -> dict[str, str]:
    if by == "provider":
        return {name: providers[name].label for name in providers}
    return dict(WaterfallStage.objects.values_list("pk", "name"))


def tenant_uses(caps: dict[str, Any]) -> list[Use]:
    """Return what the tenant spent today and this month in all, with its caps."""
    day = today()
    counters = {
        row.period: row
        for row in SpendCounter.objects.filter(scope="all", starts__in=[day, day.replace(day=1)])
        if row.starts == (day if row.period == "day" else day.replace(day=1))
    }
    uses = []
    for period, label in (("day", "Today"), ("month", "This month")):
        row = counters.get(period)
        cents = row.cents if row else 0
        uses.append(Use(label=label, used=cents, cap=caps.get(f"{period}_cents")))
    return uses


def _stage_uses(
    stage: WaterfallStage, counters: dict[tuple[str, str], SpendCounter]
) -> Iterable[Use]:
    scope = f"stage:{stage.pk}"
    day, month = counters.get((scope, "day")), counters.get((scope, "month"))
    yield Use(
        label="Calls today",
        used=day.calls if day else 0,
        cap=stage.daily_call_cap,
        is_money=False,
    )
    yield Use(label="Today", used=day.cents if day else 0, cap=stage.daily_cents_cap)
    yield Use(label="This month", used=month.cents if month else 0, cap=stage.monthly_cents_cap)


def stage_figures(found: dict[str, dict[str, int]]) -> tuple[StageFigures, ...]:
    """Return every stage in its order, with what *found* says of it and its caps."""
    day = today()
    rows = SpendCounter.objects.filter(scope__startswith="stage:")
    rows = rows.filter(starts=day, period="day") | rows.filter(
        starts=day.replace(day=1), period="month"
    )
    counters = {(row.scope, row.period): row for row in rows}
    stages = WaterfallStage.objects.select_related("integration").order_by("position", "id")
    return tuple(
        StageFigures(
            stage=stage,
            uses=tuple(_stage_uses(stage, counters)),
            **found.get(stage.pk, {}),
        )
        for stage in stages
    )


def yields(days: int) -> Yield:
    """Return what the newest enrichments, at most ``MOST`` since *days* ago, cost and brought."""
    since = today() - timedelta(days=days - 1)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*), coalesce(sum(e.cost_cents), 0),"
            " count(*) FILTER (WHERE e.score_after >= r.contactable_from"
            "                  AND coalesce(e.score_before, 0) < r.contactable_from)"
            " FROM (SELECT * FROM enrichments WHERE tenant_id = %(owner)s AND state = 'done'"
            "       AND finished_at >= %(since)s ORDER BY id DESC LIMIT %(most)s) AS e"
            " CROSS JOIN (SELECT contactable_from FROM score_rules WHERE tenant_id = %(owner)s"
            "             ORDER BY version DESC LIMIT 1) AS r",
            {"owner": owner(), "since": since, "most": MOST},
        )
        leads, cents, contactable = cursor.fetchone()
        cursor.execute(_STEPS, {"owner": owner(), "since": since, "most": MOST})
        names = [column.name for column in cursor.description or ()]
        found = {
            row[0]: dict(zip(names[1:], map(int, row[1:]), strict=True))
            for row in cursor.fetchall()
        }
    stages = stage_figures(found)
    return Yield(
        since=since,
        leads=leads,
        contactable=contactable,
        cents=int(cents),
        saved_gate=sum(one.saved_gate for one in stages),
        saved_kept=sum(one.saved_kept for one in stages),
        stages=stages,
    )


_STEPS = """
    SELECT s ->> 'stage' AS stage,
           count(*) FILTER (WHERE s ->> 'did' <> 'gate') AS ran,
           count(*) FILTER (WHERE s ->> 'did' = 'hit') AS hits,
           count(*) FILTER (WHERE s ->> 'did' IN ('hit', 'miss')) AS answered,
           count(*) FILTER (WHERE s ->> 'did' = 'kept') AS kept,
           count(*) FILTER (WHERE s ->> 'did' = 'gate') AS gated,
           coalesce(sum((s ->> 'cents')::bigint), 0) AS cents,
           coalesce(sum((s ->> 'saved')::bigint) FILTER (WHERE s ->> 'did' = 'gate'), 0)
               AS saved_gate,
           coalesce(sum((s ->> 'saved')::bigint) FILTER (WHERE s ->> 'did' <> 'gate'), 0)
               AS saved_kept
    FROM (SELECT steps FROM enrichments WHERE tenant_id = %(owner)s
          AND updated_at >= %(since)s ORDER BY id DESC LIMIT %(most)s) AS e
    CROSS JOIN LATERAL jsonb_array_elements(e.steps) AS s
    WHERE s ->> 'stage' IS NOT NULL GROUP BY 1
"""


def funnel(run_id: str) -> list[tuple[str, dict[str, int]]]:
    """Return, stage by stage, what the leads of a run did there: what → how many, and cents."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT s ->> 'name', s ->> 'did', count(*), coalesce(sum((s ->> 'cents')::bigint), 0),"
            " min(e.place) FROM enrichments AS x"
            " CROSS JOIN LATERAL jsonb_array_elements(x.steps) WITH ORDINALITY AS e (s, place)"
            " WHERE x.tenant_id = %s AND x.run_id = %s AND s ->> 'stage' IS NOT NULL"
            " GROUP BY 1, 2 ORDER BY 5, 1, 2",
            [owner(), sql_id(run_id)],
        )
        stages: dict[str, dict[str, int]] = {}
        for name, did, many, cents, _ in cursor.fetchall():
            stage = stages.setdefault(name, {"cents": 0})
            stage[did] = many
            stage["cents"] += int(cents)
    return list(stages.items())


def unknown_calls(*, before: datetime | None = None, most: int = 50) -> list[UnknownCall]:
    """Return the calls that somebody should settle, the newest first."""
    rows = VendorInput.objects.filter(open_since__isnull=False)
    if before is not None:
        rows = rows.filter(open_since__lt=before)
    calls = list(rows.order_by("-open_since", "-id").values_list("call", flat=True)[: 4 * most])
    answers = VendorAnswer.objects.filter(call__in=calls, result="unknown").select_related(
        "call__integration", "call__stage", "call__lead"
    )
    found = [UnknownCall(call=answer.call, answer=answer) for answer in answers]
    return sorted(found, key=lambda one: one.call.at, reverse=True)[:most]


def circuits() -> list[ProviderCircuit]:
    """Return the accounts that are left alone now, or were told to wait."""
    rows = ProviderCircuit.objects.select_related("integration").exclude(
        state="closed", failures=0, throttled_until=None
    )
    return list(rows.order_by("integration__name", "id"))
