"""How a tenant's leads are spread over scores and bands, and what is known of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connection

from leads.actions import owner
from leads.models.score import BANDS, PARTS

STEP = 10
PART_NAMES = {
    "email": "Verified e-mail",
    "phone": "Verified mobile or VoIP",
    "parcel": "Address key and parcel",
    "occupied": "Owner occupied",
    "demographics": "Age, value and equity",
}


@dataclass(frozen=True, kw_only=True)
class Bar:
    """Leads with scores from ``first`` to ``last``, by band."""

    first: int
    last: int
    bands: dict[str, int]

    @property
    def leads(self) -> int:
        return sum(self.bands.values())


@dataclass(frozen=True, kw_only=True)
class Part:
    """Of how many leads a part earned, was refused, or is not known."""

    name: str
    earned: int
    refused: int
    unknown: int


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What the page of scores shows; merged leads are left out."""

    bars: list[Bar]
    parts: list[Part]

    @property
    def leads(self) -> int:
        return sum(bar.leads for bar in self.bars)

    @property
    def most(self) -> int:
        return max((bar.leads for bar in self.bars), default=0)

    @property
    def bands(self) -> dict[str, int]:
        return {band: sum(bar.bands.get(band, 0) for bar in self.bars) for band in BANDS}


_COUNTS = ", ".join(
    f"count(s.{part}) FILTER (WHERE s.{part} > 0), count(s.{part}) FILTER (WHERE s.{part} = 0)"
    for part in PARTS
)


def figures() -> Figures:
    """Count the running tenant's scores in one pass over them."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT least(s.score / {STEP}, 9), s.band, count(*), {_COUNTS}"  # noqa: S608
            " FROM lead_scores AS s JOIN leads AS l"
            "   ON l.tenant_id = s.tenant_id AND l.id = s.lead_id"
            " WHERE s.tenant_id = %s AND l.tenant_id = %s AND l.superseded_at IS NULL"
            " GROUP BY 1, 2",
            [owner(), owner()],
        )
        rows = cursor.fetchall()
    return Figures(bars=_bars(rows), parts=_parts(rows))


def _bars(rows: Sequence[tuple[Any, ...]]) -> list[Bar]:
    bars = []
    for place in range(10):
        bands = {band: leads for bucket, band, leads, *_ in rows if bucket == place}
        last = 100 if place == 9 else place * STEP + STEP - 1
        bars.append(Bar(first=place * STEP, last=last, bands=bands))
    return bars


def _parts(rows: Sequence[tuple[Any, ...]]) -> list[Part]:
    leads = sum(row[2] for row in rows)
    parts = []
    for place, part in enumerate(PARTS):
        earned = sum(row[3 + 2 * place] for row in rows)
        refused = sum(row[4 + 2 * place] for row in rows)
        parts.append(
            Part(
                name=PART_NAMES[part],
                earned=earned,
                refused=refused,
                unknown=leads - earned - refused,
            )
        )
    return parts
