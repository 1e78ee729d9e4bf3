"""`manage.py db`, `migrate` and `bootstrap_db`, on real servers."""

import stat
from io import StringIO
from urllib.parse import urlsplit

import psycopg
import pytest
from django.core.management import CommandError, call_command

from config.pg.owner import blind_tables, give_owner_policies
from config.pg.roles import as_owner
from tenants.management.commands import bootstrap_db, db, migrate

#: What migrations make, small: forced row security, an append-only table, grants, a sequence.
SCHEMA = """
CREATE ROLE reader;
SET ROLE fairlead_owner;
GRANT USAGE ON SCHEMA public TO fairlead_app;
ALTER DEFAULT PRIVILEGES IN SCHEMA public
    GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO fairlead_app;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT USAGE, SELECT ON SEQUENCES TO fairlead_app;
CREATE TABLE notes (id bigserial PRIMARY KEY, tenant_id int NOT NULL, body text);
ALTER TABLE notes ENABLE ROW LEVEL SECURITY;
ALTER TABLE notes FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON notes
    USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::int);
CREATE TABLE history (what text);
REVOKE UPDATE, DELETE ON history FROM fairlead_app;
INSERT INTO notes (tenant_id, body) VALUES (1, 'of one'), (2, 'of two');
"""

LEAVE_NOTHING = """
DROP OWNED BY fairlead_owner CASCADE;
DROP ROLE IF EXISTS reader;
"""


@pytest.fixture
def run(connect, monkeypatch):
    """Run a command of ours on a connection of its own and return what it prints."""
    connection = connect()
    monkeypatch.setattr(db, "connection", connection)
    monkeypatch.setattr(migrate, "connections", {"default": connection})

    def call(module, *words, **options) -> str:
        out = StringIO()
        call_command(module.Command(), *words, stdout=out, stderr=out, **options)
        return out.getvalue()

    call.connection = connection
    return call


@pytest.fixture
def notes(running_server):
    with running_server.admin("fairlead") as admin:
        admin.execute(SCHEMA)
    yield
    with running_server.admin() as admin:
        admin.execute("DROP DATABASE IF EXISTS fairlead_former")
    with running_server.admin("fairlead") as admin:
        admin.execute(LEAVE_NOTHING)
        admin.execute("GRANT ALL ON SCHEMA public TO pg_database_owner")


def bodies(connection, tenant: int) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('app.tenant_id', %s, false)", [str(tenant)])
        cursor.execute("SELECT body FROM notes ORDER BY id")
        return [body for (body,) in cursor.fetchall()]


def test_start_stop_and_status_say_what_is(running_server, run):
    assert "The database is stopped." in run(db, "stop")
    assert "was not running" in run(db, "stop")
    assert "is not running" in run(db, "status")

    assert "is running, pid" in run(db, "start")
    assert str(running_server.data) in run(db, "status")


def test_a_server_of_ones_own_is_not_started_or_stopped(running_server, run):
    run.connection.settings_dict.update(
        {"EMBEDDED": False, "HOST": str(running_server.sock), "PORT": "5432"}
    )

    for action in ("start", "stop"):
        with pytest.raises(CommandError, match="DATABASE_URL is set"):
            run(db, action)
    assert "(DATABASE_URL)" in run(db, "status")


def test_a_backup_restores_rows_grants_and_row_security(
    running_server, run, connect, notes, tmp_path
):
    file = tmp_path / "all.dump"

    assert "all.dump" in run(db, "backup", str(file))

    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    app = connect()
    with running_server.admin("fairlead") as admin:
        admin.execute("DELETE FROM notes")
    assert bodies(app, 1) == []

    # The app stays connected: its session is ended and its next one finds the restored rows.
    assert "kept as fairlead_former" in run(db, "restore", str(file), "--force")

    app.close()
    assert bodies(app, 1) == ["of one"]
    assert bodies(app, 2) == ["of two"]
    with app.cursor() as cursor:
        cursor.execute("INSERT INTO notes (tenant_id, body) VALUES (2, 'more') RETURNING id")
        assert cursor.fetchone() == (3,)
    with app.cursor() as cursor, pytest.raises(Exception, match="permission denied"):
        cursor.execute("DELETE FROM history")
    with as_owner(app), app.cursor() as cursor:  # default privileges came along
        cursor.execute("CREATE TABLE later (id int)")
        cursor.execute("SELECT has_table_privilege('fairlead_app', 'later', 'INSERT')")
        assert cursor.fetchone() == (True,)
        cursor.execute("SELECT tableowner FROM pg_tables WHERE tablename = 'notes'")
        assert cursor.fetchone() == ("fairlead_owner",)


