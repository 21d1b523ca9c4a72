"""The books of shops, goods and how stock moved."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import F, ForeignKey, Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.safestring import SafeString

from shops import book_cells as cells
from shops import stock
from shops.book_filters import (
    QuestionFilter,
    ShopFilter,
    active_filter,
    day_filter,
    shop_filter,
)
from shops.books import BookAdmin, ModelForm, reach_of
from shops.catalog import BarcodeTaken
from shops.models import Product, Shop
from shops.rights import Right


# No shelf holds more pieces of one thing, and a slip of the finger ends here.
PIECES_AT_ONCE = 1_000_000
CATEGORIES_SHOWN = 100


class ShopAdmin(BookAdmin):
    """A shop, as its staff read it; the operator opens and closes shops."""

    book_name = "Shops"
    shop_path = "pk"
    list_display = ("name", "slug", "phone", "state", "since")
    list_filter = (active_filter("Open", "Closed"),)
    labels = {
        "slug": "Name in addresses",
        "is_active": "Open",
    }
    help_texts = {
        "slug": "Small letters and hyphens; it stays as it is.",
        "is_active": "A closed shop sells nothing. Its books stay.",
    }
    search_fields = ("name", "slug")
    fields = ("name", "slug", "phone", "is_active", "since")
    readonly_fields = ("since",)
    prepopulated_fields = {"slug": ("name",)}

    def has_add_permission(self, request: HttpRequest) -> bool:
        return reach_of(request).may(Right.PLATFORM)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return reach_of(request).may(Right.PLATFORM)

    @admin.display(description="Since")
    def since(self, shop: Shop) -> SafeString:
        """When the shop was opened here."""
        return cells.moment(shop.created_at)

    @admin.display(description="State", ordering="is_active")
    def state(self, shop: Shop) -> SafeString:
        """Whether it is open."""
        return cells.state(shop, "open", "closed")


class StockFilter(QuestionFilter):
    """How full the shelf is."""

    title = "stock"

    def questions(self) -> dict[str, tuple[str, Q]]:
        return {
            "low": ("Low", Q(stock__lte=F("low_stock_at"))),
            "none": ("Nothing left", Q(stock__lte=0)),
            "minus": ("Below zero: count it", Q(stock__lt=0)),
        }


class CategoryFilter(admin.SimpleListFilter):
    """The categories in use in the person's own shops."""

    title = "category"
    parameter_name = "category"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return the names of the categories."""
        rows = model_admin.get_queryset(request).exclude(category="")
        names = rows.order_by("category").values_list("category", flat=True)
        return [(name, name) for name in names.distinct()[:CATEGORIES_SHOWN]]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[Product]
    ) -> QuerySet[Product] | None:
        """Keep the goods of one category."""
        return queryset.filter(category=self.value()) if self.value() else None


class ProductForm(ModelForm):
    """A product. `implied_shop` is the shop of who manages only one."""

    implied_shop: Shop | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.shop_id is None and self.implied_shop is not None:
            self.instance.shop = self.implied_shop

    def clean_price(self) -> Any:
        """Refuse a price of nothing."""
        price = self.cleaned_data["price"]
        if price <= 0:
            raise forms.ValidationError("The price must be more than nothing.")
        return price

    def clean(self) -> dict[str, Any]:
        """Refuse a barcode that names another product of the shop."""
        cleaned = super().clean() or self.cleaned_data
        barcode = cleaned.get("barcode")
        shop = cleaned.get("shop") or self.implied_shop or self.instance.shop_id
        if barcode and shop:
            twins = Product.objects.filter(shop=shop, barcode=barcode)
            if twins.exclude(pk=self.instance.pk).exists():
                self.add_error("barcode", BarcodeTaken.message)
        return cleaned


class StockForm(forms.Form):
    """What was carried in, or counted."""

    RECEIVED, COUNTED = "received", "counted"

    act = forms.ChoiceField(
        label="What happened",
        choices=[
            (RECEIVED, "Pieces came in"),
            (COUNTED, "I counted what is on the shelf"),
        ],
        widget=forms.RadioSelect,
    )
    pieces = forms.IntegerField(min_value=0, max_value=PIECES_AT_ONCE)
    reference = forms.CharField(
        label="Delivery note", max_length=80, required=False, empty_value=""
    )

    def clean(self) -> dict[str, Any]:
        """Refuse to receive nothing."""
        cleaned = super().clean() or self.cleaned_data
        if cleaned.get("act") == self.RECEIVED and cleaned.get("pieces") == 0:
            self.add_error("pieces", stock.NothingToMove.message)
        return cleaned


class ProductAdmin(BookAdmin):
    """Goods. Owner and manager change them; the level has a page of its own."""

    form = ProductForm
    list_display = (
        "name", "barcode", "category", "costs", "level", "state", "shop_name",
    )  # fmt: skip
    list_filter = (
        ShopFilter, StockFilter, CategoryFilter, active_filter("On sale", "Not on sale"),
    )  # fmt: skip
    labels = {
        "price": "Price in KES",
        "low_stock_at": "Low from",
        "is_active": "On sale",
    }
    help_texts = {
        "low_stock_at": "So many pieces or fewer are told to the till as low.",
        "is_active": "Without the tick it is not offered at the till.",
    }
    list_select_related = ("shop",)
    ordering = ("name", "id")
    search_fields = ("name", "barcode")
    search_help_text = "Name or barcode"

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        """Return the fields; whose it is is asked only where there is a choice."""
        fields = ["name", "barcode", "category", "price", "low_stock_at", "is_active"]
        if obj is not None:
            return ["shop_name", *fields, "level"]
        return fields if self._only_shop(request) else ["shop", *fields]

    def get_readonly_fields(
        self, request: HttpRequest, obj: Any = None
    ) -> tuple[str, ...]:
        """Return what no form changes."""
        return () if obj is None else ("shop_name", "level")

    def get_form(
        self,
        request: HttpRequest,
        obj: Any = None,
        change: bool = False,  # noqa: FBT001, FBT002 -- the base class's signature
        **kwargs: Any,
    ) -> Any:
        form: Any = super().get_form(request, obj, change, **kwargs)
        form.implied_shop = None if obj else self._only_shop(request)
        return form

    def formfield_for_foreignkey(
        self, db_field: ForeignKey[Any, Any], request: HttpRequest, **kwargs: Any
    ) -> Any:
        """Offer the shops that the person manages."""
        if db_field.name == "shop":
            kwargs["queryset"] = self._managed(request)
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return reach_of(request).may(Right.GOODS)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return reach_of(request).may(Right.GOODS, self.shop_id_of(obj))

    @admin.display(description="Price", ordering="price")
    def costs(self, product: Product) -> SafeString:
        """The price of a piece."""
        return cells.kes(product.price)

    @admin.display(description="Stock", ordering="stock")
    def level(self, product: Product) -> SafeString:
        """How many pieces there are; few of them in words."""
        if product.stock < 0:
            return cells.pill(f"{product.stock:,} · count it", cells.BAD)
        if product.is_low:
            return cells.pill(f"{product.stock:,} · low", cells.WAIT)
        return cells.pill(f"{product.stock:,}", cells.QUIET)

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.stock_view)
        own = path("<path:object_id>/stock/", view, name="shops_product_stock")
        return [own, *super().get_urls()]

    def stock_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Receive or count one product."""
        product = self.get_object(request, unquote(object_id))
        if not self.has_change_permission(request, product):
            raise PermissionDenied
        form = StockForm(request.POST if request.method == "POST" else None)
        if request.method == "POST" and form.is_valid():
            level = self._move_stock(request, product, form.cleaned_data)
            messages.success(request, f"{product.name}: {level:,} pieces now.")
            page = reverse("admin:shops_product_change", args=[product.pk])
            return HttpResponseRedirect(page)
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "original": product,
            "title": f"Stock of {product.name}",
            "book": self.name_of_book,
            "form": form,
            "level": self.level(product),
        }
        return TemplateResponse(request, "admin/shops/product/stock.html", context)

    def _move_stock(
        self, request: HttpRequest, product: Product, said: dict[str, Any]
    ) -> int:
        with transaction.atomic(durable=True):
            if said["act"] == StockForm.COUNTED:
                level = stock.count_correction(
                    product, counted=said["pieces"], actor=request.user
                )
            else:
                level = stock.receive(
                    product,
                    quantity=said["pieces"],
                    actor=request.user,
                    reference=said["reference"],
                )
            self.log_change(request, product, f"{said['act']}: {said['pieces']}")
        return level

    def _managed(self, request: HttpRequest) -> QuerySet[Shop]:
        reach = reach_of(request)
        if reach.is_operator:
            return Shop.objects.filter(is_active=True)
        managed = reach.shops_with(Right.GOODS)
        return Shop.objects.filter(pk__in=[shop.pk for shop in managed])

    def _only_shop(self, request: HttpRequest) -> Shop | None:
        reach = reach_of(request)
        managed = reach.shops_with(Right.GOODS)
        return managed[0] if len(managed) == 1 else None

    @admin.display(description="State", ordering="is_active")
    def state(self, product: Product) -> SafeString:
        """Whether it is on sale."""
        return cells.state(product, "on sale", "not on sale")


