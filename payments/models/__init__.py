"""Money: accounts, attempts to be paid, what M-Pesa told us, what arrived.

The constraints are the laws that the database itself enforces; each is named as
the sentence it keeps. No money row is ever deleted: foreign keys PROTECT.
"""

from __future__ import annotations

from payments.models.accounts import AccountHook, MpesaAccount, MpesaSettings
from payments.models.acts import Act
from payments.models.audit import AuditChain, AuditMark, AuditSeal
from payments.models.examinations import Examination
from payments.models.money import Allocation, Collection
from payments.models.notices import Notice
from payments.models.payments import (
    FailedPayment,
    Payment,
    PaymentEvent,
    PhoneGuard,
)
from payments.models.receipts import CodeClaim, Receipt, Sighting
from payments.models.refunds import Refund, RefundEvent, RefundPart
from payments.models.requests import OrganisationRequest
from payments.models.statements import (
    Correction,
    Movement,
    StatementFile,
    StatementImport,
)
from payments.models.suspicions import Suspicion


__all__ = [
    "AccountHook",
    "Act",
    "Allocation",
    "AuditChain",
    "AuditMark",
    "AuditSeal",
    "CodeClaim",
    "Collection",
    "Correction",
    "Examination",
    "FailedPayment",
    "Movement",
    "MpesaAccount",
    "MpesaSettings",
    "Notice",
    "OrganisationRequest",
    "Payment",
    "PaymentEvent",
    "PhoneGuard",
    "Receipt",
    "Refund",
    "RefundEvent",
    "RefundPart",
    "Sighting",
    "StatementFile",
    "StatementImport",
    "Suspicion",
]
