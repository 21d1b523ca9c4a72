"""What is written down about money and goods, to be compared as a whole."""

import contextlib
from decimal import Decimal

from django.db import OperationalError, connection

from orders.models import Order, OrderEvent, OrderLine
from payments.models import Allocation, Collection, Payment, PaymentEvent, PhoneGuard
from shops.models import Product, StockMovement


# A question before an act leaves its trace here, and changes nothing else.
QUESTION_FIELDS = {"asked_at", "ask_count", "next_ask_at", "leased_until"}


def refusal(response, status, code):
    """Assert that the answer is exactly the error shape; return its details."""
    body = response.json()
    assert (response.status_code, body.get("code")) == (status, code), body
    assert set(body) == {"success", "code", "message", "details"}
    assert body["success"] is False
    assert isinstance(body["details"], dict)
    message = body["message"]
    assert isinstance(message, str)
    assert message.strip()
    assert "Traceback" not in message
    assert response.headers["Content-Type"] == "application/json"
    return body["details"]


def written_down():
    """Return every row of money, sales and stock; questions asked do not count."""
    models = (
        *(Order, OrderLine, OrderEvent, Payment, PaymentEvent),
        *(Collection, Allocation, PhoneGuard, Product, StockMovement),
    )
    return {
        model.__name__: [
            {k: v for k, v in row.items() if k not in QUESTION_FIELDS}
            for row in model.objects.order_by("pk").values()
        ]
        for model in models
    }


@contextlib.contextmanager
def nothing_changes():
    """Assert that the block leaves every row of money, sales and stock as it was."""
    before = written_down()
    yield
    assert written_down() == before


def path_of(payment):
    """Return the statuses that a payment entered, in their order."""
    moves = payment.events.values_list("old", "new")
    return [new for old, new in moves if old != new]


def money_of(order):
    """Return what arrived for an order's payments, and where each shilling went."""
    collections = Collection.objects.filter(payment__order=order).order_by("pk")
    return [
        (
            collection.source,
            collection.receipt,
            collection.amount,
            [(a.kind, a.amount) for a in collection.allocations.all()],
        )
        for collection in collections
    ]


def sale_of(order):
    """Return status, paid, balance and surplus of an order as it is stored now."""
    order = Order.objects.get(pk=order.pk)
    return order.status, order.paid, order.balance, order.surplus


def kes(amount):
    """Return an amount as rows have it."""
    return Decimal(amount).quantize(Decimal("0.01"))


@contextlib.contextmanager
def database_without(table, verb=""):
    """Let the database refuse every statement on this table, or those of one verb."""

    def refuse(execute, sql, params, many, context):
        if f'"{table}"' in sql and sql.lstrip().upper().startswith(verb):
            raise OperationalError("disk I/O error")
        return execute(sql, params, many, context)

    with connection.execute_wrapper(refuse):
        yield
