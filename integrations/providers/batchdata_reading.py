"""What BatchData's records say, in the columns of leads, properties, contacts and points."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from integrations.providers import facts
from integrations.providers.data import Checked, Enriched, Person, Point, VendorRecord, Verdict
from integrations.providers.facts import part, parts, text

MAX_PERSONS = 3
MAX_POINTS = 30
MAX_FLAGS = 80

#: An owner with one of these words in its name is no person.
COMPANY = re.compile(
    r"\b(?:llc|l\.l\.c\.|inc|incorporated|corp|corporation|company|co\.|ltd|lp|llp|trust|trustee"
    r"|estate|bank|holdings|properties|partners|association|church|county|city of|state of)\b",
    re.IGNORECASE,
)


def record(listed: Mapping[str, Any]) -> VendorRecord | None:
    """Return one property of a search; None when it has no id to know it by."""
    vendor_id = text(listed.get("_id"), "vendor_id")
    if not vendor_id:
        return None
    address = _address(part(listed, "address"))
    persons, company = _owners(part(listed, "owner"), part(listed, "quickLists"))
    keys = {
        "county": text(part(listed, "address").get("county"), "county"),
        "county_fips": facts.fips(part(listed, "address").get("countyFipsCode")),
        "apn": text(part(listed, "ids").get("apn"), "apn"),
    }
    property_ = _property(listed)
    lead = {
        **_name(persons, company),
        **address,
        **keys,
        "property_value": property_.get("value"),
        "estimated_equity": property_.get("equity"),
        "owner_occupied": property_.get("owner_occupied"),
        "age": facts.count(part(listed, "demographics").get("age"), most=130),
    }
    keys.pop("county")
    return VendorRecord(
        vendor_id=vendor_id,
        fields=facts.told(lead),
        property=facts.told({"external_id": vendor_id, **address, **keys, **property_}),
        persons=persons,
        raw=facts.raw(listed),
    )


def _name(persons: tuple[Person, ...], company: str) -> dict[str, str]:
    if company:
        return {"company": company, "owner_company": company}
    if not persons:
        return {}
    first = persons[0]
    return {
        "first_name": first.first_name,
        "last_name": first.last_name,
        "full_name": first.full_name,
    }


def _owners(owner: Mapping[str, Any], lists: Mapping[str, Any]) -> tuple[tuple[Person, ...], str]:
    """Return the people who own it, and the company that does if one does."""
    found, company = [], ""
    for name in parts(owner.get("names"), most=MAX_PERSONS):
        person = _person_named(name)
        if not person.full_name:
            continue
        is_company = COMPANY.search(person.full_name) or (
            lists.get("corporateOwned") is True and not person.last_name
        )
        if is_company:
            company = company or person.full_name
        else:
            found.append(replace(person, is_owner=True))
    full = text(owner.get("fullName"), "full_name")
    if not found and not company and full:
        if COMPANY.search(full):
            company = full
        else:
            found.append(Person(full_name=full, is_owner=True))
    return tuple(found), company


def _person_named(name: Mapping[str, Any]) -> Person:
    first, last = text(name.get("first"), "first_name"), text(name.get("last"), "last_name")
    full = text(name.get("full"), "full_name")
    joined = facts.joined([first, text(name.get("middle"), "first_name"), last])
    return Person(first_name=first, last_name=last, full_name=full or joined[:200])


def _address(address: Mapping[str, Any]) -> dict[str, str]:
    """Return an address by names of lead columns; the unit stands by itself where it is told."""
    street = text(address.get("streetNoUnit"), "address_line1")
    unit = text(address.get("unitNumber"), "unit")
    if not street:
        street = text(address.get("street"), "address_line1")
        if unit:
            street = re.sub(
                rf"[\s,]+(?:#|apt|unit|ste|suite|no)?[.\s]*#?\s*{re.escape(unit)}$",
                "",
                street,
                flags=re.IGNORECASE,
            )
    return {
        "address_line1": street,
        "unit": unit,
        "city": text(address.get("city"), "city"),
        "region": facts.region(address.get("state")),
        "postal_code": text(address.get("zip"), "postal_code"),
    }


def _property(listed: Mapping[str, Any]) -> dict[str, Any]:
    value, building = part(listed, "valuation"), part(listed, "building")
    lists, sale = part(listed, "quickLists"), part(listed, "sale", "lastSale")
    loan = facts.number(value.get("ltv"), least=-99_999, most=99_999)
    rooms = facts.number(building.get("bedroomCount"), least=0, most=9_999)
    baths = facts.number(building.get("bathroomCount"), least=0, most=999)
    mailing = facts.told(_address(part(listed, "owner", "mailingAddress")))
    kind = part(listed, "general")
    size = building.get("livingAreaSquareFeet") or building.get("totalBuildingAreaSquareFeet")
    return facts.told(
        {
            "property_type": text(
                kind.get("propertyTypeDetail") or kind.get("propertyTypeCategory"),
                "property_type",
            ),
            "bedrooms": None if rooms is None else round(rooms, 1),
            "bathrooms": None if baths is None else round(baths, 2),
            "square_feet": facts.count(size),
            "lot_square_feet": facts.count(part(listed, "lot").get("lotSizeSquareFeet")),
            "year_built": facts.count(building.get("yearBuilt"), most=2_200),
            "value": facts.dollars(value.get("estimatedValue")),
            "assessed_value": facts.dollars(part(listed, "assessment").get("totalAssessedValue")),
            "equity": facts.dollars(value.get("equityCurrentEstimatedBalance")),
            "mortgage": facts.dollars(part(listed, "openLien").get("totalOpenLienBalance")),
            "loan_to_value": None if loan is None else round(loan, 2),
            "last_sale_on": facts.day(sale.get("saleDate")),
            "last_sale_amount": facts.dollars(sale.get("price")),
            "owner_occupied": facts.flag(lists.get("ownerOccupied")),
            "flags": _flags(lists) or None,
            "mailing_address": mailing or None,
        }
    )


def _flags(lists: Mapping[str, Any]) -> dict[str, bool]:
    """Return the quick lists it is on or not: ``taxDefault`` → ``tax_default``."""
    found = {}
    for name, value in list(lists.items())[:MAX_FLAGS]:
        if isinstance(value, bool) and re.fullmatch(r"[A-Za-z0-9]{1,40}", name):
            found[re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", name).lower()] = value
    return found


# --- skip trace -------------------------------------------------------------------------------


def traced(answer: Mapping[str, Any], request_id: str, *, version: int) -> Enriched:
    """Return what a skip trace says of *request_id*: by that id, never by position."""
    item = _of_version_1(answer, request_id) if version == 1 else _of_version_3(answer, request_id)
    if item is None:
        words = "BatchData's answer says nothing of this request; it may be billed."
        return Enriched(kind="ambiguous", units=None, error=words)
    if part(item, "meta").get("error") is True:
        return Enriched(
            kind="failed", error="BatchData could not trace this one.", raw=facts.raw(item)
        )
    people = parts(item.get("persons"), most=MAX_PERSONS)
    if not people or part(item, "meta").get("matched") is False:
        return Enriched(kind="miss", raw=facts.raw(item))
    persons = tuple(_person(one) for one in people)
    points = [point for place, one in enumerate(people) for point in _points(one, place)]
    points.sort(key=lambda found: persons[found.person or 0].is_owner is not True)  # stable
    mailing = facts.told(_address(part(item, "property", "mailingAddress")))
    county = facts.fips(part(item, "property", "address").get("countyFipsCode"))
    return Enriched(
        kind="hit",
        units=1,
        fields=facts.told({"county_fips": county}),
        property={"mailing_address": mailing} if mailing else {},
        persons=persons,
        points=facts.distinct(points)[:MAX_POINTS],
        raw=facts.raw(item),
    )


def _of_version_3(answer: Mapping[str, Any], request_id: str) -> dict[str, Any] | None:
    for item in parts(part(answer, "result").get("data"), most=200):
        if text(part(item, "input").get("requestId"), "request_id") == request_id:
            return item
    return None


def _of_version_1(answer: Mapping[str, Any], request_id: str) -> dict[str, Any] | None:
    """Return version 1's answer in the form of version 3.

    Its persons may name the request or not; those who name another's are not ours.
    """
    results = part(answer, "results")
    if not results:
        return None
    persons = [
        one
        for one in parts(results.get("persons"))
        if text(part(one, "request").get("requestId"), "request_id") in ("", request_id)
    ]
    return {"persons": persons, "meta": {"matched": bool(persons)}}


def _person(one: Mapping[str, Any]) -> Person:
    named = _person_named(part(one, "name"))
    born = one.get("dob")
    year = born[:4] if isinstance(born, str) and re.match(r"(?:18|19|20)[0-9]{2}", born) else None
    deceased = one.get("deceased", part(one, "death").get("deceased"))
    addresses = [facts.told(_address(found)) for found in parts(one.get("addresses"), most=10)]
    return replace(
        named,
        born=facts.day(born),
        born_year=facts.count(year),
        is_owner=facts.flag(one.get("propertyOwner")),
        is_deceased=facts.flag(deceased),
        is_litigator=facts.flag(one.get("litigator")),
        addresses=tuple(found for found in addresses if found),
    )


def _points(one: Mapping[str, Any], place: int) -> list[Point]:
    """Return a person's phones and e-mails, the best first; version 1 calls the phones otherwise.

    What version 1 says of TCPA it says of the person.
    """
    litigator = facts.flag(one.get("litigator"))
    of_person = facts.flag(part(one, "dnc").get("tcpa"))
    phones = [
        facts.phone(
            phone.get("number"),
            person=place,
            line_type=facts.line_type(phone.get("type")),
            carrier=text(phone.get("carrier"), "carrier"),
            score=facts.percent(phone.get("score")),
            dnc=facts.flag(phone.get("dnc")),
            tcpa=facts.flag(phone.get("tcpa", of_person)),
            litigator=litigator,
            reachable=facts.flag(phone.get("reachable")),
        )
        for phone in _ranked(one.get("phones") or one.get("phoneNumbers"))
    ]
    emails = [facts.email(found.get("email"), person=place) for found in _ranked(one.get("emails"))]
    return [point for point in [*phones, *emails] if point is not None]


def _ranked(listed: object) -> Iterable[dict[str, Any]]:
    return sorted(
        parts(listed, most=MAX_POINTS),
        key=lambda one: (
            facts.number(one.get("rank"), least=0, most=10**6) or 10**6,
            -(facts.number(one.get("score"), least=0, most=100) or 0),
        ),
    )


# --- phone checks -----------------------------------------------------------------------------


def checked(service: str, answer: Mapping[str, Any], number: str) -> Checked:
    """Return what a phone check says of *number*.

    The bodies of these answers are not published; the words are those of the skip trace.
    """
    results = part(answer, "results")
    listed = parts(results.get("phoneNumbers") or results.get("phones") or results.get("data"))
    found = next((one for one in listed if _same(one.get("number"), number)), None)
    if found is None:
        words = "BatchData's answer says nothing of this number; it may be billed."
        return Checked(kind="ambiguous", units=None, error=words)
    if part(found, "meta").get("matched") is False:
        return Checked(kind="miss", code="not_matched", units=1, raw=facts.raw(found))
    flags = {name: facts.flag(found.get(name)) for name in ("dnc", "tcpa", "reachable")}
    code, verdict = _verdict(service, flags)
    return Checked(
        kind="hit",
        verdict=verdict,
        code=code,
        line_type=facts.line_type(found.get("type")),
        carrier=text(found.get("carrier"), "carrier"),
        dnc=flags["dnc"],
        tcpa=flags["tcpa"],
        reachable=flags["reachable"],
        units=1,
        raw=facts.raw(found),
    )


def _same(listed: object, number: str) -> bool:
    point = facts.phone(listed)
    return point is not None and point.value == number


def _verdict(service: str, flags: Mapping[str, bool | None]) -> tuple[str, Verdict]:
    if service == "phone_verification":
        reachable = flags["reachable"]
        if reachable is None:
            return "unknown", "unknown"
        return ("reachable", "verified") if reachable else ("unreachable", "invalid")
    name = service.removeprefix("phone_")
    told = flags.get(name)
    return ("unknown" if told is None else name if told else f"not_{name}"), "unknown"
