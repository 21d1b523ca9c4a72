"""Who sells, and what there is to sell."""

from __future__ import annotations

import uuid
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q

from shops.enums import Role, StockReason
from smartduka.lib.money import format_kes
from smartduka.lib.sealing import SealedText, freshen


class AppendOnly(models.Model):
    """A ledger row: written once, never changed, never deleted."""

    class Meta:
        abstract = True

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Insert the row; a second save is a programming error."""
        if not self._state.adding:
            raise TypeError(f"{type(self).__name__} rows are never changed")
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        """Refuse."""
        raise TypeError(f"{type(self).__name__} rows are never deleted")


class Shop(models.Model):
    """A business with its own staff, goods and takings."""

    name = models.CharField(max_length=80)
    slug = models.SlugField(max_length=50, unique=True)
    phone = models.CharField(max_length=20, blank=True)
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)
    # Counted up by orders.checkout alone, in the statement that reads it.
    last_order_number = models.PositiveIntegerField(default=0, editable=False)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Membership(models.Model):
    """A person's role in one shop."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="memberships"
    )
    shop = models.ForeignKey(Shop, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=10, choices=Role.choices)
    is_active = models.BooleanField(default=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["user", "shop"], name="person_has_one_role_in_a_shop"
            ),
            models.CheckConstraint(
                condition=Q(role__in=Role.values), name="membership_role_is_known"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user} · {self.get_role_display()} · {self.shop}"


class Product(models.Model):
    """A thing a shop sells by the piece. The level is written by `shops.stock`."""

    shop = models.ForeignKey(Shop, on_delete=models.PROTECT, related_name="products")
    name = models.CharField(max_length=120)
    barcode = models.CharField(max_length=48, blank=True)
    category = models.CharField(max_length=60, blank=True)
    price = models.DecimalField(max_digits=12, decimal_places=2)
    stock = models.IntegerField(default=0, editable=False)
    low_stock_at = models.PositiveIntegerField(default=5)
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name", "id"]
        indexes = [models.Index(fields=["shop", "is_active", "name"])]
        constraints = [
            models.UniqueConstraint(
                fields=["shop", "barcode"],
                condition=~Q(barcode=""),
                name="barcode_names_one_product_of_a_shop",
            ),
            models.CheckConstraint(
                condition=Q(price__gt=0), name="product_price_is_positive"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} · {format_kes(self.price)}"

    @property
    def is_low(self) -> bool:
        """Whether the shelf should be filled up."""
        return self.stock <= self.low_stock_at


class StockMovement(AppendOnly):
    """One change of one product's level, with who, why and the level after it."""

    product = models.ForeignKey(
        Product, on_delete=models.PROTECT, related_name="movements"
    )
    quantity = models.IntegerField(help_text="Pieces; negative when they leave.")
    level_after = models.IntegerField()
    reason = models.CharField(max_length=10, choices=StockReason.choices)
    reference = models.CharField(max_length=80, blank=True)
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=~Q(quantity=0), name="stock_movement_moves_something"
            ),
            models.UniqueConstraint(
                fields=["product", "reference"],
                condition=Q(reason=StockReason.SOLD),
                name="a_sale_takes_a_product_from_stock_once",
            ),
            models.UniqueConstraint(
                fields=["product", "reference"],
                condition=Q(reason=StockReason.RETURNED) & ~Q(reference=""),
                name="a_sale_gives_a_product_back_once",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.product_id} {self.quantity:+d}"


class SecondFactor(models.Model):
    """The authenticator app of a person: the secret that it and we share.

    `last_step` is the time step (30 s) of the newest code that was used: it only goes
    up, so that no code is good twice. Written by `shops.second_factor` alone.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="second_factor"
    )
    secret_sealed = models.BinaryField(null=True)
    confirmed_at = models.DateTimeField(null=True)
    last_step = models.BigIntegerField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)

    secret = SealedText("secret")

    def __str__(self) -> str:
        return f"Second step of {self.user}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Write the row, its secret under the key that seals now."""
        freshen(self)
        super().save(*args, **kwargs)


class RecoveryCode(models.Model):
    """A code on paper that stands in for the app once. Only its hash is here."""

    factor = models.ForeignKey(
        SecondFactor, on_delete=models.CASCADE, related_name="recovery_codes"
    )
    code_hash = models.CharField(max_length=64)
    used_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["factor", "code_hash"], name="recovery_code_is_there_once"
            )
        ]

    def __str__(self) -> str:
        return f"Recovery code {self.pk}"


class Invitation(models.Model):
    """A link that makes whoever opens it one of a shop's people, once.

    Only the hash of its token is here. `name` is the owner's own note of whom it is for.
    """

    shop = models.ForeignKey(Shop, on_delete=models.PROTECT, related_name="invitations")
    role = models.CharField(max_length=10, choices=Role.choices)
    name = models.CharField(max_length=80)
    token_hash = models.CharField(max_length=64, unique=True)
    invited_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    invited_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    withdrawn_at = models.DateTimeField(null=True)
    used_at = models.DateTimeField(null=True)
    used_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+"
    )

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(role__in=Role.values), name="invitation_role_is_known"
            ),
            models.CheckConstraint(
                condition=Q(used_at=None, used_by=None)
                | Q(used_at__isnull=False, used_by__isnull=False, withdrawn_at=None),
                name="invitation_is_used_by_somebody_or_withdrawn",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} · {self.get_role_display()} · {self.shop}"


class CashierPin(models.Model):
    """A short number with which somebody takes over a till of their shop.

    It is worth little by itself: `tries_left` wrong ones, then it is no good until the
    person signs in with the password. Written by `shops.pins` alone.
    """

    TRIES = 5

    member = models.OneToOneField(
        Membership, on_delete=models.CASCADE, related_name="pin"
    )
    pin_hash = models.CharField(max_length=128)
    tries_left = models.PositiveSmallIntegerField(default=TRIES)
    set_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"PIN of {self.member_id}"
