"""Our numbers with their health: caps, rates, why one rests, and what waits on it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import Count
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from messaging.actions import numbers as actions
from messaging.codes import CLASSES, error_class, meaning
from messaging.health import Counts, counts_since, limits_of, pacific_day, total
from messaging.models import BrandDay, DailySend, OutboundMessage, PhoneNumber
from messaging.views.access import door, found
from tenants.http import TenantRequest
from tenants.permissions import WORDS, allows

PAGE, WEEK, MONTH, QUEUED = 50, 7, 30, 50
#: Box of a sparkline: seven points, ten apart.
SPARK_WIDTH, SPARK_HEIGHT = 60, 20


@dataclass(frozen=True, kw_only=True)
class Use:
    """How much of a cap is used."""

    used: int
    cap: int

    @property
    def length(self) -> int:
        """Percent of the cap, at most 100."""
        return min(100, round(100 * self.used / self.cap)) if self.cap else 100

    @property
    def is_spent(self) -> bool:
        return self.used >= self.cap


@dataclass(frozen=True, kw_only=True)
class Health:
    """A number as its row shows it."""

    number: PhoneNumber
    days: list[tuple[date, Counts]]  # a week, oldest first
    own: Use
    brand: Use | None
    queued: int

    @property
    def today(self) -> Counts:
        return self.days[-1][1]

    @property
    def week(self) -> Counts:
        return total(counts for _, counts in self.days)

    @property
    def points(self) -> str:
        """The week's sends as points of a line; its highest day touches the top."""
        most = max(counts.sent for _, counts in self.days) or 1
        step = SPARK_WIDTH / (len(self.days) - 1)
        return " ".join(
            f"{place * step:g},{SPARK_HEIGHT - (SPARK_HEIGHT - 2) * counts.sent / most - 1:.1f}"
            for place, (_, counts) in enumerate(self.days)
        )

    @property
    def spark_words(self) -> str:
        return "Sent a day, oldest first: " + ", ".join(str(c.sent) for _, c in self.days)


@require_GET
@door("view")
def index(request: TenantRequest, slug: str) -> HttpResponse:
    """Page: all numbers, with today's caps and the rates of a day and a week."""
    after = request.GET.get("after", "")[:16]
    rows = PhoneNumber.objects.select_related("worker", "brand")
    listed = list(rows.filter(number__gt=after).order_by("number")[: PAGE + 1])
    health = health_of(request, listed[:PAGE])
    sends = DailySend.objects.filter(day=timezone.localdate()).first()
    limit = request.tenant.daily_send_limit
    context = {
        "numbers": health,
        "days": [day for day, _ in health[0].days] if health else [],
        "tenant_use": Use(used=sends.sent if sends else 0, cap=sends.cap if sends else limit),
        "after": listed[PAGE - 1].number if len(listed) > PAGE else "",
        "first": not after,
        "limits": limits_of(request.tenant),
        "may_configure": allows(request.actor, "configure"),
    }
    return render(request, "messaging/numbers.html", context)


@require_GET
@door("view")
def number(request: TenantRequest, slug: str, phone_number: str) -> HttpResponse:
    """Page: one number, its days, its error codes and what waits on it."""
    row = found(PhoneNumber.objects.select_related("worker", "brand"), phone_number)
    return render(request, "messaging/number.html", number_page(request, row))


def number_page(request: TenantRequest, row: PhoneNumber) -> dict[str, Any]:
    """Return what the page of one number shows."""
    (health,) = health_of(request, [row])
    first = timezone.localdate() - timedelta(days=MONTH - 1)
    days = counts_since(first, [row.pk]).get(row.pk, {})
    codes = total(days.values()).codes
    waiting = OutboundMessage.objects.filter(phone_number=row, state="queued")
    texts = waiting.select_related("lead").defer("verdict").order_by("due_at", "id")
    return {
        "health": health,
        "number": row,
        "days": sorted(days.items(), reverse=True),
        "codes": [
            (code, count, meaning(code), CLASSES[error_class(code)])
            for code, count in sorted(codes.items(), key=lambda one: (-one[1], one[0]))
        ],
        "texts": list(texts[:QUEUED]),
        "limits": limits_of(request.tenant),
        "may_configure": allows(request.actor, "configure"),
    }


@require_POST
@door("view")
def rest(request: TenantRequest, slug: str, phone_number: str) -> HttpResponse:
    """Let a number rest for some hours."""
    row = found(PhoneNumber.objects.all(), phone_number)
    need(request, "configure")
    hours = request.POST.get("hours", "")
    reason = request.POST.get("reason", "").strip()
    if not hours.isdecimal() or len(hours) > 4 or not 1 <= int(hours) <= 24 * 30:
        messages.error(request, "Give it 1 to 720 hours. Nothing was changed.")
        return redirect("messaging:number", slug, row.pk)
    try:
        actions.rest_number(row.pk, reason=reason, hours=int(hours), actor_id=request.actor.pk)
    except actions.NumberRefused as refused:
        messages.error(request, str(refused))
    else:
        messages.info(request, "It rests. First texts that wait move to another number.")
    return redirect("messaging:number", slug, row.pk)


@require_POST
@door("view")
def wake(request: TenantRequest, slug: str, phone_number: str) -> HttpResponse:
    """Let a resting number send again."""
    row = found(PhoneNumber.objects.all(), phone_number)
    need(request, "configure")
    reason = request.POST.get("reason", "").strip()[:500]
    try:
        actions.wake_number(row.pk, reason=reason, actor_id=request.actor.pk)
    except actions.NumberRefused as refused:
        messages.error(request, str(refused))
    else:
        messages.info(request, "It sends again, with a clean record.")
    return redirect("messaging:number", slug, row.pk)


def need(request: TenantRequest, permission: str) -> None:
    """Refuse people without *permission*, once it is certain that what they name exists here."""
    if not allows(request.actor, permission):
        raise PermissionDenied(
            f"Your role may not {WORDS[permission]}. A tenant admin can grant it."
        )


def health_of(request: TenantRequest, numbers: Iterable[PhoneNumber]) -> list[Health]:
    """Return the health of *numbers*, in three queries however many they are."""
    numbers = list(numbers)
    today = timezone.localdate()
    week = [today - timedelta(days=back) for back in reversed(range(WEEK))]
    counts = counts_since(week[0], [row.pk for row in numbers])
    brands = {row.brand_id for row in numbers if row.brand_id}
    used = dict(
        BrandDay.objects.filter(brand__in=brands, day=pacific_day()).values_list("brand", "used")
    )
    waiting = OutboundMessage.objects.filter(phone_number__in=numbers, state="queued")
    queued = dict(waiting.values_list("phone_number").annotate(Count("id")).order_by())
    return [
        Health(
            number=row,
            days=[(day, counts.get(row.pk, {}).get(day, Counts())) for day in week],
            own=Use(used=row.sent_today if row.day == today else 0, cap=row.daily_cap),
            brand=Use(used=used.get(row.brand_id, 0), cap=row.brand.daily_segment_cap)
            if row.brand
            else None,
            queued=queued.get(row.pk, 0),
        )
        for row in numbers
    ]
