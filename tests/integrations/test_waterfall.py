"""Leads down the waterfall, against vendors that the sandbox plays over HTTP."""

from __future__ import annotations

import httpx
import pytest

from integrations.models import Enrichment, VendorAnswer
from integrations.sandbox.server import running
from leads.models import Consent, ConsentEvent, ContactPoint, LeadScore, Verification
from pipelines.artifacts import read
from tests.integrations.waterfall_world import make_world

pytestmark = pytest.mark.django_db

MOBILE = {"number": "9165550101", "line": "mobile"}
LAND = {"number": "9165550102", "line": "landline"}


@pytest.fixture(scope="module")
def sandbox():
    with running() as url:
        yield url


@pytest.fixture
def world(office, sandbox):
    with httpx.Client(base_url=sandbox, trust_env=False, timeout=10) as client:
        client.post("/_control/reset")
        yield make_world(office, client)


def phones(world, lead) -> dict[str, ContactPoint]:
    with world.inside():
        return {p.normalized: p for p in ContactPoint.objects.filter(lead=lead, kind="phone")}


def test_a_lead_goes_down_the_stages_and_each_cent_is_on_the_invoice(world):
    lead = world.lead()

    [enrichment] = world.enrich(lead)

    assert enrichment.state == "done"
    assert world.spent() == world.invoice() == enrichment.cost_cents > 0
    with world.inside():
        lead.refresh_from_db()
        assert (lead.enrichment_status, bool(lead.last_enriched_at)) == ("done", True)
        answers = list(VendorAnswer.objects.select_related("artifact"))
        assert all(answer.is_final for answer in answers)
        assert all(read(a.artifact) for a in answers)
