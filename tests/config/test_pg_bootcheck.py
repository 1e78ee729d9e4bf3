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


@pytest.fixture(scope="module", autouse=True)
def tables(running_server):
    with running_server.admin("fairlead") as admin:
        admin.execute(TABLES)
        admin.execute("CREATE ROLE bob LOGIN")


def test_a_role_that_row_security_binds_may_start(connect):
    refuse_unsafe_role(connect(), allow=["shared"])


def test_an_unprotected_tenant_table_is_refused_unless_allowed(connect):
    with pytest.raises(ImproperlyConfigured, match="does not protect shared, which"):
        refuse_unsafe_role(connect())


def test_a_forgotten_partition_is_refused_where_the_app_may_reach_it(running_server, connect):
    with running_server.admin("fairlead") as admin:
        admin.execute("GRANT USAGE ON SCHEMA parts TO fairlead_app")
        try:
            with pytest.raises(ImproperlyConfigured, match=r"does not protect parts\.guarded_1,"):
                refuse_unsafe_role(connect(), allow=["shared"])
        finally:
            admin.execute("REVOKE USAGE ON SCHEMA parts FROM fairlead_app")


def test_a_superuser_is_refused(connect):
    with pytest.raises(ImproperlyConfigured, match=r"postgres, which is a superuser.*bootstrap_db"):
        refuse_unsafe_role(connect(USER="postgres"))


def test_a_role_with_bypassrls_is_refused(connect):
    with pytest.raises(ImproperlyConfigured, match="fairlead_owner, which has BYPASSRLS"):
        refuse_unsafe_role(connect(USER="fairlead_owner"))


def test_an_owner_of_tables_is_refused(running_server, connect):
    with running_server.admin("fairlead") as admin:
        admin.execute("CREATE TABLE bobs (id int); ALTER TABLE bobs OWNER TO bob")
        try:
            with pytest.raises(ImproperlyConfigured, match="bob, which owns bobs"):
                refuse_unsafe_role(connect(USER="bob"), allow=["shared"])
        finally:
            admin.execute("DROP TABLE bobs")


def test_a_login_steps_down_to_the_role_of_the_app_or_is_told_the_grant(running_server, connect):
    with pytest.raises(ImproperlyConfigured, match="GRANT fairlead_app TO bob;"):
        refuse_unsafe_role(connect(USER="bob", ROLE="fairlead_app"))

    with running_server.admin() as admin:
        admin.execute("GRANT fairlead_app TO bob")

    refuse_unsafe_role(connect(USER="bob", ROLE="fairlead_app"), allow=["shared"])
    # Even a superuser's login is bound once it has stepped down.
    refuse_unsafe_role(connect(USER="postgres", ROLE="fairlead_app"), allow=["shared"])


def test_a_role_that_migrations_have_yet_to_make_is_named(connect):
    with pytest.raises(ImproperlyConfigured, match=r"run `python manage\.py migrate`"):
        refuse_unsafe_role(connect(USER="bob", ROLE="nobody_yet"))


def test_a_database_that_cannot_be_reached_is_not_a_wrong_role(connect):
    with pytest.raises(OperationalError, match="does not exist"):
        refuse_unsafe_role(connect(NAME="nowhere"))
