"""The request as views see it, once ``tenants.middleware`` has entered the tenant."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest

from tenants.models import Actor, Membership, Tenant


class TenantRequest(HttpRequest):
    """A request of a person in a tenant. Behind ``requires`` all of these are set."""

    tenant: Tenant
    actor: Actor
    memberships: list[Membership]  # every tenant this person may enter
    counted: Any  # what messaging.views.shell counted for this page
