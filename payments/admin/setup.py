"""The page on which an owner sets up M-Pesa, step by step.

Choose whose account, enter its numbers and keys, test the connection, pay a shilling,
go live. Each button is one call of the domain; what it refuses stands beside the field.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.forms import Form
from django.http import HttpRequest, HttpResponseRedirect
from django.urls import reverse
from django.utils.safestring import SafeString
from django.utils.translation import get_language

from payments import accounts, configuration, going_live, states
from payments.admin import cells as words_of
from payments.admin.setup_forms import (
    ConsentForm,
    KeysForm,
    LiveForm,
    PhoneForm,
    StepForm,
)
from payments.configuration import ChangedMeanwhile
from payments.connection import Tested
from payments.enums import AccountType, FailureReason, PaymentStatus
from payments.models import MpesaAccount, Payment
from shops import book_cells as cells
from shops.models import Shop
from shops.rights import Right
from shops.tenancy import Access
from shops.words import sentence
from smartduka.lib.errors import DomainError


PLATFORM = "platform"
KINDS = (AccountType.TILL.value, AccountType.PAYBILL.value, PLATFORM)
# What the till says to a cashier; the owner reads this page.
FOR_CASHIERS = " Take cash, and tell the owner."
AGREE_PLATFORM = "Customers shall pay into the platform's account for this shop."
AGREE_STOP = "The till shall ask no phone for M-Pesa any more."
SAVED = "Saved. Now test the connection."
SAVED_LIVE = "Saved, and live: the till uses it from now on. Test the connection."
NOT_ASKED = "Saved. M-Pesa did not say yet whether it is right: {why}"
UNCHANGED = "Nothing was changed."
VERIFIED = "The connection works: M-Pesa takes the keys, the number and the passkey."
ASKED = "The phone was asked for KES 1. Type the M-Pesa PIN there."
ASKED_NOBODY_KNOWS = "M-Pesa has not answered: the phone may be asked all the same."
ASKED_ALREADY = "This phone was asked already. Look at it."
WAITING = "Waiting for the M-Pesa PIN on the phone."
WAITING_REMEDY = "This page shows by itself what becomes of it."
REFUSED = "M-Pesa takes no payment with these numbers and keys."
REFUSED_REMEDY = "Look whether the numbers belong together, then try again."
LIVE = "Live: customers pay to {number} from now on."
PLATFORM_LIVE = "Customers pay into the platform's account from now on."
STOPPED = "M-Pesa is off. Take cash until you make an account live."


@dataclass(frozen=True, slots=True)
class Verdict:
    """Where customers' money goes, as the page says it first."""

    tone: str
    state: str
    told: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """One card of the page: how far it is. `may` says that its turn has come."""

    state: SafeString
    may: bool


@dataclass(frozen=True, slots=True)
class Tried:
    """What became of the last shilling."""

    tone: str
    told: str
    remedy: str
    at: SafeString
    address: str
    is_open: bool


