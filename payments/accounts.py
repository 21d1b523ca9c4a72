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
from smartduka.lib import clock
from smartduka.lib.errors import DomainError
from smartduka.lib.sealing import Unsealable


logger = logging.getLogger(__name__)

SECRETS = ("consumer_key", "consumer_secret", "passkey", "initiator_password")


class NotConfigured(DomainError):
    """The shop has no account that prompts can be sent from."""

    code = "MPESA_NOT_CONFIGURED"
    message = "M-Pesa is not set up for this shop. Take cash, and tell the owner."
    http_status = 409


class KeysUnreadable(NotConfigured):
    """A secret is damaged, was moved from elsewhere, or its key is gone."""

    message = "The shop's M-Pesa keys cannot be read. Take cash, and tell the owner."


NOT_LIVE = (
    "M-Pesa is entered for this shop, but not live yet. Take cash, and tell the owner."
)
NO_PLATFORM = (
    "The platform's M-Pesa account is not set up. Take cash, and tell the owner."
)
NOT_USED = (
    "The shop's M-Pesa account is not in use any more. Take cash, and tell the owner."
)
OTHER_ENVIRONMENT = (
    "The shop's M-Pesa account does not belong here. Take cash, and tell the owner."
)
CHANGED = "The M-Pesa account was changed meanwhile. Look at it again."
NO_KEYS = "The shop's M-Pesa keys are missing. Take cash, and tell the owner."


def account_of(shop: Shop) -> MpesaAccount:
    """Return the living account of the shop's choice. Raises NotConfigured, with why.

    An account of another environment than the installation's settles nothing
    (law 13).
    """
    choice = MpesaSettings.objects.filter(shop=shop).select_related("account").first()
    if choice is None:
        raise NotConfigured
    account = platform_account() if choice.uses_platform_account else choice.account
    if account is None:
        if choice.uses_platform_account:
            raise NotConfigured(NO_PLATFORM)
        raise NotConfigured(NOT_LIVE if choice.candidate_id is not None else None)
    if not account.is_active:
        raise NotConfigured(NOT_USED)
    require_here(account)
    return account


def environments() -> tuple[str, str]:
    """Those whose money counts here (law 13): our own, and that of cash, which has none."""
    return ("", settings.MPESA_ENV)


def require_here(account: MpesaAccount) -> None:
    """Raise NotConfigured for an account of another environment (law 13)."""
    if account.environment != settings.MPESA_ENV:
        raise NotConfigured(OTHER_ENVIRONMENT)


def held(account: MpesaAccount) -> MpesaAccount:
    """Lock an account that is being set up, for a payment. Call in a transaction.

    Raises NotConfigured if its numbers were changed meanwhile: they are written on
    the payment, and never change once there is one.
    """
    rows = MpesaAccount.objects.select_for_update(no_key=True)
    found = rows.get(pk=account.pk)
    names = MpesaAccount.NUMBERS
    if any(getattr(found, name) != getattr(account, name) for name in names):
        raise NotConfigured(CHANGED)
    return found


def why_not(shop: Shop) -> str:
    """Why this shop cannot send prompts, as the till says it; "" if it can."""
    try:
        credentials(account_of(shop))
    except NotConfigured as error:
        return error.message
    return ""


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
    take_test_back(account, *SECRETS)
    account.save()
    return account


def take_test_back(account: MpesaAccount, *entered: str) -> None:
    """Note that an account was changed: what was tested is not what is there now.

    `entered` are the secrets that are new. Saves nothing.
    """
    now = clock.now()
    for name in entered:
        is_there = getattr(account, f"{name}_sealed") is not None
        setattr(account, f"{name}_set_at", now if is_there else None)
    account.verified_at, account.test_failed = None, ""


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
        raise NotConfigured(NO_KEYS)
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
