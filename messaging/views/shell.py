"""What the frame of every page shows of a tenant: its stages with their counters."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection
from django.urls import reverse

from leads.stages import STAGES
from tenants.http import TenantRequest
from tenants.models import Actor
from tenants.permissions import allows
from tenants.ulids import to_uuid

#: Icon of the sprite per stage key; stages a tenant adds share the last one.
ICONS = {
    "initial_message": "message-circle-plus",
    "retarget": "repeat",
    "nudger": "alarm-clock",
    "content_nurture": "sprout",
    "book_appointment": "calendar-check",
}
OTHER_ICON = "inbox"

#: Counts on badges stop here; nobody acts on the difference, and counting stays cheap.
CAP = 1000
#: The same of what went wrong.
MOST_TROUBLE = 100


@dataclass(frozen=True, kw_only=True)
class Bell:
    """One stage as one person sees it: unread is theirs, waiting is the team's."""

    key: str
    label: str
    short_label: str
    url: str
    sla: timedelta
    unread: int = 0
    waiting: int = 0
    oldest: datetime | None = None
    muted: bool = False
    role: str = ""
    sound: str = "off"
    desktop: bool = False
    rang_at: datetime | None = None

    @property
    def rang_ms(self) -> int:
        """Milliseconds since 1970 of the newest unread: a page rings when it grows."""
        return int(self.rang_at.timestamp() * 1000) if self.rang_at else 0

    @property
    def icon(self) -> str:
        return ICONS.get(self.key, OTHER_ICON)

    def may_reply(self, actor: Actor) -> bool:
        """Tell whether *actor* may write here; the lower of actor role and stage role wins."""
        if not allows(actor, "reply") or self.role == "observer":
            return False
        return self.role == "active" or actor.role != "agent"


_BELLS = """
SELECT s.key, s.label, s.short_label, s.sla_minutes,
       m.role, m.sound, m.desktop, coalesce(m.muted_until > now(), false),
       (SELECT count(*) FROM (
            SELECT 1 FROM notifications n
            WHERE n.tenant_id = s.tenant_id AND n.actor_id = m.actor_id AND n.stage = s.key
              AND n.read_at IS NULL
            LIMIT %(cap)s) AS unread),
       (SELECT max(n.updated_at) FROM notifications n
        WHERE n.tenant_id = s.tenant_id AND n.actor_id = m.actor_id AND n.stage = s.key
          AND n.read_at IS NULL),
       w.n, w.oldest,
       (SELECT max(seq) FROM live_events e WHERE e.tenant_id = s.tenant_id),
       (SELECT count(*) FROM (
            SELECT 1 FROM dead_letters d
            WHERE d.tenant_id = %(tenant)s AND d.status IN ('open', 'retrying')
            LIMIT %(trouble)s) AS dead),
       (SELECT count(*) FROM (
            SELECT 1 FROM incidents i
            WHERE i.tenant_id = %(tenant)s AND i.closed_at IS NULL
            LIMIT %(trouble)s) AS wrong)
FROM stages s
LEFT JOIN stage_memberships m
       ON m.tenant_id = s.tenant_id AND m.stage = s.key AND m.actor_id = %(actor)s
CROSS JOIN LATERAL (
    SELECT count(*) AS n, min(waiting_since) AS oldest FROM (
        SELECT waiting_since FROM conversations c
        WHERE c.tenant_id = s.tenant_id AND c.stage = s.key
          AND c.waiting_since IS NOT NULL AND c.status = 'open'
        LIMIT %(cap)s) AS waiting) AS w
WHERE s.tenant_id = %(tenant)s
ORDER BY s.position, s.id
"""


@dataclass(frozen=True, kw_only=True)
class Frame:
    """What every page shows of a tenant: stages, newest live event, trouble to look at."""

    bells: list[Bell]
    cursor: int = 0
    dead_letters: int = 0
    incidents: int = 0


def frame_of(actor: Actor, slug: str) -> Frame:
    """Return the frame of *actor*'s tenant, in one query; one without stages has no bells."""
    values: dict[str, Any] = {
        "actor": to_uuid(actor.pk),
        "tenant": to_uuid(actor.tenant_id),
        "cap": CAP + 1,
        "trouble": MOST_TROUBLE,
    }
    with connection.cursor() as cursor:
        cursor.execute(_BELLS, values)
        rows = cursor.fetchall()
    if not rows:
        return Frame(bells=[])
    newest, dead, wrong = rows[0][-3:]
    bells = [_bell(slug, row) for row in rows]
    return Frame(bells=bells, cursor=newest or 0, dead_letters=dead, incidents=wrong)


def bells_of(actor: Actor, slug: str) -> list[Bell]:
    """Return the stages of *actor*'s tenant with their counters, in one query."""
    return frame_of(actor, slug).bells


def framed(request: TenantRequest) -> Frame:
    """Return ``frame_of`` for the person of *request*, read once per request."""
    if not hasattr(request, "counted"):
        request.counted = frame_of(request.actor, request.tenant.slug)
    frame: Frame = request.counted
    return frame


def counted(request: TenantRequest) -> tuple[list[Bell], int]:
    """Return the stages of the running tenant and its newest live event."""
    frame = framed(request)
    return frame.bells, frame.cursor


def forget_counted(request: TenantRequest) -> None:
    """Have the counters read again, after an action changed them."""
    request.__dict__.pop("counted", None)


def bare_bells(slug: str) -> list[Bell]:
    """Return the seeded stages without counters, for pages shown after an error."""
    return [
        Bell(
            key=stage.key,
            label=stage.label,
            short_label=stage.short_label,
            url=reverse("messaging:inbox", args=[slug, stage.key]),
            sla=timedelta(hours=1),
        )
        for stage in STAGES
    ]


def _bell(slug: str, row: tuple[Any, ...]) -> Bell:
    key, label, short, sla, role, sound, desktop, muted, unread, rang, waiting, oldest, *_ = row
    return Bell(
        key=key,
        label=label,
        short_label=short,
        url=reverse("messaging:inbox", args=[slug, key]),
        sla=timedelta(minutes=sla),
        role=role or "",
        sound=sound or "off",
        desktop=bool(desktop),
        rang_at=rang,
        muted=muted,
        unread=unread,
        waiting=waiting,
        oldest=oldest,
    )
