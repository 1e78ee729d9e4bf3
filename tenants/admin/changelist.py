"""Lists that stay fast at any depth: pages by key, a count that stops, no OFFSET."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.db.models import Count, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from unfold.views import ChangeList

#: Counting stops here: "1,000+".
MOST_COUNTED = 1000
AFTER, BEFORE = "after", "before"


class Newest:
    """What the templates ask of a paginator; the page itself is cut by key."""

    template_name = "admin/keyset.html"

    def __init__(self, count: int) -> None:
        self.count = count
        self.num_pages = 1
        self.page_range = range(1, 2)
        self.ELLIPSIS = "…"

    def get_elided_page_range(self, *_: Any, **__: Any) -> list[int]:
        return [1]


class FirstPage(Paginator):
    """The best matches of a picker and no more: who does not find theirs types another letter."""

    def __init__(self, object_list: Any, per_page: int, *args: Any, **kwargs: Any) -> None:
        super().__init__(list(object_list[:per_page]), per_page, *args, **kwargs)


class KeysetChangeList(ChangeList):
    """Newest first, by primary key: page 10,000 costs what the first one costs.

    ``?after=<id>`` shows older rows, ``?before=<id>`` newer ones.
    """

    older = newer = ""
    more_than_counted = False

    def get_filters_params(self, params: Any = None) -> dict[str, Any]:
        found: dict[str, Any] = super().get_filters_params(params)
        found.pop(AFTER, None)
        found.pop(BEFORE, None)
        return found

    def get_ordering(self, request: HttpRequest, queryset: QuerySet) -> list[str]:
        return ["-pk"]

    def get_ordering_field_columns(self) -> dict[int, str]:
        return {}

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet:
        rows: QuerySet = super().get_queryset(request, exclude_parameters)
        return rows.defer(*self.model_admin.list_defer)

    def url_for_result(self, result: Any) -> str:
        """Return the address of a record with its id as people write it."""
        name = f"admin:{self.opts.app_label}_{self.opts.model_name}_change"
        return reverse(name, args=[result.pk], current_app=self.model_admin.admin_site.name)

    def get_results(self, request: HttpRequest) -> None:
        after, before = self._key(request, AFTER), self._key(request, BEFORE)
        rows, size = self.queryset, self.list_per_page
        if before is not None:
            found = list(rows.filter(pk__gt=before).order_by("pk")[: size + 1])
            more, found = len(found) > size, found[:size][::-1]
            has_newer, has_older = more, True
        else:
            page = rows if after is None else rows.filter(pk__lt=after)
            found = list(page[: size + 1])
            has_newer, has_older = after is not None, len(found) > size
            found = found[:size]
        self.result_list = found
        self._link(found, has_newer=has_newer, has_older=has_older)
        self._count(rows)
        self.full_result_count = None
        self.show_full_result_count = False
        self.show_admin_actions = True
        self.can_show_all = self.multi_page = False
        self.paginator = Newest(self.result_count)

    def _key(self, request: HttpRequest, name: str) -> Any:
        """Return the key in the query string; one that is none means the first page."""
        try:
            return self.lookup_opts.pk.to_python(request.GET.get(name) or None)
        except ValidationError:
            return None

    def _link(self, found: list[Any], *, has_newer: bool, has_older: bool) -> None:
        if not found:
            return
        # Filters drop nothing of the query string but the place in the list.
        if has_newer:
            self.newer = self.get_query_string({BEFORE: found[0].pk}, [AFTER])
        if has_older:
            self.older = self.get_query_string({AFTER: found[-1].pk}, [BEFORE])

    def _count(self, rows: QuerySet) -> None:
        some = rows.order_by().select_related(None).only("pk")[: MOST_COUNTED + 1]
        count = some.aggregate(n=Count("pk"))["n"]
        self.more_than_counted = count > MOST_COUNTED
        self.result_count = min(count, MOST_COUNTED)
