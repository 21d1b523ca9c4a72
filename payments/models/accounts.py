"""Whose till or paybill takes the money, and with which keys."""

from __future__ import annotations

import uuid
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q

from payments.enums import AccountType, PaymentStatus
from shops.models import Shop
from smartduka.lib import sealing
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

    # When each secret was entered, and what the last test of them all said. Any
    # change takes the test back: `accounts.take_test_back`.
    consumer_key_set_at = models.DateTimeField(null=True, editable=False)
    consumer_secret_set_at = models.DateTimeField(null=True, editable=False)
    passkey_set_at = models.DateTimeField(null=True, editable=False)
    initiator_password_set_at = models.DateTimeField(null=True, editable=False)
    verified_at = models.DateTimeField(null=True, editable=False)
    test_failed = models.CharField(max_length=300, blank=True, editable=False)

    # Payments made by hand (C2B) and Pull Transactions.
    validates_strictly = models.BooleanField(
        default=False,
        help_text="Paybill: refuse payments by hand whose account number is not ours.",
    )
    c2b_registered_at = models.DateTimeField(null=True, blank=True)
    pull_registered_at = models.DateTimeField(null=True, blank=True)
    pulled_until = models.DateTimeField(null=True, blank=True)
    pull_leased_until = models.DateTimeField(null=True, blank=True, editable=False)
    # A window that takes too long is read in parts: how far, by M-Pesa's own times, when
    # the first one was begun, and how long the next one is in seconds.
    pull_part_until = models.DateTimeField(null=True, blank=True, editable=False)
    pull_part_began = models.DateTimeField(null=True, blank=True, editable=False)
    pull_part_s = models.PositiveIntegerField(null=True, blank=True, editable=False)
    pull_error = models.CharField(max_length=200, blank=True)

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

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Refuse other numbers once used: a change in place is a programming error."""
        if not self._state.adding and self._is_renumbered() and self.is_used:
            raise TypeError("Numbers of a used M-Pesa account never change.")
        sealing.freshen(self)
        super().save(*args, **kwargs)

    def _is_renumbered(self) -> bool:
        numbers = {name: getattr(self, name) for name in self.NUMBERS}
        return not MpesaAccount.objects.filter(pk=self.pk, **numbers).exists()

    @property
    def is_used(self) -> bool:
        """Whether money was asked for, told of, or may be told of at an address.

        A test that failed is no use: it may have shown that a number is wrong.
        """
        failed_test = Q(
            order__is_test=True,
            status=PaymentStatus.FAILED,
            decided_at__isnull=False,
        )
        asked = self.payments.exclude(failed_test)
        used = (asked, self.receipts, self.collections, self.hooks)
        return any(rows.exists() for rows in used)


class AccountHook(models.Model):
    """An address where M-Pesa tells payments by hand: its token's hash.

    It outlives every key, for M-Pesa registers an address once; several are valid
    at once, so that a new one can be registered before the old one ends.
    """

    account = models.ForeignKey(
        MpesaAccount, on_delete=models.PROTECT, related_name="hooks"
    )
    token_hash = models.CharField(max_length=64, unique=True)
    text_hash = models.CharField(
        max_length=64,
        unique=True,
        null=True,
        blank=True,
        help_text="Of the whole token; addresses older than this column have none.",
    )
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
    )
    created_at = models.DateTimeField()
    registered_at = models.DateTimeField(null=True, blank=True)
    retired_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"Address of {self.account} since {self.created_at:%Y-%m-%d}"


class MpesaSettings(models.Model):
    """Which account takes a shop's M-Pesa payments: chosen, never fallen back to."""

    shop = models.OneToOneField(
        Shop, on_delete=models.PROTECT, related_name="mpesa_settings"
    )
    account = models.ForeignKey(
        MpesaAccount, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    uses_platform_account = models.BooleanField(default=False)
    candidate = models.ForeignKey(
        MpesaAccount,
        null=True,
        blank=True,
        editable=False,
        on_delete=models.PROTECT,
        related_name="+",
        help_text="The account that is being set up: it takes no sale's money yet.",
    )
    # Counts the changes of what is live and what is set up: who read an older
    # number has not seen what somebody else saved.
    version = models.PositiveIntegerField(default=0, db_default=0, editable=False)
    max_amount = models.PositiveIntegerField(
        null=True, blank=True, help_text="KES per prompt; empty: the installation's."
    )
    claimed_limit = models.PositiveIntegerField(
        default=0,
        help_text="KES of a payment by hand that may pay a sale before M-Pesa"
        " confirmed it; 0: none.",
    )
    second_person_from = models.PositiveIntegerField(
        default=5000, help_text="KES from which a refund needs a second person."
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
