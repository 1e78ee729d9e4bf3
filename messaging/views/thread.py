"""Fragments of an open conversation."""

from __future__ import annotations

from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from messaging import thread as threads
from messaging.models import Message
from messaging.views.access import door, found
from messaging.views.pane import conversations_for_pane, pane_context, since_url
from messaging.views.poll import number
from messaging.views.shell import counted
from tenants.http import TenantRequest


@require_GET
@door("view")
def thread(request: TenantRequest, slug: str, conv: str) -> HttpResponse:
    """Fragment: the whole pane, and out of band the context panel beside it."""
    actor = request.actor
    conversation = found(conversations_for_pane(actor), conv)
    read = threads.read(conversation)
    context = pane_context(request, conversation, bells=counted(request)[0], read=read)
    return render(request, "messaging/_thread.html", context)


@require_GET
@door("view")
def since(request: TenantRequest, slug: str, conv: str, message: str) -> HttpResponse:
    """Fragment: what came after *message*, all out of band.

    The composer is replaced only when it may no longer be there, or may again: a draft in it
    is never touched otherwise.
    """
    actor = request.actor
    conversation = found(conversations_for_pane(actor), conv)
    mine = Message.objects.filter(conversation=conversation)
    after = "" if message == "start" else found(mine, message).pk
    news = threads.since(conversation, after, number(request.GET.get("e")))
    context = pane_context(request, conversation, bells=counted(request)[0])
    newest = news.newest.pk if news.newest else ""
    shown = request.GET.get("gate", "")
    context |= {
        "news": news,
        "base_message_id": newest,
        "event_seq": news.event_seq,
        "since_url": since_url(slug, conversation, newest, news, context["gate"]),
        "swap_context": news.event_seq > number(request.GET.get("e")),
        "swap_composer": shown != context["gate"].key,
    }
    return render(request, "messaging/_since.html", context)


@require_GET
@door("view")
def older(request: TenantRequest, slug: str, conv: str) -> HttpResponse:
    """Fragment: the page of messages before one, with the link to those before them."""
    actor = request.actor
    conversation = found(conversations_for_pane(actor), conv)
    before = found(Message.objects.filter(conversation=conversation), request.GET.get("before", ""))
    read = threads.read(conversation, before=before.pk, before_at=before.occurred_at)
    if read.oldest is None:
        raise Http404
    context = pane_context(request, conversation, bells=counted(request)[0], read=read)
    return render(request, "messaging/_older_part.html", context)
