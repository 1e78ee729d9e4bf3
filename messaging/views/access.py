"""Who may see a page, and the rows of this tenant that a URL names."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from django.core.exceptions import ObjectDoesNotExist, PermissionDenied, ValidationError
from django.db.models import Model, QuerySet
from django.http import Http404, HttpResponse
from django.utils import timezone

from messaging.views.shell import Bell
from tenants.http import TenantRequest
from tenants.permissions import View, requires

Row = TypeVar("Row", bound=Model)


def door(permission: str) -> Callable[[View], View]:
    """Let only actors with *permission* through, in their tenant's time zone.

    A page of a stranger is sent to log in; a fragment gets 401, which the page knows how to say.
    """

    def decorate(view: View) -> View:
        guarded = requires(permission)(_in_tenant_zone(view))

        @wraps(view)
        def opened(request: TenantRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            if request.headers.get("HX-Request") and not request.user.is_authenticated:
                return HttpResponse("Log in again.", status=401)
            return guarded(request, *args, **kwargs)

        return opened

    return decorate


def _in_tenant_zone(view: View) -> View:
    def zoned(request: TenantRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        with timezone.override(ZoneInfo(request.tenant.time_zone)):
            return view(request, *args, **kwargs)

    return zoned


def found(rows: QuerySet[Row], row_id: str) -> Row:
    """Return the row with *row_id*; one of another tenant, kind or none at all is a 404."""
    try:
        return rows.get(pk=row_id)
    except (ObjectDoesNotExist, ValidationError, ValueError) as error:
        raise Http404 from error


def bell_or_404(bells: list[Bell], key: str) -> Bell:
    """Return the stage *key* among *bells*."""
    for bell in bells:
        if bell.key == key:
            return bell
    raise Http404


def refuse_observers(bell: Bell, request: TenantRequest) -> None:
    """Raise when a person only watches this stage; the lower of the two roles wins."""
    if not bell.may_reply(request.actor):
        raise PermissionDenied(
            f"You watch {bell.label}, you do not work it. A tenant admin can change that."
        )
