"""Field mappings: a stranger's payload, read by rows of source path → transform → target.

A path is dotted: ``metaData.Message.from``. ``items[0]`` and ``items.0`` are the first of a list,
``items[-1]`` the last, ``data["a.b"]`` a name with odd characters. Alternatives stand in order,
divided by ``|``: the first that holds something counts. NULL is nothing; so is a blank text where
the row has a transform. Pure: no models, no clock, no network.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from integrations.events import BadPayload
from integrations.payloads import clean
from integrations.transforms import TRANSFORMS, is_blank

#: Limits of one source path; no payload we take is deeper than its steps.
MAX_PATH = 300
MAX_ALTERNATIVES = 8
MAX_STEPS = 32

REST = r'([^.\[\]|"]+)|\[(-?[0-9]{1,5})\]|\["([^"]{1,200})"\]'
FIRST_STEP, NEXT_STEP = re.compile(REST), re.compile(rf"\.{REST}")
ALTERNATIVE = re.compile(r'(?:[^|"]|"[^"]*")*')
WHOLE = re.compile(r"[0-9]{1,5}")

#: How much of a value, and of what stands around a missing one, a problem quotes.
QUOTE = 60
QUOTED_NAMES = 8

Step = str | int
#: Brings a transformed value into the form of its target, or raises ``BadPayload``.
Reader = Callable[[Any], Any]


class BadMapping(ValueError):
    """A row cannot be used, whatever the payload; the message says what to change."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row of a field mapping."""

    target: str
    source: str = ""  # a path with its alternatives; empty: the default alone
    transform: str = ""  # a key of TRANSFORMS; empty: as it stands
    default: str = ""  # as the sender would write it; empty: none
    required: bool = False

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> Row:
        """Return the row in a provider's config; what is odd there becomes text."""
        return cls(
            target=str(stored.get("target") or ""),
            source=str(stored.get("source") or ""),
            transform=str(stored.get("transform") or ""),
            default=str(stored.get("default") or ""),
            required=bool(stored.get("required")),
        )


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Why a row gave no value: what is wrong, where, and what to do about it."""

    row: int | None  # place among the rows, from 0; None: the row is missing
    target: str
    what: str
    where: str
    do: str
    is_fatal: bool = False  # a required value: the event fails

    def __str__(self) -> str:
        place = f" at {self.where}" if self.where else ""
        return f"{self.target}: {self.what}{place}. {self.do}".strip()


@dataclass(frozen=True, kw_only=True)
class Mapped:
    """Values by target, the path each came from ("" is its default), and the problems."""

    values: dict[str, Any] = field(default_factory=dict)
    found_at: dict[str, str] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()

    @property
    def fatal(self) -> Problem | None:
        """The first problem that keeps the event from being understood."""
        return next((problem for problem in self.problems if problem.is_fatal), None)


@lru_cache(maxsize=4096)
def read_path(text: str) -> tuple[tuple[str, tuple[Step, ...]], ...]:
    """Return the alternatives of a source path: its text and its steps, in order.

    Raises:
        BadMapping: it is empty, too long, or not written as a path.
    """
    if len(text) > MAX_PATH:
        raise BadMapping(f"A path has at most {MAX_PATH} characters.")
    alternatives = []
    place = 0
    while place <= len(text):
        match = ALTERNATIVE.match(text, place)
        part = match[0] if match else ""
        alternatives.append((part.strip(), _steps(part.strip())))
        place += len(part) + 1
        if place <= len(text) and text[place - 1] != "|":
            raise BadMapping("A quotation mark is not closed.")
    if len(alternatives) > MAX_ALTERNATIVES:
        raise BadMapping(f"A path has at most {MAX_ALTERNATIVES} alternatives.")
    return tuple(alternatives)


def _steps(text: str) -> tuple[Step, ...]:
    if not text:
        raise BadMapping("A path is empty: name a field, such as data.from.")
    steps: list[Step] = []
    place = 0
    while place < len(text):
        match = (NEXT_STEP if place else FIRST_STEP).match(text, place)
        if match is None or (match[1] is not None and not match[1].strip()):
            raise BadMapping(f"“{text[:QUOTE]}” is no path: write it as data.items[0].from.")
        name, index, quoted = match.groups()
        steps.append(int(index) if index is not None else quoted or name.strip())
        place = match.end()
    if len(steps) > MAX_STEPS:
        raise BadMapping(f"A path has at most {MAX_STEPS} steps.")
    return tuple(steps)


def look_up(payload: Any, source: str) -> Any:
    """Return the first thing that *source* finds in *payload*; None when it is nothing.

    Raises:
        BadMapping: *source* is no path.
    """
    return _first(payload, source, blank_counts=True)[0]


def check_row(row: Row, reader: Reader | None = None) -> None:
    """Check what can be checked of a row without a payload; *reader* is that of its target.

    Raises:
        BadMapping: its path, transform or default cannot be used, or it gives nothing at all.
    """
    if not row.source and not row.default:
        raise BadMapping("Give a source path or a default.")
    if row.source:
        read_path(row.source)
    if row.transform and row.transform not in TRANSFORMS:
        raise BadMapping(f"There is no transform “{row.transform[:QUOTE]}”.")
    if row.default:
        try:
            _read(row.default, row, reader)
        except BadPayload as error:
            raise BadMapping(
                f"The default does not fit: {_not(row, row.default, error)}"
            ) from error


def map_payload(
    payload: Any, rows: Sequence[Row], readers: Mapping[str, Reader], needed: Sequence[str] = ()
) -> Mapped:
    """Return what *rows* find in *payload*. Never raises: what does not fit is a problem.

    Args:
        payload: a parsed body, of any shape.
        rows: in order; a target named twice keeps its first value.
        readers: of the targets there are.
        needed: targets without which the event makes no sense.
    """
    values: dict[str, Any] = {}
    found_at: dict[str, str] = {}
    problems: list[Problem] = []
    for place, row in enumerate(rows):
        if row.target in values:
            continue
        must = row.required or row.target in needed
        try:
            value, where = _value(payload, row, readers, must=must)
        except _Gap as gap:
            what, where, do = gap.args
            problems.append(
                Problem(row=place, target=row.target, what=what, where=where, do=do, is_fatal=must)
            )
        else:
            if value is not None:
                values[row.target], found_at[row.target] = value, where
    problems += [
        Problem(
            row=None,
            target=target,
            what="no row fills it",
            where="",
            do="Add a row that says where it stands.",
            is_fatal=True,
        )
        for target in needed
        if target not in {row.target for row in rows}
    ]
    return Mapped(values=values, found_at=found_at, problems=tuple(problems))


class _Gap(Exception):
    """A row gave nothing it should have given: what is wrong, where, what to do."""


def _value(payload: Any, row: Row, readers: Mapping[str, Reader], *, must: bool) -> tuple[Any, str]:
    """Return a row's value and the path it stood at; None when there is none and need not be."""
    if row.target not in readers:
        raise _Gap("this event has no such target", "", "Choose one of the list.")
    if row.transform and row.transform not in TRANSFORMS:
        raise _Gap("there is no such transform", row.transform[:QUOTE], "Choose one of the list.")
    try:
        value, where = _first(payload, row.source, blank_counts=not row.transform)
        if value is None and row.default:
            value, where = row.default, ""
        if value is None and must:
            raise _Gap("nothing found", row.source[:QUOTE], _advice(payload, row))
    except BadMapping as error:
        raise _Gap("the row cannot be used", row.source[:QUOTE], str(error)) from error
    if value is None:
        return None, ""
    try:
        return _read(value, row, readers[row.target]), where
    except BadPayload as error:
        do = "Map another field, choose another transform, or have the sender correct it."
        raise _Gap(_not(row, value, error), where or "the default", do) from error


