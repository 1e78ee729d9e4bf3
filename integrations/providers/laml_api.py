"""The Messages API of Twilio and of those compatible with it: calls, and what answers mean."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote, urlencode

from integrations.addresses import normalize_address
from integrations.events import BadPayload, Status
from integrations.payloads import Payload, pick, read_identifier, read_instant, read_note, read_text
from integrations.providers.base import (
    Account,
    FoundText,
    HttpCall,
    OutboundText,
    Pulled,
    PullPage,
    SendResult,
    retry_after,
)
from integrations.providers.twilio_codes import THROTTLED, error_class
from integrations.tolerant import parse_json

FORM = "application/x-www-form-urlencoded"

STATUSES: dict[str, Status] = {
    "accepted": "accepted",
    "scheduled": "accepted",
    "queued": "accepted",
    "sending": "accepted",
    "sent": "sent",
    "partially_delivered": "sent",
    "delivered": "delivered",
    "read": "delivered",
    "undelivered": "undelivered",
    "failed": "failed",
    "canceled": "failed",
}
#: Of a message that the API says it took, and that will not go out.
REFUSED = {"failed", "undelivered", "canceled"}

#: Answers that do not say whether the text was taken: the request may still be worked on.
UNDECIDED = {408, 409}

#: Texts in one page of a list: long ones must fit into the longest answer that is read.
PAGE_SIZE = 50
#: A text may be on its way this long, and what is listed is found by when it was sent.
ON_ITS_WAY = timedelta(hours=12)
#: Their clock may be behind ours by this much, and a day ends in between.
CLOCKS_DIFFER = timedelta(minutes=5)


def authorization(account: Account) -> str:
    """Return the Basic credentials of an account: its SID and its token."""
    pair = f"{account.account_id}:{account.api_key}".encode("utf-8", "replace")
    return f"Basic {b64encode(pair).decode()}"


def build_send(text: OutboundText, account: Account, root: str) -> HttpCall:
    """Return the request that sends *text*; *root* is the path before ``/Accounts``."""
    fields = {"To": text.recipient, "From": text.sender}
    service = account.settings.get("messaging_service_sid")
    if isinstance(service, str) and service:
        fields["MessagingServiceSid"] = service  # beside From, which keeps our choice of number
    fields["Body"] = text.body
    if text.status_callback_url:
        fields["StatusCallback"] = text.status_callback_url
    return HttpCall(
        method="POST",
        url=_messages_url(account, root),
        headers={
            "Authorization": authorization(account),
            "Content-Type": FORM,
            "Accept": "application/json",
        },
        body=urlencode(fields, errors="replace").encode(),
    )


def read_send(status: int, headers: Mapping[str, str], body: bytes) -> SendResult:
    """Say what the answer to ``build_send`` means; 2xx and 4xx are certain, all else is not."""
    answer = parse_json(body).payload or {}
    if 200 <= status < 300:
        return _read_accepted(answer)
    code = read_note(answer.get("code"))
    error = read_note(pick(answer, "message", "detail"))
    if status == 429 or (400 <= status < 500 and code == THROTTLED):
        return SendResult(
            kind="throttled",
            error_code=code or "429",
            error=error or "throttled",
            retry_after_s=retry_after(headers),
        )
    if 400 <= status < 500 and status not in UNDECIDED:
        return SendResult(
            kind="opted_out" if error_class(code) == "suppress" else "failed",
            error_code=code or str(status),
            error=error or f"refused with status {status}",
        )
    return SendResult(kind="ambiguous", error_code=str(status), error=error or f"answered {status}")


def build_list(fields: Mapping[str, str], account: Account, root: str) -> HttpCall:
    """Return the request for a page of the account's messages, newest first."""
    return list_page(urlencode(fields), account, root)


def list_page(query: str, account: Account, root: str) -> HttpCall:
    """Return the request for the page that *query* names.

    The address is always our own: of a "next page" only its query is followed.
    """
    return HttpCall(
        method="GET",
        url=f"{_messages_url(account, root)}?{query}",
        headers={"Authorization": authorization(account), "Accept": "application/json"},
        body=b"",
    )


def since_fields(since: datetime) -> dict[str, str]:
    """Return the filter for what was sent since; the vendor knows whole days of UTC only."""
    day = (since - CLOCKS_DIFFER).astimezone(UTC).date()
    return {"DateSent>": day.isoformat(), "PageSize": str(PAGE_SIZE)}


