"""Whose till or paybill takes the money, and with which keys."""

from __future__ import annotations

import uuid

from django.db import models
from django.db.models import Q

from payments.enums import AccountType
from shops.models import Shop
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
