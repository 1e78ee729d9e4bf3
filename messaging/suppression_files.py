"""Reading a file of addresses, whatever made it: encoding, separator, header, one row at a time.

Pure, and streaming: a file is never in memory as a whole.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, BinaryIO

from integrations.addresses import E164, normalize_address
from integrations.events import BadPayload
from leads.captures import normalize_email

BLOCK = 1 << 16
#: Rows looked at to find out which column holds the addresses.
SAMPLE = 50
SEPARATORS = ",;\t"
#: Characters of a cell that are kept to show what was wrong with it.
RAW = 200
BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
#: Names of the column that is meant, where there is a header.
NAMES = re.compile(
    r"phone|mobile|cell|number|tel\b|msisdn|address|e-?mail|recipient|contact", re.IGNORECASE
)

#: Characters of a cell that no list of addresses has: a quote was opened and never closed.
LONGEST_CELL = 100_000


class UnreadableFile(Exception):
    """The file is no list of addresses; the text says why."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row: an address as the registry writes it, or what is wrong with it."""

    line: int
    raw: str
    address: str = ""
    problem: str = ""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How a file is written."""

    encoding: str
    separator: str
    column: int
    has_header: bool

    def __str__(self) -> str:
        name = {"\t": "tab"}.get(self.separator, self.separator)
        header = "with" if self.has_header else "without"
        return f"{self.encoding}, separated by {name}, column {self.column + 1}, {header} header"


def read_addresses(stream: BinaryIO, *, channel: str = "sms") -> tuple[Layout, Iterator[Row]]:
    """Return how *stream* is written, and its rows, read as they are asked for.

    Args:
        stream: open for reading at its beginning; it must be able to go back there.
        channel: ``sms`` and ``call`` lists hold phone numbers, ``email`` lists addresses.

    Raises:
        UnreadableFile: it is empty, binary, or no column holds addresses.
    """
    read = _email if channel == "email" else _number
    encoding = _encoding_of(stream)
    try:
        layout = _layout_of(stream, encoding, read)
    except csv.Error as error:
        raise UnreadableFile(f"The file is no table: {error}.") from error
    return layout, _rows(stream, layout, read)


def _encoding_of(stream: BinaryIO) -> str:
    stream.seek(0)
    head = stream.read(BLOCK)
    if not head.strip():
        raise UnreadableFile("The file is empty.")
    for bom, name in BOMS:
        if head.startswith(bom):
            return name
    if head.count(0) > len(head) // 4:
        odd = head[1::2].count(0) > head[::2].count(0)
        return "utf-16-le" if odd else "utf-16-be"
    if 0 in head:
        raise UnreadableFile("The file is no text. Export it as CSV first.")
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        while head:
            decoder.decode(head)
            head = stream.read(BLOCK)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8"


def _lines(stream: BinaryIO, encoding: str) -> Iterator[str]:
    stream.seek(0)
    text = io.TextIOWrapper(stream, encoding=encoding, errors="replace", newline="")
    try:
        for line in text:
            yield line.replace("\x00", "")
    finally:
        text.detach()


def _layout_of(stream: BinaryIO, encoding: str, read: Callable[[str], str]) -> Layout:
    sample = list(islice(_lines(stream, encoding), SAMPLE))
    counts = {mark: sum(mark in line for line in sample) for mark in SEPARATORS}
    separator = max(counts, key=lambda mark: counts[mark])
    rows = [row for row in csv.reader(sample, delimiter=separator) if any(map(str.strip, row))]
    if not rows:
        raise UnreadableFile("The file is empty.")
    has_header = not any(_fits(read, cell) for cell in rows[0])
    body = rows[1:] if has_header and len(rows) > 1 else rows
    width = max(map(len, rows))
    hits = [
        sum(_fits(read, row[column]) for row in body if column < len(row))
        for column in range(width)
    ]
    named = [column for column, cell in enumerate(rows[0]) if has_header and NAMES.search(cell)]
    best = max(range(width), key=lambda column: (hits[column], column in named, -column))
    if not hits[best] and not named:
        raise UnreadableFile("No column of this file holds addresses of this kind.")
    column = best if hits[best] else named[0]
    return Layout(encoding=encoding, separator=separator, column=column, has_header=has_header)


def _rows(stream: BinaryIO, layout: Layout, read: Callable[[str], str]) -> Iterator[Row]:
    reader = csv.reader(_lines(stream, layout.encoding), delimiter=layout.separator)
    skip = layout.has_header
    for cells in _cells(reader):
        if not any(cell.strip() for cell in cells):
            continue
        if skip:
            skip = False
            continue
        raw = cells[layout.column].strip() if layout.column < len(cells) else ""
        yield _row(reader.line_num, raw, read)


def _cells(reader: Any) -> Iterator[list[str]]:
    try:
        for cells in reader:
            if any(len(cell) > LONGEST_CELL for cell in cells):
                raise UnreadableFile(f"Line {reader.line_num}: a quote is never closed.")
            yield cells
    except csv.Error as error:
        raise UnreadableFile(f"Line {reader.line_num}: {error}.") from error


def _row(line: int, raw: str, read: Callable[[str], str]) -> Row:
    if not raw:
        return Row(line=line, raw="", problem="the column is empty")
    try:
        return Row(line=line, raw=raw[:RAW], address=read(raw))
    except BadPayload as error:
        return Row(line=line, raw=raw[:RAW], problem=str(error))


def _fits(read: Callable[[str], str], cell: str) -> bool:
    try:
        return bool(read(cell.strip()))
    except BadPayload:
        return False


def _number(text: str) -> str:
    # A spreadsheet keeps a number as text by a quote, or makes it one with decimals.
    text = text.lstrip("'").removesuffix(".0")
    try:
        address = normalize_address(text)
    except BadPayload as error:
        raise BadPayload("this is no phone number") from error
    if not E164.fullmatch(address):
        raise BadPayload("this is no phone number with its area code")
    return address


def _email(text: str) -> str:
    address = normalize_email(text)
    if not address:
        raise BadPayload("this is no e-mail address")
    return address
