"""Tenants and their members; at the top, because a new tenant needs rows of every app."""

from __future__ import annotations

from django.db import transaction

from leads.models import Stage, Worker
from leads.scoring import seed_rule
from leads.stages import STAGES, WORKERS
from messaging.actions.rules import seed_contact_rules
from messaging.models import StageMembership
from tenants.context import tenant_context
from tenants.models import Actor, AuditEntry, Tenant, User
from tenants.permissions import allows


class SlugTaken(Exception):
    """A tenant with this slug exists; nothing was written."""


@transaction.atomic
def create_tenant(*, slug: str, name: str, time_zone: str = "America/New_York") -> Tenant:
    """Make a tenant with its stages, workers, contact rules and score rule.

    Raises:
        SlugTaken: the slug belongs to another tenant.
        ValidationError: the slug or the zone is not one.
    """
    tenant = Tenant(slug=slug, name=name, time_zone=time_zone)
    tenant.clean_fields()
    if Tenant.objects.filter(slug=slug).exists():
        raise SlugTaken(f"There is a tenant {slug} already.")
    tenant.save(force_insert=True)
    with tenant_context(tenant.pk):
        seed_stages()
        seed_contact_rules()
        seed_rule()
        AuditEntry.objects.create(
            action="tenant.created", object_kind="tenant", object_id=tenant.pk
        )
    return tenant


def seed_stages() -> None:
    """Give the running tenant the workers and stages that every tenant starts with."""
    workers = {key: Worker(key=key.lower(), name=key) for key in WORKERS}
    Worker.objects.bulk_create(workers.values())
    Stage.objects.bulk_create(
        Stage(
            key=seed.key,
            label=seed.label,
            short_label=seed.short_label,
            position=position,
            worker=workers[seed.worker],
            delay_days=seed.delay_days,
            aliases=list(seed.aliases),
        )
        for position, seed in enumerate(STAGES, 1)
    )


@transaction.atomic
def add_member(tenant_id: str, *, user: User, role: str, name: str = "") -> Actor:
    """Make a person a member of a tenant, with a bell in each of its stages.

    Those who may reply work every stage; others look on. Repeatable: a member is left as is.
    """
    with tenant_context(tenant_id):
        actor, is_new = Actor.objects.get_or_create(
            user=user,
            defaults={"name": name or str(user), "email": user.email, "role": role},
        )
        if not is_new:
            return actor
        part = "active" if allows(actor, "reply") else "observer"
        StageMembership.objects.bulk_create(
            StageMembership(actor=actor, stage=key, role=part)
            for key in Stage.objects.order_by("position").values_list("key", flat=True)
        )
        AuditEntry.objects.create(
            action="member.added",
            object_kind="actor",
            object_id=actor.pk,
            after={"role": role, "name": actor.name},
        )
        return actor


def make_user(
    *,
    username: str,
    name: str,
    email: str,
    password_hash: str,
    is_staff: bool = False,
    is_superuser: bool = False,
) -> User:
    """Make a login, or return the one with this name as it is.

    Args:
        username: what the person types.
        name: first and last name.
        email: address.
        password_hash: of ``django.contrib.auth.hashers.make_password``.
        is_staff: may open the admin, as far as their role in a tenant goes.
        is_superuser: platform staff, above the tenants.
    """
    first, _, last = name.partition(" ")
    user, _ = User.objects.get_or_create(
        username=username,
        defaults={
            "first_name": first,
            "last_name": last,
            "email": email,
            "password": password_hash,
            "is_staff": is_staff or is_superuser,
            "is_superuser": is_superuser,
        },
    )
    return user
