"""The pages of leads at a million leads and ten million messages, as the browser asks for them.

List, second page, filtered list, searches and a lead's page, through Django's whole stack in this
process, in the big tenant and in one of ten thousand leads. What row-level security costs is
measured on the list's own queries: as the application and as the owner, who is not bound by it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import seed
from common import connection, note, percentile, report
from django.conf import settings
from django.test import Client
from django.test.utils import CaptureQueriesContext

from config.pg.roles import as_owner
from leads.models import Lead
from tenants.context import tenant_context
from tenants.models import Actor, Tenant
from tenants.ulids import to_uuid

TIMES, GROWTH, RLS = 40, 1.5, 1.3
#: Milliseconds that 95 of 100 requests may take, by how a page's name begins.
BARS = {"search": 100, "lead": 150, "": 120}


def main() -> bool:
    made = seed.ensure()
    settings.ALLOWED_HOSTS = ["*"]
    big, small = measured(made.big), measured(made.small)
    growth = {name: round(big[name] / small[name], 2) for name in big}
    rls = rls_ratio(made.big)
    late = {name: big[name] / bar_of(name) for name in big}
    worst = max(late, key=lambda name: late[name])
    lists = [name for name in growth if name != "lead"]
    return report(
        "pages_leads",
        value=big[worst],
        unit=f"ms, p95 of the slowest page: {worst}",
        against=f"at {seed.SMALL:,} leads: {small[worst]:.0f} ms",
        ratio=growth[worst],
        bar="list 120 ms, search 100 ms, lead 150 ms"
        f"; lists grow <= {GROWTH}; row-level security <= {RLS}",
        ok=late[worst] < 1 and all(growth[name] <= GROWTH for name in lists) and rls <= RLS,
        p95_ms={name: round(value, 1) for name, value in big.items()},
        growth=growth,
        rls=round(rls, 2),
        leads=seed.LEADS,
        messages=seed.MESSAGES,
    )


def bar_of(name: str) -> int:
    return next(bar for start, bar in BARS.items() if name.startswith(start))


def pages_of(tenant: Tenant) -> dict[str, str]:
    """Addresses by what they are; search words that one lead and many leads answer to."""
    with tenant_context(tenant.pk):
        count = Lead.objects.count()
        lead = Lead.objects.order_by("id")[count // 4]
        middle = Lead.objects.order_by("-id")[min(count // 2, 5000)]
        phone = lead.contact_points.get(kind="phone").normalized
    root = f"/t/{tenant.slug}/leads/"
    return {
        "list": root,
        "next": f"{root}?after={middle.pk}",
        "filtered": f"{root}?state=new",
        "search_name": f"{root}?q={lead.full_name.replace(' ', '+')}",
        "search_prefix": f"{root}?q=Mart",
        "search_phone": f"{root}?q=%2B{phone[1:]}",
        "search_id": f"{root}?q={lead.pk}",
        "lead": f"{root}{lead.pk}/",
    }


def measured(tenant: Tenant) -> dict[str, float]:
    """p95 in milliseconds by page; the first, cold request of each is left out."""
    client = Client()
    with tenant_context(tenant.pk):
        actor = Actor.objects.select_related("user").filter(kind="user").first()
    client.force_login(actor.user, backend="django.contrib.auth.backends.ModelBackend")
    found = {}
    for name, address in pages_of(tenant).items():
        answer = client.get(address, follow=True)
        if answer.status_code != 200:
            raise SystemExit(f"{address}: {answer.status_code}")
        times = [timed(lambda: client.get(address, follow=True)) for _ in range(TIMES)]  # noqa: B023
        found[name] = percentile(times, 0.95)
        note(f"  {tenant.slug} {name}: p95 {found[name]:.0f} ms, {len(answer.content):,} bytes")
    return found


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - began)


def rls_ratio(tenant: Tenant) -> float:
    """Time of the list's queries as the application ÷ as the owner, whom no policy binds."""
    client = Client()
    with tenant_context(tenant.pk):
        actor = Actor.objects.select_related("user").filter(kind="user").first()
    client.force_login(actor.user, backend="django.contrib.auth.backends.ModelBackend")
    with CaptureQueriesContext(connection) as caught:
        client.get(pages_of(tenant)["list"])
    queries = [
        one["sql"] for one in caught.captured_queries
        if one["sql"].startswith("SELECT") and "leads" in one["sql"]
    ]  # fmt: skip
    bound = all_of(queries, tenant)
    with as_owner(connection):
        free = all_of(queries, tenant)
    return bound / free


def all_of(queries: list[str], tenant: Tenant) -> float:
    times = []
    for _ in range(TIMES):
        with tenant_context(tenant.pk), connection.cursor() as cursor:
            began = time.perf_counter()
            for query in queries:
                cursor.execute(query)
                cursor.fetchall()
            times.append(time.perf_counter() - began)
    assert to_uuid(tenant.pk)
    return percentile(times, 0.5)


if __name__ == "__main__":
    sys.exit(not main())
