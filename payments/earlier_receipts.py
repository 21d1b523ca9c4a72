"""The receipt of a payment that a question proves: told to us before, perhaps.

A question says that a payment was paid, and no number. Is its receipt here already, it
comes with it; money that was counted as nobody's must not be counted twice.
"""

from __future__ import annotations

from payments import receipts
from payments.enums import Binding
from payments.models import Collection, Payment, Receipt
from payments.proofs import is_still_nobodys


def told_before(payment: Payment) -> Receipt | None:
    """The receipt that we know already and that is this payment's, if any is.

    Counted as nobody's: the nearest in time, for the money must not count twice. Not
    counted: only if it fits no other payment and no other receipt fits this one.
    """
    unbound = receipts.unbound_for(payment)
    named = [one for one in unbound if receipts.names_reference(one)]
    for nearest in sorted(named or unbound, key=lambda one: _distance(one, payment)):
        if is_still_nobodys(nearest.collection_id):
            return nearest
    held = receipts.uncounted_for(payment)
    named = [one for one in held if receipts.names_reference(one)]
    if not held:
        return _spent_before(payment)
    if len(named or held) != 1:
        return None
    (only,) = named or held
    if not named and [one.pk for one in receipts.candidates(only)] != [payment.pk]:
        return None
    return only


def _spent_before(payment: Payment) -> Receipt | None:
    """The receipt of money that people gave back or kept, and that is this payment's.

    It cannot be counted again: the payment is told that its money is gone. The nearest
    in time. Locks it.
    """
    spent = receipts.spent_for(payment)
    named = [one for one in spent if receipts.names_reference(one)]
    rows = Collection.objects.select_for_update(no_key=True)
    for nearest in sorted(named or spent, key=lambda one: _distance(one, payment)):
        known = rows.filter(receipt_row=nearest, payment__isnull=True).first()
        if known is not None and known.amount == payment.amount:
            nearest.collection = known
            return nearest
    return None


def _distance(receipt: Receipt, payment: Payment) -> float:
    moment = receipt.paid_at or receipt.seen_at
    return abs((moment - payment.created_at).total_seconds())


def binding_of(receipt: Receipt) -> Binding:
    if receipts.names_reference(receipt):
        return Binding.REFERENCE
    return Binding.FIT
