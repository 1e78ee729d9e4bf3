"""Platform staff in a tenant: with a reason, for eight hours, and in its audit log."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from leads.models import Lead
from tenants.actions import VisitRefused, begin_visit
from tenants.context import tenant_context
from tenants.models import Actor, AuditEntry, Tenant, User, memberships_of
from tests.admin_world import enter, staff, url, visitor

pytestmark = pytest.mark.django_db


def come_in(client, tenant, reason="Ticket 12: texts do not arrive"):
    return client.post(reverse("admin:choose"), {"tenant": tenant.pk, "reason": reason})


def test_without_a_visit_platform_staff_find_nothing(office):
    lead = office.receive("hello").lead
    client = enter(visitor())

    for page in ("change", "history", "delete"):
        assert client.get(url(Lead, page, lead.pk)).status_code == 404
    assert client.get(url(Lead, "changelist")).status_code == 404
    assert client.get(f"/t/{office.tenant.slug}/").status_code == 404


def test_a_reason_opens_the_tenant_for_eight_hours_and_is_written_down(office):
    lead = office.receive("hello").lead
    person = visitor()
    client = enter(person)

    answer = come_in(client, office.tenant)

    assert answer.status_code == 302
    page = client.get(url(Lead, "change", lead.pk))
    assert page.status_code == 200
    assert "as platform staff until" in page.content.decode()
    with office.inside():
        actor = Actor.objects.get(user=person)
        entry = AuditEntry.objects.get(action="visit.started")
        assert (actor.role, actor.kind) == ("tenant_admin", "user")
        left = actor.expires_at - timezone.now()
        assert timedelta(hours=7, minutes=59) < left <= timedelta(hours=8)
        assert (entry.actor_id, entry.reason) == (actor.pk, "Ticket 12: texts do not arrive")


@pytest.mark.parametrize("reason", ["", "   "])
def test_no_reason_no_visit(office, reason):
    person = visitor()

    answer = come_in(enter(person), office.tenant, reason)

    assert answer.status_code == 422
    assert "Say why you enter" in answer.content.decode()
    assert memberships_of(person.pk) == []


def test_a_visit_ends_by_itself(office):
    person = visitor()
    client = enter(person)
    come_in(client, office.tenant)
    with office.inside():
        Actor.objects.filter(user=person).update(expires_at=timezone.now() - timedelta(seconds=1))

    assert client.get(url(Lead, "changelist")).status_code == 404


def test_leaving_ends_a_visit_at_once(office):
    person = visitor()
    client = enter(person)
    come_in(client, office.tenant)

    client.post(reverse("admin:leave"), {"_tenant": office.tenant.pk})

    assert memberships_of(person.pk) == []
    with office.inside():
        assert AuditEntry.objects.filter(action="visit.ended").exists()


def test_a_second_visit_prolongs_the_first(office):
    person = visitor()
    with_reason = {"user": person, "tenant": office.tenant}

    first = begin_visit(**with_reason, reason="one")
    second = begin_visit(**with_reason, reason="two")

    assert first.pk == second.pk
    assert second.expires_at >= first.expires_at
    with office.inside():
        assert AuditEntry.objects.filter(action="visit.started").count() == 2


def test_a_visit_shows_one_tenant_and_not_the_other(office, other_office):
    mine, foreign = office.receive("hello").lead, other_office.receive("hello").lead
    client = enter(visitor())
    come_in(client, office.tenant)

    assert client.get(url(Lead, "change", mine.pk)).status_code == 200
    assert client.get(url(Lead, "change", foreign.pk)).status_code == 404


def test_only_platform_staff_visit(office, other_office):
    ordinary = User.objects.create(username="ordinary", is_staff=True)

    assert come_in(enter(ordinary), office.tenant).status_code == 404
    with pytest.raises(VisitRefused, match="platform staff"):
        begin_visit(user=ordinary, tenant=office.tenant, reason="curious")
    assert come_in(enter(staff(other_office).user), office.tenant).status_code == 404


def test_a_member_needs_no_visit_and_stays_a_member(office):
    member = staff(office, is_superuser=True)

    with pytest.raises(VisitRefused, match="member"):
        begin_visit(user=member.user, tenant=office.tenant, reason="habit")

    with tenant_context(office.tenant.pk):
        assert Actor.objects.get(pk=member.pk).expires_at is None


def test_the_platform_tenant_is_in_no_picker(office):
    client = enter(visitor())
    platform = Tenant.objects.get(slug="platform")

    html = client.get(reverse("admin:index")).content.decode()

    assert office.tenant.name in html
    assert platform.pk not in html
    assert come_in(client, platform).status_code == 404


def test_visiting_is_a_post(office):
    person = visitor()

    enter(person).get(reverse("admin:choose"), {"tenant": office.tenant.pk, "reason": "x"})

    assert memberships_of(person.pk) == []
