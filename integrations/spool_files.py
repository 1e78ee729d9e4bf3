"""The spool's files: records that survive a crash, appended by all web processes of a host.

A record is a magic number, the length and CRC 32 of its payload, and the payload, written at the
end of a segment and fsynced before anybody is told. The magic number holds bytes that no payload
has (payloads are base 64), so that a reader finds the next record behind a damaged one.

Segments are numbered; the newest takes what comes, older ones only wait to be drained.
"""

from __future__ import annotations

import fcntl
import os
import struct
import time
import uuid
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

MAGIC = b"\xf1FLspl\x01\xfe"
_HEAD = struct.Struct(">II")  # length, CRC 32 of length and payload
#: Longest payload in bytes: the largest body there is, twice in base 64.
MAX_PAYLOAD = 16 * 1024 * 1024
#: Bytes after which a new segment begins.
SEGMENT_BYTES = 8 * 1024 * 1024
#: Seconds between two looks at a lock that somebody else holds.
LOCK_LOOK_S = 0.005


class SpoolFull(Exception):
    """Nothing was kept: the spool has its full size, or the disk refused."""


class SpoolBusy(Exception):
    """Nothing was kept: another process holds the directory for longer than we may wait."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """A stretch of a segment: a record's payload, or bytes that are none."""

    at: int  # offset in the segment
    payload: bytes | None  # None: damaged
    raw: bytes
    is_torn: bool = False  # damaged, at the very end: its writer died over it


def pack(payload: bytes) -> bytes:
    """Return *payload* as it stands in a segment."""
    length = len(payload)
    return MAGIC + _HEAD.pack(length, _crc(length, payload)) + payload


def unpack(data: bytes) -> Iterator[Found]:
    """Yield what *data* holds, in order; what is damaged does not hide what comes after it."""
    place = 0
    while place < len(data):
        payload = _payload_at(data, place)
        if payload is not None:
            end = place + len(MAGIC) + _HEAD.size + len(payload)
            yield Found(at=place, payload=payload, raw=data[place:end])
        else:
            following = data.find(MAGIC, place + 1)
            end = following if following >= 0 else len(data)
            yield Found(at=place, payload=None, raw=data[place:end], is_torn=following < 0)
        place = end


def _payload_at(data: bytes, place: int) -> bytes | None:
    head = place + len(MAGIC)
    if data[place:head] != MAGIC or len(data) < head + _HEAD.size:
        return None
    length, crc = _HEAD.unpack_from(data, head)
    payload = data[head + _HEAD.size : head + _HEAD.size + length]
    return payload if len(payload) == length and _crc(length, payload) == crc else None


def _crc(length: int, payload: bytes) -> int:
    return zlib.crc32(payload, zlib.crc32(struct.pack(">I", length)))


