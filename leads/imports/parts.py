"""An uploaded file in the database, in compressed pieces: any host can read it again."""

from __future__ import annotations

import hashlib
import io
import zlib
from dataclasses import dataclass
from typing import BinaryIO, cast

from leads.imports.reading import BLOCK, EncodingGuess
from leads.models import ImportPart

#: Of zlib: most of what there is to gain, at 100 MB/s.
LEVEL = 3


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What was found out about a file while it was stored."""

    size: int
    checksum: str
    encoding: str


def keep(import_id: str, stream: BinaryIO) -> Kept:
    """Store *stream*, piece by piece, in the running transaction.

    Raises:
        UnreadableFile: it is empty, or no text.
    """
    digest, guess, size = hashlib.sha256(), EncodingGuess(), 0
    for number, block in enumerate(iter(lambda: stream.read(BLOCK), b"")):
        guess.feed(block)
        digest.update(block)
        size += len(block)
        ImportPart.objects.create(
            imported_id=import_id, number=number, content=zlib.compress(block, LEVEL)
        )
    return Kept(size=size, checksum=digest.hexdigest(), encoding=guess.result())


def open_parts(import_id: str) -> BinaryIO:
    """Return the file of an import to read from its beginning, inside the tenant's transactions."""
    return cast(BinaryIO, io.BufferedReader(_Parts(import_id), BLOCK))


class _Parts(io.RawIOBase):
    """The pieces one after the other; it can only go back to the beginning."""

    def __init__(self, import_id: str) -> None:
        self._import_id = import_id
        self._rewind()

    def _rewind(self) -> None:
        self._number, self._left, self._place = 0, memoryview(b""), 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence == io.SEEK_CUR and offset == 0:
            return self._place
        if offset or whence != io.SEEK_SET:
            raise io.UnsupportedOperation("it can only go back to the beginning")
        self._rewind()
        return 0

    def readinto(self, buffer: object) -> int:
        target = memoryview(cast(bytearray, buffer))
        if not self._left:
            content = (
                ImportPart.objects.filter(imported_id=self._import_id, number=self._number)
                .values_list("content", flat=True)
                .first()
            )
            if content is None:
                return 0
            self._number += 1
            self._left = memoryview(zlib.decompress(content))
        count = min(len(target), len(self._left))
        target[:count] = self._left[:count]
        self._left = self._left[count:]
        self._place += count
        return count
