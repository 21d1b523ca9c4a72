"""The people: cashiers who sell, wait, lose patience, and press twice.

Each act is one call into the domain, as the till makes it. Before it, what M-Pesa
already knows about the sale is noted: whoever acts must have asked first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import transaction
from django.db.models import Q

from orders import checkout
from orders.enums import OrderStatus
from orders.models import Order
from payments import (
    accounts,
    budget,
    cash,
    code_box,
    demo,
    ordering,
    prompting,
    questions,
)
from payments.enums import AccountType, Method, PaymentStatus
from payments.models import MpesaAccount, MpesaSettings, Payment
from payments.offers import accept, offers_for
from payments.prompting import Prompted
from shops import stock
from shops.enums import Role
from shops.models import Membership, Product, Shop
from shops.tenancy import Access
from smartduka.lib import clock
from smartduka.lib.money import whole


if TYPE_CHECKING:
    from payments.chaos.world import World


T = TypeVar("T")
CASHIERS = 3
CUSTOMERS, ALIKE = 150, 12
PLENTY, FEW = 100_000, 40
PATIENCE = 7  # looks at one sale
SALE_EVERY_S = 40  # per cashier
SECOND_FROM = 400  # KES from which a refund needs two people


@dataclass(slots=True)
class Sale:
    """One customer at one till."""

    label: str
    access: Access
    order_id: Any
    phone: str
    looks: int = 0
    keys: int = 0
    prompts: list[Any] = field(default_factory=list)


class Shopfloor:
    """Two shops with their cashiers and goods."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.dice = world.dice
        self.sales = 0
        self.goods: dict[int, list[Product]] = {}
        self.cashiers: list[Access] = []
        numbers = [10_000_000 + n * 137 for n in range(CUSTOMERS)]
        # Some look the same where M-Pesa hides the middle.
        numbers += [number + 50_000 for number in numbers[:ALIKE]]
        self.phones = [f"2547{number:08}" for number in numbers]

    def set_up(self) -> None:
        """Make the shops: one on the platform's account, one on its own paybill."""
        with transaction.atomic(durable=True):
            for number, (slug, name, _) in enumerate(demo.SHOPS):
                shop = Shop.objects.create(slug=slug, name=name)
                self._choose_account(shop, own=number == 1)
                self._hire(shop)
                self._stock_up(shop)

    def open(self, closes_s: float) -> None:
        """Let every cashier sell until closing time."""
        ends_at = self.world.clock.now() + clock.seconds(closes_s)
        for access in self.cashiers:
            self._next_sale(access, ends_at)

    def soon(self, wait_s: float, label: str, act: Callable[[], str]) -> None:
        """Let somebody in the shop do something, unless it closes before."""
        self.world.after(wait_s, label, act, again=act, is_floor=True)

    def _choose_account(self, shop: Shop, *, own: bool) -> None:
        if not own:
            accounts.platform_account()
            MpesaSettings.objects.create(
                shop=shop, uses_platform_account=True, second_person_from=SECOND_FROM
            )
            return
        # A till: what is paid to it by hand carries no reference.
        account = MpesaAccount(
            shop=shop,
            environment=settings.MPESA_ENV,
            type=AccountType.TILL,
            **demo.OWN_PAYBILL | {"party_b": "300200"},
        )
        account.save()
        MpesaSettings.objects.create(
            shop=shop, account=account, second_person_from=SECOND_FROM
        )

    def _hire(self, shop: Shop) -> None:
        for number in range(CASHIERS):
            user = get_user_model().objects.create_user(f"{shop.slug}-{number}")
            Membership.objects.create(user=user, shop=shop, role=Role.CASHIER)
            self.cashiers.append(Access(user, shop, Role.CASHIER))

    def _stock_up(self, shop: Shop) -> None:
        self.goods[shop.pk] = []
        for number, (name, barcode, category, price) in enumerate(demo.GOODS):
            product = Product.objects.create(
                shop=shop, name=name, barcode=barcode, category=category, price=price
            )
            # One good runs out, so that its last piece is sold twice.
            pieces = FEW if number == 0 else PLENTY
            stock.receive(product, quantity=pieces, actor=None)
            self.goods[shop.pk].append(product)

    # One sale.

    def _next_sale(self, access: Access, ends_at: Any) -> None:
        wait_s = self.dice.expovariate(1 / SALE_EVERY_S)
        if self.world.clock.now() + clock.seconds(wait_s) >= ends_at:
            return

        def sell() -> str:
            self._next_sale(access, ends_at)
            return self._sell(access)

        self.soon(wait_s, f"{access.user} sells", sell)

    def _sell(self, access: Access) -> str:
        goods = self.dice.sample(self.goods[access.shop.pk], self.dice.randint(1, 3))
        items = [
            checkout.Item(str(product.pk), self.dice.choice([1, 1, 2, 5]))
            for product in goods
        ]
        order = checkout.place_order(shop=access.shop, actor=access.user, items=items)
        self.sales += 1
        label = f"S{self.sales}"
        sale = Sale(label, access, order.pk, self.dice.choice(self.phones))
        how = self.dice.one_of(
            [
                ("prompt", 64),
                ("two phones", 10),
                ("cash", 8),
                ("part cash", 12),
                ("by hand", 6),
            ]
        )
        plans: dict[str, Callable[[], str]] = {
            "prompt": lambda: self._prompt(sale),
            "two phones": lambda: self._two_phones(sale),
            "cash": lambda: self._cash(sale),
            "part cash": lambda: self._part_cash(sale),
            "by hand": lambda: self._by_hand(sale),
        }
        self._plan(sale, how, plans[how], self.dice.uniform(2, 30))
        return f"{label}, KES {order.total:.0f}"

    def _prompt(
        self, sale: Sale, *, amount: int | None = None, phone: str = "",
        accept_risk: bool = False,
    ) -> str:  # fmt: skip
        sale.keys += 1
        key = f"{sale.label}-{sale.keys}" if self.dice.chance(60) else None
        phone = phone or sale.phone
        return self._press(sale, key, amount, phone, risk=accept_risk)

    def _press(
        self, sale: Sale, key: str | None, amount: int | None, phone: str, *, risk: bool
    ) -> str:  # fmt: skip
        def press() -> Prompted:
            return prompting.request(
                access=sale.access, order_id=sale.order_id, phone=phone,
                amount=amount, key=key, accept_risk=risk,
            )  # fmt: skip

        self._plan_look(sale)
        prompted = self.asking_first(sale, press, lambda done: done.is_new)
        sale.prompts.append(prompted.payment.pk)
        if self.dice.chance(10):
            again = press()
            # A payment that was decided meanwhile frees its place, not its key.
            if key and again.payment.pk != prompted.payment.pk:
                self.world.wrong(f"{sale.label}: one key made two payments")
        return f"{prompted.payment.status}"

    def _two_phones(self, sale: Sale) -> str:
        order = Order.objects.get(pk=sale.order_id)
        half = max(1, whole(order.balance) // 2)
        other = self.dice.choice(self.phones)
        self._plan(
            sale, "the other phone", lambda: self._prompt(sale, phone=other),
            self.dice.uniform(1, 20),
        )  # fmt: skip
        return self._prompt(sale, amount=half)

    def _part_cash(self, sale: Sale) -> str:
        order = Order.objects.get(pk=sale.order_id)
        part = max(1, whole(order.balance) // 3)
        self._plan(sale, "the rest", lambda: self._prompt(sale), 10)
        return self._cash(sale, part)

    def _by_hand(self, sale: Sale) -> str:
        """The customer pays the till by hand, whatever the cashier does."""
        order = Order.objects.select_related("shop").get(pk=sale.order_id)
        self._plan_look(sale)
        if order.balance <= 0:
            return "needs no money"
        account = accounts.account_of(order.shop)
        prompts = Payment.objects.filter(order=order, account=account)
        last = prompts.filter(method=Method.MPESA_STK).last()
        typed = last.reference if last else "DUKA"
        if self.dice.chance(15):
            typed = typed[1:] + typed[:1]
        entry = self.world.bank.pay_by_hand(
            shortcode=account.shortcode,
            reference=typed,
            phone=sale.phone,
            amount=whole(order.balance),
            now=self.world.clock.now(),
            is_till=account.type == AccountType.TILL,
        )
        self.world.count("payments by hand")
        self.world.sources.moved(entry)
        if self.dice.chance(40):
            self._plan(
                sale, "shows the message",
                lambda: self._code(sale, entry.receipt), self.dice.uniform(3, 90),
            )  # fmt: skip
        return f"KES {entry.amount} by hand"

    def _code(self, sale: Sale, number: str) -> str:
        """The cashier types what is on the customer's phone, or something else."""
        if self.dice.chance(12):
            number = self.dice.choice(self.world.bank.ledger[-20:]).receipt
        elif self.dice.chance(8):
            number = number[:-1] + ("7" if number[-1] != "7" else "3")
        self.world.count("codes typed")
        answer = code_box.check(access=sale.access, order_id=sale.order_id, text=number)
        self.world.count(f"codes {answer.found}")
        if answer.claim is not None and self.dice.chance(10):
            code_box.withdraw(access=sale.access, claim_id=answer.claim.pk)
            return f"code {number}: {answer.found}, taken back"
        if not answer.piece:
            return f"code {number}: {answer.found}"
        payment = self.asking_first(
            sale,
            lambda: code_box.use(
                access=sale.access, order_id=sale.order_id, number=number
            ),
            lambda done: True,
        )
        return f"code {number} pays KES {payment.amount:.0f}"

    def _offer(self, sale: Sale, order: Order) -> str:
        """The cashier takes what is offered: the best, seldom another."""
        offers = offers_for(order)
        best = offers.best
        wanted = best.key if best is not None and self.dice.chance(50) else ""
        others = (*offers.alike, *offers.others)
        if not wanted and others and self.dice.chance(8):
            wanted = self.dice.choice(others).key
        if not wanted:
            return ""
        self.world.count("offers taken")
        offer = offers.of(wanted)
        beside = [one.number for one in offer.rivals] if offer is not None else []
        payment = self.asking_first(
            sale,
            lambda: accept(
                access=sale.access, order_id=order.pk, piece=wanted, beside=beside
            ),
            lambda done: True,
        )
        return f"takes the offered KES {payment.amount:.0f}"

    def _cash(self, sale: Sale, amount: int | None = None) -> str:
        order = Order.objects.get(pk=sale.order_id)
        given = amount or whole(order.balance) + self.dice.choice([0, 0, 20, 500])
        sale.keys += 1
        key = f"{sale.label}-c{sale.keys}" if self.dice.chance(50) else None

        def pay() -> cash.CashTaken:
            return cash.take(
                access=sale.access, order_id=sale.order_id, amount=given, key=key
            )

        taken = self.asking_first(sale, pay, lambda done: done.is_new)
        if key and self.dice.chance(20) and pay().payment != taken.payment:
            self.world.wrong(f"{sale.label}: one key took cash twice")
        return f"KES {taken.payment.amount:.0f} in cash"

    # Looking at it again, and doing what cashiers do.

    def _look(self, sale: Sale) -> str:
        order = Order.objects.get(pk=sale.order_id)
        if order.status != OrderStatus.OPEN:
            return self._look_once_more(sale, order)
        sale.looks += 1
        if sale.looks > PATIENCE:
            return "gives up"
        self._plan_look(sale)
        if taken := self._offer(sale, order):
            return taken
        last = (
            Payment.objects.filter(order=order, method=Method.MPESA_STK)
            .order_by("created_at", "id")
            .last()
        )
        if last is None:
            return self._prompt(sale) if self.dice.chance(70) else self._cash(sale)
        if last.status == PaymentStatus.FAILED:
            return self._after_failure(sale, last)
        return self._while_waiting(sale, last)

    def _look_once_more(self, sale: Sale, order: Order) -> str:
        if sale.prompts and self.dice.chance(8):
            payment_id = self.dice.choice(sale.prompts)
            payment = prompting.stop_waiting(access=sale.access, payment_id=payment_id)
            return f"stops waiting for what is {payment.status}"
        return f"sees it {order.status}"

    def _after_failure(self, sale: Sale, last: Payment) -> str:
        what = self.dice.one_of(
            [("retry", 55), ("cash", 20), ("cancel", 12), ("other", 8), ("wait", 5)]
        )
        if what == "retry" and last.retryable:

            def retry() -> Prompted:
                return prompting.retry(access=sale.access, payment_id=last.pk)

            prompted = self.asking_first(sale, retry, lambda done: done.is_new)
            sale.prompts.append(prompted.payment.pk)
            if self.dice.chance(20) and retry().payment != prompted.payment:
                self.world.wrong(f"{sale.label}: two retries of one payment")
            return f"retries: {prompted.payment.status}"
        if what == "cash":
            return self._cash(sale)
        if what == "cancel":
            return self._cancel(sale)
        if what == "other":
            return self._prompt(sale, phone=self.dice.choice(self.phones))
        return "waits"

    def _while_waiting(self, sale: Sale, last: Payment) -> str:
        what = self.dice.one_of(
            [
                ("wait", 30), ("by hand", 4), ("ask", 12), ("stop", 12), ("resend", 10),
                ("resend anyway", 8), ("cash", 12), ("cancel", 6), ("other", 6),
            ]
        )  # fmt: skip
        if what == "by hand":
            return self._by_hand(sale)
        if what == "ask":
            return f"asks: {questions.ask(last.pk)}"
        if what == "stop":
            payment = self.asking_first(
                sale,
                lambda: prompting.stop_waiting(access=sale.access, payment_id=last.pk),
                lambda done: done.status == PaymentStatus.CANCELLED,
                only=last,
            )
            return f"stops: {payment.status}"
        if what.startswith("resend"):
            risk = what == "resend anyway"
            prompted = self.asking_first(
                sale,
                lambda: prompting.resend(
                    access=sale.access, payment_id=last.pk, accept_risk=risk
                ),
                lambda done: done.is_new,
            )
            sale.prompts.append(prompted.payment.pk)
            return f"{what}: {prompted.payment.status}"
        if what == "cash":
            return self._cash(sale)
        if what == "cancel":
            return self._cancel(sale)
        if what == "other":
            phone = self.dice.choice(self.phones)
            return self._prompt(sale, phone=phone, accept_risk=True)
        return "waits"

    def _cancel(self, sale: Sale) -> str:
        order = self.asking_first(
            sale,
            lambda: ordering.cancel_order(access=sale.access, order_id=sale.order_id),
            lambda done: done.status == OrderStatus.CANCELLED,
        )
        return f"cancels: {order.status}"

    def _plan_look(self, sale: Sale) -> None:
        wait_s = self.dice.one_of([(4, 3), (15, 4), (45, 3), (130, 2), (400, 1)])
        self._plan(
            sale,
            "looks",
            lambda: self._look(sale),
            wait_s * self.dice.uniform(0.7, 1.3),
        )

    def _plan(
        self, sale: Sale, what: str, act: Callable[[], str], wait_s: float
    ) -> None:  # fmt: skip
        self.soon(wait_s, f"{sale.label} {what}", act)

    def asking_first(
        self, sale: Sale, act: Callable[[], T], acted: Callable[[T], bool],
        *, only: Payment | None = None,
    ) -> T:  # fmt: skip
        """Do something, and see that M-Pesa was asked before it (law 6)."""
        line, bank = self.world.line, self.world.bank
        rested_since = clock.now() - clock.seconds(settings.QUESTION_MIN_GAP_S)
        waiting = Payment.objects.filter(
            Q(asked_at=None) | Q(asked_at__lte=rested_since),
            order_id=sale.order_id,
            decided_at__isnull=True,
            checkout_request_id__isnull=False,
        )
        if only is not None:
            waiting = waiting.filter(pk=only.pk)
        known = [
            checkout_id
            for checkout_id in waiting.values_list("checkout_request_id", flat=True)
            if checkout_id and bank.by_id[checkout_id].code is not None
        ]
        line.asked.clear()
        line.waited_s = 0
        done = act()
        missed = [one for one in known if one not in line.asked]
        if missed and acted(done) and not line.waited_s and not self._is_spent(sale):
            prompt = bank.by_id[missed[0]]
            self.world.wrong(
                f"{sale.label}: acted without asking about prompt {prompt.number},"
                f" for which M-Pesa knows {prompt.code} (KES {prompt.amount})"
            )
        return done

    def _is_spent(self, sale: Sale) -> bool:
        """Whether the account of a sale may ask M-Pesa nothing more this minute."""
        account = accounts.account_of(sale.access.shop)
        limit = settings.QUESTIONS_PER_ACCOUNT_PER_MINUTE
        usage = budget.usage_of("ask", str(account.pk), f"{limit}/m", count=False)
        return usage is not None and usage["count"] >= limit
