"""Filters of lists: django-filter, taught prefixed ids."""

from __future__ import annotations

from typing import Any, ClassVar

import django_filters
from django import forms
from django.core.exceptions import ValidationError

from tenants.fields import UlidField


class UlidFormField(forms.CharField):
    """Text that must be an id of one kind; anything else is an error under the field."""

    def __init__(self, *, prefix: str, **kwargs: Any) -> None:
        self.model_field = UlidField(prefix=prefix)
        super().__init__(**kwargs)

    def clean(self, value: Any) -> str:
        text = super().clean(value)
        try:
            return self.model_field.to_python(text) or ""
        except ValidationError as error:
            raise forms.ValidationError(error.messages) from error


class UlidFilter(django_filters.Filter):
    """Filter by one id."""

    field_class = UlidFormField


class TenantFilterSet(django_filters.FilterSet):
    """Base of filter sets over the rows of a tenant: ``fields`` may name ids."""

    FILTER_DEFAULTS: ClassVar[dict[Any, Any]] = {
        **django_filters.FilterSet.FILTER_DEFAULTS,
        UlidField: {
            "filter_class": UlidFilter,
            "extra": lambda field: {"prefix": field.prefix},
        },
    }
