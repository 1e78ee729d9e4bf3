"""SQL kept in files, run by migrations."""

from __future__ import annotations

import re
from pathlib import Path

from django.db.migrations import RunSQL


def run_sql_file(migration: str, *, reverse_sql: str) -> RunSQL:
    """Return the operation that runs ``<app>/sql/<migration name>.sql``.

    A merged file is never edited: a change is a new migration with a new file, so a
    fresh database and an old one have run exactly the same statements.
    """
    path = Path(migration)
    sql_file = path.parent.parent / "sql" / f"{path.stem}.sql"
    return RunSQL(sql_file.read_text(encoding="utf-8"), reverse_sql=reverse_sql)


def function_in(sql_file: Path, name: str) -> str:
    """Return the ``CREATE FUNCTION`` of *name* in a SQL file, for a reverse that gives it back."""
    text = sql_file.read_text(encoding="utf-8")
    made = re.search(rf"^CREATE (?:OR REPLACE )?FUNCTION {name}\(", text, re.MULTILINE)
    if made is None:
        raise LookupError(f"{sql_file.name} makes no function {name}")
    return text[made.start() : text.index("$$;", made.end()) + 3]
