"""A database with a big tenant and a small one, made once and kept for the benchmarks that need it.

``python benchmarks/seed.py [--leads 1000000] [--messages 10000000]``. The small tenant has a
hundredth of the leads. What is made is told by the database's comment; one that was not finished is
made anew. Needs a superuser, such as that of the embedded server.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass

LEADS = int(os.environ.get("BENCH_LEADS", "1000000"))
MESSAGES = int(os.environ.get("BENCH_MESSAGES", str(10 * LEADS)))
SMALL = 10_000


def _arguments() -> tuple[int, int]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--leads", type=int, default=LEADS)
    parser.add_argument("--messages", type=int)
    given = parser.parse_args()
    messages = 10 * given.leads if given.messages is None else given.messages
    return given.leads, MESSAGES if given.leads == LEADS and given.messages is None else messages


if __name__ == "__main__":
    LEADS, MESSAGES = _arguments()
#: common.py takes the database's name from here, whoever imports this module before it.
os.environ["BENCH_DATABASE"] = f"fairlead_big_{LEADS}_{MESSAGES}"

import psycopg  # noqa: E402
from common import DATABASE, FINGERPRINT, connection, note, report  # noqa: E402
from django.core.management import call_command  # noqa: E402
from filling import Filled, counts, fill, verify  # noqa: E402
from world import OURS, make_world  # noqa: E402

from config.pg.embedded import server  # noqa: E402
from config.pg.roles import as_owner  # noqa: E402
from tenants.models import Tenant  # noqa: E402
from tenants.ulids import to_uuid  # noqa: E402


@dataclass(frozen=True, kw_only=True)
class Big:
    """The two tenants of the big database."""

    big: Tenant
    small: Tenant


def ensure() -> Big:
    """Return the tenants of the big database, making it when it is missing or of another schema."""
    done = f"schema {FINGERPRINT}"
    with as_owner(connection), connection._nodb_cursor() as cursor:
        cursor.execute(
            "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s",
            [DATABASE],
        )
        found = cursor.fetchone()
        if found is not None and found[0] != done:
            cursor.execute(f'DROP DATABASE "{DATABASE}"')
        if found is None or found[0] != done:
            cursor.execute(f'CREATE DATABASE "{DATABASE}"')
    if found is None or found[0] != done:
        _make()
        with as_owner(connection), connection._nodb_cursor() as cursor:
            cursor.execute(f"COMMENT ON DATABASE \"{DATABASE}\" IS '{done}'")
    names = {name: Tenant.objects.get(slug__startswith=f"{name}-") for name in ("big", "small")}
    return Big(**names)


@contextmanager
def superuser():
    """A session of the superuser in the big database, in autocommit mode."""
    connection.ensure_connection()
    with server().admin(DATABASE) as own:
        yield own


def _make() -> None:
    began = time.monotonic()
    call_command("migrate", verbosity=0, interactive=False)
    for number, (name, leads, messages) in enumerate(
        [("big", LEADS, MESSAGES), ("small", min(SMALL, LEADS), min(10 * SMALL, MESSAGES))]
    ):
        world = make_world(name)
        what = Filled(
            tenant=str(to_uuid(world.tenant.pk)),
            phone_number=str(to_uuid(world.number.pk)),
            our_number=OURS,
            number=number,
            leads=leads,
            messages=messages,
        )
        with superuser() as own:
            fill(own, what, say=note)
    with superuser() as own:
        own.execute("VACUUM (ANALYZE)")
    note(f"{DATABASE} made in {time.monotonic() - began:.0f} s")


def main() -> bool:
    began = time.monotonic()
    made = ensure()
    took = time.monotonic() - began
    with superuser() as own:
        found = counts(own, str(to_uuid(made.big.pk)))
        checked = verify(own) if LEADS <= 10_000 else 0
    whole = found["leads"] == LEADS and found["messages"] == MESSAGES
    return report(
        "seed",
        value=took,
        unit="s",
        against="rows written",
        ratio=sum(found.values()) / max(took, 0.001),
        bar="10 M messages in minutes",
        ok=whole,
        rows=found,
        references_checked=checked,
    )


if __name__ == "__main__":
    try:
        sys.exit(not main())
    except psycopg.Error as error:
        sys.exit(f"{error}")
