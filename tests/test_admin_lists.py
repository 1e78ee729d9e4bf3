"""Lists of the admin: pages by key, a count that stops, searches, and what they cost."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.contrib import admin
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from integrations.addresses import normalize_address
from integrations.events import BadPayload
from leads.models import ContactPoint, Lead, LeadEvent
from messaging.models import Conversation, Message, PhoneNumber
from tenants.admin import AgeFilter
from tenants.admin.search import phone_prefix
from tests.admin_world import boss, fill, tables, url

pytestmark = pytest.mark.django_db

#: Budget of a list, transaction statements aside.
MOST_QUERIES = 8


def many_leads(office, count):
    """Write leads with their births in one go, the way an import would."""
    with office.inside():
        leads = [Lead(full_name=f"Lead {n:04d}", stage="retarget") for n in range(count)]
        Lead.objects.bulk_create(leads)
        LeadEvent.objects.bulk_create(
            LeadEvent(lead=lead, seq=0, kind="created", to_state="new") for lead in leads
        )
    return [lead.pk for lead in leads]


def queries_of(client, address):
    with CaptureQueriesContext(connection) as captured:
        answer = client.get(address)
    assert answer.status_code == 200, address
    # The test's own transaction is around the request's: its end and the way back out of the
    # tenant are statements that no request of a person makes.
    skipped = ("SAVEPOINT", "RELEASE", "SELECT set_config('app.tenant_id', '',")
    return [query["sql"] for query in captured if not query["sql"].startswith(skipped)]


def shown(answer):
    return re.findall(r'name="_selected_action" value="([^"]+)"', answer.content.decode())


def test_a_list_costs_the_same_at_ten_and_at_a_thousand_rows(office):
    client = boss(office)
    many_leads(office, 10)
    few = queries_of(client, url(Lead, "changelist"))

    many_leads(office, 1000)
    many = queries_of(client, url(Lead, "changelist"))

    assert len(many) == len(few) <= MOST_QUERIES, many
    deep = url(Lead, "changelist") + f"?after={shown(client.get(url(Lead, 'changelist')))[-1]}"
    assert len(queries_of(client, deep)) == len(many)


@pytest.mark.parametrize("query", ["", "?q=+12025550142", "?q=Lead", "?age=7d"])
def test_no_list_counts_all_skips_rows_or_looks_for_distinct_values(office, query):
    fill(office, "OURWORD")
    client = boss(office)

    for model in tables():
        if query == "?age=7d" and AgeFilter not in admin.site._registry[model].list_filter:
            continue
        statements = queries_of(client, url(model, "changelist") + query)
        asks_index = model is Lead and query.startswith("?q=")  # one question more, of find_leads
        assert len(statements) <= MOST_QUERIES + asks_index, (model, statements)
        for statement in statements:
            if "FROM stages s" not in statement:  # the counters of the rail, capped
                assert not re.search(r"COUNT\(\*\)|OFFSET|DISTINCT", statement, re.I), statement


def test_filters_name_choices_or_answer_for_themselves():
    for model, model_admin in admin.site._registry.items():
        for item in model_admin.list_filter:
            if isinstance(item, str):
                field = model._meta.get_field(item)
                assert field.choices or field.get_internal_type() == "BooleanField", (model, item)


def test_older_and_newer_walk_the_whole_list_and_back(office):
    ids = many_leads(office, 130)
    client = boss(office)

    first = client.get(url(Lead, "changelist"))
    older = first.context["cl"].older
    second = client.get(url(Lead, "changelist") + older)
    third = client.get(url(Lead, "changelist") + second.context["cl"].older)
    back = client.get(url(Lead, "changelist") + third.context["cl"].newer)

    assert shown(first) + shown(second) + shown(third) == sorted(ids, reverse=True)
    assert shown(back) == shown(second)
    assert first.context["cl"].newer == ""
    assert third.context["cl"].older == ""
    assert first.context["cl"].result_count == 130


def test_a_place_in_the_list_that_is_no_id_is_its_beginning(office):
    many_leads(office, 60)
    client = boss(office)

    for place in ("x", "msg_01ARZ3NDEKTSV4RRFFQ69G5FAV", "", "%00"):
        answer = client.get(f"{url(Lead, 'changelist')}?after={place}")
        assert len(shown(answer)) == 50


def test_the_count_stops_at_a_thousand(office):
    many_leads(office, 1005)
    client = boss(office)

    answer = client.get(url(Lead, "changelist"))

    assert "1,000+" in answer.content.decode()


def test_filters_stay_when_turning_the_page(office):
    many_leads(office, 60)
    client = boss(office)

    answer = client.get(url(Lead, "changelist") + "?state__exact=new&stage=retarget&q=Lead")
    older = answer.context["cl"].older

    assert {"state__exact=new", "stage=retarget"} <= set(older.lstrip("?").split("&"))
    assert "q=Lead" in older
    assert client.get(url(Lead, "changelist") + "?stage=nudger").context["cl"].result_count == 0


def test_a_full_id_finds_the_row_and_the_rows_that_refer_to_it(office):
    filled = fill(office, "OURWORD")
    client = boss(office)
    lead, conversation = filled.rows[Lead], filled.rows[Conversation]

    def found(model, term):
        return client.get(url(model, "changelist"), {"q": term}).context["cl"].result_list

    assert [row.pk for row in found(Lead, lead.pk)] == [lead.pk]
    assert {row.lead_id for row in found(Message, lead.pk)} == {lead.pk}
    assert {row.conversation_id for row in found(Message, conversation.pk)} == {conversation.pk}
    assert found(Lead, conversation.pk) == []
    assert found(Lead, "lead_" + "U" * 26) == []


@pytest.mark.parametrize(
    "typed", ["+12025550142", "12025550142", "2025550142", "(202) 555-0142", "202.555.0142"]
)
def test_a_phone_number_is_found_in_whatever_format_it_is_typed(office, typed):
    office.receive("hello")
    office.receive("hello", theirs="+12025550143")
    client = boss(office)

    def count(model):
        return client.get(url(model, "changelist"), {"q": typed}).context["cl"].result_count

    assert [count(model) for model in (Lead, ContactPoint, Conversation, Message)] == [1] * 4


def test_the_beginning_of_a_phone_number_or_name_is_enough(office):
    office.receive("hello")
    with office.inside():
        Lead.objects.update(first_name="Marisol", last_name="Ortega")
    client = boss(office)

    def count(term):
        return client.get(url(Lead, "changelist"), {"q": term}).context["cl"].result_count

    assert [count(term) for term in ("202 555", "mari", "ORT", "marisol ort")] == [1] * 4
    assert [count(term) for term in ("303 555", "isol", "marisol x")] == [0] * 3


@pytest.mark.parametrize(
    "text",
    ["+1 (202) 555-0142", "2025550142", "12025550142", "+442071838750", "202-555-0142"],
)
def test_a_whole_number_reads_as_intake_reads_it(text):
    assert phone_prefix(text) == (normalize_address(text), True)


@pytest.mark.parametrize("text", ["", "abc", "12", "lead_01", "2025550142x"])
def test_what_is_no_number_is_not_taken_for_one(text):
    assert phone_prefix(text) == ("", False)
    if text not in ("abc", "2025550142x", "lead_01"):
        with pytest.raises(BadPayload):
            normalize_address(text)


def test_age_finds_what_was_made_lately(office):
    many_leads(office, 3)
    client = boss(office)

    lately = client.get(url(Lead, "changelist") + "?age=1h").context["cl"]

    assert lately.result_count == 3
    assert timezone.now() - lately.result_list[0].created_at < timedelta(hours=1)


def test_a_picker_answers_with_one_page_and_no_count(office):
    many_leads(office, 60)
    client = boss(office)
    question = "?app_label=leads&model_name=contactpoint&field_name=lead&term=Lead"

    with CaptureQueriesContext(connection) as captured:
        answer = client.get(f"/admin/autocomplete/{question}").json()

    assert len(answer["results"]) == 20
    assert answer["pagination"] == {"more": False}
    assert not any(re.search(r"COUNT\(|OFFSET", query["sql"], re.I) for query in captured)


def test_lists_have_their_words(office):
    client = boss(office)

    assert "Nothing matches." in client.get(url(Lead, "changelist") + "?q=zz").content.decode()
    empty = client.get(url(Conversation, "changelist")).content.decode()
    assert "Nothing here yet." in empty
    numbers = client.get(url(PhoneNumber, "changelist")).content.decode()
    assert office.number.number in numbers
