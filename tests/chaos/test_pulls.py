"""A reader of a vendor's list, killed at every point and between any two pages."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
from django.conf import settings
from django.db import connection

from integrations.models import PullSweep
from tests.chaos.test_faultpoints import arm, points_of
from tests.integrations.pull_world import make_pull_world

__all__ = ["arm"]

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.chaos]

PULL = """
import sys, django
django.setup()
from integrations.pulls import pull
pull(sys.argv[1], sys.argv[2])
"""


@pytest.fixture
def world(committed_office, carrier, settings, tmp_path):
    settings.FAIRLEAD_OBJECT_DIR = tmp_path / "objects"
    return make_pull_world(committed_office, carrier)


def read_elsewhere(world, query, arm):
    """Read in a process of its own; return how it ended."""
    return subprocess.run(
        [sys.executable, "-c", PULL, world.tenant_id, query.pk],
        cwd=settings.BASE_DIR,
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "DB_NAME": connection.settings_dict["NAME"],
            **arm.environment,
        },
        capture_output=True,
        timeout=60,
        check=False,
    ).returncode


@pytest.mark.parametrize("point", points_of("pulls"))
def test_fault_32_kill_9_of_a_reader_while_the_vendor_inserts(world, arm, point):
    query = world.query(page_size=120)
    sweep = world.start(query)
    world.read(query, stop=Turns(1))

    for _ in range(3):  # three readers die, each at its first page
        arm(point)
        assert read_elsewhere(world, query, arm) == -signal.SIGKILL
        assert arm.was_hit()
        world.insert(7)
        world.drop_lease(sweep)
    done = world.read(query)
    later = world.sweep(query)

    assert done.status == later.status == "closed"
    assert world.fetched() == world.closed() == world.listed()
    assert world.ledger() == world.invoice() == len(world.listed()) * 10
    with world.inside():
        assert PullSweep.objects.count() == 2


class Turns:
    """Lets a reader take so many pages."""

    def __init__(self, pages):
        self.left = pages

    def is_set(self):
        self.left -= 1
        return self.left < 0

    def wait(self, _):
        return False
