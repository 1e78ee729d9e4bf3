"""Prepare dj-stripe in the benchmarks' database; prints the path of its webhook and its secret.

A process of its own, since its settings differ: ``python -m benchmarks.peer``. Its account and key
are rows, so that no event makes it ask Stripe anything; the type of the events has no handler, so
that it does no more than store them.
"""

from __future__ import annotations

import json
import os

os.environ |= {
    "DJANGO_SETTINGS_MODULE": "benchmarks.peer_settings",
    "FAIRLEAD_ENV": "test",
    "FAIRLEAD_LOG_LEVEL": "ERROR",
}

import django

django.setup()

from django.conf import settings  # noqa: E402
from django.core.management import call_command  # noqa: E402
from djstripe.enums import APIKeyType  # noqa: E402
from djstripe.models import Account, APIKey, WebhookEndpoint  # noqa: E402

SECRET = "whsec_peer_0123456789abcdef"


def main() -> None:
    call_command("migrate", "djstripe", verbosity=0, interactive=False)
    account, _ = Account.objects.get_or_create(id="acct_peer", defaults={"stripe_data": {}})
    APIKey.objects.exclude(secret=settings.STRIPE_TEST_SECRET_KEY).delete()
    APIKey.objects.get_or_create(
        secret=settings.STRIPE_TEST_SECRET_KEY,
        defaults={"type": APIKeyType.secret, "livemode": False, "djstripe_owner_account": account},
    )
    endpoint, _ = WebhookEndpoint.objects.get_or_create(
        id="we_peer",
        defaults={
            "secret": SECRET,
            "url": "https://fairlead.example/stripe/",
            "status": "enabled",
            "enabled_events": ["*"],
            "djstripe_owner_account": account,
            "livemode": False,
            "stripe_data": {},
        },
    )
    path = f"/stripe/webhook/{endpoint.djstripe_uuid}/"
    print(json.dumps({"path": path, "secret": SECRET}))


if __name__ == "__main__":
    main()
