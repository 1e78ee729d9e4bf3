"""The transforms a mapping row may name: a stranger's value in, ours out, or ``BadPayload``.

Units: ``money`` gives whole cents ("$1,234.50" is 123450), ``percent`` gives basis points
("95.48" and "95.48%" are 9548), times are aware and in UTC.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from math import isfinite
from typing import Any

from integrations.addresses import normalize_address
from integrations.events import BadPayload
from integrations.payloads import MAX_EPOCH_MILLISECONDS, MAX_EPOCH_SECONDS, clean

#: Whole numbers beyond this are no counts, amounts or ids; it also bounds the work.
MAX_NUMBER = 10**18
MAX_NUMBER_TEXT = 40
MAX_LIST = 200
MAX_ITEM = 200

NUMBER = re.compile(r"[-+]?(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)?(?:\.[0-9]+)?")
DIGITS_11 = re.compile(r"\+1[2-9][0-9]{9}")
CURRENCY_SIGNS = "$€£¥"
YES = frozenset({"yes", "y", "true", "t", "on", "1"})
NO = frozenset({"no", "n", "false", "f", "off", "0"})


@dataclass(frozen=True, kw_only=True)
class Transform:
    """One way to read a value. ``expects`` completes "is not …" and "expected …"."""

    label: str
    expects: str
    hint: str
    read: Callable[[Any], Any]


def as_text(value: Any) -> str:
    """Return a text or a number as clean text with its blanks.

    Raises:
        BadPayload: it is a list, an object, a yes or no, or no number at all.
    """
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, bool):
        raise BadPayload("a text is expected")
    if isinstance(value, int) and abs(value) < MAX_NUMBER:
        return str(value)
    if isinstance(value, float) and isfinite(value):
        return repr(value)
    raise BadPayload("a text is expected")


def is_blank(value: Any) -> bool:
    """Tell whether *value* is a text of blanks alone."""
    return isinstance(value, str) and not value.strip()


def _e164(value: Any) -> str:
    return normalize_address(value)


def _digits11(value: Any) -> str:
    number = normalize_address(value)
    if not DIGITS_11.fullmatch(number):
        raise BadPayload("no North American number")
    return number[1:]


def _strip_blank(value: Any) -> str:
    return as_text(value).strip()


def _number(value: Any) -> Decimal:
    text = as_text(value).strip()
    if isinstance(value, float):  # 1e-05 is no way people write a number
        text = format(Decimal(repr(value)), "f")
    if not text or len(text) > MAX_NUMBER_TEXT or not NUMBER.fullmatch(text):
        raise BadPayload("no number")
    try:
        number = Decimal(text.replace(",", ""))
    except InvalidOperation as error:  # a sign or a point alone
        raise BadPayload("no number") from error
    if abs(number) >= MAX_NUMBER:
        raise BadPayload("too large a number")
    return number


def _money(value: Any) -> int:
    if isinstance(value, str):
        text = value.strip()
        is_negative = text.startswith("-") or (text.startswith("(") and text.endswith(")"))
        text = text.strip("()").lstrip("-").strip().strip(CURRENCY_SIGNS).strip()
        value = f"-{text}" if is_negative else text
    cents = _number(value) * 100
    if cents != cents.to_integral_value() or abs(cents) >= MAX_NUMBER:
        raise BadPayload("more than two decimals")
    return int(cents)


def _percent(value: Any) -> int:
    number = _number(value.strip().removesuffix("%").strip() if isinstance(value, str) else value)
    return int((number * 100).to_integral_value(ROUND_HALF_UP))


def _int(value: Any) -> int:
    number = _number(value)
    if number != number.to_integral_value():
        raise BadPayload("no whole number")
    return int(number)


def _yes_no(value: Any) -> bool:
    word = str(value).lower() if isinstance(value, bool) else as_text(value).strip().lower()
    if word not in YES | NO:
        raise BadPayload("neither yes nor no")
    return word in YES


def _epoch(value: Any, most: int, divisor: int) -> datetime:
    seconds = _number(value) / divisor
    if not 0 < seconds * divisor < most:
        raise BadPayload("out of range")
    return datetime.fromtimestamp(float(seconds), UTC)


def _epoch_ms(value: Any) -> datetime:
    return _epoch(value, MAX_EPOCH_MILLISECONDS, 1000)


def _epoch_s(value: Any) -> datetime:
    return _epoch(value, MAX_EPOCH_SECONDS, 1)


def _moment(value: Any) -> datetime:
    try:
        return datetime.fromisoformat(as_text(value).strip())
    except ValueError as error:
        raise BadPayload("no time") from error


def _utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except (OverflowError, ValueError) as error:
        raise BadPayload("out of range") from error


def _naive_utc(value: Any) -> datetime:
    moment = _moment(value)
    return _utc(moment.replace(tzinfo=moment.tzinfo or UTC))


def _iso(value: Any) -> datetime:
    moment = _moment(value)
    if moment.tzinfo is None:
        raise BadPayload("a time without a zone")
    return _utc(moment)


def _csv_list(value: Any) -> tuple[str, ...]:
    items = value if isinstance(value, list | tuple) else as_text(value).split(",")
    texts = (as_text(item).strip()[:MAX_ITEM] for item in items[:MAX_LIST])
    return tuple(text for text in texts if text)


def _lower(value: Any) -> str:
    return as_text(value).strip().lower()


def _transform(read: Callable[[Any], Any], label: str, expects: str, hint: str) -> Transform:
    return Transform(read=read, label=label, expects=expects, hint=hint)


#: Name, as it is stored, → transform.
TRANSFORMS: dict[str, Transform] = {
    "e164": _transform(
        _e164,
        "Phone number (E.164)",
        "a phone number",
        "Gives +12025550142. Short codes and alphanumeric senders stay as they are.",
    ),
    "digits11": _transform(
        _digits11,
        "Phone number (11 digits)",
        "a North American phone number",
        "Gives 12025550142.",
    ),
    "strip_blank": _transform(
        _strip_blank,
        "Text without outer blanks",
        "a text",
        "A text of blanks alone counts as missing.",
    ),
    "epoch_ms": _transform(
        _epoch_ms, "Time: milliseconds since 1970", "milliseconds since 1970", "As 1795200000000."
    ),
    "epoch_s": _transform(
        _epoch_s, "Time: seconds since 1970", "seconds since 1970", "As 1795200000."
    ),
    "naive_utc": _transform(
        _naive_utc,
        "Time: ISO 8601, UTC when no zone is given",
        "a time such as 2026-11-20 18:40:00",
        "A zone that is given counts.",
    ),
    "iso": _transform(
        _iso,
        "Time: ISO 8601 with its zone",
        "a time with its zone, such as 2026-11-20T18:40:00Z",
        "Without a zone use the transform that assumes UTC.",
    ),
    "yes_no": _transform(
        _yes_no,
        "Yes or no",
        "yes or no",
        "Reads yes, y, true, t, on, 1 and no, n, false, f, off, 0.",
    ),
    "money": _transform(
        _money,
        "Money, in cents",
        "an amount with at most two decimals",
        "$1,234.50 gives 123450.",
    ),
    "percent": _transform(
        _percent, "Percent, in basis points", "a percentage", "95.48 or 95.48% gives 9548."
    ),
    "int": _transform(_int, "Whole number", "a whole number", "1,990 and 1990.0 give 1990."),
    "csv_list": _transform(
        _csv_list, "List, divided by commas", "a list of texts", "A list stays a list."
    ),
    "lower": _transform(_lower, "Lower case", "a text", "Without outer blanks, too."),
}
