"""Apollo: people and their companies; phones come later. Wire: ``docs/providers/apollo.md``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import quote, urlsplit

from integrations.payloads import Payload
from integrations.providers import facts
from integrations.providers.base import MAX_RETRY_AFTER_S, Account, HttpCall, providers
from integrations.providers.data import (
    DataVendor,
    Enriched,
    Enriches,
    LineType,
    Person,
    Point,
    Service,
    Subject,
)
from integrations.providers.facts import part, parts, text
from integrations.tolerant import parse_json

HOST = "https://api.apollo.io"
MATCH, RESULT = "/api/v1/people/match", "/api/v1/webhook_result"

PERSON_CREDITS, PHONE_CREDITS = 1, 8
CREDIT_CENTS = 2
MAX_CREDITS = 1_000

#: Phones that are the company's switchboard reach nobody in particular.
NOT_PERSONAL = {"work_hq", "hq", "organization", "company"}
LINES: dict[str, LineType] = {"mobile": "mobile", "cell": "mobile"}
#: After these no answer will ever come.
TERMINAL = {"request_id_unknown", "invalid_request_id"}


@providers.register("apollo")
class Apollo(DataVendor, Enriches):
    name = "apollo"
    label = "Apollo"
    note = "Phones come by webhook or polling, minutes later. Webhooks are not signed."
    services = {
        "match": Service(
            label="Person and company",
            kind="enrich",
            unit_cents=CREDIT_CENTS,
            most_units=PERSON_CREDITS,
            finds=frozenset({"email", "name", "business"}),
        ),
        "match_phone": Service(
            label="Person, company and phone",
            kind="enrich",
            unit_cents=CREDIT_CENTS,
            most_units=PERSON_CREDITS + PHONE_CREDITS,
            finds=frozenset({"email", "name", "business", "phone", "mobile"}),
            is_async=True,
            needs_callback=True,
            can_poll=True,
            wait_s=20.0,
        ),
    }

    def asks(self, service: str, subject: Subject) -> Mapping[str, str]:
        asked = {key: value.strip().lower() for key, value in _person(subject).items() if value}
        has_name = ("first_name" in asked and "last_name" in asked) or "name" in asked
        where = "domain" in asked or "organization_name" in asked
        return asked if "email" in asked or (has_name and where) else {}

    def build_enrich(
        self,
        service: str,
        subjects: Sequence[Subject],
        account: Account,
        callback_url: str = "",
    ) -> HttpCall:
        asked: dict[str, Any] = {
            **{key: value for key, value in _person(subjects[0]).items() if value},
            "reveal_personal_emails": False,
            "reveal_phone_number": service == "match_phone",
        }
        if service == "match_phone":
            asked["webhook_url"] = callback_url
        return HttpCall(
            method="POST",
            url=f"{_base(account)}{MATCH}",
            headers={**_headers(account), "Content-Type": "application/json"},
            body=json.dumps(asked).encode(),
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
            return _trouble(status, headers, answer)
        if "person" not in answer:
            words = "Apollo's answer names no person and does not say that there is none."
            return Enriched(kind="ambiguous", units=None, error=words)
        person = part(answer, "person")
        theirs = text(answer.get("request_id"), "request_id")
        if not person:
            return Enriched(kind="miss", request_id=theirs, raw=facts.raw(answer))
        found = _matched(person)
        if service == "match_phone" and theirs:
            return replace(found, kind="pending", request_id=theirs, units=0)
        return replace(found, request_id=theirs)

    def build_poll(self, service: str, request_id: str, account: Account) -> HttpCall:
        return HttpCall(
            method="GET",
            url=f"{_base(account)}{RESULT}/{quote(request_id, safe='')}",
            headers=_headers(account),
            body=b"",
        )

    def read_poll(
        self,
        service: str,
        status: int,
        headers: Mapping[str, str],
        body: bytes,
        request_id: str,
    ) -> Enriched:
        answer = parse_json(body).payload
        code = (answer or {}).get("error_code")
        if status == 404 and code == "result_pending":
            pause = facts.number(
                (answer or {}).get("retry_after_seconds"), least=0, most=MAX_RETRY_AFTER_S
            )
            return Enriched(kind="pending", request_id=request_id, retry_after_s=pause)
        if status == 410 or code in TERMINAL:
            words = "Apollo does not keep this answer any more. Ask again if it is worth the money."
            return Enriched(kind="failed", request_id=request_id, error=words, units=None)
        if status != 200 or answer is None:
            return replace(_trouble(status, headers, answer), request_id=request_id)
        return _phoned(part(answer, "webhook_result") or answer, request_id)

    def answers(self, payload: Payload) -> dict[str, Mapping[str, Any]]:
        request_id = text(payload.get("request_id"), "request_id")
        if not request_id or not isinstance(payload.get("people"), list):
            return {}
        return {request_id: facts.raw(payload)}

    def read_answer(self, service: str, result: Mapping[str, Any], request_id: str) -> Enriched:
        return _phoned(result, request_id)


def _base(account: Account) -> str:
    return (account.base_url or HOST).rstrip("/")


def _headers(account: Account) -> dict[str, str]:
    return {"X-Api-Key": account.api_key, "Accept": "application/json"}


def _person(subject: Subject) -> dict[str, str]:
    return {
        "first_name": subject.first_name,
        "last_name": subject.last_name,
        "name": "" if subject.first_name and subject.last_name else subject.full_name,
        "organization_name": subject.company,
        "domain": _domain(subject.website),
        "email": subject.email,
    }


def _domain(website: str) -> str:
    """Return the host of a web address, without ``www.``."""
    try:
        host = urlsplit(website if "//" in website else f"//{website}").hostname or ""
    except ValueError:
        return ""
    return host.removeprefix("www.") if "." in host else ""


def _trouble(status: int, headers: Mapping[str, str], answer: Mapping[str, Any] | None) -> Enriched:
    said = (answer or {}).get("error") or (answer or {}).get("message")
    problem = facts.trouble("Apollo", status, headers, said)
    words = said.lower() if isinstance(said, str) else ""
    if status in (402, 403, 422) and "credit" in words:
        problem |= {
            "kind": "balance",
            "error": "The Apollo plan has no credits left. Buy more there, or wait for renewal.",
        }
    return Enriched(**problem, units=None if problem["kind"] == "ambiguous" else 0)


def _matched(person: Mapping[str, Any]) -> Enriched:
    company = part(person, "organization")
    name: dict[str, Any] = {
        "first_name": text(person.get("first_name"), "first_name"),
        "last_name": text(person.get("last_name"), "last_name"),
        "full_name": text(person.get("name"), "full_name"),
        "title": text(person.get("title"), "title"),
    }
    # "verified" is their word about their own data; no check of ours has been made.
    status = facts.code(person.get("email_status"))
    email = facts.email(person.get("email"), person=0, codes=(status,) if status else ())
    codes = company.get("sic_codes")
    sic = text(codes[0], "sic_code") if isinstance(codes, list) and codes else ""
    business = {
        "name": text(company.get("name"), "company"),
        "website": text(company.get("website_url") or company.get("primary_domain"), "website"),
        "employee_count": facts.count(company.get("estimated_num_employees")),
        "annual_revenue": facts.dollars(company.get("annual_revenue")),
        "sic_code": sic,
        "year_founded": facts.count(company.get("founded_year"), most=2_200),
    }
    fields = {
        "title": name["title"],
        "company": business["name"],
        "website": business["website"],
        "employee_count": business["employee_count"],
        "annual_revenue": business["annual_revenue"],
        "sic_code": sic,
    }
    person_ = Person(**name, linkedin=text(person.get("linkedin_url"), "linkedin"))
    return Enriched(
        kind="hit",
        units=PERSON_CREDITS,
        fields=facts.told(fields),
        business=facts.told(business) if business["name"] else {},
        persons=(person_,),
        points=facts.distinct([email]),
        raw=facts.raw(person),
    )


def _phoned(result: Mapping[str, Any], request_id: str) -> Enriched:
    """Return the phones of a webhook or a poll; *units* count the person, who came before them."""
    credits = facts.count(result.get("credits_consumed"), most=MAX_CREDITS)
    people = parts(result.get("people"), most=1)
    listed = parts(people[0].get("phone_numbers"), most=20) if people else []
    points = facts.distinct(_phone(one) for one in listed)
    if credits is None:
        credits = PHONE_CREDITS if points else 0
    return Enriched(
        kind="hit" if points else "miss",
        units=PERSON_CREDITS + credits,
        points=points,
        request_id=request_id,
        raw=facts.raw(result),
    )


def _phone(one: Mapping[str, Any]) -> Point | None:
    kind, status = facts.code(one.get("type_cd")).lower(), facts.code(one.get("status_cd"))
    if kind in NOT_PERSONAL or status.startswith("invalid"):
        return None
    listed = facts.code(one.get("dnc_status_cd")).lower()
    return facts.phone(
        one.get("sanitized_number") or one.get("raw_number"),
        line_type=LINES.get(kind, "unknown"),
        dnc=None if not listed else listed not in ("not_found", "none", "clear", "not_on_dnc"),
        codes=(status,) if status else (),
    )
