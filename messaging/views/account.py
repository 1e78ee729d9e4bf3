"""A person's own settings: theme, density, shortcuts, password."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from django.contrib import messages
from django.contrib.auth import update_session_auth_hash
from django.contrib.auth.forms import PasswordChangeForm
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_http_methods, require_POST

from messaging.actions.inbox import set_alerts
from messaging.models import StageMembership
from messaging.views.access import door
from messaging.views.shell import counted
from tenants.http import TenantRequest
from tenants.models import User


@require_http_methods(["GET", "POST"])
@door("view")
def account(request: TenantRequest, slug: str) -> HttpResponse:
    """Page: who I am here, how pages look, and a new password."""
    form = PasswordChangeForm(cast(User, request.user), request.POST or None)
    if request.method == "POST" and form.is_valid():
        form.save()
        update_session_auth_hash(request, form.user)
        messages.info(request, "Your password is changed.")
        return redirect("messaging:account", slug)
    context = {"form": form, "themes": User.THEMES, "densities": User.DENSITIES}
    context |= {"bells": counted(request)[0], "sounds": StageMembership.SOUNDS}
    status = 422 if form.errors else 200
    return render(request, "messaging/account.html", context, status=status)


@require_POST
@door("view")
def notifications(request: TenantRequest, slug: str) -> HttpResponse:
    """Choose sound and desktop notes per stage."""
    actor = request.actor
    for bell in counted(request)[0]:
        sound = request.POST.get(f"sound-{bell.key}", bell.sound)
        if sound not in StageMembership.SOUNDS:
            raise Http404
        desktop = f"desktop-{bell.key}" in request.POST
        set_alerts(actor_id=actor.pk, stage=bell.key, sound=sound, desktop=desktop)
    messages.info(request, "Saved.")
    return redirect("messaging:account", slug)


@require_POST
@door("view")
def theme(request: TenantRequest, slug: str) -> HttpResponse:
    """Choose how pages look: ``theme``, ``density`` or both."""
    values = {name: request.POST[name] for name in ("theme", "density") if name in request.POST}
    known = {"theme": User.THEMES, "density": User.DENSITIES}
    if not all(value in known[name] for name, value in values.items()):
        raise Http404
    return _save(request, slug, values)


@require_POST
@door("view")
def shortcuts(request: TenantRequest, slug: str) -> HttpResponse:
    """Switch single-key shortcuts on or off."""
    return _save(request, slug, {"shortcuts": request.POST.get("shortcuts") == "on"})


def _save(request: TenantRequest, slug: str, values: Mapping[str, Any]) -> HttpResponse:
    User.objects.filter(pk=cast(User, request.user).pk).update(**values)
    target = request.POST.get("next", "")
    if not url_has_allowed_host_and_scheme(target, allowed_hosts={request.get_host()}):
        target = reverse("messaging:account", args=[slug])
    return redirect(target)
