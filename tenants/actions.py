"""Writes around tenants: visits of platform staff, members, and audited changes of records."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import Model
from django.db.models.functions import Now

from tenants.context import tenant_context
from tenants.correlation import correlation_id
from tenants.models import Actor, AuditEntry, Tenant, User

#: How long platform staff may stay in a tenant before they must say why again.
VISIT = timedelta(hours=8)


class VisitRefused(Exception):
    """The person may not enter this tenant as platform staff; nothing was written."""


class MemberChangeRefused(Exception):
    """The change would lock people out; nothing was written."""


def note(
    action: str,
    *,
    actor_id: str | None,
    subject: Model | None = None,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
    reason: str = "",
) -> AuditEntry:
    """Write down in the running tenant that somebody did something.

    Args:
        action: noun and participle, such as ``visit.started``.
        actor_id: ``actor_…`` of who did it, None for the system.
        subject: the row it was done to.
        before: plain values, never secrets.
        after: plain values, never secrets.
        reason: in the person's own words.
    """
    return AuditEntry.objects.create(
        action=action[:60],
        actor_id=actor_id,
        object_kind=subject._meta.model_name or "" if subject else "",
        object_id=str(subject.pk) if subject else "",
        before=before,
        after=after,
        reason=reason,
        correlation_id=correlation_id(),
    )


@transaction.atomic
def begin_visit(*, user: User, tenant: Tenant, reason: str) -> Actor:
    """Let platform staff into *tenant* as a tenant admin for eight hours.

    The tenant's own audit log says who, when and why. A visit under way is prolonged.

    Raises:
        VisitRefused: no platform staff, no reason, or a member who needs no visit.
    """
    reason = reason.strip()
    if not (user.is_active and user.is_superuser):
        raise VisitRefused("Only platform staff may visit a tenant.")
    if not reason:
        raise VisitRefused("Say why you enter: the tenant will read it.")
    with tenant_context(tenant.pk):
        actor = Actor.objects.select_for_update(no_key=True).filter(user=user).first()
        if actor is not None and actor.is_active and actor.expires_at is None:
            raise VisitRefused("You are a member of this tenant: choose it without a visit.")
        before = {"role": actor.role, "is_active": actor.is_active} if actor else None
        actor = actor or Actor(user=user, name=str(user))
        actor.kind, actor.role, actor.is_active = "user", "tenant_admin", True
        actor.expires_at = Now() + VISIT
        actor.save()
        actor.refresh_from_db()
        note(
            "visit.started",
            actor_id=actor.pk,
            subject=actor,
            before=before,
            after={"role": actor.role, "hours": VISIT.total_seconds() / 3600},
            reason=reason,
        )
        return actor


@transaction.atomic
def end_visit(actor: Actor) -> None:
    """End a visit of platform staff now; members stay members."""
    if actor.expires_at is None:
        return
    with tenant_context(actor.tenant_id):
        Actor.objects.filter(pk=actor.pk).update(expires_at=Now())
        note("visit.ended", actor_id=actor.pk, subject=actor)


@transaction.atomic
def save_record(
    record: Model, *, fields: Iterable[str], actor_id: str | None, is_new: bool
) -> None:
    """Save the named fields of a record a person edited, and write down that they did.

    Only these columns are written: counters that moved meanwhile keep their value.
    """
    changed = sorted(fields)
    if is_new:
        record.save(force_insert=True)
    elif changed:
        columns = {field.name for field in record._meta.concrete_fields}
        if "updated_at" in columns:
            record.updated_at = Now()  # type: ignore[attr-defined]
        record.save(update_fields=columns & {*changed, "updated_at"})
    else:
        return
    verb = "created" if is_new else "changed"
    note(
        f"{record._meta.model_name}.{verb}",
        actor_id=actor_id,
        subject=record,
        after={"fields": changed},
    )


@transaction.atomic
def remove_record(record: Model, *, actor_id: str | None) -> None:
    """Delete a record of a table that allows it, and write down that somebody did."""
    note(
        f"{record._meta.model_name}.removed",
        actor_id=actor_id,
        subject=record,
        before={"name": str(record)},
    )
    record.delete()


def refuse_member_change(
    member: Actor, *, role: str, is_active: bool, actor_id: str | None
) -> None:
    """Check that a person may be given another role, or be let go.

    Raises:
        MemberChangeRefused: it is their own role, a visit, or the last active tenant admin.
    """
    if member.kind != "user" or member.expires_at is not None:
        raise MemberChangeRefused("Systems and visits of platform staff cannot be edited.")
    if (member.role, member.is_active) == (role, is_active):
        return
    if member.pk == actor_id:
        raise MemberChangeRefused("Somebody else must change your own role.")
    others = Actor.objects.filter(role="tenant_admin", is_active=True, expires_at=None)
    if member.role == "tenant_admin" and not others.exclude(pk=member.pk).exists():
        raise MemberChangeRefused("A tenant needs at least one active tenant admin.")


@transaction.atomic
def change_member(
    member_id: str, *, name: str, role: str, is_active: bool, actor_id: str | None
) -> Actor:
    """Rename a person in the running tenant, or change what they may do.

    Raises:
        MemberChangeRefused: see ``refuse_member_change``; nothing was written.
    """
    row = Actor.objects.select_for_update(no_key=True).get(pk=member_id)
    refuse_member_change(row, role=role, is_active=is_active, actor_id=actor_id)
    before = {"name": row.name, "role": row.role, "is_active": row.is_active}
    after = {"name": name, "role": role, "is_active": is_active}
    if before != after:
        row.name, row.role, row.is_active = name, role, is_active
        row.save(update_fields=["name", "role", "is_active"])
        note("actor.changed", actor_id=actor_id, subject=row, before=before, after=after)
    return row