def test_a_second_restore_replaces_the_kept_database_only(running_server, run, notes, tmp_path):
    file = str(tmp_path / "all.dump")
    run(db, "backup", file)

    for _ in range(2):
        run(db, "restore", file, force=True)

    with running_server.admin() as admin:
        names = admin.execute(
            "SELECT datname FROM pg_database WHERE datname ~ 'fairlead' ORDER BY 1"
        )
        assert names.fetchall() == [("fairlead",), ("fairlead_former",)]


def test_a_restore_over_tables_needs_force_and_changes_nothing(run, connect, notes, tmp_path):
    file = tmp_path / "all.dump"
    run(db, "backup", str(file))

    with pytest.raises(CommandError, match=r"has 2 tables\. With --force"):
        run(db, "restore", str(file))

    assert bodies(connect(), 1) == ["of one"]


def test_a_file_that_is_no_backup_is_refused_and_changes_nothing(
    running_server, run, connect, notes, tmp_path
):
    file = tmp_path / "all.dump"
    file.write_text("no backup")

    with pytest.raises(CommandError, match="cannot be read as a backup"):
        run(db, "restore", str(file), force=True)

    file.write_bytes(b"")
    run(db, "backup", str(file))
    file.write_bytes(file.read_bytes()[:-20])  # the contents can be listed, the data not
    with pytest.raises(CommandError, match="pg_restore failed"):
        run(db, "restore", str(file), force=True)

    assert bodies(connect(), 1) == ["of one"]
    with running_server.admin() as admin:
        left = admin.execute("SELECT FROM pg_database WHERE datname LIKE '%restoring'").rowcount
        assert left == 0


def test_a_backup_of_another_owner_is_restored_for_the_owner_here(
    running_server, run, connect, notes, tmp_path
):
    file = str(tmp_path / "all.dump")
    with running_server.admin("fairlead") as admin:
        admin.execute("CREATE POLICY owner_sees_all ON notes TO fairlead_owner USING (true)")
        run(db, "backup", file)
        admin.execute("CREATE ROLE other LOGIN CREATEDB")
        admin.execute("CREATE DATABASE elsewhere OWNER other")
    try:
        settings = {"NAME": "elsewhere", "OWNER": {"user": "other"}}
        run.connection.settings_dict.update(settings)

        assert "elsewhere is restored, with 2 tables" in run(db, "restore", file)

        assert bodies(connect(**settings), 1) == ["of one"]
        with as_owner(run.connection), run.connection.cursor() as cursor:
            assert blind_tables(cursor) == []
            cursor.execute("CREATE TABLE later (id int)")
            cursor.execute("SELECT has_table_privilege('fairlead_app', 'later', 'INSERT')")
            assert cursor.fetchone() == (True,)
        with running_server.admin() as admin:
            admin.execute("ALTER ROLE other NOCREATEDB")
        with pytest.raises(CommandError, match="ALTER ROLE other CREATEDB"):
            run(db, "restore", file, force=True)
    finally:
        with running_server.admin() as admin:
            admin.execute("DROP DATABASE elsewhere WITH (FORCE)")
            admin.execute("DROP ROLE other")


def test_a_backup_that_cannot_be_written_leaves_no_file(run, notes, tmp_path):
    with pytest.raises(CommandError, match="cannot be written"):
        run(db, "backup", str(tmp_path / "nowhere" / "all.dump"))

    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def blind_owner(running_server, notes):
    with running_server.admin() as admin:
        admin.execute("ALTER ROLE fairlead_owner NOBYPASSRLS")
        yield
        admin.execute("ALTER ROLE fairlead_owner BYPASSRLS")


def test_migrate_refuses_an_owner_that_does_not_see_all_rows(blind_owner, run):
    with pytest.raises(CommandError, match=r"fairlead_owner, does not see all rows of notes"):
        run(migrate)


