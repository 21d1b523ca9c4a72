"""Words of the payments app, as stored, and which status may follow which."""

from __future__ import annotations

from enum import nonmember

from django.db import models


class Method(models.TextChoices):
    """How one attempt asks for its money."""

    MPESA_STK = "mpesa_stk", "M-Pesa"
    C2B = "c2b", "M-Pesa by hand"
    CASH = "cash", "Cash"


class AccountType(models.TextChoices):
    """What the customer pays into."""

    PAYBILL = "paybill", "Paybill"
    TILL = "till", "Till (Buy Goods)"


class Health(models.TextChoices):
    """How something stands that must be right before money can flow."""

    FINE = "fine", "Fine"
    LOOK = "look", "Look at this"
    BROKEN = "broken", "Broken"
    UNKNOWN = "unknown", "Cannot be known"


class PaymentStatus(models.TextChoices):
    """Where an attempt stands. The moves are law: see docs/payments.md."""

    CREATED = "created", "Being sent"
    PENDING = "pending", "Waiting for the customer"
    COMPLETED = "completed", "Paid"
    FAILED = "failed", "Not paid"
    EXPIRED = "expired", "Nobody told us"
    CANCELLED = "cancelled", "Stopped waiting"
    REVERSED = "reversed", "Sent back"

    OPEN = nonmember(frozenset({"created", "pending"}))
    NOT_PAID = nonmember(frozenset({"failed", "expired", "cancelled"}))
    WITHOUT_MONEY = nonmember(
        frozenset({"created", "pending", "failed", "expired", "cancelled"})
    )
    MOVES = nonmember(
        {
            "created": frozenset(
                {"pending", "completed", "failed", "expired", "cancelled"}
            ),
            "pending": frozenset({"completed", "failed", "expired", "cancelled"}),
            # Proof of money beats whatever we believed before it.
            "failed": frozenset({"completed"}),
            "expired": frozenset({"completed"}),
            "cancelled": frozenset({"completed"}),
            "completed": frozenset({"reversed"}),
            "reversed": frozenset(),
        }
    )


class FailureReason(models.TextChoices):
    """Why an attempt was not paid: our words, not M-Pesa's."""

    CANCELLED_ON_PHONE = "cancelled_on_phone", "Cancelled on the phone"
    INSUFFICIENT_FUNDS = "insufficient_funds", "Not enough money"
    WRONG_PIN = "wrong_pin", "Wrong PIN"
    PIN_LOCKED = "pin_locked", "M-Pesa PIN locked"
    PHONE_UNREACHABLE = "phone_unreachable", "Phone not reached"
    PROMPT_EXPIRED = "prompt_expired", "Prompt ran out"
    AMOUNT_LIMIT = "amount_limit", "Amount limit of M-Pesa"
    CUSTOMER_LIMIT = "customer_limit", "Customer's M-Pesa limit"
    CUSTOMER_ACCOUNT = "customer_account", "Customer's M-Pesa account"
    SHOP_ACCOUNT = "shop_account", "Shop's M-Pesa account"
    TOO_SOON = "too_soon", "Too soon after another prompt"
    MPESA_BUSY = "mpesa_busy", "M-Pesa busy"
    MPESA_UNREACHABLE = "mpesa_unreachable", "M-Pesa not reached"
    PROMPT_NOT_SENT = "prompt_not_sent", "Prompt could not be sent"
    OTHER = "other", "Other"


class Source(models.TextChoices):
    """Through which road a fact about a payment reached us."""

    PERSON = "person", "A person"
    PUSH = "push", "Answer to the push"
    CALLBACK = "callback", "M-Pesa's callback"
    QUERY = "query", "Answer to our question"
    CLOCK = "clock", "Our clock"
    DRAWER = "drawer", "Cash drawer"
    C2B = "c2b", "M-Pesa's notice of a payment by hand"
    PULL = "pull", "M-Pesa's list of payments"
    STATUS = "status", "M-Pesa's answer about a receipt"
    STATEMENT = "statement", "M-Pesa's statement"

    # Who can reach the hook can claim; these cannot be made up by others.
    PROOF = nonmember(frozenset({"callback", "query", "pull", "status", "statement"}))


