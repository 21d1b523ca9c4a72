"""What must be right with one M-Pesa account: numbers, keys, messages, money."""

from __future__ import annotations

from django.conf import settings

from payments import accounts, connection, errands
from payments.doctor.findings import Finding, Who
from payments.doctor.letters import letter
from payments.enums import AccountType, Health
from payments.models import MpesaAccount, MpesaSettings
from smartduka.lib.transactions import give_back_connection


SETTINGS = "Go to Set up M-Pesa. "
NAMES = {
    "keys": "Consumer key and secret",
    "product": "The app may send prompts",
    "number": "The number is the app's",
    "passkey": "Passkey",
}
# Safaricom's are so long; one that M-Pesa takes is right whatever its length.
PASSKEY_LENGTH = 64


def findings(account: MpesaAccount) -> tuple[Finding, ...]:
    """Look at an account, and ask M-Pesa about its keys.

    Call outside any transaction.
    """
    return (numbers(account), used(account), *keys(account), initiator(account))


def numbers(account: MpesaAccount) -> Finding:
    """Whether the two numbers make a pair of this kind, in this environment."""
    if wrong := _wrong_environment(account):
        return _numbers(Health.BROKEN, wrong, SETTINGS + "Enter the account anew.")
    digits = all(
        number.isascii() and number.isdigit() and 5 <= len(number) <= 7
        for number in (account.shortcode, account.party_b)
    )
    if not digits:
        words = "M-Pesa's numbers have 5 to 7 digits; these do not."
        return _numbers(Health.BROKEN, words, SETTINGS + "Enter the account anew.")
    is_same = account.shortcode == account.party_b
    if account.type == AccountType.TILL:
        return _store_number(account) if is_same else _numbers(
            Health.FINE,
            f"Customers pay to till {account.party_b}; prompts are sent in the name of"
            f" store number {account.shortcode}.",
        )  # fmt: skip
    if not is_same:
        words = (
            f"A paybill has one number, but here are {account.shortcode} and"
            f" {account.party_b}. Is it a till (Buy Goods) with a store number?"
        )
        return _numbers(Health.BROKEN, words, SETTINGS + "Choose Till, or one number.")
    words = f"Paybill {account.party_b}: one number for prompts and for customers."
    return _numbers(Health.FINE, words)


def _wrong_environment(account: MpesaAccount) -> str:
    if account.environment != settings.MPESA_ENV:
        return (
            f"This account belongs to {account.environment}, but this installation runs"
            f" {settings.MPESA_ENV}: it settles no sale."
        )
    pair = (account.shortcode, account.party_b)
    if settings.MPESA_ENV == "production" and settings.SANDBOX_SHORTCODE in pair:
        return "This is the sandbox's number: no real money goes there."
    return ""


def _store_number(account: MpesaAccount) -> Finding:
    words = (
        f"Till and store number are both {account.party_b}. Prompts need the store"
        " (head office) number, which is another one than the till that customers pay"
        " to. With the till's, M-Pesa answers that the merchant does not exist."
    )
    text = letter(
        account,
        "Which store number does our till have?",
        f"we want to send M-Pesa Express prompts for our till {account.party_b}.",
        "Please tell us its store (head office) number, and confirm that M-Pesa Express"
        " is enabled for it.",
    )
    remedy = (
        "It stands in Safaricom's letter, and in the M-Pesa portal for businesses under"
        " the till's organisation. Or ask Safaricom."
    )
    return _numbers(Health.BROKEN, words, remedy, text)


def used(account: MpesaAccount) -> Finding:
    """Whether any shop's prompts are sent from this account."""
    name = "In use"
    if not account.is_active:
        words = "This account is not used any more: no prompt is sent from it."
        return Finding("used", name, Health.BROKEN, words, SETTINGS.strip())
    if account.shop is None:
        count = MpesaSettings.objects.filter(uses_platform_account=True).count()
    else:
        count = MpesaSettings.objects.filter(account=account).count()
    if count:
        words = "Prompts are sent from it." if account.shop else f"Shops: {count}."
        return Finding("used", name, Health.FINE, words)
    if MpesaSettings.objects.filter(candidate=account).exists():
        words = "It is being set up: it takes no sale's money yet."
        remedy = SETTINGS + "Go live there when all else is fine."
        return Finding("used", name, Health.LOOK, words, remedy)
    words = "No shop has chosen it: nothing is paid into it yet."
    remedy = SETTINGS + "Choose it there, if a shop is to use it."
    return Finding("used", name, Health.LOOK, words, remedy)


