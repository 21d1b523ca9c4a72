"""Money: accounts, attempts to be paid, what M-Pesa told us, what arrived.

The constraints are the laws that the database itself enforces; each is named as
the sentence it keeps. No money row is ever deleted: foreign keys PROTECT.
"""

from __future__ import annotations

import uuid
from decimal import Decimal

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Upper

from orders.models import Order
from payments.enums import (
    AccountType,
    AllocationKind,
    FailureReason,
    Method,
    PaymentStatus,
    Source,
    Verdict,
)
from shops.models import AppendOnly, Shop
from smartduka.lib import phone as phones
from smartduka.lib.money import format_kes
from smartduka.lib.sealing import SealedText


class MpesaAccount(models.Model):
    """A till or paybill with its Daraja app keys: a shop's own, or the platform's.

    Numbers and environment never change once used: a change is a new account.
    """

    NUMBERS = ("environment", "type", "shortcode", "party_b", "shop_id")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    shop = models.ForeignKey(
        Shop,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="mpesa_accounts",
        help_text="Empty for the platform's own account.",
    )
    environment = models.CharField(max_length=10)
    type = models.CharField(max_length=7, choices=AccountType.choices)
    shortcode = models.CharField(
        max_length=7, help_text="Paybill, or the till's store number."
    )
    party_b = models.CharField(max_length=7, help_text="Paybill, or the till number.")
    consumer_key_sealed = models.BinaryField(null=True, editable=False)
    consumer_secret_sealed = models.BinaryField(null=True, editable=False)
    passkey_sealed = models.BinaryField(null=True, editable=False)
    initiator_name = models.CharField(max_length=60, blank=True)
    initiator_password_sealed = models.BinaryField(null=True, editable=False)
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)

    consumer_key = SealedText("consumer_key")
    consumer_secret = SealedText("consumer_secret")
    passkey = SealedText("passkey")
    initiator_password = SealedText("initiator_password")

    class Meta:
        ordering = ["created_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["environment", "shortcode"],
                name="shortcode_belongs_to_one_account",
            ),
            models.UniqueConstraint(
                fields=["environment", "party_b"],
                name="party_b_belongs_to_one_account",
            ),
            models.CheckConstraint(
                condition=Q(type__in=AccountType.values),
                name="mpesa_account_type_is_known",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_type_display()} {self.party_b} ({self.environment})"


class MpesaSettings(models.Model):
    """Which account takes a shop's M-Pesa payments: chosen, never fallen back to."""

    shop = models.OneToOneField(
        Shop, on_delete=models.PROTECT, related_name="mpesa_settings"
    )
    account = models.ForeignKey(
        MpesaAccount, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    uses_platform_account = models.BooleanField(default=False)
    max_amount = models.PositiveIntegerField(
        null=True, blank=True, help_text="KES per prompt; empty: the installation's."
    )

    class Meta:
        verbose_name_plural = "M-Pesa settings"
        constraints = [
            models.CheckConstraint(
                condition=Q(uses_platform_account=False) | Q(account__isnull=True),
                name="shop_uses_its_own_account_or_the_platforms",
            ),
        ]

    def __str__(self) -> str:
        return f"M-Pesa of {self.shop}"


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

    class Meta:
        ordering = ["-created_at", "-id"]
        indexes = [
            models.Index(
                F("shop"), F("created_at").desc(), F("id").desc(), name="payment_list"
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
                condition=Q(account__isnull=False),
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


class Notice(models.Model):
    """A raw message from outside, stored as bytes before it is believed."""

    kind = models.CharField(max_length=10, default="stk")
    payment = models.ForeignKey(
        Payment, null=True, blank=True, on_delete=models.PROTECT, related_name="notices"
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
                fields=["next_try_at"],
                condition=Q(next_try_at__isnull=False),
                name="notice_due",
            ),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["payment", "body_hash"],
                condition=Q(payment__isnull=False),
                name="notice_of_a_payment_is_stored_once",
            ),
            models.UniqueConstraint(
                fields=["kind", "body_hash"],
                condition=Q(payment__isnull=True),
                name="notice_of_nobody_is_stored_once",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.get_verdict_display()}"


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
    source = models.CharField(max_length=10, choices=Source.choices)
    paid_at = models.DateTimeField(null=True)
    sighted_at = models.DateTimeField()
    confirmed_at = models.DateTimeField(
        null=True, help_text="When a second source agreed."
    )

    class Meta:
        ordering = ["-id"]
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
        ]

    def __str__(self) -> str:
        return f"{format_kes(self.amount)} to {self.get_kind_display().lower()}"


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


class AuditChain(models.Model):
    """One chain of seals: a shop's, or the platform's. Its end is written here too."""

    name = models.CharField(max_length=40, unique=True)
    length = models.PositiveBigIntegerField(default=0)
    hash = models.CharField(max_length=64)

    def __str__(self) -> str:
        return f"{self.name}: {self.length}"


class AuditSeal(AppendOnly):
    """One link: the digest of a row, hashed with the link before it."""

    chain = models.ForeignKey(
        AuditChain, on_delete=models.PROTECT, related_name="seals"
    )
    position = models.PositiveBigIntegerField()
    kind = models.CharField(max_length=20)
    row_id = models.BigIntegerField()
    digest = models.CharField(max_length=64)
    hash = models.CharField(max_length=64)
    sealed_at = models.DateTimeField()

    class Meta:
        ordering = ["chain", "position"]
        constraints = [
            models.UniqueConstraint(
                fields=["chain", "position"], name="chain_has_one_seal_at_a_position"
            ),
            models.UniqueConstraint(
                fields=["kind", "row_id"], name="row_is_sealed_once"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.position}: {self.kind} {self.row_id}"


class AuditMark(models.Model):
    """Up to which id all rows of a kind are sealed, so that a round reads the rest."""

    kind = models.CharField(max_length=20, unique=True)
    row_id = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.kind} up to {self.row_id}"
