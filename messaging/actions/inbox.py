"""What people do to conversations in an inbox, besides writing in them.

Each function runs inside the request's tenant transaction, locks the conversation's row first and
leaves a hint for the open pages of others.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from django.core import signing
from django.utils import timezone

from leads.models import Stage
from messaging.actions.live import hint
from messaging.models import (
    Conversation,
    Draft,
    Message,
    Notification,
    OutboundMessage,
    ReadCursor,
    StageMembership,
)
from tenants.models import Actor, AuditEntry

#: A claim lives this long after the last key press; typing renews it every 30 seconds.
CLAIM = timedelta(minutes=2)
#: A toast offers Undo for 8 seconds; slow hands and networks get a little more.
UNDO_SECONDS = 60
#: A draft longer than this is no text message any more.
DRAFT_LENGTH = 4000


class ClaimedBySomebody(Exception):
    """Another person is replying; ``who`` they are."""

    def __init__(self, who: Actor) -> None:
        super().__init__(f"{who} is replying")
        self.who = who


class UndoRefused(Exception):
    """The conversation changed since, or the offer is too old; nothing was written."""


class AssignmentRefused(Exception):
    """That person cannot answer in this tenant; nothing was written."""


@dataclass(frozen=True, kw_only=True)
class Before:
    """How a conversation stood before an action, so that Undo can put it back."""

    conversation_id: str
    status: str
    waiting_since: str | None
    snoozed_until: str | None
    changed_at: str  # updated_at as the action left it: a later change forbids the undo

    @property
    def token(self) -> str:
        """Signed text that a page may carry and send back."""
        return signing.dumps(asdict(self), salt="undo", compress=True)


def locked(conversation_id: str) -> Conversation:
    """Lock and return a conversation.

    Raises:
        Conversation.DoesNotExist: no such row in this tenant.
    """
    rows = Conversation.objects.select_for_update(no_key=True, of=("self",))
    return rows.select_related("claimed_by").get(pk=conversation_id)


def claim(*, conversation_id: str, actor_id: str, take_over: bool = False) -> Conversation:
    """Tell others that *actor_id* is replying, for two minutes; asking again renews it.

    Raises:
        ClaimedBySomebody: another person's claim is alive and *take_over* is false.
    """
    conversation, now = locked(conversation_id), timezone.now()
    holder = live_claim(conversation, now)
    if holder is not None and holder.pk != actor_id:
        if not take_over:
            raise ClaimedBySomebody(holder)
        AuditEntry.objects.create(
            actor_id=actor_id,
            action="conversation.taken_over",
            object_kind="conversation",
            object_id=conversation.pk,
            before={"claimed_by": holder.pk},
            after={"claimed_by": actor_id},
        )
    _update(conversation, claimed_by_id=actor_id, claimed_until=now + CLAIM)
    if holder is None or holder.pk != actor_id:  # a renewal is no news
        tell(conversation)
    return conversation


def release(*, conversation_id: str, actor_id: str) -> Conversation:
    """End one's own claim; somebody else's stays."""
    conversation = locked(conversation_id)
    if conversation.claimed_by_id == actor_id:
        _update(conversation, claimed_by_id=None, claimed_until=None)
        tell(conversation)
    return conversation


def live_claim(conversation: Conversation, now: datetime) -> Actor | None:
    """Return who is replying now, if anybody."""
    until = conversation.claimed_until
    return conversation.claimed_by if until is not None and until > now else None


def mark_done(*, conversation_id: str, actor_id: str) -> tuple[Conversation, Before]:
    """Take a conversation off everybody's plate: nobody waits, nothing is unread."""
    conversation = locked(conversation_id)
    return _close(conversation, status="done", waiting_since=None, snoozed_until=None)


def snooze(
    *, conversation_id: str, actor_id: str, until: datetime | None
) -> tuple[Conversation, Before]:
    """Hide a conversation until a moment, or until they reply when *until* is None.

    It keeps its place in the queue: ``waiting_since`` stays. Any inbound wakes it.
    """
    conversation = locked(conversation_id)
    waiting = conversation.waiting_since
    return _close(
        conversation,
        actor_id=actor_id,
        status="snoozed",
        waiting_since=waiting,
        snoozed_until=until,
    )


def reopen(*, conversation_id: str, actor_id: str) -> Conversation:
    """Bring a done or snoozed conversation back into the inbox."""
    conversation = locked(conversation_id)
    if conversation.status != "open":
        _update(conversation, status="open", snoozed_until=None)
        tell(conversation)
    return conversation


def undo(*, conversation_id: str, token: str) -> Conversation:
    """Put a conversation back as it stood before Done or Snooze.

    Raises:
        UndoRefused: something happened to it since, or the token is old, foreign or forged.
    """
    try:
        before = Before(**signing.loads(token, salt="undo", max_age=UNDO_SECONDS))
    except (signing.BadSignature, TypeError) as error:
        raise UndoRefused from error
    conversation = locked(conversation_id)
    unchanged = conversation.updated_at.isoformat() == before.changed_at
    if before.conversation_id != conversation.pk or not unchanged:
        raise UndoRefused
    _update(
        conversation,
        status=before.status,
        waiting_since=_moment(before.waiting_since),
        snoozed_until=_moment(before.snoozed_until),
    )
    tell(conversation)
    return conversation


