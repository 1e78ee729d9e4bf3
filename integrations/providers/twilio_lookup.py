"""Twilio Lookup v2: whether a number exists and what kind of line it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote, urlencode

from integrations.payloads import read_note
from integrations.providers.base import Account, HttpCall
from integrations.providers.laml_api import authorization
from integrations.tolerant import parse_json

LineType = Literal["mobile", "landline", "voip", "unknown"]

HOST = "https://lookups.twilio.com"  # another one than that of the Messages API

NOT_FOUND = "20404"

LINE_TYPES: dict[str, LineType] = {
    "mobile": "mobile",
    "landline": "landline",
    "fixedvoip": "voip",
    "nonfixedvoip": "voip",
    "voip": "voip",
}


@dataclass(frozen=True, kw_only=True)
class NumberFacts:
    """What is known of a number. With an ``error`` the rest says nothing."""

    valid: bool = False
    line_type: LineType = "unknown"
    carrier: str = ""
    error: str = ""


def build_number_lookup(account: Account, number: str) -> HttpCall:
    """Return the request about *number*, E.164.

    The setting ``lookup_url`` of the account names another host than Twilio's.
    """
    host = account.settings.get("lookup_url")
    base = host.rstrip("/") if isinstance(host, str) and host else HOST
    query = urlencode({"Fields": "line_type_intelligence"})
    return HttpCall(
        method="GET",
        url=f"{base}/v2/PhoneNumbers/{quote(number, safe='')}?{query}",
        headers={"Authorization": authorization(account), "Accept": "application/json"},
        body=b"",
    )


def read_number_lookup(status: int, body: bytes) -> NumberFacts:
    """Say what the answer to ``build_number_lookup`` means. Never raises."""
    answer = parse_json(body).payload or {}
    if status == 404 and read_note(answer.get("code")) == NOT_FOUND:  # cannot be a number at all
        return NumberFacts()
    if status != 200 or not isinstance(answer.get("valid"), bool):
        return NumberFacts(error=read_note(answer.get("message")) or f"answered {status}")
    line: Any = answer.get("line_type_intelligence")
    line = line if isinstance(line, Mapping) else {}
    return NumberFacts(
        valid=answer["valid"],
        line_type=LINE_TYPES.get(read_note(line.get("type")).lower(), "unknown"),
        carrier=read_note(line.get("carrier_name")),
    )
