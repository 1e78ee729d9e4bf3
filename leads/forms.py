"""Forms of leads and of how to reach them; addresses are read the way texts are."""

from __future__ import annotations

from typing import Any, ClassVar

from django import forms
from unfold.widgets import UnfoldAdminTextInputWidget

from leads.captures import normalize_email
from leads.models import ContactPoint, Lead
from tenants.admin.forms import TenantForm
from tenants.admin.search import phone_prefix


def whole_phone(text: str) -> str:
    """Return a phone number in E.164.

    Raises:
        ValidationError: *text* is no complete number.
    """
    number, whole = phone_prefix(text)
    if not whole:
        raise forms.ValidationError("Write it as 202 555 0142 or +12025550142.")
    return number


class LeadForm(TenantForm):
    """A lead's person. A new one may come with a phone number and an e-mail address."""

    phone = forms.CharField(required=False, max_length=40, widget=UnfoldAdminTextInputWidget)
    email = forms.CharField(
        label="E-mail", required=False, max_length=320, widget=UnfoldAdminTextInputWidget
    )

    class Meta:
        model = Lead
        fields: list[str] = []
        labels = {"address_line1": "Street", "region": "State"}

    def clean_phone(self) -> str:
        text = self.cleaned_data["phone"].strip()
        return whole_phone(text) if text else ""

    def clean_email(self) -> str:
        text = self.cleaned_data["email"].strip()
        folded = normalize_email(text)
        if text and not folded:
            raise forms.ValidationError("This is no e-mail address.")
        return folded


class ContactPointForm(TenantForm):
    """Reads the address the way texts and imports do."""

    clashes: ClassVar[dict[str, str]] = {
        "ux_contact_points_primary": "Another one is primary already: change that one first.",
        "contact_points_verified_by_somebody": "Say who verified it.",
    }

    class Meta:
        model = ContactPoint
        fields = ["lead", "kind", "normalized", "line_type", "is_primary"]
        labels = {"normalized": "Number or address", "is_primary": "Primary"}
        help_texts = {"normalized": ""}

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        value = cleaned.get("normalized")
        if value and cleaned.get("kind") == "phone":
            cleaned["normalized"] = whole_phone(value)
        elif value:
            folded = normalize_email(value)
            if not folded:
                raise forms.ValidationError("This is no e-mail address.")
            cleaned["normalized"] = folded
        if value:
            self.instance.raw = value
        return cleaned
