"""Any file somebody may call a CSV: encodings, separators, headers, and what is no table at all."""

from __future__ import annotations

import codecs
import csv
import io
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leads.imports import reading
from leads.imports.reading import EncodingGuess, UnreadableFile, layout_of, rows_of

BODY = 'name;phone;note\nJosé;2025550143;"one\ntwo; three"\nZoë;2025550144;ok\n'


def encoding_of(data, block=7):
    guess = EncodingGuess()
    for start in range(0, len(data), max(block, len(data) // 50)):
        guess.feed(data[start : start + max(block, len(data) // 50)])
    return guess.result()


def read(data):
    guess = EncodingGuess()
    guess.feed(data)
    stream = io.BytesIO(data)
    layout, samples = layout_of(stream, guess.result())
    return layout, list(rows_of(stream, layout)), samples


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        (BODY.encode(), "utf-8"),
        (codecs.BOM_UTF8 + BODY.encode(), "utf-8-sig"),
        (BODY.encode("utf-16"), "utf-16"),
        (codecs.BOM_UTF16_BE + BODY.encode("utf-16-be"), "utf-16"),
        (BODY.encode("utf-16-le"), "utf-16-le"),
        (BODY.encode("utf-16-be"), "utf-16-be"),
        (BODY.encode("cp1252"), "cp1252"),
    ],
)
def test_names_survive_every_encoding(data, encoding):
    layout, rows, _ = read(data)

    assert layout.encoding == encoding
    assert [row.cells[0] for row in rows] == ["José", "Zoë"]
    assert rows[0].cells[2] == "one\ntwo; three"
    assert (rows[0].number, rows[0].line, rows[1].number, rows[1].line) == (1, 3, 2, 4)


def test_an_encoding_is_decided_by_the_whole_file_and_not_its_beginning():
    late = b"name\n" + b"Ann\n" * 100_000 + "José\n".encode("cp1252")

    assert encoding_of(late) == "cp1252"
    assert encoding_of(b"name\nJos\xc3") == "cp1252"  # ends inside a letter of UTF-8


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
def test_every_separator_is_found(mark):
    text = f'a{mark}b{mark}c\n"x{mark}y"{mark}2{mark}3\n1{mark}2{mark}3\n'

    layout, rows, _ = read(text.encode())

    assert layout.delimiter == mark
    assert rows[0].cells == [f"x{mark}y", "2", "3"]


def test_commas_inside_addresses_are_no_separators():
    text = "name\taddress\nAnn\t12 Oak St, Albany, NY\nBob\t7 Elm St, Troy, NY\n"

    assert read(text.encode())[0].delimiter == "\t"


def test_a_single_column_is_a_table():
    layout, rows, _ = read(b"phone\n2025550143\n")

    assert layout.header == ("phone",)
    assert rows[0].cells == ["2025550143"]


def test_rows_that_do_not_fit_are_told_and_the_others_are_read():
    text = 'a,b,c\n1,2\n1,2,3\n1,2,3,4\n1,2,3,,\n\n" "\n4,5,6\n'

    rows = read(text.encode())[1]

    assert [(row.number, row.problem) for row in rows] == [
        (1, "The row has 2 columns, the header has 3"),
        (2, ""),
        (3, "The row has 4 columns, the header has 3"),
        (4, ""),  # nothing stands in what is too much
        (5, ""),
    ]
    assert rows[2].cells == ["1", "2", "3", "4"]


def test_headers_get_names_of_their_own():
    layout, _, _ = read(b"Phone,,phone, E-Mail\x00 ,Phone (2)\n1,2,3,4,5\n")

    assert layout.header == ("Phone", "Column 2", "phone (2)", "E-Mail", "Phone (2) (2)")


def test_a_file_without_a_header_is_read_from_its_first_row():
    layout, rows, samples = read(b"Jane Doe,2025550143,12207\nJoe Roe,2025550144,12208\n")

    assert not layout.has_header
    assert layout.header == ("Column 1", "Column 2", "Column 3")
    assert len(rows) == 2
    assert samples[0] == rows[0].cells == ["Jane Doe", "2025550143", "12207"]


def test_zeros_inside_text_are_left_out():
    rows = read(b"name,phone\n" + b"Ann Lee the Third,2025550143\n" * 20 + b"A\x00nn,1\n")[1]

    assert rows[-1].cells == ["Ann", "1"]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b"\n \n\r\n", "empty"),
        (codecs.BOM_UTF8, "empty"),
        (b"PK\x03\x04\x14\x00", "Line 1, byte 1: this is an Excel workbook"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1", "old Excel"),
        (b"%PDF-1.7", "PDF"),
        (b"name\nAnn\n\x00\x01\x02" + b"x" * 50, "Line 3, byte 10: this is no text"),
        (b",".join(b"c" for _ in range(400)) + b"\n1\n", "400 columns"),
    ],
)
def test_what_is_no_table_is_refused_with_its_place(data, words):
    with pytest.raises(UnreadableFile, match=words):
        read(data)


def test_a_long_cell_makes_its_row_an_error_and_no_more():
    text = f"name,note\nAnn,{'x' * 1_000_000}\nBob,ok\n"

    rows = read(text.encode())[1]

    assert rows[0].problem == "Column 2 has 1,000,000 characters, more than 10,000"
    assert len(rows[0].cells[1]) == reading.LONGEST_CELL
    assert (rows[1].cells, rows[1].problem) == (["Bob", "ok"], "")


def test_a_quote_that_nobody_closed_is_found_and_named():
    start = b"name,note\nAnn,fine\n" * 200
    data = start + b'Bob,"open\n' + b"Cal,fine\n" * 700_000

    with pytest.raises(UnreadableFile, match=r"Line \d+, byte \d+: a cell never ends"):
        read(data)


def test_old_line_ends_are_read():
    assert len(read(b"name,phone\rAnn,1\rBob,2\r")[1]) == 2


def test_the_reason_of_a_reject_file_is_no_data_wherever_it_stands():
    layout, rows, samples = read(b"Import problem,name,phone\nPhone has 9 digits,Ann,1\n")

    assert layout.header == ("name", "phone")
    assert rows[0].cells == samples[0] == ["Ann", "1"]


def test_what_a_spreadsheet_was_told_to_take_as_text_loses_its_mark():
    rows = read(b"name,note\n'=Ann,'-5\n'tis,O'Neil\n")[1]

    assert rows[0].cells == ["=Ann", "-5"]
    assert rows[1].cells == ["'tis", "O'Neil"]


def test_a_large_file_is_never_in_memory_as_a_whole():
    line = b"Ann,2025550143," + b"x" * 80 + b"\n"
    stream = io.BytesIO(b"name,phone,note\n" + line * 200_000)
    tracemalloc.start()
    layout, _ = layout_of(stream, "utf-8")
    count = sum(1 for _ in rows_of(stream, layout))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert count == 200_000
    assert peak < 4_000_000


CELLS = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=12)


@given(st.lists(st.lists(CELLS, min_size=3, max_size=3), min_size=1, max_size=8))
def test_whatever_a_csv_writer_wrote_is_read_back(table):
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL)
    writer.writerow(["alpha", "beta", "gamma"])
    writer.writerows(table)

    _, rows, _ = read(text.getvalue().encode())

    wanted = [row for row in table if any(cell.strip() for cell in row)]
    plain = [[reading.unmarked(cell) for cell in row] for row in wanted]
    assert [row.cells for row in rows] == plain


@given(st.binary(max_size=400))
def test_no_bytes_break_the_reader(data):
    try:
        layout, rows, _ = read(data)
    except UnreadableFile:
        return
    assert all(row.problem or len(row.cells) == len(layout.header) for row in rows)
