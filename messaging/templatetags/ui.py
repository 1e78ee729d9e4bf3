"""Template tags of the agents' pages: icons, times, phone numbers, chips."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timedelta

from django import template
from django.templatetags.static import static
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from leads.states import LeadState
from messaging.models import Conversation, Message

register = template.Library()

MINUTE, HOUR, DAY = 60, 3600, 86400


@register.simple_tag
def icon(name: str, label: str = "") -> SafeString:
    """Draw icon *name* of the sprite; without *label* it is hidden from screen readers."""
    href = f"{static('vendor/icons.svg')}#{name}"
    if label:
        return format_html(
            '<svg class="icon" role="img" aria-label="{}"><use href="{}"></use></svg>', label, href
        )
    return format_html('<svg class="icon" aria-hidden="true"><use href="{}"></use></svg>', href)


@register.simple_tag
def chip(state: str) -> SafeString:
    """Draw the chip of a lead state."""
    return format_html('<span class="chip chip--{}">{}</span>', state, LeadState(state).label)


@register.simple_tag
def reading_chip(reading: str, words: Mapping[str, str]) -> SafeString | str:
    """Say how an inbound text was read, where that matters."""
    if reading not in words:
        return ""
    return format_html('<span class="chip chip--outline">{}</span>', words[reading])


@register.simple_tag
def stage_label(key: str, labels: Mapping[str, str]) -> str:
    """Say a stage by its label."""
    return labels.get(key, key)


def span(seconds: float) -> str:
    """Say a length of time in its largest unit: ``now``, ``2 min``, ``3 h``, ``4 d``."""
    if seconds < MINUTE:
        return "now"
    if seconds < HOUR:
        return f"{int(seconds // MINUTE)} min"
    if seconds < 2 * DAY:
        return f"{int(seconds // HOUR)} h"
    return f"{int(seconds // DAY)} d"


def clock(moment: datetime) -> str:
    """Say the time of day as 10:41 AM."""
    return f"{moment:%I:%M %p}".lstrip("0")


def absolute(moment: datetime) -> str:
    """Say a moment in full, in the zone that is active: ``Wed 18 Nov 2026, 10:41 AM EST``."""
    local = timezone.localtime(moment)
    return f"{local:%a} {local.day} {local:%b %Y}, {clock(local)} {local:%Z}"


def short(moment: datetime) -> str:
    """Say a moment as short as its age allows: ``10:41 AM``, ``Tue``, ``14 Nov``, ``Nov 2025``."""
    local, now = timezone.localtime(moment), timezone.localtime()
    days = (now.date() - local.date()).days
    if days == 0:
        return clock(local)
    if 0 < days < 6:
        return f"{local:%a}"
    if local.year == now.year:
        return f"{local.day} {local:%b}"
    return f"{local:%b %Y}"


@register.simple_tag
def when(moment: datetime | None, style: str = "short") -> SafeString | str:
    """Draw a ``<time>`` with the full moment as its title.

    Args:
        moment: or None, which draws nothing.
        style: ``short``, ``clock``, ``moment`` (both), ``ago`` or ``full``.
    """
    if moment is None:
        return ""
    ago = style == "ago"
    match style:
        case "clock":
            text = clock(timezone.localtime(moment))
        case "ago":
            text = span((timezone.now() - moment).total_seconds())
        case "moment":
            day, hour = short(moment), clock(timezone.localtime(moment))
            text = day if day == hour else f"{day}, {hour}"
        case "full":
            text = absolute(moment)
        case _:
            text = short(moment)
    return format_html(
        '<time datetime="{}" title="{}"{}>{}</time>',
        moment.isoformat(),
        absolute(moment),
        mark_safe(" data-ago") if ago else "",
        text,
    )


@register.filter
def day_name(day: date) -> str:
    """Say a day as a heading: ``Today``, ``Yesterday``, ``Wednesday 18 November``."""
    today = timezone.localdate()
    if day == today:
        return "Today"
    if day == today - timedelta(days=1):
        return "Yesterday"
    text = f"{day:%A} {day.day} {day:%B}"
    return text if day.year == today.year else f"{text} {day.year}"


@register.filter
def phone(number: str) -> str:
    """Write an American E.164 number in groups, ``+1 503 555 0142``; others stay as they are."""
    if len(number) == 12 and number.startswith("+1") and number[1:].isdigit():
        return f"+1\u00a0{number[2:5]}\u00a0{number[5:8]}\u00a0{number[8:]}"
    return number


@register.filter
def whom(conversation: Conversation) -> str:
    """Name of the person in a conversation, or the number of one nobody knows yet."""
    return conversation.lead.known_name or phone(conversation.their_number)


#: How a choice came in → words.
SOURCES = {"texting": "By text", "carrier": "Told by the carrier", "manual": "By hand"}


@register.filter
def how(source: str | None) -> str:
    """Say how a choice of consent came in."""
    return SOURCES.get(source or "", (source or "").capitalize())


@register.filter
def initials(name: str) -> str:
    words = [word for word in name.split() if word[0].isalnum()]
    return "".join(word[0] for word in (words[:1] + words[1:][-1:])).upper() or "?"


@register.filter
def capped(number: int, most: int = 99) -> str:
    """Write a count that stops growing: ``99+``."""
    return f"{most}+" if number > most else str(number)


@register.filter
def thousands(number: int) -> str:
    return f"{number:,}"


@register.filter
def percent_of(part: float, whole: float) -> int:
    """Return *part* in percent of *whole*, 0 when there is nothing."""
    return round(100 * part / whole) if whole else 0


@register.simple_tag
def rate(share: float | None) -> str:
    """Write a share as ``3.2%``, whole percents from 10 on; a dash where there is none."""
    if share is None:
        return "\u2013"
    return f"{share:.1%}" if 0 < share < 0.0995 else f"{share:.0%}"


#: Status of an outbound text → icon.
STATUS_ICONS = {
    "queued": "clock",
    "unknown": "circle-alert",
    "sent": "check",
    "delivered": "check-check",
    "undelivered": "circle-alert",
    "failed": "circle-alert",
    "suppressed": "ban",
    "cancelled": "x",
}


@register.simple_tag
def status_words(message: Message) -> SafeString:
    """Say what is known of an outbound text, with the time it waits for while it does."""
    words = message.get_status_display()
    due_at: datetime | None = getattr(message, "due_at", None)
    if message.status == "queued" and due_at and due_at > timezone.now() + timedelta(seconds=30):
        words = f"Goes {short(due_at)}"
        if timezone.localtime(due_at).date() != timezone.localdate():
            words += f", {clock(timezone.localtime(due_at))}"
    return format_html("{}{}", icon(STATUS_ICONS.get(message.status, "clock")), words)
