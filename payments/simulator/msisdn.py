"""Kenyan phone numbers, as people type them and as Daraja wants them."""

from __future__ import annotations

import hashlib
import re


_ON_THE_WIRE = re.compile(r"254[17]\d{8}", re.ASCII)
_AS_TYPED = re.compile(r"(?:\+?254|0)?([17]\d{8})", re.ASCII)
_BLANKS = re.compile(r"[\s()./-]+")
# Number portability makes a prefix a hint only. Source: libphonenumber 9.0.43.
_SAFARICOM = re.compile(
    r"254(?:11\d|7[0-2]\d|74[0-35689]|75[7-9]|76[89]|79\d)\d{6}", re.ASCII
)
_FIRST_NAMES = ("JANE", "JOHN", "AMINA", "PETER", "WANJIRU", "OTIENO", "FATUMA")


def is_wire_form(text: str) -> bool:
    """Say whether a number has the only form Daraja accepts, 2547… or 2541…."""
    return _ON_THE_WIRE.fullmatch(text) is not None


def normalize(text: str) -> str | None:
    """Return 254 and nine digits for any usual spelling, or None."""
    match = _AS_TYPED.fullmatch(_BLANKS.sub("", text))
    return f"254{match[1]}" if match else None


def local_form(number: str) -> str:
    """Return 0712 345 678 for 254712345678."""
    return f"0{number[3:6]} {number[6:9]} {number[9:]}"


def is_safaricom(number: str) -> bool:
    """Say whether the prefix was given to Safaricom."""
    return _SAFARICOM.fullmatch(number) is not None


def owner(number: str) -> str:
    """Return the first name of whoever has this phone; always the same one."""
    return _FIRST_NAMES[int(number) % len(_FIRST_NAMES)]


def named(number: str) -> str:
    """Return the number with the name, as M-Pesa writes parties."""
    return f"{number} - {owner(number)}"


def masked(number: str) -> str:
    """Return 2547 ***** 678, as M-Pesa hides a number since 2024."""
    return f"{number[:4]} ***** {number[-3:]}"


def masked_the_old_way(number: str) -> str:
    """Return 25471****678."""
    return f"{number[:5]}****{number[-3:]}"


def hashed(number: str) -> str:
    """Return SHA-256 in hex, as version 1 of C2B hides a number."""
    return hashlib.sha256(number.encode()).hexdigest()
