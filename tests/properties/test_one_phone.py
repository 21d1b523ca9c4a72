"""Prompts to one phone for one amount: nothing but M-Pesa's word tells them apart.

A course is a few of them and a payment by hand, told in any order, asked about,
denied, sent back, and used by people for other ends meanwhile. `COURSES=2000` walks
more of them than the suite does; a failing one is named by its seed.
"""

import os
import random

import pytest
from django.db.models import F

from payments import drawer, matching, refunds, reversals
from payments.enums import RefundState, Source
from payments.models import (
    Allocation,
    Collection,
    MpesaSettings,
    Payment,
    Receipt,
    Refund,
)
from shops.tenancy import Access
from smartduka.lib import clock
from smartduka.lib.errors import DomainError
from tests.factories import OrderFactory, PaymentFactory
from tests.support.facts import kes, sale_of
from tests.support.own_till import FULL, fail, kinds, own_till, sight, succeed


pytestmark = pytest.mark.django_db

COURSES = int(os.environ.get("COURSES", "40"))
NUMBERS = ("UAE5B2K9QT", "UAE5B2K9QU", "UAE5B2K9QV", "UAE5B2K9QW")
WHY = "So it was"


class Course:
    """One course. `truth`: the receipt of each prompt, "" where it was not paid."""

    def __init__(self, seed, shop, manager, owner, time):
        self.dice = random.Random(seed)
        self.account = own_till(shop)
        self.shop, self.manager, self.owner, self.time = shop, manager, owner, time
        self.log = []
        self.prompts = [
            PaymentFactory(
                order=OrderFactory(shop=shop, total=self.dice.choice((250, 250, 400))),
                phone=FULL,
                amount=250,
            )
            for _ in range(self.dice.choice((2, 2, 3)))
        ]
        self.truth = {}
        self.bank = []
        for prompt in self.prompts:
            self.truth[prompt.pk] = self.paid() if self.dice.random() < 0.75 else ""
        if self.dice.random() < 0.4:
            self.paid()  # by hand

    def paid(self):
        self.bank.append(NUMBERS[len(self.bank)])
        return self.bank[-1]

    def walk(self):
        """Begin, let things happen, and let M-Pesa tell everything in the end."""
        self.begin()
        steps = self.dice.choices(self.EVENTS, k=self.dice.randint(1, 3))
        steps += [Course.ask] * self.dice.randint(0, 3)
        steps += self.dice.choices(self.EVENTS, k=self.dice.randint(0, 3))
        for step in steps:
            step(self)
            self.time.turn(3)
            self.look_again()
            self.check()
        for number in self.bank:
            sight(self.account, number)
            self.look_again()
        for prompt in self.dice.sample(self.prompts, len(self.prompts)):
            self.call(prompt)
            self.look_again()
            self.check()
        self.check_the_end()

    def begin(self):
        """Prompts are called unpaid, asked about, or neither; some money is known."""
        for prompt in self.prompts:
            if self.truth[prompt.pk] and self.dice.random() < 0.6:
                self.note("denied", prompt, fail(self.now(prompt)))
            elif self.dice.random() < 0.3:
                self.ask(prompt)
        for number in self.bank:
            if self.dice.random() < 0.6:
                self.tell(number)
        self.look_again()

    # What happens.

    def ask(self, prompt=None):
        prompt = prompt or self.dice.choice(self.prompts)
        if self.truth[prompt.pk]:
            self.note("asked", prompt, succeed(self.now(prompt), None, Source.QUERY))
        else:
            self.note("asked", prompt, fail(self.now(prompt)))

    def call(self, prompt=None):
        prompt = prompt or self.dice.choice(self.prompts)
        number = self.truth[prompt.pk]
        told = succeed if number else fail
        facts = (number,) if number else ()
        self.note("called", prompt, number, told(self.now(prompt), *facts))

    def tell(self, number=None):
        if number := number or (self.bank and self.dice.choice(self.bank)):
            source = self.dice.choice((Source.PULL, Source.C2B))
            state = sight(self.account, number, source=source).state
            self.note("told", number, source, state)

    def send_back(self):
        """M-Pesa sends money back, and its statement says so."""
        if found := self.one_of(Collection.objects.filter(receipt__in=self.bank)):
            at = clock.now()
            reversals.prove_reversed(found, receipt="", source=Source.STATEMENT, at=at)
            self.note("sent back", found.receipt)

    def give_back(self):
        """A manager gives money back in cash, or asks to; a large sum needs two."""
        MpesaSettings.objects.update(second_person_from=200)
        if found := self.one_of(Collection.objects.filter(account=self.account)):
            amount = self.dice.choice((100, 250))
            self.try_it(
                refunds.ask, access=self.manager, collection_id=found.pk, method="cash",
                amount=amount, reason=WHY, restocks=False,
            )  # fmt: skip

    def decide(self):
        """The owner decides about money that is to go back."""
        waiting = Refund.objects.filter(state=RefundState.ASKED)
        if found := self.one_of(waiting):
            if self.dice.random() < 0.7:
                self.try_it(
                    refunds.refuse, access=self.owner, refund_id=found.pk, reason="No"
                )
            else:
                self.try_it(refunds.approve, access=self.owner, refund_id=found.pk)

    def keep(self):
        """A manager keeps free money as a credit."""
        if piece := self.piece():
            self.try_it(
                drawer.keep_as_credit, access=self.manager, piece=piece,
                customer="Mama Njeri", reason=WHY,
            )  # fmt: skip

    def apply(self):
        """A manager pays a sale with free money: one of these, or another."""
        orders = [OrderFactory(shop=self.shop), *(one.order for one in self.prompts)]
        if piece := self.piece():
            self.try_it(
                drawer.apply, access=self.manager, piece=piece,
                order_id=self.dice.choice(orders).pk, reason=WHY,
            )  # fmt: skip

    EVENTS = (ask, call, tell, send_back, give_back, decide, keep, apply)

    def piece(self):
        found = [one for one in drawer.pieces(self.manager) if one.collection_id]
        return self.dice.choice(found).key if found else None

    def one_of(self, rows):
        found = list(rows.order_by("pk"))
        return self.dice.choice(found) if found else None

    def try_it(self, act, **facts):
        """Do what a person would; a refusal with a clear sentence is an answer too."""
        try:
            act(**facts)
        except DomainError as error:
            self.note(act.__name__, error.code)
        else:
            self.note(act.__name__, facts.get("piece") or facts.get("collection_id"))

    def look_again(self):
        for receipt in Receipt.objects.filter(collection=None).order_by("pk"):
            matching.look(receipt.pk)

    def now(self, prompt):
        return Payment.objects.get(pk=prompt.pk)

    def note(self, *facts):
        names = {one: f"prompt {place}" for place, one in enumerate(self.prompts)}
        self.log.append(
            " ".join(
                str(names.get(one, one) if isinstance(one, Payment) else one)
                for one in facts
            )
        )

    # What must be so.

    def check(self):
        """No more is counted than came, and who has no money says so."""
        away = Allocation.objects.filter(
            kind="correction", amount=F("collection__amount")
        ).values("collection")
        counted = Collection.objects.filter(account=self.account, disputed="").exclude(
            pk__in=away
        )
        assert sum(one.amount for one in counted) <= len(self.bank) * kes(250), self
        silent = [
            one
            for one in Payment.objects.filter(status="completed", alarm="")
            if not one.collections.exists() and not one.allocations.exists()
        ]
        assert silent == [], self

    def check_the_end(self):
        """Each receipt is counted, as its own prompt's, and for its own sale."""
        for number in self.bank:
            assert Collection.objects.filter(receipt=number).count() == 1, self
        for pk, number in self.truth.items():
            if not number:
                continue
            money = Collection.objects.get(receipt=number)
            payment = Payment.objects.get(pk=pk)
            assert money.payment_id == pk, self
            went_elsewhere = [
                (kind, amount)
                for kind, amount, order_id in kinds(money)
                if kind != "surplus" and order_id != payment.order_id
            ]
            # An open sale needs it again from the moment that it is asked back.
            is_back = {"refunded", "reserved"} & {kind for kind, _, _ in kinds(money)}
            if not payment.alarm and not is_back and not went_elsewhere:
                assert sale_of(payment.order)[1] >= kes(250), self

    def __str__(self):
        rows = [
            f"{one.receipt} of {one.payment_id} {one.disputed!r} {kinds(one)}"
            for one in Collection.objects.order_by("pk")
        ]
        return "\n".join(["", *self.log, *rows])

    __repr__ = __str__


@pytest.fixture(autouse=True)
def _quiet(messages, mpesa):
    return messages


@pytest.mark.parametrize("seed", range(COURSES))
def test_no_shilling_is_counted_twice_or_lost(seed, duka, mary, alice, time):
    manager = Access(mary.user, duka, "manager")
    owner = Access(alice.user, duka, "owner")

    Course(seed, duka, manager, owner, time).walk()
