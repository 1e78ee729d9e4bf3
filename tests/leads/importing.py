"""What tests of imports share: a file all the way through, and every row of a tenant counted."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from django.apps import apps
from django.conf import settings

from leads.imports import actions
from leads.imports.columns import Column
from leads.imports.work import work
from leads.models import Import, ImportRow
from tenants.ulids import to_uuid
from tests.raw import rows

FIXTURES = Path(settings.BASE_DIR) / "tests/fixtures/csv"
#: Tables of imports themselves, runs and the audit log; a check may write no other.
OWN = {
    "imports", "import_parts", "import_presets", "import_rows", "pipeline_runs", "audit_log",
    "identity_turns",
}  # fmt: skip


def table(header, *body) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(header.split(",") if isinstance(header, str) else header)
    writer.writerows(row.split(",") if isinstance(row, str) else row for row in body)
    return text.getvalue().encode()


def begin(office, data: bytes, *, name="list.csv", columns=None, **more) -> Import:
    """Bring a file; *columns* maps headers to targets where the suggestion is not meant."""
    with office.inside():
        one = actions.begin(io.BytesIO(data), name=name, actor_id=office.agent.pk, **more)
        if columns is not None:
            mapped = [
                Column(header=column.header, target=columns.get(column.header, column.target))
                for column in actions.columns_of(one)
            ]
            actions.set_mapping(one.pk, columns=mapped)
    return one


def run(office, one, **more) -> Import:
    work(office.tenant.pk, one.pk, **more)
    return fresh(office, one)


def checked(office, data, **more) -> Import:
    one = begin(office, data, **more)
    with office.inside():
        actions.check(one.pk)
    return run(office, one)


def confirm(office, one, **more) -> Import:
    with office.inside():
        if actions.warnings_open(one):
            actions.accept_warnings(one.pk, actor_id=office.agent.pk)
        actions.confirm(one.pk, actor_id=office.agent.pk, **more)
    return run(office, one)


def imported(office, data, **more) -> Import:
    return confirm(office, checked(office, data, **more))


def undone(office, one) -> Import:
    with office.inside():
        actions.undo(one.pk, reason="wrong list", actor_id=office.agent.pk)
    return run(office, one)


def fresh(office, one) -> Import:
    with office.inside():
        return Import.objects.select_related("run").get(pk=one.pk)


def problems(office, one, outcome="error") -> dict[int, str]:
    with office.inside():
        found = ImportRow.objects.filter(imported=one, outcome=outcome)
        return dict(found.order_by("row_no").values_list("row_no", "problem"))


def figures(one) -> dict[str, int]:
    names = ("created", "updated", "unchanged", "duplicates", "blocked", "errors", "reviews")
    return {name: getattr(one, name) for name in names if getattr(one, name)}


def row_counts(office) -> dict[str, int]:
    """Return how many rows each table of the tenant has."""
    tables = {
        model._meta.db_table
        for label in settings.LOCAL_APPS
        for model in apps.get_app_config(label).get_models()
        if any(field.column == "tenant_id" for field in model._meta.local_concrete_fields)
    }
    owner = to_uuid(office.tenant.pk)
    with office.inside():
        return {
            name: rows(f'SELECT count(*) FROM "{name}" WHERE tenant_id = %s', owner)[0][0]
            for name in sorted(tables)
        }
