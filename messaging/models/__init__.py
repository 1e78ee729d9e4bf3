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

__all__ = [
    "Brand",
    "BrandDay",
    "Conversation",
    "DailySend",
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
]
