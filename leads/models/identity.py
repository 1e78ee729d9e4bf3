"""Two leads that are one, or might be: merges, reviews, and what people decided."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from leads.models.lead import Lead
from pipelines.models import PipelineRun
from tenants.constraints import NoDelete
from tenants.fields import UlidField
from tenants.models import Actor, ChildModel, TenantForeignKey, TenantModel

REVIEW_STATUSES = {
    "open": "Open",
    "merged": "Merged",
    "not_duplicate": "Not a duplicate",
    "dropped": "Dropped",
}


class Merge(ChildModel):
    """One lead became part of another; everything needed to take it back stands here."""

    id = UlidField(prefix="mrg", primary_key=True)
    survivor = TenantForeignKey(Lead, related_name="merges")
    merged = TenantForeignKey(Lead, related_name="merged_by")
    choices = models.JSONField(default=dict, help_text="Field → lead whose value was kept.")
    evidence = models.JSONField(default=dict)
    before = models.JSONField(default=dict, help_text="The survivor's fields before.")
    moved = models.JSONField(default=dict, help_text="Table → ids of rows that moved.")
    actor = TenantForeignKey(Actor, null=True, related_name="+")
    reason = models.CharField(max_length=200, blank=True)
    correlation_id = models.CharField(max_length=40, blank=True)
    at = models.DateTimeField(db_default=Now())
    undone_at = models.DateTimeField(null=True)
    undone_by = TenantForeignKey(Actor, null=True, related_name="+")

    class Meta:
        db_table = "merges"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "merged"], condition=Q(undone_at=None), name="ux_merges_live"
            ),
            models.CheckConstraint(condition=~Q(survivor=F("merged")), name="merges_of_two"),
            NoDelete(name="merges_stay"),
        ]
        indexes = [models.Index(fields=["tenant", "survivor"], name="merges_survivor")]

    def __str__(self) -> str:
        return f"{self.merged_id} into {self.survivor_id}"


class MergeReview(ChildModel):
    """Two leads that may be one, with the evidence; or one record that names both.

    ``left`` is the older lead. *incoming* is a record that matched both, kept until somebody says
    whose it is: nothing of it is lost. A pair that is "not a duplicate" is never proposed again.
    """

    STATUSES = REVIEW_STATUSES

    id = UlidField(prefix="mrv", primary_key=True)
    left = TenantForeignKey(Lead, related_name="reviews_left")
    right = TenantForeignKey(Lead, related_name="reviews_right")
    score = models.PositiveSmallIntegerField(help_text="0-100: how sure it is that they are one.")
    reasons = models.JSONField(default=list, help_text="Per field: what agrees, what does not.")
    source = models.CharField(max_length=40, help_text="import, pull, crm, inbound or finder.")
    run = TenantForeignKey(PipelineRun, null=True, related_name="+")
    incoming = models.JSONField(null=True)
    incoming_done_at = models.DateTimeField(null=True)
    status = models.CharField(max_length=13, choices=REVIEW_STATUSES, default="open")
    decided_by = TenantForeignKey(Actor, null=True, related_name="+")
    decided_at = models.DateTimeField(null=True)
    reason = models.CharField(max_length=200, blank=True)
    correlation_id = models.CharField(max_length=40, blank=True)
    updated_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        db_table = "merge_reviews"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "left", "right"],
                condition=Q(status="open"),
                name="ux_merge_reviews_open",
            ),
            models.UniqueConstraint(
                fields=["tenant", "left", "right"],
                condition=Q(status="not_duplicate"),
                name="ux_merge_reviews_settled",
            ),
            models.CheckConstraint(condition=Q(left__lt=F("right")), name="merge_reviews_in_order"),
            models.CheckConstraint(condition=Q(score__lte=100), name="merge_reviews_percent"),
            models.CheckConstraint(
                condition=Q(status="open", decided_at=None)
                | (~Q(status="open") & Q(decided_at__isnull=False)),
                name="merge_reviews_decided_has_time",
            ),
            models.CheckConstraint(
                condition=Q(status__in=list(REVIEW_STATUSES)), name="merge_reviews_status_is_known"
            ),
            NoDelete(name="merge_reviews_stay"),
        ]
        indexes = [
            models.Index(
                F("tenant"),
                F("score").desc(),
                F("id").desc(),
                condition=Q(status="open"),
                name="merge_reviews_queue",
            ),
            models.Index(fields=["tenant", "right"], name="merge_reviews_right"),
        ]

    def __str__(self) -> str:
        return f"{self.left_id} and {self.right_id}"


class IdentityTurn(TenantModel):
    """Whose turn it is to write leads in batches, so that no two make the same lead."""

    id = UlidField(prefix="idt", primary_key=True)
    runner = models.CharField(max_length=40, help_text="A run, or one transaction of its own.")
    number = models.BigIntegerField(default=0, help_text="Grows whenever the turn passes on.")

    class Meta:
        db_table = "identity_turns"
        constraints = [
            models.UniqueConstraint(fields=["tenant"], name="ux_identity_turns"),
            NoDelete(name="identity_turns_stay"),
        ]

    def __str__(self) -> str:
        return self.runner
