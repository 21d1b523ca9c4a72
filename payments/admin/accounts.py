"""M-Pesa accounts in the books. Secrets are never shown."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from payments import c2b
from payments.admin import cells as words_of
from payments.models import MpesaAccount
from shops import book_cells as cells
from shops.book_filters import QuestionFilter, ShopFilter
from shops.books import BookAdmin, facts, reach_of
from shops.rights import Right


SET, NOT_SET = "set", "not set"
# Damaged, moved here from another account or field, or sealed with a key that is gone.
UNREADABLE = "cannot be read: enter it again"
# Each is a call to M-Pesa inside this one request.
AT_ONCE = 5
REGISTERED = (
    "M-Pesa tells payments by hand to a new address of ours from now on. Pay a shilling"
    " by hand to see it arrive."
)
REGISTERED_BEFORE = (
    "M-Pesa has an address for it already and keeps that one. Only a test payment can"
    " show whether it is ours: pay a shilling by hand and look here for it. If it does"
    " not arrive, have the old address removed at M-Pesa's portal, then register again."
)
NONE_TO_RETIRE = (
    "no address was retired: none is older than the one that M-Pesa took last."
    " Register a new one first."
)
NOT_YOURS = "only its owner or manager can do this."


class InUseFilter(QuestionFilter):
    """Whether an account may be used."""

    title, parameter_name = "state", "state"

    def questions(self) -> dict[str, tuple[str, Q]]:
        return {
            "used": ("In use", Q(is_active=True)),
            "old": ("Not used any more", Q(is_active=False)),
        }


class MpesaAccountAdmin(BookAdmin):
    """A till or paybill. The platform's own is shown to the operator alone.

    Owner and manager say how payments by hand are taken; nothing else is changed here.
    """

    book_name, row_name, rows_name = "M-Pesa accounts", "account", "accounts"
    about = (
        "The tills and paybills that money is paid into. Their keys are never shown."
    )
    list_display = (
        "name", "store", "moves", "keys", "by_hand_short", "in_use", "shop_name",
    )  # fmt: skip
    list_display_links = ("name",)
    list_filter = (ShopFilter, InUseFilter)
    list_select_related = ("shop",)
    search_fields = ("=shortcode", "=party_b")
    search_help_text = "Paybill, till or store number"
    actions = ("register", "retire_older")
    labels = {"validates_strictly": "Refuse account numbers that are not ours"}
    help_texts = {
        "validates_strictly": "For paybills: M-Pesa asks us before it takes a payment by"
        " hand. Ticked, one with an unknown account number is sent back to its payer."
    }
    readonly_fields = (
        "name", "shop_name", "moves", "store", "paid_to", "in_use", "since",
        "key", "secret", "pass_key", "who_initiates", "initiator",
        "by_hand", "last_by_hand",
    )  # fmt: skip
    fieldsets = (
        facts("Account", "name", "shop_name", "moves", "paid_to", "store", "in_use",
              "since"),
        facts("Keys", "key", "secret", "pass_key", "who_initiates", "initiator"),
        (
            "Payments by hand",
            {"fields": ("by_hand", "last_by_hand", "validates_strictly")},
        ),
    )  # fmt: skip

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        reach = reach_of(request)
        shop_id = self.shop_id_of(obj)
        if obj is not None and shop_id is None:
            return reach.may(Right.PLATFORM)
        return reach.may(Right.MPESA, shop_id)

    @admin.action(description="Register for payments by hand", permissions=["change"])
    def register(self, request: HttpRequest, queryset: QuerySet[MpesaAccount]) -> None:
        """Have M-Pesa tell payments by hand of the chosen accounts to us.

        Runs outside any transaction: M-Pesa is called.
        """
        for account in self._able(request, queryset):
            try:
                registration = c2b.register(account, request.user)
            except c2b.NotRegistered as error:
                messages.error(request, f"{self.name(account)}: {error.message}")
                continue
            words = REGISTERED if registration.is_ours else REGISTERED_BEFORE
            tone = messages.success if registration.is_ours else messages.warning
            tone(request, f"{self.name(account)}: {words}")
            self.log_change(
                request, account, f"Registered for payments by hand: {words}"
            )

    @admin.action(description="Retire address", permissions=["change"])
    def retire_older(
        self, request: HttpRequest, queryset: QuerySet[MpesaAccount]
    ) -> None:
        """Retire the addresses that a newer one has replaced."""
        for account in self._able(request, queryset):
            count = c2b.retire_older(account)
            if not count:
                messages.warning(request, f"{self.name(account)}: {NONE_TO_RETIRE}")
                continue
            words = "1 older address" if count == 1 else f"{count} older addresses"
            messages.success(request, f"{self.name(account)}: {words} retired.")
            self.log_change(request, account, f"Retired {words}")

    def _able(
        self, request: HttpRequest, queryset: QuerySet[MpesaAccount]
    ) -> list[MpesaAccount]:
        """The chosen accounts that the person may change; the others are named."""
        chosen = list(queryset.select_related("shop").order_by("pk")[:AT_ONCE])
        able = [one for one in chosen if self.has_change_permission(request, one)]
        for account in chosen:
            if account not in able:
                messages.error(request, f"{self.name(account)}: {NOT_YOURS}")
        return able

    @admin.display(description="Payments by hand")
    def by_hand(self, account: MpesaAccount) -> SafeString:
        """Since when M-Pesa tells them, and at how many addresses we listen."""
        count = c2b.valid_addresses(account).count()
        if not count:
            return cells.pill("not registered", cells.QUIET)
        listening = "1 valid address" if count == 1 else f"{count} valid addresses"
        if account.c2b_registered_at is None:
            return cells.pill(f"not confirmed, {listening}", cells.WAIT)
        since = cells.moment(account.c2b_registered_at)
        return format_html("registered {}, {}", since, listening)

    @admin.display(description="Last told of a payment by hand")
    def last_by_hand(self, account: MpesaAccount) -> SafeString:
        """The newest message about a payment by hand, and what became of it."""
        notice = c2b.last_notice(account)
        if notice is None:
            return cells.NOTHING
        link = cells.page(
            "payments_notice", notice.pk, cells.moment(notice.received_at)
        )
        return format_html("{} {}", link, words_of.verdict(notice))

    def title_of(self, row: MpesaAccount) -> str:
        return self.name(row)

    @admin.display(description="Store number")
    def store(self, account: MpesaAccount) -> SafeString:
        """The number that M-Pesa's interface wants; not the one customers pay to."""
        return cells.code(account.shortcode)

    @admin.display(description="Customers pay to")
    def paid_to(self, account: MpesaAccount) -> SafeString:
        """The number that customers see."""
        return cells.code(account.party_b)

    @admin.display(description="Money")
    def moves(self, account: MpesaAccount) -> SafeString:
        """Whether real money moves there."""
        tone = cells.QUIET if words_of.unreal(account) else cells.GOOD
        return cells.pill(words_of.environment(account.environment), tone)

    @admin.display(description="State", ordering="is_active")
    def in_use(self, account: MpesaAccount) -> SafeString:
        """Whether it may be used."""
        if account.is_active:
            return cells.pill("in use", cells.GOOD)
        return cells.pill("not used any more", cells.QUIET)

    @admin.display(description="Payments by hand")
    def by_hand_short(self, account: MpesaAccount) -> SafeString:
        """Whether M-Pesa tells them to us."""
        if account.c2b_registered_at is None:
            return cells.pill("not told", cells.QUIET)
        return cells.pill("told to us", cells.GOOD)

    @admin.display(description="Initiator")
    def who_initiates(self, account: MpesaAccount) -> str:
        """Who asks M-Pesa about the account, and sends money back."""
        return account.initiator_name or cells.NOTHING

    @admin.display(description="Account")
    def name(self, account: MpesaAccount) -> str:
        """Its kind and number."""
        return f"{account.get_type_display()} {account.party_b}"

    @admin.display(description="Keys")
    def keys(self, account: MpesaAccount) -> SafeString:
        """Whether prompts can be sent with what is there."""
        return _told(account, "consumer_key", "consumer_secret", "passkey")

    @admin.display(description="Consumer key")
    def key(self, account: MpesaAccount) -> SafeString:
        """Whether it is there."""
        return _told(account, "consumer_key")

    @admin.display(description="Consumer secret")
    def secret(self, account: MpesaAccount) -> SafeString:
        """Whether it is there."""
        return _told(account, "consumer_secret")

    @admin.display(description="Passkey")
    def pass_key(self, account: MpesaAccount) -> SafeString:
        """Whether it is there."""
        return _told(account, "passkey")

    @admin.display(description="Initiator's password")
    def initiator(self, account: MpesaAccount) -> SafeString:
        """Whether it is there."""
        return _told(account, "initiator_password")

    @admin.display(description="Since")
    def since(self, account: MpesaAccount) -> SafeString:
        """When it was entered."""
        return cells.moment(account.created_at)


def _told(account: MpesaAccount, *names: str) -> SafeString:
    """Say whether all of these secrets are there and can be read; never more."""
    secrets = [getattr(MpesaAccount, name) for name in names]
    if not all(secret.opens(account) for secret in secrets):
        return cells.pill(UNREADABLE, cells.BAD)
    if all(getattr(account, secret.column) for secret in secrets):
        return cells.pill(SET, cells.GOOD)
    return cells.pill(NOT_SET, cells.QUIET)
