"""Flights: which work a process does right now, so that its death over one event is noticed.

A drain process notes its flight by a connection of its own, committed before the work begins, and
ends it in the work's own transaction. A flight that covers work somebody else could lock is that
of a process that died: a strike for each of its events. See docs/adr/0011.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import psycopg
import structlog
from django.db import Error, connection
from psycopg import pq

from integrations.models import WorkEvent
from leads.actions import owner
from tenants.ulids import new_uuid

#: Deaths over one event before it is withheld.
MAX_STRIKES = 3
#: Why it is.
STRUCK_OUT = f"its process died {MAX_STRIKES} times"

logger = structlog.get_logger(__name__)


class FlightLog:
    """Notes the flights of one process, by one connection that does nothing else.

    Not for threads: each loop has its own.
    """

    def __init__(self) -> None:
        self._connection: psycopg.Connection[Any] | None = None

    @contextmanager
    def flight(self, seqs: Sequence[int]) -> Iterator[None]:
        """Do the work *seqs*, locked by the open transaction, as one flight.

        Raises:
            django.db.Error: the database is away; the work is not begun.
        """
        flight, tenant = new_uuid(), owner()
        self._say("SELECT flight_begin(%s, %s, %s::bigint[])", [tenant, flight, list(seqs)])
        try:
            yield
            with connection.cursor() as cursor:
                cursor.execute("SELECT flight_end(%s, %s)", [tenant, flight])
        except BaseException:
            # Before the locks are gone: later it would look as if this process had died.
            self._take_back(tenant, flight)
            raise

    def close(self) -> None:
        """Give the connection back."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _take_back(self, tenant: str, flight: UUID) -> None:
        try:
            self._say("SELECT flight_cancel(%s, %s)", [tenant, flight])
        except Error:  # with the database away, a strike too many is the smaller trouble
            logger.warning("a flight could not be taken back", exc_info=True)

    def _say(self, sentence: str, arguments: list[Any]) -> None:
        with connection.wrap_database_errors:
            try:
                self._open().execute(sentence, arguments)
            except psycopg.OperationalError:
                self.close()  # it may have been idle through a restart
                self._open().execute(sentence, arguments)

    def _open(self) -> psycopg.Connection[Any]:
        if self._connection is None or self._connection.closed:
            keys = {option.keyword.decode() for option in pq.Conninfo.get_defaults()}
            given = connection.get_connection_params()
            parameters = {key: value for key, value in given.items() if key in keys}
            parameters |= {"connect_timeout": 5, "application_name": "fairlead flights"}
            self._connection = psycopg.connect(**parameters, autocommit=True)
        return self._connection


def count_strikes(seqs: Sequence[int]) -> bool:
    """Count a strike for each of these claimed rows that a dead process was doing.

    Rows with too many are withheld. Returns whether there was any: then the caller commits before
    it does anything else, so that the count outlives its own death.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT seq, strikes FROM dead_flights(%s, %s)", [owner(), list(seqs)])
        struck = cursor.fetchall()
    out = [seq for seq, strikes in struck if strikes >= MAX_STRIKES]
    for seq, strikes in struck:
        logger.warning("a process died over an event", work=seq, strikes=strikes)
        WorkEvent.objects.create(work=seq, what="struck", reason=f"strike {strikes}")
    for seq in out:
        WorkEvent.objects.create(work=seq, what="quarantine", reason=STRUCK_OUT)
    if out:
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE webhook_work SET state = 'quarantined', last_error = %s"
                " WHERE tenant_id = %s AND seq = ANY(%s)",
                [STRUCK_OUT, owner(), out],
            )
    return bool(struck)
