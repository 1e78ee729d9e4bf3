"""The form of a tenant's record."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import NON_FIELD_ERRORS, ValidationError


class TenantForm(forms.ModelForm):
    """A form that checks the tenant's unique keys itself, before the database has to refuse."""

    def _get_validation_exclusions(self) -> set[str]:
        # The tenant is no field of the form; without it every unique key would go unchecked.
        return super()._get_validation_exclusions() - {"tenant"}  # type: ignore[misc]

    def _update_errors(self, errors: ValidationError) -> None:
        """Name the taken value, not the tenant that every key is led by."""
        for error in errors.error_dict.get(NON_FIELD_ERRORS, []):
            taken = (error.params or {}).get("unique_check")
            if error.code == "unique_together" and taken:
                names = [self._label(name) for name in taken if name != "tenant"]
                error.message = f"There is one with this {' and '.join(names)} already."
        super()._update_errors(errors)  # type: ignore[misc]

    def _label(self, name: str) -> str:
        field: Any = self._meta.model._meta.get_field(name)
        return str(field.verbose_name)
