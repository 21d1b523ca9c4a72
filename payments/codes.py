"""The code box: an M-Pesa message that was pasted, or a code that was typed.

Only reads. What it finds is a claim of the person who typed it, never proof: apps
make such messages, and one message is shown by a whole group. M-Pesa's own records
decide; amount and time are here to say what does not fit.
Source: wordings in use in 2025 and 2026, English and Swahili (till `paid to`,
paybill `sent to … for account`, `Umelipa … kwa`, `imetumwa kwa`); receipts by
the samples of portal pages. Checked 2026-11-21.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from smartduka.lib.clock import NAIROBI
from smartduka.lib.errors import DomainError


LONGEST = 2000
MOST_SUGGESTIONS = 8
LOOKALIKES = {"O": "0", "0": "O", "I": "1", "1": "I"}
# Year letter, month A to L, day 1 to 9 and A to V; the rest is anybody's guess.
LIKELY = re.compile(r"[A-Z][A-L][1-9A-V][A-Z0-9]{7}")
TYPED = re.compile(r"[A-Z0-9]{8,12}")

_CONFIRMED = re.compile(
    r"(?<![A-Z0-9])([A-Z0-9]{8,12})[\s.,:-]*(?:confirmed|imethibitishwa)(?![a-z])",
    re.IGNORECASE,
)
# Only where a word begins: a code may have KSH or MPESA inside.
_LOOKS_PASTED = re.compile(
    r"confirmed|imethibitishwa|(?<![A-Z0-9])(?:ksh|m-?pesa)", re.IGNORECASE
)
_KSH = r"(?:(?:Kshs?|KES)\.?\s*){1,2}"
_SUM = r"(?P<sum>[0-9]{1,3}(?:,[0-9]{3})+|[0-9]{1,9})(?P<cents>\.[0-9]{1,2})?(?![,.]?[0-9])"
_AMOUNT = re.compile(_KSH + _SUM, re.IGNORECASE)
# What follows is about the customer's own purse.
_PURSE = re.compile(
    r"new\s+(?:m-pesa\s+)?(?:\w+\s+)?balance|baki\s+(?:yako|mpya)|salio\s+(?:lako|jipya)"
    r"|transaction cost|gharama ya",
    re.IGNORECASE,
)
_MOMENT = re.compile(
    r"(?<![0-9/])([0-9]{1,2})/([0-9]{1,2})/([0-9]{4}|[0-9]{2})(?![0-9/])"
    r"\s*(?:at|saa)?\s*([0-9]{1,2}):([0-9]{2})(?![0-9])\s*([AP]M)?",
    re.IGNORECASE,
)
_LEADING_TIME = re.compile(
    r"(?:on|tarehe)\s+" + _MOMENT.pattern + r"[\s.,]*", re.IGNORECASE
)
_UNTIL_TIME = r"(?=\s*\.?\s+(?:(?:on|tarehe|siku|mnamo)\s+)?[0-9]{1,2}/|\s*\.?\s*$)"
_PAID = re.compile(
    rf"(?:you have paid\s+|umelipa\s+|umetuma\s+)?{_KSH}{_SUM}\s+"
    r"(?:(?:has been\s+)?(?:paid|sent)\s+to|to|(?:ime|zime)(?:tumwa|lipwa)\s+kwa|kwa)\s+"
    rf"(?P<payee>.{{1,120}}?)"
    r"(?:\s+(?:for account|kwa akaunti|account)"
    rf"(?:\s+(?:number|nambari|namba|no\.?))?\s+(?P<account>.{{1,60}}?))?{_UNTIL_TIME}",
    re.IGNORECASE | re.DOTALL,
)
_OWN_PHONE = re.compile(r"\s(?:\+?254|0)[17][0-9*]{5,8}[0-9]$")
_ELSE = (
    (
        "reversed",
        re.compile(r"\brevers(?:al|ed)\b|\b(?:ime|zime)rudishwa\b", re.IGNORECASE),
        "This message says that a payment was sent back. It is no payment.",
    ),
    (
        "received",
        re.compile(r"\byou have received\b|\bumepokea\b", re.IGNORECASE),
        "This message is about money that its reader received, not paid.",
    ),
    (
        "other",
        re.compile(
            r"\bwithdraw|\byou bought\b|\bumenunua\b|\bairtime\b|\bumetoa\b"
            r"|\bgive\b|\byour account balance\b",
            re.IGNORECASE,
        ),
        "This message is not about a payment to a shop.",
    ),
)


class UnreadableCode(DomainError):
    """The text holds no code of a payment; `details["reason"]` says why in a word."""

    message = "There is no M-Pesa code in this. It has 10 letters and digits."

    def __init__(self, reason: str = "shape", message: str | None = None) -> None:
        super().__init__(message, details={"reason": reason})


@dataclass(frozen=True, slots=True)
class ReadCode:
    """What was read from the code box. Amount in KES with cents.

    `amount`, `paid_at`, `payee` and `account` only come from a message, and only if
    they were clear. `suggestions` are other spellings of a typed code (O for 0, I
    for 1): to be offered to a person, never to be tried silently.
    """

    receipt: str
    is_message: bool
    amount: Decimal | None = None
    paid_at: datetime | None = None
    payee: str = ""
    account: str = ""
    suggestions: tuple[str, ...] = ()


def read(text: str) -> ReadCode:
    """Return the code in a pasted message, or the typed one. Raises UnreadableCode."""
    plain = _plain(text)
    if not plain:
        raise UnreadableCode("empty", "Paste the M-Pesa message or type its code.")
    if len(plain) > LONGEST:
        raise UnreadableCode("too_long", "This is too long for one M-Pesa message.")
    if _LOOKS_PASTED.search(plain):
        return _read_message(plain)
    return _read_typed(plain)


def suggestions(receipt: str) -> tuple[str, ...]:
    """Return other spellings of a code, those first that M-Pesa could have made.

    O and 0, I and 1 are easily mistaken; at most four such places are turned
    together, with more of them only one at a time.
    """
    places = [place for place, sign in enumerate(receipt) if sign in LOOKALIKES]
    most = len(places) if len(places) <= 4 else 1
    found = [
        "".join(
            LOOKALIKES[sign] if place in turned else sign
            for place, sign in enumerate(receipt)
        )
        for count in range(1, most + 1)
        for turned in itertools.combinations(places, count)
    ]
    found.sort(key=lambda spelling: LIKELY.fullmatch(spelling) is None)
    return tuple(found[:MOST_SUGGESTIONS])


def _read_typed(plain: str) -> ReadCode:
    joined = re.sub(r"[\s.,:;_-]", "", plain).upper()
    if re.fullmatch(r"\+?[0-9]{8,15}", joined):
        raise UnreadableCode(
            "digits", "This is a number, not an M-Pesa code: a code has letters too."
        )
    words = " " in plain and not re.search("[0-9]", plain)
    if words or not TYPED.fullmatch(joined):
        raise UnreadableCode("shape")
    return ReadCode(joined, is_message=False, suggestions=suggestions(joined))


def _read_message(plain: str) -> ReadCode:
    found = list(_CONFIRMED.finditer(plain))
    receipts = {match[1].upper() for match in found}
    if not receipts:
        raise UnreadableCode(
            "no_code",
            "This message has no M-Pesa code. Paste it whole, with its first word.",
        )
    if len(receipts) > 1:
        raise UnreadableCode(
            "several", "These are several messages. Paste the one about this sale."
        )
    rest = plain[found[0].end() :].lstrip(" .,:")
    about = _PURSE.split(rest, maxsplit=1)[0]
    moment = _moment(rest)
    paid = _PAID.match(about) or _PAID.match(_LEADING_TIME.sub("", about))
    if paid is None:
        _refuse_other(about)
        amount = _amount(_AMOUNT.search(about))
        return ReadCode(receipts.pop(), is_message=True, amount=amount, paid_at=moment)
    payee = paid["payee"].strip(" .")
    if not paid["account"] and _OWN_PHONE.search(payee):
        raise UnreadableCode(
            "person", "This money was sent to a person's phone, not to a shop."
        )
    return ReadCode(
        receipts.pop(),
        is_message=True,
        amount=_amount(paid),
        paid_at=moment,
        payee=payee,
        account=(paid["account"] or "").strip(" ."),
    )


def _refuse_other(about: str) -> None:
    for reason, pattern, message in _ELSE:
        if pattern.search(about):
            raise UnreadableCode(reason, message)
    if not about.strip(" ."):
        raise UnreadableCode("other", _ELSE[-1][2])


def _amount(match: re.Match[str] | None) -> Decimal | None:
    if match is None:
        return None
    amount = Decimal(match["sum"].replace(",", "") + (match["cents"] or ""))
    return amount or None


def _moment(text: str) -> datetime | None:
    """Return the first date with a time in it, read as East Africa Time, in UTC."""
    match = _MOMENT.search(text)
    if match is None:
        return None
    day, month, year, hour, minute = (int(match[place]) for place in range(1, 6))
    if match[6]:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if match[6].upper() == "PM" else 0)
    year += 2000 if year < 100 else 0
    try:
        local = datetime(year, month, day, hour, minute, tzinfo=NAIROBI)
        return local.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _plain(text: str) -> str:
    """Return the text in one line, without what phones hide in it."""
    cut = unicodedata.normalize("NFKC", text[: 4 * LONGEST])
    seen = (
        " " if unicodedata.category(sign) == "Cc" else sign
        for sign in cut
        if unicodedata.category(sign) not in ("Cf", "Cs")
    )
    return " ".join("".join(seen).split())
