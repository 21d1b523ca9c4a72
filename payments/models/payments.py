"""Attempts to be paid, and their history."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from orders.models import Order
from payments.enums import FailureReason, Method, PaymentStatus, Source
from payments.models.accounts import MpesaAccount
from shops.models import AppendOnly, Shop
from smartduka.lib import phone as phones
from smartduka.lib.money import format_kes


class Payment(models.Model):
    """One attempt to be paid for one order. Never reused, never deleted.

    Amounts in KES, whole shillings. `status` is written by `payments.lifecycle`.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    shop = models.ForeignKey(Shop, on_delete=models.PROTECT, related_name="payments")
    order = models.ForeignKey(Order, on_delete=models.PROTECT, related_name="payments")
    method = models.CharField(max_length=10, choices=Method.choices)
    status = models.CharField(
        max_length=10, choices=PaymentStatus.choices, default=PaymentStatus.CREATED
    )
    amount = models.DecimalField(max_digits=12, decimal_places=2)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+"
    )
    created_at = models.DateTimeField()
    retry_of = models.OneToOneField(
        "self", null=True, blank=True, on_delete=models.PROTECT, related_name="retry"
    )
    attempt = models.PositiveSmallIntegerField(default=1)
    idempotency_key = models.CharField(max_length=200, null=True, blank=True)  # noqa: DJ001 -- NULL is "no key", outside the unique constraint
    request_hash = models.CharField(max_length=64, blank=True)

    # What was used to ask for the money; never changed afterwards.
    account = models.ForeignKey(
        MpesaAccount,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="payments",
    )
    environment = models.CharField(max_length=10, blank=True)
    shortcode = models.CharField(max_length=7, blank=True)
    party_b = models.CharField(max_length=7, blank=True)
    phone = models.CharField(max_length=12, blank=True)
    reference = models.CharField(max_length=12, blank=True)
    token_hash = models.CharField(max_length=64, null=True, blank=True, unique=True)
    tendered = models.DecimalField(
        max_digits=12, decimal_places=2, null=True, blank=True
    )

    # What M-Pesa called it; written once.
    merchant_request_id = models.CharField(max_length=64, blank=True)
    checkout_request_id = models.CharField(
        max_length=64, null=True, blank=True, unique=True
    )
    receipt = models.CharField(max_length=20, blank=True)

    answered_at = models.DateTimeField(
        null=True, blank=True, help_text="When the push was answered, in any way."
    )
    expires_at = models.DateTimeField(null=True, blank=True)
    decided_at = models.DateTimeField(
        null=True, blank=True, help_text="When a final answer came."
    )
    completed_at = models.DateTimeField(null=True, blank=True)
    result_code = models.CharField(max_length=20, blank=True)
    result_desc = models.CharField(max_length=255, blank=True)
    error_code = models.CharField(max_length=20, blank=True)
    failure_reason = models.CharField(
        max_length=20, choices=FailureReason.choices, blank=True
    )
    may_retry = models.BooleanField(default=False)
    alarm = models.CharField(max_length=200, blank=True)

    # The next question to M-Pesa; none due when empty.
    next_ask_at = models.DateTimeField(null=True, blank=True)
    asked_at = models.DateTimeField(null=True, blank=True)
    ask_count = models.PositiveIntegerField(default=0)
    leased_until = models.DateTimeField(null=True, blank=True)

    # Which manager knows that it was not paid, and since when; see `failures`.
    seen_at = models.DateTimeField(null=True, blank=True)
    seen_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
    )

    class Meta:
        ordering = ["-created_at", "-id"]
        indexes = [
            models.Index(
                F("shop"),
                F("created_at").desc(),
                F("id").desc(),
                condition=Q(
                    seen_at__isnull=True,
                    status__in=sorted(PaymentStatus.WITHOUT_MONEY),
                ),
                name="payment_unseen_list",
            ),
            models.Index(
                F("created_at").desc(),
                F("id").desc(),
                F("shop"),
                condition=Q(status__in=sorted(PaymentStatus.WITHOUT_MONEY)),
                name="payment_unpaid_list",
            ),
            models.Index(
                F("shop"), F("created_at").desc(), F("id").desc(), name="payment_list"
            ),
            models.Index(fields=["created_at"], name="payment_recent"),
            models.Index(
                fields=["shop"], condition=~Q(alarm=""), name="payment_alarmed"
            ),
            # What people search for.
            models.Index(
                fields=["receipt"], condition=~Q(receipt=""), name="payment_receipt"
            ),
            models.Index(
                fields=["phone"], condition=~Q(phone=""), name="payment_phone"
            ),
            models.Index(
                fields=["next_ask_at"],
                condition=Q(next_ask_at__isnull=False),
                name="payment_question_due",
            ),
            models.Index(
                fields=["shop", "created_at"],
                condition=Q(decided_at__isnull=True),
                name="payment_undecided",
            ),
            models.Index(
                fields=["account", "amount", "created_at"],
                condition=Q(account__isnull=False),
                name="payment_of_amount",
            ),
            models.Index(
                F("shop"),
                F("created_at").desc(),
                F("id").desc(),
                condition=Q(status=PaymentStatus.FAILED),
                name="payment_failed_list",
            ),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["shop", "idempotency_key"],
                name="idempotency_key_makes_one_payment_of_a_shop",
            ),
            models.UniqueConstraint(
                fields=["account", "reference"],
                condition=Q(account__isnull=False) & ~Q(reference=""),
                name="reference_names_one_payment_of_an_account",
            ),
            models.UniqueConstraint(
                fields=["order", "phone", "amount"],
                condition=Q(
                    status__in=[PaymentStatus.CREATED, PaymentStatus.PENDING],
                    method=Method.MPESA_STK,
                ),
                name="order_has_one_open_prompt_per_phone_and_amount",
            ),
            models.CheckConstraint(
                condition=Q(amount__gt=0), name="payment_amount_is_positive"
            ),
            models.CheckConstraint(
                condition=Q(status__in=PaymentStatus.values),
                name="payment_status_is_known",
            ),
            models.CheckConstraint(
                condition=~Q(status=PaymentStatus.FAILED) | ~Q(failure_reason=""),
                name="payment_failed_has_reason",
            ),
            models.CheckConstraint(
                condition=~Q(status=PaymentStatus.COMPLETED)
                | Q(completed_at__isnull=False, decided_at__isnull=False),
                name="payment_completed_has_its_time",
            ),
            models.CheckConstraint(
                condition=~Q(method=Method.MPESA_STK)
                | (
                    Q(account__isnull=False, token_hash__isnull=False)
                    & ~Q(phone="")
                    & ~Q(reference="")
                ),
                name="mpesa_payment_says_who_pays_whom",
            ),
        ]

    def __str__(self) -> str:
        return f"{format_kes(self.amount)} · {self.get_status_display()}"

    @property
    def is_open(self) -> bool:
        """Whether the till still waits for it."""
        return self.status in PaymentStatus.OPEN

    @property
    def is_undecided(self) -> bool:
        """Whether no final answer came yet, whatever the status."""
        return self.decided_at is None

    @property
    def retryable(self) -> bool:
        """Whether a new attempt with the same phone and amount makes sense."""
        return (
            self.status == PaymentStatus.FAILED
            and self.may_retry
            and self.attempt <= settings.MAX_RETRIES
        )

    @property
    def masked_phone(self) -> str:
        """The payer's number as it may be shown outside the till."""
        return phones.masked(self.phone)


