"""Conversations, the outbox, and what agents see and are told."""

from messaging.models.conversation import (
    Brand,
    BrandDay,
    Conversation,
    DailySend,
    Message,
    NumberDay,
    PhoneNumber,
)
from messaging.models.inbox import Draft, LiveEvent, Notification, ReadCursor, StageMembership
from messaging.models.outbound import OutboundMessage, SendAttempt, SendOutcome
from messaging.models.registry import (
    ConsentAck,
    ConsentEffect,
    ContactRule,
    DossierExport,
    SuppressionList,
)

__all__ = [
    "Brand",
    "BrandDay",
    "ConsentAck",
    "ConsentEffect",
    "ContactRule",
    "Conversation",
    "DailySend",
    "DossierExport",
    "Draft",
    "LiveEvent",
    "Message",
    "Notification",
    "NumberDay",
    "OutboundMessage",
    "PhoneNumber",
    "ReadCursor",
    "SendAttempt",
    "SendOutcome",
    "StageMembership",
    "SuppressionList",
]
