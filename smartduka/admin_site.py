"""The admin: the books of every app under one roof, for who may read them.

What is shown is listed here by name. Apps of others do not add themselves: the
queue's own pages, for one, would let somebody delete a task that money waits for.
"""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, URLResolver, reverse

from orders.admin import OrderAdmin
from orders.models import Order
from payments.admin import attention, doctor, home
from payments.admin.accounts import MpesaAccountAdmin
from payments.admin.acts import ActAdmin
from payments.admin.attempts import PaymentAdmin
from payments.admin.corrections import CorrectionAdmin
from payments.admin.failures import FailedPaymentAdmin
from payments.admin.messages import NoticeAdmin
from payments.admin.money import AllocationAdmin, CollectionAdmin
from payments.admin.movements import MovementAdmin
from payments.admin.receipts import ReceiptAdmin
from payments.admin.refunds import RefundAdmin
from payments.admin.settings import MpesaSettingsAdmin
from payments.admin.statements import StatementImportAdmin
from payments.admin.suspicions import SuspicionAdmin
from payments.models import (
    Act,
    Allocation,
    Collection,
    Correction,
    FailedPayment,
    Movement,
    MpesaAccount,
    MpesaSettings,
    Notice,
    Payment,
    Receipt,
    Refund,
    StatementImport,
    Suspicion,
)
from shops.admin import ProductAdmin, ShopAdmin, StockMovementAdmin
from shops.books import ModelAdmin, reach_of
from shops.models import Membership, Product, Shop, StockMovement
from shops.staff_books import MembershipAdmin, PersonAdmin
from smartduka import pages


Book = tuple[type[Model], type[ModelAdmin]]
# In the order in which they are shown, each group under its name.
GROUPS: tuple[tuple[str, tuple[Book, ...]], ...] = (
    (
        "Sales and payments",
        (
            (Order, OrderAdmin),
            (Payment, PaymentAdmin),
            (FailedPayment, FailedPaymentAdmin),
            (Refund, RefundAdmin),
        ),
    ),
    (
        "Money",
        (
            (Collection, CollectionAdmin),
            (Allocation, AllocationAdmin),
            (Correction, CorrectionAdmin),
        ),
    ),
    (
        "M-Pesa",
        (
            (Notice, NoticeAdmin),
            (Receipt, ReceiptAdmin),
            (StatementImport, StatementImportAdmin),
            (Movement, MovementAdmin),
            (MpesaSettings, MpesaSettingsAdmin),
            (MpesaAccount, MpesaAccountAdmin),
        ),
    ),
    (
        "Shop",
        (
            (Product, ProductAdmin),
            (StockMovement, StockMovementAdmin),
            (Membership, MembershipAdmin),
            (Suspicion, SuspicionAdmin),
            (Act, ActAdmin),
            (Shop, ShopAdmin),
            (get_user_model(), PersonAdmin),
        ),
    ),
)
BOOKS = tuple(book for _, books in GROUPS for book in books)


# A page among the books.
DOCTOR: dict[str, Any] = {
    "name": "Go-live doctor",
    "object_name": "Doctor",
    "about": "Checks what must be right before money flows, and says what to do.",
    "add_url": None,
    "view_only": True,
}

# The names of books that do not say themselves what people call them.
NAMES: dict[type[Model], dict[str, str]] = {
    StatementImport: {
        "book_name": "M-Pesa statements",
        "row_name": "statement",
        "rows_name": "statements",
        "about": "Files of M-Pesa's portal: the last word on what was paid.",
    },
    Movement: {
        "book_name": "Fees and transfers",
        "row_name": "movement",
        "rows_name": "movements",
        "about": "What moved in your M-Pesa account and was no customer's payment.",
    },
}


class SmartdukaAdminSite(admin.AdminSite):
    """The admin for owners, managers, auditors and the platform's operator."""

    site_header = "SmartDuka"
    site_title = "SmartDuka"
    index_title = "The books"
    site_url = "/till/"

    def __init__(self, name: str = "admin") -> None:
        super().__init__(name)
        # Nothing is deleted here, so nothing offers it.
        self.disable_action("delete_selected")
        for model, model_admin in BOOKS:
            self.register(model, model_admin, **NAMES.get(model, {}))

    def has_permission(self, request: HttpRequest) -> bool:
        """Whether there is any book for this person to read."""
        return reach_of(request).may_enter

    def login(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Send people to the one sign-in page; refuse who has no business here."""
        index = reverse("admin:index")
        if self.has_permission(request):
            return HttpResponseRedirect(index)
        if request.user.is_authenticated:
            raise PermissionDenied
        return redirect_to_login(request.GET.get("next") or index)

    def logout(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> Any:
        """Sign out, and show the one sign-in page."""
        return pages.logout(request)

    def get_urls(self) -> list[URLPattern | URLResolver]:
        """Return the pages that are no book, then the books."""
        return [*doctor.urls(self), *home.urls(self), *super().get_urls()]

    def index(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> Any:
        """Show what waits for a person, the day's figures, and the books."""
        more = home.context(request) | {
            "waiting": attention.waiting(request, self),
            "waiting_s": home.WAITING_S,
        }
        return super().index(request, more | (extra_context or {}))

    def app_index(
        self,
        request: HttpRequest,
        app_label: str,
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        """Lead to the home page: the books of one app are no group of people's."""
        if not super().get_app_list(request, app_label):
            raise Http404
        return HttpResponseRedirect(reverse("admin:index"))

    def get_app_list(
        self, request: HttpRequest, app_label: str | None = None
    ) -> list[Any]:
        """Return the books by their groups, under the names that people use."""
        apps = super().get_app_list(request, app_label)
        found = {entry["model"]: entry for app in apps for entry in app["models"]}
        groups = []
        for number, (name, books) in enumerate(GROUPS):
            entries = [found[model] for model, _ in books if model in found]
            for entry in entries:
                book = self._registry[entry["model"]]
                entry["name"] = getattr(book, "name_of_book", entry["name"])
                entry["about"] = getattr(book, "about", "")
            if entries and name == "M-Pesa":
                entries.append(DOCTOR | {"admin_url": reverse("admin:doctor")})
            if entries:
                label = f"group-{number}"
                groups.append({"name": name, "app_label": label, "models": entries})
        return groups


site = SmartdukaAdminSite()
