"""Makes the demo tenants: people, numbers, integrations, history. Repeatable."""

from __future__ import annotations

import base64
import secrets
from functools import cache

from django.contrib.auth.hashers import make_password
from django.db import transaction
from django.utils import timezone

from campaigns.actions_tenants import add_member, create_tenant, make_user
from campaigns.demo.cast import COMPANIES, PASSWORD, SUPERUSER, Company
from campaigns.demo.history import build_history
from campaigns.demo.lists import bring_list, set_up_data
from campaigns.demo.systems import connect_platform, connect_systems
from integrations.actions_accounts import add_endpoint, connect_integration
from integrations.models import Integration
from leads.models import Stage, Worker
from messaging.models import PhoneNumber
from tenants.context import tenant_context
from tenants.models import Tenant, User
from tenants.permissions import GRANTS

CARRIER = "SignalHouse (sandbox)"
GENERIC = "Website forms"
#: The sandbox takes any pace; a real number does one text a second.
RATE_PER_SECOND, BURST = 5.0, 20.0


def build_demo(*, sandbox_url: str) -> int:
    """Make what is missing of the demo; return how many leads were made, 0 the second time."""
    username, name = SUPERUSER
    if not User.objects.filter(username=username).exists():
        make_user(
            username=username,
            name=name,
            email=f"{username}@example.com",
            password_hash=password_hash(),
            is_superuser=True,
        )
    connect_platform()
    made = sum(build_company(company, sandbox_url=sandbox_url) for company in COMPANIES)
    for tenant in Tenant.objects.filter(slug__in=[company.slug for company in COMPANIES]):
        bring_list(tenant.pk)
    return made


@cache
def password_hash() -> str:
    """The one hash of all demo logins: hashing eleven times would take seconds."""
    return make_password(PASSWORD)


def build_company(company: Company, *, sandbox_url: str) -> int:
    """Make one tenant in one transaction: there is all of it, or nothing."""
    if Tenant.objects.filter(slug=company.slug).exists():
        return 0
    with transaction.atomic():
        tenant = create_tenant(slug=company.slug, name=company.name, time_zone=company.time_zone)
        hire(company, tenant)
        with tenant_context(tenant.pk):
            connect(company, sandbox_url=sandbox_url)
            connect_systems(company, sandbox_url=sandbox_url, rate=RATE_PER_SECOND, burst=BURST)
            stages = {stage.key: stage for stage in Stage.objects.select_related("worker")}
            priorities = {
                "gold": tenant.gold_label_priority,
                "email": tenant.email_priority,
                "wants_call": tenant.wants_call_priority,
            }
            made = build_history(company, now=timezone.now(), stages=stages, priorities=priorities)
            set_up_data()
            return made


def hire(company: Company, tenant: Tenant) -> None:
    """Logins and memberships; those who may configure the tenant may open the admin."""
    for login in company.logins:
        user = make_user(
            username=login.username,
            name=login.name,
            email=f"{login.username}@example.com",
            password_hash=password_hash(),
            is_staff="configure" in GRANTS[login.role],
        )
        add_member(tenant.pk, user=user, role=login.role, name=login.name)


def connect(company: Company, *, sandbox_url: str) -> None:
    """The carrier with its numbers, and a generic source; secrets come later or are made here."""
    carrier = connect_integration(
        provider="signalhouse", name=CARRIER, base_url=sandbox_url, api_key=company.api_key
    )
    add_endpoint(carrier, signed=False, our_number=company.legacy_number)
    connect_integration(provider="standard_webhooks", name=GENERIC, secret=new_generic_secret())
    workers = {worker.name: worker for worker in Worker.objects.all()}
    for name, number in company.numbers:
        PhoneNumber.objects.create(
            number=number,
            label=name.title(),
            worker=workers[name],
            integration=carrier,
            rate_per_second=RATE_PER_SECOND,
            burst=BURST,
            tokens=BURST,
        )


def new_generic_secret() -> str:
    """A Standard Webhooks secret: ``whsec_`` and 32 bytes in base 64."""
    return f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}"


def carrier_of_tenant() -> Integration:
    """The running demo tenant's account with the sandbox."""
    return Integration.objects.get(name=CARRIER)
