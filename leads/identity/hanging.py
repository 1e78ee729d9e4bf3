"""Writing what hangs from the leads of a chunk: more people, businesses, properties."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.db import models

from leads.identity.plan import Plan
from leads.models import Business, Contact, Property

Run = Callable[..., int]


@dataclass(frozen=True, kw_only=True)
class _Table:
    """A table of rows that hang from leads.

    ``keys``: its unique keys, as (columns, predicate of the index, which records go by it).
    """

    model: type[models.Model]
    columns: tuple[str, ...]
    keys: tuple[tuple[str, str, str], ...]
    items: str  # FROM item giving one JSON object i.item per row to write
    fixed: dict[str, str]


PARTS = {
    "contacts": _Table(
        model=Contact,
        columns=(
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
            "address_history",
            "confidence",
        ),
        keys=(
            ("tenant_id, lead_id, full_name", "superseded_at IS NULL AND full_name <> ''", "true"),
        ),
        items="""jsonb_array_elements(r.contacts) WITH ORDINALITY AS e(told, n)
            CROSS JOIN LATERAL (SELECT jsonb_build_object('position', e.n + 1, 'full_name',
                btrim(concat_ws(' ', e.told ->> 'first_name', e.told ->> 'last_name')))
                || e.told AS item) AS i""",
        fixed={"artifact_id": "{artifact}", "source": "{source}"},
    ),
    "business": _Table(
        model=Business,
        columns=(
            "name",
            "dba",
            "sic_code",
            "naics_code",
            "annual_revenue",
            "employee_count",
            "year_founded",
            "website",
            "source_file",
            "source_record_id",
        ),
        keys=(
            (
                "tenant_id, source_record_id, source_file",
                "source_record_id IS NOT NULL AND source_file IS NOT NULL"
                " AND superseded_at IS NULL",
                "p.source_record_id IS NOT NULL AND p.source_file IS NOT NULL",
            ),
            (
                "tenant_id, lead_id, name",
                "lead_id IS NOT NULL AND superseded_at IS NULL",
                "p.source_record_id IS NULL OR p.source_file IS NULL",
            ),
        ),
        items="(SELECT r.business AS item) AS i",
        fixed={"run_id": "{run}", "source": "{source}"},
    ),
    "property": _Table(
        model=Property,
        columns=(
            "external_id",
            "address_line1",
            "unit",
            "city",
            "region",
            "postal_code",
            "county_fips",
            "apn",
            "mak",
            "property_type",
            "bedrooms",
            "bathrooms",
            "square_feet",
            "lot_square_feet",
            "year_built",
            "value",
            "assessed_value",
            "equity",
            "mortgage",
            "loan_to_value",
            "last_sale_on",
            "last_sale_amount",
            "owner_occupied",
            "flags",
            "mailing_address",
        ),
        keys=(
            (
                "tenant_id, source, external_id",
                "external_id IS NOT NULL AND superseded_at IS NULL",
                "p.external_id IS NOT NULL",
            ),
            (
                "tenant_id, lead_id, source",
                "lead_id IS NOT NULL AND external_id IS NULL AND superseded_at IS NULL",
                "p.external_id IS NULL",
            ),
        ),
        items="(SELECT r.property AS item) AS i",
        fixed={"run_id": "{run}", "artifact_id": "{artifact}", "source": "{source}"},
    ),
}
_PUT = """
    WITH a AS (
        INSERT INTO {table} AS t (tenant_id, id, lead_id, {columns}, {fixed})
        SELECT {tenant}, ulid_new(), x.*
        FROM (
            SELECT DISTINCT ON ({distinct}) c.lead_id, {values}, {fixed_values}
            FROM chunk AS c JOIN {rows} AS r USING (row_no)
            CROSS JOIN LATERAL {items}
            CROSS JOIN LATERAL jsonb_populate_record(NULL::{table}, i.item) AS p
            WHERE c.verdict <> 'many' AND r.{part} IS NOT NULL AND ({goes})
            ORDER BY {distinct}, c.row_no
        ) AS x
        ON CONFLICT ({key}) WHERE {predicate} DO UPDATE
        SET {settings}, updated_at = clock_timestamp()
        WHERE ({old}) IS DISTINCT FROM ({new})
        RETURNING t.lead_id
    )
    INSERT INTO hung SELECT a.lead_id, '{part}' FROM a WHERE a.lead_id IS NOT NULL
"""


def write_parts(plan: Plan, run: Run) -> None:
    """Write the rows that hang from leads; table *hung* says which leads got or changed one."""
    run("CREATE TEMP TABLE hung (lead_id uuid, part text) ON COMMIT DROP")
    for part, table in PARTS.items():
        if part in plan.parts:
            for key, predicate, goes in table.keys:
                run(
                    _PUT,
                    **_clauses(plan, part, table),
                    key=key,
                    predicate=predicate,
                    goes=goes,
                    distinct=_distinct(key),
                )
    run("ANALYZE hung")


def _distinct(key: str) -> str:
    """Return the columns of a key as the new rows have them: each key once per statement."""
    columns = [column for column in key.split(", ") if column not in ("tenant_id", "source")]
    return ", ".join("c.lead_id" if column == "lead_id" else f"p.{column}" for column in columns)


def _clauses(plan: Plan, part: str, table: _Table) -> dict[str, str]:
    names = plan.names()
    kinds = {column: table.model._meta.get_field(column) for column in table.columns}
    values, settings, new = [], [], []
    for column in table.columns:
        field: Any = kinds[column]
        has_blank = isinstance(field, models.CharField) and not field.null
        if has_blank:
            values.append(f"coalesce(p.{column}, '') AS {column}")
            fresh = f"coalesce(nullif(EXCLUDED.{column}, ''), t.{column})"
        elif isinstance(field, models.JSONField):
            empty = "'[]'" if field.default is list else "'{}'"
            values.append(f"coalesce(p.{column}, {empty}) AS {column}")
            fresh = (
                f"CASE WHEN EXCLUDED.{column} = {empty} THEN t.{column} ELSE EXCLUDED.{column} END"
            )
        else:
            values.append(f"p.{column}")
            fresh = f"coalesce(EXCLUDED.{column}, t.{column})"
        settings.append(f"{column} = {fresh}")
        new.append(fresh)
    return {
        "table": table.model._meta.db_table,
        "part": part,
        "columns": ", ".join(table.columns),
        "values": ", ".join(values),
        "fixed": ", ".join(table.fixed),
        "fixed_values": ", ".join(value.format(**names) for value in table.fixed.values()),
        "items": table.items,
        "settings": ", ".join(settings),
        "old": ", ".join(f"t.{column}" for column in table.columns),
        "new": ", ".join(new),
    }
