"""Template tags of the pages about webhooks and failures."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime, timedelta

from django import template
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from messaging.templatetags.ui import absolute

register = template.Library()

#: State of work → word and color of its chip.
CHIPS = {
    "ready": ("Ready", "slate"),
    "done": ("Done", "green"),
    "dead": ("Failed", "red"),
    "quarantined": ("Quarantined", "amber"),
    "discarded": ("Discarded", "outline"),
}
NOTE_ICONS = {
    "failed": "circle-alert",
    "dead": "octagon-x",
    "struck": "zap",
    "quarantine": "hand",
    "release": "check",
    "retry": "refresh-cw",
    "discard": "ban",
    "replay": "rotate-ccw",
    "assign": "arrow-right",
}
#: How a delivery proved itself → words.
PROOFS = {
    "valid": "Signature valid",
    "unsigned": "Unsigned: its address is the proof",
    "token": "Token of one send attempt",
    "pulled": "Pulled by us from the vendor's list",
}
#: Ids that have a page of their own, in a sentence.
_ID = re.compile(r"\b(?:msg|lead|conv|wh)_[0-9A-HJKMNP-TV-Z]{26}\b")


@register.simple_tag
def work_chip(state: str, attempts: int = 0) -> SafeString:
    """Draw the chip of a state of work; ready work that failed before is being retried."""
    word, color = CHIPS[state]
    if state == "ready" and attempts:
        word, color = "Retrying", "amber"
    return format_html('<span class="chip chip--{}">{}</span>', color, word)


@register.simple_tag
def linked(text: str, slug: str) -> SafeString:
    """Write a sentence with its ids as links; each id is cut to its last characters."""
    parts, end = [], 0
    for match in _ID.finditer(text):
        parts.append(("", text[end : match.start()]))
        parts.append((match.group(), ""))
        end = match.end()
    parts.append(("", text[end:]))
    return format_html_join(
        "", "{}", ((_link(name, slug) if name else words,) for name, words in parts)
    )


def _link(name: str, slug: str) -> SafeString:
    prefix, _, rest = name.partition("_")
    return format_html(
        '<a class="ref" href="{}" title="{}">{}_…{}</a>',
        reverse("messaging:go", args=[slug, name]),
        name,
        prefix,
        rest[-6:],
    )


@register.simple_tag
def exact(moment: datetime) -> SafeString:
    """Draw a time to the second, with its day and zone: operators compare it with logs."""
    local = timezone.localtime(moment)
    return format_html(
        '<time datetime="{}" title="{}">{} {} {}</time>',
        moment.isoformat(),
        absolute(moment),
        f"{local.day} {local:%b}",
        f"{local:%H:%M:%S}",
        f"{local:%Z}",
    )


@register.simple_tag
def proof(state: str) -> str:
    """Say how a delivery proved where it came from."""
    return PROOFS.get(state, state)


@register.filter
def lasted(span: timedelta | None) -> str:
    """Say a length of time in milliseconds, seconds or minutes."""
    if span is None:
        return ""
    seconds = span.total_seconds()
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 120:
        return f"{seconds:.1f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h"


@register.filter
def note_icon(what: str) -> str:
    return NOTE_ICONS.get(what, "activity")


@register.filter
def sources(types: Iterable[tuple[str, str]]) -> list[str]:
    """Return the providers among (provider, event type) pairs."""
    return sorted({source for source, _ in types})


@register.filter
def kinds(types: Iterable[tuple[str, str]]) -> list[str]:
    """Return the event types among (provider, event type) pairs."""
    return sorted({kind for _, kind in types})


#: Filter of a selection → words.
FILTER_WORDS = {
    "source": "Source",
    "event_type": "Type",
    "state": "Status",
    "since": "Received from",
    "until": "Received before",
    "their_number": "Their number",
    "correlation": "Correlation",
}


@register.filter
def filter_word(name: str) -> str:
    return FILTER_WORDS.get(name, name)
