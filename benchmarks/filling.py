"""Fill a tenant with leads, points, proofs, conversations and messages, in a few statements.

Keys and values are arithmetic over a counter, so that ten million rows take minutes and two runs
make the same. As a superuser triggers and foreign keys are passed over and indexes are built at the
end; ``verify`` looks at every reference afterwards, which the tests do with a small tenant.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

TABLES = (
    "leads", "lead_events", "contact_points", "verifications", "lead_scores", "quality_scores",
    "consents", "consent_events", "conversations", "messages",
)  # fmt: skip
FIRST = "James Mary Robert Patricia John Jennifer Michael Linda David Elizabeth William Barbara"
LAST = "Smith Johnson Williams Brown Jones Garcia Miller Davis Rodriguez Martinez Hernandez Lopez"
STREETS = "Main Oak Pine Maple Cedar Elm Washington Lake Hill Walnut Spring North Ridge Church"
WORDS = "Yes, still thinking about it|Who is this?|What would you pay?|Not now, ask me in spring"


@dataclass(frozen=True, kw_only=True)
class Filled:
    """What a tenant is filled with; ``number`` tells its rows from those of other tenants."""

    tenant: str  # uuid
    phone_number: str  # uuid
    our_number: str
    number: int
    leads: int
    messages: int

    @property
    def conversations(self) -> int:
        return max(self.leads // 2, 1)

    def key(self, kind: int, counter: str) -> str:
        """The id of the *counter*-th row of a kind, as SQL; ids grow with the counter."""
        return (
            f"(lpad(to_hex(1700000000000 + {counter}), 12, '0') || '{self.number:02x}{kind:02x}'"
            f" || lpad(to_hex({counter}), 16, '0'))::uuid"
        )

    def phone(self, counter: str) -> str:
        return f"('+1' || ({2_000_000_000 + self.number * 100_000_000} + {counter})::text)"


LEAD, EVENT, PHONE, EMAIL, PROOF, SCORE, KEPT, CONSENT, CHOICE, TALK, TEXT = range(1, 12)
AT = "timestamptz '2026-01-01' + make_interval(secs => {})"


def _pick(words: str, counter: str, separator: str = " ") -> str:
    parts = words.split(separator)
    array = "ARRAY[" + ", ".join("'" + part + "'" for part in parts) + "]"
    return f"({array})[1 + ({counter}) % {len(parts)}]"


def rows_of(f: Filled) -> Iterator[tuple[str, int, str, dict[str, str]]]:
    """Table, how many rows, a condition on the counter ``n``, and SQL per column."""
    lead, at = f.key(LEAD, "n"), AT.format("n % 20000000")
    first, last = _pick(FIRST, "n"), f"{_pick(LAST, 'n / 12')} || to_hex(n % 4096)"
    yield "leads", f.leads, "true", {
        "id": lead, "source": "'batchdata'", "source_id": "'bd-' || n", "first_name": first,
        "last_name": last, "full_name": f"{first} || ' ' || {last}",
        "address_line1": f"(100 + n % 9900) || ' ' || {_pick(STREETS, 'n / 7')} || ' St'",
        "city": "'Springfield'", "region": "'CA'", "postal_code": "lpad((n % 99999)::text, 5, '0')",
        "county_fips": "'06' || lpad((n % 100)::text, 3, '0')", "apn": "'apn-' || n",
        "mak": "CASE WHEN n % 3 > 0 THEN n::text ELSE '' END",
        "addr_hash": "encode(sha256(n::text::bytea), 'hex')", "addr_hash_version": "1",
        "addr_owner": f"lower({first} || ' ' || {last})", "age": "30 + n % 60",
        "owner_occupied": "n % 2 = 0", "property_value": "50000 + (n % 900) * 1000",
        "estimated_equity": "(n % 500) * 1000 - 20000", "stage": "'initial_message'",
        "state": "'new'", "first_seen_at": at, "last_seen_at": at, "created_at": at,
    }  # fmt: skip
    yield "lead_events", f.leads, "true", {
        "id": f.key(EVENT, "n"), "lead_id": lead, "seq": "0", "kind": "'created'",
        "to_state": "'new'", "payload": "'{\"source\": \"batchdata\"}'", "at": at,
    }  # fmt: skip
    yield from _points(f, lead, at)
    yield from _talk(f, lead)


def _points(f: Filled, lead: str, at: str) -> Iterator[tuple[str, int, str, dict[str, str]]]:
    # Two in five e-mails of the half that have one, and a third of the phones, are proved.
    proved = {PHONE: "n % 3 = 0", EMAIL: "n % 5 < 2"}
    for kind, word, value, which in (
        (PHONE, "phone", f.phone("n"), "true"),
        (EMAIL, "email", f"'lead' || n || '@t{f.number}.example'", "n % 2 = 0"),
    ):
        is_proved = proved[kind]
        yield "contact_points", f.leads, which, {
            "id": f.key(kind, "n"), "lead_id": lead, "kind": f"'{word}'", "raw": value,
            "normalized": value, "source": "'batchdata'", "is_primary": "true",
            "line_type": "CASE WHEN n % 4 > 0 THEN 'mobile' ELSE 'landline' END"
            if kind == PHONE else "'unknown'",
            "verified_at": f"CASE WHEN {is_proved} THEN {at} END",
            "verified_by": f"CASE WHEN {is_proved} THEN 'bench' ELSE '' END",
            "verification_id": f"CASE WHEN {is_proved} THEN {f.key(PROOF, f'(n * 2 + {kind % 2})')}"
            " END",
        }  # fmt: skip
        yield "verifications", f.leads, f"({which}) AND {is_proved}", {
            "id": f.key(PROOF, f"(n * 2 + {kind % 2})"), "point_id": f.key(kind, "n"),
            "provider": "'bench'", "code": "'ok'", "verdict": "'verified'", "at": at,
        }  # fmt: skip


def _talk(f: Filled, lead: str) -> Iterator[tuple[str, int, str, dict[str, str]]]:
    # One in a hundred opted out.
    for table, values in (
        ("consents", {
            "id": f.key(CONSENT, "n"), "channel": "'sms'", "address": f.phone("n"),
            "state": "CASE WHEN n % 100 = 7 THEN 'opted_out' ELSE 'unknown' END",
            "rev": "CASE WHEN n % 100 = 7 THEN 1 ELSE 0 END", "position": "0",
        }),
        ("consent_events", {
            "id": f.key(CHOICE, "n"), "consent_id": f.key(CONSENT, "n"), "rev": "1",
            "kind": "'opt_out'", "state": "'opted_out'", "source": "'texting'",
            "keyword": "'STOP'",
        }),
    ):  # fmt: skip
        yield table, f.conversations, "true" if table == "consents" else "n % 100 = 7", values
    last = AT.format("n % 20000000")
    yield "conversations", f.conversations, "true", {
        "id": f.key(TALK, "n"), "lead_id": lead, "phone_number_id": f"'{f.phone_number}'::uuid",
        "our_number": f"'{f.our_number}'", "their_number": f.phone("n"),
        "stage": "'initial_message'", "status": "'open'",
        "waiting_since": f"CASE WHEN n % 20 = 3 THEN {last} END", "last_message_at": last,
        "band": "1", "last_snippet": _pick(WORDS, "n", "|"),
    }  # fmt: skip
    talk, is_in = f"(1 + (n - 1) % {f.conversations})", "n % 3 = 0"
    theirs = f.phone(talk)
    yield "messages", f.messages, "true", {
        "id": f.key(TEXT, "n"), "conversation_id": f.key(TALK, talk), "lead_id": f.key(LEAD, talk),
        "direction": f"CASE WHEN {is_in} THEN 'in' ELSE 'out' END", "channel": "'sms'",
        "sender": f"CASE WHEN {is_in} THEN {theirs} ELSE '{f.our_number}' END",
        "recipient": f"CASE WHEN {is_in} THEN '{f.our_number}' ELSE {theirs} END",
        "body": _pick(WORDS, "n", "|"), "provider": "'bench'", "external_id": "'m' || n",
        "status": f"CASE WHEN {is_in} THEN 'received' ELSE 'delivered' END",
        "media": "'[]'", "occurred_at": AT.format("n % 20000000"),
    }  # fmt: skip


def fill(own: psycopg.Connection, what: Filled, *, say: Callable[[str], None] = print) -> None:
    """Write all rows of *what*; the connection is in autocommit mode and a superuser's."""
    own.execute("SET session_replication_role = replica")
    own.execute("SET synchronous_commit = off")
    own.execute("SET maintenance_work_mem = '1GB'")
    with _without_indexes(own, say if what.leads > 50_000 else lambda _: None):
        for table, count, condition, values in rows_of(what):
            values = {"tenant_id": f"'{what.tenant}'::uuid"} | values
            values |= {
                name: default
                for name, default in _must_have(own, table).items()
                if name not in values
            }
            own.execute(
                f"INSERT INTO {table} ({', '.join(values)})"
                f" SELECT {', '.join(values.values())}"
                f" FROM generate_series(1::bigint, {count}) AS n WHERE {condition}"
            )
            say(f"  {table}: {count:,}")
    own.execute("SET session_replication_role = origin")


