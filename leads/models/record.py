"""What is known around a lead: businesses, properties, who owns them, cards, activities."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from leads.models.contact import Contact
from leads.models.lead import Lead
from leads.models.stage import Worker
from pipelines.models import Artifact, PipelineRun
from tenants.constraints import AppendOnly, NoDelete
from tenants.fields import UlidField
from tenants.models import ChildModel, TenantForeignKey, TenantModel


class Business(TenantModel):
    """A company, as a register or a list names it."""

    id = UlidField(prefix="biz", primary_key=True)
    lead = TenantForeignKey(Lead, null=True, blank=True, related_name="businesses")
    name = models.CharField(max_length=200)
    dba = models.CharField("doing business as", max_length=200, blank=True)
    sic_code = models.CharField(max_length=8, blank=True)
    naics_code = models.CharField(max_length=8, blank=True)
    annual_revenue = models.BigIntegerField(null=True, blank=True, help_text="Dollars.")
    employee_count = models.PositiveIntegerField(null=True, blank=True)
    year_founded = models.PositiveSmallIntegerField(null=True, blank=True)
    website = models.CharField(max_length=200, blank=True)
    source = models.CharField(max_length=40, default="manual")
    source_file = models.CharField(max_length=200, null=True, blank=True)
    source_record_id = models.CharField(max_length=120, null=True, blank=True)
    run = TenantForeignKey(PipelineRun, null=True, blank=True, editable=False, related_name="+")
    superseded_at = models.DateTimeField(null=True, blank=True, editable=False)
    updated_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        db_table = "businesses"
        verbose_name_plural = "businesses"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "source_record_id", "source_file"],
                condition=Q(
                    source_record_id__isnull=False, source_file__isnull=False, superseded_at=None
                ),
                name="ux_businesses_source",
            ),
            models.UniqueConstraint(
                fields=["tenant", "lead", "name"],
                condition=Q(lead__isnull=False, superseded_at=None),
                name="ux_businesses_lead",
            ),
            models.CheckConstraint(condition=~Q(name=""), name="businesses_have_a_name"),
            NoDelete(name="businesses_stay"),
        ]

    def __str__(self) -> str:
        return self.name


class Property(TenantModel):
    """A parcel with its building and value, as a vendor or a list tells it."""

    id = UlidField(prefix="prop", primary_key=True)
    lead = TenantForeignKey(Lead, null=True, blank=True, related_name="properties")
    source = models.CharField(max_length=40)
    external_id = models.CharField(max_length=120, null=True, blank=True)
    address_line1 = models.CharField(max_length=200, blank=True)
    unit = models.CharField(max_length=40, blank=True)
    city = models.CharField(max_length=100, blank=True)
    region = models.CharField(max_length=2, blank=True)
    postal_code = models.CharField(max_length=10, blank=True)
    county_fips = models.CharField(max_length=5, blank=True)
    apn = models.CharField("parcel number", max_length=60, blank=True)
    mak = models.CharField("address key", max_length=20, blank=True)
    property_type = models.CharField(max_length=60, blank=True)
    bedrooms = models.DecimalField(max_digits=5, decimal_places=1, null=True, blank=True)
    bathrooms = models.DecimalField(max_digits=5, decimal_places=2, null=True, blank=True)
    square_feet = models.PositiveIntegerField(null=True, blank=True)
    lot_square_feet = models.BigIntegerField(null=True, blank=True)
    year_built = models.PositiveSmallIntegerField(null=True, blank=True)
    value = models.BigIntegerField(null=True, blank=True, help_text="Dollars.")
    assessed_value = models.BigIntegerField(null=True, blank=True, help_text="Dollars.")
    equity = models.BigIntegerField(null=True, blank=True, help_text="Dollars; may be negative.")
    mortgage = models.BigIntegerField(null=True, blank=True, help_text="Dollars.")
    loan_to_value = models.DecimalField(max_digits=7, decimal_places=2, null=True, blank=True)
    last_sale_on = models.DateField(null=True, blank=True)
    last_sale_amount = models.BigIntegerField(null=True, blank=True, help_text="Dollars.")
    owner_occupied = models.BooleanField(null=True, blank=True)
    flags = models.JSONField(default=dict, blank=True, help_text="Such as vacant, pre-foreclosure.")
    mailing_address = models.JSONField(default=dict, blank=True)
    artifact = TenantForeignKey(Artifact, null=True, blank=True, editable=False, related_name="+")
    run = TenantForeignKey(PipelineRun, null=True, blank=True, editable=False, related_name="+")
    superseded_at = models.DateTimeField(null=True, blank=True, editable=False)
    updated_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        db_table = "properties"
        verbose_name_plural = "properties"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "source", "external_id"],
                condition=Q(external_id__isnull=False, superseded_at=None),
                name="ux_properties_source",
            ),
            # One per source and lead where the source has no ids of its own.
            models.UniqueConstraint(
                fields=["tenant", "lead", "source"],
                condition=Q(lead__isnull=False, external_id=None, superseded_at=None),
                name="ux_properties_lead",
            ),
            NoDelete(name="properties_stay"),
        ]
        indexes = [models.Index(fields=["tenant", "lead"], name="properties_lead")]

    def __str__(self) -> str:
        return self.address_line1 or self.apn or self.external_id or self.pk


class PropertyDistressScore(ChildModel):
    """How distressed a property is, by one provider: +10 a sign, at most 100."""

    id = UlidField(prefix="pds", primary_key=True)
    property = TenantForeignKey(Property, related_name="distress_scores")
    provider = models.CharField(max_length=40)
    external_id = models.CharField(max_length=120)
    score = models.PositiveSmallIntegerField()
    signs = models.JSONField(default=list, help_text="What it counted.")
    payload = models.JSONField(default=dict, blank=True)
    updated_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        db_table = "property_distress_scores"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "provider", "external_id"], name="ux_property_distress_scores"
            ),
            models.CheckConstraint(condition=Q(score__lte=100), name="distress_scores_are_percent"),
            NoDelete(name="property_distress_scores_stay"),
        ]
        indexes = [models.Index(fields=["tenant", "property"], name="distress_scores_property")]

    def __str__(self) -> str:
        return f"{self.provider}: {self.score}"


OWNER_ROLES = {
    "owner": "Owner",
    "ceo": "CEO",
    "partner": "Partner",
    "investor": "Investor",
    "sales": "Sales",
    "executive": "Executive",
    "manager": "Manager",
    "professional": "Professional",
    "unknown": "Unknown",
}


class Ownership(ChildModel):
    """Who owns, or works for, what: a contact and a business or a property."""

    ROLES = OWNER_ROLES

    id = UlidField(prefix="own", primary_key=True)
    contact = TenantForeignKey(Contact, related_name="ownerships")
    business = TenantForeignKey(Business, null=True, blank=True, related_name="owners")
    property = TenantForeignKey(Property, null=True, blank=True, related_name="owners")
    role = models.CharField(max_length=12, choices=OWNER_ROLES, default="unknown")
    share = models.DecimalField(
        max_digits=5, decimal_places=2, null=True, blank=True, help_text="Percent."
    )
    is_decision_maker = models.BooleanField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "ownerships"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "contact", "business"],
                condition=Q(business__isnull=False),
                name="ux_ownerships_business",
            ),
            models.UniqueConstraint(
                fields=["tenant", "contact", "property"],
                condition=Q(property__isnull=False),
                name="ux_ownerships_property",
            ),
            models.CheckConstraint(
                condition=Q(business=None, property__isnull=False)
                | Q(business__isnull=False, property=None),
                name="ownerships_of_one_thing",
            ),
            models.CheckConstraint(
                condition=Q(role__in=list(OWNER_ROLES)), name="ownerships_role_is_known"
            ),
            models.CheckConstraint(
                condition=Q(share=None) | Q(share__gte=0, share__lte=100),
                name="ownerships_share_is_percent",
            ),
            NoDelete(name="ownerships_stay"),
        ]

    def __str__(self) -> str:
        return f"{self.contact} ({self.role})"


class LeadCard(ChildModel):
    """Scored summary of a contact in a tenant, with the parts of its score."""

    id = UlidField(prefix="ulc", primary_key=True)
    contact = TenantForeignKey(Contact, related_name="cards")
    lead = TenantForeignKey(Lead, related_name="cards")
    business = TenantForeignKey(Business, null=True, blank=True, related_name="+")
    property = TenantForeignKey(Property, null=True, blank=True, related_name="+")
    data_quality = models.PositiveSmallIntegerField(null=True)
    reachability = models.PositiveSmallIntegerField(null=True)
    role_score = models.PositiveSmallIntegerField(null=True)
    property_score = models.PositiveSmallIntegerField(null=True)
    business_score = models.PositiveSmallIntegerField(null=True)
    total_score = models.PositiveSmallIntegerField(default=0)
    breakdown = models.JSONField(default=dict)
    rule_version = models.PositiveIntegerField(default=1)
    enrichment_status = models.CharField(max_length=10, default="none")
    assigned_worker = TenantForeignKey(Worker, null=True, blank=True, related_name="+")
    assigned_channel = models.CharField(max_length=8, blank=True)
    updated_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        db_table = "lead_cards"
        constraints = [
            models.UniqueConstraint(fields=["tenant", "contact"], name="ux_lead_cards_contact"),
            models.CheckConstraint(
                condition=Q(total_score__lte=100), name="lead_cards_total_is_percent"
            ),
            NoDelete(name="lead_cards_stay"),
        ]
        indexes = [models.Index(fields=["tenant", "lead"], name="lead_cards_lead")]

    def __str__(self) -> str:
        return f"{self.contact}: {self.total_score}"


class LeadActivity(ChildModel):
    """Something that was done with the person of a lead card, here or in another system."""

    id = UlidField(prefix="lact", primary_key=True)
    lead = TenantForeignKey(Lead, related_name="activities")
    card = TenantForeignKey(LeadCard, null=True, related_name="activities")
    kind = models.CharField(max_length=40)
    channel = models.CharField(max_length=8, blank=True)
    worker = TenantForeignKey(Worker, null=True, related_name="+")
    subject = models.CharField(max_length=200, blank=True)
    content = models.TextField(blank=True)
    external_id = models.CharField(max_length=200, null=True)
    outcome = models.CharField(max_length=60, blank=True)
    correlation_id = models.CharField(max_length=40, blank=True)
    at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "lead_activities"
        verbose_name_plural = "lead activities"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "external_id"],
                condition=Q(external_id__isnull=False),
                name="ux_lead_activities_external",
            ),
            AppendOnly(name="lead_activities_append_only"),
        ]
        indexes = [
            models.Index(F("tenant"), F("lead"), F("id").desc(), name="lead_activities_lead")
        ]

    def __str__(self) -> str:
        return self.subject or self.kind
