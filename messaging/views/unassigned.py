"""The unassigned queue: events of shared senders that no tenant claims. The platform's alone."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST

from integrations.actions_assign import MOST, Destination, assign_account
from integrations.actions_work import WorkRefused
from integrations.models import Integration, WebhookWork, WorkEvent
from integrations.unassigned import shared_providers, waiting_accounts
from messaging.views.access import door
from tenants.context import tenant_context
from tenants.http import TenantRequest
from tenants.models import PLATFORM_TENANT_ID, Tenant
from tenants.permissions import WORDS, View, allows

#: Assignments that the list of what is done goes back.
DONE = 50


def platform_only(view: View) -> View:
    """Let only operators of the platform tenant through; elsewhere there is no such page."""

    def asked(request: TenantRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if request.tenant.pk != PLATFORM_TENANT_ID:
            raise Http404
        if not allows(request.actor, "replay"):
            raise PermissionDenied(f"Your role may not {WORDS['replay']}.")
        return view(request, *args, **kwargs)

    return door("view")(asked)


@require_GET
@platform_only
def index(request: TenantRequest, slug: str) -> HttpResponse:
    """Page: what waits by account, and what was handed over."""
    notes = list(
        WorkEvent.objects.filter(what="assign").select_related("actor").order_by("-id")[:DONE]
    )
    works = WebhookWork.objects.in_bulk([note.work for note in notes])
    context = {
        "accounts": waiting_accounts(),
        "done": [(note, works.get(note.work)) for note in notes],
        "senders": shared_providers(),
    }
    return render(request, "integrations/unassigned.html", context)


@require_GET
@platform_only
def account(request: TenantRequest, slug: str) -> HttpResponse:
    """Page: what waits of one account, and whose it may be; ``?tenant=`` chooses."""
    return render(request, "integrations/unassigned_account.html", _account(request))


def _account(request: TenantRequest) -> dict[str, Any]:
    source, name = request.GET.get("source", ""), request.GET.get("account", "")
    waiting = next(
        (one for one in waiting_accounts() if (one.source, one.account) == (source, name)), None
    )
    if waiting is None:
        raise Http404
    tenants = list(Tenant.objects.exclude(pk=PLATFORM_TENANT_ID).order_by("name", "pk"))
    wanted = request.GET.get("tenant", "")
    chosen = next((tenant for tenant in tenants if tenant.pk == wanted), None)
    return {
        "waiting": waiting,
        "tenants": tenants,
        "chosen": chosen,
        "integrations": _integrations(chosen, source) if chosen else [],
        "most": MOST,
    }


def _integrations(tenant: Tenant, source: str) -> list[Integration]:
    with tenant_context(tenant.pk):
        rows = Integration.objects.filter(provider=source).only(
            "id", "name", "account_id", "tenant"
        )
        return list(rows.order_by("name"))


@require_POST
@platform_only
def assign(request: TenantRequest, slug: str) -> HttpResponse:
    """Hand over all that was shown of an account."""
    post = request.POST.get
    tenant = Tenant.objects.filter(slug=post("to", "")).exclude(pk=PLATFORM_TENANT_ID).first()
    newest = post("newest", "")
    if tenant is None or not (newest.isascii() and newest.isdecimal() and len(newest) < 19):
        raise Http404
    integration = next(
        (
            one
            for one in _integrations(tenant, post("source", ""))
            if one.pk == post("integration", "")
        ),
        None,
    )
    if integration is None:
        raise Http404
    to = Destination(
        tenant_id=tenant.pk,
        integration_id=integration.pk,
        actor=request.actor,
        reason=post("reason", "").strip()[:500],
    )
    try:
        done = assign_account(
            post("source", ""),
            post("account", ""),
            to,
            keep=post("keep") == "on",
            newest=int(newest),
        )
    except WorkRefused as refused:
        messages.error(request, str(refused))
    else:
        events = "1 event" if done == 1 else f"{done:,} events"
        messages.info(request, f"{events} assigned to {tenant.name}.")
    return redirect("messaging:unassigned", slug)
