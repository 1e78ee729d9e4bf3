"""The one door: a transaction that belongs to one tenant."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from typing import Any

from django.db import InterfaceError, OperationalError, connection, transaction
from psycopg.pq import TransactionStatus
from rest_framework.response import Response
from rest_framework.views import exception_handler as drf_handler

from tenants.ulids import to_uuid

_tenant: ContextVar[str | None] = ContextVar("tenant", default=None)


class SwallowedDatabaseError(Exception):
    """A database error was caught and hidden: the transaction can only be rolled back."""


def current_tenant_id() -> str | None:
    """Return ``tenant_…`` of the running transaction, or None outside of any."""
    return _tenant.get()


def database_now() -> datetime:
    """Return the database's time: a worker's own clock decides nothing."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        moment: datetime = cursor.fetchone()[0]
    return moment


def broken() -> bool:
    """Tell whether the open transaction can only be rolled back.

    PostgreSQL answers COMMIT of such a transaction with a quiet ROLLBACK; without this question
    people would be told "saved" when nothing was.
    """
    raw = connection.connection
    return connection.needs_rollback or (
        raw is not None and raw.info.transaction_status == TransactionStatus.INERROR
    )


def is_passing(error: BaseException) -> bool:
    """Tell whether an error is the database's trouble of the moment, and no fault of the work.

    A lost connection, a restart, a deadlock, too many connections: the same may well succeed a
    little later. A statement that ran into its time limit is not among them.
    """
    if isinstance(error, InterfaceError):
        return True
    if not isinstance(error, OperationalError):
        return False
    state: str | None = getattr(error.__cause__, "sqlstate", None)
    return state is None or state == "55P03" or state.startswith(("08", "40", "53", "57P"))


@contextmanager
def tenant_context(tenant_id: str, *, durable: bool = False) -> Iterator[None]:
    """Open a transaction in which only the rows of *tenant_id* exist.

    It nests, and gives the outer tenant back.

    Args:
        tenant_id: ``tenant_…``.
        durable: refuse to nest: the block's end is the commit. For drains and tasks.

    Raises:
        SwallowedDatabaseError: a durable block hid a database error; all was rolled back.
    """
    before, nested = _tenant.get(), connection.in_atomic_block
    with transaction.atomic(durable=durable):
        _set_tenant(str(to_uuid(tenant_id)))
        token = _tenant.set(tenant_id)
        try:
            yield
            if durable and broken():
                raise SwallowedDatabaseError("a database error was swallowed; rolled back")
            if nested and not broken():  # SET LOCAL outlives a released savepoint
                _set_tenant(str(to_uuid(before)) if before else "")
        finally:
            _tenant.reset(token)


def _set_tenant(value: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('app.tenant_id', %s, true)", [value])


def exception_handler(error: Exception, context: Any) -> Response | None:
    """DRF turns exceptions into answers itself: what was half written must go all the same."""
    if connection.in_atomic_block:
        transaction.set_rollback(True)
    return drf_handler(error, context)
