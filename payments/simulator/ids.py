"""Identifiers in the forms that M-Pesa gives them (seen in 2024 to 2026)."""

from __future__ import annotations

import secrets
import string
from datetime import datetime


_RECEIPT_SIGNS = string.ascii_uppercase + string.digits
_DAY_SIGNS = "123456789ABCDEFGHIJKLMNOPQRSTUV"
_TOKEN_SIGNS = string.ascii_letters + string.digits
_YEAR_OF_T = 2025


def access_token() -> str:
    """Return 28 letters and digits."""
    return "".join(secrets.choice(_TOKEN_SIGNS) for _ in range(28))


def request_id() -> str:
    """Return what stands in the envelope of an error: 1c5b-4ba8-815c-ac45…."""
    return f"{_hex_groups()}-{secrets.token_hex(6)}{secrets.randbelow(10**7):07}"


def merchant_request_id() -> str:
    """Return such as 2654-4b64-97ff-b827b542881d3130."""
    return f"{_hex_groups()}-{secrets.token_hex(6)}{secrets.randbelow(10**4):04}"


def checkout_request_id(at: datetime, phone: str) -> str:
    """Return ws_CO_, day to second, milliseconds unpadded, nine digits of the phone."""
    return f"ws_CO_{at:%d%m%Y%H%M%S}{at.microsecond // 1000}{phone[-9:]}"


def receipt(at: datetime) -> str:
    """Return ten signs; the first three tell year, month and day."""
    year = chr(ord("T") + (at.year - _YEAR_OF_T) % 7)
    month = string.ascii_uppercase[at.month - 1]
    rest = "".join(secrets.choice(_RECEIPT_SIGNS) for _ in range(7))
    return f"{year}{month}{_DAY_SIGNS[at.day - 1]}{rest}"


def no_receipt(at: datetime) -> str:
    """Return what stands for a receipt where there is none: UAE0000000."""
    return f"{receipt(at)[:3]}0000000"


def conversation_id(at: datetime) -> str:
    """Return such as AG_20260114_201012f8c1d9e0a4b3c2."""
    return f"AG_{at:%Y%m%d}_2010{secrets.token_hex(8)}"


def _hex_groups() -> str:
    return "-".join(secrets.token_hex(2) for _ in range(3))
