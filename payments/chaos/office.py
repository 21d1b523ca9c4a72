"""The back office: managers who sort money, give it back, and decide in pairs.

Each act is one call into the domain, as the till and the admin make it. The platform's
operator hands out what came to the shared account for nobody.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from django.contrib.auth import get_user_model
from django.db import transaction

from orders.enums import OrderStatus
from orders.models import Order
from payments import corrections, disputes, drawer, refund_questions, refunds
from payments.chaos.shopfloor import Sale, Shopfloor
from payments.enums import RefundMethod, RefundState
from payments.free_money import Piece
from payments.models import Collection, MpesaAccount, Refund
from payments.refunds import Operator
from shops.enums import Role
from shops.models import Membership, Shop
from shops.tenancy import Access
from smartduka.lib import clock
from smartduka.lib.money import whole


if TYPE_CHECKING:
    from datetime import datetime

    from payments.chaos.world import World


MANAGERS = 2
ACT_EVERY_S = 75  # per manager
OPERATOR_EVERY_S = 900
RECENT = 60
NAMES = ("Wanjiku", "Otieno", "0712 345 678", "Mama Njeri")


class Office:
    """Two managers a shop, and the operator of the platform."""

    def __init__(self, world: World, floor: Shopfloor) -> None:
        self.world = world
        self.dice = world.dice
        self.floor = floor
        self.managers: list[Access] = []
        self.operator: Operator | None = None

    def set_up(self) -> None:
        """Hire them, and give every account somebody who may ask M-Pesa."""
        make = get_user_model().objects.create_user
        with transaction.atomic(durable=True):
            for shop in Shop.objects.order_by("pk"):
                for number in range(MANAGERS):
                    user = make(f"{shop.slug}-manager-{number}")
                    Membership.objects.create(user=user, shop=shop, role=Role.MANAGER)
                    self.managers.append(Access(user, shop, Role.MANAGER))
            self.operator = Operator(make("operator", is_superuser=True))
            for account in MpesaAccount.objects.all():
                account.initiator_name = "chaos"
                account.initiator_password = "chaos-password"  # noqa: S105 -- opens nothing
                account.save()

    def open(self, closes_s: float) -> None:
        """Let everybody work until closing time."""
        ends_at = self.world.clock.now() + clock.seconds(closes_s)
        for access in self.managers:
            self._again(ACT_EVERY_S, f"{access.user}", self._manager(access), ends_at)
        self._again(OPERATOR_EVERY_S, "operator", self._hand_out, ends_at)

    def _again(
        self, every_s: float, label: str, act: Callable[[], str], ends_at: datetime
    ) -> None:  # fmt: skip
        wait_s = self.dice.expovariate(1 / every_s)
        if self.world.clock.now() + clock.seconds(wait_s) >= ends_at:
            return

        def go() -> str:
            self._again(every_s, label, act, ends_at)
            return act()

        self.floor.soon(wait_s, label, go)

    def _manager(self, access: Access) -> Callable[[], str]:
        def act() -> str:
            what = self.dice.one_of(
                [("sort", 40), ("give back", 35), ("decide", 20), ("ask", 5)]
            )
            if what == "sort":
                return self._sort(access)
            if what == "give back":
                return self._give_back_any(access)
            if what == "decide":
                return self._decide(access)
            return self._ask(access)

        return act

    def correct(self) -> None:
        """Take out of the books what the statements say was never there: two people.

        What may have been counted twice is told apart only by them.
        """
        for access in self.managers[::MANAGERS]:
            first, second = (
                one for one in self.managers if one.shop.pk == access.shop.pk
            )
            for money in Collection.objects.filter(
                shop=access.shop, disputed=disputes.MISSING
            ):
                asked = corrections.ask_correction(
                    access=first,
                    collection_id=money.pk,
                    amount=-money.amount,
                    reason="The statement lacks it",
                )
                corrections.book(access=second, correction_id=asked.pk)
                self.world.count("corrections by two people")

    # Money to sort.

    def _sort(self, access: Access) -> str:
        pieces = drawer.pieces(access)
        if not pieces:
            return "nothing to sort"
        piece = self.dice.choice(pieces[:8])
        what = self.dice.one_of([("pay", 60), ("keep", 15), ("back", 25)])
        if what == "pay":
            return self._pay(access, piece)
        if what == "keep":
            drawer.keep_as_credit(
                access=access, piece=piece.key,
                customer=self.dice.choice(NAMES), reason="kept for the customer",
                has_looked=True,
            )  # fmt: skip
            self.world.count("pieces kept as credit")
            return f"keeps {piece.key}"
        if piece.collection_id is None:
            return f"cannot give back {piece.key}"
        return self._give_back(
            access, Collection.objects.get(pk=piece.collection_id), whole(piece.amount)
        )

    def _pay(self, access: Access, piece: Piece) -> str:
        open_ones = list(
            Order.objects.filter(shop=access.shop, status=OrderStatus.OPEN).order_by(
                "-number"
            )[:20]
        )
        alike = [one for one in open_ones if one.balance == piece.amount]
        if not open_ones:
            return "no open sale"
        order = self.dice.choice(alike or open_ones)
        payment = self.floor.asking_first(
            Sale(f"{access.user}", access, order.pk, ""),
            lambda: drawer.apply(
                access=access,
                piece=piece.key,
                order_id=order.pk,
                reason="sorted",
                has_looked=True,
            ),
            lambda done: True,
        )
        self.world.count("pieces applied to a sale")
        return f"pays sale {order.number} with {piece.key}: KES {payment.amount:.0f}"

    def _hand_out(self) -> str:
        """What came to the platform's account for nobody is given to some shop."""
        assert self.operator is not None
        found = list(
            Collection.objects.filter(shop__isnull=True, account__isnull=False)[:20]
        )
        if not found:
            return "nothing of nobody's"
        one = self.dice.choice(found)
        shop = Shop.objects.order_by("pk").first()
        assert shop is not None
        if one.reversed_at is None and self.dice.chance(20):
            return self._give_back(self.operator, one, whole(refunds.left_of(one)))
        drawer.hand_to_shop(self.operator.user, one, shop)
        self.world.count("pieces handed to a shop")
        return f"hands {one} to {shop}"

    # Refunds.

    def _give_back_any(self, access: Access) -> str:
        recent = list(
            Collection.objects.filter(shop=access.shop).order_by("-id")[:RECENT]
        )
        if not recent:
            return "nothing came yet"
        collection = self.dice.choice(recent)
        left = whole(refunds.left_of(collection))
        part = left if self.dice.chance(60) else self.dice.randint(1, max(1, left))
        return self._give_back(access, collection, part)

    def _give_back(
        self, who: Access | Operator, collection: Collection, amount: int
    ) -> str:
        method = self.dice.one_of(
            [(RefundMethod.REVERSAL, 60), (RefundMethod.CASH, 30),
             (RefundMethod.MANUAL, 10)]
        )  # fmt: skip
        if method == RefundMethod.REVERSAL and self.dice.chance(90):
            amount = whole(collection.amount)
        seen = refunds.mark_of(collection)

        def ask() -> Refund:
            return refunds.ask(
                access=who, collection_id=collection.pk, method=method, amount=amount,
                reason="the customer brought it back", seen=seen,
                restocks=restocks, has_looked=True,
            )  # fmt: skip

        restocks = self.dice.chance(30)
        refund = ask()
        self.world.count(f"refunds asked: {method}")
        if self.dice.chance(10):
            # The button was pressed twice: the second is refused.
            ask()
            self.world.wrong(f"one form gave {collection} back twice")
        return f"gives back {collection} by {method}: {refund.state}"

    def _decide(self, access: Access) -> str:
        waiting = list(refunds.refunds_of(access).filter(state=RefundState.ASKED))
        if not waiting:
            return "no refund waits"
        refund = self.dice.choice(waiting)
        if self.dice.chance(25):
            refunds.refuse(access=access, refund_id=refund.pk, reason="no")
            return "refuses a refund"
        refund = refunds.approve(access=access, refund_id=refund.pk)
        return f"approves a refund: {refund.state}"

    def _ask(self, access: Access) -> str:
        open_ones = list(
            refunds.refunds_of(access).filter(
                state__in=(RefundState.SENDING, RefundState.UNKNOWN)
            )
        )
        if not open_ones:
            return "no refund is under way"
        refund_questions.ask_mpesa(
            access=access, refund_id=self.dice.choice(open_ones).pk
        )
        return "asks about a refund"
