"""Prefixed ids at the edges: DRF serializers and django-filter."""

from __future__ import annotations

import pytest
from django.test import RequestFactory
from rest_framework.exceptions import ValidationError

from leads.models import ContactPoint, Lead
from tenants.filters import TenantFilterSet
from tenants.serializers import TenantModelSerializer, UlidSerializerField
from tenants.ulids import new_id


class LeadSerializer(TenantModelSerializer):
    class Meta:
        model = Lead
        fields = ["id", "full_name", "state"]


class LeadFilters(TenantFilterSet):
    class Meta:
        model = Lead
        fields = ["id", "state"]


def test_serializer_shows_prefixed_ids(office):
    lead = office.lead(full_name="Priya Raman")

    with office.inside():
        data = LeadSerializer(Lead.objects.get(pk=lead.pk)).data

    assert data == {"id": lead.pk, "full_name": "Priya Raman", "state": "new"}
    assert data["id"].startswith("lead_")


def test_serializer_field_refuses_another_kind_with_words():
    field = UlidSerializerField(prefix="lead")
    good = new_id("lead")

    assert field.run_validation(good) == good
    assert field.run_validation(good.removeprefix("lead_").lower()) == good
    for bad in (new_id("msg"), "garbage", "5", 5):
        with pytest.raises(ValidationError, match="would read lead_01"):
            field.run_validation(bad)


def test_filter_by_full_id_finds_one_row(office):
    lead, other = office.lead(), office.lead("+12025550143")

    with office.inside():
        found = LeadFilters({"id": lead.pk}, queryset=Lead.objects.all())
        assert found.is_valid()
        assert list(found.qs) == [lead]
        wrong = LeadFilters({"id": new_id("msg")}, queryset=Lead.objects.all())
        assert not wrong.is_valid()
        assert "would read lead_01" in str(wrong.errors)
        assert other in Lead.objects.all()


def test_ids_work_through_the_orm(office):
    lead = office.lead()

    with office.inside():
        bare = lead.pk.removeprefix("lead_").lower()
        assert Lead.objects.get(pk=bare) == lead
        assert ContactPoint.objects.select_related("lead").get(lead=lead.pk).lead == lead
        assert list(Lead.objects.filter(pk__in=[lead.pk]).values_list("pk", flat=True)) == [lead.pk]
        assert Lead.objects.in_bulk([lead.pk]) == {lead.pk: lead}


def test_request_factory_strings_are_strict():
    request = RequestFactory().get("/", {"id": "lead_OIL"})

    assert not LeadFilters(request.GET, queryset=Lead.objects.none()).is_valid()
