"""Calls of ours to addresses that strangers chose: public ones only, and the one checked."""

from __future__ import annotations

import asyncio
import socket
from ipaddress import ip_address

import httpx
import pytest

from integrations import transport
from integrations.outward import Forbidden, is_public, pin
from integrations.providers import HttpCall
from integrations.transport import NotWritten, call
from messaging.models import SendOutcome
from messaging.sender import claim, send
from tests.messaging.conftest import queue

__all__ = ["queue"]

PUBLIC, OTHER = "93.184.215.14", "1.1.1.1"


@pytest.fixture(autouse=True)
def production(settings):
    settings.PRIVATE_CALLS = False
    settings.API_HOSTS = []


@pytest.fixture
def resolver(monkeypatch):
    """A resolver that says what a test tells it to, and counts how often it is asked."""
    answers: dict[str, list[str]] = {}
    asked: list[str] = []

    async def getaddrinfo(self, host, port, **_):
        asked.append(host)
        try:
            known = [str(ip_address(host))]
        except ValueError:
            known = answers.get(host, [])
        if not known:
            raise socket.gaierror(-2, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in known]

    monkeypatch.setattr("asyncio.base_events.BaseEventLoop.getaddrinfo", getaddrinfo)
    answers["asked"] = asked
    return answers


def pinned(url):
    request = httpx.Request("GET", url)
    asyncio.run(pin(request))
    return request


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "127.9.9.9", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1",
     "169.254.169.254", "100.64.0.1", "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1",
     "fc00::1", "fd00:ec2::254", "::ffff:127.0.0.1", "::ffff:169.254.169.254",
     "64:ff9b::7f00:1", "2002:7f00:1::", "2001:0:53aa:64c::1", "ff02::1",
     "192.0.2.1", "198.18.0.1"],
)  # fmt: skip
def test_fault_47_an_address_that_is_not_public_is_not_called(resolver, address):
    resolver["api.vendor.example"] = [address]

    assert not is_public(ip_address(address))
    with pytest.raises(Forbidden):
        pinned("https://api.vendor.example/v2/messages")
    literal = f"[{address}]" if ":" in address else address
    with pytest.raises(Forbidden):
        pinned(f"https://{literal}/")


def test_fault_47_one_bad_address_among_good_ones_is_enough(resolver):
    resolver["mixed.example"] = [PUBLIC, "127.0.0.1"]

    with pytest.raises(Forbidden):
        pinned("https://mixed.example/")


@pytest.mark.parametrize("host", ["0x7f.1", "2130706433", "0177.0.0.1", "127.1"])
def test_fault_47_odd_spellings_of_this_machine(host):
    """Asked of the real resolver, which reads them as the system's calls would."""
    with pytest.raises((Forbidden, OSError, httpx.InvalidURL)):
        pinned(f"https://{host}/")


@pytest.mark.parametrize(
    "url",
    ["http://vendor.example/", "https://vendor.example:22/", "https://vendor.example:8443/",
     "https://user:pass@vendor.example/", "ftp://vendor.example/", "https://vendor.example:80/"],
)  # fmt: skip
def test_fault_47_only_https_on_its_port_and_without_a_login(resolver, url):
    resolver["vendor.example"] = [PUBLIC]

    with pytest.raises(Forbidden):
        pinned(url)


def test_fault_47_the_address_that_was_checked_is_the_one_called(resolver):
    """A name whose server answers otherwise a second time (DNS rebinding) is asked once."""
    resolver["api.vendor.example"] = [PUBLIC, OTHER]

    request = pinned("https://api.vendor.example/v2?x=1")

    assert resolver["asked"] == ["api.vendor.example"]
    assert str(request.url) == f"https://{PUBLIC}/v2?x=1"
    assert request.headers["Host"] == "api.vendor.example"
    assert (
        request.extensions["sni_hostname"] == "api.vendor.example"
    )  # whose certificate it must be


def test_fault_47_a_list_of_hosts_is_kept_to(resolver, settings):
    settings.API_HOSTS = ["vendor.example"]
    for name in ("vendor.example", "api.vendor.example", "evilvendor.example", "vendor.example.io"):
        resolver[name] = [PUBLIC]

    pinned("https://vendor.example/")
    pinned("https://api.vendor.example/")
    for name in ("evilvendor.example", "vendor.example.io"):
        with pytest.raises(Forbidden):
            pinned(f"https://{name}/")


@pytest.mark.parametrize(
    "base", ["http://127.0.0.1:8099", "https://169.254.169.254", "https://nowhere.invalid"]
)
def test_fault_47_a_call_that_may_not_go_was_not_written(resolver, base):
    with pytest.raises(NotWritten):
        call(HttpCall(method="POST", url=base, headers={}, body=b""), deadline_s=5)


def test_fault_47_a_name_that_takes_for_ever_was_not_written(monkeypatch):
    async def never(request):
        await asyncio.sleep(30)

    monkeypatch.setattr(transport, "pin", never)
    with pytest.raises(NotWritten):
        call(HttpCall(method="GET", url="https://x.example", headers={}, body=b""), deadline_s=0.2)


@pytest.mark.django_db
def test_fault_47_an_integration_that_points_inside_sends_nothing(office, queue):
    with office.inside():
        office.integration.base_url = "https://169.254.169.254/latest/meta-data"
        office.integration.save()
    queue(office)

    for one in claim(office.tenant.pk, most=5):
        send(one)

    with office.inside():
        outcome = SendOutcome.objects.get()
    assert (outcome.kind, outcome.detail) == ("not_written", "169.254.169.254 is no public address")
