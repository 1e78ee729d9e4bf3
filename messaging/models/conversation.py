from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from integrations.models import Integration
from leads.models import Lead, Worker
from tenants.constraints import NoDelete, References
from tenants.fields import UlidField
from tenants.models import Actor, ChildModel, TenantForeignKey, TenantModel

PHONE_NUMBER_STATUSES = {"active": "Active", "resting": "Resting", "retired": "Retired"}


class Brand(TenantModel):
    """A sender as carriers know it (10DLC). T-Mobile caps its segments per Pacific day."""

    id = UlidField(prefix="brand", primary_key=True)
    name = models.CharField(max_length=120)
    external_id = models.CharField(
        max_length=80, blank=True, help_text="The registry's id, such as BXXXXXX."
    )
    daily_segment_cap = models.PositiveIntegerField(
        default=2000, help_text="Segments a day, as the brand was vetted."
    )

    class Meta:
        db_table = "brands"
        constraints = [
            models.UniqueConstraint(fields=["tenant", "name"], name="ux_brands_name"),
            NoDelete(name="brands_stay"),
        ]

    def __str__(self) -> str:
        return self.name


class BrandDay(ChildModel):
    """Segments a brand used on one Pacific day; the check keeps every path to the cap.

    The carrier of a recipient is not known, so every text counts as one to T-Mobile.
    """

    id = UlidField(prefix="bday", primary_key=True)
    brand = TenantForeignKey(Brand, related_name="days")
    day = models.DateField(help_text="In Los Angeles.")
    used = models.PositiveIntegerField(default=0)
    cap = models.PositiveIntegerField()

    class Meta:
        db_table = "brand_days"
        constraints = [
            models.UniqueConstraint(fields=["tenant", "brand", "day"], name="ux_brand_days_day"),
            models.CheckConstraint(condition=Q(used__lte=models.F("cap")), name="brand_days_cap"),
            NoDelete(name="brand_days_stay"),
        ]

    def __str__(self) -> str:
        return f"{self.day}: {self.used} of {self.cap}"


class PhoneNumber(TenantModel):
    """One of our numbers. Its row is the token bucket and the daily counter of its sends.

    One that rests sends nothing until ``resting_until``, or until somebody wakes it.
    """

    STATUSES = PHONE_NUMBER_STATUSES

    id = UlidField(prefix="wphone", primary_key=True)
    number = models.CharField(max_length=16, help_text="E.164, for example +12025550100.")
    label = models.CharField(max_length=60, blank=True)
    worker = TenantForeignKey(Worker, null=True, blank=True, related_name="phone_numbers")
    integration = TenantForeignKey(Integration, related_name="phone_numbers")
    brand = TenantForeignKey(Brand, null=True, blank=True, related_name="phone_numbers")
    status = models.CharField(max_length=8, choices=STATUSES, default="active")
    rate_per_second = models.FloatField(default=1.0, help_text="Texts a second, on average.")
    burst = models.FloatField(default=10.0, help_text="Texts at once after a pause.")
    tokens = models.FloatField(default=10.0, editable=False)
    refilled_at = models.DateTimeField(db_default=Now(), editable=False)
    throttled_until = models.DateTimeField(null=True, editable=False)
    day = models.DateField(null=True, editable=False, help_text="Of the tenant's zone.")
    sent_today = models.PositiveIntegerField(default=0, editable=False)
    daily_cap = models.PositiveIntegerField(default=500, help_text="Texts a day.")
    resting_reason = models.CharField(max_length=200, blank=True, editable=False)
    resting_until = models.DateTimeField(null=True, editable=False)
    active_since = models.DateTimeField(
        null=True, editable=False, help_text="What happened before is not held against it."
    )

    class Meta:
        db_table = "phone_numbers"
        constraints = [
            models.UniqueConstraint(fields=["tenant", "number"], name="ux_phone_numbers_number"),
            models.CheckConstraint(
                condition=Q(sent_today__lte=models.F("daily_cap")), name="phone_numbers_cap"
            ),
            models.CheckConstraint(condition=Q(tokens__gte=0), name="phone_numbers_bucket"),
            models.CheckConstraint(
                condition=Q(status__in=list(PHONE_NUMBER_STATUSES)),
                name="phone_numbers_status_is_known",
            ),
            models.CheckConstraint(
                condition=Q(status="resting") | Q(resting_reason="", resting_until=None),
                name="phone_numbers_rest_has_state",
            ),
            NoDelete(name="phone_numbers_stay"),
        ]

    def __str__(self) -> str:
        return self.number


