"""Events of a shared sender that nobody claims: handed to a tenant once, in order, with a trace."""

from __future__ import annotations

import pytest
from django.utils import timezone

from integrations.actions_assign import Destination, assign_account, assign_work
from integrations.actions_work import WorkRefused
from integrations.models import Integration, WebhookEvent, WebhookWork, WorkEvent
from integrations.unassigned import waiting_accounts
from leads.models import Consent
from messaging.models import Message
from tenants.models import AuditEntry
from tests.admin_world import visitor
from tests.conftest import drain
from tests.shared_sender import account_of, platform

__all__ = ["platform"]

pytestmark = pytest.mark.django_db

ALL = 10**9


@pytest.fixture
def destination(office, platform):
    mine = account_of(office)
    return Destination(
        tenant_id=office.tenant.pk,
        integration_id=mine.pk,
        actor=platform.staff(visitor()),
        reason="they called",
    )


def bodies(office):
    with office.inside():
        return list(
            Message.objects.filter(direction="in").order_by("id").values_list("body", flat=True)
        )


def waiting(platform):
    with platform.inside():
        return list(
            WebhookWork.objects.filter(state="quarantined")
            .order_by("seq")
            .values_list("seq", flat=True)
        )


def test_waiting_events_are_counted_by_account(office, platform):
    for text in ("one", "two"):
        platform.post(office, text)
    platform.post(office, "three", account="acc-2")
    platform.post(office, "four", account=None)

    with platform.inside():
        found = {(one.source, one.account): one for one in waiting_accounts()}

    assert {key: one.count for key, one in found.items()} == {
        ("shared", "acc-1"): 2,
        ("shared", "acc-2"): 1,
        ("shared", ""): 1,
    }
    assert found["shared", "acc-1"].reason == "no tenant has the account acc-1"
    assert found["shared", "acc-1"].oldest < timezone.now()


def test_all_of_an_account_are_handed_over_in_their_order(office, platform, destination):
    ids = [platform.post(office, f"n{n}") for n in range(3)]
    platform.post(office, "other", account="acc-2")

    with platform.inside():
        done = assign_account("shared", "acc-1", destination, keep=False, newest=ALL)
    drain()

    assert done == 3
    assert bodies(office) == ["n0", "n1", "n2"]
    with office.inside():
        assert set(WebhookEvent.objects.values_list("pk", flat=True)) == set(ids)
        assert {event.integration for event in WebhookEvent.objects.all()} == {
            destination.integration_id
        }
        assert WorkEvent.objects.filter(what="assign").count() == 3
        entry = AuditEntry.objects.get(action="work.assign")
        assert (entry.actor_id, entry.after["count"]) == (None, 3)
        assert entry.reason == "assigned by platform staff (platform): they called"
    with platform.inside():
        over = WebhookWork.objects.filter(state="done")
        assert set(over.values_list("outcome", flat=True)) == {f"assigned to {office.tenant.name}"}
        assert WorkEvent.objects.filter(what="assign", actor=destination.actor).count() == 3
        assert AuditEntry.objects.get(action="work.assign").reason == "they called"
        assert [one.account for one in waiting_accounts()] == ["acc-2"]


def test_later_arrivals_wait_for_another_look(office, platform, destination):
    platform.post(office, "shown")
    (newest,) = waiting(platform)
    platform.post(office, "later")

    with platform.inside():
        assert assign_account("shared", "acc-1", destination, keep=False, newest=newest) == 1
    drain()

    assert bodies(office) == ["shown"]


def test_a_remembered_account_leads_the_next_events_home(office, platform, destination):
    platform.post(office, "first")
    with platform.inside():
        assign_account("shared", "acc-1", destination, keep=True, newest=ALL)
    platform.post(office, "second")
    drain()

    assert bodies(office) == ["first", "second"]
    assert waiting(platform) == []
    with office.inside():
        assert Integration.objects.get(provider="shared").account_id == "acc-1"
        assert AuditEntry.objects.filter(action="integration.account_set").count() == 1


def test_assigning_twice_changes_nothing(office, platform, destination):
    platform.post(office, "hello")
    seqs = waiting(platform)
    with platform.inside():
        assert assign_work(seqs, destination) == 1
        assert assign_work(seqs, destination) == 0
    drain()

    assert bodies(office) == ["hello"]
    with office.inside():
        assert WebhookWork.objects.count() == WebhookEvent.objects.count() == 1


def test_an_opt_out_holds_with_the_assignment(office, platform, destination):
    platform.post(office, "STOP")
    with office.inside():
        assert not Consent.objects.filter(state="opted_out").exists()

    with platform.inside():
        assign_account("shared", "acc-1", destination, keep=False, newest=ALL)

    with office.inside():
        assert Consent.objects.get().state == "opted_out"  # before any drain
    drain()
    with office.inside():
        assert Consent.objects.get().state == "opted_out"


def refusal(platform, destination, *, keep=False):
    with platform.inside(), pytest.raises(WorkRefused) as refused:
        assign_account("shared", "acc-1", destination, keep=keep, newest=ALL)
    return str(refused.value)


def changed(destination, **fields):
    return Destination(**{**vars(destination), **fields})


def test_it_is_refused_where_it_makes_no_sense(office, other_office, platform, destination):
    platform.post(office, "hello")
    foreign = account_of(other_office, "acc-9")

    assert "not the tenant's" in refusal(platform, changed(destination, integration_id=foreign.pk))
    assert "another sender" in refusal(
        platform, changed(destination, integration_id=office.integration.pk)
    )
    assert "platform staff" in refusal(platform, changed(destination, actor=office.agent))
    assert "platform tenant already" in refusal(
        platform,
        changed(
            destination,
            tenant_id=platform.integration.tenant_id,
            integration_id=platform.integration.pk,
        ),
    )
    with office.inside(), pytest.raises(WorkRefused):
        assign_work([1], destination)
    assert len(waiting(platform)) == 1


def test_an_account_somebody_else_claims_is_not_given_away(
    office, other_office, platform, destination
):
    platform.post(office, "hello")
    account_of(other_office, "acc-1")

    assert "Another integration" in refusal(platform, destination, keep=True)
    with office.inside():
        assert Integration.objects.get(provider="shared").account_id is None


def test_an_integration_keeps_the_account_it_has(office, platform, destination):
    platform.post(office, "hello")
    with office.inside():
        Integration.objects.filter(provider="shared").update(account_id="acc-7")

    assert "is the account acc-7" in refusal(platform, destination, keep=True)
