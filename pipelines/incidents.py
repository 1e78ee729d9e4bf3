"""Problems that are there now: found by checks, opened and closed by nobody else.

A check looks at the running tenant and yields what is wrong. What it yields is open; what it does
not yield any more is closed. Checks live in ``checks.py`` of the app that knows the matter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import structlog
from django.db import Error, connection, transaction
from django.db.models.functions import Now

from pipelines.models import Incident
from tenants.context import is_passing, tenant_context
from tenants.models import PLATFORM_TENANT_ID
from tenants.registry import Registry
from tenants.ulids import to_uuid

logger = structlog.get_logger(__name__)

#: Seconds between two looks of one process; with several processes the first one looks.
LOOK_EVERY_S = 15.0
#: Any number, the same in every process: with a tenant's it keeps two processes apart.
LOOK_LOCK = 7_205_901


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing that is wrong. ``subject`` tells several of one kind apart: an id, a name."""

    title: str  # what is wrong, with its figure
    advice: str  # what to do about it
    path: str = ""  # page under /t/<slug>/ where that is done
    subject: str = ""
    severity: Literal["warning", "critical"] = "warning"


Look = Callable[[], Iterable[Problem]]


@dataclass(frozen=True, kw_only=True)
class Check:
    """A look, and where it is taken: in every tenant, or in the platform's alone."""

    look: Look
    of_platform: bool = False


checks: Registry[Check] = Registry("incident check")


def check(kind: str, *, of_platform: bool = False) -> Callable[[Look], Look]:
    """Register a look under the *kind* its incidents are stored with."""

    def add(look: Look) -> Look:
        checks.register(kind)(Check(look=look, of_platform=of_platform))
        return look

    return add


def watch(tenant_ids: Iterable[str]) -> int:
    """Look at each tenant once; return how many incidents were opened or closed."""
    return sum(look_at(tenant_id) for tenant_id in tenant_ids)


def look_at(tenant_id: str) -> int:
    """Take every look at one tenant, unless another process is doing so; return the changes."""
    with tenant_context(tenant_id, durable=True):
        if not _is_first(tenant_id):
            return 0
        return sum(_apply(kind, one) for kind, one in _checks_of(tenant_id))


def _checks_of(tenant_id: str) -> Iterator[tuple[str, Check]]:
    is_platform = tenant_id == PLATFORM_TENANT_ID
    return ((kind, checks[kind]) for kind in checks if checks[kind].of_platform == is_platform)


def _is_first(tenant_id: str) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_try_advisory_xact_lock(%s, hashtext(%s))",
            [LOOK_LOCK, str(to_uuid(tenant_id))],
        )
        return bool(cursor.fetchone()[0])


def _apply(kind: str, one: Check) -> int:
    """Compare what is wrong with what is open. A look that fails changes nothing."""
    try:
        with transaction.atomic():
            problems = {problem.subject: problem for problem in one.look()}
    except Error as error:
        if is_passing(error):
            raise
        logger.exception("an incident check failed", kind=kind)
        return 0
    known = {row.subject: row for row in Incident.objects.filter(kind=kind, closed_at=None)}
    gone = [row.pk for subject, row in known.items() if subject not in problems]
    closed = Incident.objects.filter(pk__in=gone).update(closed_at=Now()) if gone else 0
    opened = 0
    for subject, problem in problems.items():
        if subject in known:
            _see(known[subject], problem)
        else:
            opened += _open(kind, problem)
    return closed + opened


def _see(row: Incident, problem: Problem) -> None:
    """An open incident is seen again; its figures are those of now."""
    Incident.objects.filter(pk=row.pk).update(
        seen_at=Now(), title=problem.title[:200], advice=problem.advice, severity=problem.severity
    )


def _open(kind: str, problem: Problem) -> int:
    Incident.objects.create(
        kind=kind,
        subject=problem.subject[:120],
        severity=problem.severity,
        title=problem.title[:200],
        advice=problem.advice,
        path=problem.path,
    )
    logger.warning("incident", kind=kind, subject=problem.subject, title=problem.title)
    return 1
