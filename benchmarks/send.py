"""Texts sent per second by one process: claimed, gated, called, recorded.

The carrier is the sandbox, a process of its own that answers at once, over real HTTP. More is
queued than a cap lets through, a brand's and a number's in turn: what is left is counted, exactly.
"""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import suppress

import httpx
from common import START_SECONDS, free_port, median, note, prepare, report, running, settle
from django.db.models import Max, Min
from django.utils import timezone
from world import World, add_leads, make_world

from leads.models import Lead
from messaging.actions.sending import Text, queue_message
from messaging.models import (
    Brand,
    BrandDay,
    Conversation,
    DailySend,
    OutboundMessage,
    PhoneNumber,
    SendAttempt,
    SendOutcome,
)
from tenants.context import tenant_context
from tenants.models import Tenant

TEXTS, CAP = 1200, 1000
PER_SECOND = 150
ROUNDS = 3
#: Numbers of the office: the senders of a brand share its day.
LINES = 4


def main() -> bool:
    prepare()
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = ["manage.py", "sandbox", "--port", str(port), "--pace", "0", "--no-scripts"]
    with running(command, "sandbox") as sandbox:
        until_answering(url, sandbox)
        rates = [measure(url, "brand" if turn % 2 else "tenant") for turn in range(ROUNDS)]
    rate = median(rates)
    return report(
        "send",
        value=rate,
        unit="texts/s, one process",
        against=f"bar {PER_SECOND}/s",
        ratio=rate / PER_SECOND,
        bar=f">= {PER_SECOND}/s and caps exact",
        ok=rate >= PER_SECOND,
        rounds=[round(one) for one in rates],
        cap=CAP,
    )


def until_answering(url: str, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(httpx.TransportError):
            if httpx.get(f"{url}/_control/faults", trust_env=False).status_code == 200:
                return
        time.sleep(0.1)
    raise SystemExit("the sandbox did not start; see var/bench-sandbox.log")


def measure(url: str, limit: str) -> float:
    """Queue more than *limit* allows, let one process send, and count."""
    world = make_world("send")
    fill(world, url, limit)
    httpx.post(f"{url}/_control/reset", trust_env=False)
    quiet = {"kind": "no_callbacks", "count": 0}
    httpx.post(f"{url}/_control/faults", json=quiet, trust_env=False)
    settle()
    with running(["manage.py", "drain", "--once", "--only", "sends"], "send") as process:
        if process.wait() != 0:
            raise SystemExit("the sender failed; see var/bench-send.log")
    rate = count(world)
    note(f"  capped by {limit}: {rate:.0f}/s")
    return rate


def fill(world: World, url: str, limit: str) -> None:
    """Queue answers of a person in conversations with people who have just written."""
    phones = add_leads(world, TEXTS)
    with tenant_context(world.tenant.pk):
        world.integration.base_url = url
        world.integration.save()
        brand = Brand.objects.create(
            name="Bench", daily_segment_cap=CAP if limit == "brand" else 10 * TEXTS
        )
        Tenant.objects.filter(pk=world.tenant.pk).update(
            daily_send_limit=CAP if limit == "tenant" else 10 * TEXTS
        )
        lines = [world.number, *(line(world, place) for place in range(1, LINES))]
        PhoneNumber.objects.update(
            brand=brand, rate_per_second=10_000, burst=10_000, tokens=10_000, daily_cap=TEXTS
        )
        Lead.objects.update(time_zone="America/New_York", region="NY")
        for place, one in enumerate(lines):
            mine = Conversation.objects.filter(their_number__in=phones[place::LINES])
            mine.update(phone_number=one, our_number=one.number, last_inbound_at=timezone.now())
        threads = Conversation.objects.select_related("tenant", "lead", "phone_number__integration")
        for thread in threads:
            text = Text(body="Yes, Thursday works.", purpose="reply", send_key=f"b:{thread.pk}")
            queue_message(thread, text)


def line(world: World, place: int) -> PhoneNumber:
    return PhoneNumber.objects.create(
        number=f"+1202555{9000 + place}", integration=world.integration
    )


def count(world: World) -> float:
    """Return the rate from the first claim to the last record; stop when a cap is not exact."""
    with tenant_context(world.tenant.pk):
        sent = OutboundMessage.objects.filter(state="sent")
        counts = {
            "sent": sent.count(),
            "attempts": SendAttempt.objects.count(),
            "accepted": SendOutcome.objects.filter(kind="accepted").count(),
            "of the day": DailySend.objects.get().sent,
            "of the brand": BrandDay.objects.get().used,
            "left": OutboundMessage.objects.filter(state="queued").count(),
        }
        wanted = dict.fromkeys(counts, CAP) | {"left": TEXTS - CAP}
        if counts != wanted:
            raise SystemExit(f"a cap is not exact: {counts} instead of {wanted}")
        began = sent.aggregate(at=Min("claimed_at"))["at"]
        ended = SendOutcome.objects.aggregate(at=Max("created_at"))["at"]
        OutboundMessage.objects.filter(state="queued").update(state="cancelled")
    return CAP / (ended - began).total_seconds()


if __name__ == "__main__":
    sys.exit(not main())
