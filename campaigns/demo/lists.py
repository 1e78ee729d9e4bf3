"""The demo's data side: stages of enrichment, a saved search, and a list of owners on its way in.

The list is of people whom the sandbox's vendors know, so that enriching it finds something.
"""

from __future__ import annotations

import csv
import io

from campaigns.demo.systems import DATA_VENDORS
from integrations.actions_pulls import QueryValues, save_query
from integrations.actions_waterfall import seed_stages
from integrations.models import Integration, PullQuery
from integrations.sandbox.people import Population
from leads.imports import actions
from leads.imports.actions import warnings_open
from leads.imports.work import work
from leads.models import Import, Lead
from leads.scoring import score_leads
from tenants.context import tenant_context

LIST = "owners-august.csv"
LABEL = "owners august"
ROWS = 160
HEADER = [
    "Address", "Unit #", "City", "State", "Zip", "County", "APN", "Owner Occupied",
    "Owner 1 First Name", "Owner 1 Last Name", "Property Type", "Est. Value", "Est. Equity",
    "Phone 1", "Phone 1 Type", "Email 1",
]  # fmt: skip
SEARCH = "Owners of 62 and more in 92101"


def set_up_data(account: str = "BatchData (sandbox)") -> None:
    """Seed the stages and the saved search of the running tenant, and score its leads."""
    seed_stages(actor_id=None)
    vendor = Integration.objects.filter(name=account, provider=DATA_VENDORS[account]).first()
    if vendor is not None and not PullQuery.objects.filter(name=SEARCH).exists():
        criteria = {
            "address": {"zip": ["92101"]},
            "quickLists": ["owner-occupied", "high-equity", "senior-owner"],
        }
        save_query(
            None,
            QueryValues(
                integration_id=vendor.pk, name=SEARCH, criteria=criteria, run_cap_cents=20_000
            ),
            actor_id=None,
        )
    score_leads(Lead.objects.values_list("pk", flat=True))


def bring_list(tenant_id: str) -> bool:
    """Import the list the way an operator does; False when it is there already."""
    with tenant_context(tenant_id, durable=True):
        if Import.objects.filter(name=LIST).exists():
            return False
        one = actions.begin(io.BytesIO(owners().encode()), name=LIST)
        actions.check(one.pk)
    work(tenant_id, one.pk)
    with tenant_context(tenant_id, durable=True):
        one = Import.objects.get(pk=one.pk)
        if warnings_open(one):
            actions.accept_warnings(one.pk, actor_id=None)
        actions.confirm(one.pk, label=LABEL)
    work(tenant_id, one.pk)
    return True


def owners() -> str:
    """Return the list as a file: some rows twice, some that cannot be read."""
    people, out = Population(), io.StringIO()
    rows = csv.writer(out)
    rows.writerow(HEADER)
    for index in range(ROWS):
        rows.writerow(_row(people, index))
    rows.writerow(_row(people, 3))
    rows.writerow([*_row(people, ROWS)[:13], "555-01", "", "not an address"])
    return out.getvalue()


def _row(people: Population, index: int) -> list[object]:
    place, traits, owner = people.address(index), people.traits(index), people.owners(index)[0]
    phone = owner.phones[0] if index % 5 == 0 and owner.phones else None
    return [
        place["street"], place["unit"], place["city"], place["state"], place["zip"],
        place["county"], place["apn"], "Yes" if "owner-occupied" in traits.lists else "No",
        owner.first, owner.last, "Single Family", traits.value, traits.equity,
        phone.number if phone else "", phone.line if phone else "",
        owner.emails[0] if owner.emails and index % 7 == 0 else "",
    ]  # fmt: skip
