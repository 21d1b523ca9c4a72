"""Kenyan mobile numbers: one stored form, one masked form.

Stored as `2547XXXXXXXX` or `2541XXXXXXXX`. A prefix is no proof of the network
(numbers are portable), so none is refused for being another carrier's.
Source: portal page MpesaExpressSimulate; libphonenumber 9.0.43. Checked 2026-11-20.
"""

from __future__ import annotations

import re

from smartduka.lib.errors import DomainError


MASK = "•••"
_FORM = re.compile(r"(?:\+?254|0)?([17][0-9]{8})")
_MSISDN = re.compile(r"254[0-9]{9}")


class InvalidPhone(DomainError):
    """The text is not a Kenyan mobile number."""

    code = "MPESA_001"
    message = "This is not a Kenyan mobile number. Write it like 0712 345 678."


def parse(text: object) -> str:
    """Return the number as `254` and nine digits.

    Accepts 07…, 01…, 7…, 1…, 254… and +254…, with blanks, hyphens, dots and
    brackets. Raises InvalidPhone for anything else, also for other types.
    """
    if not isinstance(text, str) or len(text) > 40:
        raise InvalidPhone
    match = _FORM.fullmatch(re.sub(r"[\s().-]", "", text))
    if match is None:
        raise InvalidPhone
    return "254" + match[1]


def grouped(msisdn: str) -> str:
    """Return `0712 345 678` for a stored number."""
    local = "0" + msisdn[3:]
    return f"{local[:4]} {local[4:7]} {local[7:]}"


def masked(msisdn: str) -> str:
    """Return `0712 ••• 678`, or what there is when it is no stored number."""
    if not _MSISDN.fullmatch(msisdn or ""):
        return MASK if msisdn else ""
    local = "0" + msisdn[3:]
    return f"{local[:4]} {MASK} {local[7:]}"
