"""Leads, their contact points, history, timers and consent."""

from leads.models.consent import Consent, ConsentEvent, Redaction
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
    "Redaction",
    "Stage",
    "Worker",
]
