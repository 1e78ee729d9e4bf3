"""What must be unique: the rules an audit checks, here and in tables of an older system.

Each rule names the columns of its key without the tenant, which stands before every one, and which
of several rows is kept. In older tables a tenant is a team, and keys are mended where they were
wrong: a message is its provider's, nothing that is finished is in anybody's way, and two rows
without an integration are duplicates, too.
"""

from __future__ import annotations

from dataclasses import dataclass

#: Columns that may say whose a row is; the first one there is counts.
TENANT_COLUMNS = ("tenant_id", "team_id")


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One key of one table.

    Args:
        name: what people call it.
        table: where.
        key: columns that together are unique in a tenant; NULL in one exempts the row.
        nullable: columns of the key in which NULL is a value like any other.
        optional: columns of the key that older tables may lack: then the key is the rest.
        where: SQL that a row must fulfil to count.
        keep: SQL of ORDER BY: the first one stays.
        needs: further columns that *where* and *keep* read.
    """

    name: str
    table: str
    key: tuple[str, ...]
    nullable: frozenset[str] = frozenset()
    optional: frozenset[str] = frozenset()
    where: str = "true"
    keep: str = "id"
    needs: tuple[str, ...] = ()


#: Of the older system, by its tables; finished rows are history and are let alone.
LEGACY = (
    Rule(
        name="messages.externalId",
        table="messages",
        key=("provider", "external_id"),
        optional=frozenset({"provider"}),
    ),
    Rule(
        name="businesses(sourceRecordId, sourceFile)",
        table="businesses",
        key=("source_record_id", "source_file"),
    ),
    Rule(
        name="lead cards(persona)",
        table="unified_lead_cards",
        key=("persona_id",),
        keep="total_score DESC NULLS LAST, created_at, id",
        needs=("total_score", "created_at"),
    ),
    Rule(
        name="campaign queue(open: card, agent, channel)",
        table="campaign_queue",
        key=("lead_card_id", "agent", "channel"),
        where="status IN ('pending', 'processing')",
        # What is being sent is further than what waits.
        keep="(status = 'processing') DESC, created_at, id",
        needs=("status", "created_at"),
    ),
    Rule(
        name="skip-trace results(persona, provider)",
        table="skiptrace_results",
        key=("persona_id", "provider"),
        keep="success DESC NULLS LAST, created_at DESC, id",
        needs=("success", "created_at"),
    ),
    Rule(
        name="lead activities.externalId", table="lead_activities", key=("external_id",)
    ),
    Rule(
        name="leads(integration, externalId)",
        table="leads",
        key=("integration_id", "external_id"),
        nullable=frozenset({"integration_id"}),
    ),
    Rule(name="properties(externalId, source)", table="properties",
            key=("external_id", "source")),
    Rule(
        name="distress scores(provider, externalId)",
        table="property_distress_scores",
        key=("provider", "external_id"),
    ),
    Rule(name="integrations(name)", table="integrations", key=("name",)),
    Rule(
        name="integration fields(integration, module, source field)",
        table="integration_fields",
        key=("integration_id", "module_name", "source_field"),
    ),
    Rule(name="campaign leads(campaign, lead)", table="campaign_leads",
            key=("campaign_id", "lead_id")),
    Rule(
        name="persona phones(persona, number)",
        table="persona_phones",
        key=("persona_id", "normalized_number"),
    ),
    Rule(
        name="business owners(persona, business)",
        table="business_owners",
        key=("persona_id", "business_id"),
    ),
)  # fmt: skip

LIVE = "superseded_at IS NULL"
#: Of Fairlead itself. Its database refuses duplicates; an audit shows that it did.
OURS = (
    Rule(name="messages.externalId", table="messages", key=("provider", "external_id")),
    Rule(
        name="businesses(sourceRecordId, sourceFile)",
        table="businesses",
        key=("source_record_id", "source_file"),
        where=LIVE,
    ),
    Rule(
        name="lead cards(persona)",
        table="lead_cards",
        key=("contact_id",),
        keep="total_score DESC, id",
    ),
    Rule(
        name="campaign queue(open: card, agent, channel)",
        table="campaign_queue",
        key=("card_id", "worker_id", "channel"),
        where="status IN ('pending', 'processing')",
        needs=("status",),
    ),
    Rule(
        name="skip-trace results(persona, provider)",
        table="vendor_inputs",
        key=("provider", "service", "fingerprint"),
    ),
    Rule(name="lead activities.externalId", table="lead_activities", key=("external_id",)),
    Rule(
        name="leads(integration, externalId)",
        table="external_ids",
        key=("integration_id", "kind", "external_id"),
    ),
    Rule(name="leads(source, source id)", table="leads", key=("source", "source_id"), where=LIVE),
    Rule(name="leads(address key)", table="leads", key=("mak",), where=f"{LIVE} AND mak <> ''"),
    Rule(
        name="leads(county, parcel)",
        table="leads",
        key=("county_fips", "apn"),
        where=f"{LIVE} AND apn <> '' AND county_fips <> ''",
    ),
    Rule(
        name="leads(address, owner)",
        table="leads",
        key=("addr_hash", "addr_owner"),
        where=LIVE,
    ),
    Rule(
        name="properties(externalId, source)",
        table="properties",
        key=("source", "external_id"),
        where=LIVE,
    ),
    Rule(
        name="distress scores(provider, externalId)",
        table="property_distress_scores",
        key=("provider", "external_id"),
    ),
    Rule(name="integrations(name)", table="integrations", key=("name",)),
    Rule(
        name="integration fields(integration, module, target field)",
        table="field_mappings",
        key=("integration_id", "module", "target_field"),
    ),
    Rule(
        name="campaign leads(campaign, lead)",
        table="enrolments",
        key=("campaign_id", "lead_id"),
    ),
    Rule(
        name="persona phones(persona, number)",
        table="contact_points",
        key=("lead_id", "kind", "normalized"),
    ),
    Rule(
        name="business owners(persona, business)",
        table="ownerships",
        key=("contact_id", "business_id"),
    ),
    Rule(
        name="property owners(persona, property)",
        table="ownerships",
        key=("contact_id", "property_id"),
    ),
)
