"""The poll: hints as JSON, and the statuses by which a closed stream is judged."""

from __future__ import annotations

import pytest

from campaigns.actions_tenants import add_member, create_tenant
from messaging.actions.live import hint
from tenants.context import tenant_context
from tenants.models import User


@pytest.fixture
def tenant(db):
    return create_tenant(slug="harbor", name="Harbor")


@pytest.fixture
def ann(tenant, client):
    user = User.objects.create(username="ann")
    client.force_login(user)
    return add_member(tenant.pk, user=user, role="agent")


def test_the_poll_tells_what_came_after_the_cursor(tenant, ann, client):
    with tenant_context(tenant.pk):
        hint("inbound", stage="nudger")

    told = client.get("/t/harbor/poll/?after=0").json()

    assert told["hints"] == [{"id": told["cursor"], "k": "inbound", "s": "nudger"}]
    assert told["reset"] is False
    assert client.get(f"/t/harbor/poll/?after={told['cursor']}").json()["cursor"] == told["cursor"]


@pytest.mark.parametrize("after", ["", "x", "-1", "٣", "9" * 30])
def test_a_cursor_that_is_no_number_counts_as_none(ann, client, after):
    assert client.get("/t/harbor/poll/", {"after": after}).status_code == 200


def test_the_poll_refuses_strangers_in_words_a_script_understands(tenant, client):
    assert client.get("/t/harbor/poll/").status_code == 401


def test_the_poll_of_another_tenant_is_not_there(ann, client):
    create_tenant(slug="other", name="Other")

    assert client.get("/t/other/poll/").status_code == 404


def test_without_an_event_loop_there_is_no_stream(ann, client):
    assert client.get("/live/harbor/").status_code == 204
