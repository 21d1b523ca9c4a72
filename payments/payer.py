"""Payers' numbers as M-Pesa shows them: full, masked or hashed.

C2B notices carry `2547 ***** 126`, `25470****149` or the SHA-256 of the number;
statements carry `2547****0111`. None but the full number is a person's number: a
mask fits thousands of people, and a hash is only as good as the list it is compared
with. So a masked or hashed form never decides alone (law 10): it
rules a candidate out, or adds to a score beside amount and time.
Source: portal page CustomerToBusiness, FAQ 3, checked 2026-11-20.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from enum import StrEnum

from smartduka.lib import phone


LENGTH = 12
COUNTRY = "254"
MASKS = "*•xX"
_FULL = re.compile(r"254[17][0-9]{8}")
_HASH = re.compile(r"[0-9a-f]{64}", re.IGNORECASE)


class Fit(StrEnum):
    """How a number that was seen fits one that we know in full."""

    EQUAL = "equal"  # the same full number
    HASHED = "hashed"  # its hash
    VISIBLE = "visible"  # the digits that can be seen are its digits
    NO = "no"  # somebody else's
    UNKNOWN = "unknown"  # nothing can be said

    @property
    def may_be(self) -> bool:
        """Whether it is not ruled out. Never reason enough to join money."""
        return self is not Fit.NO


def fits(full_msisdn: str, seen: str) -> Fit:
    """Say how a number as M-Pesa showed it fits a full one of ours.

    `full_msisdn` is `2547XXXXXXXX` or `2541XXXXXXXX`; anything else, and anything
    that is no number, gives UNKNOWN. The count of stars is not trusted unless the
    whole is twelve places long: then each visible digit must stand in its place,
    else only the digits before the first and after the last star count. A hash that
    is not that of the number, in any spelling, is NO.
    """
    if not _FULL.fullmatch(full_msisdn):
        return Fit.UNKNOWN
    shown = _compact(seen)
    if _HASH.fullmatch(shown):
        return Fit.HASHED if shown.lower() in _hashes(full_msisdn) else Fit.NO
    known = full_number(shown)
    if known:
        return Fit.EQUAL if known == full_msisdn else Fit.NO
    if re.fullmatch(r"\+?[0-9]+", shown):
        # Another country's number is complete; a short one may be cut.
        return Fit.NO if len(shown.lstrip("+")) >= LENGTH else Fit.UNKNOWN
    return _fits_mask(full_msisdn, shown)


def full_number(seen: str) -> str:
    """Return the Kenyan number as `254` and nine digits, or "" if it is not in full."""
    try:
        return phone.parse(_compact(seen))
    except phone.InvalidPhone:
        return ""


def visible_digits(seen: str) -> int:
    """Return how many digits behind the country code a masked number shows.

    For a score: `2547 ***** 126` shows 4. A full number shows 9, a hash none.
    """
    shown = _compact(seen)
    if full_number(shown):
        return LENGTH - len(COUNTRY)
    pattern = _pattern(shown)
    if pattern is None:
        return 0
    return sum(c.isdigit() for c in pattern) - len(_common(pattern, COUNTRY))


def _fits_mask(full_msisdn: str, shown: str) -> Fit:
    pattern = _pattern(shown)
    if pattern is None or visible_digits(shown) <= 0:
        return Fit.UNKNOWN
    if len(pattern) == LENGTH:
        pairs = zip(pattern, full_msisdn, strict=True)
        fit = all(mark in ("*", digit) for mark, digit in pairs)
        return Fit.VISIBLE if fit else Fit.NO
    head, tail = pattern.partition("*")[0], pattern.rpartition("*")[2]
    if len(head) + len(tail) > LENGTH:
        return Fit.UNKNOWN
    fit = full_msisdn.startswith(head) and full_msisdn.endswith(tail)
    return Fit.VISIBLE if fit else Fit.NO


def _pattern(shown: str) -> str | None:
    """Return digits and stars, international; None if it is no masked number."""
    marked = re.sub(f"[{re.escape(MASKS)}]", "*", shown).removeprefix("+")
    if "*" not in marked or not re.fullmatch(r"[0-9*]{4,20}", marked):
        return None
    if marked.startswith("0"):
        return COUNTRY + marked[1:]
    return marked


def _common(pattern: str, prefix: str) -> str:
    """Return the part of the prefix that the pattern begins with."""
    head = pattern.partition("*")[0]
    return (
        prefix if head.startswith(prefix) else head if prefix.startswith(head) else ""
    )


def _compact(seen: str) -> str:
    if len(seen) > 100:
        return ""
    return re.sub(r"[\s().-]", "", unicodedata.normalize("NFKC", seen))


def _hashes(full_msisdn: str) -> frozenset[str]:
    """The SHA-256 of the number, in each spelling that somebody may have hashed."""
    local = full_msisdn.removeprefix(COUNTRY)
    spellings = (full_msisdn, f"+{full_msisdn}", f"0{local}", local)
    return frozenset(hashlib.sha256(text.encode()).hexdigest() for text in spellings)
