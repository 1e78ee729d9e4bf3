"""Every request of a person runs in one transaction, bound to one tenant."""

from __future__ import annotations

import re
from collections.abc import Callable

import structlog
from django.db import DataError, InterfaceError, OperationalError, connection, transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string

from tenants.context import broken, tenant_context
from tenants.correlation import correlated
from tenants.models import Membership, memberships_of

GetResponse = Callable[[HttpRequest], HttpResponse]

#: Doors that open their own short transactions.
OWN_TRANSACTIONS = ("/hooks/", "/api/", "/live/", "/healthz", "/readyz", "/static/")

_TENANT_PATH = re.compile(r"^/t/(?P<slug>[-a-zA-Z0-9_]+)/")

logger = structlog.get_logger(__name__)


class CorrelationMiddleware:
    """Give each request a correlation id, and its answer the same in ``X-Correlation-Id``."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        with correlated() as correlation:
            response = self.get_response(request)
            response.setdefault("X-Correlation-Id", correlation)
            return response


class TenantMiddleware:
    """Find the tenant of a request and wrap the rest of it in that tenant's transaction.

    ``/t/<slug>/`` names the tenant in the path, ``/admin/`` keeps it in the session. Sets
    ``request.tenant`` and ``request.actor``, both None where no tenant is entered. A 5xx answer
    or an exception rolls everything back.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        request.tenant = request.actor = None  # type: ignore[attr-defined]
        if request.path.startswith(OWN_TRANSACTIONS):
            return self.get_response(request)
        try:
            return self._serve(request)
        except (OperationalError, InterfaceError) as error:
            return _away(error)

    def _serve(self, request: HttpRequest) -> HttpResponse:
        membership, refusal = self._enter(request)
        if refusal is not None:
            return refusal
        if membership is None:
            with transaction.atomic():
                return self._finish(self.get_response(request))
        other = request.POST.get("_tenant")  # a slow upload must not hold a transaction open
        with tenant_context(membership.tenant_id):
            membership.load(request)
            if other and other != membership.tenant_id:
                return render(request, "409.html", status=409)
            return self._finish(self.get_response(request))

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        # Inner handlers turn it into an answer before this middleware sees it again.
        if connection.in_atomic_block:
            transaction.set_rollback(True)
        if isinstance(exception, OperationalError | InterfaceError):
            return _away(exception)
        if isinstance(exception, DataError):  # a NUL, or a number out of range, in what was sent
            logger.warning("a request could not be stored", error=str(exception))
            return _still(
                400,
                "This could not be stored",
                "It holds a character or a number that no record can keep. Nothing was changed.",
            )
        return None

    def _enter(self, request: HttpRequest) -> tuple[Membership | None, HttpResponse | None]:
        if not request.user.is_authenticated:
            return None, None
        mine = memberships_of(request.user.pk)
        request.memberships = mine  # type: ignore[attr-defined]
        if match := _TENANT_PATH.match(request.path):
            found = next((m for m in mine if m.slug == match["slug"]), None)
            if found is None:
                return None, _not_found(request)
            return found, None
        if request.path.startswith("/admin/"):
            chosen = request.session.get("tenant")
            found = next((m for m in mine if m.tenant_id == chosen), None)
            if found is None and not chosen and len(mine) == 1:
                found = mine[0]
            return found, None
        return None, None

    def _finish(self, response: HttpResponse) -> HttpResponse:
        if response.status_code >= 500:
            transaction.set_rollback(True)
        elif response.status_code < 400 and broken():
            # Otherwise the person would be told "saved", and nothing was.
            transaction.set_rollback(True)
            logger.error("a database error was swallowed; the request was rolled back")
            return HttpResponse("Nothing was saved. Please try again.", status=500)
        return response


def _away(error: Exception) -> HttpResponse:
    """Answer while the database is away, or a statement ran into its time limit."""
    logger.error("the database did not answer", error=str(error))
    answer = _still(
        503,
        "We cannot reach our database",
        "Nothing was saved, and no text was lost. Load the page again in a moment.",
    )
    answer["Retry-After"] = "5"
    return answer


def _still(status: int, title: str, text: str) -> HttpResponse:
    """Return a page that asks the database nothing."""
    page = render_to_string("_still.html", {"title": title, "text": text})
    return HttpResponse(page, status=status)


def _not_found(request: HttpRequest) -> HttpResponse:
    return render(request, "404.html", {"exception": Http404()}, status=404)
