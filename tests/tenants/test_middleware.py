"""Every request is one transaction of one tenant, and ends with it."""

from __future__ import annotations

import pytest
from django.core.exceptions import PermissionDenied
from django.db import DatabaseError, connection
from django.http import Http404, HttpResponse
from django.urls import path

from config import urls as product
from leads.actions import create_lead
from leads.models import Lead
from tenants.context import current_tenant_id
from tests.raw import rows, to_uuid


def write(request, slug=""):
    create_lead(full_name="written")
    return HttpResponse("done")


def write_and_raise(request, slug=""):
    create_lead(full_name="half")
    raise {"404": Http404, "403": PermissionDenied, "500": RuntimeError}[request.GET["error"]]


def write_and_answer(request, slug=""):
    create_lead(full_name="half")
    return HttpResponse(status=int(request.GET["status"]))


def swallow(request, slug=""):
    create_lead(full_name="half")
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 / 0")
    except DatabaseError:
        pass
    return HttpResponse("saved!")


def where(request, slug=""):
    setting = rows("SELECT current_setting('app.tenant_id', true)")[0][0]
    return HttpResponse(f"{setting or 'none'} {current_tenant_id()} {Lead.objects.count()}")


urlpatterns = [
    path("t/<slug:slug>/write/", write),
    path("t/<slug:slug>/raise/", write_and_raise),
    path("t/<slug:slug>/answer/", write_and_answer),
    path("t/<slug:slug>/swallow/", swallow),
    path("t/<slug:slug>/where/", where),
    path("where/", where),
    *product.urlpatterns,
]

pytestmark = pytest.mark.urls(__name__)


def leads_of(office):
    with office.inside():
        return [lead.full_name for lead in Lead.objects.all()]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("tail", "status", "kept"),
    [
        ("write/", 200, ["written"]),
        ("raise/?error=404", 404, []),
        ("raise/?error=403", 403, []),
        ("raise/?error=500", 500, []),
        ("answer/?status=500", 500, []),
        ("answer/?status=503", 503, []),
        ("answer/?status=201", 201, ["half"]),
        ("answer/?status=302", 302, ["half"]),
        ("swallow/", 500, []),
    ],
)
def test_what_is_kept_of_a_request(committed_office, login, tail, status, kept):
    answer = login(committed_office).get(f"/t/{committed_office.tenant.slug}/{tail}")

    assert answer.status_code == status
    assert leads_of(committed_office) == kept
    assert not connection.in_atomic_block


@pytest.mark.django_db(transaction=True)
def test_a_connection_forgets_the_tenant_after_each_request(committed_office, login):
    client, slug = login(committed_office), committed_office.tenant.slug
    inside = str(to_uuid(committed_office.tenant.pk))
    client.get(f"/t/{slug}/write/")

    for tail in ("where/", "raise/?error=500", "swallow/", "answer/?status=503", "where/"):
        answer = client.get(f"/t/{slug}/{tail}")
        if tail == "where/":
            assert answer.content.decode() == f"{inside} {committed_office.tenant.pk} 1"
        outside = client.get("/where/").content.decode()  # the same connection
        assert outside == "none None 0", tail


@pytest.mark.django_db
def test_two_tenants_on_one_connection_see_their_own(office, other_office, login):
    office.lead()
    for one, count in ((office, 1), (other_office, 0), (office, 1)):
        answer = login(one).get(f"/t/{one.tenant.slug}/where/").content.decode()
        assert answer == f"{to_uuid(one.tenant.pk)} {one.tenant.pk} {count}"


@pytest.mark.django_db
@pytest.mark.parametrize("slug", ["prairie", "nobody", "HARBOR", "harbor_", "platform"])
def test_other_tenants_are_404(office, other_office, login, slug):
    assert login(office).get(f"/t/{slug}/where/").status_code == 404


@pytest.mark.django_db
def test_a_stranger_is_in_no_tenant(office, client):
    answer = client.get(f"/t/{office.tenant.slug}/where/")

    assert answer.content.decode().endswith("None 0")


@pytest.mark.django_db
def test_a_form_of_another_tenant_is_a_conflict(office, other_office, login):
    address = f"/t/{office.tenant.slug}/where/"
    client = login(office)

    assert client.post(address, {"_tenant": office.tenant.pk}).status_code == 200
    assert client.post(address, {"_tenant": other_office.tenant.pk}).status_code == 409


@pytest.mark.django_db
def test_every_answer_names_its_correlation(office, client):
    one, other = client.get("/where/"), client.get("/nowhere/")

    assert one["X-Correlation-Id"].startswith("corr_")
    assert one["X-Correlation-Id"] != other["X-Correlation-Id"]


@pytest.mark.django_db
def test_a_correlation_id_is_never_taken_from_a_stranger(client):
    answer = client.get("/where/", headers={"X-Correlation-Id": "forged"})

    assert answer["X-Correlation-Id"] != "forged"
