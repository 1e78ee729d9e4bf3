"""Whether the owner of the tables sees all rows, and what to do where it does not.

An owner that forced row-level security binds is worse than none: data migrations change nothing
without a word, and ADD FOREIGN KEY finds valid what is not. BYPASSRLS frees it; where a managed
server does not grant that, a policy of its own on every table does.
"""

from typing import Any, Protocol


class Cursor(Protocol):
    """What Django's cursors and psycopg's have in common."""

    def execute(self, query: Any, params: Any = None, /) -> Any: ...

    def fetchall(self) -> list[Any]: ...


OWNER_POLICY = "owner_sees_all"

#: Tables whose rows the current role sees only in part: no bypass, no policy that lets all pass.
BLIND = """
SELECT k.oid::regclass::text
FROM pg_class k
WHERE k.relkind IN ('r', 'p') AND k.relrowsecurity AND row_security_active(k.oid)
  AND NOT EXISTS (
    SELECT FROM pg_policy p
    WHERE p.polrelid = k.oid AND p.polpermissive AND p.polcmd = '*'
      AND pg_get_expr(p.polqual, p.polrelid) = 'true'
      AND coalesce(pg_get_expr(p.polwithcheck, p.polrelid), 'true') = 'true'
      AND EXISTS (
        SELECT FROM unnest(p.polroles) AS r(oid)
        WHERE CASE WHEN r.oid = 0 THEN true ELSE pg_has_role(current_user, r.oid, 'USAGE') END
      )
  )
ORDER BY 1
"""


def blind_tables(cursor: Cursor) -> list[str]:
    """Return the tables whose rows the current role cannot all see, quoted where needed."""
    cursor.execute(BLIND)
    return [name for (name,) in cursor.fetchall()]


def give_owner_policies(cursor: Cursor) -> list[str]:
    """Let the current role, the owner, see all rows of its tables; return the tables changed."""
    tables = blind_tables(cursor)
    for table in tables:
        cursor.execute(f"DROP POLICY IF EXISTS {OWNER_POLICY} ON {table}")  # of a former owner
        cursor.execute(
            f"CREATE POLICY {OWNER_POLICY} ON {table}"
            " TO CURRENT_USER USING (true) WITH CHECK (true)"
        )
    return tables
