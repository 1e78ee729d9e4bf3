"""What people change in the admin goes through actions and into the tenant's audit log."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.utils import timezone

from integrations.models import Integration, WebhookEndpoint
from leads.models import ContactPoint, Label, Lead, LeadEvent, LeadLabel, Stage
from messaging.models import PhoneNumber, StageMembership
from tenants.actions import MemberChangeRefused, change_member
from tenants.models import Actor, AuditEntry, Tenant, User
from tests.admin_world import boss, enter, staff, url, visitor

pytestmark = pytest.mark.django_db


def save(client, office, address, **fields):
    return client.post(address, {"_tenant": office.tenant.pk, "_save": "", **fields})


def audit(office, action):
    with office.inside():
        return AuditEntry.objects.filter(action=action).order_by("-id").first()


def stage_fields(stage, **changes):
    return {
        "label": stage.label,
        "short_label": stage.short_label,
        "position": stage.position,
        "worker": stage.worker_id or "",
        "sla_minutes": stage.sla_minutes,
        "delay_days": "",
        "aliases": "[]",
        **changes,
    }


def test_a_new_lead_is_born_with_its_event_and_contact_points(office):
    person = staff(office)

    answer = save(
        enter(person.user),
        office,
        url(Lead, "add"),
        first_name="Ada",
        source="manual",
        phone="(202) 555-0188",
        email="Ada@Example.com",
    )

    assert answer.status_code == 302, answer.content
    with office.inside():
        lead = Lead.objects.get(first_name="Ada")
        assert (lead.state, lead.event_seq) == ("new", 0)
        assert LeadEvent.objects.get(lead=lead).actor_id == person.pk
        points = set(ContactPoint.objects.filter(lead=lead).values_list("kind", "normalized"))
        assert points == {("phone", "+12025550188"), ("email", "ada@example.com")}


@pytest.mark.parametrize("wrong", [{"phone": "12"}, {"email": "nobody"}, {"time_zone": "Mars"}])
def test_a_lead_with_a_wrong_address_is_not_made(office, wrong):
    answer = save(boss(office), office, url(Lead, "add"), first_name="Ada", source="m", **wrong)

    assert answer.status_code == 200
    with office.inside():
        assert not Lead.objects.exists()


def test_leads_move_by_an_action_where_the_machine_allows(office):
    lead = office.receive("hello").lead
    client = boss(office)

    def move(to):
        return client.post(
            url(Lead, "changelist"),
            {
                "action": f"move_{to}",
                "_selected_action": lead.pk,
                "index": 0,
                "_tenant": office.tenant.pk,
            },
            follow=True,
        ).content.decode()

    assert "now high intent" in move("high_intent")
    assert "cannot become touched" in move("touched")

    with office.inside():
        lead.refresh_from_db()
        last = LeadEvent.objects.filter(lead=lead).order_by("-seq").first()
        assert lead.state == last.to_state == "high_intent"
        assert last.actor is not None
        assert last.payload == {"from": "admin"}


def test_an_edit_writes_only_what_was_edited(office):
    client = boss(office)
    with office.inside():
        PhoneNumber.objects.filter(pk=office.number.pk).update(tokens=3, sent_today=5)
    page = url(PhoneNumber, "change", office.number.pk)
    fields = {
        "label": "Front",
        "integration": office.integration.pk,
        "status": "resting",
        "worker": office.number.worker_id,
        "rate_per_second": 2,
        "burst": 4,
        "daily_cap": 50,
        "tokens": 1000,
        "sent_today": 0,
    }

    assert save(client, office, page, **fields).status_code == 302

    with office.inside():
        number = PhoneNumber.objects.get(pk=office.number.pk)
    assert (number.label, number.status, number.daily_cap) == ("Front", "resting", 50)
    assert (number.tokens, number.sent_today) == (3, 5)
    assert audit(office, "phonenumber.changed").after["fields"] == [
        "burst",
        "daily_cap",
        "label",
        "rate_per_second",
        "status",
    ]


def test_a_cap_below_what_went_out_is_a_mistake_of_the_form(office):
    with office.inside():
        PhoneNumber.objects.filter(pk=office.number.pk).update(sent_today=5)
    fields = {
        "integration": office.integration.pk,
        "status": "active",
        "rate_per_second": 0,
        "burst": 1,
        "daily_cap": 4,
    }

    page = url(PhoneNumber, "change", office.number.pk)
    html = save(boss(office), office, page, **fields).content.decode()

    assert "5 went out today already." in html
    assert "More than 0" in html


def test_a_taken_key_is_a_mistake_of_the_form(office):
    client = boss(office)
    with office.inside():
        stage = Stage.objects.get(key="nudger")
    key = stage_fields(stage, key="retarget", position=50)
    place = stage_fields(stage, key="fresh", position=1)

    for fields, word in ((key, "key"), (place, "position")):
        answer = save(client, office, url(Stage, "add"), **fields)
        assert answer.status_code == 200
        assert f"There is one with this {word} already." in answer.content.decode()


def test_a_clash_with_what_cannot_be_edited_is_a_mistake_of_the_form_too(office):
    client = boss(office)
    lead = office.lead()
    with office.inside():
        second = ContactPoint.objects.create(lead=lead, kind="phone", normalized="+12025550177")
        stage = Stage.objects.get(key="nudger")
    primary = {"line_type": "mobile", "is_primary": "on"}

    point = save(client, office, url(ContactPoint, "change", second.pk), **primary)
    place = save(client, office, url(Stage, "change", stage.pk), **stage_fields(stage, position=1))

    assert "Another one is primary already" in point.content.decode()
    assert "There is one with this position already." in place.content.decode()


def test_a_contact_point_is_added_once_in_whatever_format(office):
    client, lead = boss(office), office.lead()
    fields = {"lead": lead.pk, "kind": "phone", "line_type": "mobile"}

    made = save(client, office, url(ContactPoint, "add"), normalized="202.555.0177", **fields)
    again = save(client, office, url(ContactPoint, "add"), normalized="+12025550177", **fields)

    assert made.status_code == 302, made.content
    assert "already." in again.content.decode()
    with office.inside():
        assert ContactPoint.objects.get(normalized="+12025550177").raw == "202.555.0177"


def test_the_same_key_in_another_tenant_is_free(office, other_office):
    with other_office.inside():
        Label.objects.create(key="vip", name="VIP")

    answer = save(
        boss(office), office, url(Label, "add"), kind="label", key="vip", name="VIP", color="blue"
    )

    assert answer.status_code == 302


def test_what_may_be_removed_leaves_its_name_in_the_audit_log(office):
    client = boss(office)
    with office.inside():
        row = StageMembership.objects.filter(actor=office.agent).first()
    page = url(StageMembership, "delete", row.pk)

    assert "cannot be undone" in client.get(page).content.decode()
    answer = client.post(page, {"post": "yes", "_tenant": office.tenant.pk})

    assert answer.status_code == 302
    with office.inside():
        assert not StageMembership.objects.filter(pk=row.pk).exists()
    assert audit(office, "stagemembership.removed").object_id == row.pk


def test_a_label_in_use_stays(office):
    lead = office.receive("hello").lead
    client = boss(office)
    with office.inside():
        label = Label.objects.create(key="vip", name="VIP")
        LeadLabel.objects.create(lead=lead, label=label)
    page = url(Label, "delete", label.pk)

    assert "is in use and stays" in client.get(page).content.decode()
    client.post(page, {"post": "yes", "_tenant": office.tenant.pk})

    with office.inside():
        assert Label.objects.filter(pk=label.pk).exists()


def integration_fields(integration, **changes):
    return {
        "name": integration.name,
        "enabled": "on",
        "base_url": integration.base_url,
        "account_id": "",
        "settings": "{}",
        "new_secret": "",
        "new_api_key": "",
        "grace": "24",
        **changes,
    }


def test_an_empty_secret_field_keeps_the_secret(office):
    page = url(Integration, "change", office.integration.pk)

    fields = integration_fields(office.integration, name="Renamed")
    assert save(boss(office), office, page, **fields).status_code == 302

    with office.inside():
        kept = Integration.objects.get(pk=office.integration.pk)
    assert (kept.name, kept.secret, kept.api_key) == (
        "Renamed",
        office.integration.secret,
        office.integration.api_key,
    )
    assert kept.previous_secret == ""


def test_a_new_secret_keeps_the_old_one_for_its_grace(office):
    page = url(Integration, "change", office.integration.pk)
    client, old = boss(office), office.integration.secret

    fields = integration_fields(office.integration, new_secret="new-secret", new_api_key="new-key")
    html = client.post(page, {**fields, "_tenant": office.tenant.pk}, follow=True).content.decode()

    with office.inside():
        rotated = Integration.objects.get(pk=office.integration.pk)
    assert (rotated.secret, rotated.api_key, rotated.previous_secret) == (
        "new-secret",
        "new-key",
        old,
    )
    left = rotated.previous_valid_until - timezone.now()
    assert timedelta(hours=23) < left <= timedelta(hours=24)
    assert "new-secret" not in html
    entry = audit(office, "integration.secret_rotated")
    assert "new-secret" not in str((entry.before, entry.after, entry.reason))

    dropped = {**integration_fields(rotated), "integrations_integration_drop_old_secret": ""}
    client.post(page, {**dropped, "_tenant": office.tenant.pk})

    with office.inside():
        assert Integration.objects.get(pk=office.integration.pk).previous_secret == ""


def test_both_secrets_open_the_door_during_the_grace(office):
    page = url(Integration, "change", office.integration.pk)
    old = office.integration.secret

    save(boss(office), office, page, **integration_fields(office.integration, new_secret="newer"))
    with office.inside():
        assert Integration.objects.get(pk=office.integration.pk).secret == "newer"

    assert office.post(office.payload("one"), secret=old).status_code == 202
    assert office.post(office.payload("two"), secret="newer").status_code == 202


def test_a_webhook_url_made_in_the_admin_works_until_it_is_retired(office):
    client = boss(office)

    answer = save(
        client,
        office,
        url(WebhookEndpoint, "add"),
        integration=office.integration.pk,
        signed="on",
        our_number="",
    )

    assert answer.status_code == 302, answer.content
    with office.inside():
        endpoint = WebhookEndpoint.objects.order_by("-id").first()
    path = f"/hooks/signalhouse/{endpoint.token}/"
    assert office.post(office.payload("hi"), path=path).status_code == 202

    client.post(
        url(WebhookEndpoint, "changelist"),
        {
            "action": "retire",
            "_selected_action": endpoint.pk,
            "index": 0,
            "_tenant": office.tenant.pk,
        },
    )

    with office.inside():
        assert WebhookEndpoint.objects.get(pk=endpoint.pk).retired_at is not None
    assert audit(office, "endpoint.retired").object_id == endpoint.pk


def test_a_webhook_url_can_be_retired_on_its_own_page(office):
    page = url(WebhookEndpoint, "change", office.endpoint.pk)
    client = boss(office)

    assert "Retire this URL" in client.get(page).content.decode()
    client.post(page, {"integrations_webhookendpoint_retire_url": "", "_tenant": office.tenant.pk})

    with office.inside():
        assert WebhookEndpoint.objects.get(pk=office.endpoint.pk).retired_at is not None
    assert "Retire this URL" not in client.get(page).content.decode()


def test_the_tenant_edits_its_own_settings(office):
    page = url(Tenant, "change", office.tenant.pk)
    fields = {
        "name": "Harbor Homes",
        "time_zone": "America/Chicago",
        "legal_start": 9,
        "legal_end": 20,
        "daily_send_limit": 100,
        "gold_label_priority": 100,
        "email_priority": 75,
        "wants_call_priority": 100,
        "call_queue_threshold": 50,
        "slug": "stolen",
        "plan": "free",
        "is_canary": "on",
    }

    assert save(boss(office), office, page, **fields).status_code == 302

    tenant = Tenant.objects.get(pk=office.tenant.pk)
    assert (tenant.name, tenant.time_zone) == ("Harbor Homes", "America/Chicago")
    assert (tenant.slug, tenant.plan, tenant.is_canary) == ("harbor", "standard", False)


def test_a_member_is_given_another_role_and_let_go(office):
    page = url(Actor, "change", office.agent.pk)

    save(boss(office), office, page, name="Cam", role="operator")

    with office.inside():
        agent = Actor.objects.get(pk=office.agent.pk)
    assert (agent.name, agent.role, agent.is_active) == ("Cam", "operator", False)
    entry = audit(office, "actor.changed")
    assert (entry.before["role"], entry.after["role"]) == ("agent", "operator")


def test_nobody_changes_their_own_role(office):
    person = staff(office)

    page = url(Actor, "change", person.pk)
    answer = save(enter(person.user), office, page, name="Me", role="agent", is_active="on")

    assert "Somebody else must change your own role." in answer.content.decode()


def test_the_last_tenant_admin_stays(office):
    person = staff(office)

    with office.inside(), pytest.raises(MemberChangeRefused, match="at least one"):
        change_member(person.pk, name="X", role="agent", is_active=True, actor_id=office.agent.pk)


def test_history_is_the_tenants_own_and_django_keeps_none(office, other_office):
    client, with_other = boss(office), boss(other_office)
    with office.inside():
        stage = Stage.objects.get(key="nudger")
    page = url(Stage, "change", stage.pk)

    save(client, office, page, **stage_fields(stage, label="Nudge"))

    html = client.get(url(Stage, "history", stage.pk)).content.decode()
    assert "stage.changed" in html
    assert "tenant_admin staff" in html
    assert with_other.get(url(Stage, "history", stage.pk)).status_code == 404
    assert not LogEntry.objects.exists()


def test_what_happens_to_a_login_stands_in_the_platforms_audit_log(office):
    client, person = enter(visitor()), office.agent.user

    made = client.post(
        url(User, "add"),
        {
            "username": "newcomer",
            "password1": "correct horse 1",
            "password2": "correct horse 1",
        },
    )
    fields = {"username": person.username, "is_active": "on", "is_staff": "on"}
    client.post(url(User, "change", person.pk), {**fields, "theme": "dark", "density": "default"})
    client.post(
        f"/admin/tenants/user/{person.pk}/password/",
        {
            "password1": "battery staple 2",
            "password2": "battery staple 2",
        },
    )

    assert made.status_code == 302, made.content
    person.refresh_from_db()
    assert person.is_staff
    assert person.check_password("battery staple 2")
    history = client.get(url(User, "history", person.pk)).content.decode()
    assert history.count("user.changed") == 2
    assert "battery" not in history
    with office.inside():
        assert not AuditEntry.objects.filter(object_kind="user").exists()
