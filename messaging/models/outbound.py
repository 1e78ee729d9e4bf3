from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from leads.models import Consent, ConsentEvent, Lead
from messaging.models.conversation import Conversation, Message, PhoneNumber
from tenants.constraints import AppendOnly, NoDelete
from tenants.fields import UlidField
from tenants.models import Actor, ChildModel, TenantForeignKey

OUTBOUND_MESSAGE_PURPOSES = {
    "reply": "Reply",
    "first_text": "First text",
    "opt_out_confirmation": "Opt-out confirmation",
    "help": "Help text",
}
OUTBOUND_MESSAGE_STATES = {
    "queued": "Queued",
    "sending": "Sending",
    "unknown": "Not confirmed",
    "sent": "Sent",
    "delivered": "Delivered",
    "undelivered": "Undelivered",
    "failed": "Failed",
    "suppressed": "Blocked",
    "cancelled": "Cancelled",
}


class OutboundMessage(ChildModel):
    """The intent to send one text, once: the outbox. ``state`` only moves forward.

    A trigger lets no row enter ``sending`` while its address is opted out, by whatever door; the
    one exception is the confirmation of that very opt-out, once, within five minutes.
    """

    PURPOSES = OUTBOUND_MESSAGE_PURPOSES
    STATES = OUTBOUND_MESSAGE_STATES

    id = UlidField(prefix="obm", primary_key=True)
    send_key = models.CharField(max_length=200, help_text="What makes this text unique.")
    message = TenantForeignKey(Message, related_name="outbound")
    conversation = TenantForeignKey(Conversation, related_name="+")
    lead = TenantForeignKey(Lead, related_name="+")
    consent = TenantForeignKey(Consent, related_name="+")
    phone_number = TenantForeignKey(PhoneNumber, related_name="+")
    to_address = models.CharField(max_length=32)
    body = models.TextField()
    purpose = models.CharField(max_length=20, choices=PURPOSES)
    is_automated = models.BooleanField(default=False)
    actor = TenantForeignKey(Actor, null=True, related_name="+")
    consent_event = TenantForeignKey(ConsentEvent, null=True, related_name="+")
    segments = models.PositiveSmallIntegerField(default=1, help_text="As carriers count them.")
    verdict = models.JSONField(help_text="Why it was allowed or held, with every reason.")
    due_at = models.DateTimeField(db_default=Now())
    state = models.CharField(max_length=11, choices=STATES, default="queued")
    attempt = models.PositiveSmallIntegerField(default=0)
    consent_rev = models.PositiveIntegerField(null=True, help_text="Proof: consent at the claim.")
    claimed_at = models.DateTimeField(null=True)
    retry_at = models.DateTimeField(null=True, help_text="Of an unknown: next idempotent repeat.")
    repeats = models.PositiveSmallIntegerField(default=0)
    look_at = models.DateTimeField(null=True, help_text="Of an unknown: next look-up.")
    looks = models.PositiveSmallIntegerField(default=0, help_text="Look-ups that were answered.")
    resends = models.PositiveSmallIntegerField(default=0, help_text="By people, after a doubt.")
    resent_by = TenantForeignKey(Actor, null=True, related_name="+")
    gave_up_at = models.DateTimeField(
        null=True, help_text="Nobody could tell within a day: a person decides."
    )
    decided_at = models.DateTimeField(null=True)
    decided_by = TenantForeignKey(Actor, null=True, related_name="+")
    went_twice = models.BooleanField(
        default=False, help_text="Two attempts turned out to have been taken."
    )
    sent_before_stop = models.BooleanField(
        default=False, help_text="An opt-out met it when it was already in flight."
    )
    provider_message_id = models.CharField(max_length=200, blank=True)
    error = models.TextField(blank=True)
    error_code = models.CharField(max_length=40, blank=True)
    error_class = models.CharField(max_length=12, blank=True)
    correlation_id = models.CharField(max_length=40, blank=True)
    updated_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "outbound_messages"
        constraints = [
            models.UniqueConstraint(fields=["tenant", "send_key"], name="ux_outbound_send_key"),
            models.UniqueConstraint(fields=["tenant", "message"], name="ux_outbound_message"),
            models.UniqueConstraint(
                fields=["tenant", "consent_event"],
                condition=Q(purpose="opt_out_confirmation"),
                name="ux_outbound_one_confirmation",
            ),
            # A text at the carrier is one text of ours: no look-up gives it to a second.
            models.UniqueConstraint(
                fields=["tenant", "provider_message_id", "phone_number"],
                condition=~Q(provider_message_id=""),
                name="ux_outbound_provider_id",
            ),
            models.CheckConstraint(
                condition=Q(state__in=list(OUTBOUND_MESSAGE_STATES)), name="outbound_state_is_known"
            ),
            models.CheckConstraint(
                condition=Q(purpose__in=list(OUTBOUND_MESSAGE_PURPOSES)),
                name="outbound_purpose_is_known",
            ),
            models.CheckConstraint(
                condition=~Q(purpose="opt_out_confirmation") | Q(consent_event__isnull=False),
                name="outbound_confirmation_has_cause",
            ),
            models.CheckConstraint(
                condition=Q(state__in=["queued", "cancelled", "suppressed"])
                | (Q(attempt__gt=0) & Q(consent_rev__isnull=False)),
                name="outbound_sending_has_proof",
            ),
            models.CheckConstraint(condition=Q(segments__gt=0), name="outbound_has_segments"),
            models.CheckConstraint(
                condition=Q(resends=0) | Q(resent_by__isnull=False),
                name="outbound_resent_by_somebody",
            ),
            NoDelete(name="outbound_messages_stay"),
        ]
        indexes = [
            models.Index(
                fields=["tenant", "phone_number", "due_at"],
                condition=Q(state="queued"),
                name="outbound_due",
            ),
            models.Index(
                fields=["tenant", "claimed_at"],
                condition=Q(state__in=["sending", "unknown"]),
                name="outbound_in_flight",
            ),
            models.Index(
                fields=["tenant", "to_address"],
                condition=Q(state__in=["queued", "sending", "unknown"]),
                name="outbound_open_by_address",
            ),
            models.Index(
                fields=["tenant", "phone_number", "-claimed_at"],
                condition=Q(claimed_at__isnull=False),
                name="outbound_by_number",
            ),
            models.Index(
                fields=["tenant", "gave_up_at"],
                condition=Q(gave_up_at__isnull=False, decided_at=None),
                name="outbound_undecided",
            ),
            models.Index(
                fields=["tenant", "-id"], condition=Q(went_twice=True), name="outbound_twice"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_purpose_display()} to {self.to_address}"


class SendAttempt(ChildModel):
    """One call to the provider, written before it is made."""

    id = UlidField(prefix="sat", primary_key=True)
    outbound = TenantForeignKey(OutboundMessage, related_name="attempts")
    attempt = models.PositiveSmallIntegerField()
    token_hash = models.CharField(max_length=64, help_text="Of the status callback's token.")
    consent_rev = models.PositiveIntegerField()
    started_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "send_attempts"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "outbound", "attempt"], name="ux_send_attempts"
            ),
            models.UniqueConstraint(fields=["tenant", "token_hash"], name="ux_send_attempts_token"),
            AppendOnly(name="send_attempts_append_only"),
        ]

    def __str__(self) -> str:
        return f"attempt {self.attempt}"


