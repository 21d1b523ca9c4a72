"""Seals secrets for the database: AES-256-GCM under keys that rotate.

A token is 0x01 | key id (4) | nonce (12) | ciphertext | tag (16). The first of
MPESA_ENCRYPTION_KEYS seals, all of them open; the key id picks the key. What the
token belongs to (a row and a field) is authenticated with it, so a ciphertext copied
to another row or field does not open there. Decision 0010.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from functools import cache
from typing import Any, overload

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings
from django.core.signals import setting_changed
from django.db.models import Model


VERSION = b"\x01"
KEY_ID_BYTES = 4
NONCE_BYTES = 12
TAG_BYTES = 16
HEADER_BYTES = len(VERSION) + KEY_ID_BYTES


class Unsealable(ValueError):
    """The token is damaged, moved from elsewhere, or sealed with a key we lack."""


@dataclass(frozen=True, slots=True)
class Ring:
    """The keys in use: by id, and the header of the one that seals."""

    by_id: dict[bytes, AESGCM]
    sealing_header: bytes


@cache
def ring() -> Ring:
    """Return the keys of the settings, derived once per process."""
    by_id: dict[bytes, AESGCM] = {}
    for secret in settings.MPESA_ENCRYPTION_KEYS:
        key = HKDF(hashes.SHA256(), 32, b"smartduka", b"sealed fields").derive(secret)
        key_id = hashlib.sha256(b"key id" + key).digest()[:KEY_ID_BYTES]
        by_id.setdefault(key_id, AESGCM(key))
    return Ring(by_id, VERSION + next(iter(by_id)))


def seal(plaintext: str, *, bound_to: str) -> bytes:
    """Return the sealed text; it opens only with the same bound_to."""
    keys = ring()
    header = keys.sealing_header
    nonce = os.urandom(NONCE_BYTES)
    cipher = keys.by_id[header[len(VERSION) :]]
    sealed = cipher.encrypt(nonce, plaintext.encode(), header + bound_to.encode())
    return header + nonce + sealed


def unseal(token: bytes, *, bound_to: str) -> str:
    """Return the text that was sealed.

    Raises Unsealable, which says nothing of the contents.
    """
    token = bytes(token)
    header = token[:HEADER_BYTES]
    nonce = token[HEADER_BYTES : HEADER_BYTES + NONCE_BYTES]
    sealed = token[HEADER_BYTES + NONCE_BYTES :]
    if header[: len(VERSION)] != VERSION or len(sealed) < TAG_BYTES:
        raise Unsealable(f"{bound_to} holds no sealed value.")
    cipher = ring().by_id.get(header[len(VERSION) :])
    if cipher is None:
        raise Unsealable(f"{bound_to} is sealed with a key that is not given.")
    try:
        return cipher.decrypt(nonce, sealed, header + bound_to.encode()).decode()
    except InvalidTag as error:
        raise Unsealable(f"{bound_to} does not open: damaged or moved.") from error


def is_stale(token: bytes) -> bool:
    """Say whether the token should be sealed anew under the first key."""
    return bytes(token)[:HEADER_BYTES] != ring().sealing_header


class SealedText(property):
    """A model's secret, as text, over its BinaryField `<name>_sealed`.

    Bound to model, primary key and name, so the key must exist before the first
    write: a UUID default. "" is stored as NULL. Reading raises Unsealable. It is a
    property so that Model(passkey=...) works; it appears in no repr, and the column
    holds nothing readable for dumps and exports.
    """

    def __init__(self, name: str) -> None:
        super().__init__(doc=f"The {name}, unsealed on each reading.")
        self.name = name
        self.column = f"{name}_sealed"

    def bound_to(self, row: Model) -> str:
        if row.pk is None:
            raise ValueError(f"{self.name} cannot be sealed before its row has a key")
        return f"{row._meta.label}:{row.pk}:{self.name}"

    @overload
    def __get__(self, row: None, owner: type | None = None) -> SealedText: ...
    @overload
    def __get__(self, row: Model, owner: type | None = None) -> str: ...
    def __get__(self, row: Any, owner: type | None = None) -> Any:
        if row is None:
            return self
        token = getattr(row, self.column)
        return unseal(token, bound_to=self.bound_to(row)) if token else ""

    def __set__(self, row: Model, value: str) -> None:
        token = seal(value, bound_to=self.bound_to(row)) if value else None
        setattr(row, self.column, token)

    def opens(self, row: Model) -> bool:
        """Say whether it can be read, for pages that never show it; "" can."""
        try:
            self.__get__(row)
        except Unsealable:
            return False
        return True


def secrets_of(model: type[Model]) -> tuple[SealedText, ...]:
    """Return what the model keeps sealed."""
    own = (value for part in model.__mro__ for value in vars(part).values())
    return tuple(one for one in own if isinstance(one, SealedText))


def freshen(row: Model) -> None:
    """Seal the row's secrets anew where an old key sealed them.

    For save(): a whole row that was read before a rotation would put the old bytes
    back after it. What does not open stays as it is.
    """
    for secret in secrets_of(type(row)):
        token = getattr(row, secret.column)
        if token and is_stale(token) and secret.opens(row):
            secret.__set__(row, secret.__get__(row))


def forget_keys(*, setting: str, **_: object) -> None:
    if setting == "MPESA_ENCRYPTION_KEYS":
        ring.cache_clear()


setting_changed.connect(forget_keys)
