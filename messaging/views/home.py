"""Home: what waits in each stage, and the way from any id to its page."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from django.contrib.auth.decorators import login_required
from django.db import connection
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET

from leads.models import Stage
from messaging.models import StageMembership
from messaging.views.access import door
from messaging.views.shell import CAP, counted
from tenants.context import tenant_context
from tenants.http import TenantRequest
from tenants.models import User, memberships_of
from tenants.ulids import to_uuid


@dataclass(frozen=True, kw_only=True)
class Today:
    """Numbers of the tenant's day; counts stop at ``CAP``."""

    inbound: int
    outbound: int
    opt_outs: int
    failed_sends: int
    failed_work: int
    hours: list[tuple[int, int]]  # hour of the day, inbound texts

    @property
    def failures(self) -> int:
        return self.failed_sends + self.failed_work


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A mark of a chart: its number, and its length in percent of the longest."""

    label: str
    value: int
    length: int

    @property
    def top(self) -> int:
        """Where a standing bar begins, counted from above."""
        return 100 - self.length


@require_GET
@login_required
def landing(request: TenantRequest) -> HttpResponse:
    """Redirect to where a person's work is: their first inbox, or Home for operators."""
    mine = memberships_of(cast(User, request.user).pk)
    if len(mine) == 1 and mine[0].role != "agent":
        return redirect("messaging:home", mine[0].slug)
    if len(mine) == 1:
        with tenant_context(mine[0].tenant_id):
            return redirect("messaging:inbox", mine[0].slug, _first_stage(mine[0].actor_id))
    return render(request, "choose.html", {"memberships": mine})


def _first_stage(actor_id: str) -> str:
    stages = Stage.objects.order_by("position").values_list("key", flat=True)
    mine = StageMembership.objects.filter(actor=actor_id, role="active")
    return stages.filter(key__in=mine.values("stage")).first() or stages[0]


@require_GET
@door("view")
def home(request: TenantRequest, slug: str) -> HttpResponse:
    """Page: the tenant at a glance, and the worst number to open first."""
    bells, _ = counted(request)
    today, now = today_of(request.tenant), timezone.now()
    oldest = min((bell.oldest for bell in bells if bell.oldest), default=None)
    context = {
        "bells": bells,
        "today": today,
        "waiting": sum(bell.waiting for bell in bells),
        "unread": sum(bell.unread for bell in bells),
        "oldest": oldest,
        "oldest_bell": next((bell for bell in bells if bell.oldest == oldest), None),
        "late": {bell.key for bell in bells if bell.oldest and now - bell.oldest > bell.sla},
        "stages": list(zip(bells, bars([(one.key, one.waiting) for one in bells]), strict=True)),
        "hours": bars([(f"{hour:02d}", count) for hour, count in today.hours]),
        "day": timezone.localdate(),
    }
    return render(request, "messaging/home.html", context)


@require_GET
@door("view")
def counters(request: TenantRequest, slug: str) -> HttpResponse:
    """Fragment: all unread counters, out of band."""
    return render(request, "messaging/_counters.html", {"bells": counted(request)[0]})


_TODAY = """
SELECT (SELECT count(*) FROM (SELECT 1 FROM messages WHERE tenant_id = %(tenant)s
            AND id >= %(first)s AND direction = 'in' LIMIT %(cap)s) AS i),
       (SELECT count(*) FROM (SELECT 1 FROM messages WHERE tenant_id = %(tenant)s
            AND id >= %(first)s AND direction = 'out' LIMIT %(cap)s) AS o),
       (SELECT count(*) FROM (SELECT 1 FROM consents WHERE tenant_id = %(tenant)s
            AND state = 'opted_out' AND updated_at >= %(start)s LIMIT %(cap)s) AS c),
       (SELECT count(*) FROM (SELECT 1 FROM messages WHERE tenant_id = %(tenant)s
            AND id >= %(first)s AND status IN ('failed', 'undelivered', 'unknown')
            LIMIT %(cap)s) AS f),
       (SELECT count(*) FROM (SELECT 1 FROM webhook_work WHERE tenant_id = %(tenant)s
            AND state IN ('dead', 'quarantined') LIMIT %(cap)s) AS w)
"""

_HOURS = """
SELECT extract(hour FROM occurred_at AT TIME ZONE %(zone)s)::int AS hour, count(*)
FROM messages
WHERE tenant_id = %(tenant)s AND id >= %(first)s AND direction = 'in' AND occurred_at >= %(start)s
GROUP BY 1
"""


def today_of(tenant: Any) -> Today:
    """Count what happened since midnight in the tenant's zone, in two queries.

    Ids carry their time, so the index by id finds the day.
    """
    start = timezone.localtime().replace(hour=0, minute=0, second=0, microsecond=0)
    values = {
        "tenant": to_uuid(tenant.pk),
        "start": start,
        "first": first_id(start),
        "zone": tenant.time_zone,
        "cap": CAP + 1,
    }
    with connection.cursor() as cursor:
        cursor.execute(_TODAY, values)
        inbound, outbound, opt_outs, failed_sends, failed_work = cursor.fetchone()
        cursor.execute(_HOURS, values)
        hours = dict(cursor.fetchall())
    return Today(
        inbound=inbound,
        outbound=outbound,
        opt_outs=opt_outs,
        failed_sends=failed_sends,
        failed_work=failed_work,
        hours=[(hour, hours.get(hour, 0)) for hour in range(24)],
    )


def first_id(moment: datetime) -> str:
    """Return the smallest uuid a ULID made at *moment* can have."""
    milliseconds = int(moment.timestamp() * 1000)
    text = f"{milliseconds << 80:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def bars(values: list[tuple[str, int]]) -> list[Bar]:
    """Draw named numbers against the largest of them; zero has no length."""
    most = max((value for _, value in values), default=0) or 1
    return [
        Bar(label=label, value=value, length=round(100 * value / most)) for label, value in values
    ]
