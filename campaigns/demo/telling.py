"""What the tellers of the demo's past share: when a step happened, and the rows it becomes."""

from __future__ import annotations

import os
import random
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.db.models import Model

from campaigns.demo.cast import Company
from campaigns.demo.people import Person
from campaigns.demo.stories import Story
from campaigns.models import CallItem
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
from messaging.models import Conversation, Message, Notification, PhoneNumber
from tenants.models import Actor
from tenants.ulids import encode

#: Parents first: foreign keys are checked statement by statement.
ORDER = (
    Lead, Consent, ConsentEvent, LeadEvent, ContactPoint, LeadTimer, LeadLabel,
    Conversation, Message, Notification, CallItem,
)  # fmt: skip
#: Steps younger than this are told as of today, whatever the clock says.
RECENT_HOURS = 8
WORK_BEGINS = timedelta(hours=9)
WORKING_PART = 10 / 24


def id_at(prefix: str, moment: datetime) -> str:
    """An id that sorts as if it had been made at *moment*: threads are ordered by id."""
    number = int(moment.timestamp() * 1000) << 80 | int.from_bytes(os.urandom(10), "big")
    return f"{prefix}_{encode(number)}"


@dataclass(kw_only=True)
class Builder:
    """Collects the rows of one tenant; `write` inserts them."""

    company: Company
    now: datetime
    chance: random.Random
    stages: dict[str, Stage]
    lines: dict[str, list[PhoneNumber]]
    agents: list[Actor]
    gold: Label
    priorities: dict[str, int]
    rows: dict[type[Model], list[Any]] = field(default_factory=lambda: defaultdict(list))

    def ago(self, hours: float) -> datetime:
        return self.now - timedelta(hours=hours)

    def agent(self, turn: int) -> Actor:
        return self.agents[turn % len(self.agents)]

    def add(self, row: Model) -> Any:
        self.rows[type(row)].append(row)
        return row

    def write(self) -> None:
        """Insert everything, oldest first, a statement or two per table."""
        for model in ORDER:
            rows = sorted(self.rows[model], key=lambda row: row.pk)
            if model is LeadEvent:  # the chain of a lead is checked as it grows
                rows.sort(key=lambda row: (row.lead_id, row.seq))
            model._default_manager.bulk_create(rows, batch_size=500)


@dataclass(frozen=True, kw_only=True)
class Tale:
    """A story as one lead lives it; *turn* varies wording and hours."""

    story: Story
    person: Person
    turn: int
    now: datetime
    zone: ZoneInfo

    def at(self, hours: float) -> datetime:
        """The moment of a step: earlier with each turn, the order of steps kept.

        What waits since today is spread from minutes to hours; days before today are pressed
        into working hours, since nobody answers at three in the morning.
        """
        if self.story.is_exact:
            return self.now - timedelta(hours=hours)
        if hours < RECENT_HOURS:
            return self.now - timedelta(hours=hours * (0.15 + 0.35 * self.turn))
        moment = self.now - timedelta(hours=hours * (1 + 0.045 * self.turn))
        local = moment.astimezone(self.zone)
        if local.date() == self.now.astimezone(self.zone).date():
            return moment
        midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
        return midnight + WORK_BEGINS + (local - midnight) * WORKING_PART
