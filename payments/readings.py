"""How single values of an outside message are read: pure, strict, no trust.

One place for the rules that all messages of M-Pesa share, whichever document they
come in. What cannot be read is None or "" where a message can do without it, and
Malformed where it cannot; no other exception leaves this module, for a body of
64 KiB can hold anything: doubled keys, NaN, NUL, lone surrogates, numbers of a
thousand digits.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from smartduka.lib.clock import NAIROBI
from smartduka.lib.text import clean


RECEIPT = re.compile(r"[A-Z0-9]{8,12}")
LARGEST = Decimal(10) ** 10  # what a column holds; M-Pesa moves far less
ID_LENGTH = 64
CODE_LENGTH = 20
PARTY_LENGTH = 120


class Malformed(ValueError):
    """The message does not mean one thing."""


@dataclass(frozen=True, slots=True)
class Party:
    """One side of a transaction as M-Pesa writes it: a number, and a name.

    The number is a shortcode, or a phone that may be masked.
    """

    number: str
    name: str


def document(body: bytes) -> Any:
    """Return the JSON of a body, numbers exact. Raises Malformed.

    A key that stands twice with two values is Malformed: which one counts would
    depend on the reader.
    """
    try:
        return json.loads(
            body.decode("utf-8"),
            parse_float=Decimal,
            parse_constant=_refuse_constant,
            object_pairs_hook=_unambiguous,
        )
    except Malformed:
        raise
    except (ValueError, RecursionError, InvalidOperation) as error:
        raise Malformed(f"not JSON: {type(error).__name__}") from None


def _refuse_constant(name: str) -> None:
    raise Malformed(f"{name} is no number")


def _unambiguous(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found and not equal(found[key], value):
            raise Malformed(f"two values for {key[:40]!r}")
        found[key] = value
    return found


def equal(one: object, other: object) -> bool:
    """Whether two JSON values are the same, of the same type."""
    return type(one) is type(other) and one == other


def member(value: Any, *keys: str) -> dict[str, Any]:
    """Return the object at the end of these keys. Raises Malformed."""
    for key in keys:
        if not isinstance(value, dict) or key not in value:
            raise Malformed(f"no {key}")
        value = value[key]
    if not isinstance(value, dict):
        raise Malformed(f"{keys[-1] if keys else 'the body'} is no object")
    return value


def identifier(value: object) -> str:
    """Return an id of M-Pesa's, or ""."""
    if not isinstance(value, str) or len(value) > ID_LENGTH:
        return ""
    return value if value.isascii() and value.isprintable() else ""


def code(value: object, *, name: str = "ResultCode") -> str:
    """Return a code as text, whether it came as number or text. Raises Malformed."""
    if isinstance(value, bool):
        raise Malformed(f"{name} is no code")
    if isinstance(value, Decimal):
        if value.adjusted() > CODE_LENGTH or value != value.to_integral_value():
            raise Malformed(f"{name} is no code")
        value = int(value)
    if isinstance(value, int):
        value = str(value) if abs(value) < 10**CODE_LENGTH else ""
    found = clean(value).strip()
    if not found or len(found) > CODE_LENGTH or not found.isascii():
        raise Malformed(f"{name} is no code")
    return found


def amount(value: object) -> Decimal | None:
    """Return an amount in KES, exact and above zero, or None."""
    if isinstance(value, bool) or not isinstance(value, (int, str, Decimal)):
        return None
    if isinstance(value, str) and not re.fullmatch(
        r"[0-9]{1,12}(\.[0-9]{1,4})?", value
    ):
        return None
    found = Decimal(value)
    if not found.is_finite() or found.adjusted() > 10 or not 0 < found < LARGEST:
        return None
    return found


def receipt(value: object) -> str | None:
    """Return a receipt number in capitals, or None."""
    if not isinstance(value, str):
        return None
    found = value.strip().upper()
    return found if RECEIPT.fullmatch(found) else None


def digits(value: object) -> str:
    """Return a number of any length below 20 digits as text; text as it came."""
    if isinstance(value, bool):
        return ""
    if isinstance(value, int):
        return str(value) if abs(value) < 10**20 else ""
    return clean(value) if isinstance(value, str) else ""


def text(value: object, length: int) -> str:
    """Return text without blanks around it, storable, cut; "" for other types."""
    return clean(value).strip()[:length]


def moment(value: object) -> datetime | None:
    """Return `YYYYMMDDHHmmss` of East Africa Time as a moment in UTC, or None."""
    stamp = digits(value)
    if not re.fullmatch(r"[0-9]{14}", stamp):
        return None
    try:
        local = datetime.strptime(stamp, "%Y%m%d%H%M%S").replace(tzinfo=NAIROBI)
        return local.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def party(value: object) -> Party | None:
    """Return the two parts of `600984 - DUKA`, or None if there is no number.

    The number may be masked: `2547 ***** 149 - JANE`.
    """
    whole = text(value, PARTY_LENGTH)
    match = re.fullmatch(r"([0-9+*•][0-9+*• ]*)(?:\s*-\s*(.*))?", whole, re.DOTALL)
    if match is None:
        return None
    return Party(number=match[1].strip(), name=(match[2] or "").strip())
