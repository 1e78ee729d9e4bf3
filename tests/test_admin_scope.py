"""The admin shows one tenant: lists, pickers and every address with a foreign id."""

from __future__ import annotations

from uuid import uuid4

import pytest
from django.apps import apps
from django.conf import settings
from django.contrib import admin
from django.urls import reverse
from django.utils import timezone

from config.admin_site import RECORDS
from integrations.models import Integration, SpoolHost, VerificationCode
from leads.models import ContactPoint, Lead, LeadLabel, LeadTransition
from messaging.models import PhoneNumber, StageMembership
from tenants.context import tenant_context
from tenants.models import PLATFORM_TENANT_ID, Actor, DryRunChange, Tenant, User
from tests.admin_world import boss, enter, fill, staff, tables, url, visitor

pytestmark = pytest.mark.django_db

OURS, FOREIGN = "OURWORD", "FOREIGNWORD"


def has_id(row):
    """Tell whether the row's key is an id that could be recognized on a page, not a number."""
    return isinstance(row.pk, str)


@pytest.fixture
def filled(office, other_office):
    return fill(office, OURS), fill(other_office, FOREIGN)


def test_lists_and_records_show_the_own_tenant_and_not_a_word_of_another(filled):
    own, foreign = filled
    client = boss(own.office)

    for model in tables():
        listed = client.get(url(model, "changelist"))
        shown = client.get(url(model, "change", own.rows[model].pk))

        assert (listed.status_code, shown.status_code) == (200, 200), model
        for answer in (listed, shown):
            assert foreign.word not in answer.content.decode(), model
            if has_id(foreign.rows[model]):
                assert foreign.rows[model].pk not in answer.content.decode(), model


@pytest.mark.parametrize("page", ["change", "history", "delete"])
def test_a_foreign_id_is_not_found(filled, page):
    own, foreign = filled
    client = boss(own.office)
    client.raise_request_exception = True

    for model in tables():
        if model in (LeadTransition, VerificationCode):  # everybody's
            continue
        address = url(model, page, foreign.rows[model].pk)

        assert client.get(address).status_code == 404, model
        assert client.post(address, {"post": "yes"}).status_code == 404, model


def test_ids_of_another_kind_and_garbage_are_not_found(office):
    client = boss(office)

    for bad in ("msg_01ARZ3NDEKTSV4RRFFQ69G5FAV", "x", "lead_", "1" * 40, "' OR 1=1", "%00"):
        for page in ("change", "history", "delete"):
            address = url(Lead, page, "PLACE").replace("PLACE", bad)
            assert client.get(address).status_code == 404, address


def test_actions_on_a_foreign_or_malformed_row_are_not_found(filled):
    own, foreign = filled
    client = boss(own.office)

    for ticked in (foreign.rows[Lead].pk, "x"):
        answer = client.post(
            url(Lead, "changelist"),
            {"action": "move_closed", "_selected_action": ticked, "index": 0},
        )
        assert answer.status_code == 404

    with foreign.office.inside():
        assert Lead.objects.get(pk=foreign.rows[Lead].pk).state != "closed"


def test_an_action_never_takes_all_rows_of_a_list(filled):
    client = boss(filled[0].office)

    answer = client.post(
        url(Lead, "changelist"),
        {
            "action": "move_closed",
            "select_across": "1",
            "index": 0,
            "_selected_action": filled[0].rows[Lead].pk,
        },
    )

    assert answer.status_code == 400


def test_own_pages_of_a_lead_lead_only_to_the_own_lead(filled):
    own, foreign = filled
    client = boss(own.office)

    there = client.get(reverse("admin:leads_lead_text_lead", args=[own.rows[Lead].pk]))
    nowhere = client.get(reverse("admin:leads_lead_text_lead", args=[foreign.rows[Lead].pk]))

    assert there.status_code == 302
    assert there["Location"].startswith(f"/t/{own.office.tenant.slug}/leads/{own.rows[Lead].pk}/")
    assert nowhere.status_code == 404


def test_pickers_offer_own_rows_only(filled):
    own, foreign = filled
    client = boss(own.office)

    pages = [
        url(Lead, "change", own.rows[Lead].pk),
        url(PhoneNumber, "add"),
        url(StageMembership, "add"),
        url(LeadLabel, "add"),
        url(ContactPoint, "add"),
    ]

    for page in pages:
        html = client.get(page).content.decode()
        for model, row in foreign.rows.items():
            if has_id(row):
                assert row.pk not in html, (page, model)


