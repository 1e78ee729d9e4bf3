"""Signatures that a vendor makes with its own private key, checked with its public one."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from functools import lru_cache

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key

PublicKey = Ed25519PublicKey | RSAPublicKey


def signed_by_any(body: bytes, signature: str, pems: Iterable[str], kind: type[PublicKey]) -> bool:
    """Tell whether a key of *kind* among *pems* made the base64 *signature* over *body*."""
    try:
        given = base64.b64decode(signature, validate=True)
    except (binascii.Error, ValueError):
        return False
    keys = [key for pem in pems if isinstance(key := load_key(pem), kind)]
    return any(_is_signed(body, given, key) for key in keys)


def sign_ed25519(body: bytes, private_hex: str) -> str:
    """Return the base64 signature over *body* under a private key of 32 bytes in hex.

    Raises:
        ValueError: it is no such key.
    """
    key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(private_hex))
    return base64.b64encode(key.sign(body)).decode()


@lru_cache(maxsize=64)
def load_key(pem: str) -> PublicKey | None:
    """Return the key in *pem*; None when it holds none that we can use."""
    try:
        key = load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm):
        return None
    return key if isinstance(key, Ed25519PublicKey | RSAPublicKey) else None


def _is_signed(body: bytes, signature: bytes, key: PublicKey) -> bool:
    try:
        if isinstance(key, Ed25519PublicKey):
            key.verify(signature, body)
        else:
            key.verify(signature, body, PKCS1v15(), SHA256())
    except InvalidSignature:
        return False
    return True
