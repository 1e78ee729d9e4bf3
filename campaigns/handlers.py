"""What events below mean for the call queue."""

from __future__ import annotations

from campaigns.actions import cancel_calls, queue_call
from leads.events import AddressSuppressed, CallWanted
from tenants.dispatch import on


@on(CallWanted)
def put_in_call_queue(event: CallWanted) -> None:
    queue_call(event.lead_id, reason=event.reason)


@on(AddressSuppressed)
def take_out_of_call_queue(event: AddressSuppressed) -> None:
    cancel_calls(event.lead_ids, outcome="opted out")
