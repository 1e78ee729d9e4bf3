"""The check at the start of web and worker: row-level security must bind the role they run as."""

from collections.abc import Collection, Sequence
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper

ROLE = """
SELECT current_user, session_user, r.rolsuper, r.rolbypassrls,
  ARRAY(
    SELECT k.oid::regclass::text FROM pg_class k
    WHERE k.relkind IN ('r', 'p') AND k.relnamespace = 'public'::regnamespace
      AND pg_has_role(current_user, k.relowner, 'USAGE')
    ORDER BY 1
  ),
  ARRAY(
    SELECT k.oid::regclass::text FROM pg_class k
    JOIN pg_attribute a ON a.attrelid = k.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped
    WHERE k.relkind IN ('r', 'p')
      AND has_schema_privilege(current_user, k.relnamespace, 'USAGE')
      AND has_table_privilege(current_user, k.oid, 'SELECT')
      AND NOT row_security_active(k.oid)
    ORDER BY 1
  )
FROM pg_roles r WHERE r.rolname = current_user
"""

TWO_LOGINS = (
    "`python manage.py bootstrap_db --admin-url postgres://…` makes the right two logins and "
    "prints the DATABASE_URL and DATABASE_OWNER_URL to set."
)


def refuse_unsafe_role(connection: BaseDatabaseWrapper, allow: Collection[str] = ()) -> None:
    """Refuse to go on when the database would not keep tenants apart for this connection.

    Args:
        connection: as the app uses it, not inside `as_owner()`.
        allow: tables with a tenant_id that the app may read across tenants on purpose.

    Raises:
        ImproperlyConfigured: The role is a superuser, bypasses row-level security, owns tables, or
            may read a tenant table that is not protected; or the login may not become the role.
        OperationalError: The database cannot be reached at all.
    """
    try:
        with connection.cursor() as cursor:
            cursor.execute(ROLE)
            row = cursor.fetchone()
    except OperationalError as failure:
        if advice := _advice_on_login(str(failure), connection.settings_dict):
            raise ImproperlyConfigured(f"{str(failure).strip()}\n{advice}") from failure
        raise
    if problems := _problems(row, allow):
        raise ImproperlyConfigured("\n".join(problems))


def _problems(row: Sequence[Any], allow: Collection[str]) -> list[str]:
    role, login, is_superuser, bypasses, owned, readable = row
    if is_superuser or bypasses:
        right = "is a superuser" if is_superuser else "has BYPASSRLS"
        return [
            f"The app would run as the database role {role}, which {right}: row-level security "
            f"does not bind it, and every tenant would see every other's rows. {TWO_LOGINS}"
        ]
    problems = []
    if owned:
        problems.append(
            f"The app would run as the database role {role}, which owns {_some(owned)}: an owner "
            "can switch row-level security off. Run `python manage.py migrate` as another login "
            f"(DATABASE_OWNER_URL), and revoke its roles from {login}. {TWO_LOGINS}"
        )
    if open_tables := sorted(set(readable) - set(allow) - set(owned)):
        problems.append(
            f"Row-level security does not protect {_some(open_tables)}, which the database role "
            f"{role} may read. Run `python manage.py migrate`; a table or partition made by hand "
            f"needs ENABLE ROW LEVEL SECURITY and a policy, or REVOKE ALL … FROM {role}."
        )
    return problems


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:5])
    return f"{shown} and {len(names) - 5} more tables" if len(names) > 5 else shown


def _advice_on_login(text: str, settings: dict[str, Any]) -> str:
    login, role = settings.get("USER") or "<login>", settings.get("ROLE")
    if role and "permission denied to set role" in text:
        return (
            f"The login of DATABASE_URL may not become the role of the app. As an administrator of "
            f"the server run: GRANT {role} TO {login};"
        )
    if role and f'role "{role}" does not exist' in text:
        return "The role of the app is made by the migrations: run `python manage.py migrate`."
    if "unsupported startup parameter" in text:
        return (
            "A connection pooler in between does not pass the role on. Use two logins, which need "
            f"none. {TWO_LOGINS}"
        )
    return ""