class SpoolFiles:
    """One spool directory. Everything that changes it happens under its lock.

    Args:
        folder: made when it is missing, for its owner alone.
        limit: bytes that its segments may take.

    Raises:
        OSError: it cannot be made or written.
    """

    def __init__(self, folder: Path, *, limit: int) -> None:
        self.folder = folder
        self.aside = folder / "aside"
        self.limit = limit
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)  # a umask may have made it stricter, an older folder laxer
        self.aside.mkdir(mode=0o700, exist_ok=True)

    # --- the lock ---------------------------------------------------------------------------

    @contextmanager
    def locked(self, wait_s: float) -> Iterator[None]:
        """Hold the directory, against threads and processes; a dead holder lets go of it.

        Raises:
            SpoolBusy: somebody else held it for *wait_s* seconds.
        """
        lock = self.open("lock")  # opened anew: flock is of the open file, so it binds threads too
        try:
            deadline = time.monotonic() + wait_s
            while not try_lock(lock):
                if time.monotonic() >= deadline:
                    raise SpoolBusy(f"the spool was held for {wait_s:g} s")
                time.sleep(LOCK_LOOK_S)
            yield
        finally:
            os.close(lock)

    def open(self, name: str, flags: int = os.O_RDWR) -> int:
        """Return a descriptor of a file of the directory, made when missing."""
        return os.open(self.folder / name, flags | os.O_CREAT | os.O_CLOEXEC, 0o600)

    # --- identity ---------------------------------------------------------------------------

    def identity(self, *, anew: bool = False) -> uuid.UUID:
        """Return the directory's own id, under which the database knows it."""
        file = self.folder / "id"
        with suppress(FileNotFoundError, ValueError):
            if not anew:
                return uuid.UUID(file.read_text().strip())
        made = uuid.uuid4()
        self.write("id", str(made).encode())
        return made

    def write(self, name: str, content: bytes) -> None:
        """Replace a small file, whole or not at all, and durably."""
        other = f"{name}.new"
        place = self.open(other, os.O_WRONLY | os.O_TRUNC)
        try:
            os.write(place, content)
            os.fsync(place)
        finally:
            os.close(place)
        os.replace(self.folder / other, self.folder / name)
        self._sync(self.folder)

    def remove(self, name: str) -> None:
        """Remove a small file, durably."""
        (self.folder / name).unlink(missing_ok=True)
        self._sync(self.folder)

    def has(self, name: str) -> bool:
        return (self.folder / name).exists()

    # --- segments ---------------------------------------------------------------------------

    def segments(self) -> list[Path]:
        """Return the segments, the oldest first."""
        names = sorted(name for name in os.listdir(self.folder) if name.endswith(".seg"))
        return [self.folder / name for name in names]

    def is_empty(self) -> bool:
        """Tell whether nothing waits here; some microseconds, without the lock."""
        return not any(name.endswith(".seg") for name in os.listdir(self.folder))

    def size(self) -> int:
        """Return the bytes that wait here."""
        total = 0
        for segment in self.segments():
            with suppress(FileNotFoundError):  # drained a moment ago
                total += segment.stat().st_size
        return total

    def append(self, payload: bytes) -> None:
        """Add a record and return once it is on the disk. The caller holds the lock.

        Raises:
            SpoolFull: there is no room; the segment is as it was.
        """
        record = pack(payload)
        if len(payload) > MAX_PAYLOAD or self.size() + len(record) > self.limit:
            raise SpoolFull(f"the spool may take {self.limit} bytes")
        segments = self.segments()
        newest = segments[-1] if segments else None
        if newest is None or newest.stat().st_size + len(record) > SEGMENT_BYTES:
            newest = self.begin_segment()
        _append(newest, record)

    def begin_segment(self) -> Path:
        """Make the next segment, so that the ones before take no more. The caller has the lock.

        Raises:
            SpoolFull: the disk refused.
        """
        segments = self.segments()
        # By the clock, so that no name comes again: what is set aside is called after its segment.
        number = int(segments[-1].stem) + 1 if segments else time.time_ns() // 1_000_000
        path = self.folder / f"{number:015d}.seg"
        try:
            os.close(self.open(path.name, os.O_WRONLY))
            self._sync(self.folder)
        except OSError as error:
            raise SpoolFull(str(error)) from error
        return path

    def drop(self, segment: Path) -> None:
        """Remove a segment all of which is stored. The caller holds the lock."""
        segment.unlink(missing_ok=True)
        self._sync(self.folder)

    def set_aside(self, segment: Path, found: Found, reason: str) -> Path:
        """Keep bytes that cannot be stored, and why; the same bytes are kept once."""
        kind = "torn" if found.is_torn else "damaged" if found.payload is None else "refused"
        path = self.aside / f"{segment.stem}-{found.at:09d}.{kind}"
        for file, content in ((path, found.raw), (path.with_suffix(".txt"), reason.encode())):
            with open(file, "wb", opener=_private) as kept:
                kept.write(content)
                kept.flush()
                os.fsync(kept.fileno())
        self._sync(self.aside)
        return path

    @staticmethod
    def _sync(folder: Path) -> None:
        place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(place)
        finally:
            os.close(place)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def try_lock(place: int, how: int = fcntl.LOCK_EX) -> bool:
    """Lock an open file unless another open file holds it; return whether that worked."""
    try:
        fcntl.flock(place, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _append(segment: Path, record: bytes) -> None:
    """Write at the end and fsync; whatever goes wrong, the file ends where it did."""
    place = os.open(segment, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
    end = os.fstat(place).st_size
    try:
        written = 0
        while written < len(record):
            written += os.write(place, record[written:])
        os.fsync(place)
    except OSError as error:
        with suppress(OSError):  # else the reader finds a damaged record, which nobody was promised
            os.ftruncate(place, end)
        raise SpoolFull(str(error)) from error
    finally:
        os.close(place)
