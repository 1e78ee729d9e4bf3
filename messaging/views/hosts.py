"""Web hosts and their spools: the platform's page, where one that is gone is retired."""

from __future__ import annotations

from typing import cast
from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST

from integrations.actions_spool import HostNotRetired, retire_host
from integrations.models import SpoolHost
from integrations.pauses import spools_waited_for
from messaging.views.access import door
from tenants.http import TenantRequest
from tenants.models import PLATFORM_TENANT_ID, User

MOST_HOSTS = 200


@require_GET
@door("replay")
def hosts(request: TenantRequest, slug: str) -> HttpResponse:
    """Page: every host that ever held a spool, those that all texts wait for first."""
    _refuse_tenants(request)
    waited_for = {one.host for one in spools_waited_for()}
    rows = SpoolHost.objects.order_by("retired_at", "stopped_at", "-heard_at")[:MOST_HOSTS]
    context = {
        "hosts": sorted(rows, key=lambda row: row.pk not in waited_for),
        "waited_for": waited_for,
        "may_retire": cast(User, request.user).is_superuser,
    }
    return render(request, "messaging/hosts.html", context)


@require_POST
@door("replay")
def retire(request: TenantRequest, slug: str, host: UUID) -> HttpResponse:
    """Give up a host that never comes back."""
    _refuse_tenants(request)
    try:
        row = retire_host(
            host, user=cast(User, request.user), reason=request.POST.get("reason", "")
        )
    except HostNotRetired as refused:
        messages.error(request, str(refused))
    else:
        messages.info(request, f"{row.name} is retired. Texts no longer wait for it.")
    return redirect("messaging:hosts", slug)


def _refuse_tenants(request: TenantRequest) -> None:
    if request.tenant.pk != PLATFORM_TENANT_ID:
        raise Http404
