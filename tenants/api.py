"""The door of programs: a key, one transaction of its tenant, problems in one shape.

Problems are ``application/problem+json`` (RFC 9457): ``type``, ``title``, ``status``, ``detail``,
``correlation_id`` and, where fields are wrong, ``errors``: ``[{"field": …, "advice": …}]``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any

import structlog
from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.db import DataError, Error, InterfaceError, OperationalError, connection, transaction
from django.http import Http404, HttpRequest, JsonResponse
from django.http.response import HttpResponseBase
from rest_framework import exceptions
from rest_framework.parsers import JSONParser
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from tenants.apikeys import Caller, KeyUnknown, TooManyCalls, admit
from tenants.context import broken, tenant_context
from tenants.correlation import correlation_id
from tenants.models import ApiAnswer
from tenants.ulids import new_id, to_uuid

#: Letters of an Idempotency-Key.
LONGEST_KEY = 200

logger = structlog.get_logger(__name__)


class Problem(exceptions.APIException):
    """An answer other than success, in words a program's author can act on.

    Args:
        status: HTTP status.
        detail: what is wrong.
        errors: field → what to do about it.
        headers: of the answer.
        extra: members of the problem besides, such as ids.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        errors: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        **extra: Any,
    ) -> None:
        super().__init__(detail)
        self.status_code = status
        self.errors = [{"field": name, "advice": text} for name, text in (errors or {}).items()]
        self.headers = dict(headers or {})
        self.extra = extra


def problem_body(
    status: int, detail: str, errors: Sequence[Mapping[str, str]] = (), **extra: Any
) -> dict[str, Any]:
    """Return the body of a problem."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "correlation_id": correlation_id(),
        **extra,
    }
    if errors:
        body["errors"] = list(errors)
    return body


def problem(
    status: int,
    detail: str,
    errors: Sequence[Mapping[str, str]] = (),
    headers: Mapping[str, str] | None = None,
    **extra: Any,
) -> JsonResponse:
    """Return a problem as an answer."""
    return JsonResponse(
        problem_body(status, detail, errors, **extra),
        status=status,
        content_type="application/problem+json",
        headers=headers,
    )


class ApiRequest(Request):
    """The request as views of the API see it."""

    caller: Caller


class ApiView(APIView):
    """Base of every view below ``/api/``.

    The request runs in one transaction of the tenant whose key it carries; an answer from 400 on
    rolls it back. ``reads`` and ``writes`` name the scopes that safe and other methods need. A POST
    with an ``Idempotency-Key`` is done once and answered the same for a day.
    """

    authentication_classes = ()  # the key is looked up before the tenant's transaction begins
    permission_classes = ()
    parser_classes: Any = (JSONParser,)
    renderer_classes = (JSONRenderer,)
    reads = "leads:read"
    writes = "leads:write"
    #: Whether the whole body is hashed: not for files.
    is_idempotent = True

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            caller = admit(_bearer(request))
            return self._inside(caller, request, *args, **kwargs)
        except KeyUnknown:
            words = "Send a valid key: Authorization: Bearer fl_…"
            return problem(401, words, headers={"WWW-Authenticate": "Bearer"})
        except TooManyCalls as error:
            return problem(429, str(error), headers={"Retry-After": str(error.retry_after)})
        except DataError:
            return problem(
                400, "A character or number in it cannot be stored. Nothing was changed."
            )
        except SuspiciousOperation as error:
            return problem(400, str(error))
        except (OperationalError, InterfaceError) as error:
            logger.error("the database did not answer", error=str(error))
            words = "The database does not answer. Nothing was saved: try again."
            return problem(503, words, headers={"Retry-After": "5"})
        except Exception:
            logger.exception("an API call failed")
            words = "Something went wrong on our side. Nothing was saved."
            return problem(500, words)

    def _inside(
        self, caller: Caller, request: HttpRequest, *args: Any, **kwargs: Any
    ) -> HttpResponseBase:
        with tenant_context(caller.tenant_id):
            request.caller = caller  # type: ignore[attr-defined]
            response = super().dispatch(request, *args, **kwargs)
            response["X-RateLimit-Limit"] = str(caller.per_minute)
            response["X-RateLimit-Remaining"] = str(caller.left)
            if isinstance(response, Response):
                response.render()
            if response.status_code < 400 and broken():
                raise Error("a database error was swallowed")
            if response.status_code >= 400:
                transaction.set_rollback(True)
            elif (kept := getattr(request, "kept_answer", None)) is not None:
                _keep(kept, response)
        return response

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        scope = self.reads if request.method in ("GET", "HEAD", "OPTIONS") else self.writes
        caller: Caller = request._request.caller  # type: ignore[attr-defined]
        request.caller = caller  # type: ignore[attr-defined]
        if scope not in caller.scopes:
            raise Problem(403, f"This key may not do that: it needs the scope {scope}.")
        if request.method == "POST" and self.is_idempotent:
            self._once(request, caller)

    def _once(self, request: Request, caller: Caller) -> None:
        """Answer a call that was made before as it was answered then.

        Raises:
            _Replayed: with the kept answer.
            Problem: the key was used for another call.
        """
        key = request.headers.get("Idempotency-Key")
        if key is None:
            return
        if not (0 < len(key) <= LONGEST_KEY and key.isascii() and key.isprintable()):
            raise Problem(
                400,
                "The Idempotency-Key cannot be used.",
                errors={"Idempotency-Key": f"Send 1 to {LONGEST_KEY} printable ASCII letters."},
            )
        text = f"{request.method} {request.get_full_path()}\n".encode() + request._request.body
        digest = hashlib.sha256(text).hexdigest()
        answer_id = new_id("apa")
        if _begin(answer_id, caller, key, digest):
            request._request.kept_answer = answer_id  # type: ignore[attr-defined]
            return
        kept = ApiAnswer.objects.get(api_key=caller.key_id, idempotency_key=key)
        if kept.request_hash != digest:
            raise Problem(
                422,
                "This Idempotency-Key was used for another call.",
                errors={"Idempotency-Key": "Send a new key with every new call."},
            )
        raise _Replayed(kept)

    def handle_exception(self, exc: Exception) -> Response:
        if isinstance(exc, _Replayed):
            headers = {"Idempotent-Replayed": "true"}
            response = Response(exc.answer.body, status=exc.answer.status, headers=headers)
            response.exception = False
            return response
        if connection.in_atomic_block:
            transaction.set_rollback(True)
        found = _problem_of(exc)
        if found is None:
            raise exc
        status, detail, errors, headers, extra = found
        response = Response(
            problem_body(status, detail, errors, **extra),
            status=status,
            headers=headers,
            content_type="application/problem+json",
        )
        response.exception = True
        return response


class _Replayed(Exception):
    def __init__(self, answer: ApiAnswer) -> None:
        super().__init__()
        self.answer = answer


def _bearer(request: HttpRequest) -> str:
    kind, _, text = request.headers.get("Authorization", "").partition(" ")
    if kind.lower() != "bearer" or not text.strip():
        raise KeyUnknown
    return text.strip()


_PRUNE = """
DELETE FROM api_answers WHERE tenant_id = %(owner)s AND id IN (
    SELECT id FROM api_answers WHERE tenant_id = %(owner)s AND api_key_id = %(key)s
      AND created_at < clock_timestamp() - interval '1 day' LIMIT 20 FOR UPDATE SKIP LOCKED)
