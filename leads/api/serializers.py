"""Leads in JSON: what programs read, and what they may say."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from leads.actions_leads import EDITABLE, EditRefused, check_fields
from leads.models import Contact, ContactPoint, Label, Lead, LeadLabel
from tenants.serializers import TenantModelSerializer, UlidSerializerField


class ScoreSerializer(serializers.Serializer):
    """The score of a lead now; its band never says whether somebody may be texted."""

    score = serializers.IntegerField()
    band = serializers.CharField()


class LabelSerializer(TenantModelSerializer):
    """A label, tag or flag."""

    class Meta:
        model = Label
        fields = ["id", "kind", "key", "name", "color"]


class LeadLabelSerializer(serializers.Serializer):
    """A label on a lead."""

    kind = serializers.ChoiceField(choices=list(Label.KINDS.items()), default="label")
    name = serializers.CharField(max_length=60)


class LeadRowSerializer(TenantModelSerializer):
    """A lead as lists show it."""

    score = ScoreSerializer(source="scored", allow_null=True, read_only=True)
    phone = serializers.CharField(allow_null=True, read_only=True)
    assigned_agent = UlidSerializerField(
        prefix="actor", source="assigned_agent_id", allow_null=True, read_only=True
    )

    class Meta:
        model = Lead
        fields = [
            "id",
            *EDITABLE,
            "source",
            "source_id",
            "state",
            "stage",
            "phone",
            "score",
            "assigned_agent",
            "flags",
            "last_response_at",
            "last_attempt_at",
            "created_at",
            "updated_at",
        ]
        read_only_fields = fields


class PointSerializer(TenantModelSerializer):
    """A phone number or e-mail address. Lists a number may be on: null is unknown."""

    contact = UlidSerializerField(
        prefix="con", source="contact_id", allow_null=True, read_only=True
    )
    value = serializers.CharField(source="normalized", read_only=True)
    is_verified = serializers.SerializerMethodField()

    class Meta:
        model = ContactPoint
        fields = [
            "id",
            "contact",
            "kind",
            "value",
            "line_type",
            "carrier",
            "dnc",
            "litigator",
            "tcpa",
            "reachable",
            "is_primary",
            "is_verified",
            "verified_at",
            "sources",
            "created_at",
        ]
        read_only_fields = fields

    def get_is_verified(self, point: ContactPoint) -> bool:
        return point.verified_at is not None


class ContactSerializer(TenantModelSerializer):
    """A person of a lead."""

    class Meta:
        model = Contact
        fields = [
            "id",
            "position",
            "first_name",
            "last_name",
            "full_name",
            "title",
            "age",
            "is_deceased",
            "is_litigator",
            "source",
            "created_at",
        ]
        read_only_fields = ["id", "position", "is_deceased", "is_litigator", "source", "created_at"]
        extra_kwargs = {"full_name": {"required": True, "allow_blank": False}}
        validators: list[Any] = []


class LeadSerializer(LeadRowSerializer):
    """A lead with how to reach it, its people and its labels."""

    contact_points = PointSerializer(many=True, read_only=True)
    contacts = ContactSerializer(many=True, read_only=True)
    labels = serializers.SerializerMethodField()

    class Meta(LeadRowSerializer.Meta):
        fields = [
            *LeadRowSerializer.Meta.fields,
            "merged_into",
            "contact_points",
            "contacts",
            "labels",
            "provenance",
        ]
        read_only_fields = fields

    merged_into = UlidSerializerField(
        prefix="lead", source="merged_into_id", allow_null=True, read_only=True
    )

    def get_labels(self, lead: Lead) -> list[dict[str, str]]:
        rows: Any = lead.labels.all()
        return [
            {"kind": row.label.kind, "key": row.label.key, "name": row.label.name}
            for row in sorted(rows, key=_by_id)
        ]


def _by_id(row: LeadLabel) -> str:
    return row.pk


class LeadEditSerializer(TenantModelSerializer):
    """What a program may change of a lead; what is left out stays."""

    class Meta:
        model = Lead
        fields: Any = EDITABLE
        validators: list[Any] = []

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        try:
            check_fields(attrs)
        except EditRefused as refused:
            raise serializers.ValidationError({refused.field: str(refused)}) from refused
        if "region" in attrs:
            attrs["region"] = attrs["region"].upper()
        return attrs


class PointInSerializer(serializers.Serializer):
    """A phone number or e-mail address, in any format."""

    kind = serializers.ChoiceField(choices=list(ContactPoint.KINDS.items()))
    value = serializers.CharField(max_length=320)
    line_type = serializers.ChoiceField(
        choices=list(ContactPoint.LINE_TYPES.items()), default="unknown"
    )
    contact = UlidSerializerField(prefix="con", required=False)


class LeadInSerializer(LeadEditSerializer):
    """A lead as a program tells it. One that is known already is brought up to date."""

    source = serializers.CharField(max_length=40, default="api")  # type: ignore[assignment]
    source_id = serializers.CharField(max_length=120, required=False)
    contact_points = PointInSerializer(many=True, required=False)

    class Meta(LeadEditSerializer.Meta):
        fields = [*EDITABLE, "source", "source_id", "contact_points"]

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        attrs = super().validate(attrs)
        if len(attrs.get("contact_points", [])) > 20:
            words = "At most 20 numbers and addresses."
            raise serializers.ValidationError({"contact_points": words})
        told = any(attrs.get(name) for name in EDITABLE) or attrs.get("source_id")
        if not told and not attrs.get("contact_points"):
            raise serializers.ValidationError("Say something of the lead: a name or a number.")
        return attrs


class TakenSerializer(serializers.Serializer):
    """What became of a lead that was told: created, updated, unchanged, blocked or review."""

    outcome = serializers.CharField()
    matched_by = serializers.CharField(allow_blank=True)
    review_id = serializers.CharField(allow_null=True)
    note = serializers.CharField(allow_blank=True)
    lead = LeadSerializer(allow_null=True)


class HitSerializer(serializers.Serializer):
    """A lead that was found, and by what."""

    found_by = serializers.CharField()
    lead = LeadRowSerializer()


class ProblemErrorSerializer(serializers.Serializer):
    """A field that is wrong, and what to do about it."""

    field = serializers.CharField()
    advice = serializers.CharField()


class ProblemSerializer(serializers.Serializer):
    """Any answer from 400 on (RFC 9457)."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField()
    correlation_id = serializers.CharField()
    errors = ProblemErrorSerializer(many=True, required=False)  # type: ignore[assignment]
