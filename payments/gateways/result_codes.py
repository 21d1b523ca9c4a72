"""M-Pesa's result codes: what each means, in our words, and what to do.

A code is judged twice, because the same code weighs differently: a callback is
told once and may be wrong about an unreachable phone; the answer to our own
question about the same prompt settles it. An unlisted code is never a failure.
Source: portal page MpesaExpressSimulate, the table of Dec 2025; for what it lacks,
reports from the field.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from payments.enums import FailureReason as R


class Class(StrEnum):
    """How sure a code makes us."""

    PAID = "paid"
    FINAL = "final"  # not paid, for certain
    CONFIG = "config"  # not paid, for certain, and the shop's setup is wrong
    UNCERTAIN = "uncertain"  # ask M-Pesa
    PENDING = "pending"


@dataclass(frozen=True, slots=True)
class Words:
    """One sentence for the reason, one for the remedy, in two languages."""

    reason_en: str
    remedy_en: str
    reason_sw: str
    remedy_sw: str

    def reason(self, language: str) -> str:
        """The reason in `en` or `sw`."""
        return self.reason_sw if language.startswith("sw") else self.reason_en

    def remedy(self, language: str) -> str:
        """What to do, in `en` or `sw`."""
        return self.remedy_sw if language.startswith("sw") else self.remedy_en


@dataclass(frozen=True, slots=True)
class Code:
    """One row of the table.

    `may_retry`: the same phone may be asked again. `wait_s`: M-Pesa itself
    refuses another prompt before so many seconds.
    """

    callback: Class
    query: Class
    reason: R
    words: Words
    may_retry: bool = True
    wait_s: int = 0


PAID_WORDS = Words("Paid.", "Hand over the goods.", "Imelipwa.", "Mpe mteja bidhaa.")
NO_MONEY = Words(
    "Not enough money in M-Pesa.",
    "The customer can top up and try again, or pay another way.",
    "Pesa hazitoshi kwenye M-Pesa.",
    "Mteja anaweza kuweka pesa na kujaribu tena, au alipe kwa njia nyingine.",
)
TOO_SMALL = Words(
    "The amount is too small for M-Pesa.",
    "Take cash for this sale.",
    "Kiasi ni kidogo mno kwa M-Pesa.",
    "Pokea pesa taslimu.",
)
TOO_LARGE = Words(
    "The amount is too large for one M-Pesa payment.",
    "Split it into smaller payments, or pay another way.",
    "Kiasi ni kikubwa mno kwa malipo moja ya M-Pesa.",
    "Gawanya malipo, au alipe kwa njia nyingine.",
)
AMOUNT = Words(
    "M-Pesa does not take this amount at once.",
    "Pay another way, or split it into smaller payments.",
    "M-Pesa haipokei kiasi hiki kwa mara moja.",
    "Alipe kwa njia nyingine, au gawanya malipo.",
)
DAILY_LIMIT = Words(
    "The customer reached today's M-Pesa limit.",
    "Pay another way, or from another phone.",
    "Mteja amefikia kikomo cha M-Pesa cha leo.",
    "Alipe kwa njia nyingine, au kwa simu nyingine.",
)
SHOP_FULL = Words(
    "The shop's M-Pesa account cannot take this money: it is full.",
    "Pay another way. The owner must move money out of the account.",
    "Akaunti ya M-Pesa ya duka imejaa.",
    "Alipe kwa njia nyingine. Mwenye duka aondoe pesa kwenye akaunti.",
)
CUSTOMER_ACCOUNT = Words(
    "The customer's M-Pesa account does not allow this.",
    "The customer should ask Safaricom (call 100). Pay another way.",
    "Akaunti ya M-Pesa ya mteja hairuhusu malipo haya.",
    "Mteja awasiliane na Safaricom (piga 100). Alipe kwa njia nyingine.",
)
SHOP_SETUP = Words(
    "The shop's M-Pesa setup is wrong.",
    "Take cash now and tell the owner: the M-Pesa settings need a look.",
    "Mipangilio ya M-Pesa ya duka ina hitilafu.",
    "Pokea pesa taslimu na umjulishe mwenye duka.",
)
SAME_AGAIN = Words(
    "The same amount was asked from this phone a moment ago.",
    "Check that the customer has not paid already. Try again after two minutes.",
    "Kiasi hiki kiliombwa kwa simu hii muda mfupi uliopita.",
    "Hakikisha mteja hajalipa tayari. Jaribu tena baada ya dakika mbili.",
)
BUSY_PHONE = Words(
    "Another M-Pesa request is open on this phone.",
    "Let the customer finish it, wait a minute, then try again.",
    "Kuna ombi jingine la M-Pesa kwenye simu hii.",
    "Mteja alimalize, subiri dakika moja, kisha ujaribu tena.",
)
PROMPT_LATE = Words(
    "The prompt ran out before the customer answered.",
    "Ask the customer to have the phone ready, then try again.",
    "Muda wa ombi uliisha kabla mteja kujibu.",
    "Mwambie mteja awe na simu tayari, kisha ujaribu tena.",
)
NOT_SENT = Words(
    "The prompt could not be shown on the phone.",
    "Try again in a minute, or pay another way.",
    "Ombi halikuweza kuonyeshwa kwenye simu.",
    "Jaribu tena baada ya dakika moja, au alipe kwa njia nyingine.",
)
CANCELLED = Words(
    "The customer cancelled, or did not answer in time.",
    "Ask the customer, then try again.",
    "Mteja alighairi, au hakujibu kwa wakati.",
    "Muulize mteja, kisha ujaribu tena.",
)
UNREACHABLE = Words(
    "The phone could not be reached.",
    "It must be on, with network and no call or menu open. Then try again.",
    "Simu haikupatikana.",
    "Iwe imewashwa, ina mtandao na haitumiki. Kisha jaribu tena.",
)
WRONG_PIN = Words(
    "Wrong M-Pesa PIN.",
    "The customer can try again with the right PIN.",
    "PIN ya M-Pesa si sahihi.",
    "Mteja anaweza kujaribu tena kwa PIN sahihi.",
)
PIN_LOCKED = Words(
    "The customer's M-Pesa PIN is locked.",
    "The customer must call Safaricom (100). Use another phone or cash.",
    "PIN ya M-Pesa ya mteja imefungwa.",
    "Mteja apigie Safaricom (100). Tumia simu nyingine au pesa taslimu.",
)
BUSY = Words(
    "M-Pesa is very busy.",
    "Wait a minute and try again, or take cash.",
    "M-Pesa ina shughuli nyingi.",
    "Subiri dakika moja ujaribu tena, au upokee pesa taslimu.",
)
UNKNOWN = Words(
    "Still being checked: the customer must not pay again.",
    "M-Pesa has given no clear answer yet. We keep asking.",
    "Bado inakaguliwa: mteja asilipe tena.",
    "M-Pesa haijatoa jibu kamili. Tunaendelea kuuliza.",
)
NOT_REACHED = Words(
    "M-Pesa could not be reached. The customer was not asked.",
    "Check the internet connection and try again, or take cash.",
    "M-Pesa haikupatikana. Mteja hakuombwa.",
    "Angalia mtandao ujaribu tena, au upokee pesa taslimu.",
)
NOT_PAID = Words(
    "Not paid.",
    "Try again, or pay another way.",
    "Haijalipwa.",
    "Jaribu tena, au alipe kwa njia nyingine.",
)
WAITING = Words(
    "The customer types the M-Pesa PIN.",
    "Ask the customer to check the phone.",
    "Mteja anaweka PIN ya M-Pesa.",
    "Mwambie mteja aangalie simu.",
)

F, C, U = Class.FINAL, Class.CONFIG, Class.UNCERTAIN
SUBSCRIBER_LOCKED = "1001"

TABLE: dict[str, Code] = {
    "0": Code(Class.PAID, Class.PAID, R.OTHER, PAID_WORDS, may_retry=False),
    "1": Code(F, F, R.INSUFFICIENT_FUNDS, NO_MONEY),
    "2": Code(F, F, R.AMOUNT_LIMIT, TOO_SMALL, may_retry=False),
    "3": Code(F, F, R.AMOUNT_LIMIT, TOO_LARGE, may_retry=False),
    "4": Code(F, F, R.CUSTOMER_LIMIT, DAILY_LIMIT, may_retry=False),
    "8": Code(C, C, R.SHOP_ACCOUNT, SHOP_FULL, may_retry=False),
    "11": Code(F, F, R.CUSTOMER_ACCOUNT, CUSTOMER_ACCOUNT, may_retry=False),
    "12": Code(C, C, R.SHOP_ACCOUNT, SHOP_SETUP, may_retry=False),
    "15": Code(U, U, R.OTHER, UNKNOWN),
    "17": Code(F, F, R.TOO_SOON, SAME_AGAIN, wait_s=120),
    "18": Code(C, C, R.SHOP_ACCOUNT, SHOP_SETUP, may_retry=False),
    "20": Code(C, C, R.SHOP_ACCOUNT, SHOP_SETUP, may_retry=False),
    "21": Code(C, C, R.SHOP_ACCOUNT, SHOP_SETUP, may_retry=False),
    "24": Code(U, U, R.OTHER, UNKNOWN),
    "25": Code(U, U, R.OTHER, UNKNOWN),
    "26": Code(U, F, R.MPESA_BUSY, BUSY, wait_s=60),
    "29": Code(U, U, R.OTHER, UNKNOWN),
    "1001": Code(F, F, R.TOO_SOON, BUSY_PHONE, wait_s=60),
    "1019": Code(U, F, R.PROMPT_EXPIRED, PROMPT_LATE),
    "1025": Code(F, F, R.PROMPT_NOT_SENT, NOT_SENT),
    "1031": Code(F, F, R.CANCELLED_ON_PHONE, CANCELLED),
    "1032": Code(F, F, R.CANCELLED_ON_PHONE, CANCELLED),
    "1036": Code(U, F, R.PHONE_UNREACHABLE, UNREACHABLE),
    "1037": Code(U, F, R.PHONE_UNREACHABLE, UNREACHABLE),
    "1101": Code(F, F, R.PROMPT_NOT_SENT, NOT_SENT),
    "1102": Code(F, F, R.PROMPT_NOT_SENT, NOT_SENT),
    "2001": Code(F, F, R.WRONG_PIN, WRONG_PIN),
    "2006": Code(F, F, R.CUSTOMER_ACCOUNT, CUSTOMER_ACCOUNT, may_retry=False),
    "2026": Code(U, U, R.OTHER, UNKNOWN),
    "2028": Code(C, C, R.SHOP_ACCOUNT, SHOP_SETUP, may_retry=False),
    "2029": Code(U, U, R.OTHER, UNKNOWN),
    "2033": Code(U, U, R.OTHER, UNKNOWN),
    "2040": Code(F, F, R.SHOP_ACCOUNT, SHOP_SETUP, may_retry=False),
    "2051": Code(U, U, R.OTHER, UNKNOWN),
    "4999": Code(Class.PENDING, Class.PENDING, R.OTHER, WAITING),
    "8006": Code(F, F, R.PIN_LOCKED, PIN_LOCKED, may_retry=False),
    "9999": Code(U, U, R.OTHER, UNKNOWN),
    "SFC_IC0003": Code(C, C, R.SHOP_ACCOUNT, SHOP_SETUP, may_retry=False),
    "TP40153": Code(C, C, R.SHOP_ACCOUNT, SHOP_SETUP, may_retry=False),
}
UNLISTED = Code(U, U, R.OTHER, UNKNOWN)

# What a refused push means, where no result code says more.
REASONS: dict[str, Words] = {
    R.CANCELLED_ON_PHONE: CANCELLED,
    R.INSUFFICIENT_FUNDS: NO_MONEY,
    R.WRONG_PIN: WRONG_PIN,
    R.PIN_LOCKED: PIN_LOCKED,
    R.PHONE_UNREACHABLE: UNREACHABLE,
    R.PROMPT_EXPIRED: PROMPT_LATE,
    R.AMOUNT_LIMIT: AMOUNT,
    R.CUSTOMER_LIMIT: DAILY_LIMIT,
    R.CUSTOMER_ACCOUNT: CUSTOMER_ACCOUNT,
    R.SHOP_ACCOUNT: SHOP_SETUP,
    R.TOO_SOON: BUSY_PHONE,
    R.MPESA_BUSY: BUSY,
    R.MPESA_UNREACHABLE: NOT_REACHED,
    R.PROMPT_NOT_SENT: NOT_SENT,
    R.OTHER: NOT_PAID,
}


def judge(code: str) -> Code:
    """Return the row of a code; an unlisted one is uncertain on every road."""
    return TABLE.get(code, UNLISTED)


def words(code: str, reason: str) -> Words:
    """Return the sentences for a payment with this code, or this reason."""
    if code in TABLE:
        return TABLE[code].words
    return REASONS.get(reason, NOT_PAID)
