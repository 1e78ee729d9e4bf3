"""A process that buys dies at every point there is: nobody is paid twice, and no lead is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from django.conf import settings
from django.db import connection

from integrations.sandbox.server import running
from tests.chaos.test_faultpoints import points_of
from tests.integrations.waterfall_world import make_world

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.chaos]

WORK = """
import django
django.setup()
from integrations.waterfall_work import work
work({tenant!r}, at_once=0)
"""


@pytest.fixture
def world(committed_office):
    with running() as url, httpx.Client(base_url=url, trust_env=False, timeout=10) as client:
        yield make_world(committed_office, client)


def run_worker(world, folder: Path) -> int:
    """Work in a process of its own; return how it ended."""
    environment = os.environ | {
        "FAIRLEAD_ENV": "test",
        "FAIRLEAD_FAULTPOINTS": str(folder),
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "DB_NAME": connection.settings_dict["NAME"],
    }
    return subprocess.run(
        [sys.executable, "-c", WORK.format(tenant=world.tenant_id)],
        cwd=settings.BASE_DIR,
        env=environment,
        timeout=60,
        check=False,
    ).returncode


@pytest.mark.parametrize("point", points_of("waterfall"))
def test_who_dies_while_buying_is_paid_for_once(world, tmp_path, point):
    world.only("melissa")
    lead = world.lead()
    world.start(lead)
    (tmp_path / point).touch()

    assert run_worker(world, tmp_path) == -signal.SIGKILL
    assert not (tmp_path / point).exists()
    billed = world.invoice()
    world.let_pass()
    assert run_worker(world, tmp_path) == 0

    if point == "waterfall.before_reserve_commit":  # nothing was written, so it is asked now
        assert (world.enrichment(lead).state, world.calls(), world.invoice()) == ("done", 1, 5)
        return
    assert (world.calls(), world.invoice()) == (1, billed)
    assert billed == (5 if "after_call" in point or "record" in point else 0)
    assert (world.enrichment(lead).state, world.spent()) == ("held", 0)  # a person settles it