def assign(*, conversation_id: str, actor_id: str, to_id: str | None) -> Conversation:
    """Give a conversation to a person, or to nobody; they are told unless it is oneself.

    Raises:
        AssignmentRefused: that actor is no active person who may reply.
    """
    conversation = locked(conversation_id)
    if to_id is not None:
        people = Actor.objects.filter(kind="user", is_active=True).exclude(role="observer")
        if not people.filter(pk=to_id).exists():
            raise AssignmentRefused
    _update(conversation, assigned_to_id=to_id)
    if to_id is not None and to_id != actor_id:
        _notify(conversation, actor_id=to_id, kind="assigned")
    tell(conversation)
    return conversation


def mark_seen(*, conversation_id: str, actor_id: str) -> bool:
    """Clear one's own unread and note how far one has read; return whether it was unread.

    The team's ``waiting_since`` is another thing and stays.
    """
    conversation = locked(conversation_id)
    newest = Message.objects.filter(conversation=conversation).order_by("-id").first()
    ReadCursor.objects.update_or_create(
        actor_id=actor_id,
        conversation=conversation,
        defaults={"last_seen_message": newest, "updated_at": timezone.now()},
    )
    return bool(_clear_unread(conversation, actor_id=actor_id))


def mark_unread(*, conversation_id: str, actor_id: str) -> None:
    """Make a conversation unread for oneself only."""
    _notify(locked(conversation_id), actor_id=actor_id, kind="manual")


def save_draft(*, conversation_id: str, actor_id: str, body: str, send_key: str = "") -> None:
    """Keep a half-written reply; an empty one forgets it.

    A page saves its draft while it sends: what *send_key* has sent already is no draft any more.
    The lock lets that send commit first.

    Raises:
        Conversation.DoesNotExist: no such row in this tenant.
    """
    rows = Conversation.objects.select_for_update(no_key=True).only("id")
    conversation = rows.get(pk=conversation_id)
    sent = OutboundMessage.objects.filter(send_key=f"reply:{actor_id}:{send_key}")
    if send_key and sent.exists():
        return
    Draft.objects.update_or_create(
        actor_id=actor_id,
        conversation=conversation,
        defaults={
            "body": body.replace("\x00", "")[:DRAFT_LENGTH],
            "updated_at": timezone.now(),
        },
    )


def move_stage(*, conversation_id: str, actor_id: str, stage: str) -> Conversation:
    """Move a conversation, with its unread, into another inbox.

    Raises:
        Stage.DoesNotExist: the tenant has no such stage.
    """
    conversation = locked(conversation_id)
    to, old = Stage.objects.get(key=stage), conversation.stage
    if to.key == old:
        return conversation
    _update(conversation, stage=to.key)
    moved = Notification.objects.filter(conversation=conversation, read_at=None)
    people = list(moved.values_list("actor_id", flat=True))
    moved.update(stage=to.key)
    for person in people:
        hint("bell", stage=to.key, actor_id=person)
    hint("conv", stage=old, conversation_id=conversation.pk)
    tell(conversation)
    return conversation


def set_alerts(*, actor_id: str, stage: str, sound: str, desktop: bool) -> None:
    """Choose how a stage rings for one person; a stage they do not work is left alone."""
    mine = StageMembership.objects.filter(actor=actor_id, stage=stage)
    mine.update(sound=sound, desktop=desktop)


def _close(
    conversation: Conversation, *, actor_id: str | None = None, **values: object
) -> tuple[Conversation, Before]:
    """Write *values* and clear unread: of *actor_id*, or of everybody when it is None."""
    status, waiting, snoozed = (
        conversation.status,
        conversation.waiting_since,
        conversation.snoozed_until,
    )
    _update(conversation, claimed_by_id=None, claimed_until=None, **values)
    _clear_unread(conversation, actor_id=actor_id)
    tell(conversation)
    before = Before(
        conversation_id=conversation.pk,
        status=status,
        waiting_since=waiting.isoformat() if waiting else None,
        snoozed_until=snoozed.isoformat() if snoozed else None,
        changed_at=conversation.updated_at.isoformat(),
    )
    return conversation, before


def _update(conversation: Conversation, **values: object) -> None:
    values["updated_at"] = timezone.now()
    Conversation.objects.filter(pk=conversation.pk).update(**values)
    for name, value in values.items():
        setattr(conversation, name, value)


def _clear_unread(conversation: Conversation, *, actor_id: str | None) -> int:
    unread = Notification.objects.filter(conversation=conversation, read_at=None)
    if actor_id is not None:
        unread = unread.filter(actor=actor_id)
    people = list(unread.values_list("actor_id", flat=True))
    unread.update(read_at=timezone.now(), updated_at=timezone.now())
    for person in people:
        hint("bell", stage=conversation.stage, actor_id=person)
    return len(people)


def _notify(conversation: Conversation, *, actor_id: str, kind: str) -> None:
    Notification.objects.get_or_create(
        actor_id=actor_id,
        conversation=conversation,
        read_at=None,
        defaults={"stage": conversation.stage, "kind": kind},
    )
    hint("bell", stage=conversation.stage, actor_id=actor_id)


def tell(conversation: Conversation) -> None:
    """Have the open pages of others fetch this conversation anew."""
    hint("conv", stage=conversation.stage, conversation_id=conversation.pk)


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