def _read(value: Any, row: Row, reader: Reader | None) -> Any:
    if row.transform:
        value = TRANSFORMS[row.transform].read(value)
    elif isinstance(value, str):
        value = clean(value)
    return reader(value) if reader else value


def _first(payload: Any, source: str, *, blank_counts: bool) -> tuple[Any, str]:
    """Return the first value of the alternatives that is something, and its path."""
    for text, steps in read_path(source) if source else ():
        value = payload
        for step in steps:
            value = _go(value, step)
        if value is not None and (blank_counts or not is_blank(value)):
            return value, text
    return None, ""


def _go(value: Any, step: Step) -> Any:
    if isinstance(value, Mapping):
        return value.get(str(step))
    if isinstance(value, list):
        index = int(step) if isinstance(step, int) or WHOLE.fullmatch(step) else None
        if index is not None and -len(value) <= index < len(value):
            return value[index]
    return None


def _advice(payload: Any, row: Row) -> str:
    """Say how far the first alternative of a row came, and what stands there."""
    if not row.source:
        return "Give a source path or a default."
    steps = read_path(row.source)[0][1]
    value, gone = payload, []
    for step in steps:
        further = _go(value, step)
        if further is None:
            break
        value = further
        gone.append(str(step))
    advice = "Correct the path, or give a default."
    if not isinstance(value, Mapping) or not value:
        return advice
    names = ", ".join(clean(str(name))[:QUOTE] for name in list(value)[:QUOTED_NAMES])
    around = f"In {clean('.'.join(gone))[:QUOTE]} there is" if gone else "There is"
    return f"{around}: {names}. {advice}"


def _not(row: Row, value: Any, error: BadPayload) -> str:
    expects = TRANSFORMS[row.transform].expects if row.transform in TRANSFORMS else ""
    return (
        f"“{quoted(value)}” is not {expects} ({error})"
        if expects
        else (f"“{quoted(value)}” does not fit: {error}")
    )


def quoted(value: Any) -> str:
    """Return the beginning of any value as text, to show it to a person."""
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}"
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10**18:
        return "a very long number"
    text = clean(value if isinstance(value, str) else str(value))
    return text if len(text) <= QUOTE else f"{text[:QUOTE]}…"
