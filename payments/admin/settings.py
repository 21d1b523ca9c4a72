"""How a shop uses M-Pesa: its limits, and the page on which its owner sets it up."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.safestring import SafeString

from payments.admin import cells as words_of
from payments.admin.setup import SetupPage
from payments.models import MpesaSettings
from shops import book_cells as cells
from shops import tenancy
from shops.book_filters import QuestionFilter, ShopFilter
from shops.books import BookAdmin, reach_of
from shops.rights import Right
from shops.tenancy import Access
from smartduka.lib.errors import NotFound


class WhereFilter(QuestionFilter):
    """Where the money of shops goes."""

    title, parameter_name = "money goes to", "where"

    def questions(self) -> dict[str, tuple[str, Q]]:
        return {
            "platform": ("The platform's account", Q(uses_platform_account=True)),
            "own": ("Their own account", Q(account__isnull=False)),
            "none": (
                "No account",
                Q(account__isnull=True, uses_platform_account=False),
            ),
        }


class MpesaSettingsAdmin(BookAdmin):
    """How a shop uses M-Pesa.

    Its owner chooses the account, on a page of its own, and says from what on a refund
    needs two people; the manager what a payment by hand may pay before M-Pesa confirmed
    it; the operator the highest amount of a prompt.
    """

    book_name, row_name, rows_name = "M-Pesa settings", "shop's settings", "shops"
    about = "Where a shop's money goes, and how careful it is."
    labels = {
        "max_amount": "Highest amount of a prompt",
        "claimed_limit": "Trust payments by hand up to",
        "second_person_from": "Refunds need a second person from",
    }
    help_texts = {
        "max_amount": "KES. Empty: as high as this installation allows.",
        "claimed_limit": "KES. So much may pay a sale before M-Pesa's own books"
        " confirm it. 0: nothing is trusted.",
        "second_person_from": "KES. A refund goes out at once while all that went back"
        " of the same money or sale, with nobody's approval, stays below this.",
    }
    list_display = ("of_shop", "pays_into", "highest", "trusts", "two_from")
    list_display_links = ("of_shop",)
    list_filter = (ShopFilter, WhereFilter)
    list_select_related = ("shop", "account")
    search_fields = ("shop__name",)
    search_help_text = "A shop's name"
    fields = ("shop", "max_amount", "claimed_limit", "second_person_from")

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.setup_view)
        name = "payments_mpesasettings_setup"
        return [path("setup/<int:shop_id>/", view, name=name), *super().get_urls()]

    def setup_view(self, request: HttpRequest, shop_id: int) -> HttpResponse:
        """Set up M-Pesa step by step: the shop's owner. The operator may look.

        Runs outside any transaction: M-Pesa is called.
        """
        access = self._access(request, shop_id)
        page = SetupPage(request, access.shop, access)
        if request.method == "POST":
            if not page.may_act:
                raise PermissionDenied
            is_done = page.act()
            if page.done:
                row = MpesaSettings.objects.get_or_create(shop=access.shop)[0]
                self.log_change(request, row, page.done)
            if is_done:
                return page.again()
        context = {
            **self.admin_site.each_context(request),
            **page.context(),
            "opts": self.opts,
            "book": self.name_of_book,
            "title": f"M-Pesa of {access.shop.name}",
        }
        template = "admin/payments/mpesasettings/setup.html"
        return TemplateResponse(request, template, context)

    def _access(self, request: HttpRequest, shop_id: int) -> Access:
        """Return for whom the person acts.

        Raises Http404 for a shop that is not theirs, PermissionDenied without the
        right to its settings.
        """
        try:
            access = tenancy.access(request.user, str(shop_id))
        except NotFound:
            raise Http404 from None
        if not reach_of(request).may(Right.SETTINGS, access.shop.pk):
            raise PermissionDenied
        return access

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Lead owners to the page where M-Pesa is set up."""
        own = reach_of(request).shops_with(Right.SETTINGS)
        more = {"own_shops": own}
        return super().changelist_view(request, more | (extra_context or {}))

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        row = context["original"]
        may_set_up = row and reach_of(request).may(Right.SETTINGS, row.shop_id)
        context["setup_of"] = row.shop_id if may_set_up else None
        return super().render_change_form(request, context, *args, **kwargs)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """Return the fields; in words where the person may not set them."""
        if obj is None:
            return self.fields
        if reach_of(request).is_operator:
            return ("shop", "pays_into", *self.fields[1:])
        is_owner = reach_of(request).may(Right.SETTINGS, self.shop_id_of(obj))
        may_manage = self.has_change_permission(request, obj)
        return (
            "of_shop", "pays_into", "highest",
            "claimed_limit" if may_manage else "trusts",
            "second_person_from" if is_owner else "two_from",
        )  # fmt: skip

    def get_readonly_fields(
        self, request: HttpRequest, obj: Any = None
    ) -> tuple[str, ...]:
        """Return the shop, once it is chosen, and what the person may not set."""
        if obj is None:
            return ()
        if reach_of(request).is_operator:
            return ("shop", "pays_into")
        said = ("of_shop", "pays_into", "highest", "trusts", "two_from")
        return tuple(name for name in said if name in self.get_fields(request, obj))

    def has_add_permission(self, request: HttpRequest) -> bool:
        return reach_of(request).may(Right.PLATFORM)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return reach_of(request).may(Right.MPESA, self.shop_id_of(obj))

    @admin.display(description="Shop", ordering="shop__name")
    def of_shop(self, row: MpesaSettings) -> str:
        """Whose settings they are."""
        return row.shop.name

    @admin.display(description="Money goes to")
    def pays_into(self, row: MpesaSettings) -> SafeString | str:
        """The account; nothing means that the shop cannot send prompts."""
        if row.uses_platform_account:
            return "The platform's account"
        if row.account is None:
            words = "not live" if row.candidate_id else "no account"
            return cells.pill(f"{words}: cannot send prompts", cells.BAD)
        return words_of.account(row.account)

    @admin.display(description="Highest amount", ordering="max_amount")
    def highest(self, row: MpesaSettings) -> SafeString | str:
        """The highest amount of a prompt."""
        return cells.kes(Decimal(row.max_amount)) if row.max_amount else "No own limit"

    @admin.display(description="Trusts by hand up to", ordering="claimed_limit")
    def trusts(self, row: MpesaSettings) -> SafeString | str:
        """What a payment by hand may pay before it is confirmed."""
        return cells.kes(Decimal(row.claimed_limit)) if row.claimed_limit else "Nothing"

    @admin.display(description="Two people from", ordering="second_person_from")
    def two_from(self, row: MpesaSettings) -> SafeString:
        """From what on a refund needs a second person."""
        return cells.kes(Decimal(row.second_person_from))
