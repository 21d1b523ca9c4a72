"""What must be true after every step, and at the end of a day.

Written against the tables themselves and the bank's own book, not with the domain's
queries: a mistake there must not excuse itself here. After a step only what it
touched is looked at; at the end of a day everything is.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from django.db import connection
from django.db.models import Count, F, Q, QuerySet, Sum

from orders.enums import OrderStatus
from orders.models import Order, OrderEvent, OrderLine
from payments import audit, precedence, reversals
from payments.enums import (
    AllocationKind,
    Binding,
    Method,
    PaymentStatus,
    RefundState,
    Verdict,
)
from payments.models import (
    Allocation,
    Collection,
    Notice,
    Payment,
    PaymentEvent,
    Receipt,
    Refund,
    RefundPart,
)
from shops.enums import StockReason
from shops.models import Product, StockMovement


if TYPE_CHECKING:
    from payments.chaos.world import World


# Tables in which every change of money leaves a row.
MARKED = (PaymentEvent, Collection, Allocation, OrderEvent, StockMovement)
FULL_EVERY = 1000
HEALED = "lost callbacks healed"
HEALED_S = (30, 90, 300)
ZERO = Decimal(0)
# The alarms of payments whose money turned out to be another's.
TAKEN = (
    precedence.ANOTHER_SALES,
    precedence.SAME_SALES,
    precedence.ANOTHERS,
    precedence.CAME_LATE,
)


class Books:
    """Compares our books with themselves and with the bank's."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._marks = [0] * len(MARKED)

    def check_step(self) -> None:
        """Look at all orders that the last step touched."""
        marks = self._highest()
        if marks != self._marks:
            before, self._marks = self._marks, marks
            self._check_orders(self._touched(before))
            self._check_doubles(Collection.objects.filter(pk__gt=before[1]))
        if self.world.step % FULL_EVERY == 0:
            self._check_sums()

    def check_day(self) -> None:
        """Look at everything, when every source has answered."""
        self._check_orders(Order.objects.values_list("pk", flat=True))
        self._check_sums()
        self._check_bank()
        self._check_refunds()
        self._check_questions()
        self._check_notices()
        self._check_alarms()
        self._check_stock()
        self._check_audit()

    def _highest(self) -> list[int]:
        columns = ", ".join(
            f"(SELECT COALESCE(MAX(id), 0) FROM {model._meta.db_table})"  # noqa: S608 -- names of our own models
            for model in MARKED
        )
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT {columns}")
            return list(cursor.fetchone())

    def _touched(self, before: list[int]) -> set[uuid.UUID]:
        events, collections, allocations, order_events, movements = before
        touched: set[uuid.UUID | None] = set()
        for rows, name in (
            (PaymentEvent.objects.filter(pk__gt=events), "payment__order_id"),
            (Collection.objects.filter(pk__gt=collections), "payment__order_id"),
            (Allocation.objects.filter(pk__gt=allocations), "order_id"),
            (OrderEvent.objects.filter(pk__gt=order_events), "order_id"),
        ):
            touched.update(rows.values_list(name, flat=True))
        references = StockMovement.objects.filter(
            pk__gt=movements, reason=StockReason.SOLD
        ).values_list("reference", flat=True)
        touched.update(uuid.UUID(text.removeprefix("order:")) for text in references)
        return {order_id for order_id in touched if order_id is not None}

    def _check_orders(self, order_ids: Iterable[uuid.UUID]) -> None:
        ids = list(order_ids)
        for start in range(0, len(ids), 300):
            chunk = sorted(ids[start : start + 300])
            orders = Order.objects.in_bulk(chunk)
            allocations = defaultdict(list)
            for portion in Allocation.objects.filter(order_id__in=chunk):
                allocations[portion.order_id].append(portion)
            taken = defaultdict(list)
            for part in RefundPart.objects.filter(
                source__order_id__in=chunk
            ).select_related("refund", "source"):
                taken[part.source.order_id].append(part)
            payments = defaultdict(list)
            for payment in Payment.objects.filter(order_id__in=chunk).prefetch_related(
                "collections__allocations", "events"
            ):
                payments[payment.order_id].append(payment)
            for order_id in chunk:
                order = orders[order_id]
                self._check_order(order, allocations[order_id], taken[order_id])
                self._check_stock_of(order)
                for payment in payments[order_id]:
                    self._check_payment(order, payment)

    def _check_order(
        self, order: Order, portions: list[Allocation], taken: list[RefundPart]
    ) -> None:
        freed = {p.releases_id for p in portions}
        standing = [p for p in portions if p.pk not in freed]
        surplus = sum(
            (p.amount for p in standing if p.kind == AllocationKind.SURPLUS), ZERO
        )
        gone = [part for part in taken if part.refund.state == RefundState.DONE]
        # Of an open sale what went back is needed again; a paid one stays paid.
        from_paid = sum(
            (
                part.amount
                for part in gone
                if part.source.kind == AllocationKind.SALE
                and not part.was_open
                and order.paid_at is not None
                and _moment_of(part.refund) >= order.paid_at
            ),
            ZERO,
        )
        # What turned out to be another sale's: one that was open needs it again.
        lost = {p.releases_id for p in portions if _was_open(order, p.created_at)}
        got = self._got(portions, lost, taken) + from_paid + _kept_as_paid(order, taken)
        name = f"sale {order.number} of shop {order.shop_id}"
        self._require(
            order.paid == got <= order.total,
            f"{name}: paid {order.paid} of {order.total}, got {got}",
        )
        self._require(
            order.refunded == from_paid,
            f"{name}: refunded {order.refunded}, sent back {from_paid}",
        )
        self._require(
            order.surplus == surplus,
            f"{name}: surplus {order.surplus}, allocated {surplus}",
        )
        entered = order.events.filter(new=OrderStatus.PAID).exclude(old=F("new"))
        times = entered.count()
        became_paid = order.status in (OrderStatus.PAID, OrderStatus.REFUNDED)
        self._require(
            times == (1 if got >= order.total else 0) and became_paid == (times == 1),
            f"{name} is {order.status}, became paid {times} times,"
            f" and got {got} of {order.total}",
        )
        self._require(
            (order.status == OrderStatus.REFUNDED)
            == (became_paid and from_paid == order.paid),
            f"{name} is {order.status}, {from_paid} of {order.paid} went back",
        )

    def _got(
        self,
        portions: list[Allocation],
        lost: set[int | None],
        taken: list[RefundPart],
    ) -> Decimal:
        """What a sale got and a refund did not take for good.

        Gross: money that turned out to be another sale's had paid this one. What is
        `lost` does not count.
        """
        by_refund = {part.source_id for part in taken} | lost
        got = sum(
            (
                p.amount
                for p in portions
                if p.kind == AllocationKind.SALE and p.pk not in by_refund
            ),
            ZERO,
        )
        reserved = sum(
            (
                part.amount
                for part in taken
                if part.source.kind == AllocationKind.SALE
                and not part.was_open  # an open sale needs it again at once
                and part.refund.state in RefundState.UNDECIDED
            ),
            ZERO,
        )
        return got + reserved

    def _check_payment(self, order: Order, payment: Payment) -> None:
        name = f"payment {payment.pk} ({payment.status}, KES {payment.amount:.0f})"
        collections = list(payment.collections.all())
        for one in collections:
            portions = list(one.allocations.all())
            freed = {p.releases_id for p in portions}
            shared = sum(
                (p.amount for p in portions
                 if p.pk not in freed and p.releases_id is None), ZERO,
            )  # fmt: skip
            self._require(
                shared == one.allocated == one.amount,
                f"{name}: allocated {one.allocated}, portions {shared} of {one.amount}",
            )
        events = sorted(payment.events.all(), key=lambda event: event.pk)
        moves = [event for event in events if event.old != event.new]
        entered = [event.new for event in moves]
        self._require(
            len(set(entered)) == len(entered) and entered[-1] == payment.status,
            f"{name} entered {entered}",
        )
        self._require(
            all(
                event.new in PaymentStatus.MOVES[event.old]
                for event in moves
                if event.old
            ),
            f"{name} moved against the table: {entered}",
        )
        is_paid = payment.status in (PaymentStatus.COMPLETED, PaymentStatus.REVERSED)
        # A payment made of what another one brought has a portion of it.
        has_money = bool(collections) or (
            payment.method == Method.C2B and payment.allocations.exists()
        )
        self._require(
            is_paid == has_money or payment.alarm in TAKEN,
            f"{name} has {len(collections)} collections",
        )
        if payment.status == PaymentStatus.REVERSED:
            self._require(
                any(one.reversed_at is not None for one in collections)
                or not collections,
                f"{name} is reversed, its money is not",
            )
        ours = sum((one.amount for one in collections), ZERO)
        if payment.method == Method.CASH:
            self._require(ours == payment.amount, f"{name}: {ours} in the drawer")
        else:
            self._check_against_bank(name, payment, collections)

    def _check_against_bank(
        self, name: str, payment: Payment, collections: list[Collection]
    ) -> None:
        """Each receipt is the bank's; money without one was paid at the prompt."""
        bank = self.world.bank
        prompt = bank.by_reference.get((payment.shortcode, payment.reference))
        for one in collections:
            if one.receipt is None:
                entry = prompt.entry if prompt else None
            else:
                entry = bank.by_receipt.get(one.receipt)
            self._require(
                entry is not None
                and entry.amount == one.amount
                and entry.shortcode == payment.shortcode,
                f"{name}: M-Pesa never had {one}",
            )
            if one.binding == Binding.TOKEN and one.receipt and entry is not None:
                self._require(
                    prompt is not None and prompt.entry is entry,
                    f"{name}: the receipt {one.receipt} is not M-Pesa's for it",
                )

    def _check_doubles(self, among: QuerySet[Collection]) -> None:
        """One shilling of the bank is at most one of ours.

        Per account and amount: whose of several equal payments a receipt is, may be
        guessed wrongly, but not how many there are. What is disputed is not said to be
        there, and a person is told.
        """
        kinds = among.exclude(account=None).values_list(
            "account_id", "account__shortcode", "amount"
        )
        for account_id, shortcode, amount in set(kinds):
            ours = (
                Collection.objects.filter(
                    account_id=account_id, amount=amount, disputed=""
                )
                .exclude(pk__in=_corrected().values("collection"))
                .count()
            )
            theirs = self.world.bank.lines[shortcode, int(amount)]
            self._require(
                ours <= theirs,
                f"account {shortcode}: we counted KES {amount:.0f} {ours} times,"
                f" M-Pesa has it {theirs} times",
            )

    def _check_sums(self) -> None:
        collected = Collection.objects.aggregate(a=Sum("amount"), b=Sum("allocated"))
        released = Q(releases__isnull=False)
        freed = Allocation.objects.filter(released)
        allocated = (
            Allocation.objects.exclude(released).aggregate(a=Sum("amount"))["a"] or ZERO
        ) - (freed.aggregate(a=Sum("amount"))["a"] or ZERO)
        self._require(
            (collected["b"] or ZERO) == allocated <= (collected["a"] or ZERO),
            f"collected {collected}, allocated {allocated}",
        )
        self._check_doubles(Collection.objects.all())
        twice = (
            Collection.objects.exclude(receipt=None)
            .values("environment", "account", "receipt")
            .annotate(times=Count("id"))
            .filter(times__gt=1)
        )
        self._require(not twice, f"receipts counted twice: {list(twice)}")

    def _check_bank(self) -> None:
        """The bank's book is ours, now that every source was read: line by line."""
        ours = {
            (shortcode, receipt): amount
            for shortcode, receipt, amount in Collection.objects.filter(
                account__isnull=False
            )
            .exclude(pk__in=_corrected().values("collection"))
            .values_list("account__shortcode", "receipt", "amount")
        }
        theirs = {
            (entry.shortcode, entry.receipt): entry.amount
            for entry in self.world.bank.ledger
        }
        missing = [key for key in theirs if ours.get(key) != theirs[key]]
        extra = [key for key in ours if key not in theirs]
        self._require(
            not missing and not extra,
            f"M-Pesa has {missing[:5]} ({len(missing)}) that we have not,"
            f" we have {extra[:5]} ({len(extra)}) that it has not",
        )
        claimed = Receipt.objects.filter(collection__isnull=True)
        self._require(
            not claimed.exists(),
            f"receipts left: {list(claimed.values_list('number', 'state')[:5])}",
        )
        self._check_healing()

    def _check_refunds(self) -> None:
        """What M-Pesa sent back is booked as that, once, and nothing else is."""
        reversed_here = set(
            Collection.objects.filter(reversed_at__isnull=False).values_list(
                "account__shortcode", "receipt"
            )
        )
        reversed_there = {
            (back.entry.shortcode, receipt)
            for receipt, back in self.world.bank.returned.items()
        }
        self._require(
            reversed_here == reversed_there,
            f"sent back by us only {sorted(reversed_here - reversed_there)[:5]},"
            f" by M-Pesa only {sorted(reversed_there - reversed_here)[:5]}",
        )
        for refund in Refund.objects.filter(
            state__in=(RefundState.SENDING, RefundState.UNKNOWN)
        ).select_related("request__account"):
            self._require(
                self._is_beyond_telling(refund),
                f"{refund}, sent {refund.sent_at}, is undecided",
            )
        for collection in Collection.objects.filter(refunds__isnull=False).distinct():
            done = collection.refunds.filter(state=RefundState.DONE)
            total = done.aggregate(total=Sum("amount"))["total"] or ZERO
            booked = (
                collection.allocations.filter(kind=AllocationKind.REFUNDED).aggregate(
                    total=Sum("amount")
                )["total"]
                or ZERO
            )
            self._require(
                total == booked <= collection.amount,
                f"{collection}: refunds of {total}, booked {booked}",
            )

    def _is_beyond_telling(self, refund: Refund) -> bool:
        """Whether nobody can know yet: it left no trace, and no statement reaches so far.

        Of a request that was refused M-Pesa knows no transaction, so asking is in vain.
        """
        request = refund.request
        if request is None or refund.sent_at is None:
            return False
        rows = [
            entry.at
            for entry in self.world.bank.ledger
            if entry.shortcode == request.account.shortcode
        ]
        is_late = refund.sent_at > max(rows) - reversals.STATEMENT_MARGIN
        return is_late and request.receipt not in self.world.bank.returned

    def _check_healing(self) -> None:
        for name in [name for name in self.world.figures if HEALED in name]:
            del self.world.figures[name]
        completed = {
            (shortcode, reference): at
            for shortcode, reference, at in Payment.objects.filter(
                method=Method.MPESA_STK, completed_at__isnull=False
            ).values_list("shortcode", "reference", "completed_at")
        }
        for prompt in self.world.bank.prompts:
            at = completed.get((prompt.shortcode, prompt.reference))
            if prompt.entry is None or prompt.fate != "lost" or prompt.is_told:
                continue
            if at is None:
                self.world.count(f"{HEALED} as money of nobody")
            else:
                self._count_healing(at - prompt.entry.at)

    def _count_healing(self, took: timedelta) -> None:
        """Note how soon a lost callback was made good, crashes and outages included."""
        if within_s := next(
            (limit for limit in HEALED_S if took <= timedelta(seconds=limit)), None
        ):
            self.world.count(f"{HEALED} within {within_s:>3} s")
        else:
            self.world.count(f"{HEALED} later")

    def _check_questions(self) -> None:
        chained = Payment.objects.filter(
            decided_at__isnull=False, next_ask_at__isnull=False
        )
        self._require(
            not chained.exists(),
            f"final with a question due: {list(chained.values_list('pk', 'status')[:5])}",
        )
        undecided = Payment.objects.filter(
            decided_at__isnull=True, checkout_request_id__isnull=False
        )
        for payment in undecided:
            prompt = self.world.bank.by_id[payment.checkout_request_id or ""]
            self._require(
                prompt.code is None,
                f"payment {payment.pk} is undecided, M-Pesa knows {prompt.code}"
                f" (asked {payment.ask_count} times, next {payment.next_ask_at})",
            )
        waiting = Payment.objects.filter(status__in=PaymentStatus.OPEN)
        self._require(
            not waiting.filter(expires_at__lt=self.world.clock.now()).exists(),
            "a payment waits beyond its time",
        )

    def _check_notices(self) -> None:
        open_ones = Notice.objects.filter(
            Q(next_try_at__isnull=False)
            | Q(verdict__in=[Verdict.NEW, Verdict.PARKED])
            | Q(verdict=Verdict.ORPHAN)
        )
        self._require(
            not open_ones.exists(),
            f"notices left: {list(open_ones.values_list('pk', 'verdict', 'error')[:5])}",
        )

    def _check_alarms(self) -> None:
        """A person is called only where M-Pesa said two things, or two people did."""
        for payment in Payment.objects.exclude(alarm=""):
            key = (payment.shortcode, payment.reference)
            prompt = self.world.bank.by_reference.get(key)
            is_paid_twice = payment.collections.count() > 1
            is_corrected = payment.collections.filter(
                pk__in=_corrected().values("collection")
            )
            self._require(
                (prompt is not None and prompt.has_lied)
                or is_paid_twice
                or is_corrected.exists()
                or payment.alarm in TAKEN
                or _took_a_credit(payment),
                f"payment {payment.pk} calls a person for nothing: {payment.alarm}",
            )

    def _check_stock_of(self, order: Order) -> None:
        sold = dict(
            StockMovement.objects.filter(
                reference=order.stock_reference, reason=StockReason.SOLD
            ).values_list("product_id", "quantity")
        )
        expected = {}
        if order.status in (OrderStatus.PAID, OrderStatus.REFUNDED):
            lines = OrderLine.objects.filter(order=order)
            expected = {
                product_id: -quantity
                for product_id, quantity in lines.values_list("product_id", "quantity")
            }
        self._require(
            sold == expected,
            f"sale {order.number} ({order.status}) moved {sold}, its lines {expected}",
        )

    def _check_stock(self) -> None:
        levels = Product.objects.annotate(moved=Sum("movements__quantity"))
        for product in levels:
            self._require(
                product.stock == product.moved,
                f"{product.name}: level {product.stock}, movements {product.moved}",
            )

    def _check_audit(self) -> None:
        while audit.seal():
            pass
        _, faults = audit.verify()
        self._require(not faults, f"audit chain: {faults[:3]}")

    def _require(self, holds: object, what: str) -> None:
        if not holds:
            self.world.wrong(what)


