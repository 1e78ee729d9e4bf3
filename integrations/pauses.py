"""Whether texts may go at all right now: not while a spool may hold what nobody has read yet."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import connection


@dataclass(frozen=True, kw_only=True)
class SpoolWaitedFor:
    """A web host that may hold deliveries the database does not know."""

    host: UUID
    name: str
    pending: int  # when it last said so
    oldest_at: datetime | None
    clear_until: datetime  # its spool was surely empty until then
    heard_at: datetime

    def __str__(self) -> str:
        what = f"holds {self.pending} deliveries" if self.pending else "is silent"
        return f"{self.name} {what} (since {self.clear_until:%Y-%m-%d %H:%M:%S} UTC)"


def sends_paused() -> bool:
    """Ask the database, in the running transaction; one small query."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT sends_paused()")
        return bool(cursor.fetchone()[0])


def spools_waited_for() -> list[SpoolWaitedFor]:
    """Return the hosts for which all sends wait, the longest silent first; [] when none does."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM spools_waited_for()")
        names = ("host", "name", "pending", "oldest_at", "clear_until", "heard_at")
        return [SpoolWaitedFor(**dict(zip(names, row, strict=True))) for row in cursor.fetchall()]


def words() -> str:
    """Return why no text goes, "" when nothing is in the way."""
    waited_for = spools_waited_for()
    if not waited_for:
        return ""
    return "Sends wait for spools: " + "; ".join(str(one) for one in waited_for)
