"""Everything an open thread shows, read in three queries: conversation, messages, events."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import CharField, F, Func, JSONField, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Cast, JSONObject, Now
from django.urls import reverse
from django.utils import timezone

from leads.models import Consent, ConsentEvent, ContactPoint, LeadEvent, LeadLabel, LeadTimer
from leads.states import LeadState, next_states
from messaging import inbox, thread
from messaging.actions.facts import MAX_SEGMENTS
from messaging.actions.inbox import live_claim
from messaging.models import ContactRule, Conversation, Draft
from messaging.templatetags.ui import clock, phone
from messaging.views.gate import Gate, gate_of
from messaging.views.shell import Bell
from messaging.views.snooze import CHOICES, until
from tenants.http import TenantRequest
from tenants.models import Actor, Tenant
from tenants.ulids import new_id, to_text

#: How an inbound was read, where a thread says so.
READINGS = {
    "opt_out": "Opt-out",
    "opt_in": "Opt-in",
    "hold": "Looks like a refusal",
    "wrong_number": "Wrong number",
    "wants_call": "Wants a call",
    "not_interested": "Not interested",
    "help": "Help",
}

#: Steps a person takes most, as buttons: state, word, icon, key.
SHORTCUTS = (
    (LeadState.APPOINTMENT_BOOKED, "Booked", "calendar-check", ""),
    (LeadState.IN_CALL_QUEUE, "Call queue", "phone-call", "c"),
    (LeadState.HIGH_INTENT, "High intent", "trending-up", ""),
)

#: Verbs of a conversation that have an address of their own, plain and as a fragment.
VERBS = (
    "reply",
    "claim",
    "release",
    "seen",
    "unread",
    "done",
    "reopen",
    "undo",
    "snooze",
    "assign",
    "state",
    "stage",
    "suppress",
    "consent",
)


@dataclass(frozen=True, kw_only=True)
class Step:
    """A rung of the state ladder."""

    state: str
    label: str
    at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Ladder:
    """The way a lead came, where it is, and where it may go."""

    past: list[Step]
    now: Step
    next: list[Step] = field(default_factory=list)


def conversations_for_pane(actor: Actor) -> QuerySet[Conversation]:
    """Conversations with all that a pane and its context panel show besides the messages."""
    mine = {"tenant": OuterRef("tenant"), "conversation": OuterRef("pk"), "actor": actor}
    return (
        inbox.conversations_for(actor)
        .select_related("phone_number__worker", "phone_number__integration")
        .annotate(
            draft=Subquery(Draft.objects.filter(**mine).values("body")[:1]),
            consent=_consents(OuterRef("their_number"), OuterRef("our_number")),
            contact_rules=_contact_rules(),
            **about_lead("lead"),
        )
    )


def about_lead(ref: str) -> dict[str, Any]:
    """Annotations that fetch the small lists of a lead along with it, as JSON."""
    lead = {"tenant": OuterRef("tenant"), "lead": OuterRef(ref)}
    points = ContactPoint.objects.filter(**lead).order_by("kind", "-is_primary", "id")
    timers = LeadTimer.objects.filter(**lead, fired_at=None, cancelled_at=None)
    moves = LeadEvent.objects.filter(**lead).exclude(from_state=F("to_state"))
    labels = LeadLabel.objects.filter(**lead).order_by("id")
    return {
        "points": ArraySubquery(
            points.values(
                json=JSONObject(
                    id=Cast("id", CharField()),
                    kind="kind",
                    value="normalized",
                    line_type="line_type",
                    primary="is_primary",
                    verified="verified_at",
                    wrong="wrong_number_at",
                )
            )
        ),
        "live_timers": ArraySubquery(
            timers.order_by("fire_at").values(json=JSONObject(kind="kind", fire_at="fire_at"))
        ),
        "moves": ArraySubquery(
            moves.order_by("seq").values(json=JSONObject(state="to_state", at="at"))
        ),
        "label_words": ArraySubquery(
            labels.values(
                json=JSONObject(
                    id=Cast("label", CharField()),
                    name="label__name",
                    color="label__color",
                    kind="label__kind",
                )
            )
        ),
    }


def _contact_rules() -> ArraySubquery:
    """The tenant's rules, as ``messaging.rules.Rule`` takes them."""
    rules = ContactRule.objects.filter(tenant=OuterRef("tenant"), is_active=True)
    columns = ("jurisdiction", "weekday", "start", "end", "max_per_24h")
    return ArraySubquery(
        rules.order_by("jurisdiction", "weekday").values(
            json=Func(*columns, function="jsonb_build_array", output_field=JSONField())
        )
    )


