"""What M-Pesa tells us about one account: messages about prompts and by hand."""

from __future__ import annotations

from datetime import datetime, timedelta
from urllib.parse import urlsplit

from django.conf import settings
from django.utils import timezone
from django.utils.formats import date_format

from payments import c2b, inbox
from payments.doctor.findings import Finding, Who
from payments.doctor.letters import letter
from payments.enums import AccountType, Health, Method
from payments.models import MpesaAccount, MpesaSettings, Notice, Payment


# Of so many of the newest prompts, those that M-Pesa should have told of by now.
NEWEST = 20
# Of a shared account so many shops are looked at.
SHOPS = 50
TOLD_WITHIN = timedelta(minutes=3)
# One that nobody answers may be lost by chance; so many in a row are no chance.
ENOUGH = 3
# M-Pesa's codes for a number that is not the store's, or is of the other kind.
WRONG_PAIR = frozenset({"2028", "SFC_IC0003"})
TEST = "Pay KES 1 in Set up M-Pesa."


def findings(account: MpesaAccount) -> tuple[Finding, ...]:
    """Look at the newest prompts and messages of an account. Asks nobody."""
    prompts = _newest_prompts(account)
    found = [money(account, prompts), answers(account, prompts), by_hand(account)]
    if account.validates_strictly and account.type == AccountType.PAYBILL:
        found.append(validation(account))
    return tuple(found)


def _newest_prompts(account: MpesaAccount) -> list[Payment]:
    """The newest prompts of an account, the newest first.

    Shop by shop, for they are listed so: a shared account may have millions.
    """
    shops: list[int] = [account.shop_id] if account.shop_id is not None else []
    if account.shop_id is None:
        users = MpesaSettings.objects.filter(uses_platform_account=True)
        shops = list(users.order_by("-pk").values_list("shop_id", flat=True)[:SHOPS])
    found: list[Payment] = []
    for shop_id in shops:
        rows = Payment.objects.filter(shop_id=shop_id, account=account)
        rows = rows.filter(method=Method.MPESA_STK, checkout_request_id__isnull=False)
        found += rows.order_by("-created_at", "-pk")[:NEWEST]
    found.sort(key=lambda one: one.created_at, reverse=True)
    return found[:NEWEST]


def money(account: MpesaAccount, prompts: list[Payment]) -> Finding:
    """Whether money arrived by prompt: it alone proves the number customers pay to."""
    name = "Money arrives"
    paid_at = next((one.completed_at for one in prompts if one.completed_at), None)
    refused = next((one for one in prompts if one.result_code in WRONG_PAIR), None)
    if refused is not None and (paid_at is None or refused.created_at > paid_at):
        words = (
            f"M-Pesa refused the prompt of {_at(refused.created_at)}: it does not know"
            f" {account.party_b} as this account's {_kind(account)}."
        )
        text = letter(
            account,
            "Prompts are refused for our number",
            f"prompts for our {_kind(account)} {account.party_b} are refused with the"
            f" code {refused.result_code}, the last one on {_at(refused.created_at)}.",
            "Please tell us which number customers pay to and which one prompts are"
            " sent from, and whether it is a paybill or a till (Buy Goods).",
        )
        remedy = "Compare both numbers with Safaricom's letter, and the choice of kind."
        return Finding("money", name, Health.BROKEN, words, remedy, Who.SAFARICOM, text)
    if paid_at is None:
        words = f"No prompt was paid into {account.party_b} yet: only that proves it."
        return Finding("money", name, Health.UNKNOWN, words, TEST)
    words = f"The last prompt was paid on {_at(paid_at)}."
    return Finding("money", name, Health.FINE, words)


def answers(account: MpesaAccount, prompts: list[Payment]) -> Finding:
    """Whether M-Pesa's messages about prompts come, or only answers when asked."""
    ended = timezone.now() - TOLD_WITHIN - timedelta(seconds=settings.PROMPT_S)
    due = [one for one in prompts if one.created_at < ended]
    told = dict(
        Notice.objects.filter(payment__in=prompts, kind=inbox.STK)
        .order_by("received_at")
        .values_list("payment_id", "received_at")
    )
    last = max(told.values(), default=None)
    missing = [one for one in due if one.pk not in told]
    if not due and last is None:
        words = "No prompt was sent yet that M-Pesa could tell of."
        return _answers(Health.UNKNOWN, words, TEST)
    if len(missing) >= ENOUGH and len(missing) == len(due):
        return _silence(account, due)
    at = f" The last one came on {_at(last)}." if last is not None else ""
    if missing:
        words = (
            f"Of the last {len(due)} prompts M-Pesa told of {len(due) - len(missing)};"
            f" about the others it was asked.{at}"
        )
        remedy = "A few may get lost. If it stays so, look at Reachable from outside."
        health = Health.LOOK if 2 * len(missing) > len(due) else Health.FINE
        return _answers(health, words, remedy if health == Health.LOOK else "")
    return _answers(Health.FINE, f"M-Pesa told of each of the last prompts.{at}")


