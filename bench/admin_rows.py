"""A million payments with what belongs to them, made from a few by the database itself.

One sale paid by a prompt and one paid in cash are made by the domain; every other row is
one of theirs with other keys, times and states. The history of payments and sales is not
multiplied: no list reads it. Import it only after django.setup().
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.db import connection, transaction
from django.db.models import Model

from orders import checkout
from orders.models import Order, OrderLine
from payments import accounts, cash, demo, hook_tokens, inbox, references, settlement
from payments.enums import Method, PaymentStatus, Source
from payments.models import Allocation, Collection, Notice, Payment, Receipt
from shops.models import Membership, Product, Shop
from shops.tenancy import Access
from smartduka.lib import clock


SHOPS = 20
DAYS = 730
# The shop that is measured has this share of the rows, in tenths.
TENTHS = 4
PHONE, RECEIPT = "254712345678", "UB00000000"

# What differs in the row of number n: a jsonb of its columns.
# `made` is when, `shop` whose, `fate` (0 to 99) what became of it; `t` is the first row.
WORLD = """
CREATE UNLOGGED TABLE bench_world AS
SELECT n, n %% 100 AS fate,
       CASE WHEN n / 100 %% 10 < %(tenths)s THEN %(big)s
            ELSE (%(shops)s::bigint[])[1 + n / 100 %% %(count)s] END AS shop,
       %(until)s::timestamptz
         - n * (%(days)s * interval '1 day' / %(rows)s) AS made,
       md5('sale' || n)::uuid AS sale, md5('payment' || n)::uuid AS payment
