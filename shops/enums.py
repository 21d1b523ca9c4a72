"""Words of the shops app, as stored."""

from __future__ import annotations

from enum import nonmember

from django.db import models


class Role(models.TextChoices):
    """What a person may do in one shop."""

    OWNER = "owner", "Owner"
    MANAGER = "manager", "Manager"
    CASHIER = "cashier", "Cashier"
    AUDITOR = "auditor", "Auditor"

    MAY_SELL = nonmember(frozenset({"owner", "manager", "cashier"}))
    MAY_MANAGE = nonmember(frozenset({"owner", "manager"}))


class StockReason(models.TextChoices):
    """Why a level moved."""

    RECEIVED = "received", "Received"
    SOLD = "sold", "Sold"
    RETURNED = "returned", "Returned"
    COUNTED = "counted", "Counted"
