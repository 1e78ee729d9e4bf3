from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import OpClass
from django.db import models
from django.db.models import F, Func, Q, Value
from django.db.models.functions import Coalesce, Lower, Now, NullIf, StrIndex, Substr

from leads.models.stage import Stage  # noqa: F401  (named by label below)
from leads.states import LeadState
from pipelines.models import Artifact, PipelineRun
from tenants.constraints import NoDelete, References
from tenants.fields import UlidField
from tenants.models import Actor, TenantForeignKey, TenantModel, check_time_zone

ENRICHMENT_STATUSES = {
    "none": "Not enriched",
    "queued": "Queued",
    "running": "Running",
    "parked": "Waiting for a vendor",
    "done": "Enriched",
    "failed": "Failed",
}


class Lead(TenantModel):
    """One opportunity in a tenant: a person, property or business to reach.

    ``state`` and ``event_seq`` change only by events: PostgreSQL checks that the newest event of
    the lead says the same state.
    """

    id = UlidField(prefix="lead", primary_key=True)
    source = models.CharField(max_length=40, default="manual")
    source_id = models.CharField(max_length=120, null=True, blank=True)
    first_name = models.CharField(max_length=80, blank=True)
    last_name = models.CharField(max_length=80, blank=True)
    full_name = models.CharField(max_length=200, blank=True)
    company = models.CharField(max_length=200, blank=True)
    title = models.CharField(max_length=120, blank=True)
    address_line1 = models.CharField(max_length=200, blank=True)
    unit = models.CharField(max_length=40, blank=True)
    city = models.CharField(max_length=100, blank=True)
    region = models.CharField(max_length=2, blank=True, help_text="State, two letters.")
    postal_code = models.CharField(max_length=10, blank=True)
    address_line2 = models.CharField(max_length=200, blank=True, db_default="", default="")
    county = models.CharField(max_length=80, blank=True, db_default="", default="")
    county_fips = models.CharField(
        max_length=5, blank=True, db_default="", default="", help_text="Five digits."
    )
    apn = models.CharField(
        "parcel number",
        max_length=60,
        blank=True,
        db_default="",
        default="",
        help_text="As the county writes it; unique only within the county.",
    )
    mak = models.CharField(
        "address key",
        max_length=20,
        blank=True,
        db_default="",
        default="",
        help_text="Melissa's, of the delivery address.",
    )
    addr_hash = models.CharField(
        max_length=64,
        null=True,
        editable=False,
        db_collation="C",
        help_text="SHA-256 of the normalised address with its unit; empty: no address.",
    )
    addr_hash_version = models.PositiveSmallIntegerField(db_default=0, default=0, editable=False)
    addr_owner = models.CharField(
        max_length=120,
        db_default="",
        default="",
        editable=False,
        help_text="Folded name of the person or company there: two owners are two leads.",
    )
    owner_company = models.CharField(max_length=200, blank=True, db_default="", default="")
    sector = models.CharField(max_length=80, blank=True, db_default="", default="")
    sic_code = models.CharField(max_length=8, blank=True, db_default="", default="")
    sic_description = models.CharField(max_length=120, blank=True, db_default="", default="")
    employee_count = models.PositiveIntegerField(null=True, blank=True)
    annual_revenue = models.BigIntegerField(null=True, blank=True, help_text="Dollars.")
    website = models.CharField(max_length=200, blank=True, db_default="", default="")
    age = models.PositiveSmallIntegerField(null=True, blank=True, help_text="Of the owner.")
    owner_occupied = models.BooleanField(null=True, blank=True, help_text="Empty: unknown.")
    property_value = models.BigIntegerField(null=True, blank=True, help_text="Dollars.")
    estimated_equity = models.BigIntegerField(
        null=True, blank=True, help_text="Dollars; may be negative."
    )
    is_decision_maker = models.BooleanField(null=True, blank=True)
    property_owner_likelihood = models.PositiveSmallIntegerField(
        null=True, blank=True, help_text="0 to 100."
    )
    enrichment_status = models.CharField(
        max_length=10,
        choices=ENRICHMENT_STATUSES,
        db_default="none",
        default="none",
        editable=False,
    )
    last_enriched_at = models.DateTimeField(null=True, blank=True, editable=False)
    priority_score = models.PositiveSmallIntegerField(db_default=0, default=0, editable=False)
    campaign_context = models.CharField(max_length=40, blank=True, db_default="", default="")
    added_to_campaign_at = models.DateTimeField(null=True, blank=True, editable=False)
    microsite_url = models.CharField(max_length=200, blank=True, db_default="", default="")
    assigned_persona = TenantForeignKey("leads.Worker", null=True, blank=True, related_name="leads")
    run = TenantForeignKey(
        PipelineRun,
        null=True,
        blank=True,
        editable=False,
        related_name="+",
    )
    run_row = models.BigIntegerField(
        null=True, editable=False, help_text="Line of the file, or place in the pull, it came from."
    )
    artifact = TenantForeignKey(Artifact, null=True, blank=True, editable=False, related_name="+")
    provenance = models.JSONField(
        db_default={},
        default=dict,
        editable=False,
        help_text="Of fields that did not come with the lead: source, at, run, artifact, actor.",
    )
    raw_data = models.JSONField(
        db_default={}, default=dict, blank=True, help_text="What the source said besides."
    )
    flags = ArrayField(
        models.CharField(max_length=40),
        db_default=[],
        default=list,
        blank=True,
        help_text="Keys of the flags it bears, kept by its labels.",
    )
    first_seen_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_seen_at = models.DateTimeField(null=True, blank=True, editable=False)
    time_zone = models.CharField(
        max_length=64, blank=True, validators=[check_time_zone], help_text="When it is known."
    )
    state = models.CharField(
        max_length=20, choices=LeadState, default=LeadState.NEW, editable=False
    )
    stage = models.CharField(max_length=40, default="initial_message")
    event_seq = models.PositiveIntegerField(default=0, editable=False)
    assigned_agent = TenantForeignKey(Actor, null=True, blank=True, related_name="leads")
    attempt_count = models.PositiveIntegerField(default=0, editable=False)
    last_attempt_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_response_at = models.DateTimeField(null=True, blank=True, editable=False)
    paused_until = models.DateTimeField(
        null=True, blank=True, help_text="Automation leaves a person who said no alone until then."
    )
    merged_into = TenantForeignKey("self", null=True, blank=True, related_name="merged")
    superseded_at = models.DateTimeField(null=True, blank=True, editable=False)
    updated_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        db_table = "leads"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "source", "source_id"],
                condition=Q(superseded_at=None, source_id__isnull=False),
                name="ux_leads_vendor",
            ),
            models.UniqueConstraint(
                fields=["tenant", "addr_hash", "addr_owner"],
                condition=Q(superseded_at=None, addr_hash__isnull=False),
                name="ux_leads_addr",
            ),
            models.UniqueConstraint(
                fields=["tenant", "mak"],
                condition=Q(superseded_at=None) & ~Q(mak=""),
                name="ux_leads_mak",
            ),
            models.UniqueConstraint(
                fields=["tenant", "county_fips", "apn"],
                condition=Q(superseded_at=None) & ~Q(apn="") & ~Q(county_fips=""),
                name="ux_leads_apn",
            ),
            models.CheckConstraint(
                condition=Q(state__in=LeadState.values), name="leads_state_is_known"
            ),
            models.CheckConstraint(
                condition=Q(enrichment_status__in=list(ENRICHMENT_STATUSES)),
                name="leads_enrichment_is_known",
            ),
            models.CheckConstraint(
                condition=Q(county_fips="") | Q(county_fips__regex="^[0-9]{5}$"),
                name="leads_county_fips_is_five_digits",
            ),
            models.CheckConstraint(
                condition=Q(age=None) | Q(age__lte=130), name="leads_age_is_human"
            ),
            models.CheckConstraint(
                condition=Q(property_owner_likelihood=None) | Q(property_owner_likelihood__lte=100),
                name="leads_likelihood_is_percent",
            ),
            models.CheckConstraint(
                condition=Q(merged_into=None) | Q(superseded_at__isnull=False),
                name="leads_merged_is_superseded",
            ),
            References(
                name="fk_leads_stage",
                fields=["tenant", "stage"],
                to="leads.Stage",
                to_fields=["tenant", "key"],
            ),
            References(
                name="fk_leads_last_event",
                fields=["tenant", "id", "event_seq", "state"],
                to="leads.LeadEvent",
                to_fields=["tenant", "lead", "seq", "to_state"],
                deferred=True,
            ),
            NoDelete(name="leads_stay"),
        ]
        indexes = [
            models.Index(fields=["tenant", "stage", "state"], name="leads_stage_state"),
            models.Index(
                fields=["tenant", "run"], condition=Q(run__isnull=False), name="leads_run"
            ),
            models.Index(
                F("tenant"),
                OpClass(Lower("full_name"), "text_pattern_ops"),
                condition=~Q(full_name=""),
                name="leads_full_name",
            ),
            models.Index(
                F("tenant"),
                OpClass(
                    Lower(
                        Coalesce(
                            NullIf("last_name", Value("")),
                            Func("full_name", Value(" "), Value(-1), function="split_part"),
                        )
                    ),
                    "text_pattern_ops",
                ),
                condition=~Q(full_name="", last_name=""),
                name="leads_surname",
            ),
            models.Index(
                F("tenant"),
                OpClass(Lower("company"), "text_pattern_ops"),
                condition=~Q(company=""),
                name="leads_company",
            ),
            models.Index(
                F("tenant"),
                OpClass(Lower("address_line1"), "text_pattern_ops"),
                condition=~Q(address_line1=""),
                name="leads_address",
            ),
            # Without the house number: people look for the street.
            models.Index(
                F("tenant"),
                OpClass(
                    Lower(Substr("address_line1", StrIndex("address_line1", Value(" ")) + 1)),
                    "text_pattern_ops",
                ),
                condition=~Q(address_line1=""),
                name="leads_street",
            ),
            # A merged lead still says whose its keys are now.
            models.Index(
                fields=["tenant", "source", "source_id"],
                condition=Q(superseded_at__isnull=False),
                name="leads_merged_vendor",
            ),
            models.Index(
                fields=["tenant", "addr_hash"],
                condition=Q(superseded_at__isnull=False),
                name="leads_merged_addr",
            ),
        ]

    def __str__(self) -> str:
        return self.display_name

    @property
    def display_name(self) -> str:
        """Name to show: of the person, else the company, else the street."""
        return self.known_name or "Unknown sender"

    @property
    def known_name(self) -> str:
        """Name as far as one is known, else ``""``."""
        name = self.full_name or f"{self.first_name} {self.last_name}".strip()
        return name or self.company or self.address_line1
