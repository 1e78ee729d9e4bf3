"""The database backend: what it asks of libpq, and the two roles."""

import pytest
from django.core.management.color import no_style
from django.db import connection, transaction

from config.pg.client import DatabaseClient
from config.pg.roles import as_owner


def test_over_tcp_a_dead_server_is_noticed(connect):
    params = connect(EMBEDDED=False, HOST="db.example", OPTIONS={"keepalives_idle": 5})
    params = params.get_connection_params()

    assert params["connect_timeout"] == 10
    assert (params["keepalives_idle"], params["keepalives_interval"]) == (5, 10)
    assert params["application_name"] == "fairlead"


def test_a_socket_needs_no_keepalives(connect):
    assert "keepalives" not in connect().get_connection_params()
    assert "keepalives" not in connect(EMBEDDED=False, HOST="/run/pg").get_connection_params()


def test_one_login_steps_down_to_the_role_unless_it_acts_as_the_owner(connect):
    one = connect(
        EMBEDDED=False, HOST="h", ROLE="fairlead_app", OPTIONS={"options": "-c jit=off"}, OWNER=None
    )

    assert one.get_connection_params()["options"] == "-c jit=off -c role=fairlead_app"
    with as_owner(one):
        assert one.get_connection_params()["options"] == "-c jit=off"


def test_two_logins_change_user_and_password(connect):
    two = connect(
        EMBEDDED=False, HOST="h", PASSWORD="p", OWNER={"user": "owner", "password": "other"}
    )

    with as_owner(two), as_owner(two):
        params = two.get_connection_params()
    assert (params["user"], params["password"]) == ("owner", "other")
    params = two.get_connection_params()
    assert (params["user"], params["password"]) == ("fairlead_app", "p")


@pytest.mark.django_db
def test_the_owner_is_refused_inside_a_transaction():
    with (
        transaction.atomic(),
        pytest.raises(RuntimeError, match="outside a transaction"),
        as_owner(connection),
    ):
        pass


@pytest.mark.django_db
def test_tests_run_as_the_app():
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_user")

        assert cursor.fetchone() == ("fairlead_app",)


@pytest.mark.django_db
def test_the_flush_takes_every_table_but_the_catalogues_and_partitions():
    (statement,) = connection.ops.sql_flush(no_style(), [])

    assert '"lead_events"' in statement
    assert '"webhook_events"' in statement  # made by SQL alone
    assert '"webhook_events_' not in statement
    for kept in ("lead_transitions", "django_migrations", "auth_permission"):
        assert f'"{kept}"' not in statement


def test_dbshell_reaches_the_embedded_server_and_steps_down(running_server):
    words, environment = DatabaseClient.settings_to_cmd_args_env(
        {"EMBEDDED": True, "NAME": "fairlead", "USER": "u", "ROLE": "r", "OPTIONS": {}}, ["-l"]
    )

    assert words[0].endswith("/psql")
    assert words[words.index("-h") + 1] == str(running_server.sock)
    assert environment["PGOPTIONS"] == "-c role=r"
