"""Waterfall enrichment: ordered, priced, gated stages; every paid call and what came of it."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from integrations.models.integration import Integration
from integrations.models.pull import PullSweep
from leads.models import ContactPoint, Lead
from pipelines.models import Artifact, PipelineRun
from tenants.constraints import AppendOnly, NoDelete
from tenants.fields import UlidField
from tenants.models import Actor, ChildModel, TenantForeignKey, TenantModel

STAGE_KINDS = {
    "enrich": "Enrich the lead",
    "verify_email": "Verify its e-mails",
    "verify_phone": "Look up its phones",
}


class WaterfallStage(ChildModel):
    """One step: whom it asks, when it may, what a call costs, and how much a day may cost.

    *gate*: conditions on what is known, all of which must hold for the stage to run:
    ``score_below`` (0-100), ``without`` (one of mobile, phone, email, mak, apn is missing),
    ``with`` (all of these are known), ``bands`` (one of them). ``most``: phones or e-mails of a
    lead that a verifying stage looks at. Once the tenant's bar is met no stage runs, but those
    with ``always``.
    """

    KINDS = STAGE_KINDS

    id = UlidField(prefix="wfs", primary_key=True)
    integration = TenantForeignKey(Integration, related_name="waterfall_stages")
    name = models.CharField(max_length=80)
    kind = models.CharField(max_length=12, choices=STAGE_KINDS, default="enrich")
    service = models.CharField(max_length=40, help_text="Which of the provider's services.")
    position = models.PositiveSmallIntegerField()
    gate = models.JSONField(default=dict, blank=True)
    wanted_lines = models.JSONField(
        default=list, blank=True, help_text="Line types that count as a hit; empty: any."
    )
    price_cents = models.PositiveIntegerField(help_text="Per call, at most.")
    daily_call_cap = models.PositiveIntegerField(null=True, blank=True)
    daily_cents_cap = models.PositiveIntegerField(null=True, blank=True)
    monthly_cents_cap = models.PositiveIntegerField(null=True, blank=True)
    cool_down_days = models.PositiveSmallIntegerField(
        default=14, help_text="A lead is not asked about again for so long after a miss."
    )
    fresh_days = models.PositiveSmallIntegerField(
        default=90, help_text="An answer about the same input is used again for so long."
    )
    enabled = models.BooleanField(default=True)
    updated_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        db_table = "waterfall_stages"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "position"],
                name="ux_waterfall_stages_position",
                deferrable=models.Deferrable.DEFERRED,
            ),
            models.UniqueConstraint(fields=["tenant", "name"], name="ux_waterfall_stages_name"),
            models.CheckConstraint(
                condition=Q(kind__in=list(STAGE_KINDS)), name="waterfall_stages_kind_is_known"
            ),
            NoDelete(name="waterfall_stages_stay"),
        ]

    def __str__(self) -> str:
        return self.name


ENRICHMENT_STATES = {
    "queued": "Queued",
    "running": "Running",
    "parked": "Waiting for a vendor",
    "held": "Held by a cap or an open circuit",
    "done": "Done",
    "failed": "Failed",
    "cancelled": "Cancelled",
}
OPEN_STATES = ["queued", "running", "parked", "held"]


class Enrichment(ChildModel):
    """One lead on its way down the waterfall."""

    STATES = ENRICHMENT_STATES

    id = UlidField(prefix="enr", primary_key=True)
    lead = TenantForeignKey(Lead, related_name="enrichments")
    run = TenantForeignKey(PipelineRun, related_name="+")
    state = models.CharField(max_length=9, choices=ENRICHMENT_STATES, default="queued")
    position = models.PositiveSmallIntegerField(default=0, help_text="Of the next stage.")
    available_at = models.DateTimeField(db_default=Now())
    lease_until = models.DateTimeField(null=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    cost_cents = models.PositiveIntegerField(default=0)
    saved_cents = models.PositiveIntegerField(default=0, help_text="By gates and kept answers.")
    score_before = models.PositiveSmallIntegerField(null=True)
    score_after = models.PositiveSmallIntegerField(null=True)
    steps = models.JSONField(default=list, help_text="Per stage: what it did, or why not.")
    error = models.TextField(blank=True)
    actor = TenantForeignKey(Actor, null=True, related_name="+")
    correlation_id = models.CharField(max_length=40, blank=True)
    finished_at = models.DateTimeField(null=True)
    updated_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        db_table = "enrichments"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "lead"],
                condition=Q(state__in=OPEN_STATES),
                name="ux_enrichments_open",
            ),
            models.CheckConstraint(
                condition=Q(state__in=list(ENRICHMENT_STATES)), name="enrichments_state_is_known"
            ),
            models.CheckConstraint(
                condition=(Q(state__in=OPEN_STATES) & Q(finished_at=None))
                | (~Q(state__in=OPEN_STATES) & Q(finished_at__isnull=False)),
                name="enrichments_finished_has_time",
            ),
            NoDelete(name="enrichments_stay"),
        ]
        indexes = [
            models.Index(
                fields=["tenant", "available_at"],
                condition=Q(state__in=OPEN_STATES),
                name="enrichments_due",
            ),
            models.Index(fields=["tenant", "run"], name="enrichments_run"),
        ]

    def __str__(self) -> str:
        return f"{self.lead_id}: {self.get_state_display()}"


CALL_RESULTS = {
    "hit": "Hit",
    "miss": "Miss",
    "pending": "Pending",
    "refused": "Refused",
    "failed": "Failed",
    "unknown": "Unknown",
}


class VendorCall(TenantModel):
    """A paid request to a vendor, written down before it is made. What came back: VendorAnswer.

    ``reserved_cents`` is what it may cost at most; it was taken from the counters when the row was
    written, and the answer gives back what was not spent.
    """

    id = UlidField(prefix="strace", primary_key=True)
    provider = models.CharField(max_length=40)
    service = models.CharField(max_length=40)
    integration = TenantForeignKey(Integration, related_name="+")
    stage = TenantForeignKey(WaterfallStage, null=True, related_name="calls")
    enrichment = TenantForeignKey(Enrichment, null=True, related_name="calls")
    sweep = TenantForeignKey(PullSweep, null=True, related_name="calls")
    lead = TenantForeignKey(Lead, null=True, related_name="vendor_calls")
    point = TenantForeignKey(ContactPoint, null=True, related_name="+")
    fingerprint = models.CharField(max_length=64, help_text="SHA-256 of what was asked.")
    reserved_cents = models.PositiveIntegerField()
    scopes = ArrayField(
        models.CharField(max_length=60),
        db_default=[],
        default=list,
        help_text="Of the counters it was taken from.",
    )
    day = models.DateField(help_text="Of the counters, in the tenant's zone.")
    correlation_id = models.CharField(max_length=40, blank=True)
    at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "vendor_calls"
        constraints = [
            models.CheckConstraint(
                condition=Q(fingerprint__regex="^[0-9a-f]{64}$"),
                name="vendor_calls_fingerprint_is_sha256",
            ),
            AppendOnly(name="vendor_calls_append_only"),
        ]
        indexes = [
            models.Index(fields=["tenant", "lead", "-id"], name="vendor_calls_lead"),
            models.Index(fields=["tenant", "provider", "day"], name="vendor_calls_day"),
            models.Index(fields=["tenant", "sweep"], name="vendor_calls_sweep"),
        ]

    def __str__(self) -> str:
        return f"{self.provider} {self.service}"


class VendorAnswer(ChildModel):
    """What became of a paid request.

    ``pending`` and ``unknown`` may be followed by another answer; any other is the last.
    """

    RESULTS = CALL_RESULTS

    id = UlidField(prefix="van", primary_key=True)
    call = TenantForeignKey(VendorCall, related_name="answers")
    result = models.CharField(max_length=7, choices=CALL_RESULTS)
    cost_cents = models.PositiveIntegerField(default=0)
    http_status = models.PositiveSmallIntegerField(null=True)
    latency_ms = models.PositiveIntegerField(null=True)
    request_id = models.CharField(max_length=120, blank=True, help_text="The vendor's.")
    error = models.CharField(max_length=300, blank=True)
    artifact = TenantForeignKey(Artifact, null=True, related_name="+")
    is_final = models.GeneratedField(
        expression=~Q(result__in=["pending", "unknown"]),  # type: ignore[arg-type]  # the stubs know no Q
        output_field=models.BooleanField(),
        db_persist=True,
    )
    at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "vendor_answers"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "call"],
                condition=~Q(result__in=["pending", "unknown"]),
                name="ux_vendor_answers_final",
            ),
            models.CheckConstraint(
                condition=Q(result__in=list(CALL_RESULTS)), name="vendor_answers_result_is_known"
            ),
            AppendOnly(name="vendor_answers_append_only"),
        ]
        indexes = [
            models.Index(fields=["tenant", "call"], name="vendor_answers_call"),
            models.Index(
                fields=["tenant", "request_id"],
                condition=~Q(request_id=""),
                name="vendor_answers_request",
            ),
        ]

    def __str__(self) -> str:
        return self.get_result_display()


class VendorInput(TenantModel):
    """The newest call about one input: while it is fresh, nobody pays for the same again.

    While ``open_since`` is set, that call is in flight, pending or unknown: nobody else asks.
    """

    id = UlidField(prefix="vin", primary_key=True)
    provider = models.CharField(max_length=40)
    service = models.CharField(max_length=40)
    fingerprint = models.CharField(max_length=64)
    call = TenantForeignKey(
        VendorCall, null=True, related_name="+", help_text="Empty: nobody was allowed to ask yet."
    )
    open_since = models.DateTimeField(null=True)
    fresh_until = models.DateTimeField()
    updated_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        db_table = "vendor_inputs"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "provider", "service", "fingerprint"], name="ux_vendor_inputs"
            ),
            models.CheckConstraint(
                condition=Q(open_since=None) | Q(call__isnull=False),
                name="vendor_inputs_open_has_call",
            ),
            NoDelete(name="vendor_inputs_stay"),
        ]
        indexes = [
            models.Index(
                fields=["tenant", "open_since"],
                condition=Q(open_since__isnull=False),
                name="vendor_inputs_open",
            )
        ]

    def __str__(self) -> str:
        return f"{self.provider} {self.fingerprint[:8]}"


SPEND_PERIODS = {"day": "Day", "month": "Month"}


class SpendCounter(TenantModel):
    """What was spent, and may be, in a day or month of the tenant: no path can pass its caps."""

    PERIODS = SPEND_PERIODS

    id = UlidField(prefix="spn", primary_key=True)
    scope = models.CharField(max_length=60, help_text="stage:<id>, provider:<name>, or all.")
    period = models.CharField(max_length=5, choices=SPEND_PERIODS)
    starts = models.DateField()
    calls = models.PositiveIntegerField(default=0)
    cents = models.PositiveBigIntegerField(default=0)
    call_cap = models.PositiveIntegerField(null=True)
    cents_cap = models.PositiveBigIntegerField(null=True)
    updated_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        db_table = "spend_counters"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "scope", "period", "starts"], name="ux_spend_counters"
            ),
            models.CheckConstraint(
                condition=Q(call_cap=None) | Q(calls__lte=F("call_cap")),
                name="spend_counters_calls_within_cap",
            ),
            models.CheckConstraint(
                condition=Q(cents_cap=None) | Q(cents__lte=F("cents_cap")),
                name="spend_counters_cents_within_cap",
            ),
            models.CheckConstraint(
                condition=Q(period__in=list(SPEND_PERIODS)), name="spend_counters_period_is_known"
            ),
            NoDelete(name="spend_counters_stay"),
        ]

    def __str__(self) -> str:
        return f"{self.scope} {self.starts}"


CIRCUIT_STATES = {"closed": "Working", "open": "Paused", "half": "Trying again"}


class ProviderCircuit(ChildModel):
    """Whether an account with a vendor works: after failures in a row it is left alone a while."""

    STATES = CIRCUIT_STATES

    id = UlidField(prefix="cir", primary_key=True)
    integration = TenantForeignKey(Integration, related_name="circuits")
    state = models.CharField(max_length=6, choices=CIRCUIT_STATES, default="closed")
    failures = models.PositiveIntegerField(default=0, help_text="In a row.")
    opened_at = models.DateTimeField(null=True)
    probe_at = models.DateTimeField(null=True)
    tries = models.PositiveSmallIntegerField(
        db_default=0, default=0, help_text="Probes that failed since it opened."
    )
    throttled_until = models.DateTimeField(null=True, help_text="Asked for by the vendor.")
    last_error = models.CharField(max_length=300, blank=True)
    updated_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        db_table = "provider_circuits"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "integration"], name="ux_provider_circuits_integration"
            ),
            models.CheckConstraint(
                condition=Q(state="closed", probe_at=None)
                | (~Q(state="closed") & Q(probe_at__isnull=False, opened_at__isnull=False)),
                name="provider_circuits_open_has_times",
            ),
            NoDelete(name="provider_circuits_stay"),
        ]

    def __str__(self) -> str:
        return f"{self.integration} {self.get_state_display()}"


class VerificationCode(models.Model):
    """What a vendor's word about an address or number means; the installation's, not a tenant's."""

    provider = models.CharField(max_length=40)
    channel = models.CharField(max_length=8)
    code = models.CharField(max_length=40)
    is_verified = models.BooleanField()
    meaning = models.CharField(max_length=160, blank=True)

    class Meta:
        db_table = "verification_codes"
        constraints = [
            models.UniqueConstraint(
                fields=["provider", "channel", "code"], name="ux_verification_codes"
            )
        ]

    def __str__(self) -> str:
        return f"{self.provider} {self.code}"
