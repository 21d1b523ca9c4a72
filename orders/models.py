"""What is sold: orders with their lines, amounts frozen on the rows."""

from __future__ import annotations

import uuid
from decimal import Decimal

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from orders.enums import OrderStatus
from shops.models import AppendOnly, Product, Shop
from smartduka.lib import money


class Order(models.Model):
    """One sale. `total` is what is to be paid: whole shillings, rounded once.

    `paid`, `refunded` and `surplus` repeat what the payments app allocated, so that an
    order can be read without it; `orders.lifecycle` writes them under the order's
    lock. `paid` is gross: what went back later is `refunded`.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    shop = models.ForeignKey(Shop, on_delete=models.PROTECT, related_name="orders")
    number = models.PositiveIntegerField()
    status = models.CharField(
        max_length=10, choices=OrderStatus.choices, default=OrderStatus.OPEN
    )
    total = models.DecimalField(max_digits=12, decimal_places=2)
    rounding = models.DecimalField(max_digits=4, decimal_places=2, default=Decimal(0))
    paid = models.DecimalField(max_digits=12, decimal_places=2, default=Decimal(0))
    surplus = models.DecimalField(max_digits=12, decimal_places=2, default=Decimal(0))
    refunded = models.DecimalField(max_digits=12, decimal_places=2, default=Decimal(0))
    stock_short = models.BooleanField(default=False)
    # No goods: made to try out how it is paid. Its money counts, it is no takings.
    is_test = models.BooleanField(default=False, db_default=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+"
    )
    created_at = models.DateTimeField()
    frozen_at = models.DateTimeField(null=True, blank=True)
    paid_at = models.DateTimeField(null=True, blank=True)
    cancelled_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at", "-id"]
        indexes = [
            models.Index(
                F("shop"), F("created_at").desc(), F("id").desc(), name="order_list"
            ),
            # The operator's list, of all shops.
            models.Index(
                F("created_at").desc(), F("id").desc(), name="order_list_of_all"
            ),
            models.Index(
                fields=["shop"], condition=Q(surplus__gt=0), name="order_surplus"
            ),
            models.Index(fields=["shop"], condition=Q(is_test=True), name="order_test"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["shop", "number"], name="order_number_is_used_once_in_a_shop"
            ),
            models.CheckConstraint(
                condition=Q(total__gt=0), name="order_total_is_positive"
            ),
            models.CheckConstraint(
                condition=Q(surplus__gte=0), name="order_surplus_is_not_negative"
            ),
            models.CheckConstraint(
                condition=Q(refunded__gte=0, refunded__lte=F("paid")),
                name="order_gives_back_at_most_what_was_paid",
            ),
            models.CheckConstraint(
                condition=Q(status=OrderStatus.OPEN, paid__gte=0, paid__lt=F("total"))
                | Q(status=OrderStatus.PAID, paid=F("total"), paid_at__isnull=False)
                | Q(status=OrderStatus.CANCELLED, paid=0, cancelled_at__isnull=False)
                | Q(status=OrderStatus.REFUNDED),
                name="order_status_agrees_with_its_money",
            ),
        ]

    def __str__(self) -> str:
        return f"Sale {self.number}"

    @property
    def balance(self) -> Decimal:
        """What is still to be paid, in KES; nothing on an order that is not open."""
        if self.status != OrderStatus.OPEN:
            return Decimal("0.00")
        return self.total - self.paid

    @property
    def to_pay(self) -> Decimal:
        """The whole shillings that pay the balance, in KES.

        A correction of the books may leave cents of it. Nobody pays cents (law 8): it
        is one shilling more then, and the sale has the rest as surplus.
        """
        return money.shillings_for(self.balance)

    @property
    def stock_reference(self) -> str:
        """The name under which this order's pieces leave the stock, once."""
        return f"order:{self.pk}"


class OrderLine(models.Model):
    """One product on an order with its name and price as they were."""

    order = models.ForeignKey(Order, on_delete=models.PROTECT, related_name="lines")
    product = models.ForeignKey(Product, on_delete=models.PROTECT, related_name="+")
    name = models.CharField(max_length=120)
    quantity = models.PositiveIntegerField()
    unit_price = models.DecimalField(max_digits=12, decimal_places=2)
    line_total = models.DecimalField(max_digits=12, decimal_places=2)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(
                fields=["order", "product"], name="product_has_one_line_on_an_order"
            ),
            models.CheckConstraint(
                condition=Q(quantity__gt=0), name="order_line_sells_something"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.quantity} x {self.name}"


class OrderEvent(AppendOnly):
    """Append-only history of an order."""

    order = models.ForeignKey(Order, on_delete=models.PROTECT, related_name="events")
    old = models.CharField(max_length=10, blank=True)
    new = models.CharField(max_length=10, choices=OrderStatus.choices)
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+"
    )
    reason = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField()

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(
                fields=["order", "new"],
                condition=~Q(old=F("new")),
                name="order_enters_a_status_once",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.old} → {self.new}"
