"""People of a lead, how to reach them, and what proved that they can be reached."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now, Right

from leads.models.lead import Lead
from pipelines.models import Artifact, PipelineRun
from tenants.constraints import AppendOnly, NoDelete, References
from tenants.fields import UlidField
from tenants.models import Actor, ChildModel, TenantForeignKey


class Contact(ChildModel):
    """An individual linked to a lead: an owner, an officer, a relative."""

    id = UlidField(prefix="con", primary_key=True)
    lead = TenantForeignKey(Lead, related_name="contacts")
    position = models.PositiveSmallIntegerField(default=1, help_text="Owner 1, owner 2, …")
    first_name = models.CharField(max_length=80, blank=True)
    last_name = models.CharField(max_length=80, blank=True)
    full_name = models.CharField(max_length=200, blank=True)
    title = models.CharField(max_length=120, blank=True)
    linkedin = models.CharField(max_length=200, blank=True)
    twitter = models.CharField(max_length=200, blank=True)
    date_of_birth = models.DateField(null=True, blank=True)
    age = models.PositiveSmallIntegerField(null=True, blank=True)
    is_deceased = models.BooleanField(null=True, blank=True)
    is_litigator = models.BooleanField(null=True, blank=True)
    address_history = models.JSONField(default=list, blank=True)
    source = models.CharField(max_length=40, default="manual")
    confidence = models.PositiveSmallIntegerField(null=True, blank=True, help_text="0-100.")
    artifact = TenantForeignKey(Artifact, null=True, blank=True, editable=False, related_name="+")
    superseded_at = models.DateTimeField(null=True, blank=True, editable=False)
    updated_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        db_table = "contacts"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "lead", "full_name"],
                condition=Q(superseded_at=None) & ~Q(full_name=""),
                name="ux_contacts_name",
            ),
            models.CheckConstraint(
                condition=Q(confidence=None) | Q(confidence__lte=100),
                name="contacts_confidence_is_percent",
            ),
            NoDelete(name="contacts_stay"),
        ]
        indexes = [models.Index(fields=["tenant", "lead"], name="contacts_lead")]

    def __str__(self) -> str:
        return self.full_name or f"{self.first_name} {self.last_name}".strip()


CONTACT_POINT_KINDS = {"phone": "Phone", "email": "E-mail"}


class ContactPoint(ChildModel):
    """One phone number or e-mail address of a lead."""

    KINDS = CONTACT_POINT_KINDS
    LINE_TYPES = {"unknown": "Unknown", "mobile": "Mobile", "landline": "Landline", "voip": "VoIP"}

    id = UlidField(prefix="cpt", primary_key=True)
    lead = TenantForeignKey(Lead, related_name="contact_points")
    contact = TenantForeignKey(
        "leads.Contact",
        null=True,
        blank=True,
        related_name="contact_points",
        help_text="Whose it is, where the lead has several people.",
    )
    kind = models.CharField(max_length=5, choices=KINDS)
    raw = models.CharField(max_length=320, blank=True)
    normalized = models.CharField(max_length=320, help_text="E.164, or a folded e-mail address.")
    line_type = models.CharField(max_length=8, choices=LINE_TYPES, default="unknown")
    source = models.CharField(max_length=40, default="manual")
    sources = ArrayField(
        models.CharField(max_length=40),
        db_default=[],
        default=list,
        blank=True,
        help_text="Everybody who named it, the first one first.",
    )
    carrier = models.CharField(max_length=80, blank=True, db_default="", default="")
    score = models.PositiveSmallIntegerField(
        null=True, blank=True, help_text="The vendor's, 0-100."
    )
    activity = models.PositiveSmallIntegerField(null=True, blank=True, help_text="0-100.")
    grade = models.CharField(max_length=1, blank=True, db_default="", default="")
    dnc = models.BooleanField(
        "do not call", null=True, blank=True, help_text="On a do-not-call list; empty: unknown."
    )
    litigator = models.BooleanField(
        null=True, blank=True, help_text="Sues callers; empty: unknown."
    )
    tcpa = models.BooleanField("TCPA blacklist", null=True, blank=True, help_text="Empty: unknown.")
    reachable = models.BooleanField(null=True, blank=True, help_text="Empty: unknown.")
    checked_at = models.DateTimeField(
        null=True, blank=True, help_text="When line type and lists were last looked up."
    )
    expires_at = models.DateTimeField(
        null=True, blank=True, help_text="When what was looked up is too old to go by."
    )
    is_primary = models.BooleanField(default=False)
    verified_at = models.DateTimeField(null=True, blank=True, editable=False)
    verified_by = models.CharField(max_length=40, blank=True, editable=False)
    verification = TenantForeignKey(
        "leads.Verification", null=True, blank=True, editable=False, related_name="+"
    )
    wrong_number_at = models.DateTimeField(
        null=True, blank=True, help_text="The person there said it is not the lead's."
    )

    #: Always true: with the reference below it says that the record verified this point.
    is_proof = models.BooleanField(db_default=True, default=True, editable=False)

    class Meta:
        db_table = "contact_points"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "lead", "kind", "normalized"], name="ux_contact_points"
            ),
            models.CheckConstraint(
                condition=Q(kind__in=list(CONTACT_POINT_KINDS)), name="contact_points_kind_is_known"
            ),
            models.CheckConstraint(
                condition=(Q(verified_at=None) & Q(verified_by=""))
                | (Q(verified_at__isnull=False) & ~Q(verified_by="")),
                name="contact_points_verified_by_somebody",
            ),
            models.CheckConstraint(
                condition=(Q(verified_at=None) & Q(verification=None))
                | (Q(verified_at__isnull=False) & Q(verification__isnull=False)),
                name="contact_points_verified_by_record",
            ),
            # Not any record verifies: only one of this very point that says so.
            References(
                name="fk_contact_points_verified",
                fields=["tenant", "verification", "id", "is_proof"],
                to="leads.Verification",
                to_fields=["tenant", "id", "point", "is_verified"],
            ),
            models.CheckConstraint(
                condition=Q(line_type__in=["unknown", "mobile", "landline", "voip"]),
                name="contact_points_line_is_known",
            ),
            models.CheckConstraint(
                condition=~Q(kind="phone")
                | Q(normalized__startswith="+")
                | Q(normalized__startswith="erased:")
                | Q(normalized__regex=r"^[A-Za-z0-9 ]{1,11}$"),  # short code, name of a sender
                name="contact_points_phone_is_e164",
            ),
            models.CheckConstraint(
                condition=(Q(score=None) | Q(score__lte=100))
                & (Q(activity=None) | Q(activity__lte=100)),
                name="contact_points_scores_are_percent",
            ),
            models.UniqueConstraint(
                fields=["tenant", "lead", "kind"],
                condition=Q(is_primary=True),
                name="ux_contact_points_primary",
            ),
            NoDelete(name="contact_points_stay"),
        ]
        indexes = [
            models.Index(fields=["tenant", "normalized"], name="contact_points_value"),
            models.Index(
                F("tenant"),
                Right("normalized", 4),
                condition=Q(kind="phone"),
                name="contact_points_tail",
            ),
        ]

    def __str__(self) -> str:
        return self.normalized


VERDICTS = {
    "verified": "Verified",
    "invalid": "Invalid",
    "catch_all": "Catch-all",
    "unknown": "Unknown",
}


class Verification(ChildModel):
    """What a provider, or a person, found out about one contact point. Nothing else verifies."""

    VERDICTS = VERDICTS

    id = UlidField(prefix="ver", primary_key=True)
    point = TenantForeignKey(ContactPoint, related_name="verifications")
    provider = models.CharField(max_length=40)
    code = models.CharField(max_length=40, help_text="The provider's own word for it.")
    verdict = models.CharField(max_length=9, choices=VERDICTS)
    is_verified = models.GeneratedField(
        expression=Q(verdict="verified"),  # type: ignore[arg-type]  # the stubs know no Q
        output_field=models.BooleanField(),
        db_persist=True,
    )
    details = models.JSONField(default=dict)
    artifact = TenantForeignKey(Artifact, null=True, related_name="+")
    run = TenantForeignKey(PipelineRun, null=True, related_name="+")
    actor = TenantForeignKey(Actor, null=True, related_name="+")
    correlation_id = models.CharField(max_length=40, blank=True)
    at = models.DateTimeField(db_default=Now())
    expires_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "verifications"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "id", "point", "is_verified"], name="ux_verifications_proof"
            ),
            models.CheckConstraint(
                condition=Q(verdict__in=list(VERDICTS)), name="verifications_verdict_is_known"
            ),
            models.CheckConstraint(
                condition=~Q(provider="") & ~Q(code=""), name="verifications_say_who_and_how"
            ),
            AppendOnly(name="verifications_append_only"),
        ]
        indexes = [models.Index(fields=["tenant", "point", "-id"], name="verifications_point")]

    def __str__(self) -> str:
        return f"{self.provider}: {self.verdict}"
