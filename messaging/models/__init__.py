"""Conversations, the outbox, and what agents see and are told."""

from messaging.models.conversation import Conversation, DailySend, Message, PhoneNumber
from messaging.models.inbox import Draft, LiveEvent, Notification, ReadCursor, StageMembership
from messaging.models.outbound import OutboundMessage, SendAttempt, SendOutcome

__all__ = [
    "Conversation",
    "DailySend",
    "Draft",
    "LiveEvent",
    "Message",
    "Notification",
    "OutboundMessage",
    "PhoneNumber",
    "ReadCursor",
    "SendAttempt",
    "SendOutcome",
    "StageMembership",
]
