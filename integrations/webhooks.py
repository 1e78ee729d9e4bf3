"""The one door every provider posts to. It translates HTTP and nothing else."""

from __future__ import annotations

from typing import Any

from django.db import Error
from django.utils import timezone
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from integrations.actions import attempt_is_ours, note_use, sample_rejection
from integrations.endpoints import Endpoint, EndpointsUnknown, find_endpoint
from integrations.events import BadPayload
from integrations.intake import DatabaseAway, Intake, events_of, take
from integrations.models import hash_token
from integrations.providers import Delivery, Provider, SignatureState, providers
from integrations.tolerant import parse_json


class Refusal(Exception):
    """An answer other than success; nothing but perhaps a sample is stored."""

    def __init__(self, status: int, problem: str, **headers: str) -> None:
        super().__init__(problem)
        self.status = status
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


class RawParser(BaseParser):
    """Leave the body alone: signatures are over raw bytes, and DRF's JSON parser may recurse."""

    media_type = "*/*"

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> Any:
        return None


class WebhookReceiver(APIView):
    """``POST /hooks/<provider>/<token>/``: verify, store, answer.

    Answers ``{"id": "wh_…"}``, 202 for a new delivery and 200 for one taken before, and otherwise
    ``{"problem": "…"}``: 400 malformed and unsigned, 401 signature, 404 unknown, 410 retired, 411
    no length, 413 too large, 415 content type, and the provider's busy status while the database
    is away. A verified delivery that makes no sense is kept in quarantine: 202.
    """

    authentication_classes = ()  # the signature, or the token, is the proof
    permission_classes = ()
    parser_classes = (RawParser,)

    def post(self, request: Request, provider: str, token: str, attempt: str = "") -> Response:
        try:
            return self._receive(request, provider, token, attempt)
        except Refusal as refusal:
            return Response(
                {"problem": str(refusal)}, status=refusal.status, headers=refusal.headers
            )

    def _receive(self, request: Request, name: str, token: str, attempt: str) -> Response:
        provider = _provider(name)
        endpoint = _endpoint(name, provider, token)
        delivery = _read(request, provider)
        state = _prove(endpoint, provider, delivery, token, attempt)
        intake = Intake(
            endpoint=endpoint,
            provider=provider,
            delivery=delivery,
            parsed=parse_json(delivery.body),
            signature_state=state,
            attempt_token_hash=hash_token(attempt) if attempt else None,
        )
        if state == "unsigned":
            _refuse_malformed(intake)
        try:
            taken = take(intake)
        except DatabaseAway as error:
            raise _busy(provider) from error
        if taken.outcome == "retired":  # a moment ago; what was remembered did not know
            raise _gone()
        note_use(endpoint)
        return Response({"id": taken.event_id}, status=200 if taken.outcome == "duplicate" else 202)


def _provider(name: str) -> Provider:
    if name not in providers:
        raise Refusal(404, "no such webhook")
    return providers[name]()


def _endpoint(name: str, provider: Provider, token: str, *, fresh: bool = False) -> Endpoint:
    try:
        endpoint = find_endpoint(token, fresh=fresh)
    except EndpointsUnknown as error:
        raise _busy(provider) from error
    if endpoint is None or endpoint.provider != name:
        raise Refusal(404, "no such webhook")
    if endpoint.retired:
        raise _gone()
    return endpoint


def _gone() -> Refusal:
    return Refusal(410, "this webhook is retired; remove it at the sender")


def _busy(provider: Provider) -> Refusal:
    return Refusal(provider.busy_status, "try again in a moment", Retry_After="5")


def _read(request: Request, provider: Provider) -> Delivery:
    """Return the raw request, within the provider's limits."""
    meta = request.META
    length = meta.get("CONTENT_LENGTH", "")
    if not length.isdecimal():  # a chunked body has none, and would be read as empty
        raise Refusal(411, "send a Content-Length")
    if not provider.accepts(meta.get("CONTENT_TYPE", "")):
        raise Refusal(415, f"send {' or '.join(provider.content_types)}")
    if meta.get("HTTP_CONTENT_ENCODING", "identity").lower() != "identity":
        raise Refusal(415, "send the body without Content-Encoding")
    if int(length) > provider.max_body:
        raise Refusal(413, f"at most {provider.max_body} bytes", Connection="close")
    try:
        body = request._request.read(provider.max_body + 1)
    except OSError as error:  # the sender hung up in the middle
        raise Refusal(400, "the body ended early") from error
    if len(body) != int(length):
        raise Refusal(400, "the body ended early")
    headers = {key: value for key, value in request.headers.items() if isinstance(value, str)}
    return Delivery(body=body, headers=headers, content_type=meta.get("CONTENT_TYPE", ""))


def _prove(
    endpoint: Endpoint, provider: Provider, delivery: Delivery, token: str, attempt: str
) -> str:
    """Return what vouches for a delivery: ``valid``, ``unsigned`` or ``token``; or refuse it."""
    if not endpoint.signed and not attempt:
        return "unsigned"
    now = timezone.now()
    state = provider.verify(delivery, endpoint.secrets(now), now)
    if state == SignatureState.INVALID:  # perhaps the secret was rotated a moment ago
        endpoint = _endpoint(endpoint.provider, provider, token, fresh=True)
        state = provider.verify(delivery, endpoint.secrets(now), now)
    if state == SignatureState.VALID:
        return "valid"
    if attempt and state == SignatureState.MISSING:
        try:
            if attempt_is_ours(endpoint, hash_token(attempt)):
                return "token"
        except Error as error:
            raise _busy(provider) from error
    sample_rejection(endpoint, delivery, reason=f"signature {state}")
    raise Refusal(401, f"signature {state}")


def _refuse_malformed(intake: Intake) -> None:
    """Without a signature nothing proves that a malformed body is worth keeping."""
    problem = intake.parsed.reason if intake.parsed.payload is None else ""
    if not problem:
        try:
            events_of(intake)
        except BadPayload as error:
            problem = str(error)
    if problem:
        sample_rejection(intake.endpoint, intake.delivery, reason="malformed")
        raise Refusal(400, problem)
