"""The embedded server, with real servers in private folders."""

import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
import warnings

import psutil
import psycopg
import pytest
from django.db import OperationalError

from config.pg.account import ServerUnavailable, account_of
from config.pg.binaries import bin_folders, folder_for, major_version
from config.pg.embedded import Server
from config.pg.places import REPOSITORY, SOCKET_NAME, SOCKET_PATH_BYTES, Places, locate
from config.pg.process import clear_stale_locks, postmaster_pid
from tests.config.conftest import folder, private_server

AS_ROOT = os.geteuid() == 0

#: What another process of Fairlead does first; prints when the server that answers was started.
CLIENT = """
import psycopg
from config.pg.embedded import server
server().ensure()
with psycopg.connect(**server().connection_params(), user="fairlead_app", dbname="fairlead") as c:
    print(c.execute("SELECT pg_postmaster_start_time()").fetchone()[0].isoformat())
"""


def run_client(own: Server) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", CLIENT],
        cwd=REPOSITORY,
        env={**os.environ, "FAIRLEAD_DATA_DIR": str(own.places.base)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def as_user(entry, function) -> str:
    """Return what *function* returns when another user calls it, or the text of its refusal.

    A fork without exec: the interpreter itself may be in a folder closed to that user.
    """
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside threads
        child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(entry.pw_gid)
            os.setuid(entry.pw_uid)
            said = function()
        except BaseException as refusal:
            said = f"{type(refusal).__name__}: {refusal}"
        os.write(writing, said.encode())
        os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    with os.fdopen(reading) as pipe:
        return pipe.read()


def started_at(own: Server) -> str:
    own.ensure()
    login = {"user": "fairlead_app", "dbname": "fairlead"}
    with psycopg.connect(**own.connection_params(), **login) as connection:
        return connection.execute("SELECT pg_postmaster_start_time()::text").fetchone()[0]


def answers(clients) -> set[str]:
    said = set()
    for client in clients:
        out, err = client.communicate(timeout=60)
        assert client.returncode == 0, err
        said.add(out.strip())
    return said


def current_user(connection) -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_user")
        return cursor.fetchone()[0]


def test_the_first_query_makes_and_starts_the_server(fresh_server, connect):
    assert not fresh_server.status().running

    assert current_user(connect()) == "fairlead_app"

    status = fresh_server.status()
    assert status.running
    assert psutil.pid_exists(status.pid)
    assert status.account != "root"
    assert stat.S_IMODE(fresh_server.data.stat().st_mode) == 0o700


def test_processes_racing_for_an_empty_folder_share_one_server(fresh_server):
    clients = [run_client(fresh_server) for _ in range(4)]

    assert len(answers(clients)) == 1
    assert [p.name for p in fresh_server.places.home.glob("pg.init-*")] == []


def test_a_stopped_server_is_started_by_the_next_connection(running_server, connect):
    connection = connect()
    current_user(connection)

    assert running_server.stop()
    assert not running_server.status().running
    assert not running_server.stop()
    connection.close()

    assert current_user(connection) == "fairlead_app"


def test_the_next_connection_finds_a_server_again_after_kill_9(running_server, connect):
    connection = connect()
    for _ in range(3):
        current_user(connection)
        os.kill(postmaster_pid(running_server.places), signal.SIGKILL)
        connection.close()

        assert current_user(connection) == "fairlead_app"


def test_a_query_that_outlives_the_killed_server_does_not_hold_up_the_next(running_server):
    busy = running_server.admin()
    lost = []

    def count() -> None:
        try:
            busy.execute("DO $$ BEGIN LOOP PERFORM 1; END LOOP; END $$")
        except psycopg.OperationalError as failure:
            lost.append(failure)

    thread = threading.Thread(target=count)
    thread.start()
    with running_server.admin() as other:
        while not other.execute("SELECT FROM pg_stat_activity WHERE query LIKE 'DO %'").rowcount:
            time.sleep(0.01)

    os.kill(postmaster_pid(running_server.places), signal.SIGKILL)
    begun = time.monotonic()
    running_server.start()

    assert time.monotonic() - begun < 5
    thread.join(timeout=10)
    assert len(lost) == 1


def test_a_pid_file_that_names_a_zombie_or_another_program_is_stale(tmp_path):
    places = Places(base=tmp_path, home=tmp_path, account=account_of(os.geteuid()))
    places.data.mkdir()
    places.sock.mkdir()
    program = tmp_path / "postgres"
    shutil.copy(shutil.which("sleep"), program)
    zombie = subprocess.Popen([program, "0"], cwd=places.data)
    while psutil.Process(zombie.pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    elsewhere = subprocess.Popen([program, "60"], cwd="/")
    working = subprocess.Popen([program, "60"], cwd=places.data)
    pid_file, socket_lock = places.data / "postmaster.pid", places.sock / f"{SOCKET_NAME}.lock"
    try:
        for pid in (zombie.pid, elsewhere.pid, os.getpid(), 2**22 - 1):
            pid_file.write_text(f"{pid}\n{places.data}\n")
            socket_lock.write_text(f"{pid}\n")

            assert postmaster_pid(places) is None
            clear_stale_locks(places)
            assert not pid_file.exists()
            assert not socket_lock.exists()

        pid_file.write_text(f"{working.pid}\n{places.data}\n")
        clear_stale_locks(places)
        assert postmaster_pid(places) == working.pid
        assert pid_file.exists()
    finally:
        for process in (zombie, elsewhere, working):
            process.kill()
            process.wait()


def test_what_is_missing_after_a_start_is_made_again(running_server, connect):
    with running_server.admin() as admin:
        admin.execute("DROP DATABASE fairlead WITH (FORCE)")

    assert current_user(connect()) == "fairlead_app"


def test_the_owner_may_pass_row_security_and_the_app_may_not(running_server):
    with running_server.admin() as admin:
        rows = admin.execute(
            "SELECT rolname, rolsuper, rolbypassrls, rolcreatedb, rolcreaterole FROM pg_roles"
            " WHERE rolname LIKE 'fairlead%' ORDER BY 1"
        ).fetchall()
        casing = admin.execute("SELECT lower('ÉÀÑ'), current_setting('timezone')").fetchone()

    assert rows == [
        ("fairlead_app", False, False, False, False),
        ("fairlead_owner", False, True, True, False),
    ]
    assert casing == ("éàñ", "UTC")


def test_a_path_too_long_for_a_socket_gets_a_short_one(django_db_blocker, connect):
    with django_db_blocker.unblock(), folder() as path:
        deep = path / ("a" * 60) / ('it\'s "deep", $(x) ' + "b" * 40)
        with private_server(deep) as own:
            assert len(os.fsencode(own.sock / SOCKET_NAME)) <= SOCKET_PATH_BYTES
            assert own.sock.parent != own.places.home
            assert own.data.is_relative_to(deep)

            assert current_user(connect()) == "fairlead_app"


def test_a_socket_folder_that_somebody_else_made_first_is_refused(tmp_path):
    places = Places(base=tmp_path, home=tmp_path / "x", account=account_of(os.geteuid()))
    places.home.mkdir()
    places.sock.symlink_to("/tmp")

    with pytest.raises(ServerUnavailable, match="belongs to somebody else"):
        places.prepare()


def test_data_of_another_major_version_is_refused_with_a_way_out(tmp_path):
    (tmp_path / "PG_VERSION").write_text("14\n")

    with pytest.raises(ServerUnavailable, match=r"made by PostgreSQL 14; .*db backup old\.dump"):
        folder_for(tmp_path)


def test_the_version_that_made_the_data_is_taken_where_several_are_installed(tmp_path):
    for binaries in bin_folders():
        made_by = major_version(binaries / "postgres")
        (tmp_path / "PG_VERSION").write_text(f"{made_by}\n")

        assert major_version(folder_for(tmp_path) / "postgres") == made_by


def test_without_any_postgresql_the_way_out_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("FAIRLEAD_PG_BINDIR", str(tmp_path))

    with pytest.raises(ServerUnavailable, match="set DATABASE_URL"):
        folder_for(tmp_path)


def test_a_start_that_fails_says_why(running_server, connect, monkeypatch):
    running_server.stop()
    own_settings = running_server.data / "postgresql.auto.conf"
    own_settings.write_text("max_connections = 'many'\n")
    monkeypatch.setattr("config.pg.embedded.RETRY_SECONDS", 0)

    with pytest.raises(OperationalError, match="max_connections"):
        connect().ensure_connection()

    own_settings.write_text("")
    assert current_user(connect()) == "fairlead_app"


@pytest.mark.skipif(not AS_ROOT, reason="only root may act as somebody else")
def test_an_ordinary_user_has_a_server_of_his_own(django_db_blocker):
    user = pwd.getpwnam("nobody")
    if not account_of(user.pw_uid).may_enter(bin_folders()[0]):
        pytest.skip("this checkout is closed to other users")
    with django_db_blocker.unblock(), folder() as path, private_server(path / "var"):
        os.chown(path, user.pw_uid, user.pw_gid)

        first = as_user(user, lambda: started_at(Server(locate(path / "var"))))

        # Root sees that database, run by that user, instead of making one.
        own = Server(locate(path / "var"))
        assert own.places.account.name == own.data.owner() == own.sock.owner() == "nobody"
        assert started_at(own) == first
        own.stop()
        assert started_at(own) > first
        again = as_user(user, lambda: started_at(Server(locate(path / "var"))))
        assert again == started_at(own)


@pytest.mark.skipif(not AS_ROOT, reason="only root may act as somebody else")
def test_somebody_else_reaches_the_socket_and_is_refused(running_server):
    known = running_server.places.clients()
    stranger = next(entry for entry in pwd.getpwall() if entry.pw_name not in known)

    assert "can neither reach nor start it" in as_user(stranger, lambda: started_at(running_server))

    running_server.sock.chmod(0o711)  # as where the checkout's owner is neither
    assert "Peer authentication failed" in as_user(stranger, lambda: started_at(running_server))


@pytest.mark.skipif(not AS_ROOT, reason="only root may act as somebody else")
def test_a_stopped_server_of_another_user_is_not_started_but_named(running_server):
    running_server.stop()
    stranger = pwd.getpwnam("daemon")
    base = running_server.places.base

    said = as_user(stranger, lambda: started_at(Server(locate(base))))

    assert f"belongs to the user {running_server.places.account.name}" in said


@pytest.mark.skipif(not AS_ROOT, reason="an ordinary user can always enter his own checkout")
def test_a_closed_checkout_of_root_keeps_its_data_in_a_state_folder(
    django_db_blocker, connect, monkeypatch
):
    wheel = bin_folders()[0].parent.parent
    with django_db_blocker.unblock(), folder(0o700) as path:
        # A venv in there is closed too; links keep this test from copying it.
        (path / wheel.name).symlink_to(wheel)
        (path / f"{wheel.name}.libs").symlink_to(f"{wheel}.libs")
        closed = path / wheel.name / bin_folders()[0].parent.name / "bin"
        monkeypatch.setenv("FAIRLEAD_PG_BINDIR", str(closed))
        with private_server(path / "var") as own:
            assert current_user(connect()) == "fairlead_app"

            assert stat.S_IMODE(path.stat().st_mode) == 0o700
            assert not own.places.home.is_relative_to(path)
            assert (path / "var" / "pg.path").read_text().strip() == str(own.places.home)
            assert locate(path / "var").home == own.places.home
            # A copy of the checkout must not take the database of the original.
            shutil.copytree(path / "var", path / "copy")
            assert locate(path / "copy").home != own.places.home
