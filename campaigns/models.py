"""Who is to be called next. Campaigns themselves come on top of this."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from leads.models import Lead
from tenants.constraints import NoDelete
from tenants.fields import UlidField
from tenants.models import Actor, ChildModel, TenantForeignKey

CALL_ITEM_STATUSES = {
    "pending": "Pending",
    "processing": "In a call",
    "completed": "Completed",
    "cancelled": "Cancelled",
}


class CallItem(ChildModel):
    """A lead somebody should call; at most one open item per lead."""

    STATUSES = CALL_ITEM_STATUSES
    REASONS = {
        "gold": "GOLD: e-mail and mobile",
        "email": "Gave an e-mail address",
        "wants_call": "Wants a call",
        "manual": "Put here by hand",
    }

    id = UlidField(prefix="call", primary_key=True)
    lead = TenantForeignKey(Lead, related_name="call_items")
    priority = models.PositiveSmallIntegerField()
    reason = models.CharField(max_length=12, choices=REASONS)
    agent = TenantForeignKey(Actor, null=True, blank=True, related_name="+")
    status = models.CharField(max_length=10, choices=STATUSES, default="pending")
    attempts = models.PositiveSmallIntegerField(default=0)
    outcome = models.CharField(max_length=40, blank=True)
    next_at = models.DateTimeField(db_default=Now())
    closed_at = models.DateTimeField(null=True)
    updated_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "call_queue"
        verbose_name = "call"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "lead"],
                condition=Q(status__in=["pending", "processing"]),
                name="ux_call_queue_open",
            ),
            models.CheckConstraint(
                condition=Q(status__in=list(CALL_ITEM_STATUSES)), name="call_queue_status_is_known"
            ),
            models.CheckConstraint(
                condition=(Q(status__in=["pending", "processing"]) & Q(closed_at=None))
                | (Q(status__in=["completed", "cancelled"]) & Q(closed_at__isnull=False)),
                name="call_queue_closed_has_time",
            ),
            NoDelete(name="call_queue_stays"),
        ]
        indexes = [
            models.Index(
                fields=["tenant", "-priority", "next_at"],
                condition=Q(status="pending"),
                name="call_queue_next",
            )
        ]

    def __str__(self) -> str:
        return f"Call, priority {self.priority}"
