"""The API of leads: list, read, create, edit, search; contacts, contact points, labels."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import Prefetch, QuerySet
from django.http import Http404
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.response import Response

from leads.actions_leads import (
    EditRefused,
    LeadTaken,
    StaleEdit,
    label_leads,
    unlabel_lead,
    update_lead,
    version_of,
)
from leads.actions_people import add_contact, add_point
from leads.api import serializers as shapes
from leads.api.intake import take_lead
from leads.api.paging import paged
from leads.api.schema import CURSOR, IDEMPOTENCY, IF_MATCH, LIMIT, SORT, LeadPage, filter_parameters
from leads.filters import LeadFilters
from leads.listing import filters_of, live_leads, with_columns
from leads.models import Contact, ContactPoint, Label, Lead, LeadLabel
from leads.search import search
from tenants.api import ApiRequest, ApiView, Problem

PROBLEM = OpenApiResponse(shapes.ProblemSerializer, description="A problem, with advice.")
#: Rows of what hangs from a lead.
MOST = 200


def one_lead(lead_id: str, rows: QuerySet[Lead] | None = None) -> Lead:
    """Return the lead a URL names; one of another tenant or kind is a 404."""
    try:
        return (Lead.objects.all() if rows is None else rows).get(pk=lead_id)
    except (Lead.DoesNotExist, ValidationError, ValueError) as error:
        raise Http404 from error


def whole(rows: QuerySet[Lead]) -> QuerySet[Lead]:
    """Add all that the page of one lead shows."""
    labels = LeadLabel.objects.select_related("label")
    return with_columns(rows).prefetch_related(
        "contact_points", "contacts", Prefetch("labels", queryset=labels)
    )


def refused(error: EditRefused) -> Problem:
    """Return an edit that cannot be as the problem it is."""
    if isinstance(error, LeadTaken):
        return Problem(409, str(error), conflicting_lead=error.other_id)
    if isinstance(error, StaleEdit):
        return Problem(412, str(error))
    field = error.field
    return Problem(400 if field else 409, str(error), errors={field: str(error)} if field else None)


class Leads(ApiView):
    """Leads of the tenant."""

    @extend_schema(
        operation_id="leads_list",
        summary="List leads by filters, newest first",
        parameters=[*filter_parameters(), SORT, LIMIT, CURSOR],
        responses={200: LeadPage, 400: PROBLEM},
    )
    def get(self, request: ApiRequest) -> Response:
        filters = checked(filters_of(request.query_params))
        return Response(paged(request, with_columns(filters.qs), lambda rows: rows_of(rows)))

    @extend_schema(
        operation_id="leads_create",
        summary="Tell of a lead; one that is known already is brought up to date",
        parameters=[IDEMPOTENCY],
        request=shapes.LeadInSerializer,
        responses={
            200: shapes.TakenSerializer,
            201: shapes.TakenSerializer,
            202: shapes.TakenSerializer,
            400: PROBLEM,
            422: PROBLEM,
        },
    )
    def post(self, request: ApiRequest) -> Response:
        body = shapes.LeadInSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        said: dict[str, Any] = dict(body.validated_data)
        points = said.pop("contact_points", [])
        taken = take_lead(said, points, actor_id=request.caller.actor_id)
        if taken.outcome == "error":
            raise Problem(400, taken.problem or "This is no lead.")
        status = {"created": 201, "review": 202}.get(taken.outcome, 200)
        lead = one_lead(taken.lead_id, whole(Lead.objects.all())) if taken.lead_id else None
        if taken.outcome == "blocked" and lead is not None:
            status = 201
        data = {
            "outcome": taken.outcome,
            "matched_by": taken.by,
            "review_id": taken.review_id,
            "note": taken.problem,
            "lead": shapes.LeadSerializer(lead).data if lead else None,
        }
        return Response(data, status=status)


def rows_of(rows: list[Lead]) -> Any:
    return shapes.LeadRowSerializer(rows, many=True).data


def checked(filters: LeadFilters) -> LeadFilters:
    """Return *filters* whose every value makes sense.

    Raises:
        Problem: with each that does not, and with names that are no filters.
    """
    known = {*filters.filters, "cursor", "limit", "sort"}
    wrong = {name: "There is no such filter." for name in filters.data if name not in known}
    for name, errors in filters.form.errors.items():
        wrong[name] = " ".join(str(error) for error in errors)
    if wrong:
        raise Problem(400, "A filter makes no sense.", errors=wrong)
    return filters


class OneLead(ApiView):
    """One lead."""

    @extend_schema(
        operation_id="leads_read",
        summary="Read a lead with its contact points, people and labels",
        responses={200: shapes.LeadSerializer, 404: PROBLEM},
    )
    def get(self, request: ApiRequest, lead_id: str) -> Response:
        lead = one_lead(lead_id, whole(Lead.objects.all()))
        headers = {"ETag": f'"{version_of(lead)}"'}
        return Response(shapes.LeadSerializer(lead).data, headers=headers)

    @extend_schema(
        operation_id="leads_update",
        summary="Change fields of a lead; what is left out stays",
        parameters=[IF_MATCH],
        request=shapes.LeadEditSerializer(partial=True),
        responses={
            200: shapes.LeadSerializer,
            400: PROBLEM,
            404: PROBLEM,
            409: PROBLEM,
            412: PROBLEM,
        },
    )
    def patch(self, request: ApiRequest, lead_id: str) -> Response:
        lead = one_lead(lead_id)
        body = shapes.LeadEditSerializer(data=request.data, partial=True)
        body.is_valid(raise_exception=True)
        unknown = sorted(set(request.data) - set(body.fields))
        if unknown:
            raise Problem(
                400,
                "Some fields cannot be changed.",
                errors=dict.fromkeys(unknown, "This is no field that can be changed."),
            )
        seen = request.headers.get("If-Match", "").strip().strip('"') or None
        try:
            update_lead(
                lead.pk,
                fields=body.validated_data,
                seen=None if seen == "*" else seen,
                actor_id=request.caller.actor_id,
            )
        except EditRefused as error:
            raise refused(error) from error
        fresh = one_lead(lead.pk, whole(Lead.objects.all()))
        headers = {"ETag": f'"{version_of(fresh)}"'}
        return Response(shapes.LeadSerializer(fresh).data, headers=headers)


class Points(ApiView):
    """Contact points of a lead."""

    @extend_schema(
        operation_id="contact_points_list",
        summary="List a lead's phone numbers and e-mail addresses",
        responses={200: shapes.PointSerializer(many=True), 404: PROBLEM},
    )
    def get(self, request: ApiRequest, lead_id: str) -> Response:
        lead = one_lead(lead_id)
        rows = ContactPoint.objects.filter(lead=lead).order_by("kind", "-is_primary", "id")[:MOST]
        return Response(shapes.PointSerializer(rows, many=True).data)

    @extend_schema(
        operation_id="contact_points_create",
        summary="Add a phone number or e-mail address, in any format",
        parameters=[IDEMPOTENCY],
        request=shapes.PointInSerializer,
        responses={
            200: shapes.PointSerializer,
            201: shapes.PointSerializer,
            400: PROBLEM,
            404: PROBLEM,
            409: PROBLEM,
        },
    )
    def post(self, request: ApiRequest, lead_id: str) -> Response:
        lead = one_lead(lead_id)
        body = shapes.PointInSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        said = dict(body.validated_data)
        contact_id = said.pop("contact", None)
        if contact_id and not Contact.objects.filter(pk=contact_id, lead=lead).exists():
            words = "This lead has no such person."
            raise Problem(400, "The contact is unknown.", errors={"contact": words})
        try:
            point, is_new = add_point(
                lead.pk,
                source="api",
                contact_id=contact_id,
                actor_id=request.caller.actor_id,
                **said,
            )
        except EditRefused as error:
            raise refused(error) from error
        return Response(shapes.PointSerializer(point).data, status=201 if is_new else 200)


class Contacts(ApiView):
    """People of a lead."""

    @extend_schema(
        operation_id="contacts_list",
        summary="List the people of a lead",
        responses={200: shapes.ContactSerializer(many=True), 404: PROBLEM},
    )
    def get(self, request: ApiRequest, lead_id: str) -> Response:
        lead = one_lead(lead_id)
        rows = Contact.objects.filter(lead=lead).order_by("position", "id")[:MOST]
        return Response(shapes.ContactSerializer(rows, many=True).data)

    @extend_schema(
        operation_id="contacts_create",
        summary="Add a person to a lead; the same name again is the same person",
        parameters=[IDEMPOTENCY],
        request=shapes.ContactSerializer,
        responses={
            200: shapes.ContactSerializer,
            201: shapes.ContactSerializer,
            400: PROBLEM,
            404: PROBLEM,
            409: PROBLEM,
        },
    )
    def post(self, request: ApiRequest, lead_id: str) -> Response:
        lead = one_lead(lead_id)
        body = shapes.ContactSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        try:
            contact, is_new = add_contact(
                lead.pk, fields=body.validated_data, actor_id=request.caller.actor_id
            )
        except EditRefused as error:
            raise refused(error) from error
        return Response(shapes.ContactSerializer(contact).data, status=201 if is_new else 200)


class LeadLabels(ApiView):
    """Labels on a lead."""

    @extend_schema(
        operation_id="lead_labels_list",
        summary="List the labels on a lead",
        responses={200: shapes.LabelSerializer(many=True), 404: PROBLEM},
    )
    def get(self, request: ApiRequest, lead_id: str) -> Response:
        return Response(_labels(one_lead(lead_id)))

    @extend_schema(
        operation_id="lead_labels_create",
        summary="Put a label, tag or flag on a lead, made when it is new",
        parameters=[IDEMPOTENCY],
        request=shapes.LeadLabelSerializer,
        responses={200: shapes.LabelSerializer(many=True), 400: PROBLEM, 404: PROBLEM},
    )
    def post(self, request: ApiRequest, lead_id: str) -> Response:
        lead = one_lead(lead_id, live_leads())
        body = shapes.LeadLabelSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        try:
            label_leads([lead.pk], actor_id=request.caller.actor_id, **body.validated_data)
        except EditRefused as error:
            raise Problem(400, str(error), errors={"name": str(error)}) from error
        return Response(_labels(lead))


class OneLeadLabel(ApiView):
    """One label on a lead."""

    @extend_schema(
        operation_id="lead_labels_delete",
        summary="Take a label off a lead",
        responses={204: None, 404: PROBLEM},
    )
    def delete(self, request: ApiRequest, lead_id: str, label_id: str) -> Response:
        lead = one_lead(lead_id)
        try:
            there = LeadLabel.objects.filter(lead=lead, label=label_id).exists()
        except (ValidationError, ValueError) as error:
            raise Http404 from error
        if not there:
            raise Http404
        unlabel_lead(lead.pk, label_id=label_id, actor_id=request.caller.actor_id)
        return Response(status=204)


def _labels(lead: Lead) -> Any:
    rows = LeadLabel.objects.filter(lead=lead).select_related("label").order_by("id")[:MOST]
    return shapes.LabelSerializer([row.label for row in rows], many=True).data


class Labels(ApiView):
    """Labels of the tenant."""

    @extend_schema(
        operation_id="labels_list",
        summary="List the labels, tags and flags there are",
        responses={200: shapes.LabelSerializer(many=True)},
    )
    def get(self, request: ApiRequest) -> Response:
        rows = Label.objects.order_by("kind", "key")[:1000]
        return Response(shapes.LabelSerializer(rows, many=True).data)


class Search(ApiView):
    """Finding leads."""

    @extend_schema(
        operation_id="leads_search",
        summary="Find leads by name, number, address, e-mail or any id; the surest first",
        parameters=[OpenApiParameter("q", str, required=True, description="As it was typed.")],
        responses={200: shapes.HitSerializer(many=True), 400: PROBLEM},
    )
    def get(self, request: ApiRequest) -> Response:
        words = request.query_params.get("q", "")
        if len(words.strip()) < 2:
            raise Problem(400, "Say what to look for.", errors={"q": "Two letters at least."})
        hits = search(words)
        rows = with_columns(Lead.objects.filter(pk__in=[hit.lead_id for hit in hits]))
        leads = {lead.pk: lead for lead in rows}
        found = [
            {"found_by": hit.kind, "lead": leads[hit.lead_id]}
            for hit in hits
            if hit.lead_id in leads
        ]
        return Response(shapes.HitSerializer(found, many=True).data)
