"""Payments that customers make by hand into a till or paybill (C2B).

M-Pesa tells them to an address that is registered once per account and outlives every
key: a random token, stored as a hash, several valid at once. What comes there is a
claim, for whoever has the address can write to it; `receipts` keeps it and `matching`
says whose money it is. A prompt that was paid is told here too, under the same receipt.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Q

from payments import (
    accounts,
    claim_questions,
    gateways,
    hook_tokens,
    matching,
    readings,
    receipts,
    references,
    schedule,
    settlement,
)
from payments.enums import AccountType, ReceiptState, Source, Verdict
from payments.gateways.base import GatewayError
from payments.gateways.organisation import C2bUrls
from payments.hook_tokens import HookToken, Kind
from payments.models import (
    AccountHook,
    MpesaAccount,
    Notice,
    Payment,
    Receipt,
    Sighting,
)
from payments.notices_c2b import C2bPayment, parse_c2b
from payments.readings import Malformed
from payments.receipts import Told
from smartduka.lib import clock
from smartduka.lib.transactions import give_back_connection, repeated


logger = logging.getLogger(__name__)

HAND_PATH, CHECK_PATH = "/hooks/hand/", "/hooks/check/"
# M-Pesa's own words of a refusal by the shop.
WRONG_REFERENCE, WRONG_AMOUNT = "C2B00012", "C2B00013"
WRONG_SHORTCODE, OTHER_ERROR = "C2B00015", "C2B00016"
# No payment of M-Pesa's is larger by far, and none has a tenth of a cent.
LARGEST = Decimal(10) ** 9
CENT = Decimal("0.01")
NUMBER = re.compile(r"-?[0-9]{1,12}(\.[0-9]{1,4})?")


class NotRegistered(Exception):
    """M-Pesa did not take an address. Said in the books: `message` is for managers."""

    def __init__(self, message: str, *, may_retry: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.may_retry = may_retry


@dataclass(frozen=True, slots=True)
class Registration:
    """What M-Pesa said to an address. `is_ours`: it took this one, and will use it."""

    is_ours: bool


def apply(notice: Notice) -> Verdict:
    """Keep what a confirmation tells, and find whose money it is.

    Doing it twice changes nothing. Opens transactions of its own: one with the
    receipt's lock, then those of `matching.resolve`. Raises what these raise.
    """
    account = notice.account
    assert account is not None, "a notice of an account"
    try:
        if notice.is_cut:
            raise Malformed("longer than what is kept")
        told = parse_c2b(bytes(notice.body))
        if told.amount >= LARGEST or told.amount != told.amount.quantize(CENT):
            raise Malformed("no amount of M-Pesa's")
    except Malformed as malformed:
        logger.warning("notice %s malformed: %s", notice.pk, malformed)
        return Verdict.MALFORMED
    doubt = _doubt(notice, account, told)
    if doubt:
        logger.warning("notice %s unverified: %s", notice.pk, doubt)
        _ask_about_reference(account, told.reference)
        return Verdict.UNVERIFIED
    receipt, first_told_by = _sight(notice, account, told)
    state = matching.resolve(receipt.pk)
    claim_questions.begin(account, receipt.pk, state)
    if receipt.amount != told.amount:
        return Verdict.CONTRADICTION
    if first_told_by != notice.pk:
        return Verdict.DUPLICATE
    return Verdict.APPLIED if state == ReceiptState.COUNTED else Verdict.HELD


def known_by(token: str) -> str | None:
    """Return the nonce's hash of a good token of an account; None for a bad one.

    By arithmetic, and where that says no by one look at its row: the key that signed
    an address may be gone while M-Pesa still knows it. Then the whole token must be
    the one that was made. Of older rows only the nonce is known, which is 128 random
    bits and secret enough by itself.
    """
    nonce_hash = hook_tokens.verify(token, Kind.ACCOUNT)
    whole = hook_tokens.text_hash(token)
    if nonce_hash is not None or whole is None:
        return nonce_hash
    of_nonce = Q(text_hash=None, token_hash=hook_tokens.nonce_hash(token))
    return (
        AccountHook.objects.filter(Q(text_hash=whole) | of_nonce)
        .values_list("token_hash", flat=True)
        .first()
    )


def refusal(nonce_hash: str, body: bytes) -> str:
    """M-Pesa's code for a payment that may not be made, or "" for one that may.

    For a living account everything may, but nothing less than a shilling. A paybill
    that validates strictly takes only the references of its own payments. Reads, and
    writes nothing. An address that was retired may still be the one M-Pesa knows.
    """
    account = MpesaAccount.objects.filter(hooks__token_hash=nonce_hash).first()
    if account is None or not _is_living(account):
        return WRONG_SHORTCODE
    is_strict = account.validates_strictly and account.type == AccountType.PAYBILL
    try:
        told = readings.member(readings.document(body))
    except Malformed:
        return OTHER_ERROR if is_strict else ""
    shortcode = readings.digits(told.get("BusinessShortCode")).strip()
    if shortcode and shortcode not in _numbers(account):
        return WRONG_SHORTCODE
    amount = _number(told.get("TransAmount"))
    if (amount is None and is_strict) or (amount is not None and amount < 1):
        return WRONG_AMOUNT
    if is_strict and not _is_reference_of(account, told.get("BillRefNumber")):
        return WRONG_REFERENCE
    return ""


def new_address(account: MpesaAccount, actor: Any) -> str:
    """Make one more address of an account; return it, for it is never shown again.

    It is where M-Pesa confirms payments by hand, and valid until it is retired.
    """
    _, urls = _make_hook(account, actor, hook_tokens.issue(Kind.ACCOUNT))
    return urls.confirmation


def register(account: MpesaAccount, actor: Any) -> Registration:
    """Have M-Pesa tell payments by hand to a new address of ours.

    Production registers once: what M-Pesa knows then stays, and with it every address
    of ours that it may be. Raises NotRegistered with the reason in words; after a lost
    answer the new address stays valid. Call outside any transaction.
    """
    return _register(account, actor, hook_tokens.issue(Kind.ACCOUNT))


def retire_older(account: MpesaAccount) -> int:
    """Retire the addresses older than the newest that M-Pesa took; return how many.

    That one stays, and younger ones too: their answer may have been lost.
    """
    newest = (
        valid_addresses(account)
        .filter(registered_at__isnull=False)
        .order_by("registered_at", "pk")
        .last()
    )
    if newest is None:
        return 0
    older = valid_addresses(account).filter(pk__lt=newest.pk)
    return int(older.update(retired_at=clock.now()))


def valid_addresses(account: MpesaAccount) -> Any:
    """The addresses of an account where M-Pesa's word is taken."""
    return AccountHook.objects.filter(account=account, retired_at__isnull=True)


