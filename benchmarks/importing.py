"""The file of the import benchmarks, and what is measured with it: time, rows, private memory."""

from __future__ import annotations

import csv
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from common import connection, note
from django.db import connections

from config.pg.embedded import server
from leads.identity.stage import Stage, StageColumn
from pipelines.models import PipelineRun
from tenants.context import tenant_context

HEADER = (
    "source_id", "first_name", "last_name", "address_line1", "city", "region", "postal_code",
    "county_fips", "apn", "age", "property_value", "phone1", "phone2", "email1",
)  # fmt: skip
STREETS = ("Main", "Oak", "Maple", "Washington", "Lake", "Hill")
CHUNK, CONNECTIONS = 20_000, 2


def write_file(rows: int, *, start: int) -> Path:
    """A CSV file: one row in twenty repeats an earlier one, one in a hundred has no good phone."""
    path = Path(tempfile.mkstemp(prefix="fairlead-bench-", suffix=".csv")[1])
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(HEADER)
        for n in range(rows):
            m = start + (n - 7 if n % 20 == 19 else n)
            phone = (
                "not a number" if n % 100 == 50 else f"({700 + m // 10**7 % 200}) {m % 10**7:07d}"
            )
            writer.writerow(
                [
                    f"imp-{m}", f"First{m % 997}", f"Last{m % 4093}",
                    f"{100 + m % 9000} {STREETS[m % 6]} Street Apt {m}", "Reno", "NV",
                    f"{89000 + m % 999}-1234", f"32{m % 99:03d}", f"i-{m}", 30 + m % 60,
                    f"${m % 900 + 100},000", phone, f"702{m % 10**7:07d}" if m % 2 else "",
                    f"lead{m}@import.example" if m % 3 else "",
                ]
            )  # fmt: skip
    return path


@dataclass(frozen=True, kw_only=True)
class Imported:
    seconds: float
    counts: dict[str, int]
    steps: dict[str, float]


def import_file(path: Path, tenant_id: str) -> Imported:
    """Bring a file in by the engine: COPY, normalise, match, apply on two connections."""
    with tenant_context(tenant_id, durable=True):
        run = PipelineRun.objects.create(pipeline_name="bench import")
    began = last = time.perf_counter()
    steps: dict[str, float] = {}

    def done(step: str) -> None:
        nonlocal last
        steps[step], last = round(time.perf_counter() - last, 2), time.perf_counter()

    stage = Stage.create(run.pk, len(HEADER), tenant_id=tenant_id)
    with path.open(newline="", encoding="utf-8") as stream:
        reader = csv.reader(stream)
        next(reader)
        stage.copy(enumerate(reader, 1))
    done("copy")
    stage.normalise(
        [StageColumn(target=name, value_sql=f"c{n}") for n, name in enumerate(HEADER, 1)],
        source="upload",
    )
    done("normalise")
    stage.match()
    done("match")
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        for future in [pool.submit(_apply, run.pk, tenant_id) for _ in range(CONNECTIONS)]:
            future.result()
    done("apply")
    seconds = time.perf_counter() - began
    counts = stage.counts()
    stage.drop()
    note(f"  {path.name}: {seconds:.1f} s {steps} {counts}")
    return Imported(seconds=seconds, counts=counts, steps=steps)


def _apply(run_id: str, tenant_id: str) -> None:
    try:
        stage = Stage.open(run_id, tenant_id=tenant_id)
        while stage.apply(CHUNK):
            pass
    finally:
        connections.close_all()


@contextmanager
def memory() -> Iterator[dict[str, float]]:
    """Watch RssAnon, the memory that is a process's own, of this one and of all backends, in MB.

    Shared buffers that a backend touched are not its own; ``backends`` is the highest of one.
    """
    peak = {"process": 0.0, "backends": 0.0}
    connection.ensure_connection()
    postmaster = server().status().pid
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.1):
            peak["process"] = max(peak["process"], _anon(os.getpid()))
            for pid in _children(postmaster):
                peak["backends"] = max(peak["backends"], _anon(pid))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield peak
    finally:
        over.set()
        watcher.join()
        peak |= {name: round(value, 1) for name, value in peak.items()}


def _anon(pid: int) -> float:
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    return next(
        (int(line.split()[1]) / 1024 for line in text.splitlines() if line.startswith("RssAnon")),
        0.0,
    )


def _children(pid: int | None) -> list[int]:
    try:
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
