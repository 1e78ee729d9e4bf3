"""How the API is described: parameters, pages, keys, and the page that shows it all."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import ResolvedComponent
from drf_spectacular.utils import OpenApiParameter
from rest_framework import serializers

from leads.api.serializers import LeadRowSerializer
from leads.filters import LeadFilters
from leads.models.contact import CONTACT_POINT_KINDS
from leads.models.imports import IMPORT_STATES
from leads.models.label import LABEL_KINDS

#: Choices by their names in the description, in the form in which its maker compares them.
POINT_KINDS = list(CONTACT_POINT_KINDS.items())
LABEL_KIND_CHOICES = list(LABEL_KINDS.items())
IMPORT_STATE_CHOICES = list(IMPORT_STATES.items())

IDEMPOTENCY = OpenApiParameter(
    "Idempotency-Key",
    str,
    OpenApiParameter.HEADER,
    description="Up to 200 letters, new with every new call: a repeat is answered the same, for a"
    " day, and done once.",
)
IF_MATCH = OpenApiParameter(
    "If-Match",
    str,
    OpenApiParameter.HEADER,
    description="The ETag of the lead as it was read: a change of somebody else is not lost.",
)
SORT = OpenApiParameter(
    "sort", str, enum=["newest", "score"], description="By score only within a band."
)
LIMIT = OpenApiParameter("limit", int, description="Rows of the page, 1 to 200; 50 otherwise.")
CURSOR = OpenApiParameter("cursor", str, description="Part of the addresses in next and previous.")


class LeadPage(serializers.Serializer):
    """One page of leads; ``next`` and ``previous`` are addresses, null at the ends."""

    next = serializers.CharField(allow_null=True)
    previous = serializers.CharField(allow_null=True)
    results = LeadRowSerializer(many=True)


def filter_parameters() -> list[OpenApiParameter]:
    """Return the filters of leads as parameters."""
    found = []
    for name, one in LeadFilters.base_filters.items():
        choices = [key for key, _ in one.extra.get("choices", ())]
        many = "Multiple" in type(one).__name__
        kind: Any = float if "Number" in type(one).__name__ else str
        found.append(
            OpenApiParameter(
                name, kind, enum=choices or None, many=many, description=f"{one.label}."
            )
        )
    return found


class KeySchema(AutoSchema):
    """Every call needs a key with the scope of its method."""

    def get_auth(self) -> list[dict[str, list[str]]]:
        view: Any = self.view
        scope = view.reads if self.method in ("GET", "HEAD") else view.writes
        self.registry.register_on_missing(_KEY)
        return [{"key": [scope]}]


_KEY = ResolvedComponent(  # type: ignore[no-untyped-call]
    "key",
    ResolvedComponent.SECURITY_SCHEMA,
    {"type": "http", "scheme": "bearer", "bearerFormat": "fl_…"},
    "key",
)


def only_api(endpoints: list[Any], **_: Any) -> list[Any]:
    """Leave webhooks out: their payloads are their senders'."""
    return [one for one in endpoints if one[0].startswith("/api/")]


@require_GET
def docs(request: HttpRequest) -> HttpResponse:
    """Page: the API in words, made from its schema; nothing of it comes from elsewhere."""
    schema: dict[str, Any] = SchemaGenerator().get_schema(  # type: ignore[no-untyped-call]
        request=None, public=True
    )
    calls = [
        {"path": path, "method": method.upper(), **call}
        for path, methods in schema["paths"].items()
        for method, call in methods.items()
    ]
    for call in calls:
        call["answers"] = sorted(call.get("responses", {}))
        call["body"] = _fields(schema, call.get("requestBody"))
    return render(request, "leads/api_docs.html", {"info": schema["info"], "calls": calls})


def _fields(schema: dict[str, Any], body: Any) -> list[dict[str, Any]]:
    """Return the members of a JSON body: name, type and what they are."""
    content = (body or {}).get("content", {})
    shape = content.get("application/json", {}).get("schema", {})
    name = shape.get("$ref", "").rpartition("/")[2]
    made = schema["components"]["schemas"].get(name, {})
    required = set(made.get("required", ()))
    return [
        {
            "name": key,
            "type": one.get("type", "object"),
            "required": key in required,
            "description": one.get("description", ""),
        }
        for key, one in made.get("properties", {}).items()
        if not one.get("readOnly")
    ]