def _silence(account: MpesaAccount, due: list[Payment]) -> Finding:
    first, last = _at(due[-1].created_at), _at(due[0].created_at)
    host = urlsplit(settings.MPESA_CALLBACK_URL).netloc
    words = (
        f"M-Pesa told of not one of the last {len(due)} prompts: payments are seen late,"
        " for it has to be asked about each."
    )
    text = letter(
        account,
        "Callbacks of M-Pesa Express do not arrive",
        f"between {first} and {last} (Nairobi) we sent {len(due)} prompts. None of your"
        f" callbacks to https://{host} reached us, while your query API answers.",
        "Please look whether your systems can reach this host on port 443, what they"
        " get, and whether it is blocked.",
    )
    remedy = (
        "First have Reachable from outside and Address for M-Pesa's messages made fine."
        " If both are, ask Safaricom."
    )
    return _answers(Health.BROKEN, words, remedy, text)


def by_hand(account: MpesaAccount) -> Finding:
    """Whether M-Pesa tells of payments that customers make without a prompt."""
    addresses = c2b.valid_addresses(account).exists()
    if not addresses:
        words = "M-Pesa does not tell us when a customer pays without a prompt."
        remedy = (
            "In M-Pesa accounts tick it, then choose Register for payments by hand."
        )
        return _by_hand(Health.LOOK, words, remedy)
    if account.c2b_registered_at is None:
        return _registered_elsewhere(account)
    since = _at(account.c2b_registered_at)
    last = c2b.last_notice(account)
    if last is None:
        words = f"M-Pesa took our address on {since}, but has told of nothing yet."
        remedy = "Pay KES 1 by hand: only its message proves that it comes to us."
        return _by_hand(Health.UNKNOWN, words, remedy)
    words = f"Registered on {since}. The last was told on {_at(last.received_at)}."
    return _by_hand(Health.FINE, words)


def _registered_elsewhere(account: MpesaAccount) -> Finding:
    words = (
        "M-Pesa has not confirmed our address: it may keep an older one, of another"
        " system, and tell that of payments by hand."
    )
    text = letter(
        account,
        "Please delete the registered C2B URLs of our number",
        f"please delete the validation and confirmation URLs that are registered for our"
        f" {_kind(account)} {account.party_b}.",
        "We will register new ones ourselves through the API as soon as you confirm.",
    )
    remedy = (
        "Pay KES 1 by hand: if it appears, all is well. If not, have the old addresses"
        " deleted: in M-Pesa's portal under self-service, where two people approve it,"
        " or by Safaricom. Then register again."
    )
    return _by_hand(Health.BROKEN, words, remedy, text)


def validation(account: MpesaAccount) -> Finding:
    """Refusing account numbers works only where Safaricom has switched it on."""
    words = (
        "Unknown account numbers are to be refused. M-Pesa asks us before a payment only"
        " where Safaricom has switched that on, and does not say whether it has."
    )
    text = letter(
        account,
        "Please activate external validation",
        f"please activate external validation for C2B payments to our paybill"
        f" {account.party_b}. Our validation URL is registered.",
    )
    remedy = "Pay KES 1 by hand with a wrong account number: it must be refused."
    return Finding(
        "validation", "Wrong account numbers are refused", Health.UNKNOWN, words,
        remedy, Who.SAFARICOM, text,
    )  # fmt: skip


def _kind(account: MpesaAccount) -> str:
    return "till" if account.type == AccountType.TILL else "paybill"


def _at(moment: datetime) -> str:
    return date_format(timezone.localtime(moment), "j M Y, H:i")


def _answers(health: Health, words: str, remedy: str = "", text: str = "") -> Finding:
    who = Who.SAFARICOM if text else Who.OWNER
    name = "Messages about prompts"
    return Finding("answers", name, health, words, remedy, who, text)


def _by_hand(health: Health, words: str, remedy: str = "", text: str = "") -> Finding:
    who = Who.SAFARICOM if text else Who.OWNER
    name = "Payments without a prompt"
    return Finding("by_hand", name, health, words, remedy, who, text)
