"""Melissa Personator: checks, completes and moves a person. Wire: ``docs/providers/melissa.md``."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from integrations.providers import facts
from integrations.providers.base import Account, HttpCall, providers
from integrations.providers.data import (
    AnswerKind,
    DataVendor,
    Enriched,
    Enriches,
    LineType,
    Person,
    Point,
    Service,
    Subject,
)
from integrations.providers.facts import parts, text
from integrations.tolerant import parse_json

HOST = "https://personator.melissadata.net"
PATH = "/v3/WEB/ContactVerify/doContactVerify"

ACTIONS = "Check,Verify,Append,Move"
#: "Blank" fills in what was not sent and leaves what was sent alone.
OPTIONS = "Append:blank"
COLUMNS = "GrpAddressDetails,GrpNameDetails,CountyName,CountyFIPS,MoveEffectiveDate"

#: Codes about the whole transmission, which come with status 200.
TRANSMISSION: dict[str, tuple[AnswerKind, str]] = {
    "GE01": ("refused", "Melissa got an empty request."),
    "GE02": ("refused", "Melissa got a request without records."),
    "GE03": ("refused", "Melissa got more records at once than it takes."),
    "GE04": ("refused", "The Melissa license key is missing. Put it into the integration."),
    "GE05": ("refused", "Melissa does not know the license key. Check it in the integration."),
    "GE06": ("refused", "The Melissa license key is disabled. Ask Melissa why."),
    "GE07": ("refused", "Melissa could not read the request."),
    "GE08": ("balance", "The Melissa license does not cover this product. Ask Melissa for it."),
    "GE14": ("balance", "The Melissa credits are used up. Buy more at Melissa."),
}
CODE = re.compile(r"[A-Z]{2}[0-9]{2}")

#: Address codes with which the delivery address, and so its key, is right.
DELIVERABLE = {"AS01", "AS02", "AS03"}
#: What was found rather than checked: nothing has been proved of it yet.
APPENDED_ADDRESS, APPENDED_NAME, APPENDED_PHONE, APPENDED_EMAIL = "DA00", "DA10", "DA30", "DA40"
LINES: dict[str, LineType] = {"PS07": "mobile", "PS08": "landline", "PS09": "voip"}
DO_NOT_CALL = "PS18"


@providers.register("melissa")
class Melissa(DataVendor, Enriches):
    name = "melissa"
    label = "Melissa"
    note = "Melissa is only asked; it sends no webhooks. Appending needs a subscription there."
    has_webhooks = False
    services = {
        "personator": Service(
            label="Personator",
            kind="enrich",
            unit_cents=5,
            finds=frozenset({"mak", "phone", "email", "name"}),
        )
    }
    max_subjects = 100

    def asks(self, service: str, subject: Subject) -> Mapping[str, str]:
        asked = {
            name: " ".join(value.split()).upper()
            for name, value in _record(subject).items()
            if value and name != "RecordID"
        }
        has_address = subject.address_line1 and (
            subject.postal_code or (subject.city and subject.region)
        )
        return asked if has_address or subject.mak or subject.phone or subject.email else {}

    def build_enrich(
        self,
        service: str,
        subjects: Sequence[Subject],
        account: Account,
        callback_url: str = "",
    ) -> HttpCall:
        body = {
            "TransmissionReference": subjects[0].request_id,
            "CustomerID": account.api_key,
            "Actions": ACTIONS,
            "Columns": COLUMNS,
            "Options": OPTIONS,
            "Records": [_record(one) for one in subjects],
        }
        return HttpCall(
            method="POST",
            url=f"{(account.base_url or HOST).rstrip('/')}{PATH}",
            headers={"Content-Type": "application/json", "Accept": "application/json"},
            body=json.dumps(body).encode(),
        )

    def read_enrich(
        self,
        service: str,
        status: int,
        headers: Mapping[str, str],
        body: bytes,
        request_id: str,
    ) -> Enriched:
        answer = parse_json(body).payload
        if status != 200 or answer is None:
            problem = facts.trouble("Melissa", status, headers)
            return Enriched(**problem, units=None if problem["kind"] == "ambiguous" else 0)
        for one in _codes(answer.get("TransmissionResults")):
            if one in TRANSMISSION:
                kind, words = TRANSMISSION[one]
                return Enriched(kind=kind, error=f"{words} ({one})", codes=(one,))
        for record in parts(answer.get("Records")):
            if _told(record.get("RecordID"), "request_id") == request_id:
                return _read(record)
        words = "Melissa's answer says nothing of this request; it may be billed."
        return Enriched(kind="ambiguous", units=None, error=words)


def _record(subject: Subject) -> dict[str, str]:
    """Return one record to ask about, with every field: a missing one is no valid request."""
    full = subject.full_name or f"{subject.first_name} {subject.last_name}".strip()
    return {
        "RecordID": subject.request_id,
        "FullName": full,
        "CompanyName": subject.company,
        "AddressLine1": subject.address_line1,
        "AddressLine2": subject.unit,
        "City": subject.city,
        "State": subject.region,
        "PostalCode": subject.postal_code,
        "PhoneNumber": subject.phone,
        "EmailAddress": subject.email,
        "MelissaAddressKey": subject.mak,
    }


def _codes(value: object) -> tuple[str, ...]:
    if not isinstance(value, str):
        return ()
    found = [one.strip().upper() for one in value[:2_000].split(",")]
    return tuple(dict.fromkeys(one for one in found if CODE.fullmatch(one)))


def _told(value: object, column: str) -> str:
    """Return a text; what is not known comes as a blank."""
    return text(value, column) if isinstance(value, str | int) else ""


def _read(record: Mapping[str, Any]) -> Enriched:
    """Return what one record says. One that matched nothing costs nothing."""
    codes = _codes(record.get("Results"))
    verified = DELIVERABLE & set(codes)
    points = _points(record, codes)
    address = {
        "address_line1": _told(record.get("AddressLine1"), "address_line1"),
        "unit": _told(record.get("AddressLine2") or record.get("Suite"), "unit"),
        "city": _told(record.get("City"), "city"),
        "region": facts.region(record.get("State")),
        "postal_code": _told(record.get("PostalCode"), "postal_code"),
        "county": _told(record.get("CountyName"), "county"),
        "county_fips": facts.fips(_told(record.get("CountyFIPS"), "postal_code")),
        "mak": _told(record.get("MelissaAddressKey"), "mak"),
    }
    name = _name(record)
    appended = {APPENDED_ADDRESS, APPENDED_NAME, APPENDED_PHONE, APPENDED_EMAIL} & set(codes)
    if not verified and not appended and not points:
        return Enriched(kind="miss", codes=codes, raw=facts.raw(record))
    fields = facts.told(address) if verified else {}
    if APPENDED_NAME in codes:
        fields |= facts.told(name)
    person = Person(**name) if any(name.values()) else None
    return Enriched(
        kind="hit",
        units=1,
        fields=fields,
        persons=(person,) if person else (),
        points=tuple(replace(one, person=0) for one in points) if person else points,
        codes=codes,
        raw=facts.raw(record),
    )


def _name(record: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "first_name": _told(record.get("NameFirst"), "first_name"),
        "last_name": _told(record.get("NameLast"), "last_name"),
        "full_name": _told(record.get("NameFull"), "full_name"),
    }


def _points(record: Mapping[str, Any], codes: Sequence[str]) -> tuple[Point, ...]:
    """Return phone and e-mail with the codes that are about them.

    Codes of the checks are about what was sent. Where an address was appended instead, they say
    nothing of it, and it bears only the code that says so.
    """
    about_phone = [one for one in codes if one[:2] in ("PS", "PE")]
    about_email = [one for one in codes if one[:2] in ("ES", "EE")]
    if APPENDED_PHONE in codes:
        about_phone = [APPENDED_PHONE]
    if APPENDED_EMAIL in codes:
        about_email = [APPENDED_EMAIL]
    line: LineType = next((LINES[one] for one in about_phone if one in LINES), "unknown")
    phone = facts.phone(
        record.get("PhoneNumber"),
        line_type=line,
        dnc=True if DO_NOT_CALL in about_phone else None,
        codes=tuple(about_phone),
    )
    email = facts.email(record.get("EmailAddress"), codes=tuple(about_email))
    return facts.distinct([phone, email])
