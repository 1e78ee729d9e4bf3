"""Handing events of the unassigned queue to the tenant whose they are. By platform staff only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.db import connection, transaction
from django.db.models.functions import Now

from integrations.actions_work import NAMED, WorkRefused
from integrations.events import BadPayload
from integrations.intake import choices_of
from integrations.models import Integration, WebhookWork, WorkEvent
from integrations.unassigned import read_waiting
from integrations.work import Work, WorkSettled, parse_events, read_work
from leads.actions import Choice, owner, record_choice
from tenants.actions import note
from tenants.context import current_tenant_id, tenant_context
from tenants.dispatch import emit
from tenants.models import PLATFORM_TENANT_ID, Actor, Tenant
from tenants.ulids import to_uuid

#: Events of one assignment, which is one transaction.
MOST = 2000


@dataclass(frozen=True, kw_only=True)
class Destination:
    """Where events go, and who says so. ``integration_id`` is one of the tenant's."""

    tenant_id: str
    integration_id: str
    actor: Actor  # of the platform tenant
    reason: str = ""


@transaction.atomic
def assign_account(source: str, account: str, to: Destination, *, keep: bool, newest: int) -> int:
    """Hand over all that waits of an account, oldest first; return how many events.

    Args:
        source: the sender's provider name.
        account: the vendor's id of the account; "" for events that name none.
        to: whose they are.
        keep: let the integration say it is this account, so that the next ones find their way.
        newest: number of the newest work that was shown; later ones wait for another look.

    Raises:
        WorkRefused: the integration is another sender's, or the account is somebody else's.
    """
    _refuse_strangers(to)
    if keep:
        if not account:
            raise WorkRefused("These events name no account that could be remembered.")
        _keep_account(source, account, to)
    seqs = [waiting.seq for waiting in read_waiting(source=source, account=account)]
    return assign_work([seq for seq in seqs if seq <= newest][:MOST], to)


@transaction.atomic
def assign_work(seqs: Sequence[int], to: Destination) -> int:
    """Hand over waiting work of the platform tenant; return how many pieces.

    The tenant gets the event under the same id and work of its own; the platform's work is done.
    What was handed over before is left alone.

    Raises:
        WorkRefused: the integration is not the tenant's, or of another sender.
    """
    _refuse_strangers(to)
    held = WebhookWork.objects.select_for_update(of=("self",)).filter(
        seq__in=list(seqs), state="quarantined"
    )
    waiting = [item.seq for item in held.order_by("seq")]
    work = sorted(read_work(waiting), key=lambda item: item.seq)
    _refuse_other_senders(work, to)
    rows = {item.seq: _read_event(item) for item in work}
    with tenant_context(to.tenant_id):
        tenant = Tenant.objects.get(pk=to.tenant_id)
        numbers = {item.seq: _put(item, rows[item.seq], to) for item in work}
        _note_there(list(numbers.values()), to)
    outcome = f"assigned to {tenant.name}"[:200]
    WebhookWork.objects.filter(seq__in=waiting).update(
        state="done", processed_at=Now(), outcome=outcome, last_error=""
    )
    WorkEvent.objects.bulk_create(
        WorkEvent(work=seq, what="assign", reason=outcome, actor=to.actor) for seq in waiting
    )
    if waiting:
        after = {"count": len(waiting), "work": waiting[:NAMED], "tenant": to.tenant_id}
        note("work.assign", actor_id=to.actor.pk, subject=tenant, after=after, reason=to.reason)
        emit(WorkSettled(count=len(waiting)))
    return len(waiting)


def _refuse_strangers(to: Destination) -> None:
    if current_tenant_id() != PLATFORM_TENANT_ID or not (
        to.actor.user and to.actor.user.is_superuser
    ):
        raise WorkRefused("Only platform staff, in the platform tenant, can assign events.")
    if to.tenant_id == PLATFORM_TENANT_ID:
        raise WorkRefused("They wait in the platform tenant already.")


def _refuse_other_senders(work: list[Work], to: Destination) -> None:
    with tenant_context(to.tenant_id):
        integration = Integration.objects.filter(pk=to.integration_id).first()
    if integration is None:
        raise WorkRefused("That integration is not the tenant's.")
    if any(item.source.provider != integration.provider for item in work):
        raise WorkRefused("That integration belongs to another sender.")


