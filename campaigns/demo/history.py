"""Turns stories into rows with dates in the past, written set-wise."""

from __future__ import annotations

import random
from collections import defaultdict
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from campaigns.demo.cast import Company
from campaigns.demo.people import make_people
from campaigns.demo.stories import LEADS_PER_TENANT, STORIES, WORDS, Said
from campaigns.demo.telling import Builder, Tale, id_at
from campaigns.models import CallItem
from leads.actions import SILENCE_DAYS
from leads.captures import normalize_email
from leads.models import (
    Consent,
    ConsentEvent,
    ContactPoint,
    Label,
    Lead,
    LeadEvent,
    LeadLabel,
    LeadTimer,
    Stage,
)
from messaging.models import Conversation, Message, Notification, PhoneNumber, StageMembership
from messaging.segments import count
from tenants.models import Actor
from tenants.ulids import new_id

CONSENT_KINDS = {"opted_out": "opt_out", "held": "hold"}
#: Younger texts that wait are unread for everybody on the stage.
UNREAD_HOURS = 8


def build_history(
    company: Company, *, now: datetime, stages: dict[str, Stage], priorities: dict[str, int]
) -> int:
    """Write the leads and the past of the running tenant; return how many leads.

    The stages, numbers and members of the tenant exist already.
    """
    lines: dict[str, list[PhoneNumber]] = defaultdict(list)
    for line in PhoneNumber.objects.select_related("worker").order_by("number"):
        lines[line.worker.name if line.worker else ""].append(line)
    builder = Builder(
        company=company,
        now=now,
        chance=random.Random(company.slug),  # noqa: S311  (the same demo every time)
        stages=stages,
        lines=lines,
        agents=list(Actor.objects.filter(role="agent").order_by("id")),
        gold=Label.objects.create(key="gold", name="GOLD", color="amber"),
        priorities=priorities,
    )
    people = make_people(LEADS_PER_TENANT, seed=company.slug, first_ending=company.first_ending)
    # Stories are dealt over all endings, so that every handset script meets every story.
    builder.chance.shuffle(people)
    told, zone = 0, ZoneInfo(company.time_zone)
    for story in STORIES:
        for turn in range(story.count):
            tell(builder, Tale(story=story, person=people[told], turn=turn, now=now, zone=zone))
            told += 1
    builder.write()
    return told


def tell(builder: Builder, tale: Tale) -> None:
    """Add the rows of one lead and its story."""
    story = tale.story
    first = story.texts[0].hours if story.texts else 24
    lead = add_lead(builder, tale, born=tale.at(first + 50))
    add_events(builder, tale, lead)
    add_contact_points(builder, tale, lead)
    add_timers(builder, tale, lead, touched=tale.at(first))
    if story.texts:
        conversation = add_conversation(builder, tale, lead)
        ours = [said for said in story.texts if said.key and not said.by_agent]
        lead.attempt_count = len(ours)
        lead.last_attempt_at = tale.at(ours[-1].hours)
        if conversation.waiting_since is not None:
            add_unread(builder, conversation)
    if story.call:
        add_call(builder, tale, lead)


def add_lead(builder: Builder, tale: Tale, *, born: datetime) -> Lead:
    """The lead as it was born; its events carry it to where it stands."""
    person = tale.person
    lead: Lead = builder.add(
        Lead(
            id=id_at("lead", born),
            source="demo",
            source_id=f"{builder.company.slug}-{person.phone[-10:]}",
            first_name=person.first_name,
            last_name=person.last_name,
            full_name=person.full_name,
            address_line1=person.address,
            unit=person.unit,
            city=person.place.city,
            region=person.place.region,
            postal_code=person.postal_code,
            time_zone="America/New_York",
            stage=tale.story.stage,
            created_at=born,
        )
    )
    builder.add(
        LeadEvent(
            id=id_at("lev", born),
            lead=lead,
            seq=0,
            kind="created",
            to_state="new",
            payload={"source": "demo"},
            at=born,
            created_at=born,
        )
    )
    return lead


def add_events(builder: Builder, tale: Tale, lead: Lead) -> None:
    """The chain of events, and the consent of a story that has one."""
    consent = add_consent(builder, tale) if tale.story.consent else None
    state = "new"
    for seq, move in enumerate(tale.story.moves, 1):
        at = tale.at(move.hours)
        builder.add(
            LeadEvent(
                id=id_at("lev", at),
                lead=lead,
                seq=seq,
                kind=move.kind,
                from_state=state,
                to_state=move.to or state,
                payload={},
                consent_event=consent if move.kind in CONSENT_KINDS.values() else None,
                at=at,
                created_at=at,
            )
        )
        state = move.to or state


def add_consent(builder: Builder, tale: Tale) -> ConsentEvent:
    """The person's choice, dated when they made it."""
    kind = CONSENT_KINDS[tale.story.consent]
    said = next(said for said in tale.story.texts if said.reading == kind)
    at = tale.at(said.hours)
    consent = builder.add(
        Consent(
            id=id_at("cns", at),
            address=tale.person.phone,
            state=tale.story.consent,
            rev=1,
            updated_at=at,
            created_at=at,
        )
    )
    event: ConsentEvent = builder.add(
        ConsentEvent(
            id=id_at("cev", at),
            consent=consent,
            rev=1,
            kind=kind,
            state=tale.story.consent,
            source="texting",
            keyword=said.wording(tale.turn),
            at=at,
            created_at=at,
        )
    )
    return event


