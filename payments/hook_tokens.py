"""The secret in a callback's address: what it may speak of.

A token is a random 128-bit nonce and a signature over it, in lower-case hex: no
row id, no forbidden word. The signature is checked by arithmetic before any
database work; the payment, account or request is found by the nonce's hash, so that
the database holds no token. Each kind is signed apart: a token of one is none of
another. It is a secret like a password and is in no log.

An account's token outlives the key that signed it, for M-Pesa registers an address
once: it is also known by the hash of its whole text, for which no key is needed.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass, field
from enum import StrEnum

from django.conf import settings


NONCE_BYTES = 16
SIGNATURE_BYTES = 16


class Kind(StrEnum):
    """What a token is for."""

    STK = "stk"  # one payment
    ACCOUNT = "account"  # payments by hand into an account
    REQUEST = "request"  # the result of one request about an account


@dataclass(frozen=True, slots=True)
class HookToken:
    """A new token: the text for the address, the hashes for the row."""

    text: str = field(repr=False)
    nonce_hash: str
    text_hash: str


def issue(kind: Kind = Kind.STK) -> HookToken:
    """Make a token of a kind, signed with the first key."""
    return _made(kind, secrets.token_bytes(NONCE_BYTES))


def reissue(kind: Kind, about: str) -> HookToken:
    """Make the one token that this always gets, for who forgets it: the simulator."""
    told = f"{kind.value} of {about}".encode()
    nonce = hmac.digest(settings.HOOK_SIGNING_KEYS[0], told, "sha256")[:NONCE_BYTES]
    return _made(kind, nonce)


def verify(text: str, kind: Kind = Kind.STK) -> str | None:
    """Return the nonce's hash of a token of this kind we signed, or None.

    No database.
    """
    raw = _bytes(text)
    if raw is None:
        return None
    nonce, signature = raw[:NONCE_BYTES], raw[NONCE_BYTES:]
    good = [
        hmac.compare_digest(signature, _sign(kind, nonce, key))
        for key in settings.HOOK_SIGNING_KEYS
    ]
    return _hash(nonce) if any(good) else None


def text_hash(text: str) -> str | None:
    """Return the hash of a whole token, whoever signed it; None if it is no token."""
    raw = _bytes(text)
    return None if raw is None else _hash(raw)


def nonce_hash(text: str) -> str | None:
    """Return the hash of a token's nonce, whoever signed it; None if it is no token."""
    raw = _bytes(text)
    return None if raw is None else _hash(raw[:NONCE_BYTES])


def _made(kind: Kind, nonce: bytes) -> HookToken:
    raw = nonce + _sign(kind, nonce, settings.HOOK_SIGNING_KEYS[0])
    return HookToken(text=raw.hex(), nonce_hash=_hash(nonce), text_hash=_hash(raw))


def _bytes(text: str) -> bytes | None:
    if len(text) != 2 * (NONCE_BYTES + SIGNATURE_BYTES) or text != text.lower():
        return None
    try:
        raw = bytes.fromhex(text)
    except ValueError:
        return None
    return raw if len(raw) == NONCE_BYTES + SIGNATURE_BYTES else None


def _sign(kind: Kind, nonce: bytes, key: bytes) -> bytes:
    told = f"{kind.value} hook".encode() + nonce
    return hmac.digest(key, told, "sha256")[:SIGNATURE_BYTES]


def _hash(secret: bytes) -> str:
    return hashlib.sha256(secret).hexdigest()
