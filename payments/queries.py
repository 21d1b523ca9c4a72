"""Reading a shop's payments. Every one comes with its order, for its state."""

from __future__ import annotations

import uuid
from datetime import datetime

from django.db.models import Q, QuerySet

from orders.models import Order
from payments import references
from payments.enums import PaymentStatus
from payments.models import Payment
from shops.models import Shop
from smartduka.lib.errors import NotFound
from smartduka.lib.text import clean


UNKNOWN = "This payment does not exist in your shop."


def payments_of(shop: Shop) -> QuerySet[Payment]:
    """The shop's payments, newest first."""
    return (
        Payment.objects.filter(shop=shop)
        .select_related("order")
        .order_by("-created_at", "-id")
    )


def payment_for(shop: Shop, payment_id: object) -> Payment:
    """The shop's payment of that id. Raises NotFound, also for nonsense."""
    try:
        key = uuid.UUID(str(payment_id))
    except ValueError:
        raise NotFound(UNKNOWN) from None
    payment = payments_of(shop).filter(pk=key).first()
    if payment is None:
        raise NotFound(UNKNOWN)
    return payment


def payment_of_form(order: Order, key: str) -> Payment | None:
    """The payment of this sale that a form with this key made, if it made one."""
    if not key:
        return None
    return Payment.objects.filter(order=order, idempotency_key=key).first()


def undecided_of(shop: Shop) -> QuerySet[Payment]:
    """The shop's payments without a final answer, newest first."""
    return payments_of(shop).filter(decided_at__isnull=True)


def undecided_of_order(order: Order) -> QuerySet[Payment]:
    """An order's payments without a final answer, oldest first."""
    return (
        Payment.objects.filter(order=order, decided_at__isnull=True)
        .select_related("order")
        .order_by("created_at", "id")
    )


def payments_of_order(order: Order) -> QuerySet[Payment]:
    """An order's payments, oldest first."""
    return (
        Payment.objects.filter(order=order)
        .select_related("order")
        .order_by("created_at", "id")
    )


def pending_of(shop: Shop) -> QuerySet[Payment]:
    """The shop's payments that the till still waits for."""
    return payments_of(shop).filter(status__in=PaymentStatus.OPEN)


def failed_of(shop: Shop) -> QuerySet[Payment]:
    """The shop's failed payments."""
    return payments_of(shop).filter(status=PaymentStatus.FAILED)


def found(
    payments: QuerySet[Payment],
    *,
    status: str = "",
    since: datetime | None = None,
    before: datetime | None = None,
    search: str = "",
) -> QuerySet[Payment]:
    """Narrow a list: by status, time of creation, receipt, phone or sale number."""
    if status:
        payments = payments.filter(status=status)
    if since:
        payments = payments.filter(created_at__gte=since)
    if before:
        payments = payments.filter(created_at__lt=before)
    text = clean(search).strip()
    if text:
        payments = payments.filter(_matches(text))
    return payments


def _matches(text: str) -> Q:
    """Which payments a text means. Letters are in receipts and references only; a
    whole phone number is compared as such, for which there is an index.
    """
    digits = "".join(character for character in text if character.isdecimal())
    if any(character.isalpha() for character in text) or not digits.isascii():
        condition = Q(receipt=text.upper())
    else:
        condition = _matches_number(text, digits)
    if references.is_valid(text.upper()):
        condition |= Q(reference=text.upper())
    return condition


def _matches_number(text: str, digits: str) -> Q:
    condition = Q(pk__in=[])
    end = digits.lstrip("0")[-9:]
    if len(end) == 9:
        condition |= Q(phone=f"254{end}")
    elif len(end) >= 6:
        condition |= Q(phone__endswith=end)
    if text.isdecimal() and len(digits) < 10:
        condition |= Q(order__number=int(digits))
    return condition
