"""BatchData: property search, skip trace, phone checks. Wire: ``docs/providers/batchdata.md``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from integrations.payloads import Payload
from integrations.providers import batchdata_reading as reading
from integrations.providers.base import Account, HttpCall, providers
from integrations.providers.data import (
    Checked,
    DataVendor,
    Enriched,
    Enriches,
    LooksUpPhone,
    Searches,
    SearchPage,
    Service,
    Subject,
)
from integrations.providers.facts import part, parts, raw, text, trouble
from integrations.tolerant import Parsed, parse_json

HOST = "https://api.batchdata.com"

#: A page of 500 records has a few hundred thousand values.
MAX_NODES = 1_000_000

V3, V3_ASYNC, V1 = "skip_trace", "skip_trace_async", "skip_trace_v1"
PATHS = {
    V3: "/api/v3/property/skip-trace",
    V3_ASYNC: "/api/v3/property/skip-trace/async",
    V1: "/api/v1/property/skip-trace",
    "phone_verification": "/api/v1/phone/verification",
    "phone_dnc": "/api/v1/phone/dnc",
    "phone_tcpa": "/api/v1/phone/tcpa",
}
FOUND = frozenset({"phone", "mobile", "email", "name"})
#: What an owner of a phone number may be asked for, in the words of their messages.
NO_BALANCE = (
    "The BatchData account has no balance, or its token may not do this. "
    "Top it up, or give the token the right, at BatchData."
)


def _skip_trace(label: str, **facts: Any) -> Service:
    return Service(label=label, kind="enrich", unit_cents=15, finds=FOUND, **facts)


def _phone_check(label: str) -> Service:
    return Service(label=label, kind="verify_phone", unit_cents=1, bills="call")


@providers.register("batchdata")
class BatchData(DataVendor, Searches, Enriches, LooksUpPhone):
    name = "batchdata"
    label = "BatchData"
    note = (
        "A search is billed for its whole result set, whatever the page size. "
        "Webhooks are not signed: their URL is the proof."
    )
    services = {
        V3: _skip_trace("Skip trace"),
        V3_ASYNC: _skip_trace(
            "Skip trace, answer by webhook", is_async=True, needs_callback=True, wait_s=600.0
        ),
        V1: _skip_trace("Skip trace, version 1"),
        "phone_verification": _phone_check("Phone verification"),
        "phone_dnc": _phone_check("Do-not-call check"),
        "phone_tcpa": _phone_check("TCPA litigator check"),
    }
    record_cents = 10
    max_subjects = 100
    max_body = 1024 * 1024  # one webhook may answer a hundred requests

    def read(self, body: bytes, content_type: str = "") -> Parsed:
        return parse_json(body, max_nodes=MAX_NODES)

    # --- search ---------------------------------------------------------------------------

    def build_search(
        self, params: Mapping[str, Any], skip: int, take: int, account: Account
    ) -> HttpCall:
        """Return the request for a page.

        *params* is their ``searchCriteria``, passed on as it stands, or an object with
        ``searchCriteria`` and ``options`` of which only the paging is ours.
        """
        whole = "searchCriteria" in params
        criteria = params["searchCriteria"] if whole else params
        given = params.get("options") if whole else None
        if not isinstance(criteria, Mapping) or not any(criteria.values()):
            raise ValueError(
                'Say what to search for, such as {"query": "90028", "quickLists": ["high-equity"]}.'
                " A search for everything would be billed for everything."
            )
        if not 0 <= take <= self.max_take or skip < 0:
            raise ValueError(f"A page has 0 to {self.max_take} records, and begins at 0 or later.")
        options: dict[str, Any] = {
            "dateFormat": "iso-date",
            "skipTrace": False,  # each record would be billed once more
            **(given if isinstance(given, Mapping) else {}),
            "skip": skip,
            "take": take,
        }
        if take == 0:
            options["quicklistCounts"] = True
        body = {"searchCriteria": criteria, "options": options}
        return _post(account, "/api/v1/property/search", body)

    def read_search(self, status: int, headers: Mapping[str, str], body: bytes) -> SearchPage:
        answer, problem = _read(status, headers, body)
        if problem:
            return SearchPage(**problem)
        results = part(answer, "results")
        found = part(results, "meta", "results").get("resultsFound")
        if not isinstance(found, int) or isinstance(found, bool) or not 0 <= found < 2**31:
            words = "BatchData did not say how many records it found; the page may be billed."
            return SearchPage(kind="ambiguous", error=words)
        listed = parts(results.get("properties"), most=1_000)
        records = [reading.record(one) for one in listed]
        kept = tuple(one for one in records if one is not None)
        return SearchPage(
            kind="ok", results_found=found, records=kept, unread=len(listed) - len(kept)
        )

    # --- skip trace -----------------------------------------------------------------------

    def asks(self, service: str, subject: Subject) -> Mapping[str, str]:
        item = _item(subject)
        item.pop("requestId")
        flat: dict[str, str] = {}
        for name, value in item.items():
            inner = value if isinstance(value, Mapping) else {"": value}
            flat |= {
                f"{name}.{key}".rstrip("."): " ".join(str(one).split()).upper()
                for key, one in inner.items()
            }
        return flat if "propertyAddress" in item or "apn" in item else {}

    def build_enrich(
        self,
        service: str,
        subjects: Sequence[Subject],
        account: Account,
        callback_url: str = "",
    ) -> HttpCall:
        # Version 3 marks blacklisted phones one by one: they are worth knowing, to leave them
        # alone. Version 1 does not mark them, so they must not come at all.
        options: dict[str, Any] = {
            "includeTCPABlacklistedPhones": service != V1,
            "dateFormat": "iso-date",
        }
        if service == V3_ASYNC:
            options |= {"webhookUrl": callback_url, "errorWebhookUrl": callback_url}
        body = {"requests": [_item(one) for one in subjects], "options": options}
        return _post(account, PATHS[service], body)

    def read_enrich(
        self,
        service: str,
        status: int,
        headers: Mapping[str, str],
        body: bytes,
        request_id: str,
    ) -> Enriched:
        answer, problem = _read(status, headers, body)
        if problem:
            return Enriched(**problem, units=None if problem["kind"] == "ambiguous" else 0)
        if service == V3_ASYNC:  # the ack; an answer comes as a webhook
            return Enriched(kind="pending", request_id=request_id)
        return reading.traced(answer, request_id, version=1 if service == V1 else 3)

    def answers(self, payload: Payload) -> dict[str, Mapping[str, Any]]:
        found: dict[str, Mapping[str, Any]] = {}
        for item in parts(part(payload, "result").get("data")):
            request_id = text(part(item, "input").get("requestId"), "request_id")
            if request_id:
                found[request_id] = raw({"result": {"data": [item]}})
        return found

    def read_answer(self, service: str, result: Mapping[str, Any], request_id: str) -> Enriched:
        return reading.traced(result, request_id, version=3)

    # --- phone checks ---------------------------------------------------------------------

    def build_phone_check(self, service: str, number: str, account: Account) -> HttpCall:
        return _post(account, PATHS[service], {"requests": [number.removeprefix("+1")]})

    def read_phone_check(
        self, service: str, status: int, headers: Mapping[str, str], body: bytes, number: str
    ) -> Checked:
        answer, problem = _read(status, headers, body)
        if problem:
            return Checked(**problem, units=None if problem["kind"] == "ambiguous" else 0)
        return reading.checked(service, answer, number)


def _post(account: Account, path: str, body: Mapping[str, Any]) -> HttpCall:
    return HttpCall(
        method="POST",
        url=f"{(account.base_url or HOST).rstrip('/')}{path}",
        headers={
            "Authorization": f"Bearer {account.api_key}",
            "Content-Type": "application/json",
            "Accept": "application/json",
        },
        body=json.dumps(body).encode(),
    )


def _item(subject: Subject) -> dict[str, Any]:
    """Return one request of a skip trace: an address, else a parcel; and the name if we have it."""
    item: dict[str, Any] = {"requestId": subject.request_id}
    name = {"first": subject.first_name, "last": subject.last_name}
    if all(name.values()):
        item["name"] = name
    if subject.address_line1 and (subject.postal_code or (subject.city and subject.region)):
        street = f"{subject.address_line1} {_unit(subject.unit)}".strip()
        address = {
            "street": street,
            "city": subject.city,
            "state": subject.region,
            "zip": subject.postal_code[:5],
        }
        item["propertyAddress"] = {key: value for key, value in address.items() if value}
    elif subject.apn and subject.county_fips:
        item |= {"apn": subject.apn, "countyFipsCode": subject.county_fips}
    elif subject.apn and subject.county and subject.region:
        item |= {"apn": subject.apn, "county": subject.county, "state": subject.region}
    return item


def _unit(unit: str) -> str:
    return f"Unit {unit}" if unit.isalnum() else unit


def _read(
    status: int, headers: Mapping[str, str], body: bytes
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the answer, or what is wrong with it as the fields of any result."""
    answer = parse_json(body, max_nodes=MAX_NODES).payload
    said = part(answer, "status") or part(answer, "error")
    code = said.get("code", said.get("status"))
    if status == 200 and isinstance(code, int) and code >= 400:
        status = code  # refused inside of an answer that says 200
    message = said.get("message") or said.get("text")
    if status == 200 and answer is not None:
        return answer, {}
    problem = trouble("BatchData", status, headers, message)
    if status == 403:
        words = message.lower() if isinstance(message, str) else ""
        if "balance" in words or "permission" not in words:
            problem |= {"kind": "balance", "error": NO_BALANCE}
    return {}, problem
