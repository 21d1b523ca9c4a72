"""Giving money back: asked for by a manager, decided once, never sent blindly twice.

The amount is reserved the moment it is asked for, so that nobody can spend it
meanwhile, and only a certain failure frees it. From a limit that the shop sets a
second person decides. Cash and what was sent by hand are done at once; a reversal is
M-Pesa's to carry out (`payments.reversals`).
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Max, Q, QuerySet, Sum

from orders.models import Order
from payments import (
    accounts,
    errands,
    ledger,
    news,
    queries,
    questions,
    refund_money,
    reversals,
)
from payments.drawer_checks import waiting_for
from payments.drawer_refusals import HeldMoney, NotLookedAt
from payments.enums import (
    PaymentStatus,
    RefundMethod,
    RefundState,
)
from payments.errands import Errand
from payments.models import (
    Allocation,
    Collection,
    MpesaSettings,
    Payment,
    Refund,
)
from payments.refund_money import Held, MoreThanLeft
from payments.refund_refusals import (
    CannotReverse,
    ChangedMeanwhile,
    NotWaiting,
    RefundInTheWay,
    SamePerson,
    SentBackAlready,
)
from payments.refusals import AmountTooSmall
from shops.models import Shop
from shops.rights import Right
from shops.tenancy import Access
from smartduka.lib import clock
from smartduka.lib.errors import Forbidden, InvalidRequest, NotFound
from smartduka.lib.money import format_kes
from smartduka.lib.transactions import repeated


REASON_LENGTH = 200
# How the sentence begins that says what was learned before acting (law 6).
ASKED_FIRST = "M-Pesa was asked first:"
# As long as nothing else is set for a shop.
SECOND_PERSON_FROM = 5000

prove_reversed = reversals.prove_reversed
settle_by_statement = reversals.settle_by_statement


@dataclass(frozen=True, slots=True)
class Operator:
    """The platform's operator, for money on its account that is no shop's yet."""

    user: Any


@dataclass(frozen=True, slots=True)
class _Wish:
    """A refund as it is wanted. Amount in KES."""

    who: Access | Operator
    collection_id: int
    method: RefundMethod
    amount: Decimal
    reason: str
    restocks: bool
    learned: str
    seen: int | None
    shop_id: int | None
    has_looked: bool


def ask(
    *,
    access: Access | Operator,
    collection_id: int,
    method: str,
    amount: int,
    reason: str,
    restocks: bool,
    seen: int | None = None,
    has_looked: bool = False,
) -> Refund:
    """Ask for money back: whole KES of one collection, free or of its sale.

    `seen`: the `mark_of` the money when the asker looked; if it was shared out anew
    since, by somebody else or by the same form sent twice, nothing is done.

    `has_looked`: the asker says that they looked at M-Pesa's books, which say otherwise
    about disputed money.

    Undecided payments of its sales, and those whose money it may be, are asked about
    first (law 6); what was learned is in the refund's first event. Below the shop's
    limit it is sent at once; from it upward, together with what went back of the same
    money or sale unapproved, it waits for a second person. Cash and manual are then
    done; a reversal is `sending`, or `failed` or `unknown` by what M-Pesa answered.
    Call outside any transaction. Locks orders, payments, collection, refund, products.

    Raises Forbidden, NotFound, AmountTooSmall, InvalidRequest, SentBackAlready,
    RefundInTheWay, ChangedMeanwhile, MoreThanLeft, CannotReverse, SpentAlready,
    HeldMoney, NotLookedAt.
    """
    collection = _collection_for(access, collection_id)
    if collection.environment not in accounts.environments():
        raise InvalidRequest(
            "This money came in another environment of M-Pesa: it is none of ours."
        )
    if amount < 1:
        raise AmountTooSmall
    if not reason.strip():
        raise InvalidRequest("Say why the money goes back.")
    if method not in RefundMethod.values:
        raise InvalidRequest("Say how the money goes back.")
    wish = _Wish(
        who=access,
        collection_id=collection.pk,
        method=RefundMethod(method),
        amount=Decimal(amount),
        reason=reason.strip()[:REASON_LENGTH],
        restocks=restocks,
        learned=_ask_first(_sales_of(collection), waiting_for(collection)),
        seen=seen,
        shop_id=collection.shop_id,
        has_looked=has_looked,
    )
    try:
        refund, errand = _ask(wish)
    except IntegrityError as error:
        # The constraint is the net below the lock: somebody was faster.
        if undecided_of(collection) is None:
            raise
        raise RefundInTheWay from error
    except ledger.Overdrawn as error:
        raise ledger.SpentAlready from error
    return _sent(refund, errand)


def approve(*, access: Access | Operator, refund_id: object) -> Refund:
    """Let a refund go that waited for a second person; return it as it then is.

    Raises Forbidden, NotFound, SamePerson, NotWaiting, ChangedMeanwhile when the money
    turned out to be another shop's or another payment's, CannotReverse when M-Pesa
    cannot send it back any more, and NotLookedAt when it is disputed since. Else as
    `ask`; call outside any transaction.
    """
    refund = refund_for(access, refund_id)
    _require_second(access, refund)
    learned = _ask_first(_sales_of(refund.collection))
    return _sent(*_approve(refund, access.user, learned))


@repeated
def refuse(*, access: Access | Operator, refund_id: object, reason: str) -> Refund:
    """Refuse a refund that waited for a second person: its money is free again.

    Who asked for it may take it back. Opens a transaction; locks orders, payments,
    collection, refund. Raises Forbidden, NotFound, NotWaiting, InvalidRequest.
    """
    found = refund_for(access, refund_id)
    if not reason.strip():
        raise InvalidRequest("Say why it is refused.")
    with transaction.atomic(durable=True):
        held, refund = _waiting(found)
        end = "taken back" if refund.asked_by_id == access.user.pk else "refused"
        refund_money.put_back(
            held, refund, actor=access.user, reason=f"The refund was {end}"
        )
        refund_money.move(
            refund,
            RefundState.REFUSED,
            actor=access.user,
            reason=reason.strip(),
            approved_by=access.user,
            why_failed=reason.strip()[:REASON_LENGTH],
        )
    return refund


def refunds_of(access: Access | Operator) -> QuerySet[Refund]:
    """The refunds that a person may decide about, newest first."""
    rows = Refund.objects.select_related("collection", "request__account")
    if isinstance(access, Operator):
        return rows.filter(shop__isnull=True)
    return rows.filter(shop=access.shop)


def refund_for(access: Access | Operator, refund_id: object) -> Refund:
    """The refund of that id. Raises Forbidden, NotFound, also for nonsense."""
    _require_right(access)
    try:
        key = uuid.UUID(str(refund_id))
    except ValueError:
        raise NotFound from None
    refund = refunds_of(access).filter(pk=key).first()
    if refund is None:
        raise NotFound
    return refund


def left_of(collection: Collection) -> Decimal:
    """What could be asked back of a collection, in KES."""
    return Held(collection, {}, {}).left


def mark_of(collection: Collection) -> int:
    """What changes whenever the money of a collection is shared out anew."""
    newest = Allocation.objects.filter(collection=collection).aggregate(Max("pk"))
    return newest["pk__max"] or 0


def undecided_of(collection: Collection) -> Refund | None:
    """The refund of a collection that is not decided, if there is one."""
    return Refund.objects.filter(
        collection=collection, state__in=RefundState.UNDECIDED
    ).first()


def why_not_reversible(collection: Collection) -> str:
    """Why M-Pesa cannot send this money back, in a sentence; "" if it can."""
    account = collection.account
    if account is None:
        return "This money did not come by M-Pesa: give it back in cash or by hand."
    if not collection.receipt:
        return "Its M-Pesa receipt number is not known yet: wait for it."
    if collection.amount != collection.amount.to_integral_value():
        return "M-Pesa sends back whole shillings only."
    if not errands.can_ask(account):
        return str(errands.NoInitiator.message)
    return ""


@repeated
def _ask(wish: _Wish) -> tuple[Refund, Errand | None]:
    with transaction.atomic(durable=True):
        held = refund_money.locked(wish.collection_id)
        _require_refundable(held, wish)
        reserved = refund_money.reserve(
            held,
            wish.amount,
            sale_first=wish.restocks,
            actor=wish.who.user,
            reason=f"To go back: {wish.reason}",
        )
        refund, told = _new(held, wish), _told(wish)
        alone = wish.amount + _given_alone(held.collection)
        if alone >= second_person_from(held.collection.shop):
            refund_money.begin(refund, reserved, actor=wish.who.user, reason=told)
            return refund, None
        refund.state = RefundState.SENDING
        errand = _prepare(refund, held.collection, wish.who.user)
        refund_money.begin(refund, reserved, actor=wish.who.user, reason=told)
        _finish_at_once(held, refund, wish.who.user)
    return refund, errand


@repeated
def _approve(found: Refund, actor: Any, learned: str) -> tuple[Refund, Errand | None]:
    with transaction.atomic(durable=True):
        held, refund = _waiting(found)
        if held.collection.shop_id != refund.shop_id:
            # It was found to be another shop's: only refusing it is left.
            raise ChangedMeanwhile
        if refund_money.new_owner(held, refund) is not None:
            raise ChangedMeanwhile(
                "M-Pesa said since which payment this money is. Refuse the refund: its"
                " sale gets the money then."
            )
        if refund.method == RefundMethod.REVERSAL and not held.collection.receipt:
            # That was found to be another payment's: its own is to follow.
            raise CannotReverse(why_not_reversible(held.collection))
        _require_no_news(held.collection, refund)
        errand = _prepare(refund, held.collection, actor)
        reason = " ".join(("Approved.", learned)).strip()
        refund_money.move(
            refund,
            RefundState.SENDING,
            actor=actor,
            reason=reason,
            approved_by=actor,
            request=refund.request,
            sent_at=refund.sent_at,
            next_ask_at=refund.next_ask_at,
        )
        _finish_at_once(held, refund, actor)
    return refund, errand


def _require_no_news(collection: Collection, refund: Refund) -> None:
    """Raise NotLookedAt where M-Pesa's books deny the money since it was asked for."""
    since = collection.disputed_at
    if collection.disputed and since is not None and since > refund.asked_at:
        raise NotLookedAt(
            "M-Pesa's books say otherwise about this money since the refund was asked"
            " for. Refuse it, look at them, and ask again."
        )


