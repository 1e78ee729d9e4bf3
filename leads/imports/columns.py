"""Which field a column of a file is meant for: by the words of its header, else by its values.

Names of columns come from PropStream and Instantly exports, USBizData, Tracerfy and Aloware lists,
GoHighLevel contacts, and what people call things. Pure.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

#: Share of filled sample cells that must look like a kind of value to suggest it by content.
SURE = 0.7


@dataclass(frozen=True, kw_only=True)
class Column:
    """What becomes of one column: ``target`` of ``leads.identity.targets``, empty: nothing.

    ``transform`` is a key of ``transforms.TRANSFORMS``; empty: the usual one of the target.
    ``match`` says why it was suggested: preset, name, content, kept, or empty.
    """

    header: str
    target: str = ""
    transform: str = ""
    match: str = ""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


#: Target → names of columns, written as `_key` leaves them.
NAMES: dict[str, str] = {
    "source_id": "source id|record id|lead id|contact id|external id|property id|id|vendor id",
    "full_name": "name|full name|contact name|owner name|contact|owner|lead name|customer name"
    "|owner 1 name|owner full name|owner 1 full name",
    "first_name": "first name|first|fname|given name|contact first|contact first name|owner first"
    " name|owner 1 first name|owner first|firstname|owner 1 first",
    "last_name": "last name|last|lname|surname|family name|contact last|contact last name|owner"
    " last name|owner 1 last name|owner last|lastname|owner 1 last",
    "company": "company|company name|business|business name|organization|organisation|account name"
    "|firm|employer|companyname",
    "title": "title|job title|position|contact title|role|jobtitle",
    "address_line1": "address|address 1|address line 1|street|street address|property address"
    "|prop addr|site address|situs address|mailing street|address1|addr|full address|property"
    " street|street 1|property address line 1|location",
    "address_line2": "address 2|address line 2|street 2|address2|street2|property address line 2",
    "unit": "unit|unit number|apt|apartment|suite|unit #|property unit|ste|property unit #",
    "city": "city|town|property city|site city|situs city|prop city|municipality",
    "region": "state|region|province|st|property state|site state|situs state|prop state"
    "|state code",
    "postal_code": "zip|zip code|zipcode|postal code|postcode|property zip|site zip|situs zip|prop"
    " zip|zip 5|property zip code|postalcode|property postal code",
    "county": "county|county name|property county",
    "county_fips": "county fips|fips|fips code|county code",
    "apn": "apn|parcel|parcel number|parcel id|assessor parcel number|tax id|parcel no",
    "mak": "mak|melissa address key|address key|melissaaddresskey",
    "owner_company": "owner company|company owner|owner company name",
    "sector": "sector|industry|vertical|business category",
    "sic_code": "sic|sic code|primary sic|primary sic code|siccode",
    "sic_description": "sic description|sic desc|primary sic description",
    "employee_count": "employees|employee count|number of employees|staff|total employees"
    "|employee size|employeecount",
    "annual_revenue": "revenue|annual revenue|annual sales|sales|sales volume|annual sales volume",
    "website": "website|web|url|web site|homepage|domain|company website|web address",
    "age": "age|owner age|estimated age",
    "owner_occupied": "owner occupied|owner occ|is owner occupied|owneroccupied",
    "property_value": "property value|value|est value|estimated value|market value|home value|avm"
    "|propertyvalue|estimated property value",
    "estimated_equity": "equity|est equity|estimated equity|available equity|estimatedequity",
    "is_decision_maker": "decision maker|is decision maker",
    "time_zone": "timezone|time zone|tz",
    "property.property_type": "property type|land use|use type|building type",
    "property.bedrooms": "bedrooms|beds|bed|br|number of bedrooms|bedroom count",
    "property.bathrooms": "bathrooms|baths|bath|ba|total bathrooms|bathroom count|total baths",
    "property.square_feet": "building sqft|sqft|square feet|sq ft|living area|building square feet"
    "|building area|squarefeet",
    "property.lot_square_feet": "lot size sqft|lot sqft|lot size|lot square feet|lot area",
    "property.year_built": "year built|effective year built|built|yearbuilt|yr built",
    "property.assessed_value": "total assessed value|assessed value|assessment",
    "property.mortgage": "mortgage|mortgage balance|open mortgage balance|loan balance|total open"
    " loans|est remaining balance of open loans",
    "property.loan_to_value": "est loan to value|loan to value|ltv|estimated ltv",
    "property.last_sale_on": "last sale date|last sale recording date|sale date|last sold",
    "property.last_sale_amount": "last sale amount|last sale price|sale price|sale amount",
    "mailing.address_line1": "mailing address|mail address|owner address|mailing street address"
    "|mailing address 1|mailing address line 1",
    "mailing.unit": "mailing unit #|mailing unit|mail unit",
    "mailing.city": "mailing city|mail city|owner city",
    "mailing.region": "mailing state|mail state|owner state",
    "mailing.postal_code": "mailing zip|mail zip|owner zip|mailing zip code|mailing postal code",
    "contact2.first_name": "owner 2 first name|co owner first name|owner 2 first|spouse first name",
    "contact2.last_name": "owner 2 last name|co owner last name|owner 2 last|spouse last name",
    "contact2.full_name": "owner 2 name|owner 2 full name|co owner|co owner name|spouse name",
    "business.dba": "dba|doing business as|trade name",
    "business.naics_code": "naics|naics code|primary naics",
    "business.year_founded": "year founded|founded|year established|established|year started",
}

#: Columns of our own exports that say what we know anyway.
OURS = frozenset({"lead state", "lead stage", "lead source", "lead since"})
#: A column of phone numbers or e-mails, and one that says something about such a column. The
#: number of the column, if it has any, is the group ``n``.
PHONES = re.compile(
    r"(?:(?:owner 1|contact|lead|primary|home|work|office|business|direct|skip traced?|best|other)"
    r" )?(?P<kind>phone|mobile|cell|telephone|tel|landline|wireless|mob)(?: phone)?"
    r"(?: (?:number|no|#))?(?: ?(?P<n>\d{1,2}))?(?: (?:number|no|#))?|phonenumber"
)
EMAILS = re.compile(
    r"(?:(?:owner 1|contact|lead|primary|work|business|personal|other) )?(?:e ?)?mail"
    r"(?: (?:address|id))?(?: ?(?P<n>\d{1,2}))?(?: address)?|emailaddress"
)
ABOUT_PHONE = re.compile(
    r"(?:.* )?(?:phone|mobile|cell)(?: ?(?P<n>\d{1,2}))? (?P<what>type|line type|dnc|do not call)"
)
#: Words for a phone that tell what kind of line it is, and the transform that notes it.
LINES = {"mobile": "mobile", "cell": "mobile", "wireless": "mobile", "mob": "mobile"} | {
    "landline": "landline"
}
#: Columns of other systems that mean the same as a field of ours only in their own exports.
KEEP_AS_TOLD = re.compile(
    r"owner [2-9].*|mailing care of name|campaign name|broker.*|calculator token|equity \d+ percent"
)


def _key(header: str) -> str:
    """Return the words of a header: lower case, single blanks, without punctuation but ``#``."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", header)
    return " ".join(re.sub(r"[^\w#]+|_", " ", spaced).lower().split())


