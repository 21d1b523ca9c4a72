"""Money: accounts, attempts to be paid, what M-Pesa told us, what arrived.

The constraints are the laws that the database itself enforces; each is named as
the sentence it keeps. No money row is ever deleted: foreign keys PROTECT.
"""

from __future__ import annotations

from payments.models.accounts import MpesaAccount, MpesaSettings
from payments.models.audit import AuditChain, AuditMark, AuditSeal
from payments.models.money import Allocation, Collection
from payments.models.notices import Notice
from payments.models.payments import Payment, PaymentEvent, PhoneGuard


__all__ = [
    "Allocation",
    "AuditChain",
    "AuditMark",
    "AuditSeal",
    "Collection",
    "MpesaAccount",
    "MpesaSettings",
    "Notice",
    "Payment",
    "PaymentEvent",
    "PhoneGuard",
]
