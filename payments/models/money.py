"""Money that arrived, and what it is for."""

from __future__ import annotations

from decimal import Decimal

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Coalesce, Upper

from orders.models import Order
from payments.enums import AllocationKind, Binding, Source
from payments.models.accounts import MpesaAccount
from payments.models.payments import Payment
from shops.models import AppendOnly, Shop
from smartduka.lib.money import format_kes


class Collection(models.Model):
    """Money that has really arrived, in KES. May still lack receipt or owner.

    `allocated` repeats the sum of its allocations, so that the database itself
    refuses to spend a shilling twice.
    """

    account = models.ForeignKey(
        MpesaAccount, null=True, on_delete=models.PROTECT, related_name="collections"
    )
    environment = models.CharField(max_length=10, blank=True)
    shop = models.ForeignKey(
        Shop, null=True, on_delete=models.PROTECT, related_name="collections"
    )
    payment = models.ForeignKey(
        Payment, null=True, on_delete=models.PROTECT, related_name="collections"
    )
    receipt = models.CharField(max_length=20, null=True)  # noqa: DJ001 -- a query proves money without a receipt
    amount = models.DecimalField(max_digits=12, decimal_places=2)
    allocated = models.DecimalField(max_digits=12, decimal_places=2, default=Decimal(0))
    phone = models.CharField(max_length=64, blank=True)
    binding = models.CharField(max_length=10, choices=Binding.choices, blank=True)
    source = models.CharField(max_length=10, choices=Source.choices)
    paid_at = models.DateTimeField(null=True)
    sighted_at = models.DateTimeField()
    confirmed_at = models.DateTimeField(
        null=True, help_text="When a second source agreed."
    )
    disputed = models.CharField(
        max_length=200, blank=True, help_text="Why M-Pesa's books say otherwise."
    )
    disputed_at = models.DateTimeField(
        null=True, help_text="Since when they do, as far as we know."
    )
    reversed_at = models.DateTimeField(
        null=True, help_text="When M-Pesa sent it back, proved."
    )
    corrects = models.ForeignKey(
        "self",
        null=True,
        on_delete=models.PROTECT,
        related_name="corrected_by",
        help_text="The collection whose missing shillings these are.",
    )

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(
                F("shop"), Coalesce("paid_at", "sighted_at"), name="collection_day"
            ),
            models.Index(
                fields=["shop"],
                condition=Q(allocated__lt=F("amount")),
                name="collection_not_allocated",
            ),
            models.Index(
                fields=["shop"],
                condition=~Q(disputed=""),
                name="collection_disputed",
            ),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["environment", "account", "receipt"],
                condition=Q(receipt__isnull=False),
                name="receipt_is_one_collection_of_an_account",
            ),
            models.UniqueConstraint(
                fields=["payment"],
                condition=Q(receipt__isnull=True),
                name="payment_has_one_receiptless_collection",
            ),
            models.CheckConstraint(
                condition=Q(receipt__isnull=True) | Q(receipt=Upper(F("receipt"))),
                name="receipt_is_in_capitals",
            ),
            models.CheckConstraint(
                condition=Q(amount__gt=0), name="collection_amount_is_positive"
            ),
            models.CheckConstraint(
                condition=Q(allocated__gte=0, allocated__lte=F("amount")),
                name="collection_is_not_overdrawn",
            ),
        ]

    def __str__(self) -> str:
        return f"{format_kes(self.amount)} {self.receipt or ''}".strip()


class Allocation(AppendOnly):
    """Append-only portion of one collection, in KES."""

    collection = models.ForeignKey(
        Collection, on_delete=models.PROTECT, related_name="allocations"
    )
    kind = models.CharField(max_length=10, choices=AllocationKind.choices)
    releases = models.OneToOneField(
        "self",
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="released_by",
        help_text="The portion that this row frees again: each at most once.",
    )
    payment = models.ForeignKey(
        Payment,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="allocations",
        help_text="The payment that it makes, if money was moved to another sale.",
    )
    customer = models.CharField(
        max_length=120, blank=True, help_text="Whose credit: a full number or a name."
    )
    order = models.ForeignKey(
        Order,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="allocations",
    )
    amount = models.DecimalField(max_digits=12, decimal_places=2)
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
    )
    reason = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField()

    class Meta:
        ordering = ["id"]
        indexes = [
            # What few rows are: a sale's and a reserved portion are not looked for.
            models.Index(
                fields=["kind", "created_at"],
                condition=Q(
                    kind__in=[
                        AllocationKind.SURPLUS,
                        AllocationKind.CREDIT,
                        AllocationKind.REFUNDED,
                        AllocationKind.CORRECTION,
                    ]
                ),
                name="allocation_unusual",
            ),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(amount__gt=0), name="allocation_amount_is_positive"
            ),
            models.CheckConstraint(
                condition=Q(kind__in=AllocationKind.values),
                name="allocation_kind_is_known",
            ),
            models.CheckConstraint(
                condition=~Q(kind=AllocationKind.SALE) | Q(order__isnull=False),
                name="allocation_to_a_sale_names_it",
            ),
            models.CheckConstraint(
                condition=(
                    Q(kind=AllocationKind.RELEASE, releases__isnull=False)
                    | (~Q(kind=AllocationKind.RELEASE) & Q(releases__isnull=True))
                ),
                name="allocation_released_is_named",
            ),
            models.CheckConstraint(
                condition=~Q(kind=AllocationKind.CREDIT) | ~Q(customer=""),
                name="allocation_to_credit_names_the_customer",
            ),
        ]

    def __str__(self) -> str:
        return f"{format_kes(self.amount)} to {self.get_kind_display().lower()}"
