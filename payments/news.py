"""What screens are told after a commit: the dotted event and the whole state."""

from __future__ import annotations

from orders.models import Order
from payments import states
from payments.models import Payment
from smartduka.lib import realtime


def publish(payment: Payment, order: Order, event: str) -> None:
    """Tell the shop's and the payment's listeners, once this is committed.

    Call last, so that the state is the one that is committed.
    """
    payment.order = order
    realtime.publish_after_commit(
        [realtime.shop_group(payment.shop_id), realtime.payment_group(payment.pk)],
        {"event": event, "payment": states.payment_state(payment)},
    )
