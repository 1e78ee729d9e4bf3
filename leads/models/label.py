"""Words on leads: labels, tags, flags."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from leads.models.lead import Lead
from tenants.fields import UlidField
from tenants.models import ChildModel, TenantForeignKey, TenantModel

LABEL_KINDS = {"label": "Label", "tag": "Tag", "flag": "Flag"}


class Label(TenantModel):
    """A word that can be put on leads: a label such as GOLD, a tag, or a flag that warns."""

    KINDS = LABEL_KINDS

    id = UlidField(prefix="lbl", primary_key=True)
    kind = models.CharField(max_length=5, choices=LABEL_KINDS, db_default="label", default="label")
    key = models.CharField(max_length=40)
    name = models.CharField(max_length=60)
    color = models.CharField(max_length=10, default="slate")

    class Meta:
        db_table = "labels"
        constraints = [
            models.UniqueConstraint(fields=["tenant", "kind", "key"], name="ux_labels_key"),
            models.CheckConstraint(
                condition=Q(kind__in=list(LABEL_KINDS)), name="labels_kind_is_known"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class LeadLabel(ChildModel):
    """A label on a lead, and where it came from."""

    id = UlidField(prefix="llb", primary_key=True)
    lead = TenantForeignKey(Lead, related_name="labels")
    label = TenantForeignKey(Label, related_name="+")
    source = models.CharField(max_length=40, default="manual")
    event = TenantForeignKey(
        "leads.LeadEvent", null=True, blank=True, editable=False, related_name="+"
    )

    class Meta:
        db_table = "lead_labels"
        constraints = [
            models.UniqueConstraint(fields=["tenant", "lead", "label"], name="ux_lead_labels")
        ]
        indexes = [models.Index(fields=["tenant", "label", "lead"], name="lead_labels_label")]

    def __str__(self) -> str:
        return str(self.label)
