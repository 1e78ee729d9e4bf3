"""What vendors' words mean is in a table; it agrees with what the adapters make of them."""

from __future__ import annotations

import json
import re

import pytest

from integrations.models.waterfall import VerificationCode
from integrations.providers import providers
from integrations.sandbox import instantly as sandbox
from tests.raw import connected

pytestmark = pytest.mark.django_db


def table(provider):
    rows = VerificationCode.objects.filter(provider=provider)
    return {(row.channel, row.code): row.is_verified for row in rows}


def test_an_adapter_verifies_exactly_what_the_table_does():
    known = table("instantly")
    for verdict in sandbox.VERDICTS:
        said = "verified" if verdict == "catch_all" else verdict
        answer = {"email": "a@example.com", "verification_status": said}
        answer["catch_all"] = verdict == "catch_all"
        found = providers["instantly"]().read_email_answer(
            "email_verification", answer, "a@example.com"
        )
        assert (found.verdict == "verified") is known["email", found.code]

    known = table("twilio")
    for kind in ("mobile", "landline", "fixedVoip", "tollFree"):
        body = json.dumps({"valid": True, "line_type_intelligence": {"type": kind}}).encode()
        found = providers["twilio"]().read_phone_check("lookup", 200, {}, body, "+12025550142")
        assert (found.verdict == "verified") is known["phone", found.code]

    known = table("batchdata")
    for service, facts in (
        ("phone_verification", {"reachable": True}),
        ("phone_verification", {"reachable": False}),
        ("phone_verification", {}),
        ("phone_verification", {"meta": {"matched": False}}),
        ("phone_dnc", {"dnc": False}),
        ("phone_dnc", {"dnc": True}),
        ("phone_tcpa", {"tcpa": False}),
        ("phone_tcpa", {"tcpa": True}),
    ):
        listed = {"results": {"phoneNumbers": [{"number": "2025550142", **facts}]}}
        found = providers["batchdata"]().read_phone_check(
            service, 200, {}, json.dumps(listed).encode(), "+12025550142"
        )
        assert (found.verdict == "verified") is known["phone", found.code], (service, facts)


def test_neither_found_nor_catch_all_nor_an_error_of_the_address_verifies():
    known = table("melissa")

    assert known["email", "ES01"]
    assert not known["email", "ES07"]
    assert not known["email", "DA40"]
    assert not known["phone", "DA30"]
    assert not any(verified for (channel, _), verified in known.items() if channel == "phone")
    assert not any(
        verified for (_, code), verified in known.items() if re.match(r"AE|EE|PE|DA", code)
    )
    assert ("email", "AE01") not in known
    assert not any(table("apollo").values())


def test_every_word_is_of_a_provider_there_is_and_says_what_it_means():
    for row in VerificationCode.objects.all():
        assert row.provider in providers
        assert row.channel in ("address", "email", "phone")
        assert row.meaning


def test_the_app_may_read_the_table():
    with connected() as own:
        assert own.execute("SELECT count(*) > 50 FROM verification_codes").fetchone() == (True,)
