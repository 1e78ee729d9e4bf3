"""A linter of migrations: what would stop a running system while it waits for a lock.

It reads the statements that a migration would run and names those that lock a hot table for long:
an index made in place, a constraint checked at once, a column rewritten. A migration that also
makes the table is free to do all of that: nobody uses it yet.
"""

from __future__ import annotations

import re

#: Tables that are read and written all the time, or large, or both.
HOT = {
    "webhook_receipts",
    "webhook_events",
    "webhook_work",
    "messages",
    "conversations",
    "outbound_messages",
    "send_attempts",
    "send_outcomes",
    "leads",
    "lead_events",
    "lead_timers",
    "contact_points",
    "consents",
    "consent_events",
    "phone_numbers",
    "notifications",
    "live_events",
    "external_ids",
    "lead_scores",
    "quality_scores",
    "vendor_seen",
    "vendor_calls",
}

_NAME = r'"?(?:public"?\.)?"?(?P<table>\w+)"?'
MADE = re.compile(rf"\bCREATE\s+(?:UNLOGGED\s+)?TABLE\s+(?:IF NOT EXISTS\s+)?{_NAME}", re.I)
RULES = {
    "make the index CONCURRENTLY, in a migration that is not atomic": re.compile(
        r"\bCREATE\s+(?:UNIQUE\s+)?INDEX\s+(?!CONCURRENTLY)(?:IF NOT EXISTS\s+)?\"?\w+\"?"
        rf"\s+ON\s+{_NAME}",
        re.I,
    ),
    "add the constraint NOT VALID and VALIDATE it in the next migration": re.compile(
        rf"\bALTER\s+TABLE\s+(?:ONLY\s+)?{_NAME}\s+ADD\s+CONSTRAINT\s+\"?\w+\"?\s+(?:CHECK|FOREIGN)"
        r"(?![^;]*\bNOT\s+VALID\b)[^;]*",
        re.I,
    ),
    "make the unique index CONCURRENTLY and ADD CONSTRAINT … USING INDEX": re.compile(
        rf"\bALTER\s+TABLE\s+(?:ONLY\s+)?{_NAME}\s+ADD\s+CONSTRAINT\s+\"?\w+\"?\s+"
        r"(?:UNIQUE|PRIMARY\s+KEY|EXCLUDE)(?![^;]*\bUSING\s+INDEX\b)[^;]*",
        re.I,
    ),
    "SET NOT NULL scans the table: add a valid CHECK (… IS NOT NULL) first": re.compile(
        rf"\bALTER\s+TABLE\s+(?:ONLY\s+)?{_NAME}\s+ALTER\s+(?:COLUMN\s+)?\"?\w+\"?\s+SET\s+NOT\s+NULL",
        re.I,
    ),
    "a column is rewritten: add another one and fill it in pieces": re.compile(
        rf"\bALTER\s+TABLE\s+(?:ONLY\s+)?{_NAME}\s+ALTER\s+(?:COLUMN\s+)?\"?\w+\"?\s+(?:SET\s+DATA\s+)?"
        r"TYPE\b",
        re.I,
    ),
    "a column is dropped or renamed while the release before still reads it": re.compile(
        rf"\bALTER\s+TABLE\s+(?:ONLY\s+)?{_NAME}\s+(?:DROP\s+COLUMN|RENAME)", re.I
    ),
    "a default that differs per row rewrites the table": re.compile(
        rf"\bALTER\s+TABLE\s+(?:ONLY\s+)?{_NAME}\s+ADD\s+COLUMN[^;]*\b(?:GENERATED|ulid_new\(|"
        r"clock_timestamp\(|gen_random_uuid\(|random\()",
        re.I,
    ),
    "rows of a hot table are changed all at once": re.compile(
        rf"(?:^|;)\s*(?:UPDATE\s+{_NAME}|DELETE\s+FROM\s+\"?(?P<other>\w+))", re.I
    ),
}


def faults_of(sql: str) -> list[str]:
    """Return what is wrong with the statements of one migration, each with its table."""
    sql = _without_bodies(sql)
    made = {found["table"].lower() for found in MADE.finditer(sql)}
    faults = []
    for advice, pattern in RULES.items():
        for found in pattern.finditer(sql):
            groups = found.groupdict()
            table = (groups.get("table") or groups.get("other") or "").lower()
            if table in HOT and table not in made:
                faults.append(f"{table}: {advice}")
    return faults


def _without_bodies(sql: str) -> str:
    """Leave out comments and what functions will do one day."""
    sql = re.sub(r"--[^\n]*", "", sql)
    return re.sub(r"\$(\w*)\$.*?\$\1\$", "''", sql, flags=re.S)
