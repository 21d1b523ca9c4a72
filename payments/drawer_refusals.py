"""Why free money cannot be used, or not like this: refusals in words."""

from __future__ import annotations

from smartduka.lib.errors import DomainError, NotFound


class NotConfirmed(DomainError):
    """Only a notice claims this money, and it is above the shop's limit."""

    code = "NOT_CONFIRMED"
    message = (
        "M-Pesa has not confirmed this money yet, so it cannot be used. Wait until it"
        " is confirmed."
    )
    http_status = 409


class NotConfirmedAsked(NotConfirmed):
    """As NotConfirmed; the question is on its way."""

    message = (
        "M-Pesa has not confirmed this money yet, so it cannot be used. M-Pesa is"
        " being asked now: try again in a moment."
    )


class HeldMoney(DomainError):
    """It may be an undecided payment's."""

    code = "HELD_MONEY"
    message = (
        "This money may belong to a prompt that M-Pesa has not decided. It is asked;"
        " try again in a moment."
    )
    http_status = 409


class DisputedMoney(DomainError):
    """M-Pesa's books say otherwise of it: not for a cashier to use."""

    code = "DISPUTED_MONEY"
    message = (
        "M-Pesa's books say otherwise about this money. Call the manager, who finds it"
        " in Money to sort."
    )
    http_status = 409


class NotLookedAt(DisputedMoney):
    """A manager may use it who says that they looked at M-Pesa's books."""

    message = (
        "M-Pesa's books say otherwise about this money. Look at them, then say that"
        " you did."
    )


class NobodysCredit(DomainError):
    """A credit needs somebody whose it is."""

    message = "Write the customer's full phone number, or a name."


class NotToBePlaced(DomainError):
    """The operator can place only money that lies unused on the platform's account."""

    code = "NOT_TO_BE_PLACED"
    message = "This money is a shop's already, or it is not on the platform's account."
    http_status = 409


class NoSuchOffer(DomainError):
    """What was offered is used, or the sale's balance changed."""

    code = "NO_SUCH_OFFER"
    message = "This money is not offered to this sale any more. Look at it again."
    http_status = 409


class OthersOffer(DomainError):
    """Another open sale needs the very amount, and the cashier was not told."""

    code = "OTHERS_OFFER"
    message = (
        "Another open sale needs the same amount by now. Look whose money it is, then"
        " press again."
    )
    http_status = 409


class NotThisSales(DomainError):
    """The code is no free money of this shop any more."""

    code = "NOT_FREE"
    message = "This code cannot pay this sale any more. Check it again."
    http_status = 409


class NoSuchClaim(NotFound):
    """Nobody in this shop typed that code."""

    message = "This code was not typed in your shop."


class TooManyCodes(DomainError):
    """Somebody tries codes out."""

    code = "TOO_MANY_CODES"
    message = "Too many codes in a short time. Wait a moment."
    http_status = 429