def last_notice(account: MpesaAccount) -> Notice | None:
    """The newest confirmation that came to an address of an account, unread."""
    rows = Notice.objects.filter(account=account).defer("body")
    return rows.order_by("-received_at", "-pk").first()


def register_with_simulator(account: MpesaAccount) -> bool:
    """Register an account with the simulator; False if that may be tried again.

    It forgets whatever it knew when it ends, so an account gets the same address each
    time. Does nothing in any other environment.
    """
    if settings.MPESA_ENV != "simulator":
        return True
    token = hook_tokens.reissue(Kind.ACCOUNT, str(account.pk))
    try:
        _register(account, None, token)
    except NotRegistered as error:
        return not error.may_retry
    return True


def _doubt(notice: Notice, account: MpesaAccount, told: C2bPayment) -> str:
    """Why a well-formed confirmation is none for this account; "" if it is."""
    if settings.MPESA_CALLBACK_IP_MODE == "enforce" and not notice.address_is_listed:
        return "address not listed"
    if account.environment != settings.MPESA_ENV:
        return "another environment"
    if told.shortcode not in _numbers(account):
        return "another shortcode"
    return ""


def _numbers(account: MpesaAccount) -> frozenset[str]:
    return frozenset({account.shortcode, account.party_b})


def _is_living(account: MpesaAccount) -> bool:
    return account.is_active and account.environment == settings.MPESA_ENV


