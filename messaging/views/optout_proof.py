"""What leaves the registry, or is taken out of it: dossiers, their check, erasure, rules."""

from __future__ import annotations

from django.conf import settings
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST

from leads.actions import consent_address
from leads.models import Consent
from messaging.actions.dossiers import check_dossier, export_dossier
from messaging.actions.erasure import ErasureRefused, erase_address
from messaging.models import ContactRule
from messaging.templatetags.ui import absolute
from messaging.views.access import door
from messaging.views.optouts import read_address
from tenants.http import TenantRequest
from tenants.permissions import allows

#: Bytes of a dossier that is brought back to be checked.
MOST = 20 * 1024 * 1024
SCRIPT = settings.BASE_DIR / "docs" / "verify_dossier.py"


def known_address(address: str) -> str:
    """Return an address of a URL of which something is recorded here; else it is a 404."""
    number = read_address(address)
    known = {number, consent_address(number)} if number else set()
    if not Consent.objects.filter(address__in=known).exists():
        raise Http404
    return number


@require_POST
@door("view")
def dossier(request: TenantRequest, slug: str, address: str) -> HttpResponse:
    """File: the dossier of one address; its head is kept."""
    number = known_address(address)
    data, made = export_dossier(number, tenant=request.tenant, actor=request.actor)
    answer = HttpResponse(data, content_type="application/jsonl; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="dossier-{made.pk}.jsonl"'
    answer["X-Dossier-Head"] = made.head
    return answer


@require_GET
@door("view")
def script(request: TenantRequest, slug: str) -> HttpResponse:
    """File: the program that checks a dossier, with nothing but Python."""
    answer = HttpResponse(SCRIPT.read_bytes(), content_type="text/x-python; charset=utf-8")
    answer["Content-Disposition"] = 'attachment; filename="verify_dossier.py"'
    return answer


@require_POST
@door("view")
def check(request: TenantRequest, slug: str) -> HttpResponse:
    """Say whether a dossier that somebody brings is whole, and one that we handed out."""
    given = request.FILES.get("file")
    if given is None or (given.size or 0) > MOST:
        messages.error(request, "Choose a dossier file, of at most 20 MB.")
        return redirect("messaging:optouts", slug)
    checked = check_dossier(given.read())
    if checked.export is not None:
        when = absolute(checked.export.at)
        messages.info(request, f"Genuine: handed out {when} by {checked.export.actor}.")
    elif checked.holds:
        messages.error(request, "Forged: it holds together, but we never handed it out.")
    else:
        messages.error(request, "Changed: its hashes do not hold together.")
    return redirect("messaging:optouts", slug)


@require_POST
@door("view")
def erase(request: TenantRequest, slug: str, address: str) -> HttpResponse:
    """Erase one address for good."""
    number = known_address(address)
    if not allows(request.actor, "manage"):
        raise PermissionDenied("Your role may not erase people. A tenant admin can.")
    if request.POST.get("sure") != "yes":
        messages.error(request, "Tick that you are sure. Nothing was erased.")
        return redirect("messaging:optout", slug, number)
    try:
        redaction = erase_address(
            number, reason=request.POST.get("reason", ""), actor_id=request.actor.pk
        )
    except ErasureRefused as refused:
        messages.error(request, str(refused))
        return redirect("messaging:optout", slug, number)
    messages.info(request, "Erased. If they opted out, they stay opted out.")
    return redirect("messaging:optout", slug, redaction.digest)


@require_GET
@door("view")
def rules(request: TenantRequest, slug: str) -> HttpResponse:
    """Page: when people may be texted, where that stands, and when it was read there."""
    context = {
        "rules": ContactRule.objects.order_by("jurisdiction", "weekday", "id"),
        "may_edit": allows(request.actor, "configure"),
        "tab": "rules",
    }
    return render(request, "messaging/contact_rules.html", context)
