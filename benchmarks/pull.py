"""Pages of 500 records of a vendor, resolved: each one transaction, without the network.

New records, and the same pages again, in a tenant of their own. Beside it in the same run: the same
records saved one by one through the ORM, as a Django team begins.
"""

from __future__ import annotations

import sys
import time

import seed
from common import connection, median, note, report
from world import make_world

from leads.actions import create_lead
from leads.identity.engine import resolve
from leads.identity.records import Incoming, Point
from tenants.context import tenant_context
from tenants.ulids import new_id

PAGE, PAGES, BAR, PEER = 500, 20, 5_000, 200


def page(number: int) -> list[Incoming]:
    """Records as a property search gives them: an owner, a parcel, two phones, an e-mail."""
    records = []
    for n in range(number * PAGE, (number + 1) * PAGE):
        records.append(
            Incoming(
                key=str(n),
                source_id=f"pull-{n}",
                fields={
                    "first_name": f"First{n % 997}",
                    "last_name": f"Last{n % 4093}",
                    "address_line1": f"{100 + n} Oak Street",
                    "city": "Reno",
                    "region": "NV",
                    "postal_code": f"{89000 + n % 999}",
                    "county_fips": "32031",
                    "apn": f"p-{n}",
                    "owner_occupied": n % 2 == 0,
                    "property_value": 300_000,
                    "estimated_equity": 100_000,
                },
                points=(
                    Point(kind="phone", value=f"775{n:07d}", line_type="mobile"),
                    Point(kind="phone", value=f"702{n:07d}", line_type="landline", dnc=True),
                    Point(kind="email", value=f"pull{n}@pull.example"),
                ),
            )
        )
    return records


def main() -> bool:
    seed.ensure()
    tenant = make_world("pull").tenant
    new = [resolved(tenant.pk, number, "created") for number in range(PAGES)]
    with seed.superuser() as own:
        own.execute("ANALYZE leads, contact_points")
    again = [resolved(tenant.pk, number, "unchanged") for number in range(PAGES)]
    one_by_one = by_orm(tenant.pk)
    rate = PAGE / median(new)
    return report(
        "pull",
        value=rate,
        unit="records/s, new, by pages of 500",
        against=f"saved one by one: {one_by_one:.0f}/s",
        ratio=rate / one_by_one,
        bar=f">= {BAR}/s",
        ok=rate >= BAR,
        again_per_s=round(PAGE / median(again)),
        slowest_page_s=round(max(new), 3),
    )


def resolved(tenant_id: str, number: int, expected: str) -> float:
    """Seconds of one page, its commit included."""
    records = page(number)
    began = time.perf_counter()
    with tenant_context(tenant_id, durable=True):
        outcomes = resolve(records, source="batchdata", kind="pull")
    took = time.perf_counter() - began
    wrong = {one.outcome for one in outcomes} - {expected}
    if wrong:
        raise SystemExit(f"page {number}: {wrong} instead of {expected}")
    note(f"  page {number}: {expected}, {took:.2f} s")
    return took


def by_orm(tenant_id: str) -> float:
    began = time.perf_counter()
    with tenant_context(tenant_id):
        for record in page(10_000)[:PEER]:
            create_lead(
                source="batchdata",
                source_id=new_id("x"),
                phone=f"+1{record.points[0].value}",
                email=record.points[2].value,
                **{name: value for name, value in record.fields.items() if name != "apn"},
            )
        connection.set_rollback(True)
    return PEER / (time.perf_counter() - began)


if __name__ == "__main__":
    sys.exit(not main())
