"""A whole deployment on a database of its own: every process real, every one killed at random.

What happens is chosen by one seed; what interleaves is not, so a seed tells what was done and
not in which millisecond.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psutil
from django.db import Error, connection
from django.utils import timezone

from config.pg.embedded import Server
from integrations.providers import providers
from leads.actions import arm_timer, move_lead
from leads.models import LeadTimer, Worker
from messaging.actions.sending import SendRefused, send_reply
from messaging.models import Conversation, PhoneNumber
from tests.browser.processes import ROOT, Process, Web, free_port
from tests.config.conftest import folder, private_server
from tests.conftest import SECRET, Office, make_office

#: Seconds: a call may take this long, and its sender may be silent that much longer.
DEADLINE, LEASE = 2.0, 2.0
#: After so many seconds without 2xx a sender of webhooks is told that something is lost.
PATIENCE = 90.0
HANDS = 4


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much of everything."""

    people: int
    inbound: int  # texts of people, before duplicates and reports
    texts: int  # texts of ours
    capped: int  # more texts, from a number that may send only two thirds of them
    timers: int
    kills: int
    restarts: int  # of the database, each as if the power failed
    pause: float  # seconds between two kills


#: Faults of the carrier and how often each is chosen.
MISBEHAVIOR = {
    "429": 4,
    "500": 3,
    "reset": 3,
    "hang": 1,
    "500_after_accept": 4,
    "reset_after_accept": 4,
    "hang_after_accept": 1,
    "drip": 1,
    "dnc": 1,
    "not_accepted": 1,
    "duplicate_callbacks": 6,
    "reorder_callbacks": 4,
    "no_callbacks": 3,
    "undelivered": 2,
}


@contextmanager
def private_database(blocker: Any) -> Iterator[Server]:
    """Make a cluster in a folder of its own, and be connected to it meanwhile."""
    with blocker.unblock(), folder() as path, private_server(path / "var") as own:
        name = connection.settings_dict["NAME"]
        connection.close()
        connection.settings_dict["NAME"] = "fairlead"
        try:
            own.ensure()
            migrate = [sys.executable, "manage.py", "migrate", "--verbosity", "0"]
            subprocess.run(migrate, cwd=ROOT, check=True, env={**os.environ, "DB_NAME": "fairlead"})
            yield own
        finally:
            connection.close()
            connection.settings_dict["NAME"] = name


@dataclass
class Heard:
    """What the senders of webhooks were told, and when."""

    events: dict[str, str] = field(default_factory=dict)  # delivery id → wh_…
    bodies: dict[str, list[str]] = field(default_factory=dict)  # lane → bodies in their order
    stops: list[tuple[str, float]] = field(default_factory=list)  # (person, answered at)
    starts: list[tuple[str, float]] = field(default_factory=list)  # (person, posted at)
    statuses: set[int] = field(default_factory=set)


