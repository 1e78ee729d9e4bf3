"""What of a vendor's list is known: told by a webhook, processed or not, or pulled before."""

from __future__ import annotations

from dataclasses import dataclass, field

from django.db import connection

from integrations.events import BadPayload, MessageStatus
from integrations.models import ExternalId
from integrations.providers import Provider, Pulled
from leads.actions import owner
from tenants.dispatch import emit
from tenants.ulids import to_uuid


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Which of these things are known? Emitted, so that each app above answers for its own.

    A handler adds the keys of the things it knows to ``known``.
    """

    provider: str
    integration_id: str
    items: tuple[Pulled, ...]
    known: set[str] = field(default_factory=set)


def missing_of(provider: Provider, integration_id: str, items: tuple[Pulled, ...]) -> list[Pulled]:
    """Return the listed things that no webhook told, in their order.

    Args:
        provider: whose list it is.
        integration_id: ``intg_…`` of the running tenant.
        items: what it lists.
    """
    if not items:
        return []
    comparison = Comparison(provider=provider.name, integration_id=integration_id, items=items)
    emit(comparison)
    _know_records(comparison)
    rest = [item for item in items if item.key not in comparison.known]
    unread = _unread(provider, integration_id, rest)
    return [item for item in rest if (item.external_id, item.is_status) not in unread]


def _know_records(comparison: Comparison) -> None:
    """Records of other systems that we heard of at that time, or later."""
    ids = [item.external_id for item in comparison.items if item.is_status is None]
    heard = dict(
        ExternalId.objects.filter(
            integration=comparison.integration_id,
            external_id__in=ids,
            last_remote_at__isnull=False,
        ).values_list("external_id", "last_remote_at")
    )
    for item in comparison.items:
        if item.is_status is None and (at := heard.get(item.external_id)) and at >= item.at:
            comparison.known.add(item.key)


def _unread(
    provider: Provider, integration_id: str, items: list[Pulled]
) -> set[tuple[str, str | None]]:
    """What lies in webhooks that came but are not processed, in the lanes of these things."""
    lanes = {_lane(provider, item) for item in items}
    if not lanes:
        return set()
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT e.body, e.headers ->> 'content-type' FROM webhook_work AS w"
            " JOIN webhook_events AS e ON e.tenant_id = w.tenant_id AND e.id = w.event"
            "   AND e.received_at = w.received_at"
            " WHERE w.tenant_id = %s AND w.state IN ('ready', 'dead', 'quarantined')"
            "   AND w.lane = ANY(%s) AND e.integration = %s::uuid LIMIT 5000",
            [owner(), sorted(lanes), to_uuid(integration_id)],
        )
        rows = cursor.fetchall()
    return {told for body, kind in rows for told in _told(provider, bytes(body), kind or "")}


def _lane(provider: Provider, item: Pulled) -> str:
    parsed = provider.read(item.body, provider.content_types[0])
    return provider.lane(parsed.payload, f"pulled:{item.key}").text


def _told(provider: Provider, body: bytes, content_type: str) -> set[tuple[str, str | None]]:
    parsed = provider.read(body, content_type)
    if parsed.payload is None:
        return set()
    try:
        return {
            (event.external_id, event.status if isinstance(event, MessageStatus) else None)
            for event in provider.parse(parsed.payload)
        }
    except BadPayload:
        return set()