class SetupPage:
    """One showing of the page: where the shop stands, and one form that was sent."""

    def __init__(self, request: HttpRequest, shop: Shop, access: Access) -> None:
        self.request, self.shop, self.access = request, shop, access
        self.may_act = access.may(Right.SETTINGS)
        self.standing = configuration.standing(shop)
        self.kind = self._kind()
        self.forms: dict[str, Any] = {}
        # What was done, for the history of the settings.
        self.done = ""
        # The card that the person needs next.
        self.next = ""

    @property
    def account(self) -> MpesaAccount | None:
        """The account of the steps, of the kind that is shown."""
        own = self.standing.own
        return own if own is not None and own.type == self.kind else None

    def act(self) -> bool:
        """Carry out what was sent; whether it was done. Asks M-Pesa."""
        name = str(self.request.POST.get("act", ""))
        if name not in ACTS:
            return False
        form = self.form(name, self.request.POST)
        if form.is_valid():
            try:
                ACTS[name](self, form)
            except ChangedMeanwhile as error:
                messages.error(self.request, sentence(error))
                return True
            except DomainError as error:
                form.refuse(error)
        form.point()
        return not form.errors

    def form(self, name: str, data: Any = None) -> StepForm:
        """Return the form of a button, filled with what was sent or what is there."""
        if name in self.forms:
            found: StepForm = self.forms[name]
            return found
        start = {"version": self.standing.version}
        made: StepForm
        if name == "keys":
            made = self._keys_form(data, start)
        elif name == "pay":
            made = PhoneForm(data, initial=start, prefix=name)
        elif name == "live":
            made = LiveForm(data, initial=start, prefix=name)
        elif name == "verify":
            made = StepForm(data, initial=start, prefix=name)
        else:
            words = AGREE_PLATFORM if name == PLATFORM else AGREE_STOP
            made = ConsentForm(words, data, initial=start, prefix=name)
        self.forms[name] = made
        return made

    def again(self) -> HttpResponseRedirect:
        """Lead to the page as it is now."""
        page = reverse("admin:payments_mpesasettings_setup", args=[self.shop.pk])
        where = f"{page}?kind={self.kind}" if self.kind else page
        return HttpResponseRedirect(f"{where}#{self.next}" if self.next else where)

    def context(self) -> dict[str, Any]:
        """Return what the template shows."""
        account = self.account
        may_test = account is not None and account.environment == settings.MPESA_ENV
        tried = self._tried()
        return {
            "shop": self.shop,
            "kind": self.kind,
            "kinds": self._kinds(),
            "is_platform": self.standing.is_platform,
            "verdict": self._verdict(),
            "account": account,
            "may_act": self.may_act,
            "has_platform": accounts.platform_account() is not None,
            "steps": {
                "keys": Step(self._keys_state(), may=True),
                "verify": Step(self._verify_state(), may=may_test),
                "pay": Step(self._pay_state(tried), may=may_test),
                "live": Step(self._live_state(), may=may_test),
            },
            "reasons": going_live.why_not_live(account) if account else [],
            "is_live": account is not None and account == self.standing.live,
            "takes_money": self.standing.mode != "none",
            "tried": tried,
            "look_again": self._look_again(),
            "paid": self.standing.paid_at is not None,
            "verified_at": cells.moment(account.verified_at if account else None),
            "forms": {name: self.form(name) for name in ACTS if self._shows(name)},
        }

    def _shows(self, name: str) -> bool:
        return name != "keys" or self.kind in AccountType.values

    def _look_again(self) -> str:
        """Where the page looks for the shilling: an address that is new each time.

        The same one with a fragment would not be loaded again.
        """
        look = "2" if self.request.GET.get("look") == "1" else "1"
        return f"?kind={self.kind}&look={look}#pay"

    def _kind(self) -> str:
        wanted = self.request.GET.get("kind", "")
        if wanted in KINDS:
            return wanted
        if self.standing.is_platform and self.standing.own is None:
            return PLATFORM
        own = self.standing.own
        return own.type if own is not None else ""

    def _kinds(self) -> list[dict[str, Any]]:
        live = self.standing.live
        mine = live.type if live is not None and not self.standing.is_platform else ""
        using = PLATFORM if self.standing.is_platform else mine
        told = {
            AccountType.TILL.value: ("Our own till", "Buy Goods: a till number"),
            AccountType.PAYBILL.value: ("Our own paybill", "A business number"),
            PLATFORM: (
                "The platform's account",
                "It passes our takings on to us",
            ),
        }
        return [
            {
                "key": kind,
                "name": name,
                "about": about,
                "chosen": kind == self.kind,
                "live": kind == using,
            }
            for kind, (name, about) in told.items()
        ]

    def _keys_form(self, data: Any, start: dict[str, Any]) -> KeysForm:
        own = self.account
        numbers = {}
        if own is not None:
            numbers = {
                "shortcode": own.shortcode,
                "party_b": own.party_b,
                "initiator_name": own.initiator_name,
            }
        kind = self.kind if self.kind in AccountType.values else AccountType.TILL
        own_here = self.standing.own
        if own_here is not None and own_here.environment != settings.MPESA_ENV:
            own_here = None
        return KeysForm(kind, own_here, data, initial=start | numbers, prefix="keys")

    def _verdict(self) -> Verdict:
        standing = self.standing
        why_not = standing.why_not.removesuffix(FOR_CASHIERS)
        beside: tuple[str, ...] = ()
        own = standing.own
        if own is not None and own != standing.live and standing.live is not None:
            beside = (f"Being set up: {_name(own)}. It is not live.",)
        if why_not:
            told = "The till cannot ask phones for M-Pesa"
            return Verdict(cells.BAD, "Not live", told, (why_not, *beside))
        if standing.is_platform:
            told = "Customers pay into the platform's account"
        else:
            assert standing.live is not None
            told = f"Customers pay to {_name(standing.live)}"
        return Verdict(cells.GOOD, "Live", told, beside)

    def _keys_state(self) -> SafeString:
        account = self.account
        if account is None:
            return cells.pill("to enter", cells.WAIT)
        if going_live.KEYS_MISSING in going_live.why_not_live(account):
            return cells.pill("not complete", cells.BAD)
        if account.environment != settings.MPESA_ENV:
            return cells.pill("of another environment", cells.BAD)
        return cells.pill("entered", cells.GOOD)

    def _verify_state(self) -> SafeString:
        account = self.account
        if account is None:
            return cells.pill("later", cells.QUIET)
        return {
            "verified": cells.pill("tested", cells.GOOD),
            "failed": cells.pill("failed", cells.BAD),
            "pending": cells.pill("not tested since the last change", cells.WAIT),
        }[configuration.verification(account)]

    def _pay_state(self, tried: Tried | None) -> SafeString:
        if self.account is None:
            return cells.pill("later", cells.QUIET)
        if tried is None:
            return cells.pill("not tried", cells.WAIT)
        if tried.tone == cells.GOOD:
            return cells.pill("paid", cells.GOOD)
        return cells.pill("waiting" if tried.is_open else "not paid", tried.tone)

    def _live_state(self) -> SafeString:
        account = self.account
        if account is not None and account == self.standing.live:
            return cells.pill("live", cells.GOOD)
        return cells.pill("not live", cells.QUIET)

    def _tried(self) -> Tried | None:
        test = self.standing.last_test
        if test is None or test.account_id != (self.account and self.account.pk):
            return None
        told, remedy = _told(test)
        return Tried(
            tone=words_of.tone(test),
            told=told,
            remedy=remedy,
            at=cells.moment(test.completed_at or test.created_at),
            address=reverse("admin:payments_payment_change", args=[test.pk]),
            is_open=test.is_open,
        )

    # What the buttons do. Each is one call of the domain.

    def _seen(self, form: Form) -> int | None:
        seen: int | None = form.cleaned_data["version"]
        return seen

    def _enter(self, form: KeysForm) -> None:
        saved = configuration.enter(self.access, form.entered(), seen=self._seen(form))
        if not saved.changed:
            messages.info(self.request, UNCHANGED)
            return
        self.done = f"Entered: {configuration.names_of(saved.changed)}"
        if not saved.tested.is_good:
            why = saved.tested.summary
            messages.warning(self.request, NOT_ASKED.format(why=why))
        elif configuration.standing(self.shop).is_live:
            messages.success(self.request, SAVED_LIVE)
        else:
            self.next = "verify"
            messages.success(self.request, SAVED)

    def _verify(self, form: StepForm) -> None:
        _, tested = configuration.verify(self.access)
        self.done = f"Tested the connection: {_outcome(tested)}"
        if tested.is_good:
            self.next = "pay"
            messages.success(self.request, VERIFIED)
        else:
            messages.error(self.request, tested.summary)

    def _pay(self, form: PhoneForm) -> None:
        prompted = going_live.pay_test(self.access, form.cleaned_data["phone"])
        self.done = "Asked a phone for KES 1, as a test"
        self._tell_asked(prompted.payment, is_new=prompted.is_new)

    def _tell_asked(self, payment: Payment, *, is_new: bool) -> None:
        if not is_new:
            messages.info(self.request, ASKED_ALREADY)
        elif payment.status == PaymentStatus.FAILED:
            messages.error(self.request, " ".join(_told(payment)))
        elif payment.status == PaymentStatus.CREATED:
            messages.warning(self.request, ASKED_NOBODY_KNOWS)
        else:
            self.next = "pay"
            messages.success(self.request, ASKED)

    def _go_live(self, form: LiveForm) -> None:
        account = going_live.go_live(
            self.access, form.cleaned_data["confirm"], seen=self._seen(form)
        )
        number = _name(account)
        self.done = f"Made {number} live"
        messages.success(self.request, LIVE.format(number=number))

    def _choose_platform(self, form: ConsentForm) -> None:
        going_live.choose_platform(self.access, seen=self._seen(form))
        self.kind, self.done = PLATFORM, "Chose the platform's account"
        messages.success(self.request, PLATFORM_LIVE)

    def _stop(self, form: ConsentForm) -> None:
        going_live.stop(self.access, seen=self._seen(form))
        self.done = "Stopped M-Pesa"
        messages.success(self.request, STOPPED)


ACTS: dict[str, Callable[[SetupPage, Any], None]] = {
    "keys": SetupPage._enter,
    "verify": SetupPage._verify,
    "pay": SetupPage._pay,
    "live": SetupPage._go_live,
    PLATFORM: SetupPage._choose_platform,
    "stop": SetupPage._stop,
}


def _name(account: MpesaAccount) -> str:
    kind = "till" if account.type == AccountType.TILL else "paybill"
    return f"{kind} {account.party_b}"


def _told(test: Payment) -> tuple[str, str]:
    """What became of a test payment, and what to do: told to its owner."""
    if test.is_open:
        return WAITING, WAITING_REMEDY
    if test.failure_reason == FailureReason.SHOP_ACCOUNT:
        return REFUSED, REFUSED_REMEDY
    words, language = states.explain(test), get_language() or "en"
    return words.reason(language), words.remedy(language)


def _outcome(tested: Tested) -> str:
    if tested.is_good:
        return "it works"
    return "it fails" if tested.wrong else "M-Pesa did not say"
