"""What a column of a file may become, and how its text is read."""

from __future__ import annotations

import re
from dataclasses import dataclass

#: Phones and e-mails of one row that people can map; batches in memory may bring more.
PHONES, EMAILS = 5, 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """One place a value can go to.

    Attributes:
        name: ``first_name``, ``phone1``, ``phone1_type``, ``property.value``, ``raw.<anything>``…
        kind: text, key, region, zip, fips, whole, small, percent, age, year, flag, number, day,
            phone, email, line_type or json. ``whole`` reads ``$1,234``; a ``key`` that is too long
            is left out instead of cut.
        label: for people.
        group: heading of a select.
        width: of the column, in characters; 0: no limit.
    """

    name: str
    kind: str
    label: str
    group: str
    width: int = 0


def _targets(group: str, prefix: str, *rows: tuple[str, str, str, int]) -> dict[str, Target]:
    return {
        f"{prefix}{name}": Target(
            name=f"{prefix}{name}", kind=kind, label=label, group=group, width=width
        )
        for name, kind, label, width in rows
    }


_ADDRESS = (
    ("address_line1", "text", "Street address", 200),
    ("unit", "text", "Unit", 40),
    ("city", "text", "City", 100),
    ("region", "region", "State", 2),
    ("postal_code", "zip", "ZIP", 10),
)
_PARCEL = (
    ("county_fips", "fips", "County FIPS", 5),
    ("apn", "key", "Parcel number (APN)", 60),
    ("mak", "key", "Address key (MAK)", 20),
)

#: Columns of Lead that a record may bring.
FIELDS: dict[str, Target] = {
    **_targets(
        "Person",
        "",
        ("first_name", "text", "First name", 80),
        ("last_name", "text", "Last name", 80),
        ("full_name", "text", "Full name", 200),
        ("title", "text", "Title", 120),
        ("age", "age", "Age", 0),
        ("is_decision_maker", "flag", "Decision maker", 0),
    ),
    **_targets(
        "Address", "", *_ADDRESS, ("address_line2", "text", "Address line 2", 200), *_PARCEL
    ),
    **_targets("Address", "", ("county", "text", "County", 80)),
    **_targets(
        "Company",
        "",
        ("company", "text", "Company", 200),
        ("owner_company", "text", "Owning company", 200),
        ("sector", "text", "Sector", 80),
        ("sic_code", "text", "SIC code", 8),
        ("sic_description", "text", "SIC description", 120),
        ("employee_count", "small", "Employees", 0),
        ("annual_revenue", "whole", "Annual revenue", 0),
        ("website", "text", "Website", 200),
    ),
    **_targets(
        "Value",
        "",
        ("owner_occupied", "flag", "Owner occupied", 0),
        ("property_value", "whole", "Property value", 0),
        ("estimated_equity", "whole", "Estimated equity", 0),
        ("property_owner_likelihood", "percent", "Likelihood of owning", 0),
    ),
    **_targets(
        "Other",
        "",
        ("time_zone", "text", "Time zone", 64),
        ("microsite_url", "text", "Microsite", 200),
    ),
}

#: Columns of Property, Contact and Business, under the names of the rows they go to.
PROPERTY: dict[str, Target] = _targets(
    "Property",
    "property.",
    ("external_id", "key", "Property id", 120),
    *_ADDRESS,
    *_PARCEL,
    ("property_type", "text", "Type", 60),
    ("bedrooms", "number", "Bedrooms", 0),
    ("bathrooms", "number", "Bathrooms", 0),
    ("square_feet", "small", "Square feet", 0),
    ("lot_square_feet", "whole", "Lot, square feet", 0),
    ("year_built", "year", "Year built", 0),
    ("value", "whole", "Value", 0),
    ("assessed_value", "whole", "Assessed value", 0),
    ("equity", "whole", "Equity", 0),
    ("mortgage", "whole", "Mortgage", 0),
    ("loan_to_value", "number", "Loan to value", 0),
    ("last_sale_on", "day", "Last sale date", 0),
    ("last_sale_amount", "whole", "Last sale amount", 0),
    ("owner_occupied", "flag", "Owner occupied", 0),
)
MAILING: dict[str, Target] = _targets("Mailing address", "mailing.", *_ADDRESS)
CONTACT: dict[str, Target] = _targets(
    "Second owner",
    "contact2.",
    ("first_name", "text", "First name", 80),
    ("last_name", "text", "Last name", 80),
    ("full_name", "text", "Full name", 200),
    ("title", "text", "Title", 120),
    ("age", "age", "Age", 0),
)
BUSINESS: dict[str, Target] = _targets(
    "Business",
    "business.",
    ("name", "text", "Name", 200),
    ("dba", "text", "Doing business as", 200),
    ("sic_code", "text", "SIC code", 8),
    ("naics_code", "text", "NAICS code", 8),
    ("annual_revenue", "whole", "Annual revenue", 0),
    ("employee_count", "small", "Employees", 0),
    ("year_founded", "year", "Year founded", 0),
    ("website", "text", "Website", 200),
    ("source_file", "text", "Source file", 200),
    ("source_record_id", "key", "Source record id", 120),
)
POINTS: dict[str, Target] = {
    **_targets(
        "Contact",
        "",
        *(
            row
            for n in range(1, PHONES + 1)
            for row in (
                (f"phone{n}", "phone", f"Phone {n}", 320),
                (f"phone{n}_type", "line_type", f"Phone {n}: type", 0),
                (f"phone{n}_dnc", "flag", f"Phone {n}: do not call", 0),
            )
        ),
        *((f"email{n}", "email", f"E-mail {n}", 320) for n in range(1, EMAILS + 1)),
    ),
    **_targets("Other", "", ("source_id", "key", "Id at the source", 120)),
}
#: What only batches in memory bring: whole objects as JSON, and the lead itself.
_WHOLE = {
    name: Target(name=name, kind="json", label=name, group="")
    for name in ("property", "contacts", "business", "raw")
}
_PUBLIC = {**FIELDS, **POINTS, **PROPERTY, **MAILING, **CONTACT, **BUSINESS}
_MORE = re.compile(r"(phone|email)[1-9][0-9]?(_more)?")


def find(name: str) -> Target | None:
    """Return a target by name; ``raw.<anything>`` always is one. None: there is no such target."""
    if name in _PUBLIC:
        return _PUBLIC[name]
    if name.startswith("raw.") and 4 < len(name) <= 104 and name.isprintable():
        return Target(name=name, kind="text", label=name[4:], group="Kept as it is")
    return None


def find_any(name: str) -> Target | None:
    """Return a target by name, also one that only batches in memory use."""
    if found := find(name) or _WHOLE.get(name):
        return found
    if name == "given":
        return Target(name=name, kind="given", label="Lead", group="")
    if match := _MORE.fullmatch(name):
        kind = "json" if match[2] else match[1]
        return Target(name=name, kind=kind, label=name, group="", width=320)
    return None


def choices() -> list[tuple[str, list[tuple[str, str]]]]:
    """Return the targets by group, for a select: ``[(group, [(name, label), …]), …]``."""
    groups: dict[str, list[tuple[str, str]]] = {}
    for target in _PUBLIC.values():
        groups.setdefault(target.group, []).append((target.name, target.label))
    return list(groups.items())
