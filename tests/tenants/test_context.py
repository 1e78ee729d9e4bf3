"""The one door into a tenant: what is inside is one tenant's, and nothing leaks out of it."""

from __future__ import annotations

from contextlib import suppress

import pytest
from django.db import DatabaseError, connection, transaction

from leads.actions import NoTenant, create_lead, owner
from leads.models import Lead, Stage
from tenants.context import SwallowedDatabaseError, current_tenant_id, is_passing, tenant_context
from tests import raw
from tests.raw import rows


def add_and_fail(office):
    with office.inside():
        create_lead(full_name="inner")
        raise LookupError


def add_and_swallow():
    create_lead()
    with suppress(DatabaseError), connection.cursor() as cursor:
        cursor.execute("SELECT 1 / 0")


def setting():
    return rows("SELECT current_setting('app.tenant_id', true)")[0][0]


@pytest.mark.django_db
def test_without_a_tenant_nothing_exists_and_nothing_can_be_written(office):
    with office.inside():
        lead = create_lead()
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('app.tenant_id', '', true)")

    assert (Lead.objects.count(), Stage.objects.count(), current_tenant_id()) == (0, 0, None)
    assert Lead.objects.update(full_name="x") == 0
    with pytest.raises(DatabaseError, match="row-level security"), transaction.atomic():
        Stage.objects.create(tenant=office.tenant, key="x", label="x", short_label="x", position=9)
    with pytest.raises(NoTenant):
        owner()
    with office.inside():
        assert Lead.objects.get() == lead


@pytest.mark.django_db
def test_rows_of_another_tenant_can_neither_be_seen_nor_written(office, other_office):
    theirs = other_office.lead()
    with office.inside():
        assert not Lead.objects.filter(pk=theirs.pk).exists()
        assert Lead.objects.filter(pk=theirs.pk).update(full_name="x") == 0
        for write in (
            lambda: Stage.objects.create(
                tenant=other_office.tenant, key="x", label="x", short_label="x", position=9
            ),
            lambda: Stage.objects.filter(key="retarget").update(tenant=other_office.tenant),
        ):
            with pytest.raises(DatabaseError, match="row-level security"), transaction.atomic():
                write()


@pytest.mark.django_db
def test_references_into_another_tenant_are_refused(office, other_office):
    theirs = other_office.lead()
    with office.inside():
        mine = create_lead()

        assert raw.refused(
            "UPDATE leads SET merged_into_id = %s::uuid, superseded_at = now() WHERE id = %s::uuid",
            [str(raw.to_uuid(theirs.pk)), str(raw.to_uuid(mine.pk))],
        ) == "fk_leads_merged_into"  # fmt: skip


@pytest.mark.django_db
def test_contexts_nest_and_give_the_outer_tenant_back(office, other_office):
    with office.inside():
        with other_office.inside():
            assert current_tenant_id() == other_office.tenant.pk
            with office.inside():
                assert current_tenant_id() == office.tenant.pk
            create_lead(full_name="inner")
        assert current_tenant_id() == office.tenant.pk
        create_lead(full_name="outer")

        assert [lead.full_name for lead in Lead.objects.all()] == ["outer"]
    with other_office.inside():
        assert [lead.full_name for lead in Lead.objects.all()] == ["inner"]
    assert current_tenant_id() is None


@pytest.mark.django_db
def test_an_exception_in_an_inner_tenant_undoes_it_and_gives_the_outer_back(office, other_office):
    with office.inside():
        create_lead(full_name="outer")
        with pytest.raises(LookupError):
            add_and_fail(other_office)

        assert setting() == str(raw.to_uuid(office.tenant.pk))
        assert [lead.full_name for lead in Lead.objects.all()] == ["outer"]
    with other_office.inside():
        assert not Lead.objects.exists()


@pytest.mark.django_db
def test_a_database_error_in_an_inner_tenant_gives_the_outer_back(office, other_office):
    with office.inside():
        with pytest.raises(DatabaseError), other_office.inside(), connection.cursor() as cursor:
            cursor.execute("SELECT 1 / 0")

        assert (current_tenant_id(), Lead.objects.count()) == (office.tenant.pk, 0)
        create_lead()


@pytest.mark.parametrize("value", ["", "nonsense", "tenant_", "lead_01ARZ3NDEKTSV4RRFFQ69G5FAO"])
@pytest.mark.django_db
def test_a_tenant_that_is_no_id_is_refused(value):
    with pytest.raises(ValueError, match="not a ULID"), tenant_context(value):
        pass


@pytest.mark.django_db
def test_a_tenant_that_does_not_exist_is_empty(office):
    with tenant_context("tenant_01ARZ3NDEKTSV4RRFFQ69G5FAV"):
        assert not Stage.objects.exists()


# --- commits ----------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_the_setting_ends_with_the_transaction(committed_office):
    with committed_office.inside():
        assert setting() == str(raw.to_uuid(committed_office.tenant.pk))

    assert setting() in ("", None)
    assert Stage.objects.count() == 0


@pytest.mark.django_db(transaction=True)
def test_the_setting_ends_with_a_rolled_back_transaction(committed_office):
    with pytest.raises(LookupError):
        add_and_fail(committed_office)

    assert setting() in ("", None)
    with committed_office.inside():
        assert not Lead.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_durable_block_says_when_it_hid_an_error(committed_office):
    with (
        pytest.raises(SwallowedDatabaseError),
        tenant_context(committed_office.tenant.pk, durable=True),
    ):
        add_and_swallow()
    with committed_office.inside():
        assert not Lead.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_durable_block_does_not_nest(committed_office):
    with (
        committed_office.inside(),
        pytest.raises(RuntimeError, match="durable"),
        tenant_context(committed_office.tenant.pk, durable=True),
    ):
        pass


@pytest.mark.django_db(transaction=True)
def test_threads_have_tenants_of_their_own(committed_office):
    def look():
        return current_tenant_id(), Stage.objects.count()

    with committed_office.inside():
        assert raw.at_once([look]) == [(None, 0)]


# --- whose fault ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "passing"),
    [
        ("40P01", True), ("40001", True), ("57P01", True), ("55P03", True), ("53300", True),
        ("57014", False), ("23505", False), ("22012", False), ("P0001", False),
    ],
)  # fmt: skip
@pytest.mark.django_db
def test_trouble_that_passes_is_told_from_faults(code, passing):
    with pytest.raises(DatabaseError) as caught, transaction.atomic():
        connection.cursor().execute(
            f"DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '{code}'; END $$"
        )

    assert is_passing(caught.value) == passing
    assert not is_passing(ValueError())
