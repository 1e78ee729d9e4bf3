"""The big database of the benchmarks, made small: it breaks none of the promises it passes over."""

from __future__ import annotations

import psycopg
import pytest
from django.db import connection

from benchmarks.filling import Filled, counts, fill, verify
from config.pg.embedded import server
from leads.models import Lead, LeadScore
from leads.scoring import score_leads
from messaging.models import Conversation, Message
from tenants.ulids import to_uuid


@pytest.fixture
def superuser():
    name = connection.settings_dict["NAME"]
    try:
        with server().admin(name) as own:
            yield own
    except psycopg.OperationalError:
        pytest.skip("only the embedded server lets its superuser in")


def indexes(own):
    return set(own.execute("SELECT indexname, indexdef FROM pg_indexes").fetchall())


@pytest.mark.django_db(transaction=True)
def test_what_the_benchmarks_fill_breaks_no_reference(committed_office, superuser):
    office = committed_office
    what = Filled(
        tenant=str(to_uuid(office.tenant.pk)),
        phone_number=str(to_uuid(office.number.pk)),
        our_number=office.number.number,
        number=0,
        leads=300,
        messages=900,
    )
    before = indexes(superuser)

    fill(superuser, what, say=lambda _: None)

    assert indexes(superuser) == before
    assert verify(superuser) >= 30
    assert counts(superuser, what.tenant)["messages"] == 900
    with office.inside():
        lead = Lead.objects.order_by("id")[5]
        assert lead.display_name
        assert Conversation.objects.get(lead=lead).their_number.startswith("+1")
        assert Message.objects.filter(direction="in").count() == 300
        score_leads(Lead.objects.values_list("pk", flat=True))
        assert set(LeadScore.objects.values_list("band", flat=True)) == {
            "contactable",
            "enriched",
            "low",
        }
