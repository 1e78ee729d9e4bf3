"""The API: keys, tenants, problems with advice, repeats, limits, and its description."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import URLPattern
from django.utils import timezone
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.validation import validate_schema

from leads.api.urls import urlpatterns
from leads.models import Contact, ContactPoint, Label, Lead, LeadLabel
from tenants.apikeys import (
    KeyRefused,
    KeyUnknown,
    admit,
    hash_key,
    make_key,
    revoke_key,
    rotate_key,
)
from tenants.models import Actor, ApiAnswer, ApiKey, AuditEntry
from tests.raw import at_once

pytestmark = pytest.mark.django_db

ALL = ("leads:read", "leads:write", "imports:write")


class Caller:
    """A program with a key."""

    def __init__(self, secret: str) -> None:
        self.secret = secret
        self.client = Client(raise_request_exception=False)

    def __call__(self, method, path, body=None, **headers):
        send = getattr(self.client, method)
        headers = {"Authorization": f"Bearer {self.secret}", **headers}
        if body is None:
            return send(f"/api/v1/{path}", headers=headers)
        text = body if isinstance(body, bytes | str) else json.dumps(body)
        return send(f"/api/v1/{path}", text, content_type="application/json", headers=headers)


def key_of(office, *scopes, **more):
    with office.inside():
        return make_key(name=more.pop("name", "CRM"), scopes=scopes or ALL, by_id=None, **more)


@pytest.fixture
def call(office):
    return Caller(key_of(office).secret)


def problem(answer, status):
    assert answer.status_code == status, (answer.status_code, answer.content)
    assert answer["Content-Type"] == "application/problem+json"
    body = answer.json()
    assert body["status"] == status
    assert body["detail"]
    assert body["correlation_id"].startswith("corr_")
    return body


def fields(body):
    return {error["field"] for error in body["errors"]}


# --- keys ---------------------------------------------------------------------------------------


def test_only_a_hash_of_a_key_is_kept_and_its_making_is_written_down(office):
    issued = key_of(office, "leads:read")

    assert issued.secret.startswith("fl_")
    assert len(issued.secret) > 40
    assert repr(issued.secret) == "'***'"
    with office.inside():
        row = ApiKey.objects.get()
        assert row.key_hash == hash_key(issued.secret)
        assert issued.secret not in json.dumps(
            [*ApiKey.objects.values(), *AuditEntry.objects.values()], default=str
        )
        assert AuditEntry.objects.get(action="apikey.made").object_id == row.pk


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": " "},
        {"scopes": []},
        {"scopes": ["leads:read", "root"]},
        {"per_minute": 0},
        {"expires_at": timezone.now() - timedelta(days=1)},
    ],
)
def test_a_key_that_makes_no_sense_is_not_made(office, wrong):
    values = {"name": "CRM", "scopes": ["leads:read"], "by_id": None, **wrong}
    with office.inside(), pytest.raises(KeyRefused):
        make_key(**values)


def test_names_of_keys_are_not_used_twice(office):
    key_of(office)
    with pytest.raises(KeyRefused, match="There is a key of this name"):
        key_of(office)


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "Basic x", "Bearer fl_wrong", "Bearer \udc80"]
)
def test_without_a_key_of_ours_nothing_is_told(client, header):
    try:
        headers = {"Authorization": header} if header else {}
        answer = client.get("/api/v1/leads/", headers=headers)
    except UnicodeEncodeError:
        return
    problem(answer, 401)
    assert answer["WWW-Authenticate"] == "Bearer"


def test_revoked_ended_and_idle_keys_open_nothing(office):
    revoked = key_of(office, name="a")
    ended = key_of(office, name="b", expires_at=timezone.now() + timedelta(hours=1))
    orphan = key_of(office, name="c")
    with office.inside():
        revoke_key(revoked.key.pk, reason="leaked", by_id=None)
        ApiKey.objects.filter(pk=ended.key.pk).update(expires_at=timezone.now())
        Actor.objects.filter(pk=orphan.key.actor_id).update(is_active=False)

    for issued in (revoked, ended, orphan):
        problem(Caller(issued.secret)("get", "leads/"), 401)


def test_a_rotated_key_works_until_its_overlap_ends(office):
    old = key_of(office)
    with office.inside():
        new = rotate_key(old.key.pk, overlap_hours=24, by_id=None)

    assert Caller(old.secret)("get", "leads/").status_code == 200
    assert Caller(new.secret)("get", "leads/").status_code == 200
    with office.inside():
        ApiKey.objects.update(previous_until=timezone.now())
    problem(Caller(old.secret)("get", "leads/"), 401)
    with office.inside():
        newest = rotate_key(old.key.pk, overlap_hours=0, by_id=None)
    problem(Caller(new.secret)("get", "leads/"), 401)
    assert Caller(newest.secret)("get", "leads/").status_code == 200
    with office.inside():
        revoke_key(old.key.pk, reason="", by_id=None)
        with pytest.raises(KeyRefused):
            rotate_key(old.key.pk, overlap_hours=0, by_id=None)


def test_scopes_are_what_a_key_may_do(office):
    reader = Caller(key_of(office, "leads:read", name="r").secret)
    importer = Caller(key_of(office, "imports:write", name="i").secret)
    lead = office.lead()

    assert reader("get", "leads/").status_code == 200
    assert "leads:write" in problem(reader("post", "leads/", {"company": "X"}), 403)["detail"]
    problem(reader("patch", f"leads/{lead.pk}/", {"company": "X"}), 403)
    problem(importer("get", "leads/"), 403)
    problem(reader("get", "imports/"), 403)
    with office.inside():
        assert Lead.objects.get().company == ""


def test_last_use_is_noted_once_a_minute(office, call):
    call("get", "leads/")
    with office.inside():
        first = ApiKey.objects.get().last_used_at
    call("get", "leads/")
    with office.inside():
        assert ApiKey.objects.get().last_used_at == first
        ApiKey.objects.update(last_used_at=first - timedelta(minutes=5))
    call("get", "leads/")
    with office.inside():
        assert ApiKey.objects.get().last_used_at > first


def test_a_key_that_calls_too_often_waits(office):
    issued = key_of(office, per_minute=2)
    call = Caller(issued.secret)
    with office.inside():  # whatever second it is, all of it happens in one minute
        ApiKey.objects.update(per_minute=3)

    answers = [call("get", "labels/") for _ in range(12)]

    refused = [answer for answer in answers if answer.status_code == 429]
    assert 6 <= len(refused) <= 9  # a minute may end in between, once
    body = problem(refused[0], 429)
    assert 1 <= int(refused[0]["Retry-After"]) <= 60
    assert "Wait" in body["detail"]
    assert answers[0]["X-RateLimit-Remaining"] == "2"


@pytest.mark.django_db(transaction=True)
def test_the_limit_is_exact_however_many_call_at_once(committed_office):
    issued = key_of(committed_office, per_minute=5)

    def one():
        try:
            admit(issued.secret)
        except KeyUnknown:
            raise
        except Exception:
            return 0
        return 1

    counts = at_once([one] * 16)

    assert sum(counts) in (5, 10)  # 10: the minute ended in between


# --- tenants ------------------------------------------------------------------------------------


def lead_paths(lead_id, label_id="lbl_01ARZ3NDEKTSV4RRFFQ69G5FAV"):
    return (
        ("get", f"leads/{lead_id}/", None),
        ("patch", f"leads/{lead_id}/", {"company": "Stolen"}),
        ("get", f"leads/{lead_id}/contacts/", None),
        ("post", f"leads/{lead_id}/contacts/", {"full_name": "Stolen"}),
        ("get", f"leads/{lead_id}/contact-points/", None),
        ("post", f"leads/{lead_id}/contact-points/", {"kind": "phone", "value": "2025550199"}),
        ("get", f"leads/{lead_id}/labels/", None),
        ("post", f"leads/{lead_id}/labels/", {"name": "Stolen"}),
        ("delete", f"leads/{lead_id}/labels/{label_id}/", None),
    )


def test_rows_of_another_tenant_do_not_exist(office, other_office, call):
    lead = other_office.lead(full_name="ZANZIBAR")
    with other_office.inside():
        label = Label.objects.create(key="gold", name="ZANZIBAR")
        LeadLabel.objects.create(lead=lead, label=label)

    for method, path, body in lead_paths(lead.pk, label.pk):
        answer = call(method, path, body)
        problem(answer, 404)
        assert b"ZANZIBAR" not in answer.content
    for path in ("leads/", "labels/", "search/?q=zanzibar", f"search/?q={lead.pk}"):
        assert b"ZANZIBAR" not in call("get", path).content
    with other_office.inside():
        assert not Label.objects.filter(name="Stolen").exists()
        assert Lead.objects.get().company == ""


@pytest.mark.parametrize(
    "wrong",
    [
        "x",
        "con_01ARZ3NDEKTSV4RRFFQ69G5FAV",
        "lead_8ZZZZZZZZZZZZZZZZZZZZZZZZZ",
        "lead_01ARZ3NDEKTSV4RRFFQ69G5FAV",
        "%00",
        "a" * 300,
    ],
)
def test_ids_that_name_nothing_are_404(office, call, wrong):
    for method, path, body in lead_paths(wrong):
        problem(call(method, path, body), 404)
    problem(call("get", f"imports/{wrong}/"), 404)


def test_a_label_id_of_another_kind_is_404(office, call):
    lead = office.lead()
    for wrong in (lead.pk, "x", "%00"):
        problem(call("delete", f"leads/{lead.pk}/labels/{wrong}/"), 404)


# --- reading ------------------------------------------------------------------------------------


def test_a_list_goes_on_by_its_addresses_and_takes_the_filters_of_the_page(office, call):
    for number in range(5):
        office.lead(f"+1202555010{number}", full_name=f"Lead {number}", region="TX")
    office.lead("+12025550200", full_name="Elsewhere", region="MA")

    first = call("get", "leads/?region=tx&limit=2").json()
    second = call("get", first["next"].partition("/api/v1/")[2]).json()
    third = call("get", second["next"].partition("/api/v1/")[2]).json()
    back = call("get", second["previous"].partition("/api/v1/")[2]).json()

    told = [row["full_name"] for one in (first, second, third) for row in one["results"]]
    assert told == [f"Lead {number}" for number in (4, 3, 2, 1, 0)]
    assert (third["next"], first["previous"]) == (None, None)
    assert back["results"] == first["results"]
    assert first["results"][0]["phone"] == "+12025550104"


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=x", "limit"),
        ("limit=201", "limit"),
        ("cursor=after:x", "cursor"),
        ("cursor=x", "cursor"),
        ("sort=score", "sort"),
        ("sort=score&band=low&band=enriched", "sort"),
        ("score_min=x", "score_min"),
        ("agent=x", "agent"),
        ("colour=red", "colour"),
    ],
)
def test_a_question_that_makes_no_sense_is_answered_with_advice(office, call, query, field):
    assert fields(problem(call("get", f"leads/?{query}"), 400)) == {field}


def test_a_lead_is_read_with_all_that_hangs_from_it(office, call):
    lead = office.lead(full_name="Marisol Ortega", owner_occupied=None)
    call("post", f"leads/{lead.pk}/contacts/", {"full_name": "Luis Ortega", "age": 61})
    call("post", f"leads/{lead.pk}/labels/", {"name": "Hot", "kind": "tag"})

    body = call("get", f"leads/{lead.pk}/").json()

    assert body["id"] == lead.pk
    assert body["owner_occupied"] is None
    assert [one["value"] for one in body["contact_points"]] == ["+12025550142"]
    assert body["contact_points"][0]["dnc"] is None
    assert [one["full_name"] for one in body["contacts"]] == ["Luis Ortega"]
    assert body["labels"] == [{"kind": "tag", "key": "hot", "name": "Hot"}]


def test_search_says_what_a_lead_was_found_by(office, call):
    lead = office.lead(full_name="Marisol Ortega")

    found = call("get", "search/?q=(202) 555-0142").json()

    assert [(one["found_by"], one["lead"]["id"]) for one in found] == [("phone", lead.pk)]
    assert fields(problem(call("get", "search/?q=x"), 400)) == {"q"}
    assert call("get", "search/?q=%00%00%00").status_code in (200, 400)


# --- writing ------------------------------------------------------------------------------------


def test_a_lead_is_told_once_and_brought_up_to_date_the_second_time(office, call):
    said = {
        "full_name": "Marisol Ortega",
        "source": "crm",
        "source_id": "c-1",
        "contact_points": [{"kind": "phone", "value": "(202) 555-0142", "line_type": "mobile"}],
    }
    made = call("post", "leads/", said)
    again = call("post", "leads/", said | {"city": "Austin"})

    assert (made.status_code, made.json()["outcome"]) == (201, "created")
    assert (again.status_code, again.json()["outcome"]) == (200, "updated")
    assert again.json()["matched_by"] == "vendor"
    assert again.json()["lead"]["id"] == made.json()["lead"]["id"]
    with office.inside():
        lead = Lead.objects.get()
        assert (lead.city, lead.source) == ("Austin", "crm")
        assert ContactPoint.objects.get().normalized == "+12025550142"


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({}, ""),
        ({"company": "x" * 300}, "company"),
        ({"age": 200}, "age"),
        ({"age": "old"}, "age"),
        ({"region": "Texas"}, "region"),
        ({"county_fips": "12"}, "county_fips"),
        ({"property_value": 10**30}, "property_value"),
        ({"property_value": -5}, "property_value"),
        ({"full_name": "a\x00b"}, "full_name"),
        ({"contact_points": [{"kind": "fax", "value": "1"}]}, "contact_points[0].kind"),
        ({"contact_points": [{"kind": "phone"}]}, "contact_points[0].value"),
        ({"contact_points": "x"}, "contact_points"),
    ],
)
def test_what_cannot_be_a_lead_is_refused_with_the_field(office, call, said, field):
    body = problem(call("post", "leads/", said), 400)

    assert field in fields(body)
    with office.inside():
        assert not Lead.objects.exists()


@pytest.mark.parametrize("body", ["{", "[1]", "null", '"x"', b"\xff\xfe", '{"age": NaN}'])
def test_bodies_that_are_no_object_are_refused(office, call, body):
    problem(call("post", "leads/", body), 400)


def test_methods_and_content_types_we_do_not_know_are_problems_too(office, call):
    problem(call("put", "leads/", {"company": "X"}), 405)
    answer = call.client.post(
        "/api/v1/leads/",
        "a=1",
        content_type="text/plain",
        headers={"Authorization": f"Bearer {call.secret}"},
    )
    problem(answer, 415)


def test_the_same_idempotency_key_is_done_once_and_answered_the_same(office, call):
    said = {"full_name": "Marisol Ortega", "source_id": "c-1"}
    first = call("post", "leads/", said, **{"Idempotency-Key": "k-1"})
    second = call("post", "leads/", said, **{"Idempotency-Key": "k-1"})
    other = call("post", "leads/", {"full_name": "Else"}, **{"Idempotency-Key": "k-1"})

    assert (first.status_code, second.status_code) == (201, 201)
    assert second.json() == first.json()
    assert second["Idempotent-Replayed"] == "true"
    assert fields(problem(other, 422)) == {"Idempotency-Key"}
    with office.inside():
        assert Lead.objects.count() == 1


def test_a_refused_call_does_not_use_up_its_key(office, call):
    problem(call("post", "leads/", {"age": 200}, **{"Idempotency-Key": "k-1"}), 400)

    answer = call("post", "leads/", {"source_id": "c-1"}, **{"Idempotency-Key": "k-1"})

    assert answer.status_code == 201
    with office.inside():
        assert ApiAnswer.objects.get().status == 201


@pytest.mark.parametrize("key", ["", "x" * 201, "a\tb"])
def test_an_idempotency_key_that_cannot_be_one_is_refused(office, call, key):
    body = problem(call("post", "leads/", {"company": "X"}, **{"Idempotency-Key": key}), 400)
    assert fields(body) == {"Idempotency-Key"}


@pytest.mark.django_db(transaction=True)
def test_repeats_at_once_are_one_person(committed_office):
    issued, lead = key_of(committed_office), committed_office.lead()

    def one():
        path = f"leads/{lead.pk}/contacts/"
        headers = {"Idempotency-Key": "same"}
        return Caller(issued.secret)("post", path, {"full_name": "Ann"}, **headers).status_code

    statuses = at_once([one] * 8)

    assert statuses == [201] * 8
    with committed_office.inside():
        assert Contact.objects.count() == 1


def test_answers_older_than_a_day_make_room(office, call):
    call("post", "leads/", {"source_id": "A"}, **{"Idempotency-Key": "k-1"})
    with office.inside():
        ApiAnswer.objects.update(created_at=timezone.now() - timedelta(days=2))

    call("post", "leads/", {"source_id": "B"}, **{"Idempotency-Key": "k-2"})

    with office.inside():
        assert set(ApiAnswer.objects.values_list("idempotency_key", flat=True)) == {"k-2"}


def test_an_edit_keeps_what_it_does_not_name_and_says_who_did_it(office, call):
    lead = office.lead(full_name="Marisol Ortega", city="Austin")

    answer = call("patch", f"leads/{lead.pk}/", {"city": "Dallas"})

    assert (answer.json()["city"], answer.json()["full_name"]) == ("Dallas", "Marisol Ortega")
    with office.inside():
        said = Lead.objects.get().provenance["city"]
        assert said["source"] == "person"
        assert Actor.objects.get(pk=said["actor"]).name == "API: CRM"


def test_an_edit_of_something_older_is_refused(office, call):
    lead = office.lead(city="Austin")
    etag = call("get", f"leads/{lead.pk}/")["ETag"]
    call("patch", f"leads/{lead.pk}/", {"city": "Dallas"})

    problem(call("patch", f"leads/{lead.pk}/", {"city": "Waco"}, **{"If-Match": etag}), 412)

    with office.inside():
        assert Lead.objects.get().city == "Dallas"


def test_an_edit_that_takes_anothers_parcel_names_the_other(office, call):
    parcel = {"county_fips": "51059", "apn": "1-2-3"}
    other = office.lead("+12025550190", **parcel)
    lead = office.lead("+12025550191")

    body = problem(call("patch", f"leads/{lead.pk}/", parcel), 409)

    assert body["conflicting_lead"] == other.pk
    assert "parcel" in body["detail"]


@pytest.mark.parametrize("name", ["state", "tenant", "id", "source_id", "score", "nonsense"])
def test_what_is_not_a_programs_to_change_is_refused(office, call, name):
    lead = office.lead()
    assert fields(problem(call("patch", f"leads/{lead.pk}/", {name: "x"}), 400)) == {name}


def test_contact_points_are_read_in_any_format_and_known_ones_stay(office, call):
    lead = office.lead()
    path = f"leads/{lead.pk}/contact-points/"

    new = call("post", path, {"kind": "email", "value": "Ann@Example.COM"})
    known = call("post", path, {"kind": "phone", "value": "202.555.0142"})

    assert (new.status_code, new.json()["value"]) == (201, "ann@example.com")
    assert (known.status_code, known.json()["value"]) == (200, "+12025550142")
    for wrong in ({"kind": "phone", "value": "12"}, {"kind": "email", "value": "x"}):
        assert fields(problem(call("post", path, wrong), 400)) == {"value"}
    stranger = {"kind": "phone", "value": "2025550111", "contact": "con_01ARZ3NDEKTSV4RRFFQ69G5FAV"}
    assert fields(problem(call("post", path, stranger), 400)) == {"contact"}


def test_a_label_is_put_on_and_taken_off(office, call):
    lead = office.lead()
    path = f"leads/{lead.pk}/labels/"
    label = call("post", path, {"name": "Do not mail", "kind": "flag"}).json()[0]

    assert (label["key"], label["kind"]) == ("do-not-mail", "flag")
    assert [one["id"] for one in call("get", "labels/").json()] == [label["id"]]
    assert call("delete", f"{path}{label['id']}/").status_code == 204
    problem(call("delete", f"{path}{label['id']}/"), 404)
    assert call("get", path).json() == []


def test_a_file_is_uploaded_and_seen_and_nothing_is_written_before_it_is_confirmed(office, call):
    file = SimpleUploadedFile("list.csv", b"first_name,phone\nAnn,2025550123\n")
    answer = call.client.post(
        "/api/v1/imports/", {"file": file}, headers={"Authorization": f"Bearer {call.secret}"}
    )

    assert answer.status_code == 201, answer.content
    seen = call("get", f"imports/{answer.json()['id']}/").json()
    assert (seen["name"], seen["state"]) == ("list.csv", "uploaded")
    problem(call("post", f"imports/{seen['id']}/", {"step": "confirm"}), 409)
    assert fields(problem(call("post", f"imports/{seen['id']}/", {"step": "fly"}), 400)) == {"step"}
    with office.inside():
        assert not Lead.objects.exists()


# --- its description ----------------------------------------------------------------------------


def schema():
    return SchemaGenerator().get_schema(request=None, public=True)


def test_the_schema_is_valid_and_has_every_route():
    made = schema()
    validate_schema(made)
    routes = {
        f"/api/v1/{str(pattern.pattern).replace('<str:', '{').replace('>', '}')}"
        for pattern in urlpatterns
        if isinstance(pattern, URLPattern) and pattern.name not in ("api-schema", "api-docs")
    }

    assert set(made["paths"]) == routes
    assert made["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
    for path, methods in made["paths"].items():
        for method, one in methods.items():
            assert one["summary"], (path, method)
            assert one["security"][0]["key"], (path, method)


def test_the_description_is_served_without_a_key_and_from_here_alone(client):
    served = client.get("/api/v1/schema/")
    page = client.get("/api/v1/docs/").content.decode()

    assert json.loads(served.content)["info"]["title"] == "Fairlead"
    assert "leads_create" in page
    assert "http://" not in page.replace("http://testserver", "")
    assert "https://" not in page


def test_every_answer_of_the_list_is_as_described(office, call):
    office.lead(full_name="Marisol Ortega")
    row = call("get", "leads/").json()["results"][0]

    described = schema()["components"]["schemas"]["LeadRow"]["properties"]
    assert set(row) == set(described)
