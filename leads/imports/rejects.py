"""The rows of a file that were not taken, as a file that can be mended and imported again."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from leads.exports import plain
from leads.imports.reading import REASON
from leads.models import Import, ImportRow
from tenants.context import tenant_context

#: Rows of one piece.
PIECE = 2_000


def reject_file(one: Import, *, tenant_id: str, outcome: str = "error") -> Iterator[bytes]:
    """Yield rows as CSV: why first, then the columns as they were, however many there are.

    The reason has a header that an import knows and leaves out, so the file has the header, and
    with it the mapping, of the one it came from. Read in transactions of its own.
    """
    with tenant_context(tenant_id):
        one = Import.objects.get(pk=one.pk)
    yield _line([REASON.capitalize(), *one.header])
    after = 0
    while True:
        with tenant_context(tenant_id):
            rows = list(
                ImportRow.objects.filter(imported=one, outcome=outcome, row_no__gt=after)
                .order_by("row_no")
                .values_list("row_no", "problem", "raw")[:PIECE]
            )
        if not rows:
            return
        yield b"".join(_line([problem, *map(str, raw)]) for _, problem, raw in rows)
        after = rows[-1][0]


def _line(cells: list[str]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerow([plain(cell) for cell in cells])
    return text.getvalue().encode()
