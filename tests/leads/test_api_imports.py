"""Files through the API: uploaded, checked, confirmed, taken back; and what is refused."""

from __future__ import annotations

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from leads.imports.work import work
from leads.models import Import, Lead
from tests.leads.importing import FIXTURES
from tests.leads.test_api import Caller, key_of, problem

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def call(office):
    return Caller(key_of(office).secret)


def upload(call, content: bytes, name="list.csv", **more):
    return call.client.post(
        "/api/v1/imports/",
        {"file": SimpleUploadedFile(name, content), **more},
        headers={"Authorization": f"Bearer {call.secret}"},
    )


def step(office, call, import_id, name, **more):
    answer = call("post", f"imports/{import_id}/", {"step": name, **more})
    assert answer.status_code == 202, answer.content
    work(office.tenant.pk, import_id)
    return call("get", f"imports/{import_id}/").json()


def test_a_file_goes_all_the_way_and_back(office, call):
    answer = upload(call, (FIXTURES / "us-500.csv").read_bytes(), "us-500.csv")
    assert answer.status_code == 201, answer.content
    one = answer.json()

    checked = step(office, call, one["id"], "check")
    assert (checked["state"], checked["total"], checked["created"]) == ("checked", 500, 500)
    with office.inside():
        assert Lead.objects.count() == 0
    if checked["warnings"]:
        step(office, call, one["id"], "accept")
    done = step(office, call, one["id"], "confirm")
    assert (done["state"], done["created"], done["errors"]) == ("imported", 500, 0)
    with office.inside():
        assert Lead.objects.filter(superseded_at=None).count() == 500

    problem(call("post", f"imports/{one['id']}/", {"step": "undo"}), 409)  # it wants a reason
    undone = step(office, call, one["id"], "undo", reason="the wrong list")
    assert undone["state"] == "undone"
    with office.inside():
        assert Lead.objects.filter(superseded_at=None).count() == 0


def test_steps_out_of_order_are_refused_in_words(office, call):
    one = upload(call, b"name,phone\nAnn Lee,2025550142\n").json()

    for name in ("confirm", "cancel", "resume", "undo"):
        problem(call("post", f"imports/{one['id']}/", {"step": name, "reason": "x"}), 409)
    problem(call("post", f"imports/{one['id']}/", {"step": "dance"}), 400)


@pytest.mark.parametrize("content", [b"", b"name,phone\n", b"PK\x03\x04zip", b"\x00\x01\x02"])
def test_what_is_no_table_is_refused_and_not_kept(office, call, content):
    problem(upload(call, content), 400)

    with office.inside():
        assert not Import.objects.exists()


def test_a_file_of_another_tenant_and_a_key_without_the_scope(office, other_office, call):
    one = upload(call, b"name,phone\nAnn Lee,2025550142\n").json()
    foreign = Caller(key_of(other_office).secret)
    reader = Caller(key_of(office, "leads:read", name="reader").secret)

    problem(foreign("get", f"imports/{one['id']}/"), 404)
    problem(foreign("post", f"imports/{one['id']}/", {"step": "check"}), 404)
    problem(reader("get", f"imports/{one['id']}/"), 403)
    problem(upload(reader, b"name,phone\nAnn Lee,2025550142\n"), 403)
    problem(call("get", "imports/lead_01ARZ3NDEKTSV4RRFFQ69G5FAV/"), 404)
