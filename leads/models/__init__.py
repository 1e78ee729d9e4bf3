"""Leads, their contact points, history, timers and consent."""

from leads.models.consent import Consent, ConsentEvent
from leads.models.lead import (
    ContactPoint,
    Label,
    Lead,
    LeadEvent,
    LeadLabel,
    LeadTimer,
    LeadTransition,
)
from leads.models.stage import Stage, Worker

__all__ = [
    "Consent",
    "ConsentEvent",
    "ContactPoint",
    "Label",
    "Lead",
    "LeadEvent",
    "LeadLabel",
    "LeadTimer",
    "LeadTransition",
    "Stage",
    "Worker",
]
