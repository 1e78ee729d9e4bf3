"""Imports through the API: upload a file, say go, see what became of it."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.http import Http404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.parsers import MultiPartParser
from rest_framework.response import Response

from leads.api.views import PROBLEM
from leads.imports.actions import (
    ImportRefused,
    accept_warnings,
    begin,
    cancel,
    check,
    confirm,
    resume,
    undo,
)
from leads.imports.reading import UnreadableFile
from leads.models import Import
from tenants.api import ApiRequest, ApiView, Problem
from tenants.serializers import TenantModelSerializer


class ImportSerializer(TenantModelSerializer):
    """An import and its figures; ``state`` says what it waits for."""

    class Meta:
        model = Import
        fields = [
            "id",
            "name",
            "source",
            "state",
            "size",
            "checksum",
            "encoding",
            "total",
            "done",
            "created",
            "updated",
            "unchanged",
            "duplicates",
            "blocked",
            "errors",
            "reviews",
            "matched_by",
            "warnings",
            "error",
            "created_at",
            "finished_at",
        ]
        read_only_fields = fields


class UploadSerializer(serializers.Serializer):
    """A file of leads with a header; its columns are mapped as a preset or the names suggest."""

    file = serializers.FileField()
    source = serializers.CharField(max_length=40, default="upload")  # type: ignore[assignment]


STEPS: dict[str, Any] = {
    "check": check,
    "accept": accept_warnings,
    "confirm": confirm,
    "cancel": cancel,
    "resume": resume,
}


class StepSerializer(serializers.Serializer):
    """The next step: ``check`` writes no lead, ``accept`` is for warnings, ``confirm`` writes.

    ``cancel`` stops and ``resume`` goes on; ``undo``, with a reason, takes an import back.
    """

    step = serializers.ChoiceField(choices=[*STEPS, "undo"])
    reason = serializers.CharField(max_length=200, default="")


class Imports(ApiView):
    """Files that become leads."""

    reads = writes = "imports:write"
    parser_classes = (MultiPartParser,)
    is_idempotent = False  # a file is not hashed before it is read; its checksum tells repeats

    @extend_schema(
        operation_id="imports_list",
        summary="List the newest imports",
        responses={200: ImportSerializer(many=True)},
    )
    def get(self, request: ApiRequest) -> Response:
        return Response(ImportSerializer(Import.objects.order_by("-id")[:50], many=True).data)

    @extend_schema(
        operation_id="imports_create",
        summary="Upload a file of leads; nothing is written yet",
        request={"multipart/form-data": UploadSerializer},
        responses={201: ImportSerializer, 400: PROBLEM},
    )
    def post(self, request: ApiRequest) -> Response:
        body = UploadSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        file = body.validated_data["file"]
        try:
            made = begin(
                file,
                name=file.name or "upload.csv",
                source=body.validated_data["source"],
                actor_id=request.caller.actor_id,
            )
        except (UnreadableFile, ImportRefused) as error:
            raise Problem(400, str(error), errors={"file": str(error)}) from error
        return Response(ImportSerializer(made).data, status=201)


class OneImport(ApiView):
    """One import."""

    reads = writes = "imports:write"

    @extend_schema(
        operation_id="imports_read",
        summary="See how far an import is",
        responses={200: ImportSerializer, 404: PROBLEM},
    )
    def get(self, request: ApiRequest, import_id: str) -> Response:
        return Response(ImportSerializer(_one(import_id)).data)

    @extend_schema(
        operation_id="imports_step",
        summary="Check an import, confirm it, stop it, or take it back",
        request=StepSerializer,
        responses={202: ImportSerializer, 400: PROBLEM, 404: PROBLEM, 409: PROBLEM},
    )
    def post(self, request: ApiRequest, import_id: str) -> Response:
        one = _one(import_id)
        body = StepSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        step, me = body.validated_data["step"], request.caller.actor_id
        try:
            if step == "undo":
                done = undo(one.pk, reason=body.validated_data["reason"], actor_id=me)
            else:
                done = STEPS[step](one.pk, actor_id=me)
        except (ImportRefused, ValueError) as error:
            raise Problem(409, str(error)) from error
        return Response(ImportSerializer(done).data, status=202)


def _one(import_id: str) -> Import:
    try:
        return Import.objects.get(pk=import_id)
    except (Import.DoesNotExist, ValidationError, ValueError) as error:
        raise Http404 from error
