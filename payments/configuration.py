"""A shop's own till or paybill: entered, tested, and what is known of it.

What is entered is a candidate until its owner makes it live (`going_live`); until then
the till goes on with what is live. Numbers of an account in use never change: other
numbers are another account. Nothing that M-Pesa says is wrong is ever stored, and any
change takes back what was tested. Secrets go in and never come out.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Q

from orders import queries as order_queries
from payments import account_entry, accounts, connection
from payments.account_entry import KEYS, NAMES, Entered
from payments.connection import Tested
from payments.enums import PaymentStatus
from payments.models import MpesaAccount, MpesaSettings, Payment
from shops.models import Shop
from shops.rights import Right
from shops.tenancy import Access
from smartduka.lib import clock
from smartduka.lib.errors import DomainError, InvalidRequest
from smartduka.lib.transactions import repeated


NUMBERS = ("environment", "type", "shortcode", "party_b")
LONGEST_PROBLEM = 300
LIVE_UNPROVED = "This account is live, so nothing is changed that M-Pesa has not taken."


class NotEntered(accounts.NotConfigured):
    """The shop has no account of its own to be tested or made live."""

    message = "No till or paybill of the shop's own is entered yet."


class ChangedMeanwhile(DomainError):
    """Somebody else saved while this person was still typing."""

    code = "MPESA_CONFIG_CHANGED"
    message = "Somebody else changed these settings meanwhile. Look at them again."
    http_status = 409


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a shop stands: what is live, what is being set up, what was tried."""

    version: int
    own: MpesaAccount | None
    live: MpesaAccount | None
    is_platform: bool
    why_not: str
    last_test: Payment | None

    @property
    def is_live(self) -> bool:
        """Whether the shop's own account, as shown, takes its money."""
        return self.own is not None and self.own == self.live

    @property
    def mode(self) -> str:
        """Whose account takes the shop's money: `own`, `platform` or `none`."""
        if self.is_platform:
            return "platform"
        return "none" if self.live is None else "own"

    @property
    def paid_at(self) -> datetime | None:
        """When the last test payment arrived, if it did."""
        test = self.last_test
        if test is None or test.status != PaymentStatus.COMPLETED:
            return None
        return test.completed_at


@dataclass(frozen=True, slots=True)
class Saved:
    """An account as it is stored now, what changed, and what M-Pesa said of it."""

    account: MpesaAccount
    changed: tuple[str, ...]
    tested: Tested


def standing(shop: Shop) -> Standing:
    """Say where a shop stands. Asks nobody."""
    row = settings_of(shop)
    is_platform = row is not None and row.uses_platform_account
    live = row.account if row is not None else None
    if is_platform:
        live = accounts.platform_account()
    own = own_account(row)
    return Standing(
        version=row.version if row is not None else 0,
        own=own,
        live=live,
        is_platform=is_platform,
        why_not=accounts.why_not(shop),
        last_test=last_test(shop, own or live),
    )


def verification(account: MpesaAccount) -> str:
    """`verified`, `failed` or `pending`: what was tested since the last change."""
    if account.verified_at is not None:
        return "verified"
    return "failed" if account.test_failed else "pending"


def set_at(account: MpesaAccount, name: str) -> datetime | None:
    """When a secret was entered; its row's making where that was not noted."""
    if getattr(account, f"{name}_sealed") is None:
        return None
    at: datetime | None = getattr(account, f"{name}_set_at")
    return at or account.created_at


def enter(access: Access, entered: Entered, *, seen: int | None = None) -> Saved:
    """Store what an owner entered, as a candidate; of a live account its keys alone.

    M-Pesa is asked first: what it says is wrong is refused, with the fields, and so is
    what cannot be proved for an account that is live. `seen` is the version that the
    person looked at. Call outside any transaction; locks the shop's settings.

    Raises Forbidden, InvalidRequest, ChangedMeanwhile.
    """
    access.require(Right.SETTINGS)
    row = settings_of(access.shop)
    version = row.version if row is not None else 0
    if seen is not None and seen != version:
        raise ChangedMeanwhile
    whole = account_entry.checked(entered, access.shop, own_account(row))
    tested = account_entry.proved(whole)
    is_live = row is not None and row.account is not None and whole.fits(row.account)
    if is_live and not tested.is_good:
        raise InvalidRequest(
            f"{LIVE_UNPROVED} {tested.summary}",
            details={"consumer_key": [tested.summary]},
        )
    try:
        account, changed = _store(access, whole, version)
    except IntegrityError as error:
        raise account_entry.taken() from error
    return Saved(account, changed, tested)


def verify(access: Access) -> tuple[MpesaAccount, Tested]:
    """Try the keys of the shop's own account and note what M-Pesa says.

    Call outside any transaction. Raises Forbidden, NotConfigured.
    """
    access.require(Right.SETTINGS)
    account = own_account(settings_of(access.shop))
    if account is None:
        raise NotEntered
    accounts.require_here(account)
    tested = connection.test(accounts.credentials(account))
    _note_tested(account, tested)
    account.refresh_from_db()
    return account, tested


