"""ULIDs: strict to read, growing to write, the same in Python and SQL."""

from __future__ import annotations

import os
import threading
import time
import uuid

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenants.ulids import (
    ALPHABET,
    MonotonicUlids,
    decode,
    encode,
    new_id,
    new_uuid,
    to_text,
    to_uuid,
)
from tests.raw import rows

numbers = st.integers(0, 2**128 - 1)
GOOD = "01ARZ3NDEKTSV4RRFFQ69G5FAV"


@given(numbers)
def test_what_is_written_is_read_again(number):
    text = encode(number)

    assert (len(text), set(text) <= set(ALPHABET)) == (26, True)
    assert decode(text) == decode(text.lower()) == number


@given(numbers, numbers)
def test_text_sorts_as_numbers_do(one, other):
    assert (encode(one) < encode(other)) == (one < other)


@pytest.mark.parametrize(
    "text",
    [
        "",
        GOOD[:-1],
        GOOD + "0",
        GOOD[:-1] + "O",  # an alias of 0
        GOOD[:-1] + "o",
        GOOD[:-1] + "I",
        GOOD[:-1] + "i",
        GOOD[:-1] + "L",
        GOOD[:-1] + "U",
        GOOD[:-1] + "-",
        GOOD[:-1] + " ",
        GOOD + "\n",
        " " + GOOD[1:],
        "8" + GOOD[1:],  # more than 128 bits
        "Z" * 26,
        GOOD[:-1] + "\u017f",  # its capital is an S
        GOOD[:-1] + "\uff10",  # a full-width 0
        GOOD[:-1] + "\u0660",  # an Arabic 0
        GOOD[:-2] + "\u00df",  # its capital is two letters
        GOOD[:-1] + "\x00",
    ],
)
def test_anything_else_is_no_ulid(text):
    with pytest.raises(ValueError, match="not a ULID"):
        decode(text)


def test_the_largest_is_read():
    assert decode("7" + "Z" * 25) == 2**128 - 1


def test_ids_carry_their_prefix():
    text = new_id("lead")

    assert text.startswith("lead_")
    assert to_text("lead", to_uuid(text)) == text
    assert to_uuid(text.removeprefix("lead_")) == to_uuid(text)


def test_every_id_is_greater_than_the_one_before():
    ids = [new_uuid() for _ in range(20_000)]

    assert ids == sorted(ids)
    assert len(set(ids)) == len(ids)


def test_ids_say_when_they_were_made():
    before = time.time_ns() // 1_000_000
    made = new_uuid().int >> 80

    assert before <= made <= time.time_ns() // 1_000_000


def test_ids_of_many_threads_never_meet():
    made = [[] for _ in range(8)]

    def make(own):
        own.extend(new_uuid() for _ in range(2_000))

    threads = [threading.Thread(target=make, args=(own,)) for own in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len({one for own in made for one in own}) == 16_000
    assert all(own == sorted(own) for own in made)


def test_a_clock_that_steps_back_makes_no_smaller_id(monkeypatch):
    ulids = MonotonicUlids()
    first = ulids.next()
    monkeypatch.setattr(time, "time_ns", lambda: 1_000_000)

    assert ulids.next() == first + 1


def test_a_forked_child_makes_ids_of_its_own():
    parent_ahead = new_uuid().int  # the state that a child would otherwise repeat
    reads, writes = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(writes, b"".join(new_uuid().bytes for _ in range(50)))
        os._exit(0)
    os.waitpid(pid, 0)
    raw = os.read(reads, 16 * 50)
    children = {uuid.UUID(bytes=raw[n : n + 16]) for n in range(0, len(raw), 16)}
    mine = {new_uuid() for _ in range(50)}

    assert len(children) == 50
    assert not children & mine
    assert parent_ahead + 1 not in {child.int for child in children}


def test_a_fork_while_another_thread_makes_ids_does_not_hang():
    stop = threading.Event()

    def busy():
        while not stop.is_set():
            new_uuid()

    thread = threading.Thread(target=busy)
    thread.start()
    try:
        for _ in range(20):
            pid = os.fork()
            if pid == 0:
                new_uuid()
                os._exit(0)
            assert os.waitpid(pid, 0)[1] == 0
    finally:
        stop.set()
        thread.join()


# --- the same in SQL --------------------------------------------------------------------------


@pytest.mark.django_db
@settings(max_examples=50, deadline=None)
@given(st.lists(numbers, min_size=1, max_size=20))
def test_sql_writes_what_python_writes(many):
    values = [uuid.UUID(int=number) for number in many]

    written = rows(
        "SELECT ulid_text('lead', id) FROM unnest(%s::uuid[]) WITH ORDINALITY AS u(id, n)"
        " ORDER BY n",
        values,
    )

    assert [text for (text,) in written] == [to_text("lead", value) for value in values]


@pytest.mark.django_db
def test_sql_makes_ids_of_now():
    (made, nothing), *_ = rows("SELECT ulid_new(), ulid_text('lead', NULL)")

    assert abs((made.int >> 80) - time.time_ns() // 1_000_000) < 60_000
    assert nothing is None
    assert len({one for (one,) in rows("SELECT ulid_new() FROM generate_series(1, 500)")}) == 500
