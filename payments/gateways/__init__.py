"""Payment networks: `mpesa()` prompts phones, `organisation()` speaks of our accounts.

The registry of both; domain code asks nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from payments.enums import FailureReason
from payments.gateways.base import Gateway, GatewayError, Prober
from payments.gateways.daraja import Daraja
from payments.gateways.daraja_organisation import DarajaOrganisation
from payments.gateways.organisation import OrganisationGateway


VERBS_OF_AN_ORGANISATION = (
    *("register_c2b", "register_pull", "pull"),
    *("transaction_status", "reverse", "account_balance", "qr"),
)

_daraja = Daraja()
_organisation = DarajaOrganisation(_daraja)
_instead: Any = None


def mpesa() -> Gateway:
    """Return the gateway of M-Pesa: one per process, with its pooled session."""
    return _instead or _daraja


def prober() -> Prober:
    """Return M-Pesa as it tries the keys of an account, on the session of `mpesa`.

    Raises GatewayError, certain, while a stand-in is there that cannot try keys.
    """
    if _instead is None:
        return _daraja
    if hasattr(_instead, "probe"):
        found: Prober = _instead
        return found
    raise GatewayError(
        "M-Pesa cannot be asked about keys here",
        certain=True,
        reason=FailureReason.MPESA_UNREACHABLE,
    )


def organisation() -> OrganisationGateway:
    """Return M-Pesa as an organisation asks it, on the same session as `mpesa`.

    Raises GatewayError, certain, while a stand-in is there that has none of an
    organisation's verbs: the real network is never asked behind its back.
    """
    if _instead is None:
        return _organisation
    if any(hasattr(_instead, verb) for verb in VERBS_OF_AN_ORGANISATION):
        stand_in: OrganisationGateway = _instead
        return stand_in
    raise GatewayError(
        "M-Pesa cannot be asked about our account here",
        certain=True,
        reason=FailureReason.MPESA_UNREACHABLE,
    )


@contextmanager
def using(gateway: Gateway | OrganisationGateway) -> Iterator[None]:
    """Put another gateway in M-Pesa's place, for the whole process and a while.

    For drills and tests; nested uses end in the opposite order. One that has verbs
    of an organisation serves those too.
    """
    global _instead
    before, _instead = _instead, gateway
    try:
        yield
    finally:
        _instead = before
