"""What each role may do in the admin, what nobody may, and what never leaves the server."""

from __future__ import annotations

import pytest
from django.conf import settings
from django.test import Client

from integrations.models import (
    FieldMapping,
    Integration,
    VerificationCode,
    WebhookEndpoint,
    WebhookEvent,
)
from integrations.models.webhook import WebhookReceipt, WebhookWork
from leads.models import Label, Lead, LeadLabel, LeadTransition, Stage
from messaging.models import Message, PhoneNumber, StageMembership
from tenants.constraints import AppendOnly, NoDelete
from tenants.models import Actor, AuditEntry, Tenant, User
from tests.admin_world import boss, enter, fill, staff, tables, url, visitor

pytestmark = pytest.mark.django_db

#: Tables whose rows can be removed; everything else lives on.
DELETABLE = {FieldMapping, Label, LeadLabel, StageMembership}
#: Who may add and change; read-only tables are not listed.
EDITORS = {
    "operator": {Lead, Stage, PhoneNumber, Label},
    "tenant_admin": {Lead, Stage, PhoneNumber, Label, Tenant, Integration, StageMembership},
}


@pytest.fixture
def filled(office):
    return fill(office, "OURWORD")


@pytest.mark.parametrize("role", ["observer", "agent", "operator", "tenant_admin"])
def test_everybody_in_the_tenant_looks_and_only_some_roles_change(filled, role):
    client = enter(staff(filled.office, role).user)

    for model, row in filled.rows.items():
        html = client.get(url(model, "change", row.pk)).content.decode()
        may = model in EDITORS.get(role, ()) or model.__name__ in {
            "operator": {
                "Brand",
                "Business",
                "Contact",
                "ContactPoint",
                "ContactRule",
                "FieldMapping",
                "Ownership",
                "Property",
                "Worker",
            },
            "tenant_admin": {
                "Brand",
                "Business",
                "Contact",
                "Ownership",
                "Property",
                "ContactPoint",
                "ContactRule",
                "FieldMapping",
                "Worker",
                "Actor",
            },
        }.get(role, ())
        assert ('name="_save"' in html) is may, (role, model)
        if not may and model is not WebhookEndpoint:
            assert client.post(url(model, "change", row.pk), {"name": "x"}).status_code == 403


@pytest.mark.parametrize("role", ["observer", "agent"])
def test_those_who_may_not_change_may_not_add_delete_or_act(filled, role):
    client = enter(staff(filled.office, role).user)

    for model in tables():
        assert client.get(url(model, "add")).status_code == 403, model
        assert client.post(url(model, "add"), {}).status_code == 403, model
        for deletable in DELETABLE:
            address = url(deletable, "delete", filled.rows[deletable].pk)
            assert client.post(address, {"post": "yes"}).status_code == 403


def test_global_permissions_and_is_staff_decide_nothing(filled, other_office):
    outsider = enter(staff(other_office).user, filled.office.tenant)

    for model in tables():
        if model not in (LeadTransition, VerificationCode):
            address = url(model, "change", filled.rows[model].pk)
            assert outsider.get(address).status_code == 404, model


def test_rows_that_are_kept_cannot_be_deleted_by_anybody(filled):
    client = boss(filled.office)

    for model in tables():
        kept = any(isinstance(c, (AppendOnly, NoDelete)) for c in model._meta.constraints)
        assert not (kept and model in DELETABLE)
        if model in DELETABLE:
            continue
        address = url(model, "delete", filled.rows[model].pk)
        assert client.get(address).status_code == 403, model
        assert client.post(address, {"post": "yes"}).status_code == 403, model
        page = client.get(url(model, "change", filled.rows[model].pk)).content.decode()
        assert "/delete/" not in page, model


def test_no_list_offers_to_delete_what_is_ticked(filled):
    client = boss(filled.office)

    for model in tables():
        assert "delete_selected" not in client.get(url(model, "changelist")).content.decode()
        answer = client.post(
            url(model, "changelist"),
            {"action": "delete_selected", "_selected_action": filled.rows[model].pk, "index": 0},
        )
        assert answer.status_code in (302, 200, 403), model

    with filled.office.inside():
        for model, row in filled.rows.items():
            assert model._default_manager.filter(pk=row.pk).exists(), model


def test_logs_take_no_change_by_any_field(filled):
    client = boss(filled.office)

    for model in tables():
        if not any(isinstance(c, AppendOnly) for c in model._meta.constraints):
            continue
        row = filled.rows[model]
        fields = {field.name: "x" for field in model._meta.concrete_fields}
        assert client.post(url(model, "change", row.pk), fields).status_code == 403, model
        assert client.post(url(model, "add"), fields).status_code == 403, model


