"""M-Pesa accounts and which of them a shop uses. Secrets are never shown."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import admin
from django.http import HttpRequest
from django.utils.safestring import SafeString

from payments.models import MpesaAccount
from shops import book_cells as cells
from shops.book_filters import ShopFilter
from shops.books import BookAdmin, ModelForm, reach_of


SET, NOT_SET = "set", "not set"


class MpesaAccountAdmin(BookAdmin):
    """A till or paybill. The platform's own is shown to the operator alone."""

    list_display = (
        "name", "type", "shortcode", "environment", "keys", "is_active", "shop_name",
    )  # fmt: skip
    list_display_links = ("name",)
    list_filter = (ShopFilter, "is_active")
    list_select_related = ("shop",)
    search_fields = ("=shortcode", "=party_b")
    search_help_text = "Paybill, till or store number"
    fields = readonly_fields = (
        "name", "shop_name", "environment", "type", "shortcode", "party_b", "is_active",
        "key", "secret", "pass_key", "initiator_name", "initiator", "since",
    )  # fmt: skip

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
    """A shop's choice of account. The operator makes it for now."""

    form = MpesaSettingsForm
    list_display = ("shop", "account", "uses_platform_account", "max_amount")
    list_filter = (ShopFilter, "uses_platform_account")
    list_select_related = ("shop", "account")
    search_fields = ("shop__name",)
    search_help_text = "A shop's name"
    fields = ("shop", "account", "uses_platform_account", "max_amount")

    def get_readonly_fields(
        self, request: HttpRequest, obj: Any = None
    ) -> tuple[str, ...]:
        """Return the shop, once it is chosen."""
        return () if obj is None else ("shop",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return reach_of(request).is_operator

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return reach_of(request).is_operator


def _told(sealed: object) -> SafeString:
    return cells.pill(SET, cells.GOOD) if sealed else cells.pill(NOT_SET, cells.QUIET)