def keys(account: MpesaAccount) -> tuple[Finding, ...]:
    """Have M-Pesa say whether keys, product, number and passkey belong together."""
    try:
        credentials = accounts.credentials(account)
    except accounts.KeysUnreadable:
        words = "The keys are there, but cannot be read any more."
        remedy = SETTINGS + "Enter them again. If you did lately, tell the operator."
        return (Finding("keys", NAMES["keys"], Health.BROKEN, words, remedy),)
    except accounts.NotConfigured:
        words = "Consumer key, consumer secret or passkey is missing."
        remedy = SETTINGS + "Enter all three."
        return (Finding("keys", NAMES["keys"], Health.BROKEN, words, remedy),)
    give_back_connection()
    tested = connection.test(credentials)
    found = tuple(_told(account, one) for one in tested.findings)
    is_odd = len(credentials.passkey) != PASSKEY_LENGTH
    return tuple(
        _odd_passkey(one, len(credentials.passkey))
        if is_odd and one.key == "passkey" and one.health != Health.FINE
        else one
        for one in found
    )


def _told(account: MpesaAccount, told: connection.Finding) -> Finding:
    health = Health.UNKNOWN
    if told.is_right is not None:
        health = Health.FINE if told.is_right else Health.BROKEN
    text, who = "", Who.OWNER
    if health == Health.BROKEN and told.name in REQUESTS:
        subject, *request = REQUESTS[told.name]
        text = letter(account, subject, *request)
        who = Who.SAFARICOM
    return Finding(told.name, NAMES[told.name], health, told.words, "", who, text)


REQUESTS = {
    "product": (
        "Please add M-Pesa Express to our app",
        "our app may not send prompts: your API answers that no API product matches.",
        "Please add M-Pesa Express (Lipa na M-Pesa Online) to the app below, and link"
        " it with the number below.",
    ),
    "number": (
        "Please enable our number for M-Pesa Express",
        "your API answers that the merchant does not exist when our app asks for it.",
        "Please confirm which number (for a till: which store number) belongs to the"
        " app below, and enable it for M-Pesa Express.",
    ),
    "passkey": (
        "Please send our passkey for M-Pesa Express",
        "your API does not accept the passkey that we have.",
        "Please send the M-Pesa Express (Lipa na M-Pesa Online) passkey of the number"
        " below to the e-mail address that you have for it.",
    ),
}  # fmt: skip


def _odd_passkey(finding: Finding, length: int) -> Finding:
    words = (
        f"{finding.words} The one that was entered has {length} characters; Safaricom's"
        f" have {PASSKEY_LENGTH}."
    )
    return Finding(
        finding.key, finding.name, finding.health, words,
        finding.remedy, finding.who, finding.letter,
    )  # fmt: skip


def initiator(account: MpesaAccount) -> Finding:
    """Whether M-Pesa can be asked about receipts, and can send money back."""
    name = "Refunds through M-Pesa"
    if errands.can_ask(account):
        words = f"{account.initiator_name} may ask M-Pesa and send money back."
        return Finding("initiator", name, Health.FINE, words)
    words = (
        "Not possible, and payments by hand are not confirmed by M-Pesa: the account has"
        " no initiator with a password that can be used here."
    )
    remedy = (
        "Have a Business Administrator make an API user in M-Pesa's portal, with the"
        " roles for reversals and transaction status; then enter its name and password"
        " in Set up M-Pesa."
    )
    if account.initiator_name and not settings.MPESA_CERTIFICATE:
        remedy += " The operator must give Safaricom's certificate: MPESA_CERTIFICATE."
    return Finding("initiator", name, Health.LOOK, words, remedy)


def _numbers(health: Health, words: str, remedy: str = "", text: str = "") -> Finding:
    who = Who.SAFARICOM if text else Who.OWNER
    return Finding("numbers", "The numbers", health, words, remedy, who, text)
