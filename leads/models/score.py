"""How good what we know of a lead is: the rule, the score now, the scores before."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Coalesce, Now

from leads.models.lead import Lead
from tenants.constraints import AppendOnly, NoDelete, References
from tenants.fields import UlidField
from tenants.models import Actor, ChildModel, TenantForeignKey, TenantModel

BANDS = {"contactable": "Contactable", "enriched": "Enriched", "low": "Low"}
#: Points of a score: the columns of LeadScore and QualityScore, and the weights of ScoreRule.
PARTS = ("email", "phone", "parcel", "occupied", "demographics")


class ScoreRule(TenantModel):
    """One version of the formula. Versions never change; the newest one is in force."""

    id = UlidField(prefix="scr", primary_key=True)
    version = models.PositiveIntegerField()
    email = models.PositiveSmallIntegerField(default=40, help_text="A verified e-mail.")
    phone = models.PositiveSmallIntegerField(default=30, help_text="A verified mobile or VoIP.")
    parcel = models.PositiveSmallIntegerField(default=10, help_text="Address key and parcel.")
    occupied = models.PositiveSmallIntegerField(default=10, help_text="Owner occupied.")
    demographics = models.PositiveSmallIntegerField(
        default=10, help_text="Age, value and equity as below."
    )
    age_min = models.PositiveSmallIntegerField(default=62)
    value_min = models.BigIntegerField(default=100_000, help_text="Dollars.")
    equity_above = models.BigIntegerField(default=0, help_text="Dollars.")
    contactable_from = models.PositiveSmallIntegerField(default=60)
    enriched_from = models.PositiveSmallIntegerField(default=40)
    reason = models.CharField(max_length=200, blank=True)
    actor = TenantForeignKey(Actor, null=True, related_name="+")

    class Meta:
        db_table = "score_rules"
        constraints = [
            models.UniqueConstraint(fields=["tenant", "version"], name="ux_score_rules_version"),
            models.CheckConstraint(
                condition=Q(enriched_from__lt=F("contactable_from"), contactable_from__lte=100),
                name="score_rules_bands_are_in_order",
            ),
            models.CheckConstraint(
                condition=Q(
                    email__lte=100 - F("phone") - F("parcel") - F("occupied") - F("demographics")
                ),
                name="score_rules_sum_to_100",
            ),
            AppendOnly(name="score_rules_append_only"),
        ]

    def __str__(self) -> str:
        return f"Version {self.version}"


class _Scored(ChildModel):
    score = models.PositiveSmallIntegerField(help_text="Sum of the known parts.")
    band = models.CharField(max_length=11, choices=BANDS)
    email = models.PositiveSmallIntegerField(null=True, help_text="Empty: nothing is known of it.")
    phone = models.PositiveSmallIntegerField(null=True)
    parcel = models.PositiveSmallIntegerField(null=True)
    occupied = models.PositiveSmallIntegerField(null=True)
    demographics = models.PositiveSmallIntegerField(null=True)
    rule_version = models.PositiveIntegerField()

    class Meta:
        abstract = True


def _sum_of_parts(name: str) -> models.CheckConstraint:
    total: Any = Coalesce(F(PARTS[0]), 0)
    for part in PARTS[1:]:
        total = total + Coalesce(F(part), 0)
    return models.CheckConstraint(condition=Q(score=total), name=name)


class LeadScore(_Scored):
    """The score of a lead now: slim, because all of them may be written at once."""

    BANDS = BANDS

    id = UlidField(prefix="lsc", primary_key=True)
    lead = TenantForeignKey(Lead, related_name="scores")
    updated_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        db_table = "lead_scores"
        constraints = [
            models.UniqueConstraint(fields=["tenant", "lead"], name="ux_lead_scores_lead"),
            models.CheckConstraint(
                condition=Q(band__in=list(BANDS)), name="lead_scores_band_is_known"
            ),
            _sum_of_parts("lead_scores_sum_of_parts"),
            NoDelete(name="lead_scores_stay"),
        ]
        indexes = [
            models.Index(fields=["tenant", "band", "score", "lead"], name="lead_scores_rank")
        ]

    def __str__(self) -> str:
        return f"{self.score} ({self.band})"


class QualityScore(_Scored):
    """A score that a lead got, with its parts and the version of the rule.

    It hangs from the lead's score, not from the lead: a check of the wide table for each of a
    million rows would lock, and so rewrite, all of it.
    """

    BANDS = BANDS

    id = UlidField(prefix="qsc", primary_key=True)
    lead = models.ForeignKey(
        Lead,
        on_delete=models.PROTECT,
        db_constraint=False,
        db_index=False,
        related_name="score_history",
    )
    correlation_id = models.CharField(max_length=40, blank=True)

    class Meta:
        db_table = "quality_scores"
        constraints = [
            models.CheckConstraint(
                condition=Q(band__in=list(BANDS)), name="quality_scores_band_is_known"
            ),
            _sum_of_parts("quality_scores_sum_of_parts"),
            References(
                name="fk_quality_scores_lead",
                fields=["tenant", "lead"],
                to="leads.LeadScore",
                to_fields=["tenant", "lead"],
            ),
            AppendOnly(name="quality_scores_append_only"),
        ]
        indexes = [models.Index(fields=["tenant", "lead", "-id"], name="quality_scores_lead")]

    def __str__(self) -> str:
        return f"{self.score} ({self.band})"
