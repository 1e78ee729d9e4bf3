"""Model fields shared by every app: prefixed ULIDs, and secrets encrypted at rest."""

from __future__ import annotations

import re
import uuid
from functools import lru_cache
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django import forms
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.db import models
from django_ulid.models import ULIDField

from tenants.ulids import decode, encode, new_id

#: The two plain forms of a uuid; ``uuid.UUID`` itself takes signs, blanks and other digits as well.
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{32}", re.IGNORECASE)


class UlidField(ULIDField):
    """Id that reads ``lead_01J9ZC…`` in Python and URLs and is a ``uuid`` in PostgreSQL.

    The 16-byte column keeps ULID order, so ``ORDER BY id`` is ``ORDER BY created``. An id with
    another model's prefix, an alias letter or a wrong length raises ``ValidationError`` instead
    of matching nothing.
    """

    def __init__(self, verbose_name: str | None = None, *, prefix: str, **kwargs: Any) -> None:
        self.prefix = prefix
        if kwargs.get("primary_key"):
            kwargs.setdefault("editable", False)
            kwargs["default"] = self.new
        super().__init__(verbose_name, **kwargs)

    def new(self) -> str:
        return new_id(self.prefix)

    def deconstruct(self) -> tuple[str, str, list[Any], dict[str, Any]]:
        name, path, args, kwargs = super().deconstruct()
        if self.primary_key:
            kwargs.pop("default", None)
        kwargs["prefix"] = self.prefix
        return name, path, args, kwargs

    def to_python(self, value: Any) -> str | None:
        if value is None or value == "":
            return None
        if isinstance(value, uuid.UUID):
            return f"{self.prefix}_{encode(value.int)}"
        return f"{self.prefix}_{encode(self._number(value))}"

    def _number(self, value: Any) -> int:
        try:
            if not isinstance(value, str):
                raise ValueError(value)
            if _UUID.fullmatch(value):
                return uuid.UUID(value).int
            prefix, _, text = value.rpartition("_")
            if prefix not in ("", self.prefix):
                raise ValueError(value)
            return decode(text)
        except ValueError as error:
            raise ValidationError(
                "%(value)s is not an id of this kind: it would read %(prefix)s_01…",
                code="invalid",
                params={"value": value, "prefix": self.prefix},
            ) from error

    def from_db_value(self, value: uuid.UUID | None, *_: Any) -> str | None:
        return None if value is None else f"{self.prefix}_{encode(value.int)}"

    def get_prep_value(self, value: Any) -> str | None:
        return self.to_python(value)

    def get_db_prep_value(
        self, value: Any, connection: Any, prepared: bool = False
    ) -> uuid.UUID | None:
        text = self.to_python(value)
        return None if text is None else uuid.UUID(int=decode(text.rpartition("_")[2]))

    def value_to_string(self, obj: models.Model) -> str:
        return self.value_from_object(obj) or ""

    def formfield(self, **kwargs: Any) -> Any:
        defaults = {"form_class": forms.CharField, "max_length": 64, **kwargs}
        return models.Field.formfield(self, **defaults)


@lru_cache(maxsize=1)
def _ciphers(keys: tuple[str, ...]) -> MultiFernet:
    try:
        return MultiFernet([Fernet(key) for key in keys])
    except ValueError as error:
        raise ImproperlyConfigured(
            "FAIRLEAD_ENCRYPTION_KEYS must be Fernet keys (32 bytes, URL-safe base 64)"
        ) from error


def encrypt(text: str) -> str:
    """Encrypt with the first key of ``settings.ENCRYPTION_KEYS``."""
    return _ciphers(tuple(settings.ENCRYPTION_KEYS)).encrypt(text.encode()).decode()


def decrypt(token: str) -> str:
    """Decrypt what any key of ``settings.ENCRYPTION_KEYS`` wrote.

    Raises:
        ImproperlyConfigured: none of the keys fits.
    """
    try:
        return _ciphers(tuple(settings.ENCRYPTION_KEYS)).decrypt(token.encode()).decode()
    except InvalidToken as error:
        raise ImproperlyConfigured(
            "a stored secret cannot be read: its key is missing from FAIRLEAD_ENCRYPTION_KEYS"
        ) from error


class Secret(str):
    """A string that does not show itself: logs, error pages and ``repr`` see stars."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'" if self else "''"


class EncryptedField(models.TextField):
    """Text that is encrypted in the database and a ``Secret`` in Python; never searchable."""

    def from_db_value(self, value: str | None, *_: Any) -> Secret | None:
        return None if value is None else Secret(decrypt(value) if value else "")

    def get_prep_value(self, value: Any) -> str | None:
        if value is None:
            return None
        return encrypt(str(value)) if value else ""
