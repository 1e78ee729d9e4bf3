"""Two leads become one and two again: nothing is lost, and nobody becomes easier to text."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection, transaction
from django.db.models.functions import Now
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from campaigns.actions import queue_call
from campaigns.models import CallItem
from integrations.models import Enrichment, ExternalId, VendorCall
from leads.actions import (
    Choice,
    add_contact_point,
    arm_timer,
    create_lead,
    flag_wrong_number,
    move_lead,
    put_label,
    record_choice,
)
from leads.merge_fields import FIELDS
from leads.mergeable import children, kept
from leads.merging import MergeRefused, family_of, merge, plan, root_of
from leads.models import (
    Business,
    Contact,
    ContactPoint,
    Import,
    ImportRow,
    Lead,
    LeadActivity,
    LeadCard,
    LeadEvent,
    LeadLabel,
    LeadTimer,
    Merge,
    MergeReview,
    Property,
    Verification,
)
from leads.pairs import propose, settle
from leads.states import LeadState
from leads.unmerging import unmerge
from messaging.actions.consent import opt_in, opt_out
from messaging.actions.facts import facts_for
from messaging.actions.sending import open_thread
from messaging.models import Conversation, Message, OutboundMessage
from messaging.verdict import decide
from pipelines.models import PipelineRun
from tenants.ulids import to_uuid
from tests.conftest import OURS
from tests.leads.test_state_machine import path_to

pytestmark = pytest.mark.django_db

A_PHONE, B_PHONE, SHARED, LATER = "+12025550142", "+12025550143", "+12025550144", "+12025550145"


def lead(phone="", **fields):
    return create_lead(phone=phone, **fields)


def thread(one, phone, office):
    point = ContactPoint.objects.get(lead=one, normalized=phone)
    return open_thread(one.pk, contact_point_id=point.pk, phone_number_id=office.number.pk)


def referring_columns():
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.conrelid::regclass::text, a.attname FROM pg_constraint AS c"
            " CROSS JOIN LATERAL unnest(c.conkey, c.confkey) AS k(here, there)"
            " JOIN pg_attribute AS a ON a.attrelid = c.conrelid AND a.attnum = k.here"
            " JOIN pg_attribute AS b ON b.attrelid = c.confrelid AND b.attnum = k.there"
            " WHERE c.contype = 'f' AND c.confrelid = 'leads'::regclass AND b.attname = 'id'"
        )
        return set(cursor.fetchall())


# --- everything that belongs to a lead --------------------------------------------------------


def test_every_column_that_refers_to_a_lead_follows_it_or_says_why_not():
    named = {(child.table, child.column) for child in children()} | set(kept())

    assert referring_columns() == named
    assert all(kept().values())
