"""Private embedded servers: real ones, in folders of their own, gone after the test."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from django.db import connections

from config.pg.base import DatabaseWrapper
from config.pg.embedded import Server, server
from config.pg.places import locate


@contextmanager
def in_use(base: Path) -> Iterator[Server]:
    """Yield the server of *base*, which is the one that `server()` returns meanwhile."""
    server.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FAIRLEAD_DATA_DIR", str(base))
        yield server()
    server.cache_clear()


@contextmanager
def private_server(base: Path) -> Iterator[Server]:
    """As `in_use`, and nothing of the server is left afterwards."""
    try:
        with in_use(base) as own:
            yield own
    finally:
        server.cache_clear()
        found = Server(locate(base))
        if found.data.exists():
            found.stop()
        for place in {found.places.home, found.sock, base}:
            shutil.rmtree(place, ignore_errors=True)


@contextmanager
def folder(mode: int = 0o755) -> Iterator[Path]:
    # Not tmp_path: that is 0700, which for root is a case of its own.
    path = Path(tempfile.mkdtemp(prefix="fairlead-test-"))
    path.chmod(mode)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def fresh_server(django_db_blocker) -> Iterator[Server]:
    """A server that does not exist yet."""
    with django_db_blocker.unblock(), folder() as path, private_server(path / "var") as own:
        yield own


@pytest.fixture(scope="session")
def _shared_base() -> Iterator[Path]:
    with folder() as path:
        base = path / "var"
        yield base
        Server(locate(base)).stop()


@pytest.fixture
def running_server(_shared_base, django_db_blocker) -> Iterator[Server]:
    """A server that runs, shared by all tests; each leaves it as it was."""
    with django_db_blocker.unblock(), in_use(_shared_base) as own:
        own.ensure()
        yield own


@pytest.fixture
def connect() -> Iterator[Callable[..., DatabaseWrapper]]:
    """Make Django connections to the embedded server of the moment; closed after the test."""
    made: list[DatabaseWrapper] = []

    def make(**settings: object) -> DatabaseWrapper:
        defaults = {
            **connections["default"].settings_dict,
            "NAME": "fairlead",
            "USER": "fairlead_app",
            "PASSWORD": "",
            "HOST": "",
            "PORT": "",
            "OPTIONS": {},
            "OWNER": {"user": "fairlead_owner"},
            "ROLE": None,
            "EMBEDDED": True,
        }
        made.append(DatabaseWrapper({**defaults, **settings}, alias="private"))
        return made[-1]

    yield make
    for connection in made:
        connection.close()