def _keep_account(source: str, account: str, to: Destination) -> None:
    """Let the integration say it is this account, unless somebody else says so."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM tenant_of_account(%s, %s)", [source, account])
        claims = {integration for _, integration in cursor.fetchall()}
    mine = to_uuid(to.integration_id)
    if claims - {mine}:
        raise WorkRefused("Another integration says it is this account: settle that first.")
    with tenant_context(to.tenant_id):
        integration = (
            Integration.objects.select_for_update(no_key=True, of=("self",))
            .filter(pk=to.integration_id, provider=source)
            .first()
        )
        if integration is None:
            raise WorkRefused("That integration belongs to another sender, or to nobody.")
        if integration.account_id not in (None, "", account):
            raise WorkRefused(f"That integration is the account {integration.account_id}.")
        if integration.account_id != account:
            integration.account_id = account
            integration.save(update_fields=["account_id"])
            note(
                "integration.account_set",
                actor_id=None,
                subject=integration,
                after={"account_id": account},
                reason=_by(to),
            )


_COLUMNS = (
    "received_at, endpoint, source, event_type, lane, occurred_at, body, payload, headers,"
    " attempt_token_hash, signature_state, parse_state, correlation_id"
)


def _read_event(item: Work) -> dict[str, Any]:
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {_COLUMNS}, (SELECT is_inbound FROM webhook_work"  # noqa: S608  (a constant)
            "   WHERE tenant_id = %(owner)s AND seq = %(seq)s) AS is_inbound"
            " FROM webhook_events"
            " WHERE tenant_id = %(owner)s AND id = %(id)s AND received_at = %(at)s",
            {
                "owner": owner(),
                "seq": item.seq,
                "id": to_uuid(item.source.event_id),
                "at": item.source.received_at,
            },
        )
        names = [column.name for column in cursor.description]
        return dict(zip(names, cursor.fetchone(), strict=True))


def _put(item: Work, row: dict[str, Any], to: Destination) -> int:
    """Copy one event and its work into the running tenant; its opt-outs hold at once."""
    values = row | {
        "owner": owner(),
        "id": to_uuid(item.source.event_id),
        "integration": to_uuid(to.integration_id),
        "theirs": item.their_number,
    }
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO webhook_events (tenant_id, id, integration, {_COLUMNS})"  # noqa: S608
            " VALUES (%(owner)s, %(id)s, %(integration)s, %(received_at)s, %(endpoint)s,"
            "  %(source)s, %(event_type)s, %(lane)s, %(occurred_at)s, %(body)s,"
            "  %(payload)s::jsonb, %(headers)s::jsonb, %(attempt_token_hash)s,"
            "  %(signature_state)s, %(parse_state)s, %(correlation_id)s) ON CONFLICT DO NOTHING",
            values,
        )
        cursor.execute(
            "INSERT INTO webhook_work (tenant_id, event, received_at, lane, their_number,"
            "                          is_inbound)"
            " VALUES (%(owner)s, %(id)s, %(received_at)s, %(lane)s, %(theirs)s, %(is_inbound)s)"
            " ON CONFLICT ON CONSTRAINT ux_webhook_work_run DO NOTHING",
            values,
        )
        cursor.execute(
            "SELECT min(seq) FROM webhook_work WHERE tenant_id = %(owner)s AND event = %(id)s",
            values,
        )
        seq = int(cursor.fetchone()[0])
    for choice in _choices(item, bytes(row["body"]), to):
        record_choice(replace(choice, position=seq, webhook_event=item.source.event_id))
    return seq


def _choices(item: Work, body: bytes, to: Destination) -> list[Choice]:
    """Return the opt-outs in an event, which must not wait for processing here either."""
    source = replace(item.source, integration_id=to.integration_id)
    try:
        return choices_of(parse_events(source, body))
    except BadPayload:  # the drain will say so
        return []


def _note_there(seqs: list[int], to: Destination) -> None:
    """Write down in the running tenant where its new work came from."""
    if not seqs:
        return
    WorkEvent.objects.bulk_create(
        WorkEvent(work=seq, what="assign", reason=_by(to)) for seq in seqs
    )
    after = {"count": len(seqs), "work": seqs[:NAMED]}
    note("work.assign", actor_id=None, after=after, reason=_by(to))
    emit(WorkSettled(count=len(seqs)))


def _by(to: Destination) -> str:
    return f"assigned by platform staff ({to.actor.name})" + (f": {to.reason}" if to.reason else "")