@repeated
def _sight(
    notice: Notice, account: MpesaAccount, told: C2bPayment
) -> tuple[Receipt, int | None]:
    """Keep what is told; return the receipt and the notice that told it first."""
    with transaction.atomic(durable=True):
        receipt = receipts.sight(
            account,
            Told(
                number=told.receipt,
                amount=told.amount,
                payer=told.msisdn,
                payer_name=told.name,
                reference=told.reference,
                paid_at=told.paid_at,
            ),
            Source.C2B,
            notice=notice,
        )
        first = Sighting.objects.get(
            receipt=receipt, source=Source.C2B, amount=told.amount
        )
    return receipt, first.notice_id


@repeated
def _ask_about_reference(account: MpesaAccount, typed: str) -> None:
    """Bring forward the question of the undecided payment that a claim names."""
    payment_id = (
        Payment.objects.filter(
            account=account,
            reference=references.normalised(typed),
            decided_at__isnull=True,
        )
        .values_list("pk", flat=True)
        .first()
    )
    if payment_id is not None:
        with transaction.atomic(durable=True):
            _, payment = settlement.locked(payment_id)
            schedule.bring_forward(payment)


def _number(value: object) -> Decimal | None:
    """An amount as it stands there, also one that could not be paid; None if none."""
    if isinstance(value, str) and NUMBER.fullmatch(value.strip()):
        return Decimal(value.strip())
    if isinstance(value, (int, Decimal)) and not isinstance(value, bool):
        return Decimal(value)
    return None


def _is_reference_of(account: MpesaAccount, typed: object) -> bool:
    reference = references.normalised(readings.digits(typed))
    return (
        references.is_valid(reference)
        and Payment.objects.filter(account=account, reference=reference).exists()
    )


def _make_hook(
    account: MpesaAccount, actor: Any, token: HookToken
) -> tuple[AccountHook, C2bUrls]:
    hook, _ = AccountHook.objects.get_or_create(
        token_hash=token.nonce_hash,
        defaults={
            "text_hash": token.text_hash,
            "account": account,
            "created_by": actor,
            "created_at": clock.now(),
        },
    )
    return hook, C2bUrls(
        confirmation=settings.MPESA_CALLBACK_URL + HAND_PATH + token.text,
        validation=settings.MPESA_CALLBACK_URL + CHECK_PATH + token.text,
    )


def _register(account: MpesaAccount, actor: Any, token: HookToken) -> Registration:
    """Three phases: the address is committed, M-Pesa is told, its answer is kept."""
    if not _is_living(account):
        raise NotRegistered("This account is not in use here.")
    try:
        credentials = accounts.credentials(account)
    except accounts.NotConfigured as error:
        raise NotRegistered("Its M-Pesa keys are missing or cannot be read.") from error
    hook, urls = _make_hook(account, actor, token)
    give_back_connection()
    try:
        answer = gateways.organisation().register_c2b(
            credentials, urls, limit_s=settings.PUSH_READ_TIMEOUT_S
        )
    except GatewayError as error:
        logger.info("payments by hand of %s not registered: %s", account, error)
        if error.certain:
            _retire_unused(hook)
        raise NotRegistered(_in_words(error), may_retry=error.may_retry) from error
    if answer.already:
        _retire_unused(hook)
    else:
        _keep_registered(hook)
    return Registration(is_ours=not answer.already)


@repeated
def _keep_registered(hook: AccountHook) -> None:
    now = clock.now()
    with transaction.atomic(durable=True):
        AccountHook.objects.filter(pk=hook.pk).update(
            registered_at=now, retired_at=None
        )
        MpesaAccount.objects.filter(pk=hook.account_id).update(c2b_registered_at=now)


def _retire_unused(hook: AccountHook) -> None:
    """Retire an address that M-Pesa was told in vain; one it took before stays."""
    AccountHook.objects.filter(pk=hook.pk, registered_at__isnull=True).update(
        retired_at=clock.now()
    )


def _in_words(error: GatewayError) -> str:
    if not error.certain:
        return "M-Pesa did not answer. It may have taken the address: try again."
    if error.may_retry:
        return "M-Pesa could not be reached, nothing was registered. Try again."
    return f"M-Pesa refused the address: {error}."