def _consents(address: OuterRef, our_number: OuterRef) -> ArraySubquery:
    """The recorded choices for a number, of everything and of texts from ours."""
    newest = ConsentEvent.objects.filter(tenant=OuterRef("tenant"), consent=OuterRef("pk"))
    newest = newest.order_by("-rev")[:1]
    rows = Consent.objects.filter(
        Q(scope="")
        | Q(scope__startswith="number:")
        | Q(Q(expires_at=None) | Q(expires_at__gt=Now()), scope__startswith="list:"),
        tenant=OuterRef("tenant"),
        address__in=[address, Func(address, function="address_digest")],
        channel="sms",
    ).exclude(state="unknown")
    return ArraySubquery(
        rows.order_by("scope").values(
            json=JSONObject(
                state="state",
                scope="scope",
                at=Subquery(newest.values("at")),
                source=Subquery(newest.values("source")),
                keyword=Subquery(newest.values("keyword")),
            )
        )
    )


def pane_context(
    request: TenantRequest,
    conversation: Conversation,
    *,
    bells: list[Bell],
    read: thread.Thread | None = None,
) -> dict[str, Any]:
    """Return the context of ``_pane.html`` and of everything in it.

    *read* is left out by fragments that show no messages.
    """
    actor: Actor = request.actor
    tenant: Tenant = request.tenant
    slug = tenant.slug
    bell = next(one for one in bells if one.key == conversation.stage)
    lead, number = conversation.lead, conversation.phone_number
    may_reply = bell.may_reply(actor)
    clock_there, zone = lead_time(lead.time_zone)
    claimer = live_claim(conversation, timezone.now())
    gate = gate_of(conversation, may_reply=may_reply, bell=bell, tenant=tenant)
    newest = read.newest if read else None
    return {
        "tenant_slug": slug,
        "me": actor,
        "stage": bell,
        "bells": bells,
        "conversation": conversation,
        "lead": lead,
        "open_id": conversation.pk,
        # What is swapped in late must not land in the pane of another conversation.
        "pane": f"#thread-pane[data-conversation='{conversation.pk}']",
        "query_string": query_string(request),
        "urls": urls_of(slug, conversation, query_string(request)),
        "thread": read,
        "since_url": since_url(slug, conversation, newest.pk if newest else "", read, gate),
        "base_message_id": newest.pk if newest else "",
        "event_seq": read.event_seq if read else 0,
        "gate": gate,
        "may_reply": may_reply,
        "claimer": claimer,
        "draft": getattr(conversation, "draft", "") or "",
        "send_key": new_send_key(),
        "own_number": conversation.our_number,
        "worker": str(number.worker) if number and number.worker else "",
        "lead_clock": clock_there,
        "lead_zone": zone,
        "max_segments": most_segments(tenant),
        "readings": READINGS,
        "snoozes": snoozes(),
        "other_stages": [one for one in bells if one.key != conversation.stage],
        **lead_context(lead, conversation),
    }