class StockMovementAdmin(BookAdmin):
    """Every piece that came or went; written by `shops.stock` alone."""

    book_name, row_name, rows_name = "How stock moved", "movement", "movements"
    about = "Every piece that came or went, who moved it, and what was left."
    shop_path = "product__shop"
    list_display = ("pieces", "goods", "level_after", "reason", "by", "at", "shop_name")
    list_filter = (
        shop_filter("product__shop"), day_filter("created_at"), "reason",
    )  # fmt: skip
    list_select_related = ("product__shop", "actor")
    lookups = ("product__id__exact",)
    search_fields = ("product__name", "=product__barcode")
    search_help_text = "A product's name or barcode"
    fields = readonly_fields = (
        "goods", "pieces", "level_after", "reason", "reference", "by", "at",
    )  # fmt: skip

    @admin.display(description="Pieces", ordering="quantity")
    def pieces(self, movement: Any) -> str:
        """How many, with their direction."""
        return f"{movement.quantity:+,}"

    @admin.display(description="Product")
    def goods(self, movement: Any) -> SafeString:
        """Link the product."""
        product = movement.product
        return cells.page("shops_product", product.pk, product.name)

    @admin.display(description="By")
    def by(self, movement: Any) -> str:
        """Who did it."""
        return cells.person(movement.actor)

    @admin.display(description="When")
    def at(self, movement: Any) -> SafeString:
        """When it happened."""
        return cells.moment(movement.created_at)