def add_contact_points(builder: Builder, tale: Tale, lead: Lead) -> None:
    """Phone, and what the person gave away in the story."""
    story, person = tale.story, tale.person
    points = [("phone", person.phone, "demo", True)]
    if story.gives_email:
        points.append(("email", normalize_email(person.email), "texting", True))
    if story.gives_mobile:
        points.append(("phone", person.second_phone, "texting", False))
        builder.add(LeadLabel(lead=lead, label=builder.gold, source="texting"))
    wrong_at = tale.at(story.texts[-1].hours) if story.wrong_number else None
    for kind, value, source, is_primary in points:
        builder.add(
            ContactPoint(
                lead=lead,
                kind=kind,
                raw=value,
                normalized=value,
                line_type="mobile" if kind == "phone" else "unknown",
                source=source,
                is_primary=is_primary,
                wrong_number_at=wrong_at if source == "demo" else None,
            )
        )


def add_timers(builder: Builder, tale: Tale, lead: Lead, *, touched: datetime) -> None:
    """Silence timers: those that ran out, and those that still run."""
    for kind in (*tale.story.fired, *tale.story.timers):
        fire_at = touched + timedelta(days=SILENCE_DAYS[kind])
        builder.add(
            LeadTimer(
                lead=lead,
                kind=kind,
                armed_at=touched,
                fire_at=fire_at,
                fired_at=min(fire_at, builder.now) if kind in tale.story.fired else None,
            )
        )


def add_conversation(builder: Builder, tale: Tale, lead: Lead) -> Conversation:
    """The thread and its texts."""
    story = tale.story
    worker = builder.stages[story.stage].worker
    lines = builder.lines[worker.name if worker else "GIANNA"]
    line = lines[tale.turn % len(lines)]
    started = tale.at(story.texts[0].hours)
    conversation: Conversation = builder.add(
        Conversation(
            id=id_at("conv", started),
            lead=lead,
            phone_number=line,
            our_number=line.number,
            their_number=tale.person.phone,
            stage=story.stage,
            status=story.status,
            band=story.band,
            created_at=started,
        )
    )
    for said in story.texts:
        add_text(builder, tale, said, conversation)
    if story.status == "snoozed":
        conversation.snoozed_until = builder.now + timedelta(hours=3 + 17 * tale.turn)
    inbound, outbound = conversation.last_inbound_at, conversation.last_outbound_at
    if story.status == "open" and inbound and (not outbound or inbound > outbound):
        conversation.waiting_since = inbound
    if tale.turn % 2 == 0 and any(said.by_agent for said in story.texts):
        conversation.assigned_to = builder.agent(tale.turn)
    return conversation


def add_text(builder: Builder, tale: Tale, said: Said, conversation: Conversation) -> None:
    """One text of the thread; the conversation remembers the newest."""
    at, inbound = tale.at(said.hours), not said.key
    agent = builder.agent(tale.turn)
    body = words_of(builder, tale, said, conversation)
    ours, theirs = conversation.our_number, conversation.their_number
    builder.add(
        Message(
            id=id_at("msg", at),
            conversation=conversation,
            lead=conversation.lead,
            direction="in" if inbound else "out",
            sender=theirs if inbound else ours,
            recipient=ours if inbound else theirs,
            body=body,
            provider="signalhouse",
            external_id=new_id("demo"),
            status="received" if inbound else "delivered",
            segments=count(body).segments,
            is_automated=not inbound and not said.by_agent,
            actor=agent if said.by_agent else None,
            reading=said.reading,
            occurred_at=at,
            created_at=at,
        )
    )
    conversation.last_message_at = conversation.updated_at = at
    conversation.last_snippet = body[:160]
    if inbound:
        conversation.last_inbound_at = at
    else:
        conversation.last_outbound_at = at


def words_of(builder: Builder, tale: Tale, said: Said, conversation: Conversation) -> str:
    """The wording of one text, names and places filled in."""
    person, line = tale.person, conversation.phone_number
    trade = WORDS[builder.company.trade]
    pattern = trade[said.key] if said.key else said.wording(tale.turn)
    return pattern.format(
        first=person.first_name,
        street=person.street,
        email=person.email,
        mobile=f"({person.second_phone[2:5]}) {person.second_phone[5:8]}-{person.second_phone[8:]}",
        worker=line.worker.name.title() if line and line.worker else "Gianna",
        company=builder.company.name,
        agent=builder.agent(tale.turn).name.split()[0],
    )


def add_unread(builder: Builder, conversation: Conversation) -> None:
    """What rang while nobody was there: the newer waiting threads are unread for the stage."""
    newest = builder.rows[Message][-1]
    if newest.occurred_at < builder.ago(UNREAD_HOURS):
        return
    members = StageMembership.objects.filter(stage=conversation.stage, role="active")
    for actor_id in members.values_list("actor_id", flat=True):
        builder.add(
            Notification(
                actor_id=actor_id,
                stage=conversation.stage,
                conversation=conversation,
                first_message=newest,
                last_message=newest,
                updated_at=newest.occurred_at,
            )
        )


def add_call(builder: Builder, tale: Tale, lead: Lead) -> None:
    """The call that the story led to, open."""
    at = tale.at(tale.story.moves[-1].hours)
    builder.add(
        CallItem(
            lead=lead,
            reason=tale.story.call,
            priority=builder.priorities[tale.story.call],
            next_at=at,
            created_at=at,
            updated_at=at,
        )
    )