def test_autocomplete_finds_own_rows_only(filled):
    own, foreign = filled
    client = boss(own.office)
    question = {"app_label": "leads", "model_name": "contactpoint", "field_name": "lead"}

    def found(term):
        answer = client.get(reverse("admin:autocomplete"), {**question, "term": term})
        return {row["id"] for row in answer.json()["results"]}

    assert found(OURS) == {own.rows[Lead].pk}
    assert found(own.rows[Lead].pk) == {own.rows[Lead].pk}
    assert found(FOREIGN) == found(foreign.rows[Lead].pk) == set()
    assert foreign.rows[Lead].pk not in found("")


def test_autocomplete_of_people_is_closed(office):
    question = {"app_label": "tenants", "model_name": "actor", "field_name": "user", "term": ""}

    assert boss(office).get(reverse("admin:autocomplete"), question).status_code == 403


def test_raw_id_popups_show_own_rows_only(filled):
    own, foreign = filled
    client = boss(own.office)

    html = client.get(url(Lead, "changelist"), {"_popup": "1", "_to_field": "id"}).content.decode()

    assert own.rows[Lead].pk in html
    assert foreign.rows[Lead].pk not in html


def test_a_foreign_row_in_a_form_is_refused(filled):
    own, foreign = filled
    client = boss(own.office)

    answer = client.post(
        url(ContactPoint, "add"),
        {
            "lead": foreign.rows[Lead].pk,
            "kind": "phone",
            "normalized": "2025550123",
            "line_type": "unknown",
            "_tenant": own.office.tenant.pk,
        },
    )

    assert answer.status_code == 200
    assert "Select a valid choice" in answer.content.decode()


def test_searching_a_foreign_id_finds_nothing_and_tells_nothing(filled):
    own, foreign = filled
    client = boss(own.office)

    for model in tables():
        if model is LeadTransition:
            continue
        answer = client.get(url(model, "changelist"), {"q": str(foreign.rows[model].pk)})
        assert answer.status_code == 200
        assert foreign.word not in answer.content.decode(), model


def test_columns_that_are_no_filter_cannot_be_probed(filled):
    client = boss(filled[0].office)

    for query in ("first_name__startswith=F", "tenant=x", "merged_into__full_name=x"):
        assert client.get(f"{url(Lead, 'changelist')}?{query}").status_code == 400, query
    probe = f"{url(Integration, 'changelist')}?secret__startswith=g"
    assert client.get(probe).status_code == 400


def test_agents_without_staff_access_are_refused_in_words(office, login):
    answer = login(office).get(reverse("admin:index"), follow=True)

    assert answer.status_code == 403
    assert "may not open the admin" in answer.content.decode()


def test_strangers_are_sent_to_the_one_login_page(client):
    answer = client.get(url(Lead, "changelist"), follow=True)

    assert answer.redirect_chain[-1][0].startswith("/login/?next=")


def test_staff_of_two_tenants_choose_one_and_see_only_that(filled):
    own, foreign = filled
    member = staff(own.office)
    with foreign.office.inside():
        Actor.objects.create(user=member.user, name="Both", role="operator")
    client = enter(member.user)

    assert client.get(url(Lead, "change", own.rows[Lead].pk)).status_code == 404
    sent = client.get(url(Lead, "changelist"))
    assert sent["Location"].startswith(reverse("admin:choose"))

    client.post(
        reverse("admin:choose"),
        {"tenant": foreign.office.tenant.pk, "next": url(Lead, "changelist")},
    )
    html = client.get(url(Lead, "changelist")).content.decode()

    assert FOREIGN in html
    assert OURS not in html


def test_nobody_chooses_a_tenant_they_are_not_in(office, other_office):
    client = boss(office)

    answer = client.post(reverse("admin:choose"), {"tenant": other_office.tenant.pk})

    assert answer.status_code == 404
    assert client.session.get("tenant") is None


def test_staff_without_a_tenant_see_an_empty_admin(office):
    client = enter(User.objects.create(username="new", is_staff=True))

    answer = client.get(reverse("admin:index"))

    assert "No tenant yet" in answer.content.decode()
    for model in tables():
        assert client.get(url(model, "changelist")).status_code == 404, model