def _corrected() -> QuerySet[Allocation]:
    """What was counted twice, and corrected away: whole collections only."""
    return Allocation.objects.filter(
        kind=AllocationKind.CORRECTION, amount=F("collection__amount")
    )


def _took_a_credit(payment: Payment) -> bool:
    """Whether its money had been kept for a customer, who has none of it now."""
    told = payment.events.filter(reason=precedence.WAS_CREDIT)
    return (
        payment.alarm == precedence.WAS_CREDIT
        and Allocation.objects.filter(
            releases__kind=AllocationKind.CREDIT,
            created_at__in=told.values("created_at"),
        ).exists()
    )


def _was_open(order: Order, moment: datetime) -> bool:
    """Whether a sale was not paid yet at a moment."""
    return order.paid_at is None or moment <= order.paid_at


def _kept_as_paid(order: Order, taken: list[RefundPart]) -> Decimal:
    """What a paid sale lost to the owner of the money, for its refund was not made.

    A paid sale stays paid, and the money was not put back to it.
    """
    return sum(
        (
            part.amount
            for part in taken
            if part.source.kind == AllocationKind.SALE
            and not part.was_open
            and part.refund.state in (RefundState.REFUSED, RefundState.FAILED)
            and not _was_open(order, _moment_of(part.refund))
            and not part.source.collection.allocations.filter(
                kind=AllocationKind.SALE,
                order=order,
                created_at__gte=_moment_of(part.refund),
            ).exists()
        ),
        ZERO,
    )


def _moment_of(refund: Refund) -> datetime:
    assert refund.decided_at is not None
    return refund.decided_at
