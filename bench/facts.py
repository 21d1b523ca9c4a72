"""What a load must have left in the database, and what it did leave."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, fields
from decimal import Decimal

import psycopg


@dataclass(frozen=True, slots=True)
class Facts:
    """Rows counted and money summed up, in KES; or what a load added to them."""

    notices: int
    applied: int
    completed: int
    completions: int
    collections: int
    collected: Decimal
    allocated: Decimal
    portions: Decimal
    paid_orders: int
    closings: int
    paid: Decimal
    sold: int
    off_the_shelf: int
    alarms: int
    prompts: int


QUERIES = {
    "notices": "count(*) FROM payments_notice",
    "applied": "count(*) FROM payments_notice WHERE verdict = 'applied'"
    " AND processed_at IS NOT NULL AND next_try_at IS NULL",
    "completed": "count(*) FROM payments_payment WHERE status = 'completed'",
    "completions": "count(*) FROM payments_paymentevent"
    " WHERE new = 'completed' AND old <> new",
    "collections": "count(*) FROM payments_collection",
    "collected": "coalesce(sum(amount), 0) FROM payments_collection",
    "allocated": "coalesce(sum(allocated), 0) FROM payments_collection",
    "portions": "coalesce(sum(amount), 0) FROM payments_allocation",
    "paid_orders": "count(*) FROM orders_order WHERE status = 'paid'",
    "closings": "count(*) FROM orders_orderevent WHERE new = 'paid'",
    "paid": "coalesce(sum(paid), 0) FROM orders_order",
    "sold": "coalesce(-sum(quantity), 0) FROM shops_stockmovement"
    " WHERE reason = 'sold'",
    "off_the_shelf": "coalesce(-sum(stock), 0) FROM shops_product",
    "alarms": "count(*) FROM payments_payment WHERE alarm <> ''",
    "prompts": "count(*) FROM payments_payment"
    " WHERE checkout_request_id IS NOT NULL AND answered_at IS NOT NULL",
}


def read(dsn: str) -> Facts:
    """Return the facts of a database as they are now."""
    columns = ", ".join(f"(SELECT {query})" for query in QUERIES.values())
    with psycopg.connect(dsn) as connection:
        row = connection.execute(f"SELECT {columns}".encode()).fetchone()
    assert row is not None
    return Facts(**dict(zip(QUERIES, row, strict=True)))


def added(before: Facts, after: Facts) -> Facts:
    """Return what came between two readings."""
    return Facts(
        **{
            field.name: getattr(after, field.name) - getattr(before, field.name)
            for field in fields(Facts)
        }
    )


def faults_of_callbacks(added: Facts, *, replies: int, amount: Decimal) -> list[str]:
    """Say what is wrong after callbacks: each reply is one payment of that amount."""
    money = replies * amount
    expected = Facts(
        notices=replies,
        applied=replies,
        completed=replies,
        completions=replies,
        collections=replies,
        collected=money,
        allocated=money,
        portions=money,
        paid_orders=replies,
        closings=replies,
        paid=money,
        sold=replies,
        off_the_shelf=replies,
        alarms=0,
        prompts=0,
    )
    return _differences(added, expected)


def faults_of_pushes(added: Facts, *, replies: int) -> list[str]:
    """Say what is wrong after pushes: each reply is one prompt, and no money."""
    nothing = dict.fromkeys(QUERIES, 0)
    return _differences(added, Facts(**nothing | {"prompts": replies}))  # type: ignore[arg-type]


def faults_of_statuses(statuses: Counter[int], *, expected: int) -> list[str]:
    """Say which answers were not the one that was due."""
    return [
        f"{count} answers with status {status or 'none'}, due was {expected}"
        for status, count in statuses.items()
        if status != expected
    ]


def _differences(found: Facts, expected: Facts) -> list[str]:
    return [
        f"{field.name}: {getattr(found, field.name)},"
        f" should be {getattr(expected, field.name)}"
        for field in fields(Facts)
        if getattr(found, field.name) != getattr(expected, field.name)
    ]