def test_a_form_takes_no_field_it_does_not_show(filled):
    client, lead = boss(filled.office), filled.rows[Lead]

    client.post(
        url(Lead, "change", lead.pk),
        {
            "first_name": "Ada",
            "state": "closed",
            "stage": "nudger",
            "event_seq": 99,
            "attempt_count": 7,
            "tenant": "tenant_01ARZ3NDEKTSV4RRFFQ69G5FAV",
            "_tenant": filled.office.tenant.pk,
        },
    )

    with filled.office.inside():
        now = Lead.objects.get(pk=lead.pk)
    assert now.first_name == "Ada"
    assert (now.state, now.stage, now.event_seq) == (lead.state, lead.stage, lead.event_seq)
    assert (now.attempt_count, now.tenant_id) == (lead.attempt_count, lead.tenant_id)


SECRETS = {
    "api_key": "canary-api-key-0001",
    "secret": "canary-secret-0002",
    "previous_secret": "canary-previous-0003",
}


@pytest.mark.parametrize("role", ["observer", "operator", "tenant_admin"])
def test_secrets_are_on_no_page(filled, role):
    client = enter(staff(filled.office, role).user)
    with filled.office.inside():
        Integration.objects.filter(pk=filled.rows[Integration].pk).update(**SECRETS)
        kept = Integration.objects.get(pk=filled.rows[Integration].pk)
    assert {name: str(getattr(kept, name)) for name in SECRETS} == SECRETS

    for model, row in filled.rows.items():
        pages = [
            client.get(url(model, "changelist")),
            client.get(url(model, "change", row.pk)),
            client.get(url(model, "history", row.pk)),
        ]
        for page in pages:
            html = page.content.decode()
            assert not any(value in html for value in SECRETS.values()), model
            assert "gAAAA" not in html, model  # what encryption makes of them


def test_a_webhook_url_is_shown_to_those_who_manage_keys_on_its_own_page_only(filled):
    endpoint = filled.rows[WebhookEndpoint]
    page, listed = url(WebhookEndpoint, "change", endpoint.pk), url(WebhookEndpoint, "changelist")
    manager, operator = boss(filled.office), enter(staff(filled.office, "operator").user)

    assert endpoint.token in manager.get(page).content.decode()
    assert endpoint.token not in manager.get(listed).content.decode()
    assert endpoint.token not in operator.get(page).content.decode()
    assert endpoint.token_hash not in manager.get(page).content.decode()


def test_what_came_from_outside_is_text_in_the_admin(filled):
    hostile = "<script>alert(1)</script> \u202egnp.exe \x1b[31mred javascript:alert(2)"
    text = filled.office.receive(hostile, theirs="+13105550199")
    with filled.office.inside():
        Lead.objects.filter(pk=filled.rows[Lead].pk).update(full_name=hostile.replace("\x1b", ""))
        event = WebhookEvent.objects.order_by("-id").first()
    client = boss(filled.office)

    for page in (
        url(Lead, "changelist"),
        url(Lead, "change", filled.rows[Lead].pk),
        url(Message, "changelist"),
        url(Message, "change", text.pk),
        url(WebhookEvent, "change", event.pk),
    ):
        html = client.get(page).content.decode()
        assert "<script>alert" not in html, page
        assert "\x1b" not in html, page
    shown = client.get(url(Message, "change", text.pk)).content.decode()
    assert "\u202e" not in shown.partition('class="raw"')[2]
    assert "\\u202e" in shown
    assert "\u241b[31mred" in shown


def test_logins_are_for_platform_staff_alone(filled):
    person = filled.office.agent.user
    addresses = [
        url(User, "changelist"),
        url(User, "change", person.pk),
        url(User, "add"),
        url(User, "delete", person.pk),
        f"/admin/tenants/user/{person.pk}/password/",
    ]
    admin, platform = boss(filled.office), enter(visitor())

    for address in addresses[:3]:
        assert admin.get(address).status_code == 403, address
        assert platform.get(address).status_code == 200, address
    assert platform.get(addresses[3]).status_code == 403
    assert admin.get(addresses[4]).status_code == 403
    assert platform.get(addresses[4]).status_code == 200


def test_the_tenant_page_has_no_neighbors(filled, other_office):
    html = boss(filled.office).get(url(Tenant, "changelist")).content.decode()

    assert other_office.tenant.name not in html
    assert "platform" not in html.partition("<main")[2].lower()


def test_only_the_admin_has_the_looser_policy(filled):
    client = boss(filled.office)

    loose = client.get(url(Lead, "changelist"))["Content-Security-Policy"]
    strict = client.get(f"/t/{filled.office.tenant.slug}/leads/")["Content-Security-Policy"]
    login = Client().get("/login/")["Content-Security-Policy"]

    assert "script-src 'self' 'unsafe-eval'" in loose
    assert "style-src 'self' 'unsafe-inline'" in loose
    assert "script-src 'self' 'unsafe-inline'" not in loose
    for policy in (strict, login):
        assert "unsafe" not in policy
    assert settings.UNFOLD["COMMAND"] == {"search_models": False, "show_history": False}


def test_logs_have_rows_to_look_at(filled):
    """Guard of this file: an empty list would prove nothing."""
    for model in (WebhookReceipt, WebhookWork, AuditEntry, Actor):
        assert filled.rows[model] is not None
