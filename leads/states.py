"""The lead state machine, as data. The database refuses every move that is not listed here."""

from __future__ import annotations

from collections.abc import Mapping

from django.db import models


class LeadState(models.TextChoices):
    NEW = "new", "New"
    TOUCHED = "touched", "Touched"
    RETARGETING = "retargeting", "Retargeting"
    RESPONDED = "responded", "Responded"
    SOFT_INTEREST = "soft_interest", "Soft interest"
    EMAIL_CAPTURED = "email_captured", "Email captured"
    CONTENT_NURTURE = "content_nurture", "Content nurture"
    HIGH_INTENT = "high_intent", "High intent"
    APPOINTMENT_BOOKED = "appointment_booked", "Appointment booked"
    IN_CALL_QUEUE = "in_call_queue", "In call queue"
    CLOSED = "closed", "Closed"
    SUPPRESSED = "suppressed", "Suppressed"


S = LeadState

#: Where a lead may go next, besides ``SUPPRESSED``, which is legal from every state.
#: Copied into the table ``lead_transitions`` by a migration; a test compares the two.
MOVES: Mapping[LeadState, tuple[LeadState, ...]] = {
    S.NEW: (S.TOUCHED, S.RESPONDED),
    S.TOUCHED: (S.RETARGETING, S.RESPONDED, S.CLOSED),
    S.RETARGETING: (S.RESPONDED, S.CONTENT_NURTURE, S.CLOSED),
    S.RESPONDED: (
        S.SOFT_INTEREST,
        S.EMAIL_CAPTURED,
        S.CONTENT_NURTURE,
        S.HIGH_INTENT,
        S.APPOINTMENT_BOOKED,
        S.IN_CALL_QUEUE,
        S.CLOSED,
    ),
    S.SOFT_INTEREST: (
        S.EMAIL_CAPTURED,
        S.CONTENT_NURTURE,
        S.HIGH_INTENT,
        S.APPOINTMENT_BOOKED,
        S.IN_CALL_QUEUE,
        S.CLOSED,
    ),
    S.EMAIL_CAPTURED: (
        S.CONTENT_NURTURE,
        S.HIGH_INTENT,
        S.APPOINTMENT_BOOKED,
        S.IN_CALL_QUEUE,
        S.CLOSED,
    ),
    S.CONTENT_NURTURE: (
        S.EMAIL_CAPTURED,
        S.HIGH_INTENT,
        S.APPOINTMENT_BOOKED,
        S.IN_CALL_QUEUE,
        S.CLOSED,
    ),
    S.HIGH_INTENT: (S.CONTENT_NURTURE, S.APPOINTMENT_BOOKED, S.IN_CALL_QUEUE, S.CLOSED),
    S.APPOINTMENT_BOOKED: (S.CONTENT_NURTURE, S.IN_CALL_QUEUE, S.CLOSED),
    S.IN_CALL_QUEUE: (S.CONTENT_NURTURE, S.HIGH_INTENT, S.APPOINTMENT_BOOKED, S.CLOSED),
    S.CLOSED: (S.RESPONDED,),
    S.SUPPRESSED: (S.RESPONDED,),
}

#: The usual life of a lead, for the ladder a page draws; the other states are detours.
LADDER = (S.NEW, S.TOUCHED, S.RESPONDED, S.EMAIL_CAPTURED, S.HIGH_INTENT, S.IN_CALL_QUEUE, S.CLOSED)


def may_move(current: str, to: str) -> bool:
    """Tell whether the move is legal. Suppressed → responded also needs a recorded opt-in."""
    return to == S.SUPPRESSED or LeadState(to) in MOVES[LeadState(current)]


def next_states(current: str) -> list[LeadState]:
    """Return the moves a person may choose from *current*, in the order of the table."""
    if current == S.SUPPRESSED:
        return []  # only the person's own opt-in leads out
    return list(MOVES[LeadState(current)])
