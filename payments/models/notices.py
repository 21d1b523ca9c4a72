"""What M-Pesa told us, as it came."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from payments.enums import Verdict
from payments.models.accounts import MpesaAccount
from payments.models.payments import Payment
from payments.models.requests import OrganisationRequest


class Notice(models.Model):
    """A raw message from outside, stored as bytes before it is believed."""

    kind = models.CharField(max_length=10, default="stk")
    payment = models.ForeignKey(
        Payment, null=True, blank=True, on_delete=models.PROTECT, related_name="notices"
    )
    account = models.ForeignKey(
        MpesaAccount,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="notices",
        help_text="For a payment by hand.",
    )
    request = models.ForeignKey(
        OrganisationRequest,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="notices",
        help_text="For the result of what we asked.",
    )
    body = models.BinaryField()
    body_hash = models.CharField(max_length=64)
    is_cut = models.BooleanField(default=False)
    address = models.GenericIPAddressField(null=True, blank=True)
    address_is_listed = models.BooleanField(default=True)
    verdict = models.CharField(
        max_length=13, choices=Verdict.choices, default=Verdict.NEW
    )
    copies = models.PositiveIntegerField(default=1)
    received_at = models.DateTimeField()
    processed_at = models.DateTimeField(null=True, blank=True)
    next_try_at = models.DateTimeField(null=True, blank=True)
    attempts = models.PositiveIntegerField(default=0)
    error = models.TextField(blank=True)

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(
                fields=["received_at"],
                condition=Q(verdict__in=Verdict.FORGED),
                name="notice_forged",
            ),
            models.Index(
                fields=["next_try_at"],
                condition=Q(next_try_at__isnull=False),
                name="notice_due",
            ),
            models.Index(
                fields=["received_at"],
                condition=Q(verdict=Verdict.PARKED),
                name="notice_parked",
            ),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["payment", "body_hash"],
                condition=Q(payment__isnull=False),
                name="notice_of_a_payment_is_stored_once",
            ),
            models.UniqueConstraint(
                fields=["account", "body_hash"],
                condition=Q(account__isnull=False),
                name="notice_of_an_account_is_stored_once",
            ),
            models.UniqueConstraint(
                fields=["request", "kind", "body_hash"],
                condition=Q(request__isnull=False),
                name="notice_of_a_request_is_stored_once",
            ),
            models.UniqueConstraint(
                fields=["kind", "body_hash"],
                condition=Q(
                    payment__isnull=True, account__isnull=True, request__isnull=True
                ),
                name="notice_of_nobody_is_stored_once",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.get_verdict_display()}"
