"""Orders as the API and the pages show them."""

from __future__ import annotations

from typing import Any

from orders.models import Order
from smartduka.lib import clock


def order_state(order: Order) -> dict[str, Any]:
    """An order as the API shows it; money of orders as decimal strings."""
    return {
        "id": str(order.pk),
        "number": order.number,
        "status": order.status,
        "total": f"{order.total:.2f}",
        "paid": f"{order.paid:.2f}",
        "balance": f"{order.balance:.2f}",
        "surplus": f"{order.surplus:.2f}",
        "rounding": f"{order.rounding:.2f}",
        "createdAt": clock.iso(order.created_at),
        "lines": [
            {
                "productId": str(line.product_id),
                "name": line.name,
                "quantity": line.quantity,
                "unitPrice": f"{line.unit_price:.2f}",
                "lineTotal": f"{line.line_total:.2f}",
            }
            for line in order.lines.all()
        ],
    }
