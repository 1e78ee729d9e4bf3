"""The tenancy root: tenants, the people and systems that act in them, and what they did."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from zoneinfo import available_timezones

from django.contrib.auth.models import AbstractUser
from django.core.exceptions import ValidationError
from django.db import connection, models
from django.db.models import Q
from django.db.models.functions import Lower, Now
from django.http import HttpRequest

from tenants.constraints import AppendOnly, NoDelete, References, TenantIsolation
from tenants.context import current_tenant_id
from tenants.fields import UlidField
from tenants.permissions import GRANTS
from tenants.ulids import to_text

#: The tenant that owns what belongs to nobody: app-level endpoints and the unassigned queue.
PLATFORM_TENANT_ID = "tenant_00000000000000000000000001"
PLATFORM_SLUG = "platform"


def promise(model: type[models.Model], *constraints: Any) -> None:
    """Add *constraints* to *model* as if they stood in its Meta.

    Historical models, those inside migrations, already have them.
    """
    if model._meta.abstract or model.__module__ == "__fake__":
        return
    model._meta.constraints = [*model._meta.constraints, *constraints]
    model._meta.original_attrs["constraints"] = model._meta.constraints


class TenantField(models.ForeignKey):
    """The owner of a row; brings row-level security and the (tenant, id) key others refer to.

    Root tables are tied to ``tenants`` by a foreign key of their own; a table that hangs from
    another by a composite key says ``root=False`` and saves that check (measured: 13-20 %).
    """

    def __init__(self, *, root: bool = True, **kwargs: Any) -> None:
        defaults = {
            "to": "tenants.Tenant",
            "on_delete": models.PROTECT,
            "related_name": "+",
            "editable": False,
            "default": current_tenant_id,
            "db_index": False,
            "db_constraint": root,
        }
        super().__init__(**{**defaults, **kwargs})

    def deconstruct(self) -> Any:
        name, _, args, kwargs = super().deconstruct()
        return name, "django.db.models.ForeignKey", args, kwargs

    def contribute_to_class(self, cls: type[models.Model], name: str, **kwargs: Any) -> None:  # type: ignore[override]
        super().contribute_to_class(cls, name, **kwargs)
        table = cls._meta.db_table
        promise(
            cls,
            models.UniqueConstraint(fields=["tenant", "id"], name=f"ux_{table}_tenant_id"),
            TenantIsolation(name=f"{table}_isolation"),
        )


class TenantForeignKey(models.ForeignKey):
    """Reference to a row of the same tenant.

    Django sees a ForeignKey; PostgreSQL checks (tenant_id, x_id), so that no row can point
    across tenants whatever the code does.
    """

    def __init__(self, to: Any, on_delete: Any = models.PROTECT, **kwargs: Any) -> None:
        super().__init__(to, on_delete, **{"db_index": False, **kwargs, "db_constraint": False})

    def deconstruct(self) -> Any:
        name, _, args, kwargs = super().deconstruct()
        return name, "django.db.models.ForeignKey", args, kwargs

    def contribute_to_class(self, cls: type[models.Model], name: str, **kwargs: Any) -> None:  # type: ignore[override]
        super().contribute_to_class(cls, name, **kwargs)
        to = self.remote_field.model
        label = to if isinstance(to, str) else to._meta.label
        if "." not in label:
            name_of_model = cls._meta.object_name if label == "self" else label
            label = f"{cls._meta.app_label}.{name_of_model}"
        promise(
            cls,
            References(
                name=f"fk_{cls._meta.db_table}_{name}",
                fields=["tenant", name],
                to=label,
                to_fields=["tenant", "id"],
            ),
        )


def check_time_zone(value: str) -> None:
    if value not in available_timezones():
        raise ValidationError(f"{value!r} is not an IANA time zone such as America/New_York")


class Tenant(models.Model):
    """One customer of the back office; no row is ever shared between two."""

    id = UlidField(prefix="tenant", primary_key=True)
    name = models.CharField(max_length=200)
    slug = models.SlugField(unique=True)
    plan = models.CharField(max_length=40, default="standard")
    time_zone = models.CharField(
        max_length=64,
        default="America/New_York",
        validators=[check_time_zone],
        help_text="IANA name. The tenant's day begins at midnight here.",
    )
    legal_start = models.PositiveSmallIntegerField(
        default=8, help_text="Hour, in the recipient's zone, from which automation may text."
    )
    legal_end = models.PositiveSmallIntegerField(default=21, help_text="Hour at which it stops.")
    daily_send_limit = models.PositiveIntegerField(default=2000, help_text="Texts per day.")
    gold_label_priority = models.PositiveSmallIntegerField(default=100)
    email_priority = models.PositiveSmallIntegerField(default=75)
    wants_call_priority = models.PositiveSmallIntegerField(default=100)
    call_queue_threshold = models.PositiveSmallIntegerField(default=50)
    settings = models.JSONField(default=dict, blank=True)
    is_canary = models.BooleanField(default=False, help_text="Gets new behavior first.")
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        db_table = "tenants"
        constraints = [
            models.CheckConstraint(
                condition=Q(legal_start__lt=models.F("legal_end"), legal_end__lte=24),
                name="tenants_legal_hours",
            ),
            NoDelete(name="tenants_stay"),
        ]

    def __str__(self) -> str:
        return self.name


class User(AbstractUser):
    """A person who logs in. What they may do is said by their actors, one per tenant."""

    THEMES = {"system": "Like the system", "light": "Light", "dark": "Dark"}
    DENSITIES = {"default": "Comfortable", "compact": "Compact"}

    theme = models.CharField(max_length=6, choices=THEMES, default="system")
    density = models.CharField(max_length=7, choices=DENSITIES, default="default")
    shortcuts = models.BooleanField(default=True, help_text="Single-key shortcuts.")

    class Meta:
        db_table = "users"

    def __str__(self) -> str:
        return self.get_full_name() or self.username


class TenantModel(models.Model):
    """Abstract base of every row a tenant owns; ``tests/test_architecture.py`` checks them all."""

    tenant = TenantField()
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        abstract = True


class ChildModel(models.Model):
    """A tenant's row that hangs from another one, whose composite key proves the tenant."""

    tenant = TenantField(root=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        abstract = True


ACTOR_KINDS = {"user": "User", "system": "System", "automation": "Automation"}
ACTOR_ROLES = {role: role.replace("_", " ").capitalize() for role in GRANTS}


class Actor(TenantModel):
    """Somebody or something that acts in one tenant; a person's actor is their membership."""

    KINDS = ACTOR_KINDS
    ROLES = ACTOR_ROLES

    id = UlidField(prefix="actor", primary_key=True)
    kind = models.CharField(max_length=10, choices=KINDS, default="user")
    user = models.ForeignKey(
        User, on_delete=models.PROTECT, null=True, blank=True, related_name="actors"
    )
    name = models.CharField(max_length=120)
    email = models.EmailField(blank=True)
    role = models.CharField(max_length=12, choices=ROLES, default="agent")
    is_active = models.BooleanField(default=True)
    expires_at = models.DateTimeField(
        null=True, blank=True, help_text="End of a platform visit; empty for members."
    )
    last_active_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        db_table = "actors"
        constraints = [
            models.UniqueConstraint(
                "tenant", Lower("email"), condition=~Q(email=""), name="ux_actors_email"
            ),
            models.UniqueConstraint(
                fields=["tenant", "user"], condition=Q(user__isnull=False), name="ux_actors_user"
            ),
            models.UniqueConstraint(
                fields=["tenant", "name"], condition=~Q(kind="user"), name="ux_actors_system_name"
            ),
            models.CheckConstraint(
                condition=Q(role__in=list(ACTOR_ROLES)), name="actors_role_is_known"
            ),
            models.CheckConstraint(
                condition=Q(kind__in=list(ACTOR_KINDS)), name="actors_kind_is_known"
            ),
            models.CheckConstraint(
                condition=Q(kind="user", user__isnull=False) | (~Q(kind="user") & Q(user=None)),
                name="actors_people_have_users",
            ),
            NoDelete(name="actors_stay"),
        ]

    def __str__(self) -> str:
        return self.name


class ApiKey(TenantModel):
    """A key with which a program of the tenant uses the API. Only its hash is kept.

    A rotated key leaves its hash in ``previous_hash`` until ``previous_until``.
    """

    id = UlidField(prefix="key", primary_key=True)
    name = models.CharField(max_length=80)
    hint = models.CharField(max_length=12, help_text="How the key begins, to tell keys apart.")
    key_hash = models.CharField(max_length=64, editable=False, help_text="SHA-256.")
    previous_hash = models.CharField(max_length=64, blank=True, editable=False)
    previous_until = models.DateTimeField(null=True, editable=False)
    scopes = models.JSONField(default=list, help_text="Such as leads:read, leads:write.")
    actor = TenantForeignKey(Actor, related_name="api_keys", help_text="Who its calls act as.")
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, editable=False)
    last_used_at = models.DateTimeField(null=True, editable=False)
    per_minute = models.PositiveIntegerField(default=600, help_text="Calls it may make a minute.")
    minute_at = models.DateTimeField(null=True, editable=False, help_text="Being counted now.")
    minute_calls = models.PositiveIntegerField(db_default=0, default=0, editable=False)

    class Meta:
        db_table = "api_keys"
        verbose_name = "API key"
        constraints = [
            models.UniqueConstraint(fields=["tenant", "name"], name="ux_api_keys_name"),
            models.UniqueConstraint(fields=["tenant", "key_hash"], name="ux_api_keys_hash"),
            models.CheckConstraint(
                condition=Q(key_hash__regex="^[0-9a-f]{64}$"), name="api_keys_hash_is_sha256"
            ),
            models.CheckConstraint(
                condition=Q(previous_hash="", previous_until=None)
                | (~Q(previous_hash="") & Q(previous_until__isnull=False)),
                name="api_keys_previous_ends",
            ),
            models.CheckConstraint(condition=Q(per_minute__gt=0), name="api_keys_may_call"),
            NoDelete(name="api_keys_stay"),
        ]
        indexes = [
            models.Index(fields=["key_hash"], name="api_keys_hash"),
            models.Index(
                fields=["previous_hash"], condition=~Q(previous_hash=""), name="api_keys_previous"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class ApiAnswer(ChildModel):
    """What a call with an ``Idempotency-Key`` was answered: its repeat is answered the same.

    Only answers that changed something are kept, for a day: a refused call may be corrected.
    """

    id = UlidField(prefix="apa", primary_key=True)
    api_key = TenantForeignKey(ApiKey, related_name="answers")
    idempotency_key = models.CharField(max_length=200)
    request_hash = models.CharField(max_length=64, help_text="SHA-256 of method, path and body.")
    status = models.PositiveSmallIntegerField(null=True)
    body = models.JSONField(null=True)

    class Meta:
        db_table = "api_answers"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "api_key", "idempotency_key"], name="ux_api_answers_key"
            ),
            models.CheckConstraint(
                condition=Q(status=None) | Q(status__gte=200, status__lt=400),
                name="api_answers_only_of_success",
            ),
        ]

    def __str__(self) -> str:
        return self.idempotency_key


