"""A tenant with accounts at all data vendors of a running sandbox, and stages that use them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import httpx
from django.db import connection

from integrations import money
from integrations.actions import create_endpoint
from integrations.actions_enrich import start
from integrations.actions_waterfall import seed_stages
from integrations.models import (
    Enrichment,
    Integration,
    ProviderCircuit,
    VendorAnswer,
    VendorCall,
    WaterfallStage,
)
from integrations.waterfall_work import work
from leads.actions import create_lead, owner
from leads.models import ContactPoint, Lead
from leads.scoring import score_leads
from leads.verifying import Finding, record_verification
from tenants.context import database_now

VENDORS = ("melissa", "batchdata", "apollo", "instantly", "twilio")
SID = "AC00000000000000000000000000000001"
MOBILE = {"number": "9165550101", "line": "mobile"}
LAND = {"number": "9165550102", "line": "landline"}
ZIP = "95899"  # nobody of the sandbox's list lives there


@dataclass(kw_only=True)
class World:
    """The office, its stages by vendor, and the sandbox that plays the vendors."""

    office: Any
    client: httpx.Client
    accounts: dict[str, Integration] = field(default_factory=dict)
    houses: int = 0

    @property
    def tenant_id(self) -> str:
        return self.office.tenant.pk

    def inside(self):
        return self.office.inside()

    # --- the vendors --------------------------------------------------------------------------

    def control(self, path: str, **body: Any) -> dict[str, Any]:
        answer = self.client.post(f"/_control/{path}", json=body)
        assert answer.is_success, answer.text
        return answer.json()

    def invoice(self, vendor: str = "") -> int:
        """Return what the vendors, or one of them, billed in all, in cents."""
        query = {"vendor": vendor} if vendor else {}
        return self.client.get("/_control/invoice", params=query).json()["total_cents"]

    def billed(self, vendor: str) -> list[str]:
        """Return whom a vendor billed for, item by item."""
        found = self.client.get("/_control/invoice", params={"vendor": vendor}).json()["invoices"]
        return [item["subject"] for invoice in found for item in invoice["items"]]

    def fault(self, kind: str, **rule: Any) -> None:
        self.control("faults", kind=kind, **rule)

    def house(self, **facts: Any) -> str:
        """Make an address of which just this is known; return its street."""
        self.houses += 1
        street = f"{self.houses} Vendor Way"
        known = {"melissa": True, "batchdata": True, "melissa_phone": True, "melissa_email": True}
        self.control("facts", address={"street": street, "zip": ZIP}, **known | facts)
        return street

    # --- ours ---------------------------------------------------------------------------------

    def lead(self, street: str = "", **fields: Any) -> Lead:
        street = street or self.house()
        with self.inside():
            made = create_lead(
                **{
                    "first_name": "Ada",
                    "last_name": f"Lovelace{self.houses}",
                    "address_line1": street,
                    "city": "Sacramento",
                    "region": "CA",
                    "postal_code": ZIP,
                    **fields,
                }
            )
            score_leads([made.pk])
            return made

    def stage(self, vendor: str) -> WaterfallStage:
        with self.inside():
            return WaterfallStage.objects.get(integration__provider=vendor)

    def change(self, vendor: str, **values: Any) -> None:
        with self.inside():
            WaterfallStage.objects.filter(integration__provider=vendor).update(**values)

    def only(self, *vendors: str) -> None:
        """Switch all other stages off."""
        with self.inside():
            WaterfallStage.objects.update(enabled=False)
            WaterfallStage.objects.filter(integration__provider__in=vendors).update(enabled=True)

    def start(self, *leads: Lead) -> str:
        with self.inside():
            return start([lead.pk for lead in leads], actor_id=self.office.agent.pk).pk

    def work(self) -> int:
        return work(self.tenant_id, at_once=0)

    def enrich(self, *leads: Lead) -> list[Enrichment]:
        """Send leads down the waterfall until nothing is due; return their enrichments."""
        self.start(*leads)
        self.work()
        return [self.enrichment(lead) for lead in leads]

    def enrichment(self, lead: Lead) -> Enrichment:
        with self.inside():
            return Enrichment.objects.filter(lead=lead).order_by("-id").first()

    def did(self, lead: Lead) -> dict[str, str]:
        """Return what the newest enrichment of a lead did: name of the stage → what."""
        steps = self.enrichment(lead).steps
        return {
            step["name"]: step["why"] if step["did"] == "gate" else step["did"]
            for step in steps
            if "stage" in step
        }

    def calls(self, vendor: str = "") -> int:
        with self.inside():
            rows = VendorCall.objects.all()
            return (rows.filter(provider=vendor) if vendor else rows).count()

    def spent(self) -> int:
        with self.inside():
            return sum(VendorAnswer.objects.values_list("cost_cents", flat=True))

    def rescore(self, lead: Lead) -> None:
        with self.inside():
            score_leads([lead.pk])

    def verify(self, point: ContactPoint) -> None:
        record_verification(point.pk, Finding(provider="person", code="called", verdict="verified"))

    def day(self):
        """Return the tenant's day."""
        return money.today()

    def let_pass(self) -> None:
        """Let what waits be due now, and leases be over."""
        now = database_now() - timedelta(seconds=1)
        with self.inside():
            Enrichment.objects.filter(finished_at=None).update(available_at=now)
            Enrichment.objects.exclude(lease_until=None).update(lease_until=now)
            ProviderCircuit.objects.exclude(state="closed").update(probe_at=now)
            ProviderCircuit.objects.update(throttled_until=None)


def make_world(office: Any, client: httpx.Client) -> World:
    world = World(office=office, client=client)
    with office.inside():
        with connection.cursor() as cursor:
            cursor.execute("SELECT seed_score_rule(%s)", [owner()])
        for vendor in VENDORS:
            account = Integration.objects.create(
                provider=vendor,
                name=vendor.title(),
                base_url=str(client.base_url).rstrip("/"),
                api_key=f"key-{office.tenant.slug}",
                account_id=SID if vendor == "twilio" else f"{vendor}-{office.tenant.slug}",
                settings={"lookup_url": str(client.base_url).rstrip("/")},
            )
            if vendor != "twilio":
                create_endpoint(account, signed=False)
            world.accounts[vendor] = account
        seed_stages(actor_id=office.agent.pk)
    return world
