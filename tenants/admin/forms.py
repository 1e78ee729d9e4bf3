"""The form of a tenant's record."""

from __future__ import annotations

from typing import Any, ClassVar

from django import forms
from django.core.exceptions import NON_FIELD_ERRORS, ValidationError


class TenantForm(forms.ModelForm):
    """A form that asks every constraint of the table before the database has to refuse.

    Django asks only those whose columns are all in the form; the tenant never is, and what cannot
    be edited is not either. ``clashes`` says what a broken constraint means, by its name.
    """

    clashes: ClassVar[dict[str, str]] = {}

    def validate_unique(self) -> None:
        super().validate_unique()
        if self.errors:
            return
        try:
            self.instance.validate_constraints()
        except ValidationError as error:
            self._update_errors(error)

    def _update_errors(self, errors: ValidationError) -> None:
        """Name the taken value, not the tenant that every key is led by."""
        for error in errors.error_dict.get(NON_FIELD_ERRORS, []):
            taken = (error.params or {}).get("unique_check")
            if error.code == "unique_together" and taken:
                names = [self._label(name) for name in taken if name != "tenant"]
                error.message = f"There is one with this {' and '.join(names)} already."
            for name, words in self.clashes.items():
                if f"“{name}”" in str(error.message):
                    error.message = words
        super()._update_errors(errors)  # type: ignore[misc]

    def _label(self, name: str) -> str:
        field: Any = self._meta.model._meta.get_field(name)
        return str(field.verbose_name)
