"""The one definition of what there is to go to, for pages and admin alike."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, cast

from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.http import urlencode

from messaging.views.shell import Bell, Frame, bare_bells, framed
from tenants.context import broken
from tenants.http import TenantRequest
from tenants.models import PLATFORM_TENANT_ID, Actor, Membership, Tenant
from tenants.permissions import allows


@dataclass(frozen=True, kw_only=True)
class Link:
    """One row of the rail. ``stage`` is set for inboxes, which carry a badge."""

    label: str
    url: str
    icon: str
    current: bool = False
    go: str = ""
    count: int = 0
    stage: Bell | None = None

    @property
    def short_label(self) -> str:
        return self.stage.short_label if self.stage else self.label


@dataclass(frozen=True, kw_only=True)
class Group:
    label: str
    links: list[Link]


@dataclass(frozen=True, kw_only=True)
class Choice:
    value: str
    label: str
    icon: str


THEMES = [
    Choice(value="system", label="Like the system", icon="monitor"),
    Choice(value="light", label="Light", icon="sun"),
    Choice(value="dark", label="Dark", icon="moon"),
]

#: Label, icon, page and the permission that shows it.
DATA_LINKS = [
    ("Imports", "file-up", "messaging:imports", "import"),
    ("Pulls", "cloud-download", "messaging:pulls", "view"),
    ("Money", "wallet", "messaging:money", "view"),
    ("Scores", "gauge", "messaging:scores", "view"),
    ("Duplicates", "git-merge", "messaging:duplicates", "view"),
]
#: The same of what may go wrong.
HEALTH_LINKS = [
    ("Incidents", "activity", "messaging:incidents", "view"),
    ("Webhooks", "webhook", "messaging:webhooks", "replay"),
    ("Failures", "circle-alert", "messaging:failures", "replay"),
    ("Unknown texts", "hourglass", "messaging:unknowns", "replay"),
    ("Numbers", "phone", "messaging:numbers", "configure"),
    ("Integrations", "plug", "messaging:integrations", "configure"),
]
#: The same of the installation, shown to those who visit the platform's tenant.
PLATFORM_LINKS = [
    ("Unassigned", "inbox", "messaging:unassigned", "replay"),
    ("Web hosts", "database", "messaging:hosts", "replay"),
]
#: Label, icon, admin page and the permission that shows it.
ADMIN_LINKS = [
    ("Records", "database", "admin:index", "replay"),
]


@dataclass
class Shell:
    """Everything ``base.html`` shows around a page; computed when it is asked for."""

    request: HttpRequest
    themes: list[Choice] = field(default_factory=lambda: THEMES)

    @property
    def tenant(self) -> Tenant | None:
        return getattr(self.request, "tenant", None)

    @property
    def actor(self) -> Actor | None:
        return getattr(self.request, "actor", None)

    @property
    def user(self) -> Any:
        user = getattr(self.request, "user", None)
        return user if user is not None and user.is_authenticated else None

    @property
    def name(self) -> str:
        return str(self.actor or self.user or "")

    @property
    def theme(self) -> str:
        return getattr(self.user, "theme", "system")

    @property
    def density(self) -> str:
        return getattr(self.user, "density", "default")

    @property
    def shortcuts(self) -> bool:
        return getattr(self.user, "shortcuts", True)

    @cached_property
    def _frame(self) -> Frame:
        if self.actor is None or self.tenant is None:
            return Frame(bells=[])
        if broken():  # an error page: the transaction answers no more questions
            return Frame(bells=bare_bells(self.tenant.slug))
        return framed(cast(TenantRequest, self.request))

    @property
    def bells(self) -> list[Bell]:
        return self._frame.bells

    @property
    def cursor(self) -> int:
        return self._frame.cursor

    def bell(self, key: str) -> Bell | None:
        """Return the stage *key* of this tenant, or None."""
        return next((bell for bell in self.bells if bell.key == key), None)

    @cached_property
    def groups(self) -> list[Group]:
        if self.tenant is None:
            return []
        groups = [
            Group(label="", links=[self._link("Home", "house", "messaging:home", go="h")]),
            Group(label="Inboxes", links=self.stages),
            Group(
                label="Work",
                links=[
                    self._link("Leads", "users", "messaging:leads", go="l"),
                    self._link("Opt-outs", "shield-off", "messaging:optouts", go="o"),
                ],
            ),
            Group(label="Data", links=list(self._data_links())),
            Group(label="Health", links=[*self._health_links(), *self._admin_links()]),
        ]
        return [group for group in groups if group.links]

    @cached_property
    def stages(self) -> list[Link]:
        return [
            Link(
                label=bell.label,
                url=bell.url,
                icon=bell.icon,
                stage=bell,
                go=str(number),
                current=self.request.path.startswith(bell.url),
            )
            for number, bell in enumerate(self.bells, 1)
        ]

    @property
    def home_url(self) -> str:
        return self.url("messaging:home") if self.tenant else "/"

    @property
    def tenants(self) -> list[Membership]:
        """The other tenants this person may enter, as the middleware found them."""
        mine: list[Membership] = getattr(self.request, "memberships", [])
        return [other for other in mine if self.tenant is None or other.slug != self.tenant.slug]

    def url(self, name: str) -> str:
        return reverse(name, args=[self.tenant.slug] if self.tenant else [])

    @property
    def leads_url(self) -> str:
        return self.url("messaging:leads")

    @property
    def optouts_url(self) -> str:
        return self.url("messaging:optouts")

    @property
    def account_url(self) -> str:
        return self.url("messaging:account")

    @property
    def theme_url(self) -> str:
        return self.url("messaging:theme")

    @property
    def shortcuts_url(self) -> str:
        return self.url("messaging:shortcuts")

    @property
    def counters_url(self) -> str:
        return self.url("messaging:counters")

    @property
    def live_url(self) -> str:
        return f"/live/{self.tenant.slug}/" if self.tenant else ""

    @property
    def poll_url(self) -> str:
        return f"/t/{self.tenant.slug}/poll/" if self.tenant else ""

    def _link(self, label: str, icon: str, name: str, go: str = "", count: int = 0) -> Link:
        url, path = self.url(name), self.request.path
        current = path == url if name == "messaging:home" else path.startswith(url)
        return Link(label=label, url=url, icon=icon, current=current, go=go, count=count)

    def _data_links(self) -> Iterator[Link]:
        for label, icon, name, permission in DATA_LINKS:
            if allows(self.actor, permission):
                yield self._link(label, icon, name)

    def _health_links(self) -> Iterator[Link]:
        counts = {
            "messaging:incidents": self._frame.incidents,
            "messaging:failures": self._frame.dead_letters,
        }
        of_platform = self.tenant is not None and self.tenant.pk == PLATFORM_TENANT_ID
        for label, icon, name, permission in [
            *HEALTH_LINKS,
            *(PLATFORM_LINKS if of_platform else ()),
        ]:
            if allows(self.actor, permission):
                go = {"messaging:webhooks": "w", "messaging:failures": "f"}.get(name, "")
                yield self._link(label, icon, name, go=go, count=counts.get(name, 0))

    def _admin_links(self) -> Iterator[Link]:
        if self.user is None or not self.user.is_staff:
            return
        for label, icon, name, permission in ADMIN_LINKS:
            if not allows(self.actor, permission):
                continue
            try:
                yield Link(label=label, url=self._in_admin(reverse(name)), icon=icon)
            except NoReverseMatch:  # that table has no page in this admin
                continue

    def _in_admin(self, url: str) -> str:
        """Return the way to an admin page, by the choice of a tenant for those who have several."""
        if self.tenant is None or len(getattr(self.request, "memberships", [])) < 2:
            return url
        query = urlencode({"tenant": self.tenant.slug, "next": url})
        return f"{reverse('admin:choose')}?{query}"


def navigation(request: HttpRequest) -> dict[str, Any]:
    """Context processor: ``shell``, lazy, so that fragments pay nothing for it."""
    if not hasattr(request, "shell"):
        request.shell = Shell(request)  # type: ignore[attr-defined]
    return {"shell": request.shell}  # type: ignore[attr-defined]