_BY_NAME = {
    key: target for target, words in NAMES.items() for key in (w.strip() for w in words.split("|"))
}


def fingerprint(header: Iterable[str]) -> str:
    """Return the SHA-256 by which files with this header know each other again."""
    names = "\x1f".join(" ".join(name.lower().split()) for name in header)
    return hashlib.sha256(names.encode()).hexdigest()


def suggest(header: Sequence[str], samples: Sequence[Sequence[str]]) -> list[Column]:
    """Return what each column most likely is.

    Names decide; where a name says nothing its values do. A column nobody knows is kept with the
    lead as a detail. No field is suggested twice.

    Args:
        header: names, one per column.
        samples: first rows; they may be ragged.
    """
    taken: set[str] = set()
    found: list[Column | None] = [_by_name(name, taken) for name in header]
    phones = _Numbered("phone", 5, taken)
    emails = _Numbered("email", 4, taken)
    for place, name in enumerate(header):
        if found[place] is None:
            found[place] = _point(name, phones, emails)
    for place, name in enumerate(header):
        if found[place] is None:
            found[place] = _about(name, phones)
    for place, name in enumerate(header):
        if found[place] is None:
            values = [row[place].strip() for row in samples if place < len(row)]
            found[place] = _by_content(name, [v for v in values if v], taken, phones, emails)
    _name_details(found)
    if {"first_name", "last_name", "full_name"} <= taken:  # then nobody must take it apart
        found = [
            replace(one, transform="plain") if one and one.target == "full_name" else one
            for one in found
        ]
    return [column for column in found if column is not None]


