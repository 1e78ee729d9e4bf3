"""The first text to a lead: the same composer and the same gate as a reply."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from leads.models import ContactPoint
from messaging.actions import sending
from messaging.models import PhoneNumber
from messaging.views.access import door, found
from messaging.views.actions import actor_id
from messaging.views.lead import lead_page, leads_for_page
from messaging.views.reply import Refusal, judge
from tenants.http import TenantRequest

#: What a box of the form waves through.
OVERRIDES = {"household": ("household",)}


@require_POST
@door("reply")
def text(request: TenantRequest, slug: str, lead_id: str) -> HttpResponse:
    """Text a lead, starting the conversation where there is none; timers start with it."""
    lead = found(leads_for_page(), lead_id)
    to = found(ContactPoint.objects.filter(lead=lead, kind="phone"), request.POST.get("to", ""))
    ours = found(PhoneNumber.objects.filter(status="active"), request.POST.get("number", ""))
    body = request.POST.get("body", "").strip()
    refusal, asks = judge(request, body), False
    if refusal is None:
        try:
            outbound = sending.start_conversation(
                lead.pk,
                contact_point_id=to.pk,
                phone_number_id=ours.pk,
                body=body,
                actor_id=actor_id(request),
                send_key=request.POST.get("send_key", ""),
                overridden=OVERRIDES.get(request.POST.get("override", ""), ()),
            )
        except sending.SendRefused as refused:
            refusal = Refusal(status=422, text=str(refused))
            asks = refused.verdict is not None and "household" in refused.verdict.reasons
    if refusal is not None:
        context = lead_page(request, lead, note=refusal.text, draft=body, ask_household=asks)
        return render(request, "leads/lead.html", context, status=refusal.status)
    conversation = outbound.conversation
    messages.info(request, "On its way.")
    return redirect("messaging:thread-page", slug, conversation.stage, conversation.pk)
