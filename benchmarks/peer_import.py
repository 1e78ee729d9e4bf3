"""django-import-export bringing rows of the file into ``leads``; prints rows a second.

A process of its own, since its settings differ: ``python -m benchmarks.peer_import <file> <tenant>
<row|bulk> <rows>``. It stores the columns of a lead and finds known ones by ``source_id``. It makes
no contact points, no events and no keys, so that the comparison is in its favor; a lead needs its
birth event at commit, which is not checked here: all is rolled back.
"""

from __future__ import annotations

import csv
import itertools
import os
import sys
import time

os.environ |= {
    "DJANGO_SETTINGS_MODULE": "benchmarks.peer_import_settings",
    "FAIRLEAD_ENV": "test",
    "FAIRLEAD_LOG_LEVEL": "ERROR",
}
os.environ["DB_NAME"] = os.environ["BENCH_DATABASE"]

import django

django.setup()

import tablib  # noqa: E402
from django.db import transaction  # noqa: E402
from import_export import fields, resources  # noqa: E402

from leads.models import Lead  # noqa: E402
from tenants.context import tenant_context  # noqa: E402

COLUMNS = (
    "source_id", "first_name", "last_name", "address_line1", "city", "region", "postal_code",
    "county_fips", "apn", "age",
)  # fmt: skip


class ByRow(resources.ModelResource):
    source_id = fields.Field(column_name="source_id", attribute="source_id")

    class Meta:
        model = Lead
        fields = COLUMNS
        import_id_fields = ("source_id",)


class InBulk(ByRow):
    class Meta(ByRow.Meta):
        use_bulk = True
        batch_size = 1000
        skip_diff = True
        force_init_instance = True


def main(path: str, tenant_id: str, mode: str, rows: int) -> None:
    with open(path, newline="", encoding="utf-8") as stream:
        found = list(itertools.islice(csv.DictReader(stream), rows))
    once = {row["source_id"]: row for row in found}.values()
    data = tablib.Dataset(headers=COLUMNS)
    for row in once:
        data.append([row[name][:10] if name == "postal_code" else row[name] for name in COLUMNS])
    resource = ByRow() if mode == "row" else InBulk()
    with tenant_context(tenant_id):
        began = time.perf_counter()
        result = resource.import_data(data, dry_run=False, raise_errors=True)
        took = time.perf_counter() - began
        transaction.set_rollback(True)
    assert not result.has_errors()
    print(len(data) / took)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
