"""The spool's files: what was acknowledged is read again, whatever happened to the rest."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from integrations.spool_files import MAGIC, SpoolBusy, SpoolFiles, SpoolFull, pack, unpack
from tests.raw import at_once

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def files(tmp_path) -> SpoolFiles:
    return SpoolFiles(tmp_path / "spool", limit=10_000_000)


def keep(files, *payloads):
    for payload in payloads:
        with files.locked(1):
            files.append(payload)


def kept(files):
    found = [one for path in files.segments() for one in unpack(path.read_bytes())]
    return [one.payload for one in found if one.payload is not None]


def test_records_come_back_in_order(files):
    keep(files, b"one", b"two", b"three")

    assert kept(files) == [b"one", b"two", b"three"]


def test_the_folder_and_its_files_are_for_the_owner_alone(files):
    keep(files, b"one")

    assert files.folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in files.segments()} == {0o600}


@pytest.mark.parametrize("cut", range(1, len(pack(b"two"))))
def test_a_torn_last_record_is_seen_and_hides_nothing(cut):
    data = pack(b"one") + pack(b"two")[:-cut]

    found = list(unpack(data))

    assert [one.payload for one in found] == [b"one", None]
    assert found[1].is_torn


@pytest.mark.parametrize("place", range(len(pack(b"two"))))
def test_a_damaged_record_in_the_middle_does_not_lose_those_after_it(place):
    record = bytearray(pack(b"two"))
    record[place] ^= 0xFF
    data = pack(b"one") + bytes(record) + pack(b"three") + pack(b"four")

    found = list(unpack(data))

    assert [one.payload for one in found if one.payload] == [b"one", b"three", b"four"]
    assert b"".join(one.raw for one in found) == data
    assert not any(one.is_torn for one in found)


def test_what_is_appended_after_a_torn_record_is_read(files):
    keep(files, b"one")
    with files.segments()[0].open("ab") as file:
        file.write(pack(b"never acknowledged")[:-4])

    keep(files, b"two")

    assert kept(files) == [b"one", b"two"]


def test_bytes_set_aside_keep_their_reason(files):
    keep(files, b"one")
    segment = files.segments()[0]
    (found,) = unpack(segment.read_bytes()[:-1])

    path = files.set_aside(segment, found, "cut off")

    assert path.read_bytes() == found.raw
    assert path.with_suffix(".txt").read_text() == "cut off"
    assert path.stat().st_mode & 0o777 == 0o600


def test_many_writers_lose_nothing_and_mix_nothing(files):
    def write(hand):
        own = SpoolFiles(files.folder, limit=files.limit)
        for n in range(50):
            with own.locked(30):
                own.append(b"%d:%03d" % (hand, n))

    assert at_once([lambda h=hand: write(h) for hand in range(6)]) == [None] * 6

    for hand in range(6):
        mine = [one for one in kept(files) if one.startswith(b"%d:" % hand)]
        assert mine == [b"%d:%03d" % (hand, n) for n in range(50)]


def _write_forever(folder, said):
    own = SpoolFiles(folder, limit=10_000_000)
    n = 0
    while True:
        with own.locked(30):
            own.append(b"%d:%06d" % (os.getpid(), n))
        said.send(b"%d:%06d" % (os.getpid(), n))  # acknowledged
        n += 1


def test_writers_killed_at_any_moment_leave_all_that_they_acknowledged(files):
    context = multiprocessing.get_context("fork")
    for _ in range(3):
        here, there = context.Pipe(duplex=False)
        writer = context.Process(target=_write_forever, args=(files.folder, there), daemon=True)
        writer.start()
        time.sleep(0.15)
        os.kill(writer.pid, signal.SIGKILL)
        writer.join(10)
        there.close()
        acknowledged = []
        while here.poll(0):
            try:
                acknowledged.append(here.recv())
            except EOFError:
                break

        assert acknowledged
        assert set(acknowledged) <= set(kept(files))
    with files.locked(1):  # its lock died with it
        pass


def test_a_full_spool_takes_nothing_more_and_keeps_what_it_has(tmp_path):
    files = SpoolFiles(tmp_path / "spool", limit=2 * len(pack(b"one")))
    keep(files, b"one", b"two")

    with pytest.raises(SpoolFull), files.locked(1):
        files.append(b"three")

    assert kept(files) == [b"one", b"two"]


FULL_DISK = """
import resource, sys
from pathlib import Path
from integrations.spool_files import SpoolFiles, SpoolFull
files = SpoolFiles(Path(sys.argv[1]), limit=10_000_000)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
taken = 0
try:
    while True:
        with files.locked(1):
            files.append(b"x" * 300)
        taken += 1
except SpoolFull:
    print(taken)
"""


def test_a_full_disk_takes_nothing_more_and_cuts_nothing(files):
    """The operating system refuses in the middle of a record."""
    assert resource.RLIMIT_FSIZE is not None
    ended = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(files.folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    assert int(ended.stdout) == 3
    (segment,) = files.segments()
    assert segment.stat().st_size == 3 * len(pack(b"x" * 300))
    assert kept(files) == [b"x" * 300] * 3


def test_a_lock_is_waited_for_no_longer_than_told(files):
    began = time.monotonic()
    with files.locked(1), pytest.raises(SpoolBusy), files.locked(0.1):
        pass

    assert time.monotonic() - began < 1


def test_a_new_segment_begins_when_one_is_long(files, monkeypatch):
    monkeypatch.setattr("integrations.spool_files.SEGMENT_BYTES", 60)
    keep(files, b"one" * 9, b"two" * 9, b"three" * 9)

    assert len(files.segments()) == 3
    assert kept(files) == [b"one" * 9, b"two" * 9, b"three" * 9]


def test_no_payload_of_ours_can_hold_the_magic_number():
    assert not MAGIC.isascii()