def _prepare(refund: Refund, collection: Collection, actor: Any) -> Errand | None:
    """Make it ready to go: a reversal gets its request."""
    if refund.method == RefundMethod.REVERSAL:
        return reversals.begin(refund, collection, asked_by=actor)
    refund.sent_at = clock.now()
    return None


def _finish_at_once(held: Held, refund: Refund, actor: Any) -> None:
    """Book what a person hands over or has sent: it is done the moment it is said."""
    if refund.method == RefundMethod.REVERSAL:
        return
    words = f"{refund.get_method_display()}: {refund.reason}"
    refund_money.book(held, refund, actor=actor, reason=words)
    refund_money.move(refund, RefundState.DONE, actor=actor, reason=words)
    for payment in held.payments.values():
        news.publish(payment, payment.order, "payment.updated")


def _sent(refund: Refund, errand: Errand | None) -> Refund:
    """Carry out what was committed, and return the refund as it then is."""
    if errand is not None:
        reversals.send(refund.pk, errand, refund.amount)
    refund.refresh_from_db()
    return refund


def _new(held: Held, wish: _Wish) -> Refund:
    collection = held.collection
    payment = (
        held.payments[collection.payment_id]
        if collection.payment_id is not None
        else None
    )
    return Refund(
        shop_id=collection.shop_id,
        collection=collection,
        payment=payment,
        order=payment.order if payment is not None else None,
        method=wish.method,
        amount=wish.amount,
        reason=wish.reason,
        restocks=wish.restocks,
        state=RefundState.ASKED,
        asked_by=wish.who.user,
        asked_at=clock.now(),
    )


