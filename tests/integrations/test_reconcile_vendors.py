"""What Twilio and GoHighLevel failed to tell is found in their lists, once, over HTTP."""

from __future__ import annotations

import time

import httpx
import pytest

from integrations import reconcile as job
from integrations.models import ExternalId, Integration, WebhookEvent
from integrations.reconcile import reconcile
from integrations.sandbox.app import Sandbox
from integrations.sandbox.server import running
from leads.models import Consent
from messaging.models import Message
from tests.conftest import OURS, drain
from tests.messaging.conftest import _carrier, carrier

__all__ = ["_carrier", "carrier"]

pytestmark = pytest.mark.django_db(transaction=True)

ACCOUNT, TOKEN, LOCATION = "AC00000000000000000000000000000007", "token-seven", "loc-seven"


@pytest.fixture(autouse=True)
def _at_once(settings, monkeypatch):
    """No webhook reaches us, and nothing is too young to be missing."""
    settings.BASE_URL = "http://127.0.0.1:9"
    monkeypatch.setattr(job, "SETTLE_S", -60.0)


def test_texts_that_twilio_lost_are_found_once_and_a_stop_counts(committed_office, carrier):
    office = committed_office
    with office.inside():
        Integration.objects.update(
            provider="twilio", base_url=carrier.url, account_id=ACCOUNT, api_key=TOKEN
        )
    rented = {"numbers": [OURS], "vendor": "twilio", "account_id": ACCOUNT, "api_key": TOKEN}
    carrier.client.post("/_control/numbers", json=rented).raise_for_status()
    for n, text in enumerate(["Yes, call me", "STOP", "What would you pay?"]):
        body = {"from": f"+1202555018{n}", "to": OURS, "text": text}
        carrier.client.post("/_control/inbound", json=body).raise_for_status()
    time.sleep(0.1)

    first = reconcile(office.tenant.pk, office.integration.pk)
    with office.inside():
        stopped = Consent.objects.get(address="+12025550181").state
    drain()
    second = reconcile(office.tenant.pk, office.integration.pk)

    assert (first.status, first.missing, first.error) == ("completed", 3, "")
    assert stopped == "opted_out"
    assert (second.status, second.missing) == ("completed", 0)
    with office.inside():
        bodies = set(Message.objects.filter(direction="in").values_list("body", flat=True))
    assert bodies == {"Yes, call me", "STOP", "What would you pay?"}


def test_contacts_and_messages_that_the_crm_lost_are_found_once(committed_office):
    office = committed_office
    with (
        running(Sandbox(pace=0.00001, answers=False)) as url,
        httpx.Client(base_url=url, trust_env=False, timeout=5) as client,
    ):
        with office.inside():
            crm = Integration.objects.create(
                provider="ghl", name="CRM", base_url=url, account_id=LOCATION, api_key="token-1"
            )
        contact = {"locationId": LOCATION, "lose": True, "firstName": "Jo", "phone": "+12025550142"}
        made = client.post("/_control/ghl/contacts", json=contact).raise_for_status().json()
        text = {"contactId": made["contact"]["id"], "body": "please stop texting me", "lose": True}
        client.post("/_control/ghl/messages", json=text).raise_for_status()

        first = reconcile(office.tenant.pk, crm.pk)
        drain()
        second = reconcile(office.tenant.pk, crm.pk)

    assert (first.status, first.error) == ("completed", "")
    assert first.missing == 2
    assert (second.status, second.missing) == ("completed", 0)
    with office.inside():
        link = ExternalId.objects.select_related("lead").get(kind="contact")
        assert link.lead.first_name == "Jo"
        assert Consent.objects.get(address="+12025550142", scope="").state == "opted_out"
        assert WebhookEvent.objects.filter(signature_state="pulled").count() == 2
