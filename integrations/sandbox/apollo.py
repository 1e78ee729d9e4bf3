"""Apollo: people at once, their phones later."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from integrations.sandbox.market import EXPIRED_KEY, Account, Job, promise
from integrations.sandbox.people import PER_AREA, STRANGERS, hashed, number_of
from integrations.sandbox.places import AREAS, FIRST, LAST
from integrations.sandbox.wire import Refused, Request, Response, Router, json_response

if TYPE_CHECKING:
    from integrations.sandbox.app import Sandbox

router = Router()

RETRY_AFTER_SECONDS = 2


def authenticate(sandbox: Sandbox, request: Request) -> Account:
    """The account of the `X-Api-Key`.

    Raises:
        Refused: 401.
    """
    key = request.headers.get("x-api-key", "")
    return sandbox.market.account("apollo", key or EXPIRED_KEY)


def key_of(data: dict[str, Any]) -> str:
    """Who is asked for: by e-mail, else by name and company; "" when it is nobody."""
    email = str(data.get("email") or "").strip().lower()
    if email:
        return email
    name = str(data.get("name") or f"{data.get('first_name', '')} {data.get('last_name', '')}")
    where = str(data.get("domain") or data.get("organization_name") or "")
    return f"{name.strip()}|{where.strip()}".lower() if name.strip() and where.strip() else ""


@router.route("POST", "/api/v1/people/match")
async def match(sandbox: Sandbox, request: Request) -> Response:
    """Who somebody is; 60 of 100 are known, and half of those have a mobile."""
    account = authenticate(sandbox, request)
    data = request.json() | request.query
    key, url = key_of(data), str(data.get("webhook_url") or "")
    if not key:
        raise Refused(422, "Not enough to find somebody by")
    wants_phone = data.get("reveal_phone_number") in (True, "true")
    if wants_phone and not url.startswith("http"):
        raise Refused(400, "webhook_url is required when reveal_phone_number is true")
    given = sandbox.market.facts.get(f"email:{key}", {})
    bits = hashed(sandbox.market.population.seed, f"apollo:{key}")
    request_id = new_request_id(sandbox)
    if not given.get("apollo", bits % 100 < 60):
        return json_response({"request_id": request_id, "person": None})
    if not account.can_pay("person") or (wants_phone and not account.can_pay("phone")):
        raise Refused(422, "You have insufficient credits")
    sandbox.market.bill(account, "person", 1, request, subject=str(request_id))
    person = person_of(data, bits)
    if wants_phone:
        has_phone = bool(given.get("apollo_phone", (bits >> 8) % 2 == 0))

        def finish(job: Job) -> dict[str, Any]:
            return phoned(sandbox, job, request, person["id"], bits if has_phone else None)

        promise(
            sandbox,
            Job(
                id=f"apollo:{request_id}",
                vendor="apollo",
                account=account,
                url=url,
                finish=finish,
            ),
        )
    return json_response({"request_id": request_id, "person": person})


def new_request_id(sandbox: Sandbox) -> int:
    """A signed number of 64 bits: every other one is negative."""
    serial = sandbox.market.next_serial()
    value = hashed(sandbox.market.population.seed, f"apollo:{serial}") >> 2 | 1 << 60
    return -value if serial % 2 else value


def person_of(data: dict[str, Any], bits: int) -> dict[str, Any]:
    """A person as Apollo tells it."""
    first = str(data.get("first_name") or FIRST[bits % len(FIRST)])
    last = str(data.get("last_name") or LAST[(bits >> 8) % len(LAST)])
    company = str(data.get("organization_name") or f"{LAST[(bits >> 16) % len(LAST)]} LLC")
    domain = str(data.get("domain") or f"{company.split()[0].lower()}.example.com")
    return {
        "id": f"{bits:024x}",
        "first_name": first,
        "last_name": last,
        "name": f"{first} {last}",
        "title": "Owner",
        "linkedin_url": f"https://www.linkedin.com/in/{first}-{last}-{bits % 10**6}".lower(),
        "email": str(data.get("email") or f"{first}.{last}@{domain}").lower(),
        "email_status": "verified" if bits % 3 else "extrapolated",
        "state": "California",
        "country": "United States",
        "organization": {
            "name": company,
            "primary_domain": domain,
            "estimated_num_employees": 1 + bits % 400,
            "annual_revenue": (1 + bits % 900) * 100_000,
            "sic_codes": ["6531"],
        },
    }


def phoned(
    sandbox: Sandbox, job: Job, request: Request, person: str, bits: int | None
) -> dict[str, Any]:
    """What the webhook and the poll tell; a mobile is billed now."""
    phones = []
    if bits is not None:
        slot = STRANGERS + (bits >> 20) % (len(AREAS) * PER_AREA - STRANGERS)
        number = number_of(slot)
        phones.append(
            {
                "raw_number": number,
                "sanitized_number": f"+1{number}",
                "type_cd": "mobile",
                "status_cd": "valid_number",
                "dnc_status_cd": "not_found",
            }
        )
        sandbox.market.bill(job.account, "phone", 1, request, subject=job.id.partition(":")[2])
    return {
        "request_id": int(job.id.partition(":")[2]),
        "status": "success",
        "credits_consumed": 8 if phones else 0,
        "people": [{"id": person, "status": "success", "phone_numbers": phones}],
    }


@router.route("GET", "/api/v1/webhook_result/<request_id>")
async def poll(sandbox: Sandbox, request: Request, request_id: str) -> Response:
    """The answer to a webhook that may have been missed; free."""
    account = authenticate(sandbox, request)
    if not request_id.lstrip("-").isdecimal():
        return json_response({"error_code": "invalid_request_id"}, 400)
    job = sandbox.market.jobs.get(f"apollo:{request_id}")
    if job is None or job.account is not account:
        return json_response({"error_code": "request_id_unknown"}, 404)
    if job.expired:
        return json_response({"error_code": "result_expired"}, 410)
    if not job.ready:
        told = {"error_code": "result_pending", "retry_after_seconds": RETRY_AFTER_SECONDS}
        return json_response(told, 404)
    return json_response({"webhook_result": job.answer})


@router.route("POST", "/_control/apollo/expire")
async def expire(sandbox: Sandbox, request: Request) -> Response:
    """Let an answer grow too old to be had: ``{request_id}``."""
    job = sandbox.market.jobs.get(f"apollo:{request.json().get('request_id')}")
    if job is None:
        raise Refused(404, "No such request")
    job.expired = True
    return json_response({"request_id": job.id.partition(":")[2]})