def _told(wish: _Wish) -> str:
    return " ".join((wish.reason.rstrip(".") + ".", wish.learned)).strip()


def second_person_from(shop: Shop | None) -> int:
    """From how many KES a refund of this shop needs a second person."""
    found = (
        MpesaSettings.objects.filter(shop=shop)
        .values_list("second_person_from", flat=True)
        .first()
        if shop is not None
        else None
    )
    return SECOND_PERSON_FROM if found is None else found


def _given_alone(collection: Collection) -> Decimal:
    """What went back of this money, or of its sale, with nobody's approval, in KES.

    In parts nobody passes the limit. What M-Pesa sent back unasked nobody decided.
    """
    same = Q(collection=collection)
    if collection.payment is not None:
        same |= Q(order=collection.payment.order_id)
    rows = Refund.objects.filter(same, asked_by__isnull=False, approved_by=None)
    total = rows.exclude(
        state__in=(RefundState.ASKED, RefundState.FAILED, RefundState.REFUSED)
    ).aggregate(total=Sum("amount"))["total"]
    return total or Decimal(0)


def _require_refundable(held: Held, wish: _Wish) -> None:
    """Raise why this money cannot go back in this way; locks an undecided refund."""
    collection = held.collection
    if collection.shop_id != wish.shop_id:
        raise ChangedMeanwhile
    if collection.reversed_at is not None:
        raise SentBackAlready
    undecided = refund_money.undecided_of(collection)
    if undecided is not None:
        raise RefundInTheWay(_why_in_the_way(undecided))
    if wish.seen is not None and wish.seen != mark_of(collection):
        raise ChangedMeanwhile
    if waiting_for(collection):
        raise HeldMoney
    if collection.disputed and not wish.has_looked:
        raise NotLookedAt
    if wish.method != RefundMethod.REVERSAL:
        return
    if why := why_not_reversible(collection):
        raise CannotReverse(why)
    if wish.amount != collection.amount:
        raise CannotReverse(
            "M-Pesa sends back a whole payment only:"
            f" {format_kes(collection.amount)}. Give a part in cash."
        )
    if held.left < collection.amount:
        raise MoreThanLeft(
            "Part of this money went back already, and M-Pesa sends back a whole"
            " payment only."
        )


