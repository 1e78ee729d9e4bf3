"""Segments per brand and Pacific day, beside the caps of tenant and number: never one more."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from integrations.models import WebhookWork
from messaging.checks import spent_brand
from messaging.health import pacific_day
from messaging.models import (
    Brand,
    BrandDay,
    DailySend,
    OutboundMessage,
    PhoneNumber,
    SendAttempt,
)
from messaging.sender import claim
from tests import raw
from tests.carrier import send_due
from tests.raw import at_once, rows

pytestmark = pytest.mark.django_db

LONG = "x" * 161  # two segments of GSM-7


def branded(office, cap):
    with office.inside():
        brand = Brand.objects.create(name="Harbor Homes", daily_segment_cap=cap)
        PhoneNumber.objects.update(brand=brand)
    return brand


def fill(office, queue, many, body="Hi"):
    return [queue(office, body, theirs=f"+1202{n:07d}") for n in range(many)]


def used(office):
    with office.inside():
        return dict(BrandDay.objects.values_list("day", "used"))


def test_a_text_costs_the_segments_it_has(desk, queue):
    branded(desk, 10)
    queue(desk, "Hi", theirs="+12025550001")
    queue(desk, LONG, theirs="+12025550002")
    queue(desk, "\u20ac" * 71, theirs="+12025550003")  # one of GSM-7: a euro is two septets
    queue(desk, "\u4f60" * 71, theirs="+12025550004")  # UCS-2: two

    assert len(claim(desk.tenant.pk, most=10)) == 4

    with desk.inside():
        listed = OutboundMessage.objects.order_by("to_address").values_list("segments", flat=True)
        assert list(listed) == [1, 2, 1, 2]
    assert used(desk) == {pacific_day(): 6}


def test_the_cap_of_a_brand_is_not_passed_and_shorter_texts_fill_it(desk, queue):
    branded(desk, 5)
    fill(desk, queue, 3, LONG)
    queue(desk, "short", theirs="+12025559999")

    claims = claim(desk.tenant.pk, most=10) + claim(desk.tenant.pk, most=10)

    assert len(claims) == 3
    assert used(desk) == {pacific_day(): 5}
    with desk.inside():
        assert OutboundMessage.objects.get(state="queued").segments == 2
        assert DailySend.objects.get().sent == PhoneNumber.objects.get().sent_today == 3


def test_long_texts_before_it_do_not_keep_a_short_one_back(desk, queue):
    branded(desk, 1)
    fill(desk, queue, 12, LONG)
    queue(desk, "short", theirs="+12025559999")

    (one,) = claim(desk.tenant.pk, most=8)

    with desk.inside():
        assert OutboundMessage.objects.get(pk=one.outbound_id).body == "short"


def test_numbers_of_one_brand_share_its_cap_and_others_do_not(desk, queue):
    brand = branded(desk, 3)
    with desk.inside():
        second, free = (
            PhoneNumber.objects.create(
                number=number,
                integration=desk.integration,
                brand=whose,
                rate_per_second=1000,
                burst=1000,
                tokens=1000,
            )
            for number, whose in (("+12025550101", brand), ("+12025550102", None))
        )
    texts = fill(desk, queue, 9)
    with desk.inside():
        for line, part in ((second, texts[3:6]), (free, texts[6:])):
            ids = [text.pk for text in part]
            OutboundMessage.objects.filter(pk__in=ids).update(phone_number=line)

    assert len(claim(desk.tenant.pk, most=20)) == 6

    assert used(desk) == {pacific_day(): 3}


def test_the_day_of_a_brand_is_pacific(desk, queue):
    brand = branded(desk, 2)
    with desk.inside():
        yesterday = pacific_day() - timedelta(days=1)
        BrandDay.objects.create(brand=brand, day=yesterday, used=2, cap=2)
    fill(desk, queue, 3)

    assert len(claim(desk.tenant.pk, most=10)) == 2

    assert used(desk) == {yesterday: 2, pacific_day(): 2}
    asked = rows("SELECT (clock_timestamp() AT TIME ZONE 'America/Los_Angeles')::date")[0][0]
    assert asked == pacific_day()


def test_a_raised_cap_holds_at_once_and_a_lowered_one_too(desk, queue):
    brand = branded(desk, 2)
    fill(desk, queue, 9)
    assert len(claim(desk.tenant.pk, most=10)) == 2
    with desk.inside():
        Brand.objects.filter(pk=brand.pk).update(daily_segment_cap=4)
    assert len(claim(desk.tenant.pk, most=10)) == 2
    with desk.inside():
        Brand.objects.filter(pk=brand.pk).update(daily_segment_cap=1)
    assert claim(desk.tenant.pk, most=10) == []
    assert used(desk) == {pacific_day(): 4}


def test_a_number_without_a_brand_has_none_of_its_caps(desk, queue):
    fill(desk, queue, 3)
    assert len(claim(desk.tenant.pk, most=10)) == 3
    assert used(desk) == {}


def test_a_spent_brand_is_an_incident(desk, queue):
    branded(desk, 1)
    fill(desk, queue, 2)
    claim(desk.tenant.pk, most=10)
    with desk.inside():
        assert list(spent_brand()) == []  # nothing waits long yet
        OutboundMessage.objects.filter(state="queued").update(
            due_at=timezone.now() - timedelta(minutes=6)
        )
        assert [problem.subject for problem in spent_brand()] == ["Harbor Homes"]


# --- what the database refuses ----------------------------------------------------------------


def test_no_path_passes_the_cap(desk, queue):
    branded(desk, 2)
    fill(desk, queue, 1)
    claim(desk.tenant.pk, most=10)
    with desk.inside():
        assert raw.refused("UPDATE brand_days SET used = cap + 1") == "brand_days_cap"
        assert raw.refused("DELETE FROM brand_days") == "42501"
        assert raw.refused("DELETE FROM brands") == "42501"
        assert (
            raw.refused(
                "INSERT INTO brand_days (tenant_id, id, brand_id, day, used, cap)"
                " SELECT tenant_id, ulid_new(), brand_id, day, 0, cap FROM brand_days"
            )
            == "ux_brand_days_day"
        )
        assert raw.refused("UPDATE outbound_messages SET segments = 0") in (
            "LD003",
            "outbound_has_segments",
        )


def test_a_number_has_no_brand_of_another_tenant(office, other_office):
    with other_office.inside():
        foreign = Brand.objects.create(name="Foreign")
    with office.inside():
        refused = raw.refused("UPDATE phone_numbers SET brand_id = %s", [_uuid(foreign.pk)])
        assert refused == "fk_phone_numbers_brand"


def _uuid(pk):
    return Brand._meta.pk.get_db_prep_value(pk, raw.connection)


# --- many at once -----------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("limit", ["brand", "number", "tenant"])
def test_fault_26_fifty_senders_at_a_cap_send_exactly_the_cap(committed_office, queue, limit):
    """Fifty claims at once over two numbers: the cap is met, and nobody deadlocks."""
    office = committed_office
    brand = branded(office, 21 if limit == "brand" else 1000)
    texts = fill(office, queue, 60)
    with office.inside():
        second = PhoneNumber.objects.create(
            number="+12025550101",
            integration=office.integration,
            brand=brand,
            rate_per_second=1000,
            burst=1000,
            tokens=1000,
            daily_cap=1000,
        )
        if limit == "number":
            PhoneNumber.objects.filter(pk=office.number.pk).update(daily_cap=21)
        else:
            ids = [text.pk for text in texts[30:]]
            OutboundMessage.objects.filter(pk__in=ids).update(phone_number=second)
        if limit == "tenant":
            office.tenant.daily_send_limit = 21
            office.tenant.save()

    results = at_once([lambda: len(claim(office.tenant.pk, most=3))] * 50)

    assert not [error for error in results if isinstance(error, BaseException)], results
    rest = sum(len(claim(office.tenant.pk, most=50)) for _ in range(3))
    assert sum(results) + rest == 21
    with office.inside():
        assert SendAttempt.objects.count() == DailySend.objects.get().sent == 21
        assert BrandDay.objects.get().used == 21
        assert sum(PhoneNumber.objects.values_list("sent_today", flat=True)) == 21


@pytest.mark.django_db(transaction=True)
def test_segments_are_exact_when_many_send_texts_of_all_lengths(committed_office, queue):
    office = committed_office
    branded(office, 25)
    for n in range(30):
        queue(office, "Hi" if n % 3 else LONG, theirs=f"+1202{n:07d}")

    results = at_once([lambda: sum(len(claim(office.tenant.pk, most=2)) for _ in range(6))] * 8)

    assert not [error for error in results if isinstance(error, BaseException)], results
    for _ in range(3):
        claim(office.tenant.pk, most=50)
    with office.inside():
        sent = OutboundMessage.objects.filter(state="sending")
        assert sum(sent.values_list("segments", flat=True)) == BrandDay.objects.get().used == 25


# --- what an operator discarded ---------------------------------------------------------------


@pytest.mark.parametrize(("state", "waits"), [("quarantined", True), ("discarded", False)])
def test_automation_waits_for_what_is_unread_and_not_for_what_was_discarded(
    desk, queue, state, waits
):
    desk.post(desk.payload("hm", ours="+12025550199"))
    with desk.inside():
        WebhookWork.objects.update(state=state)
    queue(desk, "auto", purpose="first_text", is_automated=True, actor_id=None)
    with desk.inside():
        OutboundMessage.objects.update(due_at=timezone.now())

    assert len(send_due(desk)) == (0 if waits else 1)


def test_the_question_for_unread_work_can_use_its_index(desk):
    """The condition of the claim implies the predicate of ``webhook_work_unread``."""
    with desk.inside(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute(
            "EXPLAIN SELECT FROM webhook_work AS w"
            " WHERE w.tenant_id = '00000000-0000-0000-0000-000000000001'"
            " AND w.their_number = 'x' AND w.state <> 'done' AND w.state <> 'discarded'"
            " AND w.is_inbound"
        )
        assert "webhook_work_unread" in str(cursor.fetchall())
