"""A till, M-Pesa, a worker and time, in every order that Hypothesis thinks of.

After every step our books are compared with a tiny model of M-Pesa (`bank`); at the
end of every course M-Pesa answers for all that it knows, and then the two books must
be equal. HYPOTHESIS_PROFILE=long runs 1,000 courses of 50 steps.
"""

import os
import sys
from collections import Counter, defaultdict
from contextlib import ExitStack
from datetime import timedelta
from decimal import Decimal

import pytest
from django.conf import settings as project
from django.db import transaction
from django.db.models import Sum
from django.test import RequestFactory
from django.utils.module_loading import import_string
from django_q.models import OrmQ
from django_q.signing import SignedPackage
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from orders.models import Order
from payments import (
    cash,
    gateways,
    hook_tokens,
    hooks,
    inbox,
    intents,
    lifecycle,
    ordering,
    prompting,
    questions,
    reconciliation,
    settlement,
)
from payments.enums import PaymentStatus
from payments.models import Allocation, Collection, Notice, Payment, PaymentEvent
from shops.models import Product
from smartduka.lib import clock
from smartduka.lib.errors import DomainError
from tests.factories import OrderFactory
from tests.payments.conftest import START
from tests.properties.bank import (
    CERTAIN,
    ENDINGS,
    MOODS,
    UNCERTAIN,
    Bank,
    Died,
    Letter,
    with_other,
)
from tests.support.callbacks import failure, success
from tests.support.facts import kes, nothing_changes


PROFILES = {
    "ci": settings(max_examples=60, stateful_step_count=30),
    "long": settings(max_examples=1000, stateful_step_count=50),
}
PROFILE = os.environ.get("HYPOTHESIS_PROFILE") or "ci"
COMMON = {
    "deadline": None,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.filter_too_much],
}
BOUNDS = settings(PROFILES[PROFILE], **COMMON)
# A broken safeguard need not be explained in the shortest way, only noticed.
HUNT = settings(
    BOUNDS, max_examples=300, stateful_step_count=40, phases=[Phase.generate],
    database=None, derandomize=True,
)  # fmt: skip

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.once,
    pytest.mark.timeout(300 if PROFILE == "ci" else 7200),
    pytest.mark.usefixtures("messages", "_generous", "_quiet"),
]

TOTALS = (250, 90, 250, 160, 400, 90)
PHONES = ("254712345678", "254711000222", "254110000333")
LEGAL = {
    "": {"created"},
    "created": {"pending", "completed", "failed", "expired", "cancelled"},
    "pending": {"completed", "failed", "expired", "cancelled"},
    "failed": {"completed"},
    "expired": {"completed"},
    "cancelled": {"completed"},
    "completed": set(),
}
FORGERIES = (
    *("bad token", "no token", "token of nobody", "nonsense"),
    *("another amount", "another id", "another merchant", "receipt of another"),
)

picks = st.integers(0, 40)
moods = st.sampled_from(["truthful", "truthful", *MOODS])
honest_moods = st.sampled_from(["truthful", *(m for m in MOODS if m != "lying")])
endings = st.sampled_from(["accepted", "accepted", "accepted", *ENDINGS])
amounts = st.sampled_from([None, None, None, 40, 90, 160, 250])
phones = st.sampled_from(PHONES)
seconds = st.sampled_from([1, 6, 11, 31, 61, 121, 301, 3700, 49 * 3600])


class Floor:
    """The shop that all courses begin in: two sales, a cashier, a clock."""

    def __init__(self, seller, time):
        self.seller, self.time = seller, time
        self.orders = [OrderFactory(shop=seller.shop, total=kes) for kes in TOTALS]
        self.is_broken = False
        self.figures = Counter()

    def run(self, bounds=BOUNDS):
        run_state_machine_as_test(lambda: PaymentMachine(self), settings=bounds)


@pytest.fixture
def floor(seller, time, monkeypatch):
    floor = Floor(seller, time)
    judge = inbox._judge

    def broken_now_and_then(*arguments):
        if floor.is_broken:
            raise RuntimeError("something in here is broken")
        return judge(*arguments)

    monkeypatch.setattr(inbox, "_judge", broken_now_and_then)
    return floor


