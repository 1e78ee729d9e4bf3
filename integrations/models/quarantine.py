from __future__ import annotations

from django.db import models
from django.db.models import Q

from tenants.constraints import NoDelete
from tenants.fields import UlidField
from tenants.models import Actor, TenantForeignKey, TenantModel


class QuarantineRule(TenantModel):
    """Which webhooks an operator withholds from now on; every criterion given must hold.

    Consent is never withheld: intake has written an opt-out before any rule is asked.
    """

    id = UlidField(prefix="qrl", primary_key=True)
    source = models.CharField(max_length=40, blank=True, help_text="Provider.")
    event_type = models.CharField(
        max_length=80, blank=True, help_text="The sender's name of it; * stands for anything."
    )
    sender = models.CharField(
        max_length=40, blank=True, help_text="Their address; * stands for anything."
    )
    contains = models.CharField(max_length=120, blank=True, help_text="Words in the body.")
    reason = models.TextField()
    actor = TenantForeignKey(Actor, null=True, related_name="+")
    ended_at = models.DateTimeField(null=True)
    ended_by = TenantForeignKey(Actor, null=True, related_name="+")

    class Meta:
        db_table = "quarantine_rules"
        constraints = [
            models.CheckConstraint(
                condition=~(Q(source="") & Q(event_type="") & Q(sender="") & Q(contains="")),
                name="quarantine_rules_say_what",
            ),
            models.CheckConstraint(condition=~Q(reason=""), name="quarantine_rules_say_why"),
            NoDelete(name="quarantine_rules_stay"),
        ]
        indexes = [
            models.Index(
                fields=["tenant"], condition=Q(ended_at=None), name="quarantine_rules_live"
            )
        ]

    def __str__(self) -> str:
        parts = [self.source, self.event_type, self.sender, self.contains and f"“{self.contains}”"]
        return " ".join(part for part in parts if part)
