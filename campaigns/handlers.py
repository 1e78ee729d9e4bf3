"""What events below mean for the call queue."""

from __future__ import annotations

from campaigns.actions import cancel_calls, queue_call
from leads.events import AddressSuppressed, CallWanted
from leads.mergeable import Child, follows
from tenants.dispatch import on

_OPEN = "{0}.status IN ('pending', 'processing')"
_CLOSE = (
    "status = 'cancelled', outcome = '{0}', closed_at = clock_timestamp(),"
    " updated_at = clock_timestamp()"
)
follows(
    Child(
        table="call_queue",
        stays=f"{_OPEN.format('s')} AND {_OPEN.format('m')}",
        folds=(
            "priority = greatest(s.priority, m.priority),"
            " reason = CASE WHEN m.priority > s.priority THEN m.reason ELSE s.reason END"
        ),
        ends=_CLOSE.format("merged"),
        ends_if=_OPEN.format("m"),
        stops=_CLOSE.format("opted out"),
        stops_if=_OPEN.format("m"),
    )
)


@on(CallWanted)
def put_in_call_queue(event: CallWanted) -> None:
    queue_call(event.lead_id, reason=event.reason)


@on(AddressSuppressed)
def take_out_of_call_queue(event: AddressSuppressed) -> None:
    cancel_calls(event.lead_ids, outcome="opted out")
