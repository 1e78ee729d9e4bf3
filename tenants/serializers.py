"""Prefixed ids in DRF: ``lead_01…`` in JSON, refused with words when they are of another kind."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError as ModelValidationError
from django.db import models
from rest_framework import serializers

from tenants.fields import UlidField


class UlidSerializerField(serializers.CharField):
    """Id of one kind of row, such as ``lead_01…``; a bare ULID is completed with its prefix."""

    def __init__(self, *, prefix: str, **kwargs: Any) -> None:
        self.model_field = UlidField(prefix=prefix)
        super().__init__(**kwargs)

    def to_internal_value(self, data: Any) -> str:
        try:
            return self.model_field.to_python(super().to_internal_value(data)) or ""
        except ModelValidationError as error:
            raise serializers.ValidationError(error.messages) from error


class TenantModelSerializer(serializers.ModelSerializer):
    """Base of serializers over the rows of a tenant: it knows prefixed ids."""

    serializer_field_mapping = {
        **serializers.ModelSerializer.serializer_field_mapping,
        UlidField: UlidSerializerField,
    }

    def build_standard_field(
        self, field_name: str, model_field: models.Field
    ) -> tuple[type[serializers.Field], dict[str, Any]]:
        field_class, kwargs = super().build_standard_field(field_name, model_field)
        if isinstance(model_field, UlidField):
            kwargs = {
                name: value
                for name, value in kwargs.items()
                if name in ("read_only", "required", "allow_null", "label", "help_text")
            }
            kwargs["prefix"] = model_field.prefix
        return field_class, kwargs
