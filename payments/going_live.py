"""Whose account takes a shop's M-Pesa money: its owner's choice, never a fallback.

An account of the shop's own is tried with a shilling, then made live: tested since its
last change, of this environment, told over HTTPS, and its number typed once more.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from django.conf import settings
from django.db import transaction

from orders import checkout
from payments import accounts, prompting
from payments.account_entry import KEYS
from payments.configuration import (
    NotEntered,
    locked_settings,
    own_account,
    require_version,
    set_at,
    settings_of,
)
from payments.enums import PaymentStatus
from payments.models import MpesaAccount, MpesaSettings
from payments.prompting import Prompted
from shops.rights import Right
from shops.tenancy import Access
from smartduka.lib import phone as phones
from smartduka.lib.errors import DomainError, InvalidRequest
from smartduka.lib.transactions import repeated


OTHER_PLACE = "It belongs to another environment: enter it anew."
UNTESTED = "It was not tested since its last change: test the connection."
KEYS_MISSING = "Its keys are not complete."
NOT_HTTPS = "The address that M-Pesa calls back must be HTTPS: ask your support."
OTHER_NUMBER = "This is not the number that is set up. Look again whose it is."


class NotReady(DomainError):
    """The account may not take the shop's money yet; the message says why."""

    code = "MPESA_NOT_READY"
    message = "This account may not take the shop's money yet."
    http_status = 409


def pay_test(access: Access, phone: str) -> Prompted:
    """Ask a phone for KES 1 through the account that is set up, or the live one.

    It is a sale of its own without goods: its shilling is in the books, and no
    takings. Its owner sees the phone, so an earlier test that is still undecided
    after two minutes is in nobody's way. Raises Forbidden, InvalidPhone, NotConfigured,
    and what else `prompting.request` raises.
    """
    access.require(Right.SETTINGS)
    phone = phones.parse(phone)
    own = own_account(settings_of(access.shop))
    account = own or accounts.account_of(access.shop)
    accounts.require_here(account)
    accounts.credentials(account)
    order = checkout.place_test(shop=access.shop, actor=access.user)
    return prompting.request(
        access=access,
        order_id=order.pk,
        phone=phone,
        amount=None,
        key=None,
        accept_risk=True,
        account=account,
    )


def why_not_live(account: MpesaAccount) -> list[str]:
    """What keeps an account from taking money, in words; nothing if it may."""
    reasons = []
    if account.environment != settings.MPESA_ENV:
        reasons.append(OTHER_PLACE)
    if not all(getattr(account, f"{name}_sealed") for name in KEYS):
        reasons.append(KEYS_MISSING)
    if account.verified_at is None and not _is_proved_by_money(account):
        reasons.append(UNTESTED)
    if account.environment == "production" and not _is_told_safely():
        reasons.append(NOT_HTTPS)
    return reasons


@repeated
def go_live(access: Access, confirmed: str, *, seen: int | None = None) -> MpesaAccount:
    """Let the shop's own account take its money from now on.

    `confirmed`: the number that customers pay to, typed once more. Opens a
    transaction, locks the shop's settings, then the account.
    Raises Forbidden, NotConfigured, ChangedMeanwhile, NotReady, InvalidRequest.
    """
    access.require(Right.SETTINGS)
    with transaction.atomic(durable=True):
        row = _seen_settings(access, seen)
        own = own_account(row)
        if own is None:
            raise NotEntered
        account = MpesaAccount.objects.select_for_update(no_key=True).get(pk=own.pk)
        if reasons := why_not_live(account):
            raise NotReady(" ".join(reasons))
        if confirmed.strip() != account.party_b:
            details = {"confirm": [OTHER_NUMBER]}
            raise InvalidRequest(OTHER_NUMBER, details=details)
        row.candidate = None
        _choose(row, account, is_platform=False)
    return account


@repeated
def choose_platform(access: Access, *, seen: int | None = None) -> MpesaAccount:
    """Let the platform's account take the shop's money. Opens a transaction.

    Raises Forbidden, NotConfigured, ChangedMeanwhile.
    """
    access.require(Right.SETTINGS)
    account = accounts.platform_account()
    if account is None:
        raise accounts.NotConfigured(accounts.NO_PLATFORM)
    accounts.credentials(account)
    with transaction.atomic(durable=True):
        row = _seen_settings(access, seen)
        row.candidate = own_account(row)
        _choose(row, None, is_platform=True)
    return account


@repeated
def stop(access: Access, *, seen: int | None = None) -> None:
    """Take no M-Pesa any more. What is undecided is asked about all the same.

    Opens a transaction. Raises Forbidden, ChangedMeanwhile.
    """
    access.require(Right.SETTINGS)
    with transaction.atomic(durable=True):
        row = _seen_settings(access, seen)
        row.candidate = own_account(row)
        _choose(row, None, is_platform=False)


def _seen_settings(access: Access, seen: int | None) -> MpesaSettings:
    row = locked_settings(access.shop)
    if seen is not None:
        require_version(row, seen)
    return row


def _choose(
    row: MpesaSettings, account: MpesaAccount | None, *, is_platform: bool
) -> None:
    row.account, row.uses_platform_account = account, is_platform
    row.version += 1
    row.save(update_fields=["account", "uses_platform_account", "candidate", "version"])


def _is_proved_by_money(account: MpesaAccount) -> bool:
    """Whether a test payment arrived with the keys as they are.

    It proves more than M-Pesa's answers, and M-Pesa may answer in ways unknown to us.
    """
    entered = [at for name in KEYS if (at := set_at(account, name)) is not None]
    paid = account.payments.filter(
        order__is_test=True,
        status=PaymentStatus.COMPLETED,
        created_at__gt=max(entered, default=account.created_at),
    )
    return not account.test_failed and paid.exists()


def _is_told_safely() -> bool:
    return urlsplit(settings.MPESA_CALLBACK_URL).scheme == "https"
