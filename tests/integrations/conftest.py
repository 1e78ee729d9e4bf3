"""A tenant with accounts at the data vendors that the sandbox plays."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from integrations.sandbox.server import running
from tests.conftest import Office
from tests.integrations.waterfall_world import World, make_world


@pytest.fixture(scope="module")
def _vendors() -> Iterator[httpx.Client]:
    with running() as url, httpx.Client(base_url=url, trust_env=False, timeout=10) as client:
        yield client


@pytest.fixture
def world(office: Office, _vendors: httpx.Client) -> World:
    _vendors.post("/_control/reset")
    return make_world(office, _vendors)
