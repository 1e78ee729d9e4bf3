"""Connections and threads of a test's own, beside Django's."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import psycopg
import pytest
from django.db import DatabaseError, connection, transaction

from config.pg.roles import owner_mode
from tenants.ulids import to_uuid

T = TypeVar("T")


def parameters(*, as_owner: bool = False) -> dict[str, Any]:
    """Return what a connection to the test database needs, as the app or as the owner."""
    token = owner_mode.set(as_owner)
    try:
        params = connection.get_connection_params()
    finally:
        owner_mode.reset(token)
    return {name: value for name, value in params.items() if name in _CONNECTING}


_CONNECTING = {"dbname", "user", "password", "host", "port", "options", "connect_timeout"}


@contextmanager
def connected(*, as_owner: bool = False, tenant: str = "") -> Iterator[psycopg.Connection]:
    """Open a connection; rolled back at the end, and bound to a tenant when one is named."""
    with psycopg.connect(**parameters(as_owner=as_owner)) as own:
        if tenant:
            enter(own, tenant)
        yield own
        own.rollback()


def enter(own: psycopg.Connection, tenant: str) -> None:
    """Bind the open transaction of *own* to a tenant."""
    own.execute("SELECT set_config('app.tenant_id', %s, true)", [str(to_uuid(tenant))])


def rows(sql: str, *args: Any) -> list[tuple]:
    """Ask on Django's own connection."""
    with connection.cursor() as cursor:
        cursor.execute(sql, list(args) or None)
        return cursor.fetchall()


def refused(sentence: str, arguments: Any = None) -> str:
    """Run one sentence as the app, up to its commit; return how the database refused it.

    The name of the constraint it broke, or the error code where there is none.
    """
    with pytest.raises(DatabaseError) as caught:
        _run_to_commit(sentence, arguments)
    cause = caught.value.__cause__
    assert isinstance(cause, psycopg.Error)
    return str(cause.diag.constraint_name or cause.sqlstate)


def _run_to_commit(sentence: str, arguments: Any) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(sentence, arguments)
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")


def at_once(jobs: Sequence[Callable[[], T]]) -> list[T | BaseException]:
    """Run every job in a thread of its own, from one starting gun; return results in order.

    Each thread has its own Django connection, closed at its end. What a job raises is its result.
    """
    barrier = threading.Barrier(len(jobs))
    results: list[Any] = [None] * len(jobs)

    def run(place: int, job: Callable[[], T]) -> None:
        try:
            barrier.wait()
            results[place] = job()
        except BaseException as error:
            results[place] = error
        finally:
            connection.close()

    threads = [
        threading.Thread(target=run, args=(place, job), daemon=True)
        for place, job in enumerate(jobs)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads), "a thread hangs"
    return results


def until_somebody_waits(seconds: float = 5.0) -> None:
    """Return as soon as another session waits for a lock that this one may hold."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if rows("SELECT FROM pg_locks WHERE NOT granted AND pid <> pg_backend_pid()"):
            return
        time.sleep(0.01)
    raise AssertionError("nobody waits")
