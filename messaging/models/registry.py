"""The registry's own tables: rules, acknowledgements, what a choice stopped, lists, exports."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from integrations.models import Integration
from leads.models import Consent, ConsentEvent
from pipelines.models import PipelineRun
from tenants.constraints import AppendOnly, NoDelete
from tenants.fields import UlidField
from tenants.models import Actor, ChildModel, TenantForeignKey, TenantModel

WEEKDAYS = {
    0: "Monday",
    1: "Tuesday",
    2: "Wednesday",
    3: "Thursday",
    4: "Friday",
    5: "Saturday",
    6: "Sunday",
}


class ContactRule(TenantModel):
    """When, and how often, people of one jurisdiction may be texted. Not legal advice.

    A row for a weekday takes the place of the row for all days. The database counts ``version`` up
    with every change, so a verdict says which wording it was made under.
    """

    WEEKDAYS = WEEKDAYS

    id = UlidField(prefix="crule", primary_key=True)
    jurisdiction = models.CharField(
        max_length=5, help_text="US for everybody, US-FL for one state."
    )
    weekday = models.PositiveSmallIntegerField(
        null=True, blank=True, choices=WEEKDAYS, help_text="Empty: every day without a row."
    )
    start = models.PositiveSmallIntegerField(help_text="Hour, on the recipient's clock.")
    end = models.PositiveSmallIntegerField(help_text="Hour; the same as the start: not at all.")
    max_per_24h = models.PositiveSmallIntegerField(
        null=True, blank=True, help_text="Texts to one person in 24 hours; empty: no limit."
    )
    source = models.CharField(max_length=300, help_text="Where the rule stands.")
    reviewed_on = models.DateField(help_text="When somebody last read it there.")
    is_active = models.BooleanField(default=True)
    version = models.PositiveIntegerField(default=1, editable=False)
    updated_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        db_table = "contact_rules"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "jurisdiction", "weekday"],
                nulls_distinct=False,
                name="ux_contact_rules",
            ),
            models.CheckConstraint(
                condition=Q(jurisdiction__regex="^US(-[A-Z]{2})?$"),
                name="contact_rules_jurisdiction_is_one",
            ),
            models.CheckConstraint(
                condition=Q(weekday=None) | Q(weekday__lte=6), name="contact_rules_weekday_is_one"
            ),
            models.CheckConstraint(
                condition=Q(start__lte=F("end"), end__lte=24), name="contact_rules_hours"
            ),
            models.CheckConstraint(
                condition=Q(max_per_24h=None) | Q(max_per_24h__gte=1),
                name="contact_rules_limit_is_one",
            ),
            models.CheckConstraint(
                condition=~Q(jurisdiction="US") | Q(weekday__isnull=False) | Q(is_active=True),
                name="contact_rules_federal_stays",
            ),
            NoDelete(name="contact_rules_stay"),
        ]

    def __str__(self) -> str:
        day = f", {self.get_weekday_display()}" if self.weekday is not None else ""
        return f"{self.jurisdiction}{day}"


CONSENT_ACK_STATES = {
    "pending": "Not told yet",
    "acknowledged": "Acknowledged",
    "failed": "Not told in time",
    "not_applicable": "Need not know",
}


class ConsentAck(ChildModel):
    """Whether one connected system was told of one opt-out, and took it."""

    STATES = CONSENT_ACK_STATES

    id = UlidField(prefix="cack", primary_key=True)
    consent_event = TenantForeignKey(ConsentEvent, related_name="acks")
    integration = TenantForeignKey(Integration, related_name="+")
    state = models.CharField(max_length=14, choices=STATES, default="pending")
    attempts = models.PositiveSmallIntegerField(default=0)
    next_at = models.DateTimeField(null=True, db_default=Now())
    due_at = models.DateTimeField(help_text="Ten business days after the opt-out.")
    acked_at = models.DateTimeField(null=True)
    last_error = models.TextField(blank=True)
    updated_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "consent_acks"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "consent_event", "integration"], name="ux_consent_acks"
            ),
            models.CheckConstraint(
                condition=Q(state__in=list(CONSENT_ACK_STATES)), name="consent_acks_state_is_known"
            ),
            models.CheckConstraint(
                condition=(Q(state="acknowledged") & Q(acked_at__isnull=False))
                | (~Q(state="acknowledged") & Q(acked_at=None)),
                name="consent_acks_acknowledged_has_time",
            ),
            models.CheckConstraint(
                condition=(Q(state="pending") & Q(next_at__isnull=False))
                | (~Q(state="pending") & Q(next_at=None)),
                name="consent_acks_pending_has_next",
            ),
            NoDelete(name="consent_acks_stay"),
        ]
        indexes = [
            models.Index(
                fields=["tenant", "next_at"], condition=Q(state="pending"), name="consent_acks_due"
            )
        ]

    def __str__(self) -> str:
        return self.get_state_display()


CONSENT_EFFECT_KINDS = {
    "text_cancelled": "Queued text stopped",
    "in_flight": "Text already on its way",
    "timer_cancelled": "Timer cancelled",
    "lead_suppressed": "Lead suppressed",
    "conversation_closed": "Conversation closed",
}


class ConsentEffect(ChildModel):
    """One row that a choice stopped; never changed."""

    KINDS = CONSENT_EFFECT_KINDS

    id = UlidField(prefix="ceff", primary_key=True)
    consent_event = TenantForeignKey(ConsentEvent, related_name="effects")
    kind = models.CharField(max_length=20, choices=KINDS)
    subject = models.CharField(max_length=64, help_text="Id of the row.")
    at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "consent_effects"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "consent_event", "kind", "subject"], name="ux_consent_effects"
            ),
            models.CheckConstraint(
                condition=Q(kind__in=list(CONSENT_EFFECT_KINDS)),
                name="consent_effects_kind_is_known",
            ),
            AppendOnly(name="consent_effects_append_only"),
        ]

    def __str__(self) -> str:
        return self.get_kind_display()


SUPPRESSION_LIST_STATES = {
    "checked": "Checked, not applied",
    "applying": "Being applied",
    "paused": "Stopped half-way",
    "applied": "Applied",
    "undoing": "Being undone",
    "undone": "Undone",
    "discarded": "Discarded",
}


class SuppressionList(TenantModel):
    """A file of addresses that must not be contacted. Its rows are consents of scope ``list:``."""

    STATES = SUPPRESSION_LIST_STATES

    id = UlidField(prefix="sup", primary_key=True)
    name = models.CharField(max_length=120)
    source = models.CharField(max_length=40, help_text="Where the list is from.")
    reason = models.TextField()
    channel = models.CharField(max_length=5, choices=Consent.CHANNELS, default="sms")
    expires_at = models.DateTimeField(null=True, help_text="Empty: never.")
    state = models.CharField(max_length=9, choices=STATES, default="checked")
    file_name = models.CharField(max_length=200, blank=True)
    layout = models.CharField(max_length=80, blank=True, help_text="Encoding, separator, column.")
    total = models.PositiveIntegerField(default=0)
    fresh = models.PositiveIntegerField(default=0, help_text="New addresses.")
    known = models.PositiveIntegerField(default=0, help_text="Already blocked.")
    invalid = models.PositiveIntegerField(default=0)
    duplicates = models.PositiveIntegerField(default=0)
    done = models.PositiveIntegerField(default=0, help_text="Rows applied, or undone, so far.")
    stopped = models.PositiveIntegerField(default=0, help_text="Queued texts it stopped.")
    actor = TenantForeignKey(Actor, null=True, related_name="+")
    run = TenantForeignKey(PipelineRun, null=True, related_name="+")
    undo_reason = models.TextField(blank=True)
    finished_at = models.DateTimeField(null=True)
    updated_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "suppression_lists"
        constraints = [
            models.CheckConstraint(
                condition=Q(state__in=list(SUPPRESSION_LIST_STATES)),
                name="suppression_lists_state_is_known",
            ),
            models.CheckConstraint(
                condition=~Q(reason="") & ~Q(source="") & ~Q(name=""),
                name="suppression_lists_say_why",
            ),
            models.CheckConstraint(
                condition=~Q(state__in=["undoing", "undone"]) | ~Q(undo_reason=""),
                name="suppression_lists_undo_says_why",
            ),
            NoDelete(name="suppression_lists_stay"),
        ]
        indexes = [
            models.Index(
                fields=["tenant", "updated_at"],
                condition=Q(state__in=["applying", "undoing"]),
                name="suppression_lists_running",
            )
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def scope(self) -> str:
        """Scope of its consent rows."""
        return f"list:{self.pk}"

    @property
    def addresses(self) -> int:
        """How many addresses it holds."""
        return self.fresh + self.known


class DossierExport(TenantModel):
    """The head of a file that was handed out: who recomputes a forged file cannot forge this."""

    id = UlidField(prefix="dex", primary_key=True)
    address = models.CharField(max_length=320, help_text="As it is in the file.")
    head = models.CharField(max_length=64, help_text="SHA-256 of the last line, in hex.")
    records = models.PositiveIntegerField()
    actor = TenantForeignKey(Actor, null=True, related_name="+")
    at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "dossier_exports"
        constraints = [
            models.CheckConstraint(
                condition=Q(head__regex="^[0-9a-f]{64}$"), name="dossier_exports_head_is_hash"
            ),
            AppendOnly(name="dossier_exports_append_only"),
        ]
        indexes = [models.Index(fields=["tenant", "head"], name="dossier_exports_head")]

    def __str__(self) -> str:
        return self.head[:12]
