"""The way from any id to its page."""

from __future__ import annotations

from django.http import Http404, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_GET

from leads.models import Lead
from leads.search import ID_KINDS, search
from messaging.models import Conversation, Message
from messaging.views.access import door, found
from pipelines.models import Artifact, PipelineRun
from tenants.http import TenantRequest

#: Ids that have a page, or belong to something that has one.
GO_KINDS = frozenset({"conv", "msg", "wh", "art", "run", *ID_KINDS})


@require_GET
@door("view")
def go(request: TenantRequest, slug: str, anything: str) -> HttpResponse:
    """Redirect from a pasted id to the page of what it names."""
    match anything.partition("_")[0]:
        case "lead":
            return redirect("messaging:lead", slug, found(Lead.objects.only("id"), anything).pk)
        case "conv":
            return _to_conversation(slug, found(Conversation.objects.all(), anything))
        case "msg":
            message = found(Message.objects.select_related("conversation"), anything)
            return _to_conversation(slug, message.conversation)
        case "wh":
            return redirect("messaging:webhook", slug, anything)
        case "art":
            return redirect(
                "messaging:artifact", slug, found(Artifact.objects.only("id"), anything).pk
            )
        case "run":
            run = found(PipelineRun.objects.only("id"), anything)
            return redirect(f"{reverse('messaging:leads', args=[slug])}?run={run.pk}")
    return _to_owner(slug, anything)


def _to_owner(slug: str, anything: str) -> HttpResponse:
    """Lead to the lead that a contact, a number or a parcel hangs from."""
    if anything.partition("_")[0] in ID_KINDS:
        for hit in search(anything, most=1):
            if hit.kind == "id":
                return redirect("messaging:lead", slug, hit.lead_id)
    raise Http404


def _to_conversation(slug: str, conversation: Conversation) -> HttpResponse:
    return redirect("messaging:thread-page", slug, conversation.stage, conversation.pk)
