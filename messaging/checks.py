"""What can be wrong with sending."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from django.db.models import F
from django.db.models.functions import Now

from messaging.health import pacific_day
from messaging.models import OutboundMessage, PhoneNumber
from pipelines.incidents import Problem, check

#: Given-up texts are counted up to here; nobody acts on the difference.
CAP = 100


@check("resting_number")
def resting_number() -> Iterator[Problem]:
    """A number rests; where no active one is left, nothing goes out at all."""
    resting = list(
        PhoneNumber.objects.filter(status="resting").select_related(None).order_by("number")
    )
    if not resting:
        return
    nothing_left = not PhoneNumber.objects.filter(status="active").exists()
    for number in resting:
        yield Problem(
            subject=number.number,
            title=f"{number.number} rests: {number.resting_reason or 'set by hand'}",
            advice="No other number is active: nothing goes out. Wake it or add a number."
            if nothing_left
            else "Its first texts move to other numbers; conversations wait. Wake it or let it be.",
            path=f"numbers/{number.pk}/",
            severity="critical" if nothing_left else "warning",
        )


@check("undecided_sends")
def undecided_sends() -> Iterator[Problem]:
    """Nobody could tell within a day whether texts arrived, and nobody decided."""
    given_up = OutboundMessage.objects.filter(state="failed", gave_up_at__isnull=False)
    count = len(given_up.filter(decided_at=None).values_list("pk")[:CAP])
    if count:
        yield Problem(
            title=f"{count}{'+' if count == CAP else ''} texts may or may not have arrived",
            advice="Ask the person or the carrier, then say what happened or send again.",
            path="sends/unknown/",
        )


@check("spent_brand")
def spent_brand() -> Iterator[Problem]:
    """A brand used its segments of the day: its numbers wait until midnight Pacific."""
    waiting = OutboundMessage.objects.filter(
        state="queued",
        due_at__lte=Now() - timedelta(minutes=5),
        phone_number__status="active",
        phone_number__brand__days__used__gt=F("phone_number__brand__days__cap") - F("segments"),
        phone_number__brand__days__day=pacific_day(),
    )
    names = waiting.values_list("phone_number__brand__name", flat=True)
    for name in sorted(set(names[:CAP])):
        yield Problem(
            subject=name,
            title=f"{name} has used its segments of the day",
            advice="Texts go on at midnight Pacific. A better vetted brand may send more.",
            path="numbers/",
        )
