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
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from orders.admin import OrderAdmin
from orders.models import Order
from payments.admin.accounts import MpesaAccountAdmin, MpesaSettingsAdmin
from payments.admin.attempts import PaymentAdmin
from payments.admin.corrections import CorrectionAdmin
from payments.admin.messages import NoticeAdmin
from payments.admin.money import AllocationAdmin, CollectionAdmin
from payments.admin.movements import MovementAdmin
from payments.admin.receipts import ReceiptAdmin
from payments.admin.refunds import RefundAdmin
from payments.admin.statements import StatementImportAdmin
from payments.models import (
    Allocation,
    Collection,
    Correction,
    Movement,
    MpesaAccount,
    MpesaSettings,
    Notice,
    Payment,
    Receipt,
    Refund,
    StatementImport,
)
from shops.admin import (
    MembershipAdmin,
    PersonAdmin,
    ProductAdmin,
    ShopAdmin,
    StockMovementAdmin,
)
from shops.books import ModelAdmin, reach_of
from shops.models import Membership, Product, Shop, StockMovement
from smartduka import pages


# In the order in which they are shown.
BOOKS: tuple[tuple[type[Model], type[ModelAdmin]], ...] = (
    (Payment, PaymentAdmin),
    (Notice, NoticeAdmin),
    (Collection, CollectionAdmin),
    (Allocation, AllocationAdmin),
    (Refund, RefundAdmin),
    (Receipt, ReceiptAdmin),
    (StatementImport, StatementImportAdmin),
    (Movement, MovementAdmin),
    (Correction, CorrectionAdmin),
    (MpesaSettings, MpesaSettingsAdmin),
    (MpesaAccount, MpesaAccountAdmin),
    (Order, OrderAdmin),
    (Product, ProductAdmin),
    (StockMovement, StockMovementAdmin),
    (Membership, MembershipAdmin),
    (Shop, ShopAdmin),
    (get_user_model(), PersonAdmin),
)
# What others call by another name.
NAMES = {"auth": "People"}


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
            self.register(model, model_admin)

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

    def get_app_list(
        self, request: HttpRequest, app_label: str | None = None
    ) -> list[Any]:
        """Return the books in the order of BOOKS."""
        rank = {model: number for number, (model, _) in enumerate(BOOKS)}
        apps = super().get_app_list(request, app_label)
        for app in apps:
            app["models"].sort(key=lambda entry: rank[entry["model"]])
            app["name"] = NAMES.get(app["app_label"], app["name"])
        return sorted(apps, key=lambda app: rank[app["models"][0]["model"]])


site = SmartdukaAdminSite()