def lead_context(lead: Any, holder: Any) -> dict[str, Any]:
    """Return what panels say of a lead; *holder* carries the annotations of ``about_lead``."""
    legal = next_states(lead.state)
    return {
        "labels": holder.label_words,
        "points": [_point(point) for point in holder.points],
        "timers": [
            {"label": LeadTimer.KINDS[timer["kind"]], "fire_at": _when(timer["fire_at"])}
            for timer in holder.live_timers
        ],
        "ladder": ladder_of(lead.state, holder.moves),
        "address": ", ".join(
            part
            for part in (
                f"{lead.address_line1} {lead.unit}".strip(),
                lead.city,
                f"{lead.region} {lead.postal_code}".strip(),
            )
            if part
        ),
        "actions": [
            {"to": to, "label": label, "icon": icon, "key": key, "legal": to in legal}
            for to, label, icon, key in SHORTCUTS
        ],
    }


def ladder_of(state: str, moves: list[dict[str, Any]]) -> Ladder:
    """Draw the way from the moves of a lead, oldest first, and the legal moves from here."""
    steps = [
        Step(state=move["state"], label=LeadState(move["state"]).label, at=_when(move["at"]))
        for move in moves
    ]
    now = steps.pop() if steps else Step(state=state, label=LeadState(state).label)
    return Ladder(
        past=steps[-7:],
        now=now,
        next=[Step(state=to, label=to.label) for to in next_states(state)],
    )


def urls_of(slug: str, conversation: Conversation, query: str) -> dict[str, str]:
    """Return the addresses of a conversation: ``done``, ``done_part``, and so on."""
    urls = {
        verb + suffix: reverse(f"messaging:{verb}{suffix.replace('_', '-')}", args=args) + query
        for verb in VERBS
        for suffix in ("", "_part")
        for args in [[slug, conversation.pk]]
    }
    urls["draft"] = reverse("messaging:draft", args=[slug, conversation.pk])
    urls["lead"] = reverse("messaging:lead", args=[slug, conversation.lead_id])
    page = reverse("messaging:thread-page", args=[slug, conversation.stage, conversation.pk])
    return urls | {"page": page, "page_query": page + query}


def since_url(
    slug: str,
    conversation: Conversation,
    message_id: str,
    read: thread.Thread | thread.News | None,
    gate: Gate,
) -> str:
    """Return where the news after what is shown come from."""
    base = reverse("messaging:since", args=[slug, conversation.pk, message_id or "start"])
    return f"{base}?e={read.event_seq if read else 0}&gate={gate.key}"


def most_segments(tenant: Tenant) -> int:
    """Return how many segments a text of *tenant* may have."""
    return int(tenant.settings.get("max_segments", MAX_SEGMENTS))


def query_string(request: TenantRequest) -> str:
    """Return ``?tab=mine`` of the list a request came from, or nothing."""
    tab = request.GET.get("tab", "")
    return f"?tab={tab}" if tab in inbox.TABS and tab != "waiting" else ""


def new_send_key() -> str:
    """Mint the key that makes a reply one message, however often it is posted."""
    return new_id("send")


def lead_time(zone: str) -> tuple[str, str]:
    """Return the clock where a lead lives and the zone's name; empty when unknown."""
    if not zone:
        return "", ""
    return clock(timezone.now().astimezone(ZoneInfo(zone))), zone.split("/")[-1].replace("_", " ")


def snoozes() -> list[dict[str, str]]:
    """Return the choices of Snooze with the clock they mean now."""
    return [
        {"value": key, "label": label, "at": clock(moment) if (moment := until(key)) else ""}
        for key, label in CHOICES.items()
    ]


def _point(point: dict[str, Any]) -> dict[str, Any]:
    line = ContactPoint.LINE_TYPES[point["line_type"]]
    phone_word = line if point["line_type"] != "unknown" else "Phone"
    return {
        "id": to_text("cpt", uuid.UUID(point["id"])),
        "kind": point["kind"],
        "kind_label": phone_word if point["kind"] == "phone" else "E-mail",
        "value": point["value"],
        "text": phone(point["value"]),
        "note": "verified" if point["verified"] else "",
        "wrong": bool(point["wrong"]),
    }


def _when(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
