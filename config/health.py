"""Health: is the process alive, and can it serve."""

from __future__ import annotations

from django.db import Error, connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_GET


@require_GET
def healthz(request: HttpRequest) -> HttpResponse:
    """200 as long as the process answers; it looks at nothing else."""
    return HttpResponse("ok\n", content_type="text/plain")


@require_GET
def readyz(request: HttpRequest) -> JsonResponse:
    """200 with the figures of the work queue when the database answers, else 503."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT * FROM health_counts()")
            names = [column.name for column in cursor.description or ()]
            figures = dict(zip(names, cursor.fetchone() or (), strict=True))
    except Error:
        return JsonResponse({"ready": False, "database": "down"}, status=503)
    return JsonResponse({"ready": True, "database": "up", "work": figures})
