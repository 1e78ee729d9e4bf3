"""What an actor's role allows in a tenant. Django's global permissions decide nothing here."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Protocol

from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse

View = Callable[..., HttpResponse]

_AGENT = frozenset({"view", "reply", "optout_add"})
_OPERATOR = _AGENT | {"optout_lift", "replay", "import", "configure"}

#: Role of an actor → what it may do.
GRANTS: dict[str, frozenset[str]] = {
    "observer": frozenset({"view"}),
    "agent": _AGENT,
    "operator": _OPERATOR,
    "tenant_admin": _OPERATOR | {"manage"},
}

#: Permission → sentence for the page that refuses.
WORDS = {
    "view": "look at this tenant",
    "reply": "reply, claim or move leads",
    "optout_add": "record opt-outs",
    "optout_lift": "lift an opt-out",
    "replay": "replay, release or discard work",
    "import": "import leads",
    "configure": "change settings",
    "manage": "manage people and keys",
}


class HasRole(Protocol):
    role: str
    is_active: bool


def allows(actor: HasRole | None, permission: str) -> bool:
    """Tell whether *actor* may do *permission*; nobody may do anything outside a tenant."""
    return actor is not None and actor.is_active and permission in GRANTS.get(actor.role, ())


def requires(permission: str) -> Callable[[View], View]:
    """Let only actors with *permission* through.

    Strangers are sent to log in; people without it get a 403 that says what is missing.
    """

    def decorate(view: View) -> View:
        @wraps(view)
        def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            if not allows(getattr(request, "actor", None), permission):
                raise PermissionDenied(
                    f"Your role may not {WORDS[permission]}. A tenant admin can grant it."
                )
            return view(request, *args, **kwargs)

        return login_required(guarded)

    return decorate