class FailedPayment(Payment):
    """A payment as the list of those that were not paid shows it."""

    class Meta:
        proxy = True
        verbose_name = "failed payment"


class PaymentEvent(AppendOnly):
    """Append-only history of a payment. Old and new differ when it moved."""

    payment = models.ForeignKey(
        Payment, on_delete=models.PROTECT, related_name="events"
    )
    old = models.CharField(max_length=10, blank=True)
    new = models.CharField(max_length=10, choices=PaymentStatus.choices)
    source = models.CharField(max_length=10, choices=Source.choices)
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
    )
    reason = models.CharField(max_length=300, blank=True)
    notice = models.ForeignKey(
        "Notice", null=True, blank=True, on_delete=models.PROTECT, related_name="events"
    )
    created_at = models.DateTimeField()

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(
                fields=["payment", "new"],
                condition=~Q(old=F("new")),
                name="payment_enters_a_status_once",
            ),
            models.CheckConstraint(
                condition=Q(new__in=PaymentStatus.values),
                name="payment_event_status_is_known",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.old} → {self.new}: {self.reason}"


class PhoneGuard(models.Model):
    """When a phone may be prompted again, by any shop of the installation.

    Claimed by one conditional update, so two tills cannot both win.
    """

    phone = models.CharField(primary_key=True, max_length=12)
    payment_id = models.UUIDField(null=True)
    amount = models.DecimalField(max_digits=12, decimal_places=2)
    free_at = models.DateTimeField(help_text="For another amount.")
    free_same_at = models.DateTimeField(help_text="For the same amount.")

    def __str__(self) -> str:
        return phones.masked(self.phone)
