"""The demo's two tenants: who works there and on which numbers."""

from __future__ import annotations

import base64
from dataclasses import dataclass

#: Of every demo login. The demo refuses to run in production.
PASSWORD = "fairlead-demo"

SUPERUSER = ("platform", "Paula Platform")


@dataclass(frozen=True, kw_only=True)
class Login:
    """A person of a tenant; *role* as in ``tenants.permissions``."""

    username: str
    name: str
    role: str


@dataclass(frozen=True, kw_only=True)
class Company:
    """One demo tenant. *numbers*: worker and E.164; *legacy_number* has an unsigned URL too."""

    slug: str
    name: str
    trade: str
    time_zone: str
    api_key: str
    first_ending: int
    numbers: tuple[tuple[str, str], ...]
    legacy_number: str
    twilio_number: str
    logins: tuple[Login, ...]

    @property
    def twilio_account(self) -> str:
        """Account at the second carrier, as Twilio writes one."""
        return f"AC{self.first_ending:032d}"

    @property
    def twilio_token(self) -> str:
        return f"twilio-{self.api_key}"

    @property
    def location(self) -> str:
        """Account at the CRM."""
        return f"loc-{self.slug}"

    @property
    def pages_secret(self) -> str:
        return f"whsec_{base64.b64encode(self.slug.ljust(32, '.').encode()).decode()}"


COMPANIES = (
    Company(
        slug="harbor-homes",
        name="Harbor Homes",
        trade="homes",
        time_zone="America/New_York",
        api_key="sandbox-harbor-homes",
        first_ending=10,
        numbers=(
            ("GIANNA", "+12025550100"),
            ("CATHY", "+12025550101"),
            ("SABRINA", "+12025550102"),
            ("GIANNA", "+16175550100"),
        ),
        legacy_number="+16175550100",
        twilio_number="+16465550100",
        logins=(
            Login(username="harbor-admin", name="Hope Castellan", role="tenant_admin"),
            Login(username="harbor-operator", name="Oskar Lind", role="operator"),
            Login(username="harbor-agent", name="Ana Morel", role="agent"),
            Login(username="harbor-agent2", name="Ben Osei", role="agent"),
            Login(username="harbor-observer", name="Olive Hart", role="observer"),
        ),
    ),
    Company(
        slug="prairie-lending",
        name="Prairie Lending",
        trade="lending",
        time_zone="America/Chicago",
        api_key="sandbox-prairie-lending",
        first_ending=40,
        numbers=(
            ("GIANNA", "+14045550100"),
            ("CATHY", "+14045550101"),
            ("SABRINA", "+14045550102"),
            ("GIANNA", "+13055550100"),
        ),
        legacy_number="+13055550100",
        twilio_number="+17735550100",
        logins=(
            Login(username="prairie-admin", name="Perry Adeyemi", role="tenant_admin"),
            Login(username="prairie-operator", name="Odette Ruiz", role="operator"),
            Login(username="prairie-agent", name="Amir Katz", role="agent"),
            Login(username="prairie-agent2", name="Bo Lindqvist", role="agent"),
            Login(username="prairie-observer", name="Otis Vale", role="observer"),
        ),
    ),
)
