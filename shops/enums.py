"""Words of the shops app, as stored."""

from __future__ import annotations

from django.db import models


class Role(models.TextChoices):
    """What somebody is in one shop; what that allows is in `shops.rights`."""

    OWNER = "owner", "Owner"
    MANAGER = "manager", "Manager"
    CASHIER = "cashier", "Cashier"
    AUDITOR = "auditor", "Auditor"


class StockReason(models.TextChoices):
    """Why a level moved."""

    RECEIVED = "received", "Received"
    SOLD = "sold", "Sold"
    RETURNED = "returned", "Returned"
    COUNTED = "counted", "Counted"
