"""Why a payment cannot be asked for or taken: the refusals of the API contract."""

from __future__ import annotations

from smartduka.lib.errors import DomainError


class AmountTooSmall(DomainError):
    """M-Pesa and cash take whole shillings from one up."""

    code = "MPESA_002"
    message = "The amount must be at least KES 1."


class AmountTooLarge(DomainError):
    """More than one prompt may ask for."""

    code = "MPESA_003"


class AmountExceedsBalance(DomainError):
    """More than the order still needs."""

    code = "AMOUNT_EXCEEDS_BALANCE"
    http_status = 409


class PromptInTheWay(DomainError):
    """Something undecided speaks for the balance, or the phone is guarded."""

    code = "MPESA_006"
    http_status = 409


class IdempotencyMismatch(DomainError):
    """The key was used for something else."""

    code = "IDEMPOTENCY_MISMATCH"
    message = "This key was used for another payment already."
    http_status = 422


class AlreadySent(IdempotencyMismatch):
    """The form already made a payment; its answer was lost, and then it was changed."""

    said_as = "ALREADY_SENT"
    message = "This was already sent. Look at it before you send another."


class InFlight(DomainError):
    """The same request is being carried out right now."""

    code = "IN_FLIGHT"
    message = "The same payment is being sent right now. Look again in a moment."
    http_status = 409


class RateLimited(DomainError):
    """The shop sent too many prompts."""

    code = "RATE_LIMITED"
    message = "Too many prompts in a short time. Wait a moment, or take cash."
    http_status = 429


class NotRetryable(DomainError):
    """A new attempt makes no sense, or there were enough."""

    code = "NOT_RETRYABLE"
    message = "This payment cannot be tried again. Start a new one."
    http_status = 409


class PaidAlready(NotRetryable):
    """It was asked about, and it is paid."""

    message = "This payment is paid. It needs no new prompt."


class StillUndecided(NotRetryable):
    """It was asked about, and nobody knows: another prompt could be a second payment."""

    said_as = "STILL_UNDECIDED"
    message = (
        "This payment cannot be tried again: M-Pesa has not said yet whether it was"
        " paid. The customer must not pay again."
    )
