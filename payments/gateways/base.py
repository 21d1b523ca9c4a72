"""What crosses the border to a payment network: frozen values and one exception."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from payments.enums import FailureReason


@dataclass(frozen=True, slots=True)
class Credentials:
    """An account as the network knows it. Secrets stay out of every repr."""

    environment: str
    is_till: bool
    shortcode: str
    party_b: str
    consumer_key: str = field(repr=False)
    consumer_secret: str = field(repr=False)
    passkey: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class PushRequest:
    """Ask one phone for a whole number of shillings."""

    phone: str = field(repr=False)
    amount: int
    reference: str
    description: str
    callback_url: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class PushAccepted:
    """The network took the request: the prompt is on its way, nothing is paid."""

    merchant_request_id: str
    checkout_request_id: str


class Answered(StrEnum):
    """What kind of answer a question got."""

    FINAL = "final"  # a result code that will not change
    PENDING = "pending"  # the customer has not finished
    UNKNOWN = "unknown"  # no answer, or none that means anything
    NOT_ASKED = "not_asked"  # it never left: no connection, no token


@dataclass(frozen=True, slots=True)
class QueryAnswer:
    """The answer to "what became of this prompt?"."""

    kind: Answered
    code: str = ""
    description: str = ""


class Proof(StrEnum):
    """What M-Pesa says to an account that asks about a prompt it never sent."""

    GOOD = "good"  # keys, product, number and passkey belong together
    KEYS = "keys"  # consumer key or secret wrong
    PRODUCT = "product"  # the app may not send prompts
    NUMBER = "number"  # the number is not the app's
    PASSKEY = "passkey"  # the passkey is not the number's
    UNREACHED = "unreached"  # nobody answered
    UNCLEAR = "unclear"  # an answer that says neither


@dataclass(frozen=True, slots=True)
class Probe:
    """How an account was answered. `detail` holds no secret."""

    proof: Proof
    detail: str = ""


class GatewayError(Exception):
    """The network did not accept a push, or another request.

    `certain`: we know that the customer was not asked, that nothing was begun. If
    not, the prompt may be on the phone and the money may move: the outcome is
    unknown. `wait_s`: the network wants so many seconds before another try for this
    phone.
    """

    def __init__(
        self,
        message: str,
        *,
        certain: bool,
        reason: FailureReason = FailureReason.OTHER,
        may_retry: bool = True,
        wait_s: int = 0,
    ) -> None:
        super().__init__(message)
        self.certain = certain
        self.reason = reason
        self.may_retry = may_retry
        self.wait_s = wait_s


class Gateway(Protocol):
    """A network that can prompt a phone and answer for it later."""

    def push(self, account: Credentials, request: PushRequest) -> PushAccepted:
        """Send one prompt. Raises GatewayError; never repeats by itself."""

    def query(
        self, account: Credentials, checkout_request_id: str, *, limit_s: float
    ) -> QueryAnswer:
        """Ask what became of a prompt, within `limit_s` seconds. Never raises."""


class Prober(Protocol):
    """A network that says whether an account's keys are right, moving nothing."""

    def probe(self, account: Credentials, *, limit_s: float) -> Probe:
        """Try the keys of an account, within `limit_s` seconds a call. Never raises."""
