"""Template tags of vendor pulls: money, and bars of pages."""

from __future__ import annotations

from collections.abc import Sequence

from django import template
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from integrations.pull_money import dollars as written

register = template.Library()

HEIGHT, STEP, GAP = 64, 10, 2


@register.filter
def dollars(cents: int | None) -> str:
    """Write cents as ``$1,234.50``; a dash where nobody knows."""
    return "\u2013" if cents is None else written(cents)


@register.simple_tag
def page_bars(bars: Sequence[tuple[int, int, int]]) -> SafeString | str:
    """Draw pages as bars: new records above known ones.

    *bars*: (page, new, listed), in the order in which they were read.
    """
    if not bars:
        return ""
    most = max(listed for _, _, listed in bars) or 1
    new, listed = sum(bar[1] for bar in bars), sum(bar[2] for bar in bars)
    words = f"Pages {bars[0][0]} to {bars[-1][0]}: {listed:,} records listed, {new:,} of them new."
    drawn = format_html_join(
        "\n",
        '<g><title>Page {}: {} new, {} known</title><rect class="track" x="{}" y="{}" width="{}"'
        ' height="{}"></rect><rect class="mark" x="{}" y="{}" width="{}" height="{}"></rect></g>',
        (_bar(place, bar, most) for place, bar in enumerate(bars)),
    )
    return format_html(
        '<svg class="pages-chart" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img"'
        ' aria-labelledby="pages-chart-title pages-chart-words"><title id="pages-chart-title">'
        'Records per page</title><desc id="pages-chart-words">{}</desc>{}</svg>',
        max(len(bars), 20) * STEP,
        HEIGHT,
        words,
        drawn,
    )


def _bar(place: int, bar: tuple[int, int, int], most: int) -> tuple[object, ...]:
    number, new, listed = bar
    tall, fresh = HEIGHT * listed / most, HEIGHT * new / most
    x, width = place * STEP, STEP - GAP
    return (
        *(number, new, listed - new),
        *(x, f"{HEIGHT - tall:.1f}", width, f"{tall:.1f}"),
        *(x, f"{HEIGHT - tall:.1f}", width, f"{fresh:.1f}"),
    )
