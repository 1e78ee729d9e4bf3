"""The shape of an e-mail address. Whether a mailbox exists is not asked here."""

from __future__ import annotations

import re
import unicodedata

from integrations.events import BadPayload

MAX_LENGTH = 254
SHAPE = re.compile(r"[^\s@<>()\[\],;:\"\\]{1,64}@[^\s@<>()\[\],;:\"\\]+\.[^\s@<>()\[\],;:\"\\]+")


def fold_email(value: object) -> str:
    """Return *value* in NFKC and lower case with an IDNA domain; dots and plus tags stay.

    Raises:
        BadPayload: *value* is no e-mail address.
    """
    if not isinstance(value, str) or len(value) > MAX_LENGTH:
        raise BadPayload("an e-mail address is expected")
    text = unicodedata.normalize("NFKC", value).strip().lower()
    local, _, domain = text.rpartition("@")
    try:
        folded = f"{local}@{domain.encode('idna').decode()}"
    except UnicodeError:
        folded = ""
    if not SHAPE.fullmatch(folded) or not folded.isprintable() or len(folded) > MAX_LENGTH:
        raise BadPayload("an e-mail address is expected")
    return folded
