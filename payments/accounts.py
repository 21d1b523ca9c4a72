"""Which account takes a shop's M-Pesa money.

A shop has chosen its own account or the platform's; one that has chosen neither
cannot send prompts. There is no silent fallback: it would pay a shop's takings
into somebody else's account.
"""

from __future__ import annotations

import logging

from django.conf import settings
from django.db import IntegrityError, transaction

from payments.enums import AccountType
from payments.gateways.base import Credentials
from payments.models import MpesaAccount, MpesaSettings
from shops.models import Shop
from smartduka.lib.errors import DomainError
from smartduka.lib.sealing import Unsealable


logger = logging.getLogger(__name__)


class NotConfigured(DomainError):
    """The shop has no account that prompts can be sent from."""

    code = "MPESA_NOT_CONFIGURED"
    message = "M-Pesa is not set up for this shop. Take cash, and tell the owner."
    http_status = 409


class KeysUnreadable(NotConfigured):
    """A secret is damaged, was moved from elsewhere, or its key is gone."""

    message = "The shop's M-Pesa keys cannot be read. Take cash, and tell the owner."


def account_of(shop: Shop) -> MpesaAccount:
    """Return the living account of the shop's choice. Raises NotConfigured.

    An account of another environment than the installation's settles nothing
    (law 13).
    """
    choice = MpesaSettings.objects.filter(shop=shop).select_related("account").first()
    if choice is None:
        raise NotConfigured
    account = platform_account() if choice.uses_platform_account else choice.account
    if (
        account is None
        or not account.is_active
        or account.environment != settings.MPESA_ENV
    ):
        raise NotConfigured
    return account


def max_amount(shop: Shop) -> int:
    """The most one prompt of this shop may ask for, in KES."""
    choice = MpesaSettings.objects.filter(shop=shop).first()
    if choice is None or choice.max_amount is None:
        return int(settings.MPESA_MAX_AMOUNT)
    return min(choice.max_amount, settings.MPESA_MAX_AMOUNT)


def platform_account() -> MpesaAccount | None:
    """Return the platform's account as the environment gives it; None if it does not.

    New numbers make a new row, the old one stays for questions. New keys for the
    same numbers replace the old keys: M-Pesa knows only one set.
    """
    if not settings.MPESA_SHORTCODE:
        return None
    account = _platform_row()
    if account is not None and _has_keys_of_settings(account):
        return account
    if account is not None:
        return _with_keys_of_settings(account)
    account = MpesaAccount(
        environment=settings.MPESA_ENV,
        type=settings.MPESA_TYPE,
        shortcode=settings.MPESA_SHORTCODE,
        party_b=settings.MPESA_PARTY_B,
    )
    try:
        with transaction.atomic():
            return _with_keys_of_settings(account)
    except IntegrityError:
        # Another process was faster, or a number is another account's already.
        account = _platform_row()
    if account is None:
        logger.error(
            "the platform's M-Pesa numbers belong to another account already:"
            " MPESA_SHORTCODE, MPESA_PARTY_B and MPESA_TYPE change together"
        )
    return account


def _platform_row() -> MpesaAccount | None:
    return MpesaAccount.objects.filter(
        environment=settings.MPESA_ENV,
        shop=None,
        type=settings.MPESA_TYPE,
        shortcode=settings.MPESA_SHORTCODE,
        party_b=settings.MPESA_PARTY_B,
    ).first()


def _with_keys_of_settings(account: MpesaAccount) -> MpesaAccount:
    account.consumer_key = settings.MPESA_CONSUMER_KEY
    account.consumer_secret = settings.MPESA_CONSUMER_SECRET
    account.passkey = settings.MPESA_PASSKEY
    account.initiator_name = settings.MPESA_INITIATOR_NAME
    account.initiator_password = settings.MPESA_INITIATOR_PASSWORD
    account.save()
    return account


def credentials(account: MpesaAccount) -> Credentials:
    """Return what the gateway needs, unsealed. Raises NotConfigured if it cannot."""
    try:
        found = Credentials(
            environment=account.environment,
            is_till=account.type == AccountType.TILL,
            shortcode=account.shortcode,
            party_b=account.party_b,
            consumer_key=account.consumer_key,
            consumer_secret=account.consumer_secret,
            passkey=account.passkey,
        )
    except Unsealable as error:
        logger.error("%s", error)  # noqa: TRY400 -- it says all; there is no defect here
        raise KeysUnreadable from error
    if not (found.consumer_key and found.consumer_secret and found.passkey):
        raise NotConfigured
    return found


def _has_keys_of_settings(account: MpesaAccount) -> bool:
    try:
        return (
            account.consumer_key == settings.MPESA_CONSUMER_KEY
            and account.consumer_secret == settings.MPESA_CONSUMER_SECRET
            and account.passkey == settings.MPESA_PASSKEY
            and account.initiator_name == settings.MPESA_INITIATOR_NAME
            and account.initiator_password == settings.MPESA_INITIATOR_PASSWORD
        )
    except Unsealable:
        return False