class PaymentMachine(RuleBasedStateMachine):
    def __init__(self, floor):
        super().__init__()
        self.floor, self.time, self.access = floor, floor.time, floor.seller
        self.time.now = START
        self.bank = Bank(self.meanwhile)
        self.letters = []
        self.on_their_way = {}  # reference and hash of a body: its letter
        self.keys = {}  # a prompt's idempotency key: what was asked, what it made
        self.drawer = []  # order and KES
        self.cancelled = set()  # indexes of sales
        self.open = list(range(len(TOTALS)))  # and of those that need money
        self.is_over = False
        self.undo = ExitStack()
        self.undo.callback(transaction.savepoint_rollback, transaction.savepoint())
        self.undo.enter_context(gateways.using(self.bank))

    def teardown(self):
        try:
            if sys.exc_info()[0] is None:
                self.reckon()
        finally:
            self.floor.is_broken = False
            self.undo.close()

    # What the till does.

    @initialize(phone=phones)
    def first_prompt(self, phone):
        """Whatever happens, there is something that it can happen to."""
        self.prompt(
            pick=0, phone=phone, amount=None, key=None, risk=False, mood="dumb",
            ending="accepted",
        )  # fmt: skip

    @rule(pick=picks, phone=phones, amount=amounts,
          key=st.sampled_from([None, None, "a", "b"]), risk=st.booleans(),
          mood=honest_moods, ending=endings)  # fmt: skip
    def ask_for_money(self, **asked):
        self.prompt(**asked)

    @rule(pick=picks, phone=phones, mood=honest_moods)
    def ask_another_phone(self, pick, phone, mood):
        self.prompt(
            pick=pick, phone=phone, amount=None, key=None, risk=False, mood=mood,
            ending="accepted",
        )  # fmt: skip

    def prompt(self, *, pick, phone, amount, key, risk, mood, ending):
        sale = self.sale(pick)
        order = self.floor.orders[sale]
        made = self.at_the_till(
            lambda: prompting.request(
                access=self.access, order_id=order.pk, phone=phone, amount=amount,
                key=key, accept_risk=risk,
            ),
            mood, ending,
        )  # fmt: skip
        if made is None:
            return
        if key in self.keys:
            # A key makes one payment, and only for what was asked with it.
            assert self.keys[key] == ((sale, phone, amount), made.payment.pk)
            assert not made.is_new
        elif key and Payment.objects.filter(idempotency_key=key).exists():
            self.keys[key] = ((sale, phone, amount), made.payment.pk)
        if made.is_new:
            self.check_spoken_for(made.payment, at_risk=risk)

    @precondition(lambda self: any(one.is_denied for one in self.bank.prompts))
    @rule(pick=picks, mood=honest_moods, ending=endings)
    def retry(self, pick, mood, ending):
        payment = self.payment(self.picked(pick, lambda one: one.is_denied))
        made = self.at_the_till(
            lambda: prompting.retry(access=self.access, payment_id=payment.pk),
            mood, ending,
        )  # fmt: skip
        if made is None or made.payment.retry_of_id == payment.pk:
            return
        # The same is being asked for already: that is the answer.
        twin = made.payment
        assert not made.is_new
        assert (twin.order_id, twin.phone, twin.amount, twin.is_open) == (
            payment.order_id, payment.phone, payment.amount, True,
        )  # fmt: skip

    @precondition(lambda self: self.bank.prompts)
    @rule(pick=picks, risk=st.booleans(), mood=honest_moods, ending=endings)
    def resend(self, pick, risk, mood, ending):
        payment = self.payment(self.picked(pick))
        made = self.at_the_till(
            lambda: prompting.resend(
                access=self.access, payment_id=payment.pk, accept_risk=risk
            ),
            mood, ending,
        )  # fmt: skip
        if made is None or not made.is_new:
            return
        replaced = Payment.objects.get(pk=payment.pk)
        assert not replaced.is_open, "two prompts are waited for"
        self.check_spoken_for(made.payment, at_risk=risk)

    @precondition(lambda self: self.bank.prompts)
    @rule(pick=picks, mood=honest_moods)
    def cancel(self, pick, mood):
        payment = self.payment(self.picked(pick))
        stopped = self.at_the_till(
            lambda: prompting.stop_waiting(access=self.access, payment_id=payment.pk),
            mood,
        )
        assert not stopped.is_open

    @rule(
        pick=picks, given_kes=st.sampled_from([1, 40, 90, 250, 1000]), mood=honest_moods
    )
    def take_cash(self, pick, given_kes, mood):
        order = self.floor.orders[self.sale(pick)]
        taken = self.at_the_till(
            lambda: cash.take(
                access=self.access, order_id=order.pk, amount=given_kes, key=None
            ),
            mood,
        )
        if taken is None:
            # Cash is always possible while the sale is open.
            assert Order.objects.get(pk=order.pk).status != "open"
            return
        assert taken.change == given_kes - taken.payment.amount
        assert taken.change == 0 or taken.order.balance == 0
        self.drawer.append((order.pk, taken.payment.amount))

    @rule(pick=picks, mood=honest_moods)
    def cancel_sale(self, pick, mood):
        sale = self.sale(pick)
        order = self.floor.orders[sale]
        cancelled = self.at_the_till(
            lambda: ordering.cancel_order(access=self.access, order_id=order.pk), mood
        )
        if cancelled is None:
            assert Order.objects.get(pk=order.pk).paid > 0
        else:
            self.cancelled.add(sale)

    # What happens on the phones, and what M-Pesa tells of it.

    @precondition(lambda self: any(one.is_waiting for one in self.bank.prompts))
    @rule(pick=picks, delivered=st.booleans(), broken=st.booleans())
    def customer_pays(self, pick, delivered, broken):
        prompt = self.picked(pick, lambda one: one.is_waiting)
        prompt.is_paid()
        self.letters.append(prompt.callback())
        if delivered:
            self.send(self.letters[-1], broken=broken)

    @precondition(lambda self: any(one.is_waiting for one in self.bank.prompts))
    @rule(pick=picks)
    def customer_pays_unheard(self, pick):
        """The callback is lost, or very late."""
        prompt = self.picked(pick, lambda one: one.is_waiting)
        prompt.is_paid()
        self.letters.append(prompt.callback())

    @precondition(lambda self: any(one.is_waiting for one in self.bank.prompts))
    @rule(pick=picks, code=st.sampled_from([*CERTAIN, "1037"]), delivered=st.booleans())
    def customer_does_not_pay(self, pick, code, delivered):
        prompt = self.picked(pick, lambda one: one.is_waiting)
        prompt.ends(code)
        self.letters.append(prompt.callback())
        if delivered:
            self.send(self.letters[-1])

    @precondition(lambda self: self.letters)
    @rule(pick=picks, again=st.integers(0, 2), broken=st.booleans())
    def callback_comes(self, pick, again, broken):
        """For the first time, late, or once more, in the same bytes or in others."""
        letter = self.letters[pick % len(self.letters)]
        self.send(letter.varied(again), broken=broken)

    @precondition(lambda self: any(one.arrived for one in self.bank.prompts))
    @rule(pick=picks, code=st.sampled_from(UNCERTAIN))
    def uncertain_callback_comes(self, pick, code):
        prompt = self.picked(pick, lambda one: one.arrived)
        self.send(Letter(prompt, failure(prompt, int(code))))

    @precondition(lambda self: any(one.arrived for one in self.bank.prompts))
    @rule(pick=picks, code=st.sampled_from(CERTAIN))
    def mpesa_errs(self, pick, code):
        """It says for certain that nothing was paid, whatever the truth is."""
        prompt = self.picked(pick, lambda one: one.arrived)
        self.send(Letter(prompt, failure(prompt, int(code)), denies=True))

    @precondition(lambda self: self.bank.prompts)
    @rule(pick=picks, kind=st.sampled_from(FORGERIES), broken=st.booleans())
    def somebody_forges(self, pick, kind, broken):
        prompt = self.picked(pick)
        with nothing_changes():
            self.forge(prompt, kind, broken=broken)

    @precondition(lambda self: self.bank.prompts)
    @rule(pick=picks, mood=moods)
    def question(self, pick, mood):
        self.bank.mood = mood
        before = self.bank.questions
        asked = questions.ask(self.payment(self.picked(pick)).pk)
        assert self.bank.questions - before <= 1
        assert asked == (self.bank.questions > before and mood != "away")

    # What the clock and the worker do.

    @rule(wait_s=seconds)
    def time_passes(self, wait_s):
        """And the worker is down."""
        self.time.turn(wait_s)

    @rule(wait_s=seconds, mood=moods, broken=st.booleans())
    def worker_works(self, wait_s, mood, broken):
        self.time.turn(wait_s)
        self.bank.mood = mood
        self.work(broken=broken)

    @precondition(lambda self: self.bank.prompts)
    @rule(pick=picks)
    def expiry(self, pick):
        payment = self.payment(self.picked(pick))
        is_over = payment.is_open and payment.expires_at <= self.time.now
        assert questions.expire_if_over(payment.pk) == is_over

    @rule(mood=moods, broken=st.booleans())
    def sweep(self, mood, broken):
        """The tasks were lost: the sweep finds what is due, the worker does it."""
        OrmQ.objects.all().delete()
        self.bank.mood = mood
        reconciliation.sweep()
        self.work(broken=broken)

    @rule(mood=moods, broken=st.booleans())
    def reconcile(self, mood, broken):
        self.bank.mood = mood
        self.floor.is_broken = broken
        reconciliation.sweep_now()
        self.floor.is_broken = False

    @precondition(lambda self: self.on_their_way)
    @rule(broken=st.booleans())
    def parked_notices_are_processed_again(self, broken):
        self.floor.is_broken = broken
        for notice_id in Notice.objects.filter(verdict="parked").values_list(
            "pk", flat=True
        ):
            self.floor.figures["processed again"] += 1
            assert (inbox.process_again(notice_id) is None) == broken
        self.floor.is_broken = False

    # What must be true after every step.

    @invariant()
    def books_are_right(self):
        self.floor.figures["steps"] += 1
        self.read_letters()
        payments = {one.reference or str(one.pk): one for one in Payment.objects.all()}
        # Few statements: they are made after each of thousands of steps.
        collections = list(
            Collection.objects.values(
                "pk", "payment__reference", "payment__order", "receipt", "amount",
                "allocated",
            )
        )  # fmt: skip
        portions = list(
            Allocation.objects.values("collection_id", "order_id", "kind", "amount")
        )
        self.check_notices()
        self.check_money(payments, collections, portions)
        self.check_sales(collections, portions)
        self.check_history(payments)
        for prompt in self.bank.prompts:
            self.check_payment(prompt, payments[prompt.reference])

    def check_notices(self):
        """What is not processed yet is due, or parked where a person sees it."""
        waiting = list(
            Notice.objects.filter(processed_at=None, payment__isnull=False).values_list(
                "verdict", "next_try_at"
            )
        )
        for verdict, next_try_at in waiting:
            assert (verdict == "parked") == (next_try_at is None), (
                "nobody will look at a notice"
            )
        assert len(waiting) == len(self.on_their_way)

    def check_money(self, payments, collections, portions):
        """Every shilling that we know of is there once, and none besides."""
        expected = [("", None, amount) for _, amount in self.drawer]
        expected += [
            (
                one.reference,
                one.receipt if one.is_receipt_told else None,
                kes(one.amount),
            )
            for one in self.bank.prompts
            if one.is_proved
        ]
        ours = [
            (one["payment__reference"], one["receipt"], one["amount"])
            for one in collections
        ]
        assert sorted(ours, key=str) == sorted(expected, key=str), (
            "our books are not M-Pesa's"
        )
        told = [number for _, number, _ in expected if number]
        assert len(set(told)) == len(told)
        assert len(payments) == len(self.drawer) + len(self.bank.prompts)
        assert self.bank.pushes == len({one.reference for one in self.bank.prompts})

        shared = defaultdict(Decimal)
        for portion in portions:
            shared[portion["collection_id"]] += portion["amount"]
        for one in collections:
            # Nothing in here is unmatched: each shilling has a sale, or is surplus.
            assert shared[one["pk"]] == one["allocated"] == one["amount"]

    def check_sales(self, collections, portions):
        """A sale is paid exactly when its money reaches its total."""
        arrived, shared = defaultdict(Decimal), defaultdict(Decimal)
        for one in collections:
            arrived[one["payment__order"]] += one["amount"]
        for portion in portions:
            shared[portion["order_id"], portion["kind"]] += portion["amount"]
        orders = Order.objects.in_bulk([one.pk for one in self.floor.orders])
        for number, total in enumerate(TOTALS):
            order = orders[self.floor.orders[number].pk]
            money = arrived[order.pk]
            if number in self.cancelled:
                expected = ("cancelled", kes(0), money)
            elif money >= total:
                expected = ("paid", kes(total), money - total)
            else:
                expected = ("open", money, kes(0))
            assert (order.status, order.paid, order.surplus) == expected
            assert shared[order.pk, "sale"] == order.paid
            assert shared[order.pk, "surplus"] == order.surplus
        self.open = [
            number
            for number, order in enumerate(self.floor.orders)
            if orders[order.pk].status == "open"
        ]
        sold = sum(order.status == "paid" for order in orders.values())
        taken = [
            100 - stock for stock in Product.objects.values_list("stock", flat=True)
        ]
        assert sum(taken) == sold

    def check_history(self, payments):
        """Each move is legal, and each status was entered once."""
        paths = defaultdict(list)
        for payment_id, old, new in PaymentEvent.objects.values_list(
            "payment_id", "old", "new"
        ):
            path = paths[payment_id]
            assert old == (path[-1] if path else "")
            if new != old:
                assert new in LEGAL[old], f"{old} → {new}"
                path.append(new)
        for payment in payments.values():
            path = paths[payment.pk]
            assert path[-1] == payment.status
            assert len(set(path)) == len(path), "a status was entered twice"
            if self.is_over:
                self.floor.figures[f"{payment.method}: {' → '.join(path)}"] += 1

    def check_payment(self, prompt, payment):
        is_decided = prompt.is_proved or prompt.is_denied
        assert payment.is_undecided != is_decided
        assert (payment.status == PaymentStatus.COMPLETED) == prompt.is_proved
        assert payment.receipt == (prompt.receipt if prompt.is_receipt_told else "")
        known_id = prompt.checkout_request_id if prompt.is_id_told else None
        assert payment.checkout_request_id == known_id
        # A person is called only where M-Pesa said two things.
        assert not payment.alarm or (prompt.is_proved and prompt.is_denied)
        if payment.is_undecided or payment.next_ask_at is None:
            return
        if payment.status == PaymentStatus.COMPLETED:
            [money] = payment.collections.all()
            assert money.confirmed_at is None
        else:
            assert prompt.is_doubted, "final, with a question due"

    def check_spoken_for(self, payment, *, at_risk):
        """Open prompts ask for no more than the sale needs, but for a known risk."""
        order = Order.objects.get(pk=payment.order_id)
        undecided = Payment.objects.filter(order=order, decided_at=None)
        if at_risk:
            young = self.time.now - timedelta(seconds=project.SPOKEN_FOR_S)
            undecided = undecided.filter(created_at__gt=young)
        asked = undecided.aggregate(total=Sum("amount"))["total"] or 0
        if order.status == "open":
            assert asked <= order.balance, "the sale is asked for twice"
        others = Payment.objects.filter(
            phone=payment.phone,
            decided_at=None,
            created_at__gt=payment.created_at - timedelta(seconds=60),
        )
        assert not others.exclude(pk=payment.pk).exists(), "one phone, two prompts"

    # How each course ends.

    def reckon(self):
        """M-Pesa answers for all it knows, and the two books are equal."""
        for prompt in self.bank.prompts:
            if prompt.is_waiting:
                prompt.ends("1037")
            # Two things only a late callback can tell: the payment of an id that
            # never reached us, and money that M-Pesa had denied.
            is_unheard = prompt.is_denied or not prompt.is_id_told
            if prompt.receipt and not prompt.is_proved and is_unheard:
                self.send(prompt.callback().varied(9))
        self.answer_everything()
        for letter in list(self.letters):
            # The lost ones come after all, and the others once more.
            self.send(letter.varied(8))
        # One of them may have told us an id that we can ask about now.
        self.answer_everything()
        self.is_over = True
        self.books_are_right()

        ours = Collection.objects.filter(account__isnull=False)
        assert dict(ours.values_list("receipt", "amount")) == {
            receipt: kes(amount) for receipt, amount in self.bank.ledger.items()
        }
        assert ours.count() == len(self.bank.ledger)
        for prompt in self.bank.prompts:
            assert prompt.is_proved == bool(prompt.receipt)
            payment = self.payment(prompt)
            assert not payment.is_open
            # Nobody can tell of one whose id we never learned.
            assert payment.is_undecided == (
                not prompt.is_id_told and not prompt.is_denied
            )
            assert payment.next_ask_at is None
        figures = self.floor.figures
        figures["courses"] += 1
        figures["KES at M-Pesa"] += sum(self.bank.ledger.values())
        figures["KES in the drawer"] += int(sum(amount for _, amount in self.drawer))
        figures["KES of surplus"] += int(
            Order.objects.aggregate(total=Sum("surplus"))["total"]
        )
        figures["alarms"] += Payment.objects.exclude(alarm="").count()
        for verdict in Notice.objects.values_list("verdict", flat=True):
            figures[f"notice {verdict}"] += 1
        for source in Collection.objects.values_list("source", flat=True):
            figures[f"money by {source}"] += 1

    def answer_everything(self):
        """Hours later, M-Pesa is there and nothing of ours is broken."""
        waiting = Notice.objects.filter(processed_at=None, payment__isnull=False)
        for notice_id in waiting.values_list("pk", flat=True):
            assert inbox.process_again(notice_id)
        self.bank.mood = "truthful"
        for _ in range(2):
            self.time.turn(3 * 3600)
            reconciliation.sweep_now()

    # How it is done.

    def at_the_till(self, act, mood, ending="accepted"):
        """Do what a cashier asks for; None if it is refused, or our process dies."""
        self.bank.mood, self.bank.ending = mood, ending
        before = self.bank.pushes
        try:
            made = act()
        except DomainError as refusal:
            self.floor.figures[f"refused {refusal.code}"] += 1
            assert self.bank.pushes == before
            made = None
        except Died:
            # Whoever looks next is another process, a while later.
            self.time.turn(60)
            made = None
        if isinstance(made, prompting.Prompted):
            assert self.bank.pushes - before == made.is_new
        self.time.turn(1)
        return made

    def meanwhile(self, prompt, ending):
        """What others do while the push is under way."""
        if ending == "early":
            prompt.is_paid()
            self.letters.append(prompt.callback())
            self.send(self.letters[-1])
        elif ending == "stopped":
            payment = self.payment(prompt)
            prompting.stop_waiting(access=self.access, payment_id=payment.pk)

    def sale(self, pick):
        """The index of a sale that needs money, but now and then of any."""
        if pick < 36 and self.open:
            return self.open[pick % len(self.open)]
        return pick % len(TOTALS)

    def picked(self, pick, fits=lambda one: True):
        fitting = [one for one in self.bank.prompts if fits(one)]
        return fitting[pick % len(fitting)]

    def payment(self, prompt):
        return Payment.objects.select_related("order").get(reference=prompt.reference)

    def send(self, letter, *, broken=False):
        """Bring a callback to our hook; nothing may be refused that is stored."""
        self.floor.is_broken = broken
        key = (letter.prompt.reference, letter.hash)
        self.on_their_way.setdefault(key, letter)
        response = hooks.stk(_post(letter.body), letter.prompt.token)
        assert response.status_code == 200
        self.floor.is_broken = False
        self.read_letters()

    def read_letters(self):
        """What is processed by now must show."""
        if not self.on_their_way:
            return
        processed = Notice.objects.filter(
            processed_at__isnull=False,
            body_hash__in=[body_hash for _, body_hash in self.on_their_way],
        )
        for key in processed.values_list("payment__reference", "body_hash"):
            if letter := self.on_their_way.pop(key, None):
                letter.is_believed()

    def forge(self, prompt, kind, *, broken):
        body = success(prompt, receipt="UZZ9999999", extra=" " * len(self.letters))
        if kind == "bad token":
            first = "1" if prompt.token[0] == "0" else "0"
            response = hooks.stk(_post(body), first + prompt.token[1:])
            assert response.status_code == 403
            return
        if kind == "no token":
            assert hooks.untokened(_post(body)).status_code == 200
            return
        if kind == "token of nobody":
            token = hook_tokens.issue().text
            assert hooks.stk(_post(body), token).status_code == 200
            return
        forged = self.doubtful(prompt, kind)
        if forged is not None:
            self.send(Letter(prompt, forged, doubts=True), broken=broken)

    def doubtful(self, prompt, kind):
        """A body that comes with the right token and proves nothing; None if it would."""
        others = [
            one for one in self.bank.prompts if one is not prompt and one.is_id_told
        ]
        if kind == "nonsense":
            return b'{"Body": NaN}'
        if kind == "another amount":
            return success(prompt, receipt="UZZ9999999", amount=prompt.amount + 1)
        if kind == "another id" and others:
            other = others[-1].checkout_request_id
            return with_other(failure(prompt), CheckoutRequestID=other)
        if kind == "another merchant" and prompt.is_id_told:
            return with_other(success(prompt), MerchantRequestID="somebody")
        if kind == "receipt of another" and prompt.is_id_told:
            told = [one.receipt for one in others if one.is_receipt_told]
            return success(prompt, receipt=told[-1]) if told else None
        return None

    def work(self, *, broken):
        """Run the tasks that are due, once each."""
        self.floor.is_broken = broken
        for _ in range(100):
            due = OrmQ.objects.filter(lock__lte=clock.now()).order_by("lock", "id")
            row = due.first()
            if row is None:
                break
            task = SignedPackage.loads(row.payload)
            row.delete()
            import_string(task["func"])(*task["args"])
        else:
            raise AssertionError("the worker never rests")
        self.floor.is_broken = False


