"""What a person does to their own bell: mark a stage read, take that back, mute it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.core import signing
from django.db.models import Exists, OuterRef
from django.utils import timezone

from messaging.actions.live import hint
from messaging.models import Notification, StageMembership

#: "Until I turn it on".
ALWAYS = datetime(9000, 1, 1, tzinfo=UTC)
#: Seconds for which a batch marked read may be taken back; the toast offers it for 8.
UNDO_SECONDS = 60
_SALT = "bell-read"


class UndoRefused(Exception):
    """The offer is too old, foreign or forged; nothing was written."""


class NotInStage(Exception):
    """The person does not work that stage: it has no bell for them to mute."""


@dataclass(frozen=True, kw_only=True)
class ReadBatch:
    """What was marked read at once; ``token`` takes it back."""

    count: int
    token: str


def mark_stage_read(*, actor_id: str, stage: str) -> ReadBatch:
    """Mark everything of one stage read, for *actor_id* alone."""
    now = timezone.now()
    mine = Notification.objects.filter(actor=actor_id, stage=stage, read_at=None)
    count = mine.update(read_at=now, updated_at=now)
    if count:
        hint("bell", stage=stage, actor_id=actor_id)
    token = signing.dumps([actor_id, stage, now.isoformat()], salt=_SALT, compress=True)
    return ReadBatch(count=count, token=token)


def undo_stage_read(*, actor_id: str, token: str) -> int:
    """Make a batch unread again, but for threads that rang anew since; return how many.

    Raises:
        UndoRefused: the token is old, foreign or forged.
    """
    try:
        whose, stage, moment = signing.loads(token, salt=_SALT, max_age=UNDO_SECONDS)
    except (signing.BadSignature, ValueError, TypeError) as error:
        raise UndoRefused from error
    if whose != actor_id:
        raise UndoRefused
    unread = Notification.objects.filter(
        tenant=OuterRef("tenant"),
        actor=OuterRef("actor"),
        conversation=OuterRef("conversation"),
        read_at=None,
    )
    batch = Notification.objects.filter(
        actor=actor_id, stage=stage, read_at=datetime.fromisoformat(moment)
    )
    count = batch.exclude(Exists(unread)).update(read_at=None)
    hint("bell", stage=stage, actor_id=actor_id)
    return count


def mute_stage(*, actor_id: str, stage: str, until: datetime | None) -> StageMembership:
    """Quiet a stage's bell until a moment; None switches it on again.

    Raises:
        NotInStage: *actor_id* has no membership in the stage.
    """
    memberships = StageMembership.objects.select_for_update(no_key=True)
    membership = memberships.filter(actor=actor_id, stage=stage).first()
    if membership is None:
        raise NotInStage(stage)
    membership.muted_until = until
    membership.save(update_fields=["muted_until"])
    hint("bell", stage=stage, actor_id=actor_id)
    return membership


def mute_end(choice: str, *, now: datetime) -> datetime | None:
    """Return when a chosen mute ends: ``hour``, ``today`` (in *now*'s zone), ``always``, ``off``.

    Raises:
        ValueError: there is no such choice.
    """
    match choice:
        case "hour":
            return now + timedelta(hours=1)
        case "today":
            return (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
        case "always":
            return ALWAYS
        case "off":
            return None
    raise ValueError(choice)
