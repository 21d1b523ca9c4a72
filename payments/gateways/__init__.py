"""Payment networks. `mpesa()` is the registry; domain code asks nothing else."""

from __future__ import annotations

from payments.gateways.base import Gateway
from payments.gateways.daraja import Daraja


_daraja = Daraja()


def mpesa() -> Gateway:
    """Return the gateway of M-Pesa: one per process, with its pooled session."""
    return _daraja
