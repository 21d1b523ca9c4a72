"""Money on its way back."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models
from django.db.models import Q

from orders.models import Order
from payments.enums import RefundMethod, RefundState
from payments.models.money import Allocation, Collection
from payments.models.payments import Payment
from payments.models.requests import OrganisationRequest
from shops.models import AppendOnly, Shop
from smartduka.lib.money import format_kes


class Refund(models.Model):
    """Part or all of one collection going back to its payer. In KES.

    The amount is reserved (`reserved` is the allocation that holds it) when it is
    asked for, and freed only by a certain failure. A reversal takes the whole.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    shop = models.ForeignKey(
        Shop, null=True, blank=True, on_delete=models.PROTECT, related_name="refunds"
    )
    collection = models.ForeignKey(
        Collection, on_delete=models.PROTECT, related_name="refunds"
    )
    payment = models.ForeignKey(
        Payment,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="refunds",
    )
    order = models.ForeignKey(
        Order, null=True, blank=True, on_delete=models.PROTECT, related_name="refunds"
    )
    method = models.CharField(max_length=10, choices=RefundMethod.choices)
    amount = models.DecimalField(max_digits=12, decimal_places=2)
    from_sale = models.DecimalField(
        max_digits=12,
        decimal_places=2,
        default=0,
        help_text="How much of it was the sale's; the rest was free money.",
    )
    reason = models.CharField(max_length=200)
    restocks = models.BooleanField(default=False)
    state = models.CharField(
        max_length=10, choices=RefundState.choices, default=RefundState.ASKED
    )
    reserved = models.OneToOneField(
        Allocation, on_delete=models.PROTECT, related_name="refund"
    )
    request = models.OneToOneField(
        OrganisationRequest,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="refund",
    )
    receipt = models.CharField(
        max_length=20, blank=True, help_text="The reversal's own receipt number."
    )
    why_failed = models.CharField(max_length=200, blank=True)
    asked_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
    )
    asked_at = models.DateTimeField()
    approved_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
    )
    sent_at = models.DateTimeField(null=True, blank=True)
    decided_at = models.DateTimeField(null=True, blank=True)
    next_ask_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-asked_at", "-id"]
        indexes = [
            models.Index(fields=["asked_at"], name="refund_recent"),
            models.Index(
                fields=["next_ask_at"],
                condition=Q(next_ask_at__isnull=False),
                name="refund_question_due",
            ),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["collection"],
                condition=Q(state__in=["asked", "sending", "unknown"]),
                name="collection_has_one_undecided_refund",
            ),
            models.CheckConstraint(
                condition=Q(amount__gt=0), name="refund_amount_is_positive"
            ),
            models.CheckConstraint(
                condition=Q(state__in=RefundState.values),
                name="refund_state_is_known",
            ),
        ]

    def __str__(self) -> str:
        return f"{format_kes(self.amount)} back: {self.get_state_display().lower()}"


class RefundPart(AppendOnly):
    """So much of a portion that a refund took, in KES: a failure puts it back there.

    What the parts do not make up was unmatched money. `was_open`: the sale that it had
    paid was open, so it counts as not paid there from that moment on.
    """

    refund = models.ForeignKey(Refund, on_delete=models.PROTECT, related_name="parts")
    source = models.ForeignKey(Allocation, on_delete=models.PROTECT, related_name="+")
    amount = models.DecimalField(max_digits=12, decimal_places=2)
    was_open = models.BooleanField(default=False)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(
                fields=["refund", "source"], name="refund_takes_once_of_a_portion"
            ),
            models.CheckConstraint(
                condition=Q(amount__gt=0), name="refund_part_is_positive"
            ),
        ]

    def __str__(self) -> str:
        return f"{format_kes(self.amount)} of {self.source}"


class RefundEvent(AppendOnly):
    """Append-only history of a refund."""

    refund = models.ForeignKey(Refund, on_delete=models.PROTECT, related_name="events")
    old = models.CharField(max_length=10, blank=True)
    new = models.CharField(max_length=10, choices=RefundState.choices)
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
    )
    reason = models.CharField(max_length=300, blank=True)
    created_at = models.DateTimeField()

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.old} → {self.new}"