"""
_BEGIN = """
INSERT INTO api_answers (tenant_id, id, api_key_id, idempotency_key, request_hash)
VALUES (%(owner)s, %(id)s, %(key)s, %(text)s, %(digest)s)
ON CONFLICT (tenant_id, api_key_id, idempotency_key) DO NOTHING
"""


def _begin(answer_id: str, caller: Caller, text: str, digest: str) -> bool:
    """Take the key for this call; another that has it is waited for. Old answers make room."""
    values: dict[str, Any] = {
        "owner": to_uuid(caller.tenant_id),
        "id": to_uuid(answer_id),
        "key": to_uuid(caller.key_id),
        "text": text,
        "digest": digest,
    }
    with connection.cursor() as cursor:
        cursor.execute(_PRUNE, values)
        cursor.execute(_BEGIN, values)
        return cursor.rowcount == 1


def _keep(answer_id: str, response: Any) -> None:
    body = json.loads(response.content) if response.content else None
    ApiAnswer.objects.filter(pk=answer_id).update(status=response.status_code, body=body)


_Found = tuple[int, str, list[dict[str, str]], dict[str, str], dict[str, Any]]


def _problem_of(error: Exception) -> _Found | None:
    """Return status, detail, errors, headers and extra members; None for what is our own fault."""
    if isinstance(error, Problem):
        return error.status_code, str(error.detail), error.errors, error.headers, error.extra
    if isinstance(error, exceptions.ValidationError):
        errors = [{"field": name, "advice": text} for name, text in flat(error.detail)]
        return 400, "Some fields cannot be taken. Nothing was changed.", errors, {}, {}
    if isinstance(error, Http404):
        return 404, "There is no such thing here.", [], {}, {}
    if isinstance(error, PermissionDenied):
        return 403, str(error) or "This key may not do that.", [], {}, {}
    if isinstance(error, exceptions.APIException):
        return error.status_code, str(error.detail), [], {}, {}
    return None


def flat(detail: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield (field, words) of DRF's nested errors: ``contact_points[0].value``."""
    if isinstance(detail, Mapping):
        for name, inner in detail.items():
            name = "" if name == "non_field_errors" else str(name)
            step = f"[{name}]" if name.isdecimal() else f".{name}" if name else ""
            yield from flat(inner, f"{path}{step}".lstrip("."))
    elif isinstance(detail, list | tuple):
        for place, inner in enumerate(detail):
            nested = isinstance(inner, Mapping | list)
            yield from flat(inner, f"{path}[{place}]" if nested else path)
    else:
        yield path, str(detail)