def test_a_form_of_another_tenant_is_a_conflict(filled):
    own, foreign = filled
    client = boss(own.office)
    other = {"_tenant": foreign.office.tenant.pk}
    lead, membership = own.rows[Lead], own.rows[StageMembership]

    addresses = [
        url(Lead, "add"),
        url(Lead, "change", lead.pk),
        url(Lead, "changelist"),
        url(StageMembership, "delete", membership.pk),
        reverse("admin:leave"),
    ]

    for address in addresses:
        assert client.post(address, {**other, "first_name": "Wrong"}).status_code == 409, address
    with own.office.inside():
        assert StageMembership.objects.filter(pk=membership.pk).exists()
        assert not Lead.objects.filter(first_name="Wrong").exists()


def test_every_form_carries_its_tenant(filled):
    own = filled[0]
    client = boss(own.office)
    hidden = f'name="_tenant" value="{own.office.tenant.pk}"'

    for page in (
        url(Lead, "add"),
        url(Lead, "change", own.rows[Lead].pk),
        url(StageMembership, "delete", own.rows[StageMembership].pk),
    ):
        form = client.get(page).content.decode().partition("<main")[2]
        assert hidden in form, page
    listed = client.get(url(Lead, "changelist")).content.decode()
    assert hidden in listed.partition('id="changelist-form"')[2]


def test_tables_of_other_packages_have_no_page(office):
    client = enter(visitor())
    ours = {"tenants", "pipelines", "leads", "integrations", "messaging", "campaigns"}

    assert {model._meta.app_label for model in admin.site._registry} == ours
    for path in (
        "django_q/schedule/",
        "django_q/ormq/",
        "django_q/success/",
        "django_q/failure/",
        "axes/accessattempt/",
        "auth/group/",
        "sites/site/",
        "search/",
        "django_q/",
    ):
        assert client.get(f"/admin/{path}").status_code == 404, path


def test_every_table_of_ours_is_in_the_admin_and_in_the_rail(office):
    models = {
        model for label in settings.LOCAL_APPS for model in apps.get_app_config(label).get_models()
    }
    models -= {DryRunChange}  # it never holds a row that is committed
    linked = [name for _, group in RECORDS.values() for name in group]

    assert models == set(admin.site._registry)
    assert sorted(linked) == sorted(model.__name__ for model in models)


def test_the_tenant_page_is_the_own_one(office, other_office):
    client = boss(office)

    assert client.get(url(Tenant, "change", office.tenant.pk)).status_code == 200
    assert client.get(url(Tenant, "change", other_office.tenant.pk)).status_code == 404


def test_the_way_from_a_tenants_pages_leads_to_the_same_tenants_records(filled):
    own, foreign = filled
    member = staff(own.office)
    with foreign.office.inside():
        Actor.objects.create(user=member.user, name="Both", role="operator")
    client = enter(member.user, own.office.tenant)
    target = url(Lead, "changelist")

    def way(office):
        return reverse("admin:choose") + f"?tenant={office.tenant.slug}&next={target}"

    assert client.get(way(own.office))["Location"] == target
    chooser = client.get(way(foreign.office)).content.decode().partition("<main")[2]
    assert chooser.index(foreign.office.tenant.name) < chooser.index(own.office.tenant.name)
    pages = client.get(f"/t/{own.office.tenant.slug}/").content.decode()
    assert f"/admin/choose/?tenant={own.office.tenant.slug}&amp;next=" in pages
    assert client.get(reverse("admin:choose") + "?next=https://evil.example/").status_code == 200


def test_the_hosts_of_the_installation_are_shown_to_the_platform_alone(office):
    host = SpoolHost.objects.create(id=uuid4(), name="web-1", clear_until=timezone.now())
    own, platform = boss(office), visitor()
    with tenant_context(PLATFORM_TENANT_ID):
        Actor.objects.create(user=platform, name="Paula", role="tenant_admin")
    theirs = enter(platform, Tenant.objects.get(pk=PLATFORM_TENANT_ID))

    assert own.get(url(SpoolHost, "change", host.pk)).status_code == 404
    assert "web-1" not in own.get(url(SpoolHost, "changelist")).content.decode()
    assert theirs.get(url(SpoolHost, "change", host.pk)).status_code == 200
    assert "web-1" in theirs.get(url(SpoolHost, "changelist")).content.decode()