class AuditEntry(TenantModel):
    """Something a person did that is no message and no lead event: who, what, why."""

    id = UlidField(prefix="aud", primary_key=True)
    actor = TenantForeignKey(Actor, null=True, related_name="+")
    action = models.CharField(max_length=60)
    object_kind = models.CharField(max_length=60, blank=True)
    object_id = models.CharField(max_length=64, blank=True)
    before = models.JSONField(null=True)
    after = models.JSONField(null=True)
    reason = models.TextField(blank=True)
    correlation_id = models.CharField(max_length=40, blank=True)

    class Meta:
        db_table = "audit_log"
        verbose_name_plural = "audit entries"
        constraints = [AppendOnly(name="audit_log_append_only")]

    def __str__(self) -> str:
        return f"{self.action} {self.object_id}".strip()


class DryRunChange(TenantModel):
    """A row that a dry run would write. Never committed: it is rolled back with what it shows.

    Triggers write it, on every table of a tenant, while ``app.dry_run`` is on.
    """

    id = UlidField(prefix="dry", primary_key=True)
    table_name = models.CharField(max_length=63)
    operation = models.CharField(max_length=6)
    before = models.JSONField(null=True)
    after = models.JSONField(null=True)

    class Meta:
        db_table = "dry_run_changes"

    def __str__(self) -> str:
        return f"{self.operation} {self.table_name}"


@dataclass(frozen=True, kw_only=True)
class Membership:
    """A tenant a person may enter."""

    tenant_id: str
    slug: str
    name: str
    actor_id: str
    role: str

    def load(self, request: HttpRequest) -> None:
        """Put the tenant and the actor on *request*; its transaction is already the tenant's."""
        actor = Actor.objects.select_related("tenant").get(pk=self.actor_id)
        request.actor, request.tenant = actor, actor.tenant  # type: ignore[attr-defined]


def memberships_of(user_id: int) -> list[Membership]:
    """Return the tenants a person may enter now, by name."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM tenants_of(%s)", [user_id])
        return [
            Membership(
                tenant_id=to_text("tenant", tenant),
                slug=slug,
                name=name,
                actor_id=to_text("actor", actor),
                role=role,
            )
            for tenant, slug, name, actor, role in cursor.fetchall()
        ]
