"""Payment networks. `mpesa()` is the registry; domain code asks nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from payments.gateways.base import Gateway
from payments.gateways.daraja import Daraja


_daraja = Daraja()
_instead: Gateway | None = None


def mpesa() -> Gateway:
    """Return the gateway of M-Pesa: one per process, with its pooled session."""
    return _instead or _daraja


@contextmanager
def using(gateway: Gateway) -> Iterator[None]:
    """Put another gateway in M-Pesa's place, for the whole process and a while.

    For drills and tests; nested uses end in the opposite order.
    """
    global _instead
    before, _instead = _instead, gateway
    try:
        yield
    finally:
        _instead = before
