"""What a stage asks its vendor, and what the answers mean: requests out, one kind of result in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from integrations.ledger import fingerprint
from integrations.models import Integration, WebhookEndpoint
from integrations.providers import Account, HttpCall, providers
from integrations.providers.data import (
    Checked,
    Enriched,
    Enriches,
    LooksUpPhone,
    Service,
    Subject,
    VerifiesEmail,
    services_of,
)
from integrations.transport import Answer
from leads.models import Lead
from pipelines import artifacts
from pipelines.models import Artifact

#: How an artifact came, and so how it is read again.
BY_ANSWER, BY_POLL, BY_WEBHOOK = "vendor_answer", "vendor_poll", "vendor_webhook"

#: What a vendor must be able to do for a kind of stage.
ABLE: dict[str, type] = {
    "enrich": Enriches,
    "verify_email": VerifiesEmail,
    "verify_phone": LooksUpPhone,
}

Result = Enriched | Checked


class CannotAsk(Exception):
    """The stage cannot be asked as it is set up; the text says what is missing."""


@dataclass(frozen=True, kw_only=True)
class Ask:
    """One question of a stage: about a lead, or about one phone or e-mail of it."""

    kind: str  # of the stage
    provider: str
    service_key: str
    service: Service
    account: Account
    subject: Subject  # without ``request_id``
    address: str = ""  # for a verifying stage
    point_id: str | None = None
    callback_url: str = ""

    @property
    def vendor(self) -> Any:
        return providers[self.provider](self.account.settings)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the question; "" when there is too little to ask with."""
        if self.kind != "enrich":
            return fingerprint(self.address)
        asked = self.vendor.asks(self.service_key, self.subject)
        return fingerprint(dict(asked)) if asked else ""


def ask_of(
    integration: Integration,
    *,
    kind: str,
    service_key: str,
    lead: Lead,
    address: str = "",
    point_id: str | None = None,
    is_new: bool = True,
) -> Ask:
    """Put together what is asked about a lead, or about one phone or e-mail of it.

    *is_new*: it is yet to be asked; False: its answer is being waited for.

    Raises:
        CannotAsk: the vendor does not sell that, or needs a callback URL and there is none.
    """
    name = integration.provider
    service = services_of(providers[name]).get(service_key) if name in providers else None
    if service is None or not issubclass(providers[name], ABLE[kind]):
        raise CannotAsk(f"{integration.name} does not sell {service_key}.")
    url = _callback_url(integration) if service.needs_callback or service.is_async else ""
    if is_new and service.needs_callback and not url:
        raise CannotAsk(f"{integration.name} needs a webhook URL without signature.")
    return Ask(
        kind=kind,
        provider=name,
        service_key=service_key,
        service=service,
        account=account_of(integration),
        subject=_subject(lead),
        address=address,
        point_id=point_id,
        callback_url=url,
    )


def account_of(integration: Integration) -> Account:
    return Account(
        base_url=integration.base_url,
        api_key=integration.api_key,
        account_id=integration.account_id or "",
        settings=integration.settings,
    )


def _callback_url(integration: Integration) -> str:
    endpoint = (
        WebhookEndpoint.objects.filter(integration=integration, signed=False, retired_at=None)
        .select_related("integration")
        .order_by("id")
        .first()
    )
    return endpoint.url if endpoint else ""


def _subject(lead: Lead) -> Subject:
    phones = [p for p in lead.contact_points.order_by("-is_primary", "id") if p.kind == "phone"]
    emails = [p for p in lead.contact_points.order_by("-is_primary", "id") if p.kind == "email"]
    return Subject(
        request_id="",
        first_name=lead.first_name,
        last_name=lead.last_name,
        full_name=lead.full_name,
        company=lead.company,
        website=lead.website,
        address_line1=lead.address_line1,
        unit=lead.unit,
        city=lead.city,
        region=lead.region,
        postal_code=lead.postal_code,
        county=lead.county,
        county_fips=lead.county_fips,
        apn=lead.apn,
        mak=lead.mak,
        phone=phones[0].normalized if phones else "",
        email=emails[0].normalized if emails else "",
    )


# --- requests and answers ---------------------------------------------------------------------


def build(ask: Ask, call_id: str) -> HttpCall:
    """Return the request; *call_id* is what the vendor repeats in its answer."""
    vendor = ask.vendor
    match ask.kind:
        case "enrich":
            subject = Subject(**{**_plain(ask.subject), "request_id": call_id})
            return vendor.build_enrich(
                ask.service_key, [subject], ask.account, callback_url=ask.callback_url
            )
        case "verify_email":
            return vendor.build_email_check(
                ask.service_key, ask.address, ask.account, callback_url=ask.callback_url
            )
        case _:
            return vendor.build_phone_check(ask.service_key, ask.address, ask.account)


def read(ask: Ask, answer: Answer, call_id: str) -> Result:
    """Say what the answer to ``build`` means."""
    return _read(ask, answer.status, answer.headers, answer.body, call_id)


def _read(ask: Ask, status: int, headers: Mapping[str, str], body: bytes, call_id: str) -> Result:
    vendor = ask.vendor
    match ask.kind:
        case "enrich":
            return vendor.read_enrich(ask.service_key, status, headers, body, call_id)
        case "verify_email":
            return vendor.read_email_check(ask.service_key, status, headers, body, ask.address)
        case _:
            return vendor.read_phone_check(ask.service_key, status, headers, body, ask.address)


def build_poll(ask: Ask, request_id: str) -> HttpCall | None:
    """Return the request for a pending answer; None where the vendor can only call back."""
    if not ask.service.can_poll:
        return None
    if ask.kind == "verify_email":
        return ask.vendor.build_email_poll(ask.service_key, ask.address, ask.account)
    return ask.vendor.build_poll(ask.service_key, request_id, ask.account)


def read_poll(ask: Ask, answer: Answer, request_id: str) -> Result:
    """Say what the answer to ``build_poll`` means."""
    if ask.kind == "verify_email":
        return _read(ask, answer.status, answer.headers, answer.body, "")
    return ask.vendor.read_poll(
        ask.service_key, answer.status, answer.headers, answer.body, request_id
    )


def read_told(ask: Ask, result: Mapping[str, Any], request_id: str) -> Result:
    """Say what a webhook's answer means."""
    if ask.kind == "verify_email":
        return ask.vendor.read_email_answer(ask.service_key, result, ask.address)
    return ask.vendor.read_answer(ask.service_key, result, request_id)


def read_kept(ask: Ask, artifact: Artifact, call_id: str, request_id: str) -> Result:
    """Read an answer again that was paid for before.

    Raises:
        pipelines.artifacts.ArtifactDamaged: it is not what was kept.
    """
    body = artifacts.read(artifact)
    match artifact.artifact_type:
        case kind if kind == BY_WEBHOOK:
            return read_told(ask, cast("dict[str, Any]", json.loads(body)), request_id)
        case kind if kind == BY_POLL:
            return read_poll(
                ask, Answer(status=200, headers={}, body=body, latency_ms=0), request_id
            )
        case _:
            return _read(ask, 200, {}, body, call_id)


def _plain(subject: Subject) -> dict[str, str]:
    return {name: getattr(subject, name) for name in subject.__dataclass_fields__}
