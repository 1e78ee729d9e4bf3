"""Where calls to providers may go: to public addresses, by HTTPS, and to the address checked.

The address of an API is a field that a tenant's own people fill in. Without this a name of theirs
could lead our servers to themselves, to their neighbours, or to the cloud's metadata service.
"""

from __future__ import annotations

import asyncio
import socket
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

import httpx
from django.conf import settings

#: IPv6 addresses that stand for an IPv4 address, which is the one that counts.
_NAT64 = IPv6Network("64:ff9b::/96")

Address = IPv4Address | IPv6Address


class Forbidden(Exception):
    """The call would leave for a place it must not reach; nothing was written."""


async def pin(request: httpx.Request) -> None:
    """Check where *request* goes and tie it to the very address that was checked.

    The name is resolved once: a second answer of its DNS server has no say. Development and tests,
    whose sandbox is on this machine, check nothing (``FAIRLEAD_PRIVATE_CALLS``).

    Raises:
        Forbidden: the address is none that production may call.
        OSError: the name is not known.
    """
    if settings.PRIVATE_CALLS:
        return
    host = request.url.host
    _check_url(request.url)
    found = await asyncio.get_running_loop().getaddrinfo(host, 443, type=socket.SOCK_STREAM)
    addresses = [ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
    if not addresses or not all(is_public(address) for address in addresses):
        raise Forbidden(f"{host} is no public address")
    # The certificate must still be the name's, and so must the Host header, which is set already.
    request.extensions = {**request.extensions, "sni_hostname": host}
    request.url = request.url.copy_with(host=str(addresses[0]))


def is_public(address: Address) -> bool:
    """Tell whether anybody on the internet has this address; what it embeds counts."""
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in _NAT64:
            inner = IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
        if address.teredo is not None:
            return False
    return address.is_global and not address.is_multicast


def _check_url(url: httpx.URL) -> None:
    if url.scheme != "https" or url.port not in (None, 443):
        raise Forbidden("only https on port 443 is called")
    if url.userinfo:
        raise Forbidden("an address with a login in it is not called")
    hosts = settings.API_HOSTS
    if hosts and not any(url.host == host or url.host.endswith(f".{host}") for host in hosts):
        raise Forbidden(f"{url.host} is not among FAIRLEAD_API_HOSTS")
