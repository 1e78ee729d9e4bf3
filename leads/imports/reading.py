"""Reading a table out of any text file: encoding, separator, header, one row at a time.

Pure, and streaming: a file is never in memory as a whole.
"""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, BinaryIO

BLOCK = 1 << 20
#: Rows looked at to find the separator and to show what is in the columns.
SAMPLE = 50
DELIMITERS = ",;\t|"
#: Characters of a cell that are taken; a longer one makes its row an error.
LONGEST_CELL = 10_000
#: Characters after which a cell is taken for a quote that nobody closed.
RUNAWAY_CELL = 4_000_000
MOST_COLUMNS = 300
#: How cells begin that spreadsheets take for a formula, unless a quote stands before them.
FORMULA = ("=", "+", "-", "@", "\t", "\r")
#: Header of the column that a reject file adds: read, and left out.
REASON = "import problem"

BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
#: How files begin that are no text, and what people call them.
BINARY = (
    (b"PK\x03\x04", "an Excel workbook or a ZIP file"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook"),
    (b"%PDF", "a PDF"),
    (b"\x1f\x8b", "a compressed file"),
    (b"\x89PNG", "a picture"),
)

csv.field_size_limit(max(csv.field_size_limit(), RUNAWAY_CELL))


class UnreadableFile(Exception):
    """The file is no table; the text says where and why."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How a file is written. ``header`` has a name for every column, made up where there is none.

    ``skip`` is the place of a reject file's reason column, which is no data; None: it has none.
    """

    encoding: str
    delimiter: str
    header: tuple[str, ...]
    has_header: bool = True
    skip: int | None = None

    def __str__(self) -> str:
        name = {"\t": "tab", "|": "bar"}.get(self.delimiter, self.delimiter)
        return f"{self.encoding}, separated by {name}"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row of data; ``number`` counts from 1, ``line`` is its line in the file."""

    number: int
    line: int
    cells: list[str]
    problem: str = ""


class EncodingGuess:
    """Finds out how a stream of bytes is written, block by block."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._is_utf8 = True
        self._head = b""

    def feed(self, block: bytes) -> None:
        """Look at the next *block* of the file.

        Raises:
            UnreadableFile: it is no text.
        """
        if not self._head:
            self._head = block
            _refuse_binary(block)
        if self._is_utf8:
            try:
                self._decoder.decode(block)
            except UnicodeDecodeError:
                self._is_utf8 = False

    def result(self) -> str:
        """Return the name of the encoding.

        Raises:
            UnreadableFile: there was nothing.
        """
        head = self._head
        for bom, name in BOMS:
            if head.startswith(bom):
                return name
        wide = _wide_encoding(head)
        if wide:
            return wide
        if not head.strip(b"\0 \t\r\n"):
            raise UnreadableFile("The file is empty.")
        if not self._is_utf8:
            return "cp1252"
        try:
            self._decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return "cp1252"
        return "utf-8"


def _wide_encoding(head: bytes) -> str:
    """Return the UTF-16 of bytes that have no mark but a zero in every other place."""
    zeros = head.count(0)
    if zeros * 4 <= len(head):
        return ""
    return "utf-16-le" if head[1::2].count(0) > head[::2].count(0) else "utf-16-be"


def _refuse_binary(head: bytes) -> None:
    for magic, name in BINARY:
        if head.startswith(magic):
            raise UnreadableFile(
                f"Line 1, byte 1: this is {name}, no CSV. Save it as “CSV UTF-8” and try again."
            )
    if head.startswith(tuple(bom for bom, _ in BOMS)) or _wide_encoding(head):
        return
    zeros = head.count(0)
    # A stray zero comes with bad exports; with other control characters it is a program's file.
    if zeros and (zeros * 20 > len(head) or any(code in head for code in range(1, 9))):
        place = head.index(0)
        line = head.count(b"\n", 0, place) + 1
        raise UnreadableFile(f"Line {line}, byte {place + 1}: this is no text. Export it as CSV.")


def layout_of(stream: BinaryIO, encoding: str) -> tuple[Layout, list[list[str]]]:
    """Return how *stream* is written, and its first rows of data.

    Args:
        stream: open at its beginning.
        encoding: of ``EncodingGuess``.

    Raises:
        UnreadableFile: it has no header, or it is no table.
    """
    lines = _Lines(stream, encoding)
    sample = list(islice(lines, SAMPLE * 4))
    delimiter = _delimiter_of(sample)
    try:
        rows = [row for row in csv.reader(sample, delimiter=delimiter) if any(map(str.strip, row))]
    except csv.Error as error:
        raise UnreadableFile(f"The first lines are no table: {error}.") from error
    if not rows:
        raise UnreadableFile("The file is empty.")
    if len(rows[0]) > MOST_COLUMNS:
        raise UnreadableFile(
            f"Line 1: {len(rows[0])} columns; at most {MOST_COLUMNS} can be imported."
        )
    has_header = _is_header(rows[0])
    names = rows[0] if has_header else [""] * max(map(len, rows[:SAMPLE]))
    skip = next((i for i, name in enumerate(names) if name.strip().lower() == REASON), None)
    kept = [name for i, name in enumerate(names) if i != skip]
    layout = Layout(
        encoding=encoding,
        delimiter=delimiter,
        header=tuple(_named(kept)),
        has_header=has_header,
        skip=skip,
    )
    body = rows[1:] if has_header else rows
    return layout, [_without(row, skip) for row in body[:SAMPLE]]


def _delimiter_of(sample: Sequence[str]) -> str:
    """Return the separator that splits the first rows into the most, and equally many, columns."""
    best, points = ",", (-1.0, 0)
    for mark in DELIMITERS:
        try:
            widths = [len(row) for row in csv.reader(sample, delimiter=mark) if row][:SAMPLE]
        except csv.Error:
            continue
        if not widths or widths[0] < 2:
            continue
        agree = sum(width == widths[0] for width in widths) / len(widths)
        if (agree, widths[0]) > points:
            best, points = mark, (agree, widths[0])
    return best


def _is_header(cells: Sequence[str]) -> bool:
    """Tell whether the first row names columns: data has numbers, addresses and blanks in it."""
    filled = [cell.strip() for cell in cells if cell.strip()]
    return not any("@" in cell or _is_number(cell) for cell in filled)


def _is_number(cell: str) -> bool:
    """Tell whether a cell is a phone number, a ZIP code or an amount; a year may be a name."""
    digits = sum(map(str.isdigit, cell))
    return digits >= 5 and digits * 2 > len(cell)


def _named(names: Sequence[str]) -> Iterator[str]:
    """Give blank columns a name, and repeated ones a number."""
    seen: set[str] = set()
    for place, name in enumerate(names, 1):
        base = " ".join(name.replace("\0", "").split())[:100] or f"Column {place}"
        unique, number = base, 1
        while unique.lower() in seen:
            number += 1
            unique = f"{base} ({number})"
        seen.add(unique.lower())
        yield unique


def _without(cells: list[str], skip: int | None) -> list[str]:
    return cells if skip is None else cells[:skip] + cells[skip + 1 :]


def rows_of(stream: BinaryIO, layout: Layout) -> Iterator[Row]:
    """Yield the rows of data of *stream*, one at a time; blank lines are no rows.

    A row that does not fit the header has a ``problem`` and the cells it has.

    Raises:
        UnreadableFile: somewhere it stops to be a table; the text says at which line.
    """
    lines = _Lines(stream, layout.encoding)
    reader = csv.reader(lines, delimiter=layout.delimiter)
    width, number = len(layout.header), 0
    is_first = layout.has_header
    for cells in _guarded(reader, lines):
        if not any(cell.strip() for cell in cells):
            continue
        if is_first:
            is_first = False
            continue
        number += 1
        kept, problem = _fitted(_without(cells, layout.skip), width)
        yield Row(number=number, line=reader.line_num, cells=kept, problem=problem)


def _guarded(reader: Any, lines: _Lines) -> Iterator[list[str]]:
    try:
        yield from reader
    except csv.Error as error:
        what = "a cell never ends; is a quote not closed?" if "limit" in str(error) else f"{error}."
        raise UnreadableFile(f"Line {reader.line_num}, byte {lines.bytes_read}: {what}") from error


def _fitted(cells: list[str], width: int) -> tuple[list[str], str]:
    """Return the cells as wide as the header, and what is wrong with the row."""
    while len(cells) > width and not cells[-1].strip():
        cells = cells[:-1]
    problem = ""
    if len(cells) != width:
        problem = f"The row has {len(cells)} columns, the header has {width}"
    for place, cell in enumerate(cells):
        if cell.startswith("'"):
            cells[place] = unmarked(cell)
        if len(cell) > LONGEST_CELL:
            problem = f"Column {place + 1} has {len(cell):,} characters, more than {LONGEST_CELL:,}"
            cells[place] = cell[:LONGEST_CELL]
    return cells, problem


def unmarked(cell: str) -> str:
    """Return a cell without the quote by which spreadsheets, and exports, mark it as text."""
    return cell[1:] if cell[:1] == "'" and cell.lstrip("'").startswith(FORMULA) else cell


class _Lines:
    """The lines of a stream as text, without the characters that no record can keep."""

    def __init__(self, stream: BinaryIO, encoding: str) -> None:
        stream.seek(0)
        self._stream = stream
        self._text = io.TextIOWrapper(stream, encoding=encoding, errors="replace", newline="")

    @property
    def bytes_read(self) -> int:
        return self._stream.tell()

    def __iter__(self) -> Iterator[str]:
        try:
            # readline with a bound: a file without line ends must not fill the memory.
            while line := self._text.readline(RUNAWAY_CELL):
                yield line.replace("\0", "") if "\0" in line else line
        finally:
            self._text.detach()
