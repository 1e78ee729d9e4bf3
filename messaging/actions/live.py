"""Hints for open pages: ids only. The pages fetch what they may see."""

from __future__ import annotations

import time
from threading import Lock

from django.db import connection, transaction

from leads.actions import NoTenant
from messaging.models import LiveEvent
from tenants.context import current_tenant_id

#: Wake the followers at most this often per process, in seconds; they also look once a second.
_WAKE_EVERY = 0.05
_lock = Lock()
_last_wake = 0.0


def hint(
    kind: str,
    *,
    stage: str = "",
    conversation_id: str | None = None,
    actor_id: str | None = None,
) -> None:
    """Leave a hint in the running transaction and wake the followers once it has committed.

    Args:
        kind: ``inbound``, ``outbound``, ``status``, ``conv`` or ``bell``.
        stage: key of the stage whose list or bell changed.
        conversation_id: ``conv_…`` that changed.
        actor_id: only this person's pages are told.
    """
    LiveEvent.objects.create(
        tenant_id=_tenant(), kind=kind, stage=stage, conversation=conversation_id, actor=actor_id
    )
    transaction.on_commit(wake)


def wake() -> None:
    """Tell the web processes to look at ``live_events`` now.

    Coalesced, and only outside of transactions: NOTIFY inside one serializes commits. A wake-up
    that is left out or lost costs a second, never the hint.
    """
    global _last_wake
    with _lock:
        now = time.monotonic()
        if now - _last_wake < _WAKE_EVERY:
            return
        _last_wake = now
    if connection.in_atomic_block:
        return
    with connection.cursor() as cursor:
        cursor.execute("NOTIFY fairlead_live")


def _tenant() -> str:
    tenant_id = current_tenant_id()
    if tenant_id is None:
        raise NoTenant("a hint belongs to a tenant")
    return tenant_id
