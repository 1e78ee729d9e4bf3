"""How fast opt-outs count, and how well the reader of texts tells refusals."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from django.db import connection
from django.utils import timezone

from leads.actions import owner

#: Days looked back on: opt-outs for their speed, decisions for the reader.
SPEED_DAYS, READER_DAYS = 30, 90
#: Upper ends of the bars, in milliseconds, with their words; the last has none.
BARS = ((10, "under 10 ms"), (100, "10 to 100 ms"), (1000, "0.1 to 1 s"), (10_000, "1 to 10 s"))
LAST_BAR = "10 s and more"
#: A text within these days before a person records a refusal is what the reader let pass.
LET_PASS_DAYS = 30


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One class of a distribution; *share* is in percent of the largest."""

    label: str
    count: int
    share: int


@dataclass(frozen=True, kw_only=True)
class Speed:
    """Milliseconds from receipt to block."""

    count: int
    p50: float
    p95: float
    slowest: float
    bars: list[Bar]
    since: datetime


@dataclass(frozen=True, kw_only=True)
class Reader:
    """What people's decisions say of the reader.

    ``precision`` is confirmed / decided. ``recall`` is (certain + confirmed) / (those + missed).
    Both are None where nothing can be divided.
    """

    confirmed: int
    released: int
    certain: int
    missed: int
    since: datetime

    @property
    def decided(self) -> int:
        return self.confirmed + self.released

    @property
    def precision(self) -> float | None:
        return self.confirmed / self.decided if self.decided else None

    @property
    def found(self) -> int:
        return self.certain + self.confirmed

    @property
    def recall(self) -> float | None:
        whole = self.found + self.missed
        return self.found / whole if whole else None


_SPEED = """
    WITH stops AS (
        SELECT greatest(extract(epoch FROM e.at - e.received_at) * 1000, 0) AS ms
        FROM consent_events AS e
        WHERE e.tenant_id = %(owner)s AND e.kind = 'opt_out' AND e.at > %(since)s
          AND e.received_at IS NOT NULL
    )
    SELECT count(*), coalesce(percentile_cont(0.5) WITHIN GROUP (ORDER BY ms), 0),
           coalesce(percentile_cont(0.95) WITHIN GROUP (ORDER BY ms), 0), coalesce(max(ms), 0),
           array(SELECT count(s.ms)
                 FROM unnest(%(low)s::float8[], %(high)s::float8[]) AS b(low, high)
                 LEFT JOIN stops AS s ON s.ms >= b.low AND s.ms < b.high
                 GROUP BY b.low ORDER BY b.low)
    FROM stops
"""
_READER = """
    SELECT count(*) FILTER (WHERE e.kind = 'opt_out' AND e.actor_id IS NOT NULL
                              AND before.state = 'held'),
           count(*) FILTER (WHERE e.kind = 'release' AND e.actor_id IS NOT NULL
                              AND before.state = 'held'),
           count(*) FILTER (WHERE e.kind = 'opt_out' AND e.source = 'texting'
                              AND e.actor_id IS NULL),
           count(*) FILTER (WHERE e.kind = 'opt_out' AND e.actor_id IS NOT NULL
                              AND before.state IS DISTINCT FROM 'held'
                              AND before.state IS DISTINCT FROM 'opted_out'
                              AND EXISTS (
               SELECT FROM conversations AS v JOIN messages AS m
                 ON m.tenant_id = v.tenant_id AND m.conversation_id = v.id
               WHERE v.tenant_id = %(owner)s AND v.their_number = c.address
                 AND m.direction = 'in' AND m.reading NOT IN ('opt_out', 'hold', 'opt_in')
                 AND m.created_at BETWEEN e.at - make_interval(days => %(days)s) AND e.at))
    FROM consent_events AS e
    JOIN consents AS c ON c.tenant_id = e.tenant_id AND c.id = e.consent_id
    LEFT JOIN consent_events AS before
      ON before.tenant_id = e.tenant_id AND before.consent_id = e.consent_id
     AND before.rev = e.rev - 1
    WHERE e.tenant_id = %(owner)s AND e.kind IN ('opt_out', 'release') AND e.at > %(since)s
      AND c.channel = 'sms' AND c.scope = ''
"""


def speed() -> Speed:
    """Return how long opt-outs of the last month took to count."""
    since = timezone.now() - timedelta(days=SPEED_DAYS)
    edges = [0.0, *(float(end) for end, _ in BARS), float("inf")]
    low, high = zip(*pairwise(edges), strict=True)
    with connection.cursor() as cursor:
        cursor.execute(
            _SPEED, {"owner": owner(), "since": since, "low": list(low), "high": list(high)}
        )
        count, p50, p95, slowest, counts = cursor.fetchone()
    labels = [*(label for _, label in BARS), LAST_BAR]
    most = max([*counts, 1])
    bars = [
        Bar(label=label, count=many, share=round(100 * many / most))
        for label, many in zip(labels, counts, strict=True)
    ]
    return Speed(
        count=count,
        p50=float(p50),
        p95=float(p95),
        slowest=float(slowest),
        bars=bars,
        since=since,
    )


def reader() -> Reader:
    """Return what the decisions of the last three months say of the reader."""
    since = timezone.now() - timedelta(days=READER_DAYS)
    with connection.cursor() as cursor:
        cursor.execute(_READER, {"owner": owner(), "since": since, "days": LET_PASS_DAYS})
        confirmed, released, certain, missed = cursor.fetchone()
    return Reader(
        confirmed=confirmed, released=released, certain=certain, missed=missed, since=since
    )
