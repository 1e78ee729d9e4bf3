"""The app refuses to start where the database would not keep tenants apart."""

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import OperationalError

from config.pg.bootcheck import refuse_unsafe_role

TABLES = """
CREATE TABLE guarded (tenant_id int);
ALTER TABLE guarded ENABLE ROW LEVEL SECURITY;
CREATE TABLE shared (tenant_id int);
CREATE TABLE hidden (tenant_id int);
CREATE SCHEMA parts;
CREATE TABLE parts.guarded_1 (tenant_id int);
GRANT SELECT ON guarded, shared, parts.guarded_1 TO fairlead_app;
"""


@pytest.fixture
def check(running_server, connect):
    """Run the check on a connection of these settings, in a database with tables for it."""
    with running_server.admin() as admin:
        admin.execute("CREATE DATABASE checked")
        admin.execute("CREATE ROLE bob LOGIN")
    with running_server.admin("checked") as admin:
        admin.execute(TABLES)

    def run(allow=(), **settings):
        connection = connect(**{"NAME": "checked", **settings})
        try:
            refuse_unsafe_role(connection, allow)
        finally:
            connection.close()

    yield run
    with running_server.admin() as admin:
        admin.execute("DROP DATABASE checked")
        admin.execute("DROP ROLE bob")


def test_a_role_that_row_security_binds_may_start(check):
    check(allow=["shared"])


def test_an_unprotected_tenant_table_is_refused_unless_allowed(check):
    with pytest.raises(ImproperlyConfigured, match="does not protect shared, which"):
        check()


def test_a_forgotten_partition_is_refused_where_the_app_may_reach_it(running_server, check):
    with running_server.admin("checked") as admin:
        admin.execute("GRANT USAGE ON SCHEMA parts TO fairlead_app")
        try:
            with pytest.raises(ImproperlyConfigured, match=r"does not protect parts\.guarded_1,"):
                check(allow=["shared"])
        finally:
            admin.execute("REVOKE USAGE ON SCHEMA parts FROM fairlead_app")


def test_a_superuser_is_refused(check):
    with pytest.raises(ImproperlyConfigured, match=r"postgres, which is a superuser.*bootstrap_db"):
        check(USER="postgres")


def test_a_role_with_bypassrls_is_refused(check):
    with pytest.raises(ImproperlyConfigured, match="fairlead_owner, which has BYPASSRLS"):
        check(USER="fairlead_owner")


def test_an_owner_of_tables_is_refused(running_server, check):
    with running_server.admin("checked") as admin:
        admin.execute("CREATE TABLE bobs (id int); ALTER TABLE bobs OWNER TO bob")
        try:
            with pytest.raises(ImproperlyConfigured, match="bob, which owns bobs"):
                check(USER="bob", allow=["shared"])
        finally:
            admin.execute("DROP TABLE bobs")


def test_a_login_steps_down_to_the_role_of_the_app_or_is_told_the_grant(running_server, check):
    with pytest.raises(ImproperlyConfigured, match="GRANT fairlead_app TO bob;"):
        check(USER="bob", ROLE="fairlead_app")

    with running_server.admin() as admin:
        admin.execute("GRANT fairlead_app TO bob")

    check(USER="bob", ROLE="fairlead_app", allow=["shared"])
    # Even a superuser's login is bound once it has stepped down.
    check(USER="postgres", ROLE="fairlead_app", allow=["shared"])


def test_a_role_that_migrations_have_yet_to_make_is_named(check):
    with pytest.raises(ImproperlyConfigured, match=r"run `python manage\.py migrate`"):
        check(USER="bob", ROLE="nobody_yet")


def test_a_database_that_cannot_be_reached_is_not_a_wrong_role(check):
    with pytest.raises(OperationalError, match="does not exist"):
        check(NAME="nowhere")