def _why_in_the_way(refund: Refund) -> str:
    if refund.state == RefundState.ASKED:
        return "A refund of this money already waits for a second person."
    return (
        "M-Pesa was asked to send this money back and has not said what came of it:"
        " giving it back now could pay the customer twice. Ask M-Pesa again, or wait."
    )


def _waiting(found: Refund) -> tuple[Held, Refund]:
    """A refund that waits for a second person, under all its locks."""
    held = refund_money.locked(found.collection_id)
    refund = (
        Refund.objects.select_for_update(no_key=True, of=("self",))
        .select_related("reserved")
        .get(pk=found.pk)
    )
    if refund.state != RefundState.ASKED:
        raise NotWaiting
    return held, refund


def _require_second(access: Access | Operator, refund: Refund) -> None:
    if refund.state != RefundState.ASKED:
        raise NotWaiting
    if refund.asked_by_id == access.user.pk:
        raise SamePerson


def _require_right(access: Access | Operator) -> None:
    if isinstance(access, Access):
        access.require(Right.REFUND)
    elif not access.user.is_superuser:
        raise Forbidden("Only the platform's operator may do this.")


def _collection_for(access: Access | Operator, collection_id: int) -> Collection:
    _require_right(access)
    rows = Collection.objects.select_related("account", "shop", "payment__order")
    if isinstance(access, Access):
        rows = rows.filter(shop=access.shop)
    else:
        rows = rows.filter(shop__isnull=True)
    collection = rows.filter(pk=collection_id).first()
    if collection is None:
        raise NotFound
    return collection


def _sales_of(collection: Collection) -> list[Order]:
    """The sales that this money is for, and that of its payment."""
    orders = {
        one.order for one in ledger.current(collection).select_related("order")
    } | {collection.payment.order if collection.payment is not None else None}
    return [order for order in orders if order is not None]


def _ask_first(orders: Iterable[Order], others: Iterable[Payment] = ()) -> str:
    """Ask about what is undecided of these sales, and about others.

    Returns in words what was learned.
    """
    undecided: list[Payment] = list(others)
    for order in orders:
        undecided += queries.undecided_of_order(order)
    if not undecided:
        return ""
    questions.ask_first(undecided)
    found = Payment.objects.filter(pk__in=[one.pk for one in undecided])
    paid = [one for one in found if one.status == PaymentStatus.COMPLETED]
    still = [one for one in found if one.decided_at is None]
    words = []
    if paid:
        total = sum((one.amount for one in paid), Decimal(0))
        words.append(f"{format_kes(total)} more arrived.")
    if still:
        total = sum((one.amount for one in still), Decimal(0))
        words.append(f"{format_kes(total)} asked from the customer is undecided.")
    return " ".join((ASKED_FIRST, *(words or ["nothing else was paid."])))