class _Numbered:
    """Gives out phone1, phone2, … in the order of columns; remembers which column got which."""

    def __init__(self, kind: str, most: int, taken: set[str]) -> None:
        self.kind, self.most, self.taken = kind, most, taken
        self.of: dict[str, str] = {}

    def next(self, label: str) -> str:
        for number in range(1, self.most + 1):
            if (target := f"{self.kind}{number}") not in self.taken:
                self.taken.add(target)
                self.of[label] = target
                return target
        return ""


def _by_name(name: str, taken: set[str]) -> Column | None:
    if _key(name) in OURS:
        return Column(header=name, match="name")
    target = _BY_NAME.get(_key(name), "")
    if not target or target in taken or (KEEP_AS_TOLD.fullmatch(_key(name)) and "." not in target):
        return None
    taken.add(target)
    return Column(header=name, target=target, match="name")


def _point(name: str, phones: _Numbered, emails: _Numbered) -> Column | None:
    key = _key(name)
    for pattern, numbers in ((PHONES, phones), (EMAILS, emails)):
        match = pattern.fullmatch(key)
        if match and (target := numbers.next(key)):
            line = LINES.get(match.groupdict().get("kind") or "", "")
            return Column(header=name, target=target, transform=line, match="name")
    return None


def _about(name: str, phones: _Numbered) -> Column | None:
    """Tie "Phone 2 Type" to the number that "Phone 2" became."""
    key = _key(name)
    match = ABOUT_PHONE.fullmatch(key)
    if match is None:
        return None
    number = phones.of.get(key.removesuffix(f" {match['what']}"))
    if number is None:
        return None
    what = "type" if "type" in match["what"] else "dnc"
    target = f"{number}_{what}"
    if target in phones.taken:
        return None
    phones.taken.add(target)
    return Column(header=name, target=target, match="name")


_LOOKS: dict[str, re.Pattern[str]] = {
    "email": re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+"),
    "phone": re.compile(r"(\+?1[ .-]?)?\(?[2-9]\d{2}\)?[ .-]{0,2}[2-9]\d{2}[ .-]{0,2}\d{4}"),
    "postal_code": re.compile(r"\d{5}(-\d{4})?"),
    "region": re.compile(r"(A[KLRZ]|C[AOT]|D[CE]|FL|GA|HI|I[ADLN]|K[SY]|LA|M[ADEINOST]|N[CDEHJMVY]"
                         r"|O[HKR]|PA|RI|S[CD]|T[NX]|UT|V[AT]|W[AIVY])"),
}  # fmt: skip


def _by_content(
    name: str, values: Sequence[str], taken: set[str], phones: _Numbered, emails: _Numbered
) -> Column:
    for kind, pattern in _LOOKS.items():
        if not values or sum(pattern.fullmatch(value) is not None for value in values) < SURE * len(
            values
        ):
            continue
        if kind in ("phone", "email"):
            target = (phones if kind == "phone" else emails).next(_key(name))
        else:
            target = "" if kind in taken or len(values) < 2 else kind
        if target:
            taken.add(target)
            return Column(header=name, target=target, match="content")
    return Column(header=name, target=detail(name), match="kept")


def detail(name: str) -> str:
    """Return the target that keeps a column with the lead under its own name."""
    key = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")[:60]
    return f"raw.{key or 'column'}"


def _name_details(found: list[Column | None]) -> None:
    """Give details that would share a name one each."""
    seen: set[str] = set()
    for place, column in enumerate(found):
        if column is None or not column.target.startswith("raw."):
            continue
        base, number = column.target, 1
        target = base
        while target in seen:
            number += 1
            target = f"{base}_{number}"
        seen.add(target)
        found[place] = replace(column, target=target)
