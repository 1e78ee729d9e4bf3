"""A deployment on a private database that tests really stop, with its web hosts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import psutil

from config.pg.embedded import Server
from integrations.providers import providers
from tests.browser.processes import ROOT, free_port
from tests.conftest import SECRET

_MAKE_OFFICE = """
import json, django
django.setup()
from tests.conftest import make_office
office = make_office({slug!r})
print(json.dumps(dict(tenant=office.tenant.pk, path=office.path, number=office.number.number,
                      integration=office.integration.pk, agent=office.agent.pk)))
"""


@dataclass
class Host:
    """One web host: a server with its own data folder, and so its own spool."""

    deployment: Deployment
    folder: Path
    environment: dict[str, str] = field(default_factory=dict)
    workers: int = 1
    port: int = field(default_factory=free_port)
    process: subprocess.Popen | None = None

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = ["-m", "config.web", "--port", str(self.port), "--workers", str(self.workers)]
        self.process = subprocess.Popen(
            [sys.executable, *command],
            cwd=ROOT,
            env=self.deployment.environment
            | {"FAIRLEAD_DATA_DIR": str(self.folder), "PORT": str(self.port)}
            | self.environment,
            stdin=subprocess.DEVNULL,
            stdout=(self.folder / "log").open("ab"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        wait_for(lambda: self.answers(), 60, lambda: self.said())

    def answers(self) -> bool:
        try:
            return httpx.get(f"{self.base}/healthz", timeout=5).status_code == 200
        except httpx.HTTPError:
            return False

    def kill(self) -> None:
        """Kill -9 of all its processes, as when the power goes."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)

    def kill_one(self) -> None:
        """Kill -9 of one of its workers; the server starts another."""
        assert self.process is not None
        workers = [
            child
            for child in psutil.Process(self.process.pid).children()
            if "spawn_main" in " ".join(child.cmdline())
        ]
        workers[0].kill()

    def stop(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)

    def said(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    @property
    def spool(self) -> Path:
        return self.folder / "spool" / "fairlead"

    def post(self, payload: dict[str, Any], key: str, *, timeout: float = 15) -> int:
        """Post a signed text; return the status, 0 when there was no answer."""
        body = json.dumps(payload).encode()
        headers = providers["signalhouse"]().sign(body, SECRET, datetime.now(UTC), key)
        try:
            return httpx.post(
                self.base + self.deployment.office["path"],
                content=body,
                headers=headers | {"Content-Type": "application/json"},
                timeout=timeout,
            ).status_code
        except httpx.HTTPError:
            return 0


class Deployment:
    """A database of its own, and everything that runs on it."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.server, self.folder = server, folder
        self.hosts: list[Host] = []
        self.office: dict[str, str] = {}
        plain = {name: value for name, value in os.environ.items() if name != "DJANGO_ALLOW_ASYNC"}
        #: As production has it: nobody starts this database but its operator.
        self.environment = plain | {
            "FAIRLEAD_ENV": "test",
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "DATABASE_URL": f"postgres://fairlead_app@/fairlead?host={server.sock}",
            "FAIRLEAD_DATA_DIR": str(folder),
        }
        self.environment.pop("DB_NAME", None)

    def make(self) -> None:
        """Migrate, as the owner."""
        embedded = {k: v for k, v in self.environment.items() if k != "DATABASE_URL"}
        embedded["FAIRLEAD_DATA_DIR"] = str(self.server.places.base)
        run([sys.executable, "manage.py", "migrate", "-v", "0"], embedded)

    def new_office(self, slug: str) -> dict[str, str]:
        code = _MAKE_OFFICE.format(slug=slug)
        self.office = json.loads(run([sys.executable, "-c", code], self.environment))
        return self.office

    def host(self, name: str, *, workers: int = 1, **environment: str) -> Host:
        folder = self.folder / name
        folder.mkdir(mode=0o755, exist_ok=True)
        host = Host(deployment=self, folder=folder, environment=environment, workers=workers)
        self.hosts.append(host)
        host.start()
        return host

    def manage(self, *arguments: str, **environment: str) -> str:
        return run([sys.executable, "manage.py", *arguments], self.environment | environment)

    def code(self, text: str) -> str:
        """Run Python on the deployment, in a process of its own."""
        return run(
            [sys.executable, "-c", f"import django\ndjango.setup()\n{text}"], self.environment
        )

    def ask(self, sentence: str, *values: Any) -> list[tuple]:
        with self.server.admin("fairlead") as own:
            return own.execute(sentence, values or None).fetchall()

    def paused(self) -> bool:
        return self.ask("SELECT sends_paused()")[0][0]

    def text(self, words: str, *, theirs: str, id: str) -> dict[str, Any]:
        return {
            "timestamp": datetime.now(UTC).isoformat(),
            "event": "MESSAGE_RECEIVED",
            "identifier": id,
            "metaData": {
                "Message": {
                    "direction": "INBOUND",
                    "senderPhoneNumber": theirs.lstrip("+"),
                    "recipientPhoneNumber": self.office["number"].lstrip("+"),
                    "messageBody": words,
                }
            },
        }

    def end(self) -> None:
        for host in self.hosts:
            if host.process is not None and host.process.poll() is None:
                host.kill()
        self.hosts.clear()
        self.server.ensure()
        with self.server.admin("fairlead") as own:  # a host that a test killed never comes back
            own.execute(
                "UPDATE spool_hosts SET retired_at = clock_timestamp(), retired_by = 'test',"
                " reason = 'over' WHERE retired_at IS NULL"
            )


def run(command: list[str], environment: dict[str, str]) -> str:
    ended = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def wait_for(
    question: Callable[[], Any], seconds: float = 20, why: Callable[[], str] = lambda: ""
) -> None:
    end = time.monotonic() + seconds
    while not question():
        assert time.monotonic() < end, f"waited in vain\n{why()}"
        time.sleep(0.05)
