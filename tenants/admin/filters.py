"""Filters that need no SELECT DISTINCT over a big table."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import ClassVar

from django.contrib.admin import ModelAdmin, SimpleListFilter
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone

from tenants.ulids import to_text


def oldest_id(prefix: str, age: timedelta) -> str:
    """Return the smallest id a row made within *age* can have: ids carry their time."""
    milliseconds = int((timezone.now() - age).timestamp() * 1000)
    return to_text(prefix, uuid.UUID(int=milliseconds << 80))


class AgeFilter(SimpleListFilter):
    """Rows made lately. The primary key answers it, however large the table is."""

    title = "age"
    parameter_name = "age"
    AGES: ClassVar[dict[str, tuple[str, timedelta]]] = {
        "1h": ("Last hour", timedelta(hours=1)),
        "24h": ("Last 24 hours", timedelta(days=1)),
        "7d": ("Last 7 days", timedelta(days=7)),
        "30d": ("Last 30 days", timedelta(days=30)),
    }

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin) -> Iterable[tuple[str, str]]:
        return [(key, label) for key, (label, _) in self.AGES.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet | None:
        if self.value() not in self.AGES:
            return None
        age = self.AGES[str(self.value())][1]
        return queryset.filter(pk__gte=oldest_id(queryset.model._meta.pk.prefix, age))


class RowsFilter(SimpleListFilter):
    """One of the values that a small table of the tenant lists; subclasses say which."""

    field = ""
    rows: Callable[[HttpRequest], Iterable[tuple[str, str]]]

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin) -> Iterable[tuple[str, str]]:
        return list(type(self).rows(request))

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet | None:
        known = {key for key, _ in self.lookup_choices}
        return queryset.filter(**{self.field: self.value()}) if self.value() in known else None