class Verdict(models.TextChoices):
    """What became of a notice."""

    NEW = "new", "Not looked at yet"
    APPLIED = "applied", "Applied"
    DUPLICATE = "duplicate", "Said nothing new"
    UNCERTAIN = "uncertain", "Uncertain code, M-Pesa is asked"
    UNVERIFIED = "unverified", "Does not fit, M-Pesa is asked"
    CONTRADICTION = "contradiction", "Contradicts what we know"
    MALFORMED = "malformed", "Not understood"
    UNTOKENED = "untokened", "Came without a token"
    REJECTED = "rejected", "Bad token"
    ORPHAN = "orphan", "Payment unknown"
    HELD = "held", "Kept until it is clear whose it is"
    PARKED = "parked", "Parked, a person must look"

    # What M-Pesa itself does not send, or seldom.
    FORGED = nonmember(("rejected", "untokened", "unverified"))


class AllocationKind(models.TextChoices):
    """What a portion of a collection is for."""

    SALE = "sale", "Sale"
    SURPLUS = "surplus", "Surplus"
    CREDIT = "credit", "Customer's credit"
    RESERVED = "reserved", "Reserved for a refund"
    REFUNDED = "refunded", "Sent back"
    CORRECTION = "correction", "Corrected"
    RELEASE = "release", "Freed again"

    # What a person may still decide about.
    FREE = nonmember(frozenset({"surplus", "credit"}))


class Binding(models.TextChoices):
    """Why a collection belongs to its payment, the strongest first."""

    TOKEN = "token", "M-Pesa's answer to the prompt"
    REFERENCE = "reference", "The reference that was paid to"
    FIT = "fit", "Amount, time and payer fit"
    PERSON = "person", "A person"


class ReceiptState(models.TextChoices):
    """Where a receipt number stands that M-Pesa told us."""

    HELD = "held", "Held: it may belong to a payment"
    CLAIMED = "claimed", "Claimed, not confirmed"
    COUNTED = "counted", "Counted"


class ClaimState(models.TextChoices):
    """What became of a code that somebody typed."""

    WAITING = "waiting", "Waiting for M-Pesa"
    USED = "used", "Paid the sale"
    DENIED = "denied", "Not a payment to this shop"
    WITHDRAWN = "withdrawn", "Withdrawn"


class RequestKind(models.TextChoices):
    """What we ask M-Pesa about our own account, answered later."""

    STATUS = "status", "What became of a receipt"
    REVERSAL = "reversal", "Send a payment back"


class RequestState(models.TextChoices):
    """Where a request to M-Pesa stands."""

    MADE = "made", "About to be sent"
    SENT = "sent", "Taken by M-Pesa"
    UNKNOWN = "unknown", "No answer"
    REFUSED = "refused", "Refused at once"
    ANSWERED = "answered", "Answered"


class RefundMethod(models.TextChoices):
    """How money goes back."""

    REVERSAL = "reversal", "M-Pesa reversal"
    CASH = "cash", "Cash"
    MANUAL = "manual", "Sent by hand"


class RefundState(models.TextChoices):
    """Where a refund stands. `sending` and `unknown` are undecided for M-Pesa."""

    ASKED = "asked", "Waits for a second person"
    SENDING = "sending", "Being sent"
    UNKNOWN = "unknown", "M-Pesa has not said"
    DONE = "done", "Sent back"
    FAILED = "failed", "Not sent"
    REFUSED = "refused", "Refused"

    UNDECIDED = nonmember(frozenset({"asked", "sending", "unknown"}))


class CorrectionState(models.TextChoices):
    """Where a correction stands: two people book it."""

    ASKED = "asked", "Waits for a second person"
    BOOKED = "booked", "Booked"
    REFUSED = "refused", "Refused"


class MovementKind(models.TextChoices):
    """What moved in an account beside customers' payments."""

    CHARGE = "charge", "M-Pesa's fee"
    SWEEP = "sweep", "To the bank or between purses"
    REVERSAL = "reversal", "Sent back"
    OTHER = "other", "Other"


class SuspicionKind(models.TextChoices):
    """What may be wrong: a question to a person, never an answer."""

    FAILURES = "failures", "Many prompts failed"
    PHONES = "phones", "Many phones were asked, and did not pay"
    REFUNDS = "refunds", "Many refunds by one person"
    FORGED = "forged", "Messages that M-Pesa did not send"


class ImportStage(models.TextChoices):
    """What is done with a statement's rows, one after the other."""

    NEW = "new", "Waiting for its turn"
    TELLING = "telling", "Keeping its payments"
    MATCHING = "matching", "Finding whose money they are"
    AGAIN = "again", "Looking again at those that wait"
    MOVING = "moving", "Keeping what else moved"
    COMPARING = "comparing", "Comparing it with our books"
