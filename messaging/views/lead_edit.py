"""Editing a lead: what is known of it, its contact points, its labels; and learning more."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_http_methods, require_POST

from integrations.actions_enrich import EnrichmentRefused, start
from leads.actions_leads import (
    EDITABLE,
    EditRefused,
    LeadTaken,
    StaleEdit,
    label_leads,
    unlabel_lead,
    update_lead,
    version_of,
)
from leads.actions_people import add_point
from leads.models import Label, Lead
from messaging.views.access import door, found
from tenants.http import TenantRequest
from tenants.permissions import allows

#: Fields of the form as people read them, in groups.
GROUPS = (
    ("Person", ("first_name", "last_name", "full_name", "title", "age", "time_zone")),
    ("Company", ("company", "owner_company", "website")),
    (
        "Address",
        ("address_line1", "unit", "address_line2", "city", "region", "postal_code", "county"),
    ),
    ("Parcel", ("county_fips", "apn", "mak", "owner_occupied")),
    ("Money", ("property_value", "estimated_equity")),
)


class LeadEditForm(forms.ModelForm):
    """What a person may say of a lead; what makes leads unique is the database's to judge."""

    class Meta:
        model = Lead
        fields = EDITABLE
        labels = {"address_line1": "Street", "region": "State", "postal_code": "ZIP"}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for field in self.fields.values():
            field.widget.attrs["class"] = "input"

    def clean_region(self) -> str:
        return str(self.cleaned_data["region"]).upper()

    def validate_constraints(self) -> None:
        """Left to the database, whose answer says which other lead it is."""

    def groups(self) -> list[tuple[str, list[forms.BoundField]]]:
        return [(title, [self[name] for name in names]) for title, names in GROUPS]


@require_http_methods(["GET", "POST"])
@door("reply")
def edit(request: TenantRequest, slug: str, lead_id: str) -> HttpResponse:
    """Page: the form of a lead; saving it says that a person said so."""
    one = found(Lead.objects.filter(superseded_at=None), lead_id)
    seen = version_of(one)
    if request.method == "GET":
        return _form(request, one, LeadEditForm(instance=one), seen)
    form = LeadEditForm(request.POST, instance=Lead.objects.get(pk=one.pk))
    seen = request.POST.get("seen", "")
    if not form.is_valid():
        return _form(request, one, form, seen, status=422)
    try:
        update_lead(one.pk, fields=form.cleaned_data, seen=seen, actor_id=request.actor.pk)
    except LeadTaken as taken:
        form.add_error(None, str(taken))
        return _form(request, one, form, seen, status=409, other_id=taken.other_id)
    except StaleEdit as stale:
        form.add_error(None, str(stale))
        return _form(request, one, form, version_of(one), status=409, stale=True)
    except EditRefused as refused:
        form.add_error(refused.field if refused.field in form.fields else None, str(refused))
        return _form(request, one, form, seen, status=422)
    messages.info(request, "Saved.")
    return redirect("messaging:lead", slug, one.pk)


def _form(
    request: TenantRequest,
    one: Lead,
    form: LeadEditForm,
    seen: str,
    *,
    status: int = 200,
    other_id: str | None = None,
    stale: bool = False,
) -> HttpResponse:
    context = {
        "lead": one,
        "form": form,
        "seen": seen,
        "stale": [
            (form[name].label, value, form[name].value() or "")
            for name in EDITABLE
            if stale and str(value := getattr(one, name) or "") != str(form[name].value() or "")
        ],
        "other": Lead.objects.filter(pk=other_id).first() if other_id else None,
        "review_url": _merge_url(request, one.pk, other_id) if other_id else "",
    }
    return render(request, "leads/edit.html", context, status=status)


def _merge_url(request: TenantRequest, lead_id: str, other_id: str) -> str:
    """Return the address of the page where the two can be made one."""
    page = reverse("messaging:merge-by-hand", args=[request.tenant.slug])
    return f"{page}?{urlencode({'lead': lead_id, 'with': other_id})}"


@require_POST
@door("reply")
def point(request: TenantRequest, slug: str, lead_id: str) -> HttpResponse:
    """Add a phone number or e-mail address to a lead."""
    one = found(Lead.objects.filter(superseded_at=None), lead_id)
    try:
        row, is_new = add_point(
            one.pk,
            kind=request.POST.get("kind", ""),
            value=request.POST.get("value", ""),
            line_type=request.POST.get("line_type", "unknown"),
            actor_id=request.actor.pk,
        )
        text = f"{row.normalized} is {'added' if is_new else 'known already'}."
        messages.info(request, text)
    except EditRefused as refused:
        messages.error(request, str(refused))
    return redirect(f"{reverse('messaging:lead', args=[slug, one.pk])}?tab=reach")


@require_POST
@door("reply")
def label(request: TenantRequest, slug: str, lead_id: str) -> HttpResponse:
    """Put a label on a lead, or take one off."""
    one = found(Lead.objects.filter(superseded_at=None), lead_id)
    me = request.actor.pk
    if request.POST.get("off"):
        row = found(Label.objects.all(), request.POST["off"])
        unlabel_lead(one.pk, label_id=row.pk, actor_id=me)
        messages.info(request, f"{row.name} is taken off.")
        return redirect("messaging:lead", slug, one.pk)
    try:
        name, kind = request.POST.get("name", ""), request.POST.get("kind", "label")
        label_leads([one.pk], name=name, kind=kind, actor_id=me)
        messages.info(request, f"{name.strip()} is on it.")
    except EditRefused as refused:
        messages.error(request, str(refused))
    return redirect("messaging:lead", slug, one.pk)


@require_POST
@door("view")
def enrich(request: TenantRequest, slug: str, lead_id: str) -> HttpResponse:
    """Send a lead down the waterfall, at the price that was shown."""
    one = found(Lead.objects.filter(superseded_at=None), lead_id)
    if not allows(request.actor, "import"):
        raise PermissionDenied(
            "Your role may not spend on enrichment. A tenant admin can grant it."
        )
    try:
        start([one.pk], actor_id=request.actor.pk)
    except EnrichmentRefused as refused:
        messages.error(request, str(refused))
    else:
        messages.info(request, "Enrichment begins.")
    return redirect(f"{reverse('messaging:lead', args=[slug, one.pk])}?tab=enrichment")