def read_found(status: int, body: bytes) -> list[FoundText] | None:
    """Return our texts in a list; None when it is none. What is odd in it is left out."""
    messages = read_messages(status, body)
    if messages is None:
        return None
    found = []
    for message in messages:
        known = STATUSES.get(read_note(message.get("status")).lower())
        if not is_ours(message) or known is None:
            continue
        try:
            text = FoundText(
                provider_id=read_identifier(message.get("sid"), "sid"),
                sender=_address(message.get("from")),
                recipient=normalize_address(message.get("to")),
                body=read_text(message.get("body"), "body"),
                at=read_date(pick(message, "date_created", "date_sent")),
                status=known,
                error_code=read_note(message.get("error_code")),
            )
        except BadPayload:
            continue
        found.append(text)
    return found


def read_page(status: int, body: bytes) -> PullPage | None:
    """Return a page as webhooks that could have been sent; None when the answer is no list."""
    messages = read_messages(status, body)
    if messages is None:
        return None
    following = (parse_json(body).payload or {}).get("next_page_uri")
    cursor = ""
    if following is not None:
        cursor = following.partition("?")[2] if isinstance(following, str) else ""
        if not cursor or not cursor.isascii() or not cursor.isprintable():
            return None  # there is more, and we could not ask for it
    return PullPage(items=tuple(_pulled(messages)), cursor=cursor)


def read_messages(status: int, body: bytes) -> list[Payload] | None:
    """Return the message objects of a list; None when the answer is no list."""
    messages = (parse_json(body).payload or {}).get("messages")
    if status != 200 or not isinstance(messages, list):
        return None
    return [message for message in messages if isinstance(message, Mapping)]


def is_ours(message: Payload) -> bool:
    """Tell whether a listed message went out."""
    return read_note(message.get("direction")).lower().startswith("outbound")


def read_date(value: Any) -> datetime:
    """Return a time of the API, RFC 2822 or ISO 8601, as UTC.

    Raises:
        BadPayload: it is neither.
    """
    if isinstance(value, str) and "," in value:
        try:
            moment = parsedate_to_datetime(value)
        except (ValueError, OverflowError) as error:
            raise BadPayload("a date is odd") from error
        return moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
    return read_instant(value, "date")


def _pulled(messages: list[Payload]) -> list[Pulled]:
    items = []
    for message in messages:
        status = read_note(message.get("status")).lower()
        report = STATUSES.get(status) if is_ours(message) else None
        if report is None and (is_ours(message) or status != "received"):
            continue  # a text still coming in, or in a state we do not know
        try:
            sid = read_identifier(message.get("sid"), "sid")
            at = read_date(pick(message, "date_updated" if report else "date_sent", "date_created"))
        except BadPayload:
            continue
        items.append(
            Pulled(
                key=f"{sid}:{status}",
                external_id=sid,
                body=_as_webhook(message, status, at, is_report=report is not None),
                at=at,
                is_status=report,
            )
        )
    return items


def _as_webhook(message: Payload, status: str, at: datetime, *, is_report: bool) -> bytes:
    """Return a listed message as the form that its webhook would have been.

    ``DateSent`` is added: a webhook needs no time, one made up later does.
    """
    fields = {
        "MessageSid": message.get("sid"),
        "SmsStatus": status,
        "MessageStatus": status if is_report else None,
        "From": message.get("from"),
        "To": message.get("to"),
        "Body": None if is_report else message.get("body"),
        "NumMedia": message.get("num_media"),
        "NumSegments": message.get("num_segments"),
        "ErrorCode": message.get("error_code"),
        "ErrorMessage": message.get("error_message"),
        "AccountSid": message.get("account_sid"),
        "MessagingServiceSid": message.get("messaging_service_sid"),
        "DateSent": at.isoformat(),
    }
    given = {name: value for name, value in fields.items() if isinstance(value, str | int)}
    return urlencode(given, errors="replace").encode()


def _address(value: Any) -> str:
    """Return a sender, "" where the vendor has not chosen one yet."""
    return "" if value in (None, "") else normalize_address(value)


def _messages_url(account: Account, root: str) -> str:
    owner = quote(account.account_id, safe="")
    return f"{account.base_url.rstrip('/')}{root}/Accounts/{owner}/Messages.json"


def _read_accepted(answer: Payload) -> SendResult:
    sid = read_note(answer.get("sid"))
    code = read_note(answer.get("error_code"))
    if not sid:
        return SendResult(kind="ambiguous", error="the answer names no message")
    if read_note(answer.get("status")).lower() not in REFUSED:
        return SendResult(kind="accepted", provider_id=sid)
    return SendResult(
        kind="opted_out" if error_class(code) == "suppress" else "failed",
        provider_id=sid,
        error_code=code,
        error=read_note(answer.get("error_message")) or "taken, and given up at once",
    )
