"""The moments a conversation can be snoozed to, in the zone that is active."""

from __future__ import annotations

from datetime import datetime, time, timedelta

from django.utils import timezone

#: Choice of the menu → its words.
CHOICES = {
    "1h": "1 hour",
    "evening": "This evening",
    "tomorrow": "Tomorrow",
    "monday": "Monday",
    "reply": "Until they reply",
}
EVENING, MORNING = time(18), time(9)


def until(choice: str) -> datetime | None:
    """Return when a snooze ends; None means until they reply.

    Raises:
        KeyError: no such choice.
    """
    now = timezone.localtime()
    match choice:
        case "reply":
            return None
        case "1h":
            return now + timedelta(hours=1)
        case "evening":
            days = 0 if now.time() < EVENING else 1
            return _at(now, days, EVENING)
        case "tomorrow":
            return _at(now, 1, MORNING)
        case "monday":
            return _at(now, 7 - now.weekday(), MORNING)
    raise KeyError(choice)


def _at(now: datetime, days: int, clock: time) -> datetime:
    return timezone.make_aware(datetime.combine(now.date() + timedelta(days=days), clock))
