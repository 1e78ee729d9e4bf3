"""Instantly's e-mail verification: at once, or pending and told later."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from integrations.sandbox.market import Job, bearer, promise
from integrations.sandbox.people import hashed
from integrations.sandbox.wire import Refused, Request, Response, Router, json_response

if TYPE_CHECKING:
    from integrations.sandbox.app import Sandbox

router = Router()

VERDICTS = ("verified", "invalid", "catch_all", "unknown")


def verdict_of(sandbox: Sandbox, email: str) -> tuple[str, bool]:
    """What an address is in the end, and whether that is pending at first."""
    given = sandbox.market.facts.get(f"email:{email}", {})
    local, _, domain = email.partition("@")
    percent = hashed(sandbox.market.population.seed, f"email:{email}") % 100
    if "invalid" in local:
        verdict = "invalid"
    elif domain.startswith("catchall"):
        verdict = "catch_all"
    elif percent < 78:
        verdict = "verified"
    else:
        verdict = "invalid" if percent < 90 else "catch_all" if percent < 98 else "unknown"
    pending = bool(given.get("pending", local.startswith("pending")))
    return str(given.get("verdict", verdict)), pending


def told(sandbox: Sandbox, email: str, verdict: str, credits: int) -> dict[str, Any]:
    """The answer, with `status` as a trap: it says only that the request went well."""
    status = "verified" if verdict == "catch_all" else verdict
    catch_all: bool | str = "pending" if verdict == "pending" else verdict == "catch_all"
    return {
        "email": email,
        "verification_status": status,
        "status": "success",
        "catch_all": catch_all,
        "credits": 1_000,
        "credits_used": credits,
    }


@router.route("POST", "/api/v2/email-verification")
async def verify(sandbox: Sandbox, request: Request) -> Response:
    """Find out about an address; a request costs a credit, also when it was asked before."""
    account = sandbox.market.account("instantly", bearer(request))
    data = request.json()
    email = str(data.get("email") or "").strip().lower()
    if "@" not in email:
        raise Refused(400, "email must be an e-mail address")
    if not account.can_pay("email_verification"):
        raise Refused(402, "Insufficient credits")
    sandbox.market.bill(account, "email_verification", 1, request, subject=email)
    verdict, is_pending = verdict_of(sandbox, email)
    if not is_pending:
        return json_response(told(sandbox, email, verdict, 1))
    promise(
        sandbox,
        Job(
            id=f"instantly:{account.api_key}:{email}",
            vendor="instantly",
            account=account,
            url=str(data.get("webhook_url") or ""),
            finish=lambda job: told(sandbox, email, verdict, 1),
        ),
    )
    return json_response(told(sandbox, email, "pending", 1))


@router.route("GET", "/api/v2/email-verification/<email>")
async def poll(sandbox: Sandbox, request: Request, email: str) -> Response:
    """What is known of an address that was asked about; free."""
    account = sandbox.market.account("instantly", bearer(request))
    email = unquote(email).lower()
    job = sandbox.market.jobs.get(f"instantly:{account.api_key}:{email}")
    if job is not None:
        return json_response(job.answer if job.ready else told(sandbox, email, "pending", 1))
    if any(item["subject"] == email for item in account.items):
        return json_response(told(sandbox, email, verdict_of(sandbox, email)[0], 0))
    raise Refused(404, "No verification of this address was asked for")
