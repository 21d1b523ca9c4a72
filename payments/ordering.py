"""What orders need of payments: cancelling a sale asks M-Pesa first (law 6)."""

from __future__ import annotations

from orders import lifecycle
from orders.models import Order
from orders.queries import order_for
from payments import queries, questions
from shops.rights import Right
from shops.tenancy import Access


def cancel_order(*, access: Access, order_id: object) -> Order:
    """Cancel an open order that has no money on it.

    Undecided prompts are asked about first; those that stay undecided may still
    bring money, which then is surplus. Call outside any transaction. Raises Forbidden,
    NotFound, OrderHasMoney.
    """
    access.require(Right.VOID)
    order = order_for(access.shop, order_id)
    questions.ask_first(queries.undecided_of_order(order))
    return lifecycle.cancel(order.pk, actor=access.user)
