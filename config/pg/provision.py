"""Fairlead's two logins and its database, on a PostgreSQL server of one's own."""

import contextlib
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit

import psycopg
from psycopg import sql

from config.pg.binaries import OLDEST_MAJOR

APP_ROLE, OWNER_ROLE = "fairlead_app", "fairlead_owner"

#: Stands in a printed URL for the password of a role that was there before.
UNCHANGED = "PASSWORD-AS-BEFORE"

NO_BYPASS = (
    f"This administrator may not give BYPASSRLS, so {OWNER_ROLE} is bound by forced row-level "
    "security. `python manage.py migrate` makes up for it with a policy for the owner on every "
    f"table that it creates; nothing else is needed. (ALTER ROLE {OWNER_ROLE} BYPASSRLS, by "
    "somebody who may, is simpler.)"
)
NO_CREATEDB = (
    f"This administrator may not give CREATEDB: `manage.py db restore` and tests, which make "
    f"databases as {OWNER_ROLE}, do not work on this server."
)
REFUSALS = {"BYPASSRLS": NO_BYPASS, "CREATEDB": NO_CREATEDB}
NO_PARAMETER = (
    f"This administrator may not grant SET ON PARAMETER session_replication_role to {OWNER_ROLE}: "
    "only tests need it."
)


class ProvisionRefused(Exception):
    """The server cannot be used, or not by this administrator; the text says what to do."""


@dataclass(kw_only=True)
class Provisioned:
    """What to set in the environment, and what the server did not allow."""

    database_url: str = ""
    owner_url: str = ""
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Login:
    """A role to be; *password* None keeps the one it has, or makes one up for a new role."""

    role: str
    password: str | None
    wants: tuple[str, ...] = ()


def provision(
    admin_url: str, *, database: str, owner_password: str | None, app_password: str | None
) -> Provisioned:
    """Make or complete both roles, their grants and the database; repeatable.

    Raises:
        ProvisionRefused: The server is too old, cannot be reached, or refuses what is needed.
    """
    done = Provisioned()
    if urlsplit(admin_url).scheme not in ("postgres", "postgresql"):
        raise ProvisionRefused("The administrator's URL begins with postgres://")
    try:
        with psycopg.connect(admin_url, autocommit=True) as admin:
            _refuse_old(admin)
            owner = Login(role=OWNER_ROLE, password=owner_password, wants=("CREATEDB", "BYPASSRLS"))
            owner_secret = _make_login(admin, owner, done)
            app_secret = _make_login(admin, Login(role=APP_ROLE, password=app_password), done)
            _grant_parameter(admin, done)
            _make_database(admin, database)
    except psycopg.Error as failure:
        raise ProvisionRefused(f"The server refused: {failure}") from failure
    done.database_url = _url(admin_url, APP_ROLE, app_secret, database)
    done.owner_url = _url(admin_url, OWNER_ROLE, owner_secret, database)
    done.notes += _failed_logins(done)
    return done


def _refuse_old(admin: psycopg.Connection[Any]) -> None:
    if admin.info.server_version < OLDEST_MAJOR * 10000:
        raise ProvisionRefused(
            f"The server is PostgreSQL {admin.info.server_version // 10000}; Fairlead needs "
            f"{OLDEST_MAJOR} or newer."
        )


def _make_login(admin: psycopg.Connection[Any], login: Login, done: Provisioned) -> str | None:
    """Make or complete one role and return its password, or None for the one it already has."""
    found = admin.execute(
        "SELECT rolsuper, rolbypassrls, rolcreatedb FROM pg_roles WHERE rolname = %s", [login.role]
    ).fetchone()
    is_super, bypasses, creates = found or (False, False, False)
    if login.role == APP_ROLE and (is_super or bypasses):
        raise ProvisionRefused(
            f"The role {APP_ROLE} exists and bypasses row-level security. Run "
            f"ALTER ROLE {APP_ROLE} NOSUPERUSER NOBYPASSRLS as a superuser first."
        )
    verb = "ALTER" if found else "CREATE"
    admin.execute(sql.SQL(verb + " ROLE {} LOGIN").format(sql.Identifier(login.role)))
    has = {"BYPASSRLS": is_super or bypasses, "CREATEDB": is_super or creates}
    for right in login.wants:
        if not has[right]:
            _give(admin, login.role, right, done)
    password = login.password or (None if found else secrets.token_urlsafe(24))
    if password:
        _set_password(admin, login.role, password)
    return password


def _give(admin: psycopg.Connection[Any], role: str, right: str, done: Provisioned) -> None:
    try:
        admin.execute(sql.SQL("ALTER ROLE {} " + right).format(sql.Identifier(role)))
    except psycopg.errors.InsufficientPrivilege:
        done.notes.append(REFUSALS[right])


def _set_password(admin: psycopg.Connection[Any], role: str, password: str) -> None:
    # Hashed here: the server's log may show the statement.
    hashed = admin.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256")
    statement = sql.SQL("ALTER ROLE {} PASSWORD {}")
    admin.execute(statement.format(sql.Identifier(role), sql.Literal(hashed.decode())))


def _grant_parameter(admin: psycopg.Connection[Any], done: Provisioned) -> None:
    try:
        admin.execute(f"GRANT SET ON PARAMETER session_replication_role TO {OWNER_ROLE}")
    except psycopg.errors.InsufficientPrivilege:
        done.notes.append(NO_PARAMETER)


def _make_database(admin: psycopg.Connection[Any], database: str) -> None:
    row = admin.execute(
        "SELECT pg_get_userbyid(datdba), pg_encoding_to_char(encoding)"
        " FROM pg_database WHERE datname = %s",
        [database],
    ).fetchone()
    if row and row[1] != "UTF8":
        raise ProvisionRefused(
            f"The database {database} is encoded in {row[1]}. Name another with --database."
        )
    with contextlib.suppress(
        psycopg.errors.InsufficientPrivilege, psycopg.errors.InvalidGrantOperation
    ):
        # Only who may become a role can make it the owner of something; superusers may anyway.
        admin.execute(f"GRANT {OWNER_ROLE} TO CURRENT_USER")
    name = sql.Identifier(database)
    if not row:
        statement = "CREATE DATABASE {} OWNER {} ENCODING 'UTF8' TEMPLATE template0"
        admin.execute(sql.SQL(statement).format(name, sql.Identifier(OWNER_ROLE)))
    elif row[0] != OWNER_ROLE:
        admin.execute(
            sql.SQL("ALTER DATABASE {} OWNER TO {}").format(name, sql.Identifier(OWNER_ROLE))
        )
    admin.execute(
        sql.SQL("GRANT CONNECT, TEMPORARY ON DATABASE {} TO {}").format(
            name, sql.Identifier(APP_ROLE)
        )
    )


def _url(admin_url: str, role: str, password: str | None, database: str) -> str:
    """The same host and options, another login. UNCHANGED stands for a password not known here."""
    parts = urlsplit(admin_url)
    host = parts.netloc.rpartition("@")[2]
    secret = quote(password, safe="") if password else UNCHANGED
    query = f"?{parts.query}" if parts.query else ""
    return f"postgres://{role}:{secret}@{host}/{quote(database, safe='')}{query}"


def _failed_logins(done: Provisioned) -> Iterator[str]:
    """Try what will be printed: pg_hba.conf may not let the new logins in."""
    for url in (done.database_url, done.owner_url):
        if UNCHANGED in url:
            continue
        try:
            psycopg.connect(url, connect_timeout=10).close()
        except psycopg.OperationalError as failure:
            role = urlsplit(url).username
            yield f"{role} cannot log in from here yet: {failure}"
