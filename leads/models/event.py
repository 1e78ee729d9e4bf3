"""The life of a lead: its machine, and the chain of what happened."""

from __future__ import annotations

from django.db import models
from django.db.models import Case, F, Q, Value, When
from django.db.models.functions import Now

from leads.models.lead import Lead
from leads.states import LeadState
from tenants.constraints import AppendOnly, References
from tenants.fields import UlidField
from tenants.models import Actor, ChildModel, TenantForeignKey


class LeadTransition(models.Model):
    """A legal move of the state machine; changing the machine is adding rows here."""

    from_state = models.CharField(max_length=20, choices=LeadState)
    to_state = models.CharField(max_length=20, choices=LeadState)
    version = models.PositiveSmallIntegerField(default=1)

    class Meta:
        db_table = "lead_transitions"
        constraints = [
            models.UniqueConstraint(fields=["from_state", "to_state"], name="ux_lead_transitions"),
            models.UniqueConstraint(
                fields=["from_state", "to_state", "version"], name="ux_lead_transitions_version"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.from_state} to {self.to_state}"


class LeadEvent(ChildModel):
    """Immutable fact about a lead, with its state before and after.

    The events of a lead are a chain without gaps: each starts in the state its predecessor
    ended in, and a change of state is a move of ``lead_transitions``.
    """

    id = UlidField(prefix="lev", primary_key=True)
    lead = TenantForeignKey(Lead, related_name="events")
    seq = models.PositiveIntegerField()
    kind = models.CharField(max_length=40)
    from_state = models.CharField(max_length=20, null=True, choices=LeadState)
    to_state = models.CharField(max_length=20, choices=LeadState)
    payload = models.JSONField(default=dict)
    dedupe_key = models.CharField(max_length=200, null=True)
    consent_event = TenantForeignKey("leads.ConsentEvent", null=True, related_name="+")
    merge = TenantForeignKey("leads.Merge", null=True, related_name="+")
    machine = models.SmallIntegerField(
        null=True,
        db_default=1,
        default=1,
        help_text="Version of the machine that allows the move; empty: a merge does.",
    )
    actor = TenantForeignKey(Actor, null=True, related_name="+")
    correlation_id = models.CharField(max_length=40, blank=True)
    at = models.DateTimeField(db_default=Now())
    prev_seq = models.GeneratedField(
        expression=Case(When(seq__gt=0, then=F("seq") - 1)),
        output_field=models.IntegerField(null=True),
        db_persist=True,
    )
    moved_from = models.GeneratedField(
        expression=Case(When(~Q(from_state=F("to_state")), then=F("from_state"))),
        output_field=models.CharField(max_length=20, null=True),
        db_persist=True,
    )
    lifted = models.GeneratedField(
        expression=Case(
            When(Q(from_state="suppressed") & ~Q(to_state="suppressed"), then=Value("opted_in"))
        ),
        output_field=models.CharField(max_length=9, null=True),
        db_persist=True,
    )

    class Meta:
        db_table = "lead_events"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "lead", "seq", "to_state"], name="ux_lead_events_state"
            ),
            models.UniqueConstraint(fields=["tenant", "lead", "seq"], name="ux_lead_events_seq"),
            models.UniqueConstraint(fields=["tenant", "dedupe_key"], name="ux_lead_events_dedupe"),
            models.CheckConstraint(
                condition=(Q(seq=0) & Q(from_state=None) & Q(to_state="new"))
                | (Q(seq__gt=0) & Q(from_state__isnull=False)),
                name="lead_events_birth_is_new",
            ),
            models.CheckConstraint(
                condition=~Q(from_state="suppressed")
                | Q(to_state="suppressed")
                | Q(consent_event__isnull=False)
                # What a merge brought ends with it.
                | Q(merge__isnull=False, kind="unmerged"),
                name="lead_events_only_consent_lifts",
            ),
            models.CheckConstraint(
                condition=Q(machine__isnull=False)
                | Q(merge__isnull=False, kind__in=["merged", "merged_in", "unmerged"]),
                name="lead_events_only_merges_jump",
            ),
            References(
                name="fk_lead_events_chain",
                fields=["tenant", "lead", "prev_seq", "from_state"],
                to="leads.LeadEvent",
                to_fields=["tenant", "lead", "seq", "to_state"],
            ),
            References(
                name="fk_lead_events_move",
                fields=["moved_from", "to_state", "machine"],
                to="leads.LeadTransition",
                to_fields=["from_state", "to_state", "version"],
            ),
            # Not any choice lifts a suppression: only one that left the address opted in.
            References(
                name="fk_lead_events_lift",
                fields=["tenant", "consent_event", "lifted"],
                to="leads.ConsentEvent",
                to_fields=["tenant", "id", "state"],
            ),
            AppendOnly(name="lead_events_append_only"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} #{self.seq}"
