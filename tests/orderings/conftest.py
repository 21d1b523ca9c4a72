"""The fixtures of payments' own tests serve here too."""

from tests.payments.conftest import messages, mpesa, order, seller, tasks, time


__all__ = ["messages", "mpesa", "order", "seller", "tasks", "time"]
