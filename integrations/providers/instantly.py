"""Instantly: finds out whether an e-mail address works. Wire: ``docs/providers/instantly.md``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from integrations.addresses import fold_email
from integrations.payloads import Payload
from integrations.providers import facts
from integrations.providers.base import Account, HttpCall, providers
from integrations.providers.data import Checked, DataVendor, Service, Verdict, VerifiesEmail
from integrations.tolerant import parse_json

HOST = "https://api.instantly.ai"
PATH = "/api/v2/email-verification"

MAX_CREDITS = 100

VERDICTS: dict[str, Verdict] = {"verified": "verified", "invalid": "invalid"}


@providers.register("instantly")
class Instantly(DataVendor, VerifiesEmail):
    name = "instantly"
    label = "Instantly"
    note = "A catch-all domain takes every address: one there is not verified."
    services = {
        "email_verification": Service(
            label="E-mail verification",
            kind="verify_email",
            unit_cents=1,
            bills="call",
            can_poll=True,
            wait_s=10.0,
        )
    }

    def build_email_check(
        self, service: str, email: str, account: Account, callback_url: str = ""
    ) -> HttpCall:
        asked = {"email": email} | ({"webhook_url": callback_url} if callback_url else {})
        return HttpCall(
            method="POST",
            url=f"{_base(account)}{PATH}",
            headers={**_headers(account), "Content-Type": "application/json"},
            body=json.dumps(asked).encode(),
        )

    def build_email_poll(self, service: str, email: str, account: Account) -> HttpCall:
        return HttpCall(
            method="GET",
            url=f"{_base(account)}{PATH}/{quote(email, safe='')}",
            headers=_headers(account),
            body=b"",
        )

    def read_email_check(
        self, service: str, status: int, headers: Mapping[str, str], body: bytes, email: str
    ) -> Checked:
        answer = parse_json(body).payload
        if status not in (200, 201) or answer is None:
            said = (answer or {}).get("message") or (answer or {}).get("error")
            problem = facts.trouble("Instantly", status, headers, said)
            return Checked(**problem, units=None if problem["kind"] == "ambiguous" else 0)
        return _read(answer, email)

    def answers(self, payload: Payload) -> dict[str, Mapping[str, Any]]:
        email = fold_email(payload.get("email"))
        if not email or not isinstance(payload.get("verification_status"), str):
            return {}
        return {email: facts.raw(payload)}

    def read_email_answer(self, service: str, result: Mapping[str, Any], email: str) -> Checked:
        return _read(result, email)


def _base(account: Account) -> str:
    return (account.base_url or HOST).rstrip("/")


def _headers(account: Account) -> dict[str, str]:
    return {"Authorization": f"Bearer {account.api_key}", "Accept": "application/json"}


def _read(answer: Mapping[str, Any], email: str) -> Checked:
    """Return the verdict. ``status`` is how the request went, and says nothing of the address."""
    units = facts.count(answer.get("credits_used"), most=MAX_CREDITS)
    about: dict[str, Any] = {"request_id": email, "raw": facts.raw(answer)}
    if fold_email(answer.get("email")) != email:
        words = "Instantly's answer is about another address; it may be billed."
        return Checked(kind="ambiguous", units=None, error=words)
    said, catch_all = answer.get("verification_status"), answer.get("catch_all")
    if said == "pending" or (said == "verified" and catch_all == "pending"):
        return Checked(kind="pending", verdict="pending", code="pending", **about)
    if said == "verified" and catch_all is not False:
        # True, or not said: a mailbox behind a catch-all domain cannot be told from none.
        verdict: Verdict = "catch_all" if catch_all is True else "unknown"
        return Checked(kind="hit", verdict=verdict, code=verdict, units=units, **about)
    if isinstance(said, str) and said in VERDICTS:
        return Checked(kind="hit", verdict=VERDICTS[said], code=said, units=units, **about)
    return Checked(kind="miss", code=facts.code(said) or "unknown", units=units, **about)