class World:
    """One tenant, its carrier, its people, and everything that goes wrong."""

    def __init__(self, size: Size, seed: int, logs: Path, server: Server) -> None:
        self.size, self.seed, self.logs, self.server = size, seed, logs, server
        self.chance = random.Random(f"chaos {seed}")
        self.heard = Heard()
        self.killed: list[str] = []
        self.is_over = False
        self.restarted = 0
        self.refused = 0
        self._lock = threading.Lock()
        self._begin_processes()
        self.office = self._make_office()

    # --- processes ----------------------------------------------------------------------------

    def _begin_processes(self) -> None:
        port = free_port()
        self.carrier_url = f"http://127.0.0.1:{port}"
        journal = str(self.logs / "carrier.journal")
        words = ["--port", str(port), "--pace", "0.05", "--no-scripts", "--quiet"]
        self.web = Web(self.logs / "web.log", "fairlead", free_port(), workers=2)
        common = {
            "DB_NAME": "fairlead",
            "FAIRLEAD_BASE_URL": self.web.base,
            "FAIRLEAD_SEND_DEADLINE": str(DEADLINE),
            "FAIRLEAD_SEND_LEASE": str(LEASE),
            "FAIRLEAD_LOG_LEVEL": "WARNING",
        }
        self.web.environment |= common
        self.processes: dict[str, Process] = {
            "carrier": self._program("carrier", ["sandbox", *words, "--journal", journal], common),
            "web": self.web,
        }
        for kind, many in (("events", 2), ("sends", 2), ("timers", 1)):
            for n in range(many):
                name = f"{kind} {n + 1}"
                self.processes[name] = self._program(name, ["drain", "--only", kind], common)

    def _program(self, name: str, words: list[str], environment: dict[str, str]) -> Process:
        log = self.logs / f"{name.replace(' ', '-')}.log"
        return Process(["manage.py", *words], log, **environment)

    def start(self) -> None:
        for process in self.processes.values():
            process.start()
        wait_until(self._carrier_answers, "the carrier answers")

    def stop(self) -> None:
        for process in reversed(self.processes.values()):
            if process._running is not None:
                with_group(process, signal.SIGKILL)

    def _carrier_answers(self) -> bool:
        return self.ask_carrier("GET", "/_control/faults") is not None

    def ask_carrier(self, method: str, path: str, **body: Any) -> Any:
        """Ask the control API; None while the carrier is being killed."""
        try:
            answer = httpx.request(
                method,
                self.carrier_url + path,
                json=body or None,
                timeout=10,
                trust_env=False,
            )
        except httpx.TransportError:
            return None
        return answer.json()

    # --- rows ---------------------------------------------------------------------------------

    def _make_office(self) -> Office:
        office = make_office("harbor")
        self.people = [f"+1202555{n:04d}" for n in range(self.size.people)]
        self.conversations: list[str] = []
        self.capped: list[str] = []
        with office.inside():
            office.tenant.daily_send_limit = 1_000_000
            office.tenant.save()
            office.integration.base_url = self.carrier_url
            office.integration.save()
            self.numbers = [office.number, *(self._number(office, n) for n in range(1, 6))]
            self.capped_number = self._number(office, 9, self.size.capped * 2 // 3)
            for n, theirs in enumerate(self.people):
                lead = office.lead(theirs, region="NY")
                line = self.numbers[n % len(self.numbers)]
                self.conversations.append(self._conversation(lead, line, theirs))
                if n < self.size.capped // 2:
                    self.capped.append(self._conversation(lead, self.capped_number, theirs))
            self._arm_timers(office)
        return office

    def _number(self, office: Office, n: int, cap: int = 1_000_000) -> PhoneNumber:
        return PhoneNumber.objects.create(
            number=f"+120255501{n:02d}",
            worker=Worker.objects.get(key="gianna"),
            integration=office.integration,
            rate_per_second=1000,
            burst=1000,
            tokens=1000,
            daily_cap=cap,
        )

    def _conversation(self, lead: Any, line: PhoneNumber, theirs: str) -> str:
        return Conversation.objects.create(
            lead=lead,
            phone_number=line,
            our_number=line.number,
            their_number=theirs,
            stage="initial_message",
            last_inbound_at=timezone.now(),  # a person's answer may go at any hour
        ).pk

    def _arm_timers(self, office: Office) -> None:
        longest = self.size.kills * (self.size.pause + 1)
        for n in range(self.size.timers):
            lead = office.lead(f"+1303555{n:04d}")
            move_lead(lead.pk, to="touched")
            timer = arm_timer(lead.pk, kind="7D", days=7)
            due = timezone.now() + timedelta(seconds=self.chance.uniform(0, longest))
            LeadTimer.objects.filter(pk=timer.pk).update(fire_at=due)

    # --- what happens -------------------------------------------------------------------------

    def live(self) -> None:
        """Let people write, agents answer and things break; return when all of it has happened."""
        failures: list[BaseException] = []

        def guarded(work: Callable[[], None]) -> None:
            try:
                work()
            except BaseException as error:
                failures.append(error)
                self.is_over = True  # nobody waits for what will not come
            finally:
                connection.close()

        works = [lambda hand=hand: self._write(hand) for hand in range(HANDS)]
        works += [self._answer, self._break_things]
        threads = [threading.Thread(target=guarded, args=(w,), daemon=True) for w in works]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(600)
        assert not failures, failures
        assert not any(thread.is_alive() for thread in threads), "something hangs"

    def _may_go_on(self, share: float) -> bool:
        """Load waits for kills, so that they are spread over all of it."""
        return self.is_over or share * self.size.kills <= len(self.killed) + 1

    def _write(self, hand: int) -> None:
        """Post the texts of a quarter of the people, each lane in order, until each is taken."""
        chance = random.Random(f"hand {hand} {self.seed}")
        mine = range(hand, len(self.people), HANDS)
        stopped: set[int] = set()
        share = self.size.inbound // HANDS
        with httpx.Client(base_url=self.web.base, timeout=20, trust_env=False) as client:
            for n in range(share):
                while not self._may_go_on(n / share):
                    time.sleep(0.02)
                who = chance.choice(mine)
                words = self._words(chance, who in stopped, f"{n:05d}")
                line = self.numbers[who % len(self.numbers)].number
                payload = self.office.payload(
                    words, theirs=self.people[who], ours=line, id=f"in_{hand}_{n}"
                )
                began = time.time()
                self._deliver(client, payload, f"d-{hand}-{n}")
                if words == "STOP":
                    stopped.add(who)
                    self.heard.stops.append((self.people[who], time.time()))
                elif words == "START":
                    stopped.discard(who)
                    self.heard.starts.append((self.people[who], began))
                self.heard.bodies.setdefault(f"{line}|{self.people[who]}", []).append(words)
                if chance.random() < 0.05:  # the sender did not hear our answer
                    self._deliver(client, payload, f"d-{hand}-{n}")
                if chance.random() < 0.04:  # the same text by another of its webhooks
                    self._deliver(client, payload, f"d-{hand}-{n}-again")

    def _words(self, chance: random.Random, is_stopped: bool, number: str) -> str:
        roll = chance.random()
        if is_stopped and roll < 0.3:
            return "START"
        if roll < 0.02:
            return "STOP"
        if roll < 0.03:
            return f"please leave me alone {number}"
        return f"text {number}"

    def _deliver(self, client: httpx.Client, payload: dict, delivery: str) -> None:
        body = json.dumps(payload).encode()
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            headers = providers["signalhouse"]().sign(body, SECRET, datetime.now(UTC), delivery)
            headers["Content-Type"] = "application/json"
            try:
                answer = client.post(self.office.path, content=body, headers=headers)
            except httpx.TransportError:
                time.sleep(0.1)
                continue
            self.heard.statuses.add(answer.status_code)
            if answer.status_code < 300:
                event = answer.json()["id"]
                with self._lock:
                    assert self.heard.events.setdefault(delivery, event) == event
                return
            time.sleep(0.2)
        raise AssertionError(f"{delivery} was never taken")

    def _answer(self) -> None:
        """Queue the texts of agents, some of them twice, until each is queued or refused."""
        chance = random.Random(f"agents {self.seed}")
        plan = [chance.choice(self.conversations) for _ in range(self.size.texts)]
        plan += [chance.choice(self.capped) for _ in range(self.size.capped)]
        chance.shuffle(plan)
        for n, conversation in enumerate(plan):
            while not self._may_go_on(n / len(plan)):
                time.sleep(0.02)
            for _ in range(2 if chance.random() < 0.1 else 1):
                self._queue(conversation, n)

    def _queue(self, conversation: str, n: int) -> None:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            try:
                with self.office.inside():
                    send_reply(
                        conversation,
                        body=f"answer {n:05d}",
                        actor_id=self.office.agent.pk,
                        send_key=f"chaos-{n:05d}",
                    )
                return
            except SendRefused:
                self.refused += 1
                return
            except Error:  # the database is away: the same click again
                connection.close()
                time.sleep(0.2)
        raise AssertionError(f"answer {n} was never queued")

    # --- what breaks --------------------------------------------------------------------------

    def _break_things(self) -> None:
        step = max(1, self.size.kills // (self.size.restarts + 1))
        for n in range(self.size.kills):
            time.sleep(self.chance.uniform(0.3, 1.7) * self.size.pause)
            for _ in range(self.chance.randint(1, 3)):
                self._misbehave()
            self._kill()
            if n % step == step - 1 and self.restarted < self.size.restarts:
                self.server._pg_ctl("-m", "immediate", "stop")  # as if the power failed
                self.restarted += 1

    def _misbehave(self) -> None:
        kind = self.chance.choices(list(MISBEHAVIOR), weights=list(MISBEHAVIOR.values()))[0]
        count = self.chance.randint(1, 4 if "hang" not in kind else 1)
        self.ask_carrier("POST", "/_control/faults", kind=kind, count=count, retry_after=1)

    def _kill(self) -> None:
        name = self.chance.choice([*self.processes, "one web process"])
        if name == "one web process":
            while not self._kill_web_child():  # what killed nothing does not count
                time.sleep(0.1)
        else:
            with_group(self.processes[name], signal.SIGKILL)
            self.processes[name].start()
        self.killed.append(name)

    def _kill_web_child(self) -> bool:
        """Kill a child of the web server, which starts another; tell whether there was one."""
        with suppress(psutil.Error):  # a child may end while we look at it
            children = psutil.Process(self.web._running.pid).children()
            workers = [one for one in children if "spawn_main" in " ".join(one.cmdline())]
            if workers:
                self.chance.choice(workers).kill()
                return True
        return False


def with_group(process: Process, number: signal.Signals) -> None:
    """Signal a process with everything it started, and wait for its end."""
    running = process._running
    assert running is not None
    with suppress(ProcessLookupError):
        os.killpg(running.pid, number)
    running.wait(15)


def wait_until(question: Callable[[], object], what: str, seconds: float = 60.0) -> None:
    """Wait until the answer is true.

    Raises:
        AssertionError: it did not become true in time.
    """
    deadline = time.monotonic() + seconds
    while not question():
        assert time.monotonic() < deadline, f"{what}: not within {seconds:g} s"
        time.sleep(0.1)
