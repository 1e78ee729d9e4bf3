"""Template tags of pages about money: amounts, and bars by day."""

from __future__ import annotations

from django import template
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from integrations.money import Spending

register = template.Library()

#: Box of the chart: a day is ten wide, of which the bar fills seven.
HEIGHT, DAY_WIDTH, BAR_WIDTH = 100, 10, 7
#: Different colors; what gets less money shares the last one.
SERIES = 6


@register.filter
def dollars(cents: float | None) -> str:
    """Write cents as ``$1,234.05``; a dash where there is none."""
    return "\u2013" if cents is None else f"${cents / 100:,.2f}"


@register.filter
def series(place: int) -> int:
    """Return the number of the color of the *place*-th name, from 1 on."""
    return min(int(place) + 1, SERIES)


@register.simple_tag
def spend_bars(spent: Spending, label: str) -> SafeString:
    """Draw stacked bars, one a day; the table beside says the same in numbers."""
    most = spent.most or 1
    parts = []
    for n, day in enumerate(spent.days):
        top = float(HEIGHT)
        for place, cents in enumerate(day.cents):
            if not cents:
                continue
            height = (HEIGHT - 1) * cents / most
            top -= height
            parts.append((series(place), n * DAY_WIDTH, f"{top:.2f}", BAR_WIDTH, f"{height:.2f}"))
    words = ", ".join(f"{name} {dollars(cents)}" for name, cents in spent.by_name) or "nothing"
    return format_html(
        '<svg class="spend" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img"'
        ' aria-labelledby="spend-title spend-words"><title id="spend-title">{}</title>'
        '<desc id="spend-words">{} in all, the dearest day {}. {}.</desc>{}</svg>',
        len(spent.days) * DAY_WIDTH,
        HEIGHT,
        label,
        dollars(spent.total),
        dollars(spent.most),
        words,
        format_html_join(
            "",
            '<rect class="series series--{}" x="{}" y="{}" width="{}" height="{}"></rect>',
            parts,
        ),
    )
