from __future__ import annotations

import re

import pytest
from django.test import Client

from integrations.models import Integration, WebhookWork
from messaging.models import Message
from tests.admin_world import enter, visitor
from tests.conftest import drain
from tests.messaging.pages import queries, url
from tests.messaging.repair_world import operator
from tests.shared_sender import account_of, platform

__all__ = ["platform"]

pytestmark = pytest.mark.django_db

AT = "/t/platform/unassigned/"


@pytest.fixture
def staff(platform) -> Client:
    user = visitor()
    platform.staff(user)
    return enter(user)


def page(client, path="", **query):
    answer = client.get(AT + path, query)
    assert answer.status_code == 200, answer.status_code
    return answer.content.decode()


def bodies(office):
    with office.inside():
        return list(Message.objects.order_by("id").values_list("body", flat=True))


def hidden(text):
    return dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', text))


def test_what_waits_is_shown_by_account(office, platform, staff):
    for text in ("one", "two"):
        platform.post(office, text)
    platform.post(office, "three", account=None)

    text = page(staff)

    assert "acc-1" in text
    assert "no tenant has the account acc-1" in text
    assert "names none" in text
    assert "Nothing has been assigned yet" in text


def test_events_are_assigned_in_three_steps(office, platform, staff):
    mine = account_of(office)
    for text in ("one", "two"):
        platform.post(office, text)
    where = {"source": "shared", "account": "acc-1"}

    chooses = page(staff, "account/", **where)
    assert office.tenant.name in chooses
    form = page(staff, "account/", tenant=office.tenant.pk, **where)
    assert "Assign 2 to Harbor" in form
    platform.post(office, "late")
    fields = hidden(form[form.index("<main") :])
    answer = staff.post(
        AT + "assign/", {**fields, "integration": mine.pk, "keep": "on", "reason": "they called"}
    )
    assert answer.url == AT
    drain()

    text = page(staff)
    assert "2 events assigned to Harbor" in text
    assert text.count("assigned to Harbor") >= 3
    assert bodies(office) == ["one", "two"]
    with office.inside():
        assert Integration.objects.get(provider="shared").account_id == "acc-1"
    with platform.inside():
        assert WebhookWork.objects.filter(state="quarantined").count() == 1


def test_a_refusal_is_said(office, platform, staff):
    mine = account_of(office)

    platform.post(office, "hello", account="acc-2")
    with office.inside():
        Integration.objects.filter(pk=mine.pk).update(account_id="acc-9")
    form = page(staff, "account/", source="shared", account="acc-2", tenant=office.tenant.pk)

    answer = staff.post(
        AT + "assign/",
        {**hidden(form[form.index("<main") :]), "integration": mine.pk, "keep": "on"},
        follow=True,
    )

    assert "is the account acc-9" in answer.content.decode()
    assert bodies(office) == []


@pytest.mark.parametrize("path", ["", "account/", "assign/"])
def test_it_is_the_platforms_page_alone(office, staff, path):
    at = url(office, f"unassigned/{path}")

    for method in ("get", "post"):
        answer = getattr(operator(office) if method == "get" else staff, method)(at)
        assert answer.status_code in (404, 405), method


def test_who_is_no_platform_staff_finds_nothing(office, platform, login):
    platform.post(office, "hello")

    for path in ("", "account/?source=shared&account=acc-1"):
        assert login(office).get(AT + path).status_code == 404
    assert Client().get(AT).status_code == 302


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"to": "platform", "newest": "5"},
        {"to": "nobody", "newest": "5"},
        {"to": "harbor", "newest": "x"},
        {"to": "harbor", "newest": "9" * 40},
        {"to": "harbor", "newest": "5", "source": "signalhouse", "integration": "intg_x"},
    ],
)
def test_forms_that_make_no_sense_are_404(office, platform, staff, fields):
    assert staff.post(AT + "assign/", fields).status_code == 404
    assert staff.get(AT + "account/", {"source": "x", "account": "\x00"}).status_code == 404


def test_platform_staff_reach_the_pages_of_the_platform_tenant(office, platform, staff):
    """It has no stages: the shell shows none, and nothing breaks."""
    platform.post(office, "hello")

    for path in ("", "webhooks/", "failures/", "failures/?tab=quarantine", "leads/", "optouts/"):
        assert staff.get(f"/t/platform/{path}").status_code == 200, path


def test_the_queue_costs_the_same_at_any_length(office, platform, staff):
    costs = []
    for how_many in (10, 990):
        for n in range(how_many):
            platform.post(office, f"{n}", account=f"acc-{n % 7}")
        with queries() as asked:
            page(staff)
        costs.append(len(asked))
        assert not any("OFFSET" in sql.upper() for sql in asked)

    assert costs[0] == costs[1] <= 8
