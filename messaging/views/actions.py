"""What people do to a conversation: each has a plain address and one for fragments."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import Http404, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from leads.actions import MoveRefused, move_lead
from leads.events import CallWanted
from leads.models import Stage
from leads.states import LeadState
from messaging import inbox as lists
from messaging.actions import inbox as actions
from messaging.inbox import Listing
from messaging.models import Conversation
from messaging.views.access import bell_or_404, door, found, refuse_observers
from messaging.views.inbox import list_context, listing_of
from messaging.views.pane import conversations_for_pane, pane_context, query_string, urls_of
from messaging.views.shell import counted, forget_counted
from messaging.views.snooze import until
from tenants.dispatch import emit
from tenants.http import TenantRequest


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What an action did, for its answer.

    ``closed``: the conversation left the list. ``composer``: it may have changed places with the
    banner. ``rows``: it came back into the list, which is drawn anew. ``refresh``: ``row``,
    ``claim`` or ``all`` of what the page shows of it.
    """

    toast: str = ""
    kind: str = "ok"
    undo: str = ""
    closed: bool = False
    composer: bool = False
    rows: bool = False
    refresh: str = "all"


@require_POST
@door("view")
def seen(request: TenantRequest, slug: str, conv: str, part: bool = False) -> HttpResponse:
    """Clear my unread."""
    conversation = mine(request, conv, write=False)
    actions.mark_seen(conversation_id=conversation.pk, actor_id=actor_id(request))
    return answer(request, conversation, Outcome(refresh="row"), part=part)


@require_POST
@door("view")
def unread(request: TenantRequest, slug: str, conv: str, part: bool = False) -> HttpResponse:
    """Set my unread."""
    conversation = mine(request, conv, write=False)
    actions.mark_unread(conversation_id=conversation.pk, actor_id=actor_id(request))
    return answer(request, conversation, Outcome(refresh="row", toast="Marked unread."), part=part)


@require_http_methods(["PUT", "POST"])
@door("reply")
def draft(request: TenantRequest, slug: str, conv: str) -> HttpResponse:
    """Keep what is typed; 204."""
    form = _form_of(request) if request.method == "PUT" else request.POST
    body = form.get("body", "")
    try:
        actions.save_draft(
            conversation_id=conv,
            actor_id=actor_id(request),
            body=body,
            send_key=form.get("send_key", ""),
        )
    except (Conversation.DoesNotExist, ValidationError, ValueError) as error:
        raise Http404 from error
    return HttpResponse(status=204)


@require_POST
@door("reply")
def claim(request: TenantRequest, slug: str, conv: str, part: bool = False) -> HttpResponse:
    """Say that I am replying; with ``take_over`` also when somebody else is."""
    conversation = mine(request, conv)
    try:
        actions.claim(
            conversation_id=conversation.pk,
            actor_id=actor_id(request),
            take_over=bool(request.POST.get("take_over")),
        )
    except actions.ClaimedBySomebody:
        return answer(request, conversation, Outcome(refresh="claim"), part=part)
    return answer(request, conversation, Outcome(refresh="claim"), part=part)


@require_POST
@door("reply")
def release(request: TenantRequest, slug: str, conv: str, part: bool = False) -> HttpResponse:
    """Say that I am not replying after all."""
    conversation = mine(request, conv)
    actions.release(conversation_id=conversation.pk, actor_id=actor_id(request))
    return answer(request, conversation, Outcome(refresh="claim"), part=part)


@require_POST
@door("reply")
def done(request: TenantRequest, slug: str, conv: str, part: bool = False) -> HttpResponse:
    """Take the conversation off everybody's plate."""
    conversation = mine(request, conv)
    _, before = actions.mark_done(conversation_id=conversation.pk, actor_id=actor_id(request))
    return answer(
        request, conversation, Outcome(toast="Done.", undo=before.token, closed=True), part=part
    )


@require_POST
@door("reply")
def snooze(request: TenantRequest, slug: str, conv: str, part: bool = False) -> HttpResponse:
    """Hide the conversation for a while."""
    conversation = mine(request, conv)
    try:
        moment = until(request.POST.get("until", ""))
    except KeyError as error:
        raise Http404 from error
    _, before = actions.snooze(
        conversation_id=conversation.pk, actor_id=actor_id(request), until=moment
    )
    return answer(
        request, conversation, Outcome(toast="Snoozed.", undo=before.token, closed=True), part=part
    )


@require_POST
@door("reply")
def reopen(request: TenantRequest, slug: str, conv: str, part: bool = False) -> HttpResponse:
    """Bring a done or snoozed conversation back."""
    conversation = mine(request, conv)
    actions.reopen(conversation_id=conversation.pk, actor_id=actor_id(request))
    return answer(request, conversation, Outcome(toast="Reopened.", rows=True), part=part)


@require_POST
@door("reply")
def undo(request: TenantRequest, slug: str, conv: str, part: bool = False) -> HttpResponse:
    """Put the conversation back as it stood before Done or Snooze."""
    conversation = mine(request, conv)
    try:
        actions.undo(conversation_id=conversation.pk, token=request.POST.get("token", ""))
    except actions.UndoRefused:
        text = "Too late to undo: something happened here since."
        return answer(request, conversation, Outcome(toast=text, kind="error"), part=part)
    is_open = request.POST.get("open") in (None, conversation.pk)
    outcome = Outcome(toast="Put back.", rows=True, refresh="all" if is_open else "rows")
    return answer(request, conversation, outcome, part=part)