def settings_of(shop: Shop) -> MpesaSettings | None:
    """The shop's settings with their accounts, if there are any yet."""
    rows = MpesaSettings.objects.select_related("account__shop", "candidate__shop")
    return rows.filter(shop=shop).first()


def own_account(row: MpesaSettings | None) -> MpesaAccount | None:
    """The account that is being set up, else the shop's own that is live."""
    if row is None:
        return None
    return row.candidate or row.account


def last_test(shop: Shop, account: MpesaAccount | None) -> Payment | None:
    """The newest test payment into an account."""
    if account is None:
        return None
    tests = order_queries.tests_of(shop).values("pk")
    rows = Payment.objects.filter(account=account, order__in=tests)
    return rows.select_related("order").order_by("-created_at").first()


def locked_settings(shop: Shop) -> MpesaSettings:
    """Lock the shop's settings, made if there are none. Call in a transaction."""
    MpesaSettings.objects.get_or_create(shop=shop)
    rows = MpesaSettings.objects.select_for_update(no_key=True, of=("self",))
    return rows.select_related("account", "candidate").get(shop=shop)


def require_version(row: MpesaSettings, version: int) -> None:
    """Raise ChangedMeanwhile unless the locked row is the one that was read."""
    if row.version != version:
        raise ChangedMeanwhile


@repeated
def _store(
    access: Access, whole: Entered, version: int
) -> tuple[MpesaAccount, tuple[str, ...]]:
    with transaction.atomic(durable=True):
        row = locked_settings(access.shop)
        require_version(row, version)
        account = _account_for(row, whole)
        changed = _write(account, whole)
        is_live = account.pk == row.account_id
        if is_live and not set(NUMBERS).isdisjoint(changed):
            # Nobody has paid into it, and now it is another account.
            row.account, is_live = None, False
        candidate = None if is_live else account
        if changed or row.candidate != candidate:
            row.candidate = candidate
            row.version += 1
            row.save(update_fields=["account", "candidate", "version"])
    return account, changed


def _account_for(row: MpesaSettings, whole: Entered) -> MpesaAccount:
    """The row that these numbers belong in; a new one for numbers of their own.

    One that was never used is written over: the candidate, or one that has a number
    of these already.
    """
    numbers = {
        "environment": settings.MPESA_ENV,
        "type": whole.type,
        "shortcode": whole.shortcode,
        "party_b": whole.party_b,
    }
    rows = MpesaAccount.objects.select_for_update(no_key=True).filter(
        shop=row.shop, environment=settings.MPESA_ENV
    )
    known = rows.filter(**numbers).first()
    if known is not None:
        return known
    alike = Q(shortcode=whole.shortcode) | Q(party_b=whole.party_b)
    account = rows.filter(alike).first()
    if account is None and row.candidate is not None:
        account = rows.filter(pk=row.candidate.pk).first()
    if account is None or account.is_used:
        return MpesaAccount(shop=row.shop, **numbers)
    for name, value in numbers.items():
        setattr(account, name, value)
    return account


def _write(account: MpesaAccount, whole: Entered) -> tuple[str, ...]:
    """Write what is new; return the names of it."""
    stored = MpesaAccount.objects.filter(pk=account.pk).values(*NUMBERS).first() or {}
    changed = [name for name in NUMBERS if stored.get(name) != getattr(account, name)]
    if account.initiator_name != whole.initiator_name:
        account.initiator_name = whole.initiator_name
        changed.append("initiator_name")
    if not account.is_active:
        account.is_active = True
        changed.append("is_active")
    fresh = [
        name
        for name, secret in whole.secrets.items()
        if secret != account_entry.readable(account, name)
    ]
    for name in fresh:
        setattr(account, name, whole.secrets[name])
    if not changed and not fresh:
        return ()
    accounts.take_test_back(account, *fresh)
    account.save()
    return (*changed, *fresh)


@repeated
def _note_tested(account: MpesaAccount, tested: Tested) -> None:
    """Note a test, unless the account was changed while M-Pesa was asked."""
    names = (*NUMBERS, *(f"{name}_sealed" for name in KEYS))
    same = MpesaAccount.objects.filter(
        pk=account.pk, **{name: getattr(account, name) for name in names}
    )
    if tested.is_good:
        same.update(verified_at=clock.now(), test_failed="")
    elif tested.wrong:
        same.update(verified_at=None, test_failed=tested.summary[:LONGEST_PROBLEM])


def names_of(changed: tuple[str, ...]) -> str:
    """Return what changed, as people call it; never what to."""
    words = NAMES | {
        "environment": "environment",
        "type": "kind",
        "shortcode": "store number or paybill",
        "party_b": "number that customers pay to",
        "initiator_name": "initiator",
        "is_active": "in use",
    }
    return ", ".join(words[name] for name in changed)
