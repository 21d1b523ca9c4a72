"""M-Pesa accounts and which of them a shop uses. Secrets are never shown."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from payments import c2b
from payments.admin import cells as words_of
from payments.models import MpesaAccount
from shops import book_cells as cells
from shops.book_filters import ShopFilter
from shops.books import BookAdmin, ModelForm, reach_of


SET, NOT_SET = "set", "not set"
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


class MpesaAccountAdmin(BookAdmin):
    """A till or paybill. The platform's own is shown to the operator alone.

    Owner and manager say how payments by hand are taken; nothing else is changed here.
    """

    list_display = (
        "name", "type", "shortcode", "environment", "keys", "is_active", "shop_name",
    )  # fmt: skip
    list_display_links = ("name",)
    list_filter = (ShopFilter, "is_active")
    list_select_related = ("shop",)
    search_fields = ("=shortcode", "=party_b")
    search_help_text = "Paybill, till or store number"
    actions = ("register", "retire_older")
    readonly_fields = (
        "name", "shop_name", "environment", "type", "shortcode", "party_b", "is_active",
        "key", "secret", "pass_key", "initiator_name", "initiator", "since",
        "by_hand", "last_by_hand",
    )  # fmt: skip
    fields = (*readonly_fields, "validates_strictly")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        reach = reach_of(request)
        shop_id = self.shop_id_of(obj)
        if obj is not None and shop_id is None:
            return reach.is_operator
        return reach.may_manage(shop_id)

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

    @admin.display(description="Account")
    def name(self, account: MpesaAccount) -> str:
        """Its kind and number."""
        return f"{account.get_type_display()} {account.party_b}"

    @admin.display(description="Keys")
    def keys(self, account: MpesaAccount) -> SafeString:
        """Whether prompts can be sent with what is there."""
        sealed = (
            account.consumer_key_sealed,
            account.consumer_secret_sealed,
            account.passkey_sealed,
        )
        return _told(all(sealed))

    @admin.display(description="Consumer key")
    def key(self, account: MpesaAccount) -> SafeString:
        """Whether it is there."""
        return _told(account.consumer_key_sealed)

    @admin.display(description="Consumer secret")
    def secret(self, account: MpesaAccount) -> SafeString:
        """Whether it is there."""
        return _told(account.consumer_secret_sealed)

    @admin.display(description="Passkey")
    def pass_key(self, account: MpesaAccount) -> SafeString:
        """Whether it is there."""
        return _told(account.passkey_sealed)

    @admin.display(description="Initiator's password")
    def initiator(self, account: MpesaAccount) -> SafeString:
        """Whether it is there."""
        return _told(account.initiator_password_sealed)

    @admin.display(description="Since")
    def since(self, account: MpesaAccount) -> SafeString:
        """When it was entered."""
        return cells.moment(account.created_at)


class MpesaSettingsForm(ModelForm):
    """Which account a shop's money goes to: never somebody else's."""

    def clean(self) -> dict[str, Any]:
        """Refuse an account of another shop, or of another environment."""
        cleaned = super().clean() or self.cleaned_data
        account = cleaned.get("account")
        shop = cleaned.get("shop") or self.instance.shop
        if account is None:
            return cleaned
        if shop is None or account.shop_id != shop.pk:
            self.add_error("account", "This account is not the shop's own.")
        elif account.environment != settings.MPESA_ENV:
            self.add_error("account", "This account is of another environment.")
        if cleaned.get("uses_platform_account"):
            self.add_error(
                "uses_platform_account", "Choose one: the platform's, or its own."
            )
        return cleaned


class MpesaSettingsAdmin(BookAdmin):
    """How a shop uses M-Pesa.

    The operator chooses the account for now. The shop's manager says what a payment
    by hand may pay before M-Pesa confirmed it, its owner from what on a refund needs
    two people.
    """

    form = MpesaSettingsForm
    list_display = (
        "shop", "account", "uses_platform_account", "max_amount", "claimed_limit",
        "second_person_from",
    )  # fmt: skip
    list_filter = (ShopFilter, "uses_platform_account")
    list_select_related = ("shop", "account")
    search_fields = ("shop__name",)
    search_help_text = "A shop's name"
    fields = (
        "shop", "account", "uses_platform_account", "max_amount", "claimed_limit",
        "second_person_from",
    )  # fmt: skip

    def get_readonly_fields(
        self, request: HttpRequest, obj: Any = None
    ) -> tuple[str, ...]:
        """Return the shop, once it is chosen, and what the person may not set."""
        if obj is None:
            return ()
        reach = reach_of(request)
        if reach.is_operator:
            return ("shop",)
        fixed = ("shop", "account", "uses_platform_account", "max_amount")
        is_owner = reach.is_owner(self.shop_id_of(obj))
        return fixed if is_owner else (*fixed, "second_person_from")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return reach_of(request).is_operator

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return reach_of(request).may_manage(self.shop_id_of(obj))


def _told(sealed: object) -> SafeString:
    return cells.pill(SET, cells.GOOD) if sealed else cells.pill(NOT_SET, cells.QUIET)
