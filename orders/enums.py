"""Words of the orders app, as stored."""

from __future__ import annotations

from django.db import models


class OrderStatus(models.TextChoices):
    """open → paid → refunded, open → cancelled; a paid order never opens again."""

    OPEN = "open", "Open"
    PAID = "paid", "Paid"
    CANCELLED = "cancelled", "Cancelled"
    REFUNDED = "refunded", "Refunded"
