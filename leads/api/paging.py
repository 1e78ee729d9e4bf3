"""Pages of the API: by key, newest first, with addresses of the pages around."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db.models import QuerySet
from django.http import QueryDict

from leads.listing import BadPlace, page_of
from leads.models import Lead
from tenants.api import ApiRequest, Problem

#: Rows of a page unless ``limit`` says otherwise, and the most it may say.
SIZE, LARGEST = 50, 200


def size_of(request: ApiRequest) -> int:
    """Return how many rows the caller wants.

    Raises:
        Problem: no number between 1 and 200.
    """
    text = request.query_params.get("limit", str(SIZE))
    if not (text.isascii() and text.isdigit() and len(text) < 6 and 1 <= int(text) <= LARGEST):
        words = f"Ask for 1 to {LARGEST} rows."
        raise Problem(400, "The limit makes no sense.", errors={"limit": words})
    return int(text)


def paged(
    request: ApiRequest, rows: QuerySet[Lead], render: Callable[[list[Lead]], Any]
) -> dict[str, Any]:
    """Return one page of *rows* with the addresses of those around it.

    Raises:
        Problem: the cursor names no place, or the sort needs a band.
    """
    query = request.query_params
    sort = query.get("sort", "newest")
    if sort not in ("newest", "score") or (sort == "score" and len(query.getlist("band")) != 1):
        words = "Sort by newest, or by score within one band."
        raise Problem(400, "The sort makes no sense.", errors={"sort": words})
    cursor, size = query.get("cursor", ""), size_of(request)
    way, _, key = cursor.partition(":")
    if cursor and way not in ("after", "before"):
        raise _no_place()
    try:
        page = page_of(rows, sort=sort, size=size, **{way: key} if cursor else {})
    except BadPlace as error:
        raise _no_place() from error
    return {
        "next": _address(request, f"after:{page.older}") if page.older else None,
        "previous": _address(request, f"before:{page.newer}") if page.newer else None,
        "results": render(page.rows),
    }


def _no_place() -> Problem:
    words = "Use the address of next or previous as it is."
    return Problem(400, "The cursor names no page.", errors={"cursor": words})


def _address(request: ApiRequest, cursor: str) -> str:
    query: QueryDict = request.query_params.copy()
    query["cursor"] = cursor
    return request.build_absolute_uri(f"{request.path}?{query.urlencode()}")
