"""Backup of the application's database into one file, and restore of a database that works.

A restore fills a new database beside the old one and swaps their names at the end, in one
transaction: until then nothing has changed, and afterwards the old one is still there.
"""

import os
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg.pq import Conninfo

from config.pg.binaries import find_tools
from config.pg.embedded import server
from config.pg.owner import OWNER_POLICY, blind_tables, give_owner_policies
from config.pg.roles import as_owner

APP_ROLE = "fairlead_app"

TABLES = """
SELECT count(*) FROM pg_class k JOIN pg_namespace n ON n.oid = k.relnamespace
WHERE k.relkind IN ('r', 'p') AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'
"""

#: Only sessions that the asking role may end; a superuser may end all.
END_SESSIONS = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = %s AND pid <> pg_backend_pid() AND pg_has_role(usesysid, 'USAGE')
"""


class ArchiveRefused(Exception):
    """A backup or restore that was not made; nothing has changed."""


@dataclass(frozen=True, kw_only=True)
class Restored:
    """What a restore did: number of tables, and the name the former database now has, if kept."""

    tables: int
    former: str | None


class Database:
    """The database of a connection's settings, as its owner."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        known = {option.keyword.decode() for option in Conninfo.get_defaults()}
        with as_owner(connection):
            params = connection.get_connection_params()
        self._params = {key: value for key, value in params.items() if key in known}
        self.name = str(self._params["dbname"])
        self.is_embedded = bool(connection.settings_dict.get("EMBEDDED"))

    def connect(self, name: str) -> psycopg.Connection[Any]:
        return psycopg.connect(**{**self._params, "dbname": name}, autocommit=True)

    def connect_to_end_sessions(self) -> psycopg.Connection[Any]:
        return server().admin() if self.is_embedded else self.connect("postgres")

    def run(self, *command: str | Path, name: str) -> None:
        """Run pg_dump or pg_restore on the database *name*; the password stays off its arguments.

        Raises:
            ArchiveRefused: It failed; the text is what it said.
        """
        params = {**self._params, "dbname": name}
        password = params.pop("password", None)
        environment = {**os.environ, **({"PGPASSWORD": str(password)} if password else {})}
        done = subprocess.run(
            [*map(str, command), f"--dbname={make_conninfo(**params)}"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        if done.returncode:
            raise ArchiveRefused(f"{Path(command[0]).name} failed: {done.stderr.strip()}")


def backup(database: Database, file: Path) -> int:
    """Write the database into *file* (pg_dump's custom format) and return its size in bytes.

    The file appears when it is whole, readable by its owner alone: it holds personal data.

    Raises:
        ArchiveRefused: It could not be written.
    """
    with database.connect(database.name) as connection:
        major = connection.info.server_version // 10000
        filtered = blind_tables(connection.cursor())
        cursor = connection.execute(
            "SELECT count(*) FROM pg_class WHERE relrowsecurity AND row_security_active(oid)"
        )
        covered = bool((cursor.fetchone() or [0])[0])
    if filtered:
        raise ArchiveRefused(
            f"The owner does not see all rows of {', '.join(filtered)}: the backup would lack "
            "them. Run `python manage.py migrate --owner-policies` first."
        )
    part = file.with_name(f"{file.name}.part")
    try:
        part.unlink(missing_ok=True)
        os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        tool = find_tools("pg_dump", at_least=major)[0]
        # An owner that sees all rows by policy must say that it means to read under policies.
        extra = ["--enable-row-security"] if covered else []
        database.run(tool, "--format=custom", *extra, f"--file={part}", name=database.name)
        part.replace(file)
    except OSError as failure:
        raise ArchiveRefused(f"{file} cannot be written: {failure.strerror}") from failure
    finally:
        part.unlink(missing_ok=True)
    return file.stat().st_size


def restore(database: Database, file: Path, *, replace: bool) -> Restored:
    """Put the database of *file* in the place of the present one.

    Args:
        database: whose content is replaced; it need not exist.
        file: what `backup` wrote.
        replace: also when there are tables; the former database is kept under another name.

    Raises:
        ArchiveRefused: The file is no backup, there are tables and *replace* is false, the roles
            are missing, or sessions that cannot be ended hold the database.
    """
    fresh, former = f"{database.name}_restoring", f"{database.name}_former"
    with database.connect("postgres") as connection:
        _refuse_without_roles(connection)
        tables = _tables_of_present(database, connection)
        if tables and not replace:
            raise ArchiveRefused(
                f"The database {database.name} has {tables} tables. With --force it is replaced; "
                f"what is in it now is kept as {former}."
            )
        tool = _reader(file, at_least=connection.info.server_version // 10000)
        _create(connection, fresh)
        try:
            restored = _fill(database, tool, file, fresh)
            _swap(database, connection, fresh, former)
        except BaseException:
            _drop(connection, fresh)
            raise
        if not tables:
            _drop(connection, former)
    return Restored(tables=restored, former=former if tables else None)


def _refuse_without_roles(connection: psycopg.Connection[Any]) -> None:
    found = connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [APP_ROLE]).rowcount
    if not found:
        raise ArchiveRefused(
            f"The role {APP_ROLE}, which a backup grants its rights to, does not exist. Make it "
            "with `python manage.py bootstrap_db --admin-url postgres://…` or CREATE ROLE."
        )


def _tables_of_present(database: Database, connection: psycopg.Connection[Any]) -> int | None:
    if not _exists(connection, database.name):
        return None
    with database.connect(database.name) as present:
        return _count_tables(present)


def _exists(connection: psycopg.Connection[Any], name: str) -> bool:
    query = "SELECT FROM pg_database WHERE datname = %s"
    return connection.execute(query, [name]).rowcount > 0


def _count_tables(connection: psycopg.Connection[Any]) -> int:
    row = connection.execute(TABLES).fetchone()
    return int(row[0]) if row else 0


def _reader(file: Path, *, at_least: int) -> Path:
    if not file.is_file():
        raise ArchiveRefused(f"There is no file {file}.")
    said = ""
    for tool in find_tools("pg_restore", at_least=at_least):
        listed = subprocess.run([tool, "--list", file], capture_output=True, text=True, check=False)
        if listed.returncode == 0:
            return tool
        said = listed.stderr.strip()
    raise ArchiveRefused(f"{file} cannot be read as a backup: {said}")


def _fill(database: Database, tool: Path, file: Path, fresh: str) -> int:
    with database.connect(fresh) as connection, tempfile.NamedTemporaryFile("w") as chosen:
        row = connection.execute("SELECT current_user").fetchone()
        owner = row[0] if row else ""
        listed = subprocess.run([tool, "--list", file], capture_output=True, text=True, check=True)
        chosen.write(_without_owner(listed.stdout, owner))
        chosen.flush()
        options = ["--no-owner", "--exit-on-error", f"--use-list={chosen.name}"]
        database.run(tool, *options, file, name=fresh)
        _grant(connection, fresh)
        give_owner_policies(connection.cursor())
        connection.execute("ANALYZE")
        return _count_tables(connection)


def _without_owner(contents: str, owner: str) -> str:
    """Leave out what names an owner that is not the owner here; it is set anew afterwards."""
    return "\n".join(
        line
        for line in contents.splitlines()
        if not (" DEFAULT ACL " in line and line.split()[-1] != owner)
        and not (" POLICY " in line and f" {OWNER_POLICY} " in line)
    )


def _grant(connection: psycopg.Connection[Any], name: str) -> None:
    role = sql.Identifier(APP_ROLE)
    for statement in (
        "GRANT CONNECT, TEMPORARY ON DATABASE {name} TO {role}",
        "GRANT USAGE ON SCHEMA public TO {role}",
        "ALTER DEFAULT PRIVILEGES IN SCHEMA public"
        " GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {role}",
        "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT USAGE, SELECT ON SEQUENCES TO {role}",
    ):
        connection.execute(sql.SQL(statement).format(name=sql.Identifier(name), role=role))


def _swap(database: Database, connection: psycopg.Connection[Any], fresh: str, former: str) -> None:
    older = f"{former}_2"
    _drop(connection, older)
    moves = [(former, older), (database.name, former), (fresh, database.name)]
    steps = [(old, new) for old, new in moves if _exists(connection, old)]
    failure: psycopg.Error | None = None
    for _ in range(3):
        with database.connect_to_end_sessions() as ender:
            ender.execute(END_SESSIONS, [database.name])
        try:
            _rename(connection, steps)
        except psycopg.errors.ObjectInUse as busy:  # somebody came back in between
            failure = busy
            time.sleep(0.1)
        else:
            _drop(connection, older)
            return
    raise ArchiveRefused(
        f"Other sessions hold the database {database.name}: stop the web and worker processes "
        "and restore again."
    ) from failure


def _create(connection: psycopg.Connection[Any], name: str) -> None:
    _drop(connection, name)
    try:
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name))
        )
    except psycopg.errors.InsufficientPrivilege as refusal:
        owner = connection.info.user
        raise ArchiveRefused(
            f"The owner, {owner}, may not make the new database. As an administrator of the server "
            f"run: ALTER ROLE {owner} CREATEDB;"
        ) from refusal


def _rename(connection: psycopg.Connection[Any], steps: Sequence[tuple[str, str]]) -> None:
    with connection.transaction():
        for old, new in steps:
            connection.execute(
                sql.SQL("ALTER DATABASE {} RENAME TO {}").format(
                    sql.Identifier(old), sql.Identifier(new)
                )
            )


def _drop(connection: psycopg.Connection[Any], name: str) -> None:
    connection.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(name)))
