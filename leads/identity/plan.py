"""What a staged run brings, and how its tables are called: what each of its steps must know."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field
from typing import Any

from psycopg import sql

#: Kind of a source → kind of the lead event of an update.
EVENT_KINDS = {
    "import": "imported",
    "pull": "pulled",
    "enrichment": "enriched",
    "crm": "contact_updated",
    "manual": "edited",
}
#: Sources whose kind is not "import".
SOURCE_KINDS = {
    "melissa": "enrichment",
    "batchdata_skiptrace": "enrichment",
    "apollo": "enrichment",
    "twilio": "enrichment",
    "instantly": "enrichment",
    "batchdata": "pull",
    "ghl": "crm",
    "aloware": "crm",
    "manual": "manual",
}
_PREFIX = re.compile(r"(staging|pg_temp)\.i[0-9a-z_]{1,40}")


@dataclass(kw_only=True)
class Plan:
    """Everything about a run but its rows. Ids are uuids as text."""

    prefix: str  # of the tables, with their schema
    tenant: str
    source: str = ""
    kind: str = "import"
    run: str | None = None
    artifact: str | None = None
    actor: str | None = None
    correlation: str = ""
    runner: str = "one"
    width: int = 0
    fields: list[str] = field(default_factory=list)  # columns of Lead, as f_<name> in rows
    phones: int = 0
    emails: int = 0
    more: list[str] = field(default_factory=list)  # points with details, such as phone1
    parts: list[str] = field(default_factory=list)  # property, contacts, business, raw
    keys: list[str] = field(default_factory=list)  # given, vendor
    number: int = 0  # of the turn in which the matches were found

    def __post_init__(self) -> None:
        if not _PREFIX.fullmatch(self.prefix):
            raise ValueError(f"not a name of staging tables: {self.prefix}")

    def dumps(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def loads(cls, text: str | dict[str, Any]) -> Plan:
        return cls(**(json.loads(text) if isinstance(text, str) else text))

    def names(self, **more: Any) -> dict[str, str]:
        """Return what statements are formatted with: tables by name, values as literals."""
        tables = ("raw", "rows", "dups", "hits", "blocked", "chunks", "done", "meta")
        return {
            **{name: f"{self.prefix}_{name}" for name in tables},
            "made": "TEMP" if self.prefix.startswith("pg_temp") else "UNLOGGED",
            "tenant": f"{quote(self.tenant)}::uuid",
            "source": quote(self.source),
            "run": f"{quote(self.run)}::uuid",
            "artifact": f"{quote(self.artifact)}::uuid",
            "actor": f"{quote(self.actor)}::uuid",
            "correlation": quote(self.correlation),
            **{name: str(value) for name, value in more.items()},
        }

    @property
    def has_given(self) -> bool:
        return "given" in self.keys

    def column(self, name: str) -> str:
        """Return the column of *rows* with a lead field, a NULL where the run has none."""
        return f"r.f_{name}" if name in self.fields else "NULL::text"

    @property
    def phone_columns(self) -> list[str]:
        return [f"phone{n}" for n in range(1, self.phones + 1)]

    @property
    def email_columns(self) -> list[str]:
        return [f"email{n}" for n in range(1, self.emails + 1)]


def quote(value: str | None) -> str:
    """Return a text as a literal of SQL."""
    return sql.Literal(value).as_string(None)
