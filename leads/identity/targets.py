"""What a column of a file may become, and how its text is read."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """One place a value can go to.

    ``kind``: text, int, money, bool, percent, date, number, phone, email, line_type, fips, region
    or zip. ``width`` is that of the column, 0: no limit. ``label`` is for people.
    """

    name: str
    kind: str
    label: str
    group: str  # Person, Address, Company, Property, Mailing address, Second owner, Contact, …
    width: int = 0


#: Columns of Lead that a record may bring: name → kind and width.
FIELDS: dict[str, Target] = {}


def find(name: str) -> Target | None:
    """Return a target by name; ``raw.<anything>`` always is one. None: there is no such target."""
    raise NotImplementedError


def choices() -> list[tuple[str, list[tuple[str, str]]]]:
    """Return the targets by group, for a select: ``[(group, [(name, label), …]), …]``."""
    raise NotImplementedError
