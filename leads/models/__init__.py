"""Leads: who they are, how to reach them, their history, timers, scores and consent."""

from leads.models.consent import Consent, ConsentEvent, Redaction
from leads.models.contact import Contact, ContactPoint, Verification
from leads.models.event import LeadEvent, LeadTransition
from leads.models.identity import IdentityTurn, Merge, MergeReview
from leads.models.imports import (
    Import,
    ImportChange,
    ImportPart,
    ImportPreset,
    ImportRow,
    SavedView,
)
from leads.models.label import Label, LeadLabel
from leads.models.lead import Lead
from leads.models.record import (
    Business,
    LeadActivity,
    LeadCard,
    Ownership,
    Property,
    PropertyDistressScore,
)
from leads.models.score import LeadScore, QualityScore, ScoreRule
from leads.models.stage import Stage, Worker
from leads.models.timer import LeadTimer

__all__ = [
    "Business",
    "Consent",
    "ConsentEvent",
    "Contact",
    "ContactPoint",
    "IdentityTurn",
    "Import",
    "ImportChange",
    "ImportPart",
    "ImportPreset",
    "ImportRow",
    "Label",
    "Lead",
    "LeadActivity",
    "LeadCard",
    "LeadEvent",
    "LeadLabel",
    "LeadScore",
    "LeadTimer",
    "LeadTransition",
    "Merge",
    "MergeReview",
    "Ownership",
    "Property",
    "PropertyDistressScore",
    "QualityScore",
    "Redaction",
    "SavedView",
    "ScoreRule",
    "Stage",
    "Verification",
    "Worker",
]
