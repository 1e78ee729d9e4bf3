"""The admin's theme needs two keywords that no other page gets."""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse


class AdminCspMiddleware:
    """Loosen the Content-Security-Policy of ``/admin/`` to ``settings.ADMIN_CSP``.

    Must stand below ``CSPMiddleware``, which writes the header.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        if request.path.startswith("/admin/"):
            response._csp_replace = settings.ADMIN_CSP  # type: ignore[attr-defined]
        return response
