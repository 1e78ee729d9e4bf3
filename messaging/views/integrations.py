"""Accounts with providers: what arrives from each, its keys and URLs, and a test event."""

from __future__ import annotations

import base64
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.contrib import messages
from django.db import connection
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from integrations import actions_keys, actions_testing
from integrations.addresses import normalize_address
from integrations.events import BadPayload
from integrations.models import Integration, WebhookEndpoint
from integrations.providers import Provider, providers
from integrations.providers.standard_signing import SECRET_PREFIX, StandardSigned
from messaging.views.access import door, found
from messaging.views.home import first_id
from tenants.http import TenantRequest
from tenants.permissions import allows
from tenants.ulids import to_text, to_uuid

#: How long the old secret of a rotated pair may stay good.
GRACES = {
    "24": ("24 hours", timedelta(hours=24)),
    "168": ("7 days", timedelta(days=7)),
    "0": ("Not at all", None),
}
DAY = timedelta(hours=24)
#: Counting stops here; nobody acts on the difference.
CAP = 10_000
#: Events looked through for the newest of one integration.
REACH = 5_000
RECENT = 10
MOST_INTEGRATIONS = 200
MAX_SECRET = 500
#: A month: an alarm for more is none.
MAX_SILENCE = 43_200


@dataclass(frozen=True, kw_only=True)
class Live:
    """One secret that still counts."""

    label: str
    used_at: datetime | None
    until: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Account:
    """An integration as its pages show it."""

    row: Integration
    label: str  # of its provider
    endpoints: list[WebhookEndpoint]
    events: int
    live: list[Live]
    state: str

    @property
    def urls(self) -> list[WebhookEndpoint]:
        return [endpoint for endpoint in self.endpoints if endpoint.retired_at is None]

    @property
    def used_at(self) -> datetime | None:
        """When one of its URLs was last posted to."""
        used = [endpoint.last_used_at for endpoint in self.urls if endpoint.last_used_at]
        return max(used, default=None)

    @property
    def state_label(self) -> str:
        return STATES[self.state][0]

    @property
    def state_color(self) -> str:
        return STATES[self.state][1]


STATES = {
    "off": ("Off", "slate"),
    "silent": ("Silent", "red"),
    "receiving": ("Receiving", "green"),
    "quiet": ("Quiet", "blue"),
    "new": ("No event yet", "amber"),
}


@require_GET
@door("configure")
def index(request: TenantRequest, slug: str) -> HttpResponse:
    """Page: every account with a provider, and whether it is well."""
    rows = list(Integration.objects.order_by("name", "id")[:MOST_INTEGRATIONS])
    endpoints: dict[str, list[WebhookEndpoint]] = {}
    for endpoint in WebhookEndpoint.objects.defer("token").order_by("id"):
        endpoints.setdefault(endpoint.integration_id, []).append(endpoint)
    counts = events_of_day(request.tenant.pk)
    accounts = [account_of(row, endpoints.get(row.pk, []), counts.get(row.pk, 0)) for row in rows]
    context = {"accounts": accounts, "cap": CAP, "may_manage": allows(request.actor, "manage")}
    return render(request, "integrations/index.html", context)


@require_GET
@never_cache
@door("configure")
def detail(request: TenantRequest, slug: str, integration: str) -> HttpResponse:
    """Page: one account, its keys, URLs and newest events."""
    return show(request, found(Integration.objects.all(), integration))


@require_POST
@never_cache
@door("manage")
def rotate(request: TenantRequest, slug: str, integration: str) -> HttpResponse:
    """Store a new signing secret, pasted or made here; one made here is shown this once."""
    row = found(Integration.objects.all(), integration)
    secret, grace = request.POST.get("secret", "").strip(), request.POST.get("grace", "24")
    made = ""
    if "make" in request.POST:
        if not makes_secrets(row):
            raise Http404
        secret = made = SECRET_PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()
    if grace not in GRACES:
        raise Http404
    if not secret or len(secret) > MAX_SECRET:
        error = "Paste the secret as the provider shows it. Nothing was changed."
        return show(request, row, status=422, secret_error=error)
    actions_keys.rotate_secret(
        row, secret=secret, grace=GRACES[grace][1], actor_id=request.actor.pk
    )
    if made:
        return show(request, found(Integration.objects.all(), integration), made=made)
    messages.info(request, "The new secret is stored.")
    return redirect("messaging:integration", slug, row.pk)


