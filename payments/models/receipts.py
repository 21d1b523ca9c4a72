"""Receipt numbers as M-Pesa told them, and the codes that people typed."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Upper

from orders.models import Order
from payments.enums import ClaimState, ReceiptState, Source
from payments.models.accounts import MpesaAccount
from payments.models.money import Collection
from payments.models.notices import Notice
from payments.models.statements import StatementImport
from shops.models import AppendOnly, Shop
from smartduka.lib.money import format_kes


class Receipt(models.Model):
    """A payment into an account as its receipt number names it. In KES.

    Told by C2B, Pull, Transaction Status or a statement, in whatever order: one row.
    It is money of ours only with a collection. `payer` is the best that was shown:
    a full number is never replaced by a masked one.
    """

    account = models.ForeignKey(
        MpesaAccount, on_delete=models.PROTECT, related_name="receipts"
    )
    number = models.CharField(max_length=20)
    amount = models.DecimalField(max_digits=12, decimal_places=2)
    payer = models.CharField(max_length=64, blank=True)
    payer_name = models.CharField(max_length=120, blank=True)
    reference = models.CharField(
        max_length=40, blank=True, help_text="The account number as it was typed."
    )
    paid_at = models.DateTimeField(null=True, blank=True)
    seen_at = models.DateTimeField()
    proven_at = models.DateTimeField(
        null=True, blank=True, help_text="When M-Pesa's own books had it."
    )
    state = models.CharField(
        max_length=10, choices=ReceiptState.choices, default=ReceiptState.HELD
    )
    collection = models.OneToOneField(
        Collection,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="receipt_row",
    )
    look_at = models.DateTimeField(
        null=True, blank=True, help_text="When the machine looks at it again."
    )
    next_ask_at = models.DateTimeField(
        null=True, blank=True, help_text="When M-Pesa is asked about a claim."
    )
    alarm = models.CharField(max_length=200, blank=True)

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(
                fields=["next_ask_at"],
                condition=Q(next_ask_at__isnull=False),
                name="receipt_question_due",
            ),
            models.Index(
                fields=["look_at"],
                condition=Q(look_at__isnull=False),
                name="receipt_due",
            ),
            models.Index(
                fields=["account", "amount"],
                condition=Q(collection__isnull=True),
                name="receipt_uncounted",
            ),
            models.Index(
                fields=["account"],
                condition=Q(state=ReceiptState.CLAIMED),
                name="receipt_claimed",
            ),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["account", "number"], name="receipt_is_one_row_of_an_account"
            ),
            models.CheckConstraint(
                condition=Q(number=Upper(F("number"))),
                name="receipt_number_is_in_capitals",
            ),
            models.CheckConstraint(
                condition=Q(amount__gt=0), name="receipt_amount_is_positive"
            ),
            models.CheckConstraint(
                condition=(
                    Q(state=ReceiptState.COUNTED, collection__isnull=False)
                    | (~Q(state=ReceiptState.COUNTED) & Q(collection__isnull=True))
                ),
                name="receipt_is_counted_by_its_collection",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.number} {format_kes(self.amount)}"

    @property
    def is_proven(self) -> bool:
        """Whether M-Pesa's own books have it; else it is a claim."""
        return self.proven_at is not None


class Sighting(AppendOnly):
    """One source told of a receipt: evidence, kept as it was told. In KES.

    Where a statement told it without its reference, a fuller one fills that in.
    """

    receipt = models.ForeignKey(
        Receipt, on_delete=models.PROTECT, related_name="sightings"
    )
    source = models.CharField(max_length=10, choices=Source.choices)
    amount = models.DecimalField(max_digits=12, decimal_places=2)
    payer = models.CharField(max_length=64, blank=True)
    reference = models.CharField(max_length=40, blank=True)
    paid_at = models.DateTimeField(null=True, blank=True)
    notice = models.ForeignKey(
        Notice, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    statement = models.ForeignKey(
        StatementImport,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="sightings",
    )
    seen_at = models.DateTimeField()

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(
                fields=["receipt", "source", "amount"],
                name="receipt_is_sighted_once_by_a_source",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_source_display()}: {format_kes(self.amount)}"


class CodeClaim(models.Model):
    """Somebody typed an M-Pesa code for a sale, and M-Pesa has not told us of it.

    It counts nowhere as collected. Evidence that comes later pays the sale, if
    nothing stronger says whose the money is.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    shop = models.ForeignKey(Shop, on_delete=models.PROTECT, related_name="+")
    order = models.ForeignKey(
        Order, on_delete=models.PROTECT, related_name="code_claims"
    )
    account = models.ForeignKey(
        MpesaAccount, on_delete=models.PROTECT, related_name="code_claims"
    )
    number = models.CharField(max_length=20)
    said_amount = models.DecimalField(max_digits=12, decimal_places=2, null=True)
    state = models.CharField(
        max_length=10, choices=ClaimState.choices, default=ClaimState.WAITING
    )
    why = models.CharField(max_length=200, blank=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    created_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at", "-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["account", "number"],
                condition=Q(state=ClaimState.WAITING),
                name="code_is_claimed_for_one_sale_at_a_time",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.number} for {self.order}"
