"""Keys and addresses of an account with a provider: stored, rotated, retired, watched."""

from __future__ import annotations

from datetime import timedelta

from django.db import transaction
from django.db.models.functions import Now

from integrations.actions import create_endpoint
from integrations.models import Integration, WebhookEndpoint
from integrations.providers import kind_of
from tenants.actions import note


class NoWebhooks(Exception):
    """The provider sends none, so it needs no URL; nothing was made."""


@transaction.atomic
def rotate_secret(
    integration: Integration, *, secret: str, grace: timedelta | None, actor_id: str | None
) -> None:
    """Store the secret the provider signs with from now on.

    Args:
        integration: of the running tenant.
        secret: as the provider showed it.
        grace: how long the secret before stays good; None when it is worth nothing any more.
        actor_id: who did it.
    """
    row = Integration.objects.select_for_update(no_key=True).get(pk=integration.pk)
    keeps = bool(grace and row.secret)
    row.previous_secret = row.secret if keeps else ""
    row.previous_valid_until = Now() + grace if keeps and grace else None
    row.secret = secret
    row.previous_secret_used_at = row.secret_used_at if keeps else None
    row.secret_used_at = None
    row.save(
        update_fields=[
            "secret",
            "previous_secret",
            "previous_valid_until",
            "secret_used_at",
            "previous_secret_used_at",
        ]
    )
    hours = grace.total_seconds() / 3600 if keeps and grace else 0
    note(
        "integration.secret_rotated",
        actor_id=actor_id,
        subject=row,
        after={"old_secret_hours": hours},
    )


@transaction.atomic
def drop_previous_secret(integration: Integration, *, actor_id: str | None) -> None:
    """Stop accepting the secret before the current one at once."""
    Integration.objects.filter(pk=integration.pk).update(
        previous_secret="", previous_valid_until=None
    )
    note("integration.old_secret_dropped", actor_id=actor_id, subject=integration)


@transaction.atomic
def keep_api_key(integration: Integration, *, api_key: str, actor_id: str | None) -> None:
    """Store the key we call the provider with; the one before is gone."""
    Integration.objects.filter(pk=integration.pk).update(api_key=api_key)
    note("integration.api_key_kept", actor_id=actor_id, subject=integration)


@transaction.atomic
def retire_endpoint(endpoint: WebhookEndpoint, *, actor_id: str | None) -> bool:
    """Answer 410 Gone at a webhook URL from now on; False when it was retired before."""
    rows = WebhookEndpoint.objects.filter(pk=endpoint.pk, retired_at=None)
    if not rows.update(retired_at=Now()):
        return False
    note("endpoint.retired", actor_id=actor_id, subject=endpoint)
    return True


@transaction.atomic
def watch_silence(integration: Integration, *, minutes: int | None, actor_id: str | None) -> None:
    """Say after how many minutes without a webhook something is wrong; None: never."""
    before = Integration.objects.select_for_update(no_key=True).get(pk=integration.pk)
    if before.silence_minutes == minutes:
        return
    Integration.objects.filter(pk=integration.pk).update(silence_minutes=minutes)
    note(
        "integration.silence_watched",
        actor_id=actor_id,
        subject=integration,
        before={"minutes": before.silence_minutes},
        after={"minutes": minutes},
    )


@transaction.atomic
def make_endpoint(
    integration: Integration, *, our_number: str = "", actor_id: str | None
) -> WebhookEndpoint:
    """Make another webhook URL; with *our_number* an unsigned one, for that number's address.

    Raises:
        NoWebhooks: the provider sends none.
    """
    kind = kind_of(integration.provider)
    if not kind.has_webhooks:
        raise NoWebhooks(f"{kind.label} sends no webhooks: it is asked. No URL was made.")
    signed = kind.signs and not our_number
    made = create_endpoint(integration, signed=signed, our_number=our_number)
    note("endpoint.made", actor_id=actor_id, subject=made)
    return made
