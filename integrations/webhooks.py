"""The one door every provider posts to. It translates HTTP and nothing else."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import Error
from django.http import HttpResponse
from django.utils import timezone
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from integrations.actions import attempt_is_ours, note_use, sample_rejection
from integrations.endpoints import Endpoint, EndpointsUnknown, find_endpoint
from integrations.events import BadPayload
from integrations.guesses import client_address, guesses_too_much
from integrations.intake import DatabaseAway, Intake, events_of
from integrations.models import hash_token
from integrations.providers import Delivery, Provider, SignatureState, providers
from integrations.spool import UNPROVEN, deliver, is_behind, is_open


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
    ``{"problem": "…"}``: 400 malformed and unsigned, 401 signature, 404 unknown (429 after many),
    410 retired, 411 no length, 413 too large, 415 content type, and the provider's busy status
    while the database is away and the delivery cannot be kept on this host either. A verified
    delivery that makes no sense is kept in quarantine: 202.
    """

    authentication_classes = ()  # the signature, or the token, is the proof
    permission_classes = ()
    parser_classes = (RawParser,)

    def post(self, request: Request, provider: str, token: str, attempt: str = "") -> HttpResponse:
        try:
            return self._receive(request, provider, token, attempt)
        except Refusal as refusal:
            if refusal.status == 404:
                refusal = _told_to_a_guesser(request, refusal)
            return Response(
                {"problem": str(refusal)}, status=refusal.status, headers=refusal.headers
            )

    def _receive(self, request: Request, name: str, token: str, attempt: str) -> HttpResponse:
        endpoint = _endpoint(name, _provider(name), token)
        provider = providers[name](endpoint.config)
        delivery = _read(request, provider)
        state, secret_no = _prove(endpoint, provider, delivery, token, attempt)
        intake = Intake(
            endpoint=endpoint,
            provider=provider,
            delivery=delivery,
            parsed=provider.read(delivery.body, delivery.content_type),
            signature_state=state,
            attempt_token_hash=hash_token(attempt) if attempt else None,
        )
        if state == "unsigned":
            _refuse_malformed(intake)
        try:
            taken = deliver(intake, secret_no=secret_no)
        except DatabaseAway as error:
            raise _busy(provider) from error
        if taken.outcome == "spooled":
            return accepted(provider, taken.event_id, is_new=True)
        if taken.outcome == "retired":  # a moment ago; what was remembered did not know
            raise _gone()
        note_use(endpoint, secret_no=secret_no, destination=taken.destination)
        return accepted(provider, taken.event_id, is_new=taken.outcome != "duplicate")


def accepted(provider: Provider, event_id: str, *, is_new: bool) -> HttpResponse:
    """Return the answer this sender expects to a delivery that is safe with us."""
    if provider.acknowledgement is not None:
        body, content_type = provider.acknowledgement
        return HttpResponse(body, content_type=content_type)
    return Response({"id": event_id}, status=202 if is_new else 200)


def _provider(name: str) -> Provider:
    if name not in providers:
        raise Refusal(404, "no such webhook")
    return providers[name]()


def _endpoint(name: str, provider: Provider, token: str, *, fresh: bool = False) -> Endpoint:
    try:
        endpoint = find_endpoint(token, fresh=fresh, is_away=is_behind())
    except EndpointsUnknown as error:
        raise _busy(provider) from error
    if endpoint is None or endpoint.provider != name:
        raise Refusal(404, "no such webhook")
    if endpoint.retired:
        raise _gone()
    return endpoint


def _told_to_a_guesser(request: Request, refusal: Refusal) -> Refusal:
    """Slow down who tries one URL after another; whoever knows one never comes here."""
    if guesses_too_much(client_address(request.META)):
        return Refusal(429, "no such webhook", Retry_After="60", Connection="close")
    return refusal


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
    return Delivery(
        body=body,
        url=settings.BASE_URL + request.get_full_path(),
        headers=headers,
        content_type=meta.get("CONTENT_TYPE", ""),
    )


def _prove(
    endpoint: Endpoint, provider: Provider, delivery: Delivery, token: str, attempt: str
) -> tuple[str, int]:
    """Return what vouches for a delivery, and which secret did; or refuse it.

    ``valid``, ``unsigned``, ``token`` or ``unproven``; secret 1 is the current one, 2 the one
    before, 0 none.
    """
    if not endpoint.signed and not attempt:
        return "unsigned", 0
    state, secret_no = _verify(endpoint, provider, delivery)
    if state == SignatureState.INVALID:  # perhaps the secret was rotated a moment ago
        endpoint = _endpoint(endpoint.provider, provider, token, fresh=True)
        state, secret_no = _verify(
            endpoint, providers[endpoint.provider](endpoint.config), delivery
        )
    if state == SignatureState.VALID:
        return "valid", secret_no
    if attempt and state == SignatureState.MISSING:
        try:
            if attempt_is_ours(endpoint, hash_token(attempt)):
                return "token", 0
        except Error as error:
            if not is_open():
                raise _busy(provider) from error
            return UNPROVEN, 0  # asked again before it counts
    sample_rejection(endpoint, delivery, reason=f"signature {state}")
    raise Refusal(401, f"signature {state}")


def _verify(
    endpoint: Endpoint, provider: Provider, delivery: Delivery
) -> tuple[SignatureState, int]:
    """Ask for each live secret by itself, so that a rotation shows which one is still in use."""
    now = timezone.now()
    if provider.has_vendor_key:
        return provider.verify(delivery, endpoint.secrets(now), now), 0
    secrets = endpoint.secrets(now)
    if not secrets:
        return provider.verify(delivery, [], now), 0
    states = [provider.verify(delivery, [secret], now) for secret in secrets]
    for secret_no, state in enumerate(states, 1):
        if state in (SignatureState.VALID, SignatureState.STALE):
            return state, secret_no
    return states[0], 0


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
