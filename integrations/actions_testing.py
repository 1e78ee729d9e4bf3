"""A test event, sent to one of our own URLs the way its provider would send it."""

from __future__ import annotations

import json
from dataclasses import dataclass

from django.conf import settings
from django.utils import timezone

from integrations.actions_mappings import config_for
from integrations.models import Integration, WebhookEndpoint, WebhookEvent
from integrations.providers import HttpCall, Provider, providers
from integrations.transport import NoAnswer, NotWritten, call
from tenants.actions import note
from tenants.ulids import new_id

DEADLINE_S = 10.0
MAX_SHOWN = 500


class TestRefused(Exception):
    """No test event can be sent; nothing was."""

    __test__ = False  # no test of pytest's


@dataclass(frozen=True, kw_only=True)
class Tested:
    """What our own door said to a test event; ``status`` 0: it said nothing."""

    status: int
    words: str
    event_id: str = ""  # wh_…, when it was stored
    latency_ms: int = 0

    @property
    def is_stored(self) -> bool:
        return 200 <= self.status < 300


def provider_of(integration: Integration) -> Provider:
    """Return the provider of *integration*, configured as intake would."""
    kind = providers[integration.provider]
    if not kind.is_configured:
        return kind()
    return kind(config_for(integration))


def why_no_test(integration: Integration, endpoint: WebhookEndpoint | None) -> str:
    """Return why no test event can be sent to *endpoint*, ``""`` when one can."""
    if integration.provider not in providers:
        return "No provider of this name is installed."
    if endpoint is None:
        return "There is no webhook URL that is in use. Make one first."
    if not providers[integration.provider].can_sign and endpoint.signed:
        label = providers[integration.provider].label
        return f"Only {label} can sign its events. Send a test from your account there."
    if endpoint.signed and not integration.secret:
        return "There is no signing secret yet. Store one first."
    return ""


def send_test_event(
    integration: Integration, endpoint: WebhookEndpoint, *, actor_id: str | None
) -> Tested:
    """Post a signed event without effect to *endpoint* over HTTP, and say what came of it.

    The address is made of our own base URL and the endpoint's token, never of what somebody typed;
    redirects are not followed.

    Raises:
        TestRefused: it cannot be signed, or the endpoint is not of *integration*.
    """
    if endpoint.integration_id != integration.pk or endpoint.retired_at is not None:
        raise TestRefused("This webhook URL is retired.")
    if words := why_no_test(integration, endpoint):
        raise TestRefused(words)
    provider, now = provider_of(integration), timezone.now()
    body = provider.test_event(now)
    url = f"{settings.BASE_URL}/hooks/{integration.provider}/{endpoint.token}/"
    headers = {"Content-Type": provider.content_types[0]}
    if endpoint.signed:
        headers |= provider.sign(body, integration.secret, now, new_id("test"), url)
    request = HttpCall(method="POST", url=url, headers=headers, body=body)
    before = new_id("wh")
    try:
        answer = call(request, deadline_s=DEADLINE_S)
        told = _told(answer.body)
        tested = Tested(
            status=answer.status,
            words=told.get("problem", ""),
            event_id=told.get("id", "") or _newest(integration, before),
            latency_ms=answer.latency_ms,
        )
    except (NotWritten, NoAnswer):
        words = "Our own address did not answer. Is the public base URL right?"
        tested = Tested(status=0, words=words)
    note(
        "integration.tested",
        actor_id=actor_id,
        subject=integration,
        after={"status": tested.status, "event": tested.event_id},
    )
    return tested


def _newest(integration: Integration, before: str) -> str:
    """Return the event stored since *before*, where the answer in a vendor's form names none."""
    rows = WebhookEvent.objects.filter(integration=integration.pk, id__gt=before)
    return rows.order_by("-id").values_list("id", flat=True).first() or ""


def _told(body: bytes) -> dict[str, str]:
    """Return the texts of our JSON answer; an answer in the vendor's own form has none."""
    try:
        told = json.loads(body)
    except ValueError:
        return {}
    if not isinstance(told, dict):
        return {}
    return {key: value[:MAX_SHOWN] for key, value in told.items() if isinstance(value, str)}