def test_an_owner_without_bypass_sees_all_rows_by_policies_of_its_own(
    blind_owner, run, connect, tmp_path
):
    connection = connect()

    with as_owner(connection), connection.cursor() as cursor:
        assert give_owner_policies(cursor) == ["notes"]
        assert blind_tables(cursor) == []
        cursor.execute("SELECT count(*) FROM notes")
        assert cursor.fetchone() == (2,)

    assert bodies(connection, 1) == ["of one"]  # the app's rows are as few as before
    file = str(tmp_path / "all.dump")
    run(db, "backup", file)
    run(db, "restore", file, force=True)
    connection.close()
    assert bodies(connection, 2) == ["of two"]


def test_a_blind_backup_is_refused(blind_owner, run, tmp_path):
    with pytest.raises(CommandError, match="does not see all rows of notes"):
        run(db, "backup", str(tmp_path / "all.dump"))


def lines(printed: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in printed.splitlines() if line.startswith("DATABASE"))


def password(url: str) -> str | None:
    return urlsplit(url).password


@pytest.fixture
def bare_server(running_server):
    """A server that has never heard of Fairlead, and a way to ask it as a given role."""
    with running_server.admin() as admin:
        admin.execute("DROP DATABASE IF EXISTS own")
        admin.execute("DROP DATABASE fairlead WITH (FORCE)")
        for role in ("fairlead_owner", "fairlead_app"):
            admin.execute(f"DROP OWNED BY {role}")
            admin.execute(f"DROP ROLE {role}")
    yield lambda role: f"postgres://{role}@/postgres?host={running_server.sock}"
    with running_server.admin() as admin:
        admin.execute("DROP DATABASE IF EXISTS own")
        admin.execute("DROP OWNED BY fairlead_owner, fairlead_app")
        admin.execute("DROP ROLE fairlead_owner, fairlead_app")
    running_server.start()


def test_bootstrap_makes_logins_and_database_and_may_be_repeated(bare_server, run):
    admin_url = bare_server("postgres")

    first = lines(run(bootstrap_db, admin_url=admin_url, database="own"))

    assert len(password(first["DATABASE_URL"])) > 20
    with psycopg.connect(first["DATABASE_URL"]) as app:
        assert app.execute("SELECT current_user").fetchone() == ("fairlead_app",)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            app.execute("CREATE TABLE mine (id int)")
    with psycopg.connect(first["DATABASE_OWNER_URL"]) as owner:
        owner.execute("CREATE TABLE ours (id int)")
        owner.execute("SET session_replication_role = replica")

    printed = run(bootstrap_db, admin_url=admin_url, database="own", app_password="o'k@/1")

    again = lines(printed)
    assert again["DATABASE_URL"].startswith("postgres://fairlead_app:o%27k%40%2F1@")
    assert password(again["DATABASE_OWNER_URL"]) == "PASSWORD-AS-BEFORE"
    assert "stands for the password of a role that existed" in printed


def test_bootstrap_by_an_administrator_who_is_no_superuser_explains(
    bare_server, running_server, run
):
    with running_server.admin() as admin:
        admin.execute("CREATE ROLE boss LOGIN CREATEROLE CREATEDB")
    try:
        printed = run(bootstrap_db, admin_url=bare_server("boss"), database="own")

        assert "may not give BYPASSRLS" in printed
        assert "makes up for it with a policy for the owner" in printed
        with psycopg.connect(lines(printed)["DATABASE_OWNER_URL"]) as owner:
            owner.execute("CREATE TABLE ours (id int)")
    finally:
        with running_server.admin() as admin:
            admin.execute("DROP DATABASE IF EXISTS own")
            admin.execute("GRANT fairlead_owner, fairlead_app TO postgres")
            admin.execute("DROP OWNED BY boss CASCADE")
            admin.execute("DROP ROLE boss")


def test_bootstrap_refuses_an_app_role_that_bypasses_row_security(bare_server, running_server, run):
    with running_server.admin() as admin:
        admin.execute("CREATE ROLE fairlead_owner; CREATE ROLE fairlead_app SUPERUSER")

    with pytest.raises(CommandError, match="exists and bypasses row-level security"):
        run(bootstrap_db, admin_url=bare_server("postgres"))
