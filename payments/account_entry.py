"""What an owner typed for a till or paybill, and what is wrong with it.

Told by field and in words, before anything is stored: what can be seen from here, and
what M-Pesa says when it is asked. Secrets are in no message.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from django.conf import settings
from django.db.models import Q

from payments import accounts, connection
from payments.connection import Tested
from payments.enums import AccountType
from payments.gateways.base import Credentials
from payments.models import MpesaAccount
from shops.models import Shop
from smartduka.lib.errors import InvalidRequest
from smartduka.lib.sealing import Unsealable


# What a prompt cannot be sent without.
KEYS = ("consumer_key", "consumer_secret", "passkey")
NAMES = {
    "consumer_key": "consumer key",
    "consumer_secret": "consumer secret",
    "passkey": "passkey",
    "initiator_password": "initiator's password",
}
LONGEST_SECRET = 200
LONGEST_NAME = 60
FEWEST_DIGITS, MOST_DIGITS = 5, 7

NO_NUMBER = "A number of 5 to 7 digits, as Safaricom wrote it to you."
NO_TYPE = "Choose till or paybill."
TILL_TWICE = (
    "This is the till number once more. M-Pesa wants the store (head office) number"
    " here; it stands in the letter from Safaricom."
)
TWO_NUMBERS = "A paybill has one number only. For a till choose Till."
SWAPPED = "This is the till number: the two numbers are the wrong way round."
SANDBOX_NUMBER = "This is the sandbox's number: no real money goes there."
SANDBOX_SECRET = "This belongs to the sandbox or the simulator: it moves no real money."  # noqa: S105 -- a sentence
TAKEN = (
    "Another account on this installation has this number already. If it is yours, ask"
    " your support: a number that took money is never rewritten."
)
KEY_TWICE = "This is the consumer key once more."
BLANKS = "There are blanks inside. Copy it again, whole."
NO_PASSWORD = "An initiator needs its password too."  # noqa: S105 -- a sentence
NO_INITIATOR = "Whose password is it? Enter the initiator's name."


@dataclass(frozen=True, slots=True)
class Entered:
    """What an owner typed. A secret that is empty is kept as it is."""

    type: str
    shortcode: str
    party_b: str
    secrets: Mapping[str, str] = field(repr=False)
    initiator_name: str = ""

    @property
    def is_till(self) -> bool:
        """Whether customers pay to a till, not to a paybill."""
        return self.type == AccountType.TILL

    def fits(self, account: MpesaAccount) -> bool:
        """Whether an account has these numbers, here."""
        mine = (settings.MPESA_ENV, self.type, self.shortcode, self.party_b)
        return mine == (
            account.environment,
            account.type,
            account.shortcode,
            account.party_b,
        )

    def credentials(self) -> Credentials:
        """Return what the gateway needs."""
        return Credentials(
            environment=settings.MPESA_ENV,
            is_till=self.is_till,
            shortcode=self.shortcode,
            party_b=self.party_b,
            consumer_key=self.secrets["consumer_key"],
            consumer_secret=self.secrets["consumer_secret"],
            passkey=self.secrets["passkey"],
        )


def checked(entered: Entered, shop: Shop, current: MpesaAccount | None) -> Entered:
    """Return what was typed, trimmed, its empty secrets filled from `current`.

    Raises InvalidRequest with the fields that are wrong. Asks nobody.
    """
    whole = _filled(_trimmed(entered), current)
    wrong = _wrong_secrets(whole) | _wrong_numbers(whole)
    _refuse(wrong)
    _refuse(_taken_numbers(whole, shop))
    if settings.MPESA_ENV == "production":
        _refuse(_unreal(whole, shop))
    return whole


def proved(whole: Entered) -> Tested:
    """Return what M-Pesa says to it. Call outside any transaction.

    Raises InvalidRequest with the fields that M-Pesa says are wrong.
    """
    tested = connection.test(whole.credentials())
    wrong = {name: one.words for one in tested.wrong for name in one.fields}
    if "shortcode" in wrong and whole.is_till:
        turned = replace(whole, shortcode=whole.party_b, party_b=whole.shortcode)
        if connection.test(turned.credentials()).is_good:
            wrong["shortcode"] = SWAPPED
    _refuse(wrong)
    return tested


def taken() -> InvalidRequest:
    """The refusal of a number that another account has."""
    return InvalidRequest(TAKEN, details={"shortcode": [TAKEN]})


def _trimmed(entered: Entered) -> Entered:
    shortcode, party_b = entered.shortcode.strip(), entered.party_b.strip()
    if entered.type == AccountType.PAYBILL and not party_b:
        party_b = shortcode
    secrets = {name: entered.secrets.get(name, "").strip() for name in accounts.SECRETS}
    return Entered(
        type=entered.type,
        shortcode=shortcode,
        party_b=party_b,
        secrets=secrets,
        initiator_name=entered.initiator_name.strip(),
    )


def _filled(entered: Entered, current: MpesaAccount | None) -> Entered:
    kept = {}
    if current is not None and current.environment == settings.MPESA_ENV:
        kept = {name: readable(current, name) for name in accounts.SECRETS}
    secrets = {
        name: value or kept.get(name) or "" for name, value in entered.secrets.items()
    }
    if not entered.initiator_name and not entered.secrets["initiator_password"]:
        secrets["initiator_password"] = ""
    return replace(entered, secrets=secrets)


def readable(account: MpesaAccount, name: str) -> str | None:
    """Return a secret; None for one that is damaged or whose key is gone."""
    try:
        return str(getattr(account, name))
    except Unsealable:
        return None


def _wrong_secrets(whole: Entered) -> dict[str, str]:
    wrong = {}
    for name, value in whole.secrets.items():
        if not value and name in KEYS:
            wrong[name] = f"Enter the {NAMES[name]}: without it nothing can be sent."
        elif any(sign.isspace() or not sign.isprintable() for sign in value):
            wrong[name] = BLANKS
        elif len(value) > LONGEST_SECRET:
            wrong[name] = f"At most {LONGEST_SECRET} characters. Copy it again."
    key, secret = whole.secrets["consumer_key"], whole.secrets["consumer_secret"]
    if key and key == secret:
        wrong["consumer_secret"] = KEY_TWICE
    if whole.initiator_name and not whole.secrets["initiator_password"]:
        wrong["initiator_password"] = NO_PASSWORD
    if whole.secrets["initiator_password"] and not whole.initiator_name:
        wrong["initiator_name"] = NO_INITIATOR
    if len(whole.initiator_name) > LONGEST_NAME:
        wrong["initiator_name"] = f"At most {LONGEST_NAME} characters."
    return wrong


def _wrong_numbers(whole: Entered) -> dict[str, str]:
    if whole.type not in AccountType.values:
        return {"type": NO_TYPE}
    wrong = {
        name: NO_NUMBER
        for name in ("shortcode", "party_b")
        if not _is_number(getattr(whole, name))
    }
    if not wrong and whole.is_till and whole.shortcode == whole.party_b:
        wrong["shortcode"] = TILL_TWICE
    if not wrong and not whole.is_till and whole.shortcode != whole.party_b:
        wrong["party_b"] = TWO_NUMBERS
    is_public = settings.SANDBOX_SHORTCODE in (whole.shortcode, whole.party_b)
    if settings.MPESA_ENV == "production" and is_public:
        wrong["shortcode"] = SANDBOX_NUMBER
    return wrong


def _is_number(text: str) -> bool:
    fits = FEWEST_DIGITS <= len(text) <= MOST_DIGITS
    return fits and text.isascii() and text.isdigit()


def _taken_numbers(whole: Entered, shop: Shop) -> dict[str, str]:
    """Whose number is another account's: one of the shop's own may be written over."""
    rows = MpesaAccount.objects.filter(
        Q(shortcode=whole.shortcode) | Q(party_b=whole.party_b),
        environment=settings.MPESA_ENV,
    )
    for account in rows:
        is_own = account.shop_id == shop.pk
        if is_own and (whole.fits(account) or not account.is_used):
            continue
        is_store = account.shortcode == whole.shortcode
        return {"shortcode" if is_store else "party_b": TAKEN}
    return {}


def _unreal(whole: Entered, shop: Shop) -> dict[str, str]:
    """Secrets of a place where no real money moves."""
    wrong = {}
    if whole.secrets["passkey"] == settings.SANDBOX_PASSKEY:
        wrong["passkey"] = SANDBOX_SECRET
    for account in shop.mpesa_accounts.exclude(environment="production"):
        for name in KEYS:
            if readable(account, name) == whole.secrets[name]:
                wrong[name] = SANDBOX_SECRET
    return wrong


def _refuse(wrong: Mapping[str, str]) -> None:
    if wrong:
        details = {name: [words] for name, words in wrong.items()}
        raise InvalidRequest(next(iter(wrong.values())), details=details)
