from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from messaging.models.conversation import Conversation, Message
from tenants.constraints import References, TenantIsolation
from tenants.fields import UlidField
from tenants.models import Actor, ChildModel, TenantForeignKey

STAGE_MEMBERSHIP_ROLES = {"active": "Active", "observer": "Observer"}


class StageMembership(ChildModel):
    """Who works a stage, and how its bell treats them."""

    ROLES = STAGE_MEMBERSHIP_ROLES
    SOUNDS = {"off": "Off", "hidden": "When the tab is hidden", "always": "Always"}

    id = UlidField(prefix="smem", primary_key=True)
    actor = TenantForeignKey(Actor, related_name="stage_memberships")
    stage = models.CharField(max_length=40)
    role = models.CharField(max_length=8, choices=ROLES, default="active")
    muted_until = models.DateTimeField(null=True, blank=True)
    sound = models.CharField(max_length=6, choices=SOUNDS, default="off")
    desktop = models.BooleanField(default=False, help_text="Show desktop notes.")

    class Meta:
        db_table = "stage_memberships"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "actor", "stage"], name="ux_stage_memberships"
            ),
            models.CheckConstraint(
                condition=Q(role__in=list(STAGE_MEMBERSHIP_ROLES)),
                name="stage_memberships_role_is_known",
            ),
            References(
                name="fk_stage_memberships_stage",
                fields=["tenant", "stage"],
                to="leads.Stage",
                to_fields=["tenant", "key"],
            ),
        ]
        indexes = [
            models.Index(
                fields=["tenant", "stage"],
                condition=Q(role="active"),
                name="stage_memberships_active",
            )
        ]

    def __str__(self) -> str:
        return f"{self.stage} ({self.role})"


class Notification(ChildModel):
    """One person's unread: a burst of five texts is one row with count 5."""

    id = UlidField(prefix="note", primary_key=True)
    actor = TenantForeignKey(Actor, related_name="notifications")
    stage = models.CharField(max_length=40)
    conversation = TenantForeignKey(Conversation, related_name="notifications")
    kind = models.CharField(max_length=10, default="inbound")
    first_message = TenantForeignKey(Message, null=True, related_name="+")
    last_message = TenantForeignKey(Message, null=True, related_name="+")
    count = models.PositiveIntegerField(default=1)
    updated_at = models.DateTimeField(db_default=Now())
    read_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "notifications"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "actor", "conversation"],
                condition=Q(read_at=None),
                name="ux_notifications_unread",
            ),
            References(
                name="fk_notifications_stage",
                fields=["tenant", "stage"],
                to="leads.Stage",
                to_fields=["tenant", "key"],
            ),
        ]
        indexes = [
            models.Index(
                fields=["tenant", "actor", "stage"],
                condition=Q(read_at=None),
                name="notifications_unread",
            ),
            models.Index(fields=["tenant", "actor", "-updated_at"], name="notifications_newest"),
            models.Index(fields=["tenant", "conversation"], name="notifications_conversation"),
        ]

    def __str__(self) -> str:
        return f"{self.count} unread"


class Draft(ChildModel):
    """A reply half written, kept on the server so that no tab or device loses it."""

    id = UlidField(prefix="drft", primary_key=True)
    actor = TenantForeignKey(Actor, related_name="+")
    conversation = TenantForeignKey(Conversation, related_name="drafts")
    body = models.TextField()
    updated_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "drafts"
        constraints = [
            models.UniqueConstraint(fields=["tenant", "actor", "conversation"], name="ux_drafts")
        ]

    def __str__(self) -> str:
        return f"draft of {self.actor_id}"


class ReadCursor(ChildModel):
    """How far a person has read a conversation."""

    id = UlidField(prefix="rcur", primary_key=True)
    actor = TenantForeignKey(Actor, related_name="+")
    conversation = TenantForeignKey(Conversation, related_name="+")
    last_seen_message = TenantForeignKey(Message, null=True, related_name="+")
    updated_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "read_cursors"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "actor", "conversation"], name="ux_read_cursors"
            )
        ]

    def __str__(self) -> str:
        return f"{self.actor_id} in {self.conversation_id}"


class LiveEvent(models.Model):
    """A hint for open pages: ids only, pruned after 48 hours."""

    KINDS = {
        "inbound": "Inbound",
        "outbound": "Outbound",
        "status": "Status",
        "conv": "Conversation",
        "bell": "Bell",
        "webhook": "Webhook",
    }

    seq = models.BigAutoField(primary_key=True)
    tenant = models.ForeignKey(
        "tenants.Tenant", models.DO_NOTHING, db_constraint=False, related_name="+", db_index=False
    )
    kind = models.CharField(max_length=10)
    stage = models.CharField(max_length=40, blank=True)
    conversation = UlidField(prefix="conv", null=True)
    actor = UlidField(prefix="actor", null=True, help_text="Only for this person's pages.")
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "live_events"
        constraints = [
            models.CheckConstraint(
                condition=Q(kind__in=["inbound", "outbound", "status", "conv", "bell", "webhook"]),
                name="live_events_kind_is_known",
            ),
            TenantIsolation(name="live_events_isolation"),
        ]
        indexes = [models.Index(fields=["tenant", "seq"], name="live_events_tenant")]

    def __str__(self) -> str:
        return self.kind