def _post(body):
    return RequestFactory().post("/hooks", body, content_type="application/json")


def test_every_course_ends_in_true_books(floor, capsys):
    floor.run()

    if PROFILE == "long":
        lines = [f"{count:>9}  {name}" for name, count in floor.figures.items()]
        with capsys.disabled():
            sys.stdout.write("\n".join(["", *sorted(lines), ""]))
    assert floor.figures["courses"] >= BOUNDS.max_examples


# With one safeguard switched off, the books are not right any more.


def test_a_receipt_counted_twice_is_noticed(floor, monkeypatch):
    monkeypatch.setattr(settlement, "_fill_receipt", lambda payment, proof: False)

    with pytest.raises(AssertionError, match="our books are not M-Pesa's"):
        floor.run(HUNT)


def test_believing_any_callback_is_noticed(floor, monkeypatch):
    monkeypatch.setattr(inbox, "_doubt", lambda *arguments: "")

    with pytest.raises(AssertionError):
        floor.run(HUNT)


def test_money_that_a_stopped_prompt_refuses_is_noticed(floor, monkeypatch):
    monkeypatch.setitem(PaymentStatus.MOVES, "cancelled", frozenset())

    with pytest.raises((AssertionError, lifecycle.IllegalMove)):
        floor.run(HUNT)


def test_a_notice_that_is_forgotten_is_noticed(floor, monkeypatch):
    born = inbox._born_due

    def born_undue(*arguments, **owner):
        row = born(*arguments, **owner)
        row.next_try_at = None
        return row

    monkeypatch.setattr(inbox, "_born_due", born_undue)
    monkeypatch.setattr(inbox, "_try_soon", lambda notice_id, error: None)

    with pytest.raises(AssertionError, match="nobody will look at a notice"):
        floor.run(HUNT)


def test_a_blind_second_prompt_is_noticed(floor, monkeypatch):
    monkeypatch.setattr(intents, "require_unspoken", lambda order, amount, intent: None)

    with pytest.raises(AssertionError, match="the sale is asked for twice"):
        floor.run(HUNT)
