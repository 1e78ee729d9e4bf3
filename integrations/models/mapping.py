from __future__ import annotations

from django.db import models
from django.db.models import Q

from integrations.models.integration import Integration
from tenants.fields import UlidField
from tenants.models import ChildModel, TenantForeignKey

FIELD_TRANSFORMS = {
    "": "As it is",
    "e164": "Phone number",
    "digits11": "Eleven digits",
    "strip_blank": "Without blanks around it",
    "epoch_ms": "Milliseconds since 1970",
    "epoch_s": "Seconds since 1970",
    "naive_utc": "Time without zone, UTC",
    "iso": "ISO 8601 time",
    "yes_no": "Yes or no",
    "money": "Money, in cents",
    "percent": "Percent, in basis points",
    "int": "Whole number",
    "csv_list": "List, comma-separated",
    "lower": "Lower case",
}


class FieldMapping(ChildModel):
    """Where one of our fields stands in the payload of a sender who has a format of their own.

    ``source_path`` is dotted, with list indexes, and fallbacks in order: ``data.from|from``.
    """

    TRANSFORMS = FIELD_TRANSFORMS

    id = UlidField(prefix="intf", primary_key=True)
    integration = TenantForeignKey(Integration, related_name="field_mappings")
    module = models.CharField(max_length=40, help_text="Our event: message.received…")
    position = models.PositiveSmallIntegerField(default=0)
    source_path = models.CharField(max_length=300)
    target_field = models.CharField(max_length=60)
    transform = models.CharField(max_length=12, choices=TRANSFORMS, blank=True)
    default = models.CharField(max_length=200, blank=True)
    required = models.BooleanField(default=False)

    class Meta:
        db_table = "field_mappings"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "integration", "module", "target_field"],
                name="ux_field_mappings_target",
            ),
            models.CheckConstraint(
                condition=Q(transform__in=list(FIELD_TRANSFORMS)),
                name="field_mappings_transform_is_known",
            ),
            models.CheckConstraint(
                condition=~Q(source_path="") | ~Q(default=""), name="field_mappings_have_a_source"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.source_path} → {self.target_field}"
