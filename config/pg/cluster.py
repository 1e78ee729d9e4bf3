"""A data folder: made by initdb, configured at each start, with the roles Fairlead needs."""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import psycopg

from config.pg.account import Account, CommandFailed
from config.pg.binaries import major_version
from config.pg.places import Places

SUPERUSER = "postgres"

#: (query that finds it, statement that makes it), in order; all are run when a folder is made,
#: the missing ones at each start.
PARTS = [
    (
        "SELECT FROM pg_roles WHERE rolname = 'fairlead_owner'",
        "CREATE ROLE fairlead_owner LOGIN CREATEDB BYPASSRLS",
    ),
    (
        "SELECT FROM pg_roles WHERE rolname = 'fairlead_app'",
        "CREATE ROLE fairlead_app LOGIN",
    ),
    (  # tests flush as a replica, past append-only triggers
        "SELECT WHERE has_parameter_privilege('fairlead_owner', 'session_replication_role', 'SET')",
        "GRANT SET ON PARAMETER session_replication_role TO fairlead_owner",
    ),
    (
        "SELECT FROM pg_database WHERE datname = 'fairlead'",
        "CREATE DATABASE fairlead OWNER fairlead_owner",
    ),
]

CONFIGURATION = """\
# Written at each start of Fairlead's embedded server. Own settings: ALTER SYSTEM.
listen_addresses = ''
unix_socket_directories = '"{socket}"'
max_connections = 200
cluster_name = 'fairlead'
timezone = 'UTC'
log_timezone = 'UTC'
# A query whose client was killed ends within this time, and with it its locks.
client_connection_check_interval = '5s'
"""


def make_cluster(places: Places, binaries: Path) -> None:
    """Make the data folder with roles and database, or nothing at all.

    All is done in a folder of another name, without opening a socket, and renamed at the end:
    whoever is killed in between leaves nothing that looks like a database.
    """
    fresh = Path(tempfile.mkdtemp(prefix="pg.init-", dir=places.home))
    account = places.account
    os.chown(fresh, account.uid, account.gid)
    _initdb(account, binaries, fresh)
    write_configuration(places, binaries, fresh)
    statements = "\n".join(f"{statement};" for _, statement in PARTS)
    single: list[str | Path] = [
        binaries / "postgres",
        "--single",
        "-D",
        fresh,
        "-c",
        "exit_on_error=true",
    ]
    account.run(*single, SUPERUSER, text=statements + "\n")
    fresh.rename(places.data)
    _sync(places.home)


def clear_unfinished(places: Places) -> None:
    """Remove what killed processes left of clusters they were making; with the lock held."""
    for left in places.home.glob("pg.init-*"):
        shutil.rmtree(left, ignore_errors=True)  # an orphaned initdb may still be writing there


def _initdb(account: Account, binaries: Path, folder: Path) -> None:
    command: list[str | Path] = [
        binaries / "initdb",
        "-D",
        folder,
        "-U",
        SUPERUSER,
        "--auth=peer",
        "-E",
        "UTF8",
    ]
    if major_version(binaries / "postgres") >= 17:
        # Upper and lower case of every language, whatever locales the machine has.
        builtin = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
        account.run(*command, *builtin)
        return
    try:
        account.run(*command, "--locale=C.UTF-8")
    except CommandFailed:  # a machine without that locale
        account.run(*command, "--locale=C")


def write_configuration(places: Places, binaries: Path, folder: Path) -> None:
    """Write settings and access rules into a data folder.

    The socket may be reachable for every account of the machine, so who may log in is decided by
    the account the kernel reports (peer): root, the server's, and the owner of the checkout, as
    any role. Nobody else, and nobody over the network.
    """
    roles = ["all"]
    if major_version(binaries / "postgres") < 16:  # does not know "all" there
        roles = [SUPERUSER, "fairlead_owner", "fairlead_app"]
    socket = str(places.sock).replace("'", "''").replace('"', '""')
    texts = {
        "fairlead.conf": CONFIGURATION.format(socket=socket),
        "pg_hba.conf": "local all all peer map=fairlead\n",
        "pg_ident.conf": "".join(
            f'fairlead "{client}" {role}\n' for client in places.clients() for role in roles
        ),
    }
    main = (folder / "postgresql.conf").read_text()
    if "fairlead.conf" not in main:
        texts["postgresql.conf"] = f"{main}\ninclude 'fairlead.conf'\n"
    for name, text in texts.items():
        _write(folder / name, text, places.account)


def add_missing_parts(connection: psycopg.Connection[Any]) -> None:
    """Create what of roles, grants and database is not there; the superuser's connection."""
    for query, statement in PARTS:
        if connection.execute(query).rowcount == 0:
            connection.execute(statement)


def _write(path: Path, text: str, account: Account) -> None:
    # The folder is the account's: through a link left there, root would overwrite its target.
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(text)
        os.fchown(handle, account.uid, account.gid)
    fresh.replace(path)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
