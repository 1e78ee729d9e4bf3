from __future__ import annotations

from django.db import models
from django.db.models import Case, F, Q, When
from django.db.models.functions import Now, Right

from tenants.constraints import AppendOnly, NoDelete, References
from tenants.fields import UlidField
from tenants.models import Actor, ChildModel, TenantForeignKey, TenantModel

CONSENT_STATES = {
    "unknown": "No choice recorded",
    "opted_in": "Opted in",
    "held": "On hold",
    "opted_out": "Opted out",
}


class Consent(TenantModel):
    """The recorded choice of a person: one base row per address and channel.

    Narrower scopes are rows beside it: ``number:+1202…``, ``brand:…``, ``campaign:…``, and
    ``list:sup_…`` for suppression lists, which block until they expire and which no START lifts.
    Every change and every claim of a send locks the base row first, so there is one lock to order
    them by. The state is proved by the event with the same ``rev``. Of an erased address only a
    keyed hash is kept; SQL finds the row by it.
    """

    STATES = CONSENT_STATES
    CHANNELS = {"sms": "Text", "call": "Call", "email": "E-mail"}

    id = UlidField(prefix="cns", primary_key=True)
    channel = models.CharField(max_length=5, choices=CHANNELS, default="sms")
    address = models.CharField(max_length=320, help_text="E.164 or a folded e-mail address.")
    scope = models.CharField(
        max_length=80,
        default="",
        blank=True,
        help_text="Empty: everything. number:<our number>, brand:…, campaign:… or list:<id>.",
    )
    state = models.CharField(max_length=9, choices=STATES, default="unknown")
    rev = models.PositiveIntegerField(default=0)
    position = models.BigIntegerField(
        default=0, help_text="Place, in the order of receipts, of the newest opt-out or hold."
    )
    source = models.CharField(
        max_length=40, default="", db_default="", blank=True, help_text="Of the newest choice."
    )
    expires_at = models.DateTimeField(
        null=True, blank=True, help_text="End of a suppression list's row; empty: never."
    )
    updated_at = models.DateTimeField(db_default=Now())
    tail = models.GeneratedField(
        expression=Right("address", 4),
        output_field=models.CharField(max_length=4),
        db_persist=True,
    )
    proved_rev = models.GeneratedField(
        expression=Case(When(rev__gt=0, then=F("rev"))),
        output_field=models.IntegerField(null=True),
        db_persist=True,
    )

    class Meta:
        db_table = "consents"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "channel", "address", "scope"], name="ux_consents"
            ),
            models.CheckConstraint(
                condition=Q(state__in=list(CONSENT_STATES)), name="consents_state_is_known"
            ),
            models.CheckConstraint(
                condition=Q(rev__gt=0) | Q(state="unknown"), name="consents_choice_has_event"
            ),
            models.CheckConstraint(
                condition=Q(expires_at=None) | Q(scope__startswith="list:"),
                name="consents_only_lists_end",
            ),
            References(
                name="fk_consents_proof",
                fields=["tenant", "id", "proved_rev", "state"],
                to="leads.ConsentEvent",
                to_fields=["tenant", "consent", "rev", "state"],
                deferred=True,
            ),
            NoDelete(name="consents_stay"),
        ]
        indexes = [
            models.Index(
                fields=["tenant", "state", "-updated_at"],
                condition=~Q(state="unknown"),
                name="consents_recorded",
            ),
            models.Index(
                fields=["tenant", "-updated_at", "-id"],
                condition=~Q(state="unknown"),
                name="consents_newest",
            ),
            models.Index(
                fields=["tenant", "tail"], condition=~Q(state="unknown"), name="consents_tail"
            ),
            models.Index(fields=["tenant", "scope"], name="consents_scope"),
        ]

    def __str__(self) -> str:
        return f"{self.address} {self.get_state_display().lower()}"


CONSENT_EVENT_KINDS = {
    "opt_out": "Opt-out",
    "opt_in": "Opt-in",
    "hold": "Hold",
    "release": "Release",
}


class ConsentEvent(ChildModel):
    """One choice, with its evidence; never changed."""

    KINDS = CONSENT_EVENT_KINDS

    id = UlidField(prefix="cev", primary_key=True)
    consent = TenantForeignKey(Consent, related_name="events")
    rev = models.PositiveIntegerField()
    kind = models.CharField(max_length=7, choices=KINDS)
    state = models.CharField(max_length=9, choices=Consent.STATES)
    source = models.CharField(max_length=40, help_text="texting, carrier, manual…")
    keyword = models.CharField(max_length=160, blank=True)
    reason = models.TextField(blank=True)
    webhook_event = UlidField(prefix="wh", null=True, help_text="Evidence; may be archived.")
    position = models.BigIntegerField(default=0)
    rule_version = models.CharField(
        max_length=20, default="", db_default="", blank=True, help_text="Of the reader of texts."
    )
    received_at = models.DateTimeField(
        null=True, help_text="When the evidence reached us, where it came from outside."
    )
    actor = TenantForeignKey(Actor, null=True, related_name="+")
    correlation_id = models.CharField(max_length=40, blank=True)
    at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "consent_events"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "consent", "rev"], name="ux_consent_events_rev"
            ),
            models.UniqueConstraint(
                fields=["tenant", "consent", "rev", "state"], name="ux_consent_events_state"
            ),
            models.UniqueConstraint(
                fields=["tenant", "id", "state"], name="ux_consent_events_lift"
            ),
            models.UniqueConstraint(
                fields=["tenant", "consent", "webhook_event", "kind"],
                condition=Q(webhook_event__isnull=False),
                name="ux_consent_events_evidence",
            ),
            models.CheckConstraint(
                condition=Q(kind__in=list(CONSENT_EVENT_KINDS)), name="consent_events_kind_is_known"
            ),
            AppendOnly(name="consent_events_append_only"),
        ]
        indexes = [
            models.Index(
                fields=["tenant", "-at"], condition=Q(kind="opt_out"), name="consent_events_stops"
            )
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.keyword}".strip()


class Redaction(TenantModel):
    """An address that was erased, by whom and why: the only key that lets its texts be blanked.

    It covers what there was when it was written. ``digest`` takes the place of the address.
    """

    id = UlidField(prefix="rdc", primary_key=True)
    digest = models.CharField(max_length=32)
    reason = models.TextField()
    actor = TenantForeignKey(Actor, null=True, related_name="+")
    correlation_id = models.CharField(max_length=40, blank=True)
    at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "redactions"
        constraints = [
            models.CheckConstraint(condition=~Q(reason=""), name="redactions_say_why"),
            models.CheckConstraint(
                condition=Q(digest__startswith="erased:"), name="redactions_keep_no_address"
            ),
            AppendOnly(name="redactions_append_only"),
        ]
        indexes = [models.Index(fields=["tenant", "digest"], name="redactions_digest")]

    def __str__(self) -> str:
        return self.digest
