"""Small writes around intake: samples of what was refused, signs of use, decisions about work."""

from __future__ import annotations

import time
from typing import Any

from django.db import Error, connection
from psycopg.types.json import Jsonb

from integrations.endpoints import Endpoint
from integrations.intake import Destination, kept_headers
from integrations.models import Integration, WebhookEndpoint, hash_token, new_token
from integrations.providers import Delivery
from tenants.context import tenant_context
from tenants.ulids import to_uuid

#: Refused bodies are kept up to this many bytes, and this many an hour and endpoint.
SAMPLE_BYTES = 8 * 1024
SAMPLES_PER_HOUR = 50
#: Seconds between two notes that an endpoint is in use.
USE_NOTED_EVERY = 60.0

_noted: dict[str, float] = {}
_sampled: dict[tuple[str, int], int] = {}


def note_use(
    endpoint: Endpoint, *, secret_no: int = 0, destination: Destination | None = None
) -> None:
    """Remember that a URL, its integration and a secret are in use, once a minute and process.

    Args:
        endpoint: what was posted to.
        secret_no: 1 when the current secret signed, 2 when the one before did.
        destination: whose event it was, where one URL serves all tenants.
    """
    now = time.monotonic()
    account = destination.integration_id if destination else endpoint.integration_id
    key = f"{endpoint.id}:{secret_no}:{account}"
    if now - _noted.get(key, -USE_NOTED_EVERY) < USE_NOTED_EVERY:
        return
    if len(_noted) > 10_000:
        _noted.clear()
    _noted[key] = now
    try:
        with tenant_context(endpoint.tenant_id), connection.cursor() as cursor:
            cursor.execute(
                "UPDATE webhook_endpoints SET last_used_at = clock_timestamp()"
                " WHERE tenant_id = %s AND id = %s",
                [to_uuid(endpoint.tenant_id), to_uuid(endpoint.id)],
            )
            _note_integration(endpoint.tenant_id, endpoint.integration_id, secret_no)
        if destination and destination.tenant_id != endpoint.tenant_id:
            with tenant_context(destination.tenant_id):
                _note_integration(destination.tenant_id, destination.integration_id, 0)
    except Error:
        _noted.pop(key, None)  # the delivery itself is stored; this can wait


def _note_integration(tenant_id: str, integration_id: str, secret_no: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE integrations SET last_event_at = clock_timestamp(),"
            " secret_used_at = CASE WHEN %(no)s = 1 THEN clock_timestamp()"
            "                       ELSE secret_used_at END,"
            " previous_secret_used_at = CASE WHEN %(no)s = 2 THEN clock_timestamp()"
            "                                ELSE previous_secret_used_at END"
            " WHERE tenant_id = %(tenant)s AND id = %(id)s",
            {"no": secret_no, "tenant": to_uuid(tenant_id), "id": to_uuid(integration_id)},
        )


def sample_rejection(endpoint: Endpoint, delivery: Delivery, *, reason: str) -> None:
    """Keep a bounded sample of a refused delivery; a database that is away loses only that."""
    hour = (endpoint.id, int(time.time() // 3600))
    if _sampled.get(hour, 0) >= SAMPLES_PER_HOUR:
        return
    if len(_sampled) > 10_000:
        _sampled.clear()
    _sampled[hour] = _sampled.get(hour, 0) + 1
    try:
        with tenant_context(endpoint.tenant_id), connection.cursor() as cursor:
            sample: dict[str, Any] = {
                "tenant": to_uuid(endpoint.tenant_id),
                "endpoint": to_uuid(endpoint.id),
                "reason": reason[:40],
                "body": delivery.body[:SAMPLE_BYTES],
                "headers": Jsonb(kept_headers(delivery.headers)),
                "most": SAMPLES_PER_HOUR,
            }
            cursor.execute(
                "WITH this AS (SELECT date_trunc('hour', clock_timestamp()) AS hour),"
                " used AS (SELECT count(*) AS n FROM webhook_rejections AS r, this"
                "          WHERE r.tenant_id = %(tenant)s AND r.endpoint_id = %(endpoint)s"
                "            AND r.hour = this.hour)"
                " INSERT INTO webhook_rejections"
                "   (tenant_id, id, endpoint_id, reason, body, headers, hour, slot)"
                " SELECT %(tenant)s, ulid_new(), %(endpoint)s, %(reason)s, %(body)s, %(headers)s,"
                "        this.hour, used.n + 1"
                " FROM this, used WHERE used.n < %(most)s"
                " ON CONFLICT DO NOTHING",
                sample,
            )
    except Error:
        _sampled.pop(hour, None)


def create_endpoint(
    integration: Integration, *, signed: bool = True, our_number: str = ""
) -> WebhookEndpoint:
    """Make a webhook URL for an integration; its ``url`` goes to the provider and nowhere else."""
    token = new_token()
    return WebhookEndpoint.objects.create(
        integration=integration,
        token=token,
        token_hash=hash_token(token),
        signed=signed,
        our_number=our_number,
    )


def attempt_is_ours(endpoint: Endpoint, token_hash: str) -> bool:
    """Tell whether the tenant made a send attempt with this callback token."""
    with tenant_context(endpoint.tenant_id), connection.cursor() as cursor:
        cursor.execute(
            "SELECT FROM send_attempts WHERE tenant_id = %s AND token_hash = %s",
            [to_uuid(endpoint.tenant_id), token_hash],
        )
        return cursor.fetchone() is not None


def next_position() -> int:
    """Return the place, in the order of receipts, that the next webhook will have.

    What a person records now comes after everything received so far, and before all that follows.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT CASE WHEN is_called THEN last_value + 1 ELSE last_value END"
            " FROM webhook_work_seq_seq"
        )
        return int(cursor.fetchone()[0])
