"""A vendor that really answers, an account with it, and saved queries to read."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count

from integrations.actions_pulls import QueryValues, save_query, start_sweep
from integrations.models import Integration, PullPage, PullQuery, PullSweep, VendorCall, VendorSeen
from integrations.pulls import pull
from leads.models import Lead
from tests.carrier import Carrier
from tests.conftest import Office
from tests.raw import connected

#: A query of the sandbox that finds 507 records to begin with.
ZIP, LISTS = "90028", ["free-and-clear"]
CRITERIA = {"address": {"zip": [ZIP]}, "quickLists": LISTS}
AT_FIRST = 507
PRICE = 10
_serial = count(1)


@dataclass
class PullWorld:
    """One tenant with an account at the sandbox's BatchData."""

    office: Office
    carrier: Carrier
    account: Integration
    key: str

    @property
    def tenant_id(self) -> str:
        return self.office.tenant.pk

    def inside(self):
        return self.office.inside()

    def query(self, **values) -> PullQuery:
        said = {
            "integration_id": self.account.pk,
            "name": f"Query {next(_serial)}",
            "criteria": CRITERIA,
            "run_cap_cents": 100_000,
            "price_cents": PRICE,
            **values,
        }
        with self.inside():
            return save_query(None, QueryValues(**said), actor_id=self.office.agent.pk)

    def start(self, query: PullQuery, **values) -> PullSweep:
        with self.inside():
            return start_sweep(query.pk, actor_id=self.office.agent.pk, **values)

    def sweep(self, query: PullQuery, **values) -> PullSweep:
        """Begin a sweep and read it in this thread."""
        self.start(query, **values)
        return self.read(query)

    def read(self, query: PullQuery, **options) -> PullSweep:
        swept = pull(self.tenant_id, query.pk, **options)
        assert swept is not None
        return swept

    def insert(self, count: int, *, after: int = 0) -> list[str]:
        """Let new records come: at once, or in the middle of the reading."""
        answer = self.carrier.client.post(
            "/_control/batchdata/records",
            json={"count": count, "zip": ZIP, "quickLists": LISTS, "after": after},
        )
        assert answer.status_code in (201, 202), answer.text
        return answer.json().get("ids", [])

    def remove(self, count: int) -> None:
        answer = self.carrier.client.request(
            "DELETE",
            "/_control/batchdata/records",
            json={"searchCriteria": CRITERIA, "count": count},
        )
        assert answer.json()["removed"] == count

    def set_account(self, **values) -> None:
        body = {"vendor": "batchdata", "api_key": self.key, **values}
        assert self.carrier.client.post("/_control/account", json=body).status_code == 201

    def fault(self, kind: str, **rule) -> None:
        self.carrier.fault(kind, match={"path": "/api/v1/property/search"}, **rule)

    def invoice(self) -> int:
        """What the vendor bills, in cents."""
        found = self.carrier.client.get("/_control/invoice", params={"api_key": self.key})
        return found.json()["total_cents"]

    def ledger(self) -> int:
        """What we say it costs: what is not settled counts as set aside."""
        with self.inside():
            calls = VendorCall.objects.prefetch_related("answers").all()
            return sum(
                next((a.cost_cents for a in call.answers.all() if a.is_final), call.reserved_cents)
                for call in calls
            )

    def listed(self) -> set[str]:
        """Every id that the vendor lists for the query now, read past our own reader."""
        body = {"searchCriteria": CRITERIA, "options": {"skip": 0, "take": 500}}
        found: list[str] = []
        while True:
            body["options"]["skip"] = len(found)
            answer = self.carrier.client.post(
                "/api/v1/property/search", json=body, headers={"Authorization": "Bearer onlooker"}
            ).json()["results"]
            found += [one["_id"] for one in answer["properties"]]
            if len(found) >= answer["meta"]["results"]["resultsFound"]:
                return set(found)

    def fetched(self) -> set[str]:
        """Every id that became a lead."""
        with self.inside():
            leads = Lead.objects.filter(source="batchdata").values_list("source_id", flat=True)
            return set(leads)

    def closed(self) -> set[str]:
        with self.inside():
            return set(VendorSeen.objects.filter(closed=True).values_list("vendor_id", flat=True))

    def pages(self, sweep: PullSweep) -> list[PullPage]:
        with self.inside():
            return list(PullPage.objects.filter(sweep=sweep).order_by("page_no"))

    def drop_lease(self, sweep: PullSweep) -> None:
        """Let time pass until a dead reader's lease is over."""
        with connected(tenant=self.tenant_id) as own:
            own.execute(
                "UPDATE pull_sweeps SET lease_until = clock_timestamp() - interval '1 second'"
                " WHERE lease_until IS NOT NULL"
            )
            own.commit()


def make_pull_world(office: Office, carrier: Carrier) -> PullWorld:
    key = f"key-{next(_serial)}"
    with office.inside():
        account = Integration.objects.create(
            provider="batchdata", name="BatchData", base_url=carrier.url, api_key=key
        )
    return PullWorld(office=office, carrier=carrier, account=account, key=key)
