"""Rows for the loads: sales that wait for their callback, and sales to push for.

Written in bulk, with what the domain functions would have written. Import it only
after django.setup().
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.contrib.auth import get_user_model
from django.db import connection, transaction
from rest_framework_simplejwt.tokens import AccessToken

from bench import load
from orders.enums import OrderStatus
from orders.models import Order, OrderEvent, OrderLine
from payments import accounts, demo, hook_tokens, references
from payments.enums import Method, PaymentStatus, Source
from payments.models import Payment, PaymentEvent, PhoneGuard
from shops import stock
from shops.models import Product, Shop
from smartduka.lib import clock


PRODUCTS = 200  # enough that two sales seldom wait for the same shelf
PIECES = 10_000_000
BATCH = 2_000
PRICE = Decimal(100)

# Everything pgbench needs to write what a callback writes, found by a number.
WORK = """
CREATE TABLE bench_work AS
SELECT row_number() OVER (ORDER BY o.number) - 1 AS n, p.id AS payment_id, p.order_id,
       p.shop_id, p.account_id, p.environment, p.created_by_id, p.phone, p.amount,
       p.checkout_request_id, l.product_id, l.quantity,
       'PG' || lpad(o.number::text, 8, '0') AS receipt,
       convert_to(rpad(p.checkout_request_id, 560, '.'), 'UTF8') AS body
FROM payments_payment p
JOIN orders_order o ON o.id = p.order_id
JOIN orders_orderline l ON l.order_id = o.id;
ALTER TABLE bench_work ADD PRIMARY KEY (n);
"""


@dataclass(frozen=True, slots=True)
class Prepared:
    """Requests, ready to be sent; each callback brings KES 100, each push asks it."""

    callbacks: Iterator[bytes]
    pushes: Iterator[bytes]


def prepare(*, callbacks: int, spare: int, pushes: int) -> Prepared:
    """Make a shop with so many sales; `spare` callbacks are for pgbench alone."""
    demo.load()
    shop = Shop.objects.get(slug=demo.SHOPS[0][0])
    cashier = get_user_model().objects.get(username=f"{demo.SHOPS[0][2]}-cashier")
    goods = [_product(shop, number) for number in range(PRODUCTS)]
    numbers, sent = phones("2547"), []
    for first in range(0, callbacks + spare, BATCH):
        count = min(BATCH, callbacks + spare - first)
        orders = _orders(shop, cashier, goods, first, count)
        sent += _await_callbacks(orders, first, numbers)
    with connection.cursor() as cursor:
        cursor.execute(WORK)
    orders = _orders(shop, cashier, goods, callbacks + spare, pushes)
    bearer = f"Bearer {AccessToken.for_user(cashier)}"
    asked = [
        _push(order, phone, bearer)
        for order, phone in zip(orders, phones("25410"), strict=False)
    ]
    Shop.objects.filter(pk=shop.pk).update(last_order_number=callbacks + spare + pushes)
    return Prepared(iter(sent[:callbacks]), iter(asked))


def _product(shop: Shop, number: int) -> Product:
    product = Product.objects.create(shop=shop, name=f"Good {number}", price=PRICE)
    with transaction.atomic():
        stock.receive(product, quantity=PIECES, actor=None)
    return product


def _orders(
    shop: Shop, cashier: Any, goods: list[Product], first: int, count: int
) -> list[Order]:
    """Open and frozen sales of one piece."""
    now = clock.now()
    orders = Order.objects.bulk_create(
        Order(
            shop=shop,
            number=first + n + 1,
            total=PRICE,
            created_by=cashier,
            created_at=now,
            frozen_at=now,
        )
        for n in range(count)
    )
    OrderEvent.objects.bulk_create(
        OrderEvent(order=order, new=OrderStatus.OPEN, actor=cashier, created_at=now)
        for order in orders
    )
    OrderLine.objects.bulk_create(
        OrderLine(
            order=order,
            product=goods[n % len(goods)],
            name=goods[n % len(goods)].name,
            quantity=1,
            unit_price=PRICE,
            line_total=PRICE,
        )
        for n, order in enumerate(orders)
    )
    return orders


def _await_callbacks(
    orders: list[Order], first: int, numbers: Iterator[str]
) -> list[bytes]:
    """Give each sale a prompt that M-Pesa has accepted; return the callbacks."""
    account, now = accounts.platform_account(), clock.now()
    assert account is not None
    tokens = [hook_tokens.issue() for _ in orders]
    payments = [
        Payment(
            shop=order.shop,
            order=order,
            method=Method.MPESA_STK,
            status=PaymentStatus.PENDING,
            amount=order.total,
            created_by=order.created_by,
            created_at=now,
            account=account,
            environment=account.environment,
            shortcode=account.shortcode,
            party_b=account.party_b,
            phone=next(numbers),
            reference=references.new_reference(),
            token_hash=token.nonce_hash,
            merchant_request_id=uuid.uuid4().hex[:20],
            checkout_request_id=f"ws_CO_{uuid.uuid4().hex}",
            answered_at=now,
            expires_at=now + clock.seconds(3600),
            next_ask_at=now + clock.seconds(3600),
        )
        for order, token in zip(orders, tokens, strict=True)
    ]
    Payment.objects.bulk_create(payments)
    PaymentEvent.objects.bulk_create(
        PaymentEvent(
            payment=payment, old=old, new=new, source=Source.PUSH, created_at=now
        )
        for payment in payments
        for old, new in [("", "created"), ("created", "pending")]
    )
    PhoneGuard.objects.bulk_create(
        PhoneGuard(
            phone=payment.phone,
            payment_id=payment.pk,
            amount=payment.amount,
            free_at=now,
            free_same_at=now,
        )
        for payment in payments
    )
    return [
        callback(payment, token.text, receipt=f"TB{first + n:08}")
        for n, (payment, token) in enumerate(zip(payments, tokens, strict=True))
    ]


def callback(payment: Payment, token: str, *, receipt: str) -> bytes:
    """Return M-Pesa's request that says: paid."""
    items = {
        "Amount": float(payment.amount),
        "MpesaReceiptNumber": receipt,
        "TransactionDate": int(f"{clock.now().astimezone(clock.NAIROBI):%Y%m%d%H%M%S}"),
        "PhoneNumber": int(payment.phone),
    }
    result = {
        "MerchantRequestID": payment.merchant_request_id,
        "CheckoutRequestID": payment.checkout_request_id,
        "ResultCode": 0,
        "ResultDesc": "The service request is processed successfully.",
        "CallbackMetadata": {
            "Item": [{"Name": name, "Value": value} for name, value in items.items()]
        },
    }
    body = json.dumps({"Body": {"stkCallback": result}}).encode()
    return load.request("POST", f"/hooks/stk/{token}", body)


def _push(order: Order, phone: str, bearer: str) -> bytes:
    body = {"orderId": str(order.pk), "phoneNumber": phone}
    return load.request(
        "POST",
        "/api/payments/mpesa/initiate",
        json.dumps(body).encode(),
        Authorization=bearer,
        Idempotency_Key=str(uuid.uuid4()),
    )


def phones(prefix: str) -> Iterator[str]:
    """All numbers with this prefix that end in 0: no magic ending of the simulator."""
    digits = len("254712345678") - len(prefix) - 1
    return (f"{prefix}{number:0{digits}}0" for number in range(10**digits))
