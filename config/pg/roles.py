"""Which database role this thread acts as: `app`, unless it says `with as_owner(connection)`."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from django.db.backends.base.base import BaseDatabaseWrapper

owner_mode: ContextVar[bool] = ContextVar("owner_mode", default=False)


@contextmanager
def as_owner(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """Reconnect as the owner of the tables, and as the app again afterwards; nests.

    Raises:
        RuntimeError: A transaction is open; it would be lost with the connection.
    """
    if owner_mode.get():
        yield
        return
    if connection.in_atomic_block:
        raise RuntimeError("as_owner() needs a connection outside a transaction")
    connection.close()
    token = owner_mode.set(True)
    try:
        yield
    finally:
        connection.close()
        owner_mode.reset(token)