class DailySend(TenantModel):
    """How many texts a tenant sent on one of its days; the check keeps every path to the limit."""

    id = UlidField(prefix="dsend", primary_key=True)
    day = models.DateField()
    sent = models.PositiveIntegerField(default=0)
    cap = models.PositiveIntegerField()

    class Meta:
        db_table = "daily_sends"
        constraints = [
            models.UniqueConstraint(fields=["tenant", "day"], name="ux_daily_sends_day"),
            models.CheckConstraint(condition=Q(sent__lte=models.F("cap")), name="daily_sends_cap"),
            NoDelete(name="daily_sends_stay"),
        ]

    def __str__(self) -> str:
        return f"{self.day}: {self.sent} of {self.cap}"


class NumberDay(ChildModel):
    """What happened on a number on one of the tenant's days: a part of it, to be added up.

    Writers never wait for each other: each takes a part that nobody else holds, or begins a new
    one (``number_count``). The day is the one on which a fact was recorded.
    """

    #: Counters, in the order in which people read them.
    COUNTERS = (
        "sent",
        "delivered",
        "undelivered",
        "failed",
        "refused",
        "filtered",
        "opt_outs",
        "unknown",
        "inbound",
    )

    id = UlidField(prefix="nday", primary_key=True)
    phone_number = TenantForeignKey(PhoneNumber, related_name="days")
    day = models.DateField()
    sent = models.PositiveIntegerField(default=0, help_text="Accepted by the carrier.")
    delivered = models.PositiveIntegerField(default=0)
    undelivered = models.PositiveIntegerField(default=0)
    failed = models.PositiveIntegerField(default=0)
    refused = models.PositiveIntegerField(default=0, help_text="Of the failed: never accepted.")
    filtered = models.PositiveIntegerField(default=0, help_text="Of those: taken for spam.")
    opt_outs = models.PositiveIntegerField(default=0, help_text="Texts that said STOP.")
    unknown = models.PositiveIntegerField(default=0, help_text="Sends that became doubtful.")
    inbound = models.PositiveIntegerField(default=0)
    codes = models.JSONField(default=dict, help_text="Error code: how often.")
    needs_review = models.BooleanField(default=False, help_text="Something spoke against it.")

    class Meta:
        db_table = "number_days"
        constraints = [NoDelete(name="number_days_stay")]
        indexes = [
            models.Index(fields=["tenant", "phone_number", "day"], name="number_days_day"),
            models.Index(
                fields=["tenant"], condition=Q(needs_review=True), name="number_days_review"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.day}"


CONVERSATION_STATUSES = {"open": "Open", "snoozed": "Snoozed", "done": "Done"}


class Conversation(ChildModel):
    """The thread between one of our numbers and one of theirs.

    ``waiting_since`` is the team's fact (somebody waits for an answer); what one person has read
    is their notification.
    """

    STATUSES = CONVERSATION_STATUSES
    BANDS = {0: "High intent", 1: "Standard"}

    id = UlidField(prefix="conv", primary_key=True)
    lead = TenantForeignKey(Lead, related_name="conversations")
    phone_number = TenantForeignKey(PhoneNumber, null=True, related_name="conversations")
    our_number = models.CharField(max_length=32)
    their_number = models.CharField(max_length=32)
    stage = models.CharField(max_length=40)
    status = models.CharField(max_length=7, choices=STATUSES, default="open")
    waiting_since = models.DateTimeField(null=True)
    last_inbound_at = models.DateTimeField(null=True)
    last_outbound_at = models.DateTimeField(null=True)
    last_message_at = models.DateTimeField(db_default=Now())
    assigned_to = TenantForeignKey(Actor, null=True, related_name="+")
    claimed_by = TenantForeignKey(Actor, null=True, related_name="+")
    claimed_until = models.DateTimeField(null=True)
    snoozed_until = models.DateTimeField(null=True)
    band = models.PositiveSmallIntegerField(default=1, choices=BANDS)
    last_snippet = models.CharField(max_length=160, blank=True)
    updated_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "conversations"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "our_number", "their_number"], name="ux_conversations_numbers"
            ),
            models.CheckConstraint(
                condition=Q(status__in=list(CONVERSATION_STATUSES)),
                name="conversations_status_is_known",
            ),
            models.CheckConstraint(
                condition=(Q(claimed_by=None) & Q(claimed_until=None))
                | (Q(claimed_by__isnull=False) & Q(claimed_until__isnull=False)),
                name="conversations_claim_is_whole",
            ),
            models.CheckConstraint(
                condition=~Q(status="done") | Q(waiting_since=None),
                name="conversations_done_waits_not",
            ),
            models.CheckConstraint(
                condition=Q(status="snoozed") | Q(snoozed_until=None),
                name="conversations_snooze_has_state",
            ),
            References(
                name="fk_conversations_stage",
                fields=["tenant", "stage"],
                to="leads.Stage",
                to_fields=["tenant", "key"],
            ),
            NoDelete(name="conversations_stay"),
        ]
        indexes = [
            models.Index(
                fields=["tenant", "stage", "band", "waiting_since", "id"],
                condition=Q(waiting_since__isnull=False, status="open"),
                name="conversations_waiting",
            ),
            models.Index(fields=["tenant", "stage", "-id"], name="conversations_stage"),
            models.Index(
                fields=["tenant", "stage", "-last_message_at", "-id"], name="conversations_recent"
            ),
            models.Index(
                fields=["tenant", "assigned_to", "stage", "-last_message_at"],
                condition=Q(assigned_to__isnull=False),
                name="conversations_assigned",
            ),
            models.Index(fields=["tenant", "lead"], name="conversations_lead"),
            models.Index(fields=["tenant", "their_number"], name="conversations_theirs"),
            models.Index(
                fields=["tenant", "snoozed_until"],
                condition=Q(status="snoozed"),
                name="conversations_snoozed",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.our_number} and {self.their_number}"


MESSAGE_STATUSES = {
    "received": "Received",
    "queued": "Sending",
    "unknown": "Not confirmed",
    "sent": "Sent",
    "delivered": "Delivered",
    "undelivered": "Undelivered",
    "failed": "Failed",
    "suppressed": "Blocked",
    "cancelled": "Cancelled",
}


class Message(ChildModel):
    """One text, in or out. ``status`` only moves up, whatever the order of its reports."""

    DIRECTIONS = {"in": "Inbound", "out": "Outbound"}
    #: Status → rank. Equal and lower ranks never replace what is there.
    RANKS = {
        "received": 0,
        "queued": 0,
        "unknown": 1,
        "sent": 2,
        "delivered": 3,
        "undelivered": 3,
        "failed": 3,
        "suppressed": 3,
        "cancelled": 3,
    }
    STATUSES = MESSAGE_STATUSES

    id = UlidField(prefix="msg", primary_key=True)
    conversation = TenantForeignKey(Conversation, related_name="messages")
    lead = TenantForeignKey(Lead, related_name="messages")
    direction = models.CharField(max_length=3, choices=DIRECTIONS)
    channel = models.CharField(max_length=5, default="sms")
    sender = models.CharField(max_length=32)
    recipient = models.CharField(max_length=32)
    body = models.TextField(blank=True)
    media = models.JSONField(default=list)
    provider = models.CharField(max_length=40)
    external_id = models.CharField(max_length=200, null=True)
    status = models.CharField(max_length=11, choices=STATUSES)
    error_code = models.CharField(max_length=40, blank=True)
    error = models.TextField(blank=True)
    segments = models.PositiveSmallIntegerField(null=True)
    is_automated = models.BooleanField(default=False)
    actor = TenantForeignKey(Actor, null=True, related_name="+")
    reading = models.CharField(max_length=20, blank=True, help_text="How an inbound was read.")
    webhook_event = UlidField(prefix="wh", null=True)
    correlation_id = models.CharField(max_length=40, blank=True)
    occurred_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "messages"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "provider", "external_id"],
                condition=Q(external_id__isnull=False),
                name="ux_messages_external",
            ),
            models.CheckConstraint(
                condition=Q(status__in=list(MESSAGE_STATUSES)), name="messages_status_is_known"
            ),
            models.CheckConstraint(
                condition=(Q(direction="in") & Q(status="received"))
                | (Q(direction="out") & ~Q(status="received")),
                name="messages_direction_fits_status",
            ),
            NoDelete(name="messages_stay"),
        ]
        indexes = [
            models.Index(fields=["tenant", "conversation", "-id"], name="messages_thread"),
            models.Index(fields=["tenant", "lead", "-id"], name="messages_lead"),
            models.Index(fields=["tenant", "-id"], name="messages_newest"),
        ]

    def __str__(self) -> str:
        return f"{self.get_direction_display()} {self.id}"
