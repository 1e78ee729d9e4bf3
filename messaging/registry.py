"""The registry as a list: filters, keyset pages and export, all from one place."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from urllib.parse import urlencode

from django.core.exceptions import ValidationError
from django.db import connection
from django.db.models import Count, F, Func, OuterRef, Q, QuerySet, Subquery, TextField
from django.db.models.functions import Coalesce
from django.utils import timezone

from leads.models import Consent, ConsentEvent, Lead
from messaging.models import OutboundMessage
from tenants.context import tenant_context

STATES = {"opted_out": "Opted out", "held": "On hold", "opted_in": "Opted in"}
SOURCES = {"texting": "By text", "carrier": "Told by the carrier", "manual": "By hand"}
SCOPES = {
    "everything": "Everything",
    "number": "One of our numbers",
    "brand": "A brand",
    "campaign": "A campaign",
    "list": "A suppression list",
}
#: Digits at the end of a number that a search needs: the index holds the last four.
FEWEST_DIGITS = 4

#: Heading of a column of the export → what is written there.
EXPORT_COLUMNS = {
    "address": "safe_address",
    "channel": "channel",
    "scope": "safe_scope",
    "state": "state",
    "source": "safe_source",
    "keyword": "safe_keyword",
    "reason": "safe_reason",
    "updated_at": "updated_at",
    "expires_at": "expires_at",
}


@dataclass(frozen=True, kw_only=True)
class Filters:
    """What part of the registry is looked at; what makes no sense is left out."""

    state: str = ""
    source: str = ""
    channel: str = ""
    scope: str = ""
    since: date | None = None
    until: date | None = None
    digits: str = ""
    asked: Mapping[str, str] = field(default_factory=dict)  # as typed, for the form

    @property
    def query(self) -> str:
        """The part of a URL that says it again."""
        return urlencode({name: value for name, value in self.asked.items() if value})

    @property
    def too_short(self) -> bool:
        return bool(self.asked.get("q")) and not self.digits

    def __bool__(self) -> bool:
        return any(self.asked.values())


def read_filters(values: Mapping[str, str]) -> Filters:
    """Read the filters of a page's query string."""
    names = ("state", "source", "channel", "scope", "since", "until", "q")
    asked = {name: values.get(name, "").replace("\x00", "").strip()[:40] for name in names}
    digits = re.sub(r"[^0-9]", "", asked["q"])
    return Filters(
        state=asked["state"] if asked["state"] in STATES else "",
        source=asked["source"] if asked["source"] in SOURCES else "",
        channel=asked["channel"] if asked["channel"] in Consent.CHANNELS else "",
        scope=asked["scope"] if asked["scope"] in SCOPES else "",
        since=_date(asked["since"]),
        until=_date(asked["until"]),
        digits=digits if len(digits) >= FEWEST_DIGITS else "",
        asked=asked,
    )


def _date(text: str) -> date | None:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return None
    return day if 1900 < day.year < 2200 else None


def choices_of(filters: Filters) -> QuerySet[Consent]:
    """Return the recorded choices that fit, in no order yet."""
    rows = Consent.objects.exclude(state="unknown")
    for name in ("state", "source", "channel"):
        if value := getattr(filters, name):
            rows = rows.filter(**{name: value})
    if filters.scope == "everything":
        rows = rows.filter(scope="")
    elif filters.scope:
        rows = rows.filter(scope__startswith=f"{filters.scope}:")
    if filters.since:
        rows = rows.filter(updated_at__gte=_midnight(filters.since))
    if filters.until:
        rows = rows.filter(updated_at__lt=_midnight(filters.until + timedelta(days=1)))
    if filters.digits:
        rows = rows.filter(tail=filters.digits[-FEWEST_DIGITS:], address__endswith=filters.digits)
    return rows


def _midnight(day: date) -> datetime:
    return timezone.make_aware(datetime.combine(day, time()))