@require_POST
@door("manage")
def drop(request: TenantRequest, slug: str, integration: str) -> HttpResponse:
    """Stop accepting the secret before the current one."""
    row = found(Integration.objects.all(), integration)
    actions_keys.drop_previous_secret(row, actor_id=request.actor.pk)
    messages.info(request, "Only the current secret is accepted now.")
    return redirect("messaging:integration", slug, row.pk)


@require_POST
@door("manage")
def make_url(request: TenantRequest, slug: str, integration: str) -> HttpResponse:
    """Make another webhook URL; one for a number's own address is not signed."""
    row = found(Integration.objects.all(), integration)
    text = request.POST.get("our_number", "").strip()
    try:
        number = normalize_address(text) if text else ""
    except BadPayload:
        error = "Write the number as +12025550142. No URL was made."
        return show(request, row, status=422, number=text, number_error=error)
    if len(number) > 16:
        raise Http404
    try:
        actions_keys.make_endpoint(row, our_number=number, actor_id=request.actor.pk)
    except actions_keys.NoWebhooks as refusal:
        return show(request, row, status=422, number=text, number_error=str(refusal))
    messages.info(request, "The URL is made. Give it to the provider.")
    return redirect("messaging:integration", slug, row.pk)


@require_POST
@door("manage")
def retire_url(request: TenantRequest, slug: str, integration: str, endpoint: str) -> HttpResponse:
    """Answer 410 Gone at a webhook URL from now on."""
    row = found(Integration.objects.all(), integration)
    url = found(WebhookEndpoint.objects.filter(integration=row), endpoint)
    actions_keys.retire_endpoint(url, actor_id=request.actor.pk)
    messages.info(request, "The URL is retired: it answers 410 Gone.")
    return redirect("messaging:integration", slug, row.pk)


@require_POST
@door("configure")
def watch(request: TenantRequest, slug: str, integration: str) -> HttpResponse:
    """Say after how long a silence something is wrong."""
    row = found(Integration.objects.all(), integration)
    text = request.POST.get("minutes", "").strip()
    minutes = int(text) if text.isascii() and text.isdecimal() and len(text) <= 6 else None
    if (text and minutes is None) or (minutes is not None and not 1 <= minutes <= MAX_SILENCE):
        error = f"Give 1 to {MAX_SILENCE} minutes, or nothing for no alarm."
        return show(request, row, status=422, silence=text, silence_error=error)
    actions_keys.watch_silence(row, minutes=minutes, actor_id=request.actor.pk)
    messages.info(request, "Saved.")
    return redirect("messaging:integration", slug, row.pk)


@require_POST
@never_cache
@door("configure")
def send_test(request: TenantRequest, slug: str, integration: str) -> HttpResponse:
    """Send a test event to one of our own URLs, and show the answer."""
    row = found(Integration.objects.all(), integration)
    urls = WebhookEndpoint.objects.select_related("integration").filter(integration=row)
    url = found(urls, request.POST.get("endpoint", ""))
    try:
        tested = actions_testing.send_test_event(row, url, actor_id=request.actor.pk)
    except actions_testing.TestRefused as refused:
        return show(request, row, status=422, test_error=str(refused))
    return show(request, found(Integration.objects.all(), integration), tested=tested)


# --- what the pages show ------------------------------------------------------------------------