SEND_OUTCOME_KINDS = {
    "accepted": "Accepted",
    "not_written": "Never reached the provider",
    "throttled": "Throttled",
    "opted_out": "Refused: opted out",
    "failed": "Refused",
    "ambiguous": "No certain answer",
    "delivered": "Delivered",
    "undelivered": "Undelivered",
    "stopped": "Stopped before the call",
    "not_found": "Not found at the provider",
    "look_failed": "Look-up failed",
    "gave_up": "Nobody could tell",
}


class SendOutcome(ChildModel):
    """What was learnt about an attempt: by the answer, a callback, silence, a look-up, a person."""

    KINDS = SEND_OUTCOME_KINDS
    SOURCES = {
        "call": "Answer",
        "callback": "Callback",
        "lease": "Silence",
        "gate": "Gate",
        "lookup": "Look-up",
        "operator": "Operator",
    }

    id = UlidField(prefix="sou", primary_key=True)
    attempt = TenantForeignKey(SendAttempt, related_name="outcomes")
    kind = models.CharField(max_length=12, choices=KINDS)
    source = models.CharField(max_length=10, choices=SOURCES)
    http_status = models.PositiveSmallIntegerField(null=True)
    provider_id = models.CharField(max_length=200, blank=True)
    error_code = models.CharField(max_length=40, blank=True)
    detail = models.TextField(blank=True)
    latency_ms = models.PositiveIntegerField(null=True)

    class Meta:
        db_table = "send_outcomes"
        constraints = [
            models.CheckConstraint(
                condition=Q(kind__in=list(SEND_OUTCOME_KINDS)), name="send_outcomes_kind_is_known"
            ),
            AppendOnly(name="send_outcomes_append_only"),
        ]
        indexes = [
            models.Index(fields=["tenant", "attempt"], name="send_outcomes_attempt"),
            models.Index(
                fields=["tenant", "provider_id"],
                condition=~Q(provider_id=""),
                name="send_outcomes_provider_id",
            ),
        ]

    def __str__(self) -> str:
        return self.get_kind_display()
