"""Melissa Personator: checks an address, and appends who lives there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from integrations.sandbox.market import EXPIRED_KEY
from integrations.sandbox.people import Household
from integrations.sandbox.wire import Request, Response, Router, json_response

if TYPE_CHECKING:
    from integrations.sandbox.app import Sandbox

router = Router()

MAX_RECORDS = 100
#: What Melissa writes for what it does not know.
NOTHING = " "
LINES = {"mobile": "PS07", "landline": "PS08", "voip": "PS09"}


@router.route("POST", "/v3/WEB/ContactVerify/doContactVerify")
async def verify(sandbox: Sandbox, request: Request) -> Response:
    """Up to 100 records. Errors come with status 200, in `TransmissionResults`."""
    data = request.json()
    key, records = str(data.get("CustomerID") or ""), data.get("Records")
    if not key or key == EXPIRED_KEY:
        return transmission(data, "GE05" if key else "GE04")
    account = sandbox.market.account("melissa", key)
    if not isinstance(records, list) or not records or not all(map(is_record, records)):
        return transmission(data, "GE02")
    if len(records) > MAX_RECORDS:
        return transmission(data, "GE03")
    if not account.can_pay("personator", len(records)):
        return transmission(data, "GE14")
    found = []
    for record in records:
        household = known(sandbox, record)
        found.append(answered(record, household))
        if household is not None:
            sandbox.market.bill(
                account, "personator", 1, request, subject=str(record.get("RecordID", ""))
            )
    return transmission(data, NOTHING, found)


def is_record(record: Any) -> bool:
    return isinstance(record, dict)


def transmission(data: dict[str, Any], codes: str, records: list[Any] | None = None) -> Response:
    """An answer: records, or a code about the whole transmission."""
    return json_response(
        {
            "Records": records or [],
            "TotalRecords": str(len(records or [])),
            "TransmissionReference": data.get("TransmissionReference", ""),
            "TransmissionResults": codes,
            "Version": "5.6.11",
        }
    )


def known(sandbox: Sandbox, record: dict[str, Any]) -> Household | None:
    """The household of a record, if Melissa knows it."""
    where = str(record.get("PostalCode") or record.get("City") or "")
    street = str(record.get("AddressLine1") or "")
    if not street or not where:
        return None
    found = sandbox.market.household(street, where)
    return found if found.melissa else None


def answered(record: dict[str, Any], household: Household | None) -> dict[str, str]:
    """A record with what Melissa adds; an unknown address is an address error."""
    blank = dict.fromkeys(
        ("AddressExtras", "AddressKey", "AddressLine2", "CompanyName", "EmailAddress"), NOTHING
    ) | dict.fromkeys(
        ("MelissaAddressKey", "NameFull", "PhoneNumber", "CountyFIPS", "CountyName"), NOTHING
    )
    given = {
        name: str(record.get(name) or "").strip() or NOTHING
        for name in ("RecordID", "AddressLine1", "City", "State", "PostalCode")
    }
    if household is None:
        return {**blank, **given, "Results": "AE10" if given["AddressLine1"] != NOTHING else "AE01"}
    owner = household.residents[0]
    told = {"MelissaAddressKey": household.mak, "CountyFIPS": household.fips or NOTHING}
    told |= {"NameFull": owner.full, "NameFirst": owner.first, "NameLast": owner.last}
    codes = ["AS01"]
    if str(record.get("FullName") or "").strip():
        codes.append("VR01" if owner.last in str(record["FullName"]) else "VS00")
    else:
        codes.append("DA10")
    for names, added in (phone_of(record, household), email_of(record, household)):
        told |= names
        codes += added
    return {**blank, **given, **told, "Results": ",".join(codes)}


def phone_of(record: dict[str, Any], household: Household) -> tuple[dict[str, str], list[str]]:
    """The phone that was sent, checked; else one that is appended."""
    sent, owner = str(record.get("PhoneNumber") or "").strip(), household.residents[0]
    if sent:
        line = next((one.line for one in owner.phones if sent.endswith(one.number)), "mobile")
        return {"PhoneNumber": sent[-10:]}, ["PS01", LINES[line]]
    if household.melissa_phone and owner.phones:
        return {"PhoneNumber": owner.phones[0].number}, ["DA30"]
    return {}, []


def email_of(record: dict[str, Any], household: Household) -> tuple[dict[str, str], list[str]]:
    """The e-mail that was sent, checked by its domain only; else one that is appended."""
    sent, owner = str(record.get("EmailAddress") or "").strip(), household.residents[0]
    if sent:
        return {"EmailAddress": sent}, ["ES03"]
    if household.melissa_email and owner.emails:
        return {"EmailAddress": owner.emails[0]}, ["DA40"]
    return {}, []
