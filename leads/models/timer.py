"""Scheduled checks of leads."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from leads.models.lead import Lead
from tenants.constraints import NoDelete
from tenants.fields import UlidField
from tenants.models import ChildModel, TenantForeignKey

LEAD_TIMER_KINDS = {
    "7D": "7 days of silence",
    "14D": "14 days of silence",
    "30D": "30 days of silence",
    "FOLLOW_UP": "Follow up",
    "CALLBACK": "Call back",
}


class LeadTimer(ChildModel):
    """A durable, scheduled check of a lead; re-arming cancels one row and adds another."""

    KINDS = LEAD_TIMER_KINDS

    id = UlidField(prefix="ltm", primary_key=True)
    lead = TenantForeignKey(Lead, related_name="timers")
    kind = models.CharField(max_length=10, choices=KINDS)
    armed_at = models.DateTimeField(db_default=Now())
    fire_at = models.DateTimeField()
    fired_at = models.DateTimeField(null=True)
    cancelled_at = models.DateTimeField(null=True)
    cancel_reason = models.CharField(max_length=60, blank=True)
    superseded_by = TenantForeignKey("self", null=True, related_name="+")
    attempts = models.PositiveSmallIntegerField(default=0)
    max_attempts = models.PositiveSmallIntegerField(default=3)
    last_error = models.TextField(blank=True)

    class Meta:
        db_table = "lead_timers"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "lead", "kind"],
                condition=Q(fired_at=None, cancelled_at=None),
                name="ux_lead_timers_live",
            ),
            models.CheckConstraint(
                condition=Q(fired_at=None) | Q(cancelled_at=None),
                name="lead_timers_fired_xor_cancelled",
            ),
            models.CheckConstraint(
                condition=Q(kind__in=list(LEAD_TIMER_KINDS)), name="lead_timers_kind_is_known"
            ),
            NoDelete(name="lead_timers_stay"),
        ]
        indexes = [
            models.Index(
                fields=["tenant", "fire_at"],
                condition=Q(fired_at=None, cancelled_at=None),
                name="lead_timers_due",
            ),
            models.Index(fields=["tenant", "lead"], name="lead_timers_lead"),
        ]

    def __str__(self) -> str:
        return self.get_kind_display()
