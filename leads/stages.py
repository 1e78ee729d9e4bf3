"""The five stages every tenant starts with. They are rows: a tenant may add its own."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class StageSeed:
    key: str
    label: str
    short_label: str
    worker: str
    delay_days: int | None  # days after the first touch at which a silent lead arrives
    aliases: tuple[str, ...]


STAGES = (
    StageSeed(
        key="initial_message",
        label="Initial Message",
        short_label="Initial",
        worker="GIANNA",
        delay_days=0,
        aliases=("initial", "opener", "cold_outreach"),
    ),
    StageSeed(
        key="retarget",
        label="Retarget",
        short_label="Retarget",
        worker="GIANNA",
        delay_days=7,
        aliases=("retarget", "re_engage", "ghost"),
    ),
    StageSeed(
        key="nudger",
        label="Nudger",
        short_label="Nudger",
        worker="CATHY",
        delay_days=14,
        aliases=("nudger", "nudge", "follow_up"),
    ),
    StageSeed(
        key="content_nurture",
        label="Content Nurture",
        short_label="Nurture",
        worker="GIANNA",
        delay_days=30,
        aliases=("content", "content_nurture", "nurture", "drip"),
    ),
    StageSeed(
        key="book_appointment",
        label="Book Appointment",
        short_label="Book",
        worker="SABRINA",
        delay_days=None,
        aliases=("book", "booking", "appointment", "closer"),
    ),
)
WORKERS = ("GIANNA", "CATHY", "SABRINA")

#: Stage a lead's state speaks for, where neither campaign step nor worker does.
STAGE_OF_STATE = {
    "new": "initial_message",
    "touched": "initial_message",
    "retargeting": "retarget",
    "email_captured": "content_nurture",
    "content_nurture": "content_nurture",
    "high_intent": "book_appointment",
    "appointment_booked": "book_appointment",
    "in_call_queue": "book_appointment",
}
