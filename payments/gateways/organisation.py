"""What an organisation may ask of M-Pesa about its own account: frozen values.

Beside `base`, which is about prompts: registering URLs, asking for payments and
their state, sending money back. Secrets and addresses with tokens stay out of every
repr.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from payments.gateways.base import Credentials
from payments.notices_pull import PullPage


@dataclass(frozen=True, slots=True)
class Initiator:
    """The API user of an account, with the certificate that hides its password.

    `certificate` is the environment's X.509 certificate as PEM or DER.
    """

    name: str
    password: str = field(repr=False)
    certificate: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class ResultUrls:
    """Where M-Pesa posts the result, and where it says that it gave up."""

    result: str = field(repr=False)
    timeout: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class C2bUrls:
    """Where M-Pesa tells payments made by hand.

    `completes_unasked`: what M-Pesa does when the validation cannot be reached.
    """

    confirmation: str = field(repr=False)
    validation: str = field(repr=False)
    completes_unasked: bool = True


@dataclass(frozen=True, slots=True)
class Registered:
    """M-Pesa knows our URLs. `already`: it knew some before, perhaps others."""

    already: bool = False


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """M-Pesa took a request; its result comes to the ResultURL, or never.

    A result belongs to the request only if both ids agree.
    """

    conversation_id: str
    originator_conversation_id: str


@dataclass(frozen=True, slots=True)
class StatusRequest:
    """Ask about one transaction: by receipt, or by the id of the one who began it."""

    urls: ResultUrls
    receipt: str = ""
    original_conversation_id: str = ""
    remarks: str = "Status"

    def __post_init__(self) -> None:
        if bool(self.receipt) is bool(self.original_conversation_id):
            raise ValueError("a receipt or an original conversation id")


@dataclass(frozen=True, slots=True)
class ReversalRequest:
    """Send one payment back to its payer: in KES, the whole of it."""

    urls: ResultUrls
    receipt: str
    amount: int
    remarks: str = "Refund"

    def __post_init__(self) -> None:
        if self.amount < 1 or not self.receipt:
            raise ValueError("a receipt and at least one shilling")


@dataclass(frozen=True, slots=True)
class BalanceRequest:
    """Ask for the balances of the account."""

    urls: ResultUrls
    remarks: str = "Balance"


@dataclass(frozen=True, slots=True)
class PullRegistration:
    """Ask that payments may be pulled. `nominated_number` is in the account's KYC."""

    nominated_number: str = field(repr=False)
    callback_url: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class PullQuery:
    """Ask for the payments between two moments, at most 48 hours ago.

    `offset`: how many rows to leave out, for the next page.
    """

    start: datetime
    end: datetime
    offset: int = 0


@dataclass(frozen=True, slots=True)
class QrRequest:
    """Ask for a code that a customer scans. Amount in whole KES."""

    merchant_name: str
    reference: str
    amount: int
    size: int = 300


@dataclass(frozen=True, slots=True)
class QrCode:
    """A picture of the code."""

    png: bytes = field(repr=False)


class OrganisationGateway(Protocol):
    """A network that answers an organisation about its own account.

    Every verb takes at most `limit_s` seconds for its answer, repeats nothing by
    itself, is never called inside a transaction, and raises GatewayError: certain
    only where we know that nothing was begun.
    """

    def register_c2b(
        self, account: Credentials, urls: C2bUrls, *, limit_s: float
    ) -> Registered:
        """Tell M-Pesa where to post payments made by hand."""

    def register_pull(
        self, account: Credentials, request: PullRegistration, *, limit_s: float
    ) -> Registered:
        """Ask once that payments of this account may be pulled."""

    def pull(
        self, account: Credentials, query: PullQuery, *, limit_s: float
    ) -> PullPage:
        """Return one page of payments; see `pull_pages`."""

    def transaction_status(
        self,
        account: Credentials,
        initiator: Initiator,
        request: StatusRequest,
        *,
        limit_s: float,
    ) -> Acknowledged:
        """Ask what became of a transaction. The answer comes to the ResultURL."""

    def reverse(
        self,
        account: Credentials,
        initiator: Initiator,
        request: ReversalRequest,
        *,
        limit_s: float,
    ) -> Acknowledged:
        """Ask to send a payment back. Uncertain errors may have moved money."""

    def account_balance(
        self,
        account: Credentials,
        initiator: Initiator,
        request: BalanceRequest,
        *,
        limit_s: float,
    ) -> Acknowledged:
        """Ask for the balances. The answer comes to the ResultURL."""

    def qr(self, account: Credentials, request: QrRequest, *, limit_s: float) -> QrCode:
        """Return a code to be scanned."""
