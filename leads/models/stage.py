from __future__ import annotations

from django.db import models
from django.db.models import Q

from tenants.constraints import NoDelete
from tenants.fields import UlidField
from tenants.models import TenantForeignKey, TenantModel


class Worker(TenantModel):
    """A named outreach persona, bound to phone numbers and stages: GIANNA, CATHY, SABRINA."""

    id = UlidField(prefix="wrk", primary_key=True)
    key = models.CharField(max_length=40)
    name = models.CharField(max_length=80)

    class Meta:
        db_table = "workers"
        constraints = [
            models.UniqueConstraint(fields=["tenant", "key"], name="ux_workers_key"),
            NoDelete(name="workers_stay"),
        ]

    def __str__(self) -> str:
        return self.name


class Stage(TenantModel):
    """One of the inboxes agents work from, with a bell of its own."""

    id = UlidField(prefix="stg", primary_key=True)
    key = models.CharField(max_length=40)
    label = models.CharField(max_length=60)
    short_label = models.CharField(max_length=20)
    position = models.PositiveSmallIntegerField()
    worker = TenantForeignKey(Worker, null=True, blank=True, related_name="stages")
    delay_days = models.PositiveSmallIntegerField(
        null=True, blank=True, help_text="Days after the first touch; empty: on intent."
    )
    aliases = models.JSONField(default=list, blank=True, help_text="Labels that mean this stage.")
    sla_minutes = models.PositiveSmallIntegerField(
        default=60, help_text="Minutes a lead may wait for an answer."
    )

    class Meta:
        db_table = "stages"
        constraints = [
            models.UniqueConstraint(fields=["tenant", "key"], name="ux_stages_key"),
            models.UniqueConstraint(fields=["tenant", "position"], name="ux_stages_position"),
            models.CheckConstraint(condition=Q(key__regex="^[a-z][a-z0-9_]*$"), name="stages_key"),
            NoDelete(name="stages_stay"),
        ]

    def __str__(self) -> str:
        return self.label
