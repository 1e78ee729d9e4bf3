"""Twilio: SMS and MMS, and looking numbers up. Wire format: ``docs/providers/twilio.md``."""

from __future__ import annotations

from collections.abc import Mapping

from integrations.providers.base import Account, HttpCall, providers
from integrations.providers.data import Checked, LooksUpPhone, Service
from integrations.providers.facts import trouble
from integrations.providers.laml import Laml
from integrations.providers.twilio_lookup import build_number_lookup, read_number_lookup


@providers.register("twilio")
class Twilio(Laml, LooksUpPhone):
    name = "twilio"
    label = "Twilio"
    note = (
        "Signatures cover the public address of this site: the webhook URL must reach it unchanged."
    )
    root = "/2010-04-01"
    services = {
        "lookup": Service(
            label="Line type look-up", kind="verify_phone", unit_cents=1, bills="call"
        )
    }

    def build_phone_check(self, service: str, number: str, account: Account) -> HttpCall:
        return build_number_lookup(account, number)

    def read_phone_check(
        self, service: str, status: int, headers: Mapping[str, str], body: bytes, number: str
    ) -> Checked:
        found = read_number_lookup(status, body)
        if found.error:
            problem = trouble("Twilio", status, headers, found.error)
            return Checked(**problem, units=None if problem["kind"] == "ambiguous" else 0)
        if not found.valid:
            # Nothing that could be a number is not billed, which only 404 says for sure.
            return Checked(
                kind="hit", verdict="invalid", code="invalid", units=0 if status == 404 else 1
            )
        is_known = found.line_type != "unknown"
        return Checked(
            kind="hit",
            verdict="verified" if is_known else "unknown",
            code=found.line_type,
            line_type=found.line_type,
            carrier=found.carrier[:80],
            units=1,
        )