def with_details(rows: QuerySet[Consent]) -> QuerySet[Consent]:
    """Add the newest event, a lead that has the number, and how many texts were stopped."""
    events = ConsentEvent.objects.filter(tenant=OuterRef("tenant"), consent=OuterRef("pk"))
    newest = events.order_by("-rev")[:1]
    leads = Lead.objects.filter(
        tenant=OuterRef("tenant"),
        contact_points__normalized=OuterRef("address"),
        superseded_at=None,
    ).order_by("id")[:1]
    blocked = (
        OutboundMessage.objects.filter(
            tenant=OuterRef("tenant"), to_address=OuterRef("address"), state="suppressed"
        )
        .order_by()
        .values("to_address")
        .annotate(many=Count("pk"))
        .values("many")
    )
    return rows.annotate(
        keyword=Subquery(newest.values("keyword")),
        reason=Subquery(newest.values("reason")),
        lead_id=Subquery(leads.values("id")),
        lead_name=Subquery(leads.values("full_name")),
        blocked=Coalesce(Subquery(blocked), 0),
    )


def page_of(rows: QuerySet[Consent], after: str, size: int) -> tuple[list[Consent], str]:
    """Return one page, newest first, and where the next begins; "" at the end."""
    if place := _parse(after):
        moment, pk = place
        rows = rows.filter(Q(updated_at__lt=moment) | Q(updated_at=moment, id__lt=pk))
    found = list(rows.order_by("-updated_at", "-id")[: size + 1])
    last = found[size - 1] if len(found) > size else None
    return found[:size], f"{last.updated_at.isoformat()}~{last.pk}" if last else ""


def _parse(after: str) -> tuple[datetime, str] | None:
    moment, _, pk = after.partition("~")
    try:
        Consent._meta.pk.to_python(pk)
        found = datetime.fromisoformat(moment)
    except (ValueError, ValidationError):
        return None
    return (found, pk) if pk and found.tzinfo else None


class PlainText(Func):
    """Text that no spreadsheet takes for a formula, in SQL; ``plain`` is the same in Python."""

    template = (
        "CASE WHEN %(expressions)s ~ '^[=+@\\t\\r-]'"
        " AND %(expressions)s !~ '^\\+[1-9][0-9]{6,14}$'"
        " THEN '''' || %(expressions)s ELSE %(expressions)s END"
    )
    output_field = TextField()


def plain(text: str) -> str:
    """Return *text* as no spreadsheet takes it for a formula.

    A quote goes before ``=``, ``+``, ``-``, ``@``, tab and return. A phone number in E.164, a plus
    and digits alone, stays as it is: as a formula it would be the same number.
    """
    if text.startswith(("=", "+", "-", "@", "\t", "\r")):
        return text if re.fullmatch(r"\+[1-9][0-9]{6,14}", text) else f"'{text}"
    return text


def export_rows(tenant_id: str, filters: Filters) -> Iterator[bytes]:
    """Yield the registry as CSV, by COPY, in a transaction of its own.

    The caller may stream it after the request's own transaction is over.
    """
    with tenant_context(tenant_id):
        rows = with_details(choices_of(filters)).order_by("-updated_at", "-id")
        rows = rows.annotate(
            safe_address=PlainText(F("address")),
            safe_scope=PlainText(F("scope")),
            safe_source=PlainText(F("source")),
            safe_keyword=PlainText(F("keyword")),
            safe_reason=PlainText(F("reason")),
        )
        query = rows.values_list(*EXPORT_COLUMNS.values()).query
        sql = connection.ops.compose_sql(*query.sql_with_params())  # type: ignore[attr-defined]
        yield (",".join(EXPORT_COLUMNS) + "\r\n").encode()
        with (
            connection.cursor() as cursor,
            cursor.copy(f"COPY ({sql}) TO STDOUT WITH (FORMAT csv)") as copy,
        ):
            for block in copy:
                yield bytes(block)
