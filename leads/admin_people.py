"""People, companies and properties around leads, and what proved that they can be reached."""

from __future__ import annotations

from django.contrib import admin

from leads.models import (
    Business,
    Contact,
    LeadActivity,
    LeadCard,
    Ownership,
    Property,
    PropertyDistressScore,
    Verification,
)
from tenants.admin import AgeFilter, LogAdmin, TenantAdmin, chip_column


@admin.register(Contact)
class ContactAdmin(TenantAdmin):
    hint = "Individuals linked to leads: owners, officers, relatives."
    add_role = change_role = "configure"
    list_display = ["__str__", "lead", "title", "source", "confidence", "superseded_at"]
    list_filter = [AgeFilter]
    list_select_related = ["lead"]
    list_defer = ["address_history"]
    search_fields = ["full_name", "last_name"]
    autocomplete_fields = ["lead"]
    fields = [
        "lead",
        "position",
        "first_name",
        "last_name",
        "full_name",
        "title",
        "linkedin",
        "twitter",
        "date_of_birth",
        "age",
        "is_deceased",
        "is_litigator",
    ]


@admin.register(Verification)
class VerificationAdmin(LogAdmin):
    hint = "What providers and people found out about a number or address."
    list_display = ["point", chip_column("verdict"), "provider", "code", "at", "expires_at"]
    list_filter = ["verdict", AgeFilter]
    list_select_related = ["point"]
    list_defer = ["details"]
    search_fields = ["code"]


@admin.register(Business)
class BusinessAdmin(TenantAdmin):
    hint = "Companies as registers and lists name them."
    add_role = change_role = "configure"
    list_display = ["name", "dba", "lead", "sic_code", "employee_count", "source"]
    list_filter = [AgeFilter]
    list_select_related = ["lead"]
    search_fields = ["name", "dba"]
    autocomplete_fields = ["lead"]
    fields = [
        "lead",
        "name",
        "dba",
        "sic_code",
        "naics_code",
        "annual_revenue",
        "employee_count",
        "year_founded",
        "website",
    ]


@admin.register(Property)
class PropertyAdmin(TenantAdmin):
    hint = "Parcels with their buildings and values."
    add_role = change_role = "configure"
    list_display = ["__str__", "city", "region", "lead", "property_type", "value", "equity"]
    list_filter = [AgeFilter]
    list_select_related = ["lead"]
    list_defer = ["flags", "mailing_address"]
    search_fields = ["address_line1", "apn"]
    autocomplete_fields = ["lead"]
    fields = [
        "lead",
        "source",
        "address_line1",
        "unit",
        "city",
        "region",
        "postal_code",
        "county_fips",
        "apn",
        "property_type",
        "bedrooms",
        "bathrooms",
        "square_feet",
        "year_built",
        "value",
        "equity",
        "mortgage",
        "owner_occupied",
    ]


@admin.register(PropertyDistressScore)
class PropertyDistressScoreAdmin(LogAdmin):
    label = "Distress scores"
    hint = "Signs of distress of a property, counted by each provider."
    list_display = ["property", "provider", "score", "updated_at"]
    list_filter = [AgeFilter]
    list_select_related = ["property"]
    list_defer = ["payload"]
    search_fields = ["external_id"]


@admin.register(Ownership)
class OwnershipAdmin(TenantAdmin):
    hint = "Who owns what, and in which role."
    add_role = change_role = "configure"
    list_display = ["contact", "business", "property", chip_column("role", colors={}), "share"]
    list_filter = ["role"]
    list_select_related = ["contact", "business", "property"]
    autocomplete_fields = ["contact", "business", "property"]
    fields = ["contact", "business", "property", "role", "share", "is_decision_maker", "ended_at"]


@admin.register(LeadCard)
class LeadCardAdmin(LogAdmin):
    hint = "Scored summaries of contacts."
    list_display = ["contact", "lead", "total_score", "assigned_worker", "updated_at"]
    list_filter = [AgeFilter]
    list_select_related = ["contact", "lead", "assigned_worker"]
    list_defer = ["breakdown"]


@admin.register(LeadActivity)
class LeadActivityAdmin(LogAdmin):
    hint = "What was done with a person, here or in another system."
    list_display = ["kind", "subject", "lead", "channel", "outcome", "at"]
    list_filter = [AgeFilter]
    list_select_related = ["lead"]
    list_defer = ["content"]
    search_fields = ["subject"]