def _must_have(own: psycopg.Connection, table: str) -> dict[str, str]:
    """A plain value for each column that must have one and has no default."""
    plain = {"text": "''", "bool": "false", "jsonb": "'{}'", "timestamptz": "now()"}
    found = own.execute(
        "SELECT a.attname, t.typname FROM pg_attribute AS a JOIN pg_type AS t ON t.oid = a.atttypid"
        " WHERE a.attrelid = %s::regclass AND a.attnum > 0 AND a.attnotnull AND NOT a.atthasdef"
        " AND NOT a.attisdropped AND a.attidentity = '' AND a.attgenerated = ''",
        [table],
    )
    return {
        name: "''" if kind == "varchar" else "'{}'" if kind[0] == "_" else plain.get(kind, "0")
        for name, kind in found
    }


@contextmanager
def _without_indexes(own: psycopg.Connection, say: Callable[[str], None]) -> Iterator[None]:
    """Drop the indexes that no constraint needs, and build them again at the end."""
    found = own.execute(
        "SELECT i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid) FROM pg_index AS i"
        " WHERE i.indrelid = ANY(%s::regclass[])"
        " AND NOT EXISTS (SELECT FROM pg_constraint AS k WHERE k.conindid = i.indexrelid)",
        [list(TABLES)],
    ).fetchall()
    for name, _ in found:
        own.execute(f"DROP INDEX {name}")
    try:
        yield
    finally:
        for name, definition in found:
            own.execute(re.sub(r" ON (?:ONLY )?public\.", " ON public.", definition))
            say(f"  {name}")


def verify(own: psycopg.Connection) -> int:
    """Have PostgreSQL check every reference of the filled tables; return how many there are.

    Raises:
        psycopg.errors.ForeignKeyViolation: what was filled breaks one.
    """
    found = own.execute(
        "SELECT k.conrelid::regclass::text, k.conname, pg_get_constraintdef(k.oid)"
        " FROM pg_constraint AS k WHERE k.contype = 'f' AND k.conrelid = ANY(%s::regclass[])",
        [list(TABLES)],
    ).fetchall()
    with own.transaction(force_rollback=True):
        for table, name, definition in found:
            own.execute(
                sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}, ADD CONSTRAINT {} ").format(
                    sql.Identifier(table), sql.Identifier(name), sql.Identifier(name)
                )
                + sql.SQL(definition)
            )
    return len(found)


def counts(own: psycopg.Connection, tenant: str) -> dict[str, Any]:
    """Rows of a tenant per filled table."""
    return {
        table: own.execute(
            f"SELECT count(*) FROM {table} WHERE tenant_id = %s", [tenant]
        ).fetchone()[0]
        for table in TABLES
    }