def show(
    request: TenantRequest, row: Integration, *, status: int = 200, **more: Any
) -> HttpResponse:
    """Draw the page of one integration; *more*: what was just done, or what was wrong with it."""
    endpoints = list(WebhookEndpoint.objects.filter(integration=row).order_by("-id"))
    for endpoint in endpoints:
        endpoint.integration = row  # its URL names the provider; one query less each
    account = account_of(row, endpoints, events_of_day(request.tenant.pk).get(row.pk, 0))
    first = account.urls[0] if account.urls else None
    provider = kind_of(row)
    context = {
        "account": account,
        "integration": row,
        "note": provider.note if provider else "",
        "needs_secret": bool(provider and not provider.has_vendor_key),
        "is_mapped": bool(provider and provider.is_configured),
        "makes_secrets": makes_secrets(row),
        "graces": [(key, words) for key, (words, _) in GRACES.items()],
        "recent": recent_events(request.tenant.pk, row.pk),
        "no_test": actions_testing.why_no_test(row, first),
        "cap": CAP,
        "may_manage": allows(request.actor, "manage"),
        **more,
    }
    return render(request, "integrations/detail.html", context, status=status)


def account_of(row: Integration, endpoints: list[WebhookEndpoint], events: int) -> Account:
    """Return *row* as pages show it."""
    provider = kind_of(row)
    return Account(
        row=row,
        label=provider.label if provider else row.provider,
        endpoints=endpoints,
        events=events,
        live=live_secrets(row),
        state=state_of(row, events),
    )


def state_of(row: Integration, events: int) -> str:
    """Return a key of ``STATES``."""
    if not row.enabled:
        return "off"
    since = row.last_event_at or row.created_at
    if row.silence_minutes and timezone.now() - since > timedelta(minutes=row.silence_minutes):
        return "silent"
    if row.last_event_at is None:
        return "new"
    return "receiving" if events else "quiet"


def live_secrets(row: Integration) -> list[Live]:
    """Return the secrets that count now, the current one first."""
    live = [Live(label="Current", used_at=row.secret_used_at)] if row.secret else []
    until = row.previous_valid_until
    if row.previous_secret and (until is None or until > timezone.now()):
        live.append(Live(label="The one before", used_at=row.previous_secret_used_at, until=until))
    return live


def makes_secrets(row: Integration) -> bool:
    """Tell whether a secret can be made here: where the scheme of signing is our own."""
    provider = kind_of(row)
    return provider is not None and issubclass(provider, StandardSigned)


def kind_of(row: Integration) -> type[Provider] | None:
    """Return the provider of an integration; None of one that is not installed any more."""
    if row.provider not in providers:
        return None
    return providers[row.provider]


_COUNTS = """
SELECT integration, count(*) FROM (
    SELECT integration FROM webhook_events
    WHERE tenant_id = %(tenant)s AND id >= %(first)s AND received_at >= %(start)s
    LIMIT %(cap)s) AS day
GROUP BY 1
"""

_RECENT = """
SELECT id, received_at, event_type, signature_state FROM (
    SELECT id, received_at, event_type, signature_state, integration FROM webhook_events
    WHERE tenant_id = %(tenant)s ORDER BY id DESC LIMIT %(reach)s) AS newest
WHERE integration = %(integration)s ORDER BY id DESC LIMIT %(recent)s
"""


def events_of_day(tenant_id: str) -> dict[str, int]:
    """Count the events of the last 24 hours by integration, up to ``CAP`` in all."""
    start = timezone.now() - DAY
    values: dict[str, Any] = {
        "tenant": to_uuid(tenant_id),
        "first": first_id(start - timedelta(minutes=1)),  # ids are made just before
        "start": start,
        "cap": CAP,
    }
    with connection.cursor() as cursor:
        cursor.execute(_COUNTS, values)
        return {to_text("intg", integration): count for integration, count in cursor.fetchall()}


def recent_events(tenant_id: str, integration_id: str) -> list[dict[str, Any]]:
    """Return the newest events of an integration, among the tenant's newest ``REACH``."""
    values: dict[str, Any] = {
        "tenant": to_uuid(tenant_id),
        "integration": to_uuid(integration_id),
        "reach": REACH,
        "recent": RECENT,
    }
    with connection.cursor() as cursor:
        cursor.execute(_RECENT, values)
        return [
            {"id": to_text("wh", pk), "at": at, "kind": kind, "signature": signature}
            for pk, at, kind, signature in cursor.fetchall()
        ]
