"""One field of a body at a time, as Daraja reads them.

Numbers and strings are both accepted for every numeric field; unknown fields are
ignored. A bad one raises Refused with 400.002.02 and its name.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from payments.simulator import refusals


Body = dict[str, Any]

# From "URL Requirements" of Daraja's C2B page, checked August 2026.
FORBIDDEN_WORDS = ("m-pesa", "mpesa", "safaricom", "exe", "exec", "cmd", "sql", "query")

_SHORTCODE = re.compile(r"\d{5,7}", re.ASCII)
_AMOUNT = re.compile(r"\d{1,9}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Rules:
    """Which of the rules that Daraja applies unevenly are applied."""

    text_limits: bool = True
    require_remarks: bool = True
    url_words: bool = False
    https_only: bool = False
    eat_strict: bool = False


def text(body: Body, name: str) -> str:
    """Return a string or whole number as text, anything else as nothing."""
    value = body.get(name)
    if isinstance(value, bool) or not isinstance(value, str | int):
        return ""
    return str(value)


def field(body: Body, name: str, is_valid: Callable[[str], object] = bool) -> str:
    """Return the text of a field that must be there."""
    found = text(body, name)
    if not found or not is_valid(found):
        raise refusals.invalid(name)
    return found


def amount(body: Body) -> int:
    """Return Amount, in whole shillings from one."""
    found = int(field(body, "Amount", _AMOUNT.fullmatch))
    if found < 1:
        raise refusals.invalid("Amount")
    return found


def shortcode(body: Body, name: str) -> str:
    """Return five to seven digits."""
    return field(body, name, _SHORTCODE.fullmatch)


def word(body: Body, name: str, words: tuple[str, ...]) -> str:
    """Return a field that must be one of these words."""
    return field(body, name, lambda found: found in words)


def sentence(body: Body, name: str, *, least: int, most: int) -> str:
    """Return a field of so many signs."""
    return field(body, name, lambda found: least <= len(found.strip()) <= most)


def url(body: Body, name: str, *, rules: Rules) -> str:
    """Return an address that M-Pesa would call."""
    return field(body, name, lambda found: _is_callable(found, rules=rules))


def _is_callable(address: str, *, rules: Rules) -> bool:
    try:
        parts = urlsplit(address)
        has_host = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    schemes = ("https",) if rules.https_only else ("http", "https")
    if parts.scheme not in schemes or not has_host or re.search(r"\s", address):
        return False
    return not rules.url_words or not any(
        forbidden in address.lower() for forbidden in FORBIDDEN_WORDS
    )
