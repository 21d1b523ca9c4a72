"""Why money cannot be given back, or not like this: refusals in words."""

from __future__ import annotations

from smartduka.lib.errors import DomainError, Forbidden


class RefundInTheWay(DomainError):
    """Another refund of the same money is not decided."""

    code = "REFUND_IN_THE_WAY"
    message = "Another refund of this money is being decided. Look at it first."
    http_status = 409


class ChangedMeanwhile(DomainError):
    """The money is not what the asker saw."""

    code = "CHANGED_MEANWHILE"
    message = "This money changed since you looked. Look again, then decide."
    http_status = 409


class SentBackAlready(DomainError):
    """M-Pesa sent it back, proved."""

    code = "SENT_BACK_ALREADY"
    message = "M-Pesa sent this money back to the customer already."
    http_status = 409


class CannotReverse(DomainError):
    """M-Pesa cannot send this back."""

    code = "CANNOT_REVERSE"
    http_status = 409


class NotWaiting(DomainError):
    """The refund does not wait for a second person."""

    code = "NOT_WAITING"
    message = "This refund does not wait for anybody: it was decided."
    http_status = 409


class NotUndecided(DomainError):
    """There is nothing to ask M-Pesa about."""

    code = "NOT_UNDECIDED"
    message = "M-Pesa has nothing to decide about this refund."
    http_status = 409


class SamePerson(Forbidden):
    """Who asked for a refund cannot approve or refuse it."""

    message = "You asked for this refund: another manager or the owner must decide."