FROM generate_series(%(first)s::bigint, %(last)s) AS n
"""

ORDERS = """jsonb_build_object(
  'id', sale, 'number', 1000 + %(rows)s - n, 'shop_id', shop, 'created_at', made,
  'frozen_at', made, 'paid_at', CASE WHEN fate < 78 OR fate >= 90 THEN made END,
  'status', CASE WHEN fate < 78 OR fate >= 90 THEN 'paid' ELSE 'open' END,
  'paid', CASE WHEN fate < 78 OR fate >= 90 THEN t.total ELSE 0 END,
  'surplus', CASE WHEN n %% 5000 = 0 THEN 50 ELSE 0 END)"""
LINES = """jsonb_build_object('id', 3000000000 - n, 'order_id', sale)"""
PROMPTS = """jsonb_build_object(
  'id', payment, 'order_id', sale, 'shop_id', shop, 'created_at', made,
  'answered_at', made, 'expires_at', made + interval '5 minutes',
  'reference', 'B' || lpad(n::text, 9, '0'), 'token_hash', md5('t' || n) || md5('u' || n),
  'checkout_request_id', 'ws_CO_' || n, 'merchant_request_id', 'b-' || n,
  'phone', '2547' || lpad((n * 7919 %% 100000000)::text, 8, '0'),
  'status', CASE WHEN n <= 60 THEN 'pending' WHEN fate < 78 THEN 'completed'
                 WHEN fate < 86 THEN 'failed' WHEN fate < 88 THEN 'cancelled'
                 ELSE 'expired' END,
  'completed_at', CASE WHEN fate < 78 THEN made + fate * interval '0.5 second' END,
  'decided_at', CASE WHEN n > 60 THEN made + interval '40 seconds' END,
  'receipt', CASE WHEN fate < 78 THEN 'UB' || lpad(n::text, 8, '0') ELSE '' END,
  'result_code', CASE WHEN fate < 78 THEN '0' ELSE '1032' END,
  'failure_reason', CASE WHEN fate < 78 OR fate >= 86 THEN '' ELSE
     (ARRAY['cancelled_on_phone', 'insufficient_funds', 'wrong_pin'])[1 + n %% 3] END,
  'seen_at', CASE WHEN fate >= 78 AND made < now() - interval '30 days' THEN made END,
  'next_ask_at', NULL)"""
CASH = """jsonb_build_object(
  'id', payment, 'order_id', sale, 'shop_id', shop, 'created_at', made,
  'completed_at', made, 'decided_at', made, 'idempotency_key', NULL)"""
# Of a paid prompt; and of every thousandth nobody knows for which sale.
MONEY = """jsonb_build_object(
  'id', 3000000000 - n, 'shop_id', shop, 'paid_at', made, 'sighted_at', made,
  'payment_id', CASE WHEN n %% 1000 <> 1 THEN payment END,
  'allocated', CASE WHEN n %% 1000 <> 1 THEN t.amount ELSE 0 END,
  'receipt', CASE WHEN fate < 78 THEN 'UB' || lpad(n::text, 8, '0') END)"""
PORTIONS = """jsonb_build_object(
  'id', 3000000000 - n, 'collection_id', 3000000000 - n, 'order_id', sale,
  'created_at', made,
  'kind', CASE WHEN n %% 5000 = 0 THEN 'surplus' WHEN n %% 500 = 2 THEN 'refunded'
               ELSE 'sale' END)"""
MESSAGES = """jsonb_build_object(
  'id', 3000000000 - n, 'payment_id', payment, 'received_at', made,
  'processed_at', made, 'next_try_at', NULL, 'body_hash', md5('n' || n) || md5('o' || n))"""
RECEIPTS = """jsonb_build_object(
  'id', 3000000000 - n, 'number', 'UB' || lpad(n::text, 8, '0'), 'seen_at', made,
  'paid_at', made, 'collection_id', 3000000000 - n, 'look_at', NULL)"""


@dataclass(frozen=True, slots=True)
class Few:
    """The rows that the others are made of, and the people who will look at them."""

    shop: Shop
    owner: Any
    operator: Any
    prompt: Payment
    till: Payment


def few() -> Few:
    """Make the demo, more shops, and one sale of each kind."""
    demo.load()
    people = get_user_model().objects
    shop = Shop.objects.get(slug=demo.SHOPS[0][0])
    Shop.objects.bulk_create(
        Shop(name=f"Duka {number}", slug=f"duka-{number}") for number in range(SHOPS)
    )
    owner = people.get(username=f"{demo.SHOPS[0][2]}-owner")
    cashier = people.get(username=f"{demo.SHOPS[0][2]}-cashier")
    role = Membership.objects.get(user=cashier, shop=shop).role
    prompt = _prompt(_sale(shop, cashier), cashier)
    sale = _sale(shop, cashier)
    cash.take(
        access=Access(cashier, shop, role),
        order_id=sale.pk,
        amount=int(sale.total),
        key=None,
    )
    operator = people.filter(is_superuser=True)[0]
    return Few(shop, owner, operator, prompt, Payment.objects.get(order=sale))


def multiply(made: Few, first: int, last: int, rows: int) -> dict[str, int]:
    """Make the payments of these numbers, of `rows` in all; the first is the newest.

    Returns how many rows each table then has.
    """
    others = list(Shop.objects.exclude(pk=made.shop.pk).values_list("pk", flat=True))
    world: dict[str, Any] = {
        "rows": rows,
        "first": first,
        "last": last,
        "tenths": TENTHS,
        "big": made.shop.pk,
        "shops": others,
        "count": len(others),
        "days": DAYS,
        "until": clock.now(),
    }
    is_cash, is_prompt, is_paid = "fate >= 90", "fate < 90", "fate < 78 OR fate >= 90"
    money = Collection.objects.get(payment=made.prompt)
    drawn = Collection.objects.get(payment=made.till)
    with transaction.atomic(), connection.cursor() as cursor:
        # Rows of a kind need no checks and no triggers of their own.
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(WORLD, world)
        for row, columns, which in (
            (made.prompt.order, ORDERS, "TRUE"),
            (made.prompt.order.lines.get(), LINES, "TRUE"),
            (made.prompt, PROMPTS, is_prompt),
            (made.till, CASH, is_cash),
            (money, MONEY, "fate < 78"),
            (drawn, MONEY, is_cash),
            (Allocation.objects.get(collection=money), PORTIONS,
             f"({is_paid}) AND n %% 1000 <> 1"),
            (Notice.objects.get(payment=made.prompt), MESSAGES, "fate < 86"),
            (Receipt.objects.get(collection=money), RECEIPTS, "fate < 30"),
        ):  # fmt: skip
            _copy(cursor, row, columns, which, rows)
        cursor.execute("DROP TABLE bench_world")
    tables = (Order, OrderLine, Payment, Collection, Allocation, Notice, Receipt)
    return {model._meta.db_table: model.objects.count() for model in tables}


def _copy(cursor: Any, row: Model, columns: str, which: str, rows: int) -> None:
    """Write one row for each number that fits, all its other columns as in `row`."""
    table = row._meta.db_table
    key = row._meta.pk.attname
    statement = f"""
        INSERT INTO {table}
        SELECT made_row.* FROM bench_world AS w
        JOIN {table} AS t ON t.{key} = %(key)s
        CROSS JOIN LATERAL jsonb_populate_record(t, {columns}) AS made_row
        WHERE ({which})"""  # noqa: S608 -- names of our own tables
    cursor.execute(statement, {"key": row.pk, "rows": rows})


def _sale(shop: Shop, cashier: Any) -> Order:
    product = Product.objects.filter(shop=shop).order_by("pk")[0]
    items = [checkout.Item(str(product.pk), 1)]
    return checkout.place_order(shop=shop, actor=cashier, items=items)


def _prompt(order: Order, cashier: Any) -> Payment:
    """A prompt whose callback came, and whose receipt M-Pesa told as well."""
    account, now, token = accounts.platform_account(), clock.now(), hook_tokens.issue()
    assert account is not None
    payment = Payment.objects.create(
        shop=order.shop,
        order=order,
        method=Method.MPESA_STK,
        status=PaymentStatus.PENDING,
        amount=order.total,
        created_by=cashier,
        created_at=now,
        account=account,
        environment=account.environment,
        shortcode=account.shortcode,
        party_b=account.party_b,
        phone=PHONE,
        reference=references.new_reference(),
        token_hash=token.nonce_hash,
        merchant_request_id="b-0",
        checkout_request_id="ws_CO_0",
        answered_at=now,
        expires_at=now + timedelta(minutes=5),
    )
    callback = {"Body": {"stkCallback": {"CheckoutRequestID": "ws_CO_0"}}}
    body = json.dumps(callback).encode()
    raw = inbox.Raw(
        body=body, is_cut=False, address="196.201.214.200", address_is_listed=True
    )
    inbox.store_for_payment(token.nonce_hash, raw)
    with transaction.atomic():
        locked_order, locked = settlement.locked(payment.pk)
        proof = settlement.Proof(Source.CALLBACK, RECEIPT, PHONE, now)
        settlement.record_success(locked_order, locked, proof)
    money = Collection.objects.get(payment=payment)
    Notice.objects.filter(payment=payment).update(verdict="applied", next_try_at=None)
    Receipt.objects.create(
        account=account,
        number=RECEIPT,
        amount=money.amount,
        payer=PHONE,
        paid_at=now,
        seen_at=now,
        proven_at=now,
        state="counted",
        collection=money,
    )
    return Payment.objects.select_related("order").get(pk=payment.pk)
