"""Kenyan phone numbers, as people type them and as Daraja wants them."""

from __future__ import annotations

import re


_ON_THE_WIRE = re.compile(r"254[17]\d{8}", re.ASCII)
_AS_TYPED = re.compile(r"(?:\+?254|0)?([17]\d{8})", re.ASCII)
_BLANKS = re.compile(r"[\s()./-]+")
# Number portability makes a prefix a hint only. Source: libphonenumber 9.0.43.
_SAFARICOM = re.compile(
    r"254(?:11\d|7[0-2]\d|74[0-35689]|75[7-9]|76[89]|79\d)\d{6}", re.ASCII
)


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