@require_POST
@door("reply")
def assign(request: TenantRequest, slug: str, conv: str, part: bool = False) -> HttpResponse:
    """Give the conversation to a person, or to nobody."""
    conversation, to = mine(request, conv), request.POST.get("to") or None
    try:
        actions.assign(conversation_id=conversation.pk, actor_id=actor_id(request), to_id=to)
    except (actions.AssignmentRefused, ValidationError) as error:
        raise Http404 from error
    words = "Unassigned." if to is None else "Assigned."
    return answer(request, conversation, Outcome(toast=words), part=part)


@require_POST
@door("reply")
def state(request: TenantRequest, slug: str, conv: str, part: bool = False) -> HttpResponse:
    """Move the lead to a legal next state; into the call queue also queues the call."""
    conversation, to = mine(request, conv), request.POST.get("to", "")
    toast, kind = move(request, conversation.lead_id, to)
    actions.tell(conversation)
    return answer(request, conversation, Outcome(toast=toast, kind=kind), part=part)


@require_POST
@door("reply")
def stage(request: TenantRequest, slug: str, conv: str, part: bool = False) -> HttpResponse:
    """Move the conversation into another inbox."""
    conversation, to = mine(request, conv), request.POST.get("stage", "")
    try:
        actions.move_stage(conversation_id=conversation.pk, actor_id=actor_id(request), stage=to)
    except Stage.DoesNotExist as error:
        raise Http404 from error
    label = next(bell.label for bell in counted(request)[0] if bell.key == to)
    return answer(request, conversation, Outcome(toast=f"Moved to {label}."), part=part)


def move(request: TenantRequest, lead_id: str, to: str) -> tuple[str, str]:
    """Move a lead as the person of *request*; return what to say and its kind."""
    if to not in LeadState.values or to == LeadState.SUPPRESSED:
        raise Http404
    try:
        lead = move_lead(lead_id, to=to, actor_id=actor_id(request))
    except MoveRefused as error:
        return str(error), "error"
    if to == LeadState.IN_CALL_QUEUE:
        emit(CallWanted(lead_id=lead_id, reason="manual"))
    return f"{lead.display_name}: {LeadState(to).label.lower()}.", "ok"


def actor_id(request: TenantRequest) -> str:
    return request.actor.pk


def _form_of(request: TenantRequest) -> QueryDict:
    """Read a form from a PUT, which Django leaves alone."""
    return QueryDict(request.body, encoding=request.encoding or "utf-8")


def mine(request: TenantRequest, conv: str, *, write: bool = True) -> Conversation:
    """Return the conversation of a URL, which the person may write in when *write*."""
    conversation = found(Conversation.objects.all(), conv)
    if write:
        bells, _ = counted(request)
        refuse_observers(next(bell for bell in bells if bell.key == conversation.stage), request)
    return conversation


def answer(
    request: TenantRequest, conversation: Conversation, outcome: Outcome, *, part: bool
) -> HttpResponse:
    """Answer an action: out of band with what it changed, or with the page it came from."""
    if not part:
        if outcome.toast:
            level = messages.ERROR if outcome.kind == "error" else messages.INFO
            messages.add_message(request, level, outcome.toast)
        return redirect(_back(request, conversation, closed=outcome.closed))
    context = acted(request, conversation) | {"outcome": outcome}
    if outcome.rows:
        listing = listing_of(request, context["stage"])
        context |= list_context(request, listing, lists.page(listing))
        context |= {"full_page": False, "open_id": request.POST.get("open", conversation.pk)}
    if outcome.undo:
        context["undo_url"] = context["urls"]["undo_part"]
        context["undo_vals"] = json.dumps({"token": outcome.undo})
    response = render(request, "messaging/_acted.html", context)
    if outcome.closed:
        response["HX-Trigger"] = json.dumps({"lo:closed": {"conversation": conversation.pk}})
    return response


def acted(request: TenantRequest, before: Conversation) -> dict[str, Any]:
    """Return the context of a conversation as it is after an action, with its row.

    The row and the counts are those of the list it stood in *before*.
    """
    actor = request.actor
    conversation = conversations_for_pane(actor).get(pk=before.pk)
    forget_counted(request)  # unread and waiting have changed
    bells, _ = counted(request)
    here, tab = bell_or_404(bells, before.stage), request.GET.get("tab", "waiting")
    listing = Listing(actor=actor, bell=here, tab=tab if tab in lists.TABS else "waiting")
    return pane_context(request, conversation, bells=bells) | {
        "stage": here,
        "row": lists.as_rows(listing, [conversation])[0],
        "stays": lists.belongs(listing, conversation),
        "counts": lists.tab_counts(listing),
    }


def _back(request: TenantRequest, conversation: Conversation, *, closed: bool) -> str:
    """Return the page to show after a plain form: the list once a conversation is closed."""
    slug, query = request.tenant.slug, query_string(request)
    if closed:
        return reverse("messaging:inbox", args=[slug, conversation.stage]) + query
    return urls_of(slug, conversation, query)["page_query"]
