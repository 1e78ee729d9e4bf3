"""Writing to a person: the reply itself, and the choices about their number."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from django.core.exceptions import ValidationError
from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_http_methods, require_POST

from leads.actions import Choice
from messaging import thread
from messaging.actions import inbox as inbox_actions
from messaging.actions import sending
from messaging.actions.consent import ChoiceRefused, confirm_hold, opt_out, release_hold
from messaging.models import Conversation
from messaging.segments import count
from messaging.views.access import door
from messaging.views.actions import Outcome, acted, actor_id, answer, mine
from messaging.views.inbox import show_thread
from messaging.views.pane import most_segments, since_url
from messaging.views.poll import number
from tenants.http import TenantRequest

#: A field of a template that nobody filled in.
FIELD = re.compile(r"\{\{\s*([^{}]+?)\s*\}\}")


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Why a text did not go: 409 when somebody was faster, 422 when it may not go as it is."""

    status: int
    text: str


@require_POST
@door("reply")
def reply(request: TenantRequest, slug: str, conv: str, part: bool = False) -> HttpResponse:
    """Send a reply once per ``send_key``; refused, it changes nothing and keeps the text."""
    conversation = mine(request, conv)
    body = request.POST.get("body", "").strip()
    refusal = judge(request, body) or _send(request, conversation, body)
    if refusal is not None:
        return _refuse(request, conversation, body, refusal, part=part)
    if not part:
        return answer(request, conversation, Outcome(), part=False)
    context = acted(request, conversation)
    newest = request.POST.get("base_message_id", "")
    news = thread.since(context["conversation"], newest, number(request.POST.get("event_seq")))
    last = news.newest.pk if news.newest else ""
    context |= {
        "news": news,
        "base_message_id": last,
        "event_seq": news.event_seq,
        "since_url": since_url(slug, conversation, last, news, context["gate"]),
    }
    response = render(request, "messaging/_sent.html", context)
    response["HX-Trigger"] = json.dumps({"lo:sent": {"conversation": conversation.pk}})
    return response


def judge(request: TenantRequest, body: str) -> Refusal | None:
    """Look at the text alone."""
    most = most_segments(request.tenant)
    if not body:
        return Refusal(status=422, text="Write something first.")
    if field := FIELD.search(body):
        return Refusal(
            status=422, text=f"Fill in “{field[1]}” first: the lead has no value for it."
        )
    if (segments := count(body).segments) > most:
        return Refusal(status=422, text=f"This takes {segments} segments; at most {most} are sent.")
    return None


def _send(request: TenantRequest, conversation: Conversation, body: str) -> Refusal | None:
    try:
        sending.send_reply(
            conversation.pk,
            body=body,
            actor_id=actor_id(request),
            send_key=request.POST.get("send_key", ""),
            base_message_id=request.POST.get("base_message_id") or None,
        )
    except sending.ClaimedByAnother as taken:
        return Refusal(status=409, text=f"{taken} Take over, or leave it to them.")
    except (sending.NewerInbound, sending.AnsweredAlready) as newer:
        return Refusal(status=409, text=str(newer))
    except (sending.SendRefused, ValidationError) as refused:
        return Refusal(status=422, text=str(refused))
    return None


def _refuse(
    request: TenantRequest, conversation: Conversation, body: str, refusal: Refusal, *, part: bool
) -> HttpResponse:
    """Say why, with the text still in the composer: in the page's own, or in a page of its own."""
    if not part:
        inbox_actions.save_draft(
            conversation_id=conversation.pk, actor_id=actor_id(request), body=body
        )
        return show_thread(
            request, conversation.stage, conversation.pk, note=refusal.text, status=refusal.status
        )
    context = acted(request, conversation) | {"note": refusal.text}
    return render(request, "messaging/_refused.html", context, status=refusal.status)


@require_http_methods(["GET", "POST"])
@door("optout_add")
def suppress(request: TenantRequest, slug: str, conv: str, part: bool = False) -> HttpResponse:
    """Opt the number of a conversation out by hand; GET asks for the reason without a script."""
    conversation = mine(request, conv)
    reason = request.POST.get("reason", "").strip()[:500]
    if request.method == "GET" or not reason:
        context = acted(request, conversation)
        status = 200 if request.method == "GET" else 422
        return render(request, "messaging/suppress.html", context, status=status)
    opt_out(
        Choice(
            address=conversation.their_number,
            kind="opt_out",
            reason=reason,
            actor_id=actor_id(request),
        )
    )
    return answer(
        request,
        conversation,
        Outcome(toast="Suppressed. Nobody can text this number any more.", composer=True),
        part=part,
    )


@require_POST
@door("optout_add")
def consent(request: TenantRequest, slug: str, conv: str, part: bool = False) -> HttpResponse:
    """Decide what looked like a refusal: ``opt_out`` confirms it, ``release`` says it was none."""
    conversation, choice = mine(request, conv), request.POST.get("choice", "")
    if choice not in ("opt_out", "release"):
        raise Http404
    address, me = conversation.their_number, actor_id(request)
    try:
        if choice == "opt_out":
            confirm_hold(address, actor_id=me)
        else:
            release_hold(address, actor_id=me)
    except ChoiceRefused as refused:
        return answer(request, conversation, Outcome(toast=str(refused), kind="error"), part=part)
    words = {"opt_out": "Opted out.", "release": "The hold is released."}[choice]
    return answer(request, conversation, Outcome(toast=words, composer=True), part=part)
