"""Many receipts at once end as each by itself would, and cost few queries."""

import random
from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from payments import (
    direct,
    matching,
    receipt_batches,
    receipts,
    references,
    settlement,
    statement_import,
)
from payments.enums import ClaimState, PaymentStatus, Source
from payments.models import CodeClaim, Collection, MpesaSettings, Payment, Receipt
from payments.receipts import Told
from smartduka.lib import clock
from tests.factories import (
    MpesaAccountFactory,
    OrderFactory,
    PaymentFactory,
    ShopFactory,
)
from tests.payments.conftest import START
from tests.support.statements import as_csv, paid


pytestmark = pytest.mark.django_db

DAY = START.replace(hour=0) - timedelta(hours=3)
NEXT = DAY + timedelta(days=1)
# The more of them on one database alone.
SEEDS = [*range(4), *(pytest.param(n, marks=pytest.mark.once) for n in range(4, 12))]


class Scene:
    """What was there before a statement came: the same in each shop, by one seed."""

    def __init__(self, shortcode, seed, actor):
        self.dice = random.Random(seed)
        self.actor = actor
        self.shop = ShopFactory()
        self.account = MpesaAccountFactory(shop=self.shop, shortcode=shortcode)
        MpesaSettings.objects.create(shop=self.shop, account=self.account)
        self.payments = []
        self.rows = []
        kinds = [getattr(self, name) for name in dir(type(self)) if name[:3] == "it_"]
        for place in range(14):
            self.number = f"UAE5B2K{place:03}"
            self.at = START + timedelta(minutes=self.dice.randrange(200))
            self.amount = self.dice.choice((50, 50, 80, 250))
            self.reference = self.dice.choice(("", "MAMA"))
            self.payer = self.dice.choice(("254712345678", "2547****5678", "0722 ***"))
            self.dice.choice(kinds)()
            self.rows.append(
                paid(
                    self.number,
                    self.at,
                    f"{self.amount}.00",
                    payer=self.payer,
                    reference=self.reference,
                )
            )

    def payment(self, **facts):
        order = OrderFactory(shop=self.shop, total=self.amount)
        created_at = self.at - timedelta(seconds=self.dice.randrange(90))
        body = "".join(self.dice.choices(references.ALPHABET, k=references.LENGTH))
        payment = PaymentFactory(
            order=order,
            phone="254712345678",
            created_at=created_at,
            reference=body + references.check_character(body),
            **facts,
        )
        self.payments.append(payment.pk)
        return payment

    def settle(self, payment, source, receipt=None):
        with transaction.atomic():
            order, held = settlement.locked(payment.pk)
            proof = settlement.Proof(source, receipt, payment.phone, self.at)
            settlement.record_success(order, held, proof)

    def told(self, source, amount=None):
        with transaction.atomic():
            told = Told(self.number, Decimal(amount or self.amount), "2547****678")
            return receipts.sight(self.account, told, source)

    # What may have happened to a payment before its row comes.

    def it_is_new(self):
        pass

    def it_was_called_back(self):
        self.settle(self.payment(), Source.CALLBACK, self.number)

    def it_was_called_back_with_another_amount(self):
        self.settle(self.payment(), Source.CALLBACK, self.number)
        self.amount += 1

    def it_was_proved_without_a_receipt(self):
        self.settle(self.payment(), Source.QUERY)

    def it_is_undecided(self):
        self.payment()

    def it_is_undecided_and_named(self):
        self.reference = self.payment().reference

    def it_failed(self):
        return self.payment(
            status=PaymentStatus.FAILED, failure_reason="wrong_pin", next_ask_at=None,
            decided_at=clock.now(),
        )  # fmt: skip

    def it_failed_and_is_named(self):
        self.reference = self.it_failed().reference

    def it_was_claimed(self):
        self.told(Source.C2B)

    def it_was_claimed_with_another_amount(self):
        self.told(Source.C2B, self.amount + 5)

    def it_was_pulled_and_is_nobodys(self):
        matching.look(self.told(Source.PULL).pk)

    def it_was_counted_and_is_named_by_now(self):
        receipt = self.told(Source.PULL)
        with transaction.atomic():
            direct.collect(Receipt.objects.get(pk=receipt.pk), shop=self.shop)
        self.reference = self.payment().reference

    def it_was_used_and_is_named_by_now(self):
        receipt = self.told(Source.PULL)
        sale = OrderFactory(shop=self.shop, total=self.amount)
        with transaction.atomic():
            collection = direct.collect(
                Receipt.objects.get(pk=receipt.pk), shop=self.shop
            )
            direct.pay(
                sale, collection, collection.amount, actor=self.actor, reason="Hers"
            )
        matching.look(receipt.pk)
        self.reference = self.it_failed().reference

    def it_was_typed(self):
        CodeClaim.objects.create(
            shop=self.shop, order=OrderFactory(shop=self.shop, total=self.amount),
            account=self.account, number=self.number, said_amount=self.amount,
            state=ClaimState.WAITING, created_by=self.actor, created_at=clock.now(),
        )  # fmt: skip

    # How it ends.

    def load(self):
        statement_import.imported(
            account=self.account,
            data=as_csv(self.account, DAY, NEXT, *self.rows),
            file_name="day.csv",
            actor=self.actor,
        )

    def books(self):
        place = {pk: number for number, pk in enumerate(self.payments)}
        collections = [
            (
                one.receipt, one.amount, one.source, one.phone, one.paid_at,
                one.disputed, one.binding, one.confirmed_at, one.allocated,
                one.shop_id == self.shop.pk, one.sighted_at,
                place.get(one.payment_id, one.payment_id and "made"),
                [(a.kind, a.amount) for a in one.allocations.order_by("pk")],
            )
            for one in self.account.collections.order_by("receipt", "amount", "phone")
        ]  # fmt: skip
        told = self.account.receipts.order_by("number").values_list(
            "number", "amount", "payer", "payer_name", "reference", "paid_at",
            "proven_at", "state", "collection__receipt", "alarm", "look_at",
            "sightings__source", "sightings__amount", "sightings__payer",
        )  # fmt: skip
        paid_for = Payment.objects.filter(shop=self.shop)
        return {
            "collections": sorted(collections, key=repr),
            "receipts": sorted(told, key=repr),
            "payments": sorted(paid_for.values_list("amount", "status", "receipt")),
            "claims": sorted(
                CodeClaim.objects.filter(shop=self.shop).values_list(
                    "number", "state", "why"
                )
            ),
        }


@pytest.mark.parametrize("seed", SEEDS)
def test_batches_end_as_each_by_itself_would(
    seed, alice, mpesa, time, monkeypatch, caplog
):
    together = Scene("600201", seed, alice.user)
    alone = Scene("600202", seed, alice.user)
    assert together.books() == alone.books()
    # The next morning, or while M-Pesa may still contradict itself.
    time.now = NEXT + timedelta(hours=6) if seed % 2 else START + timedelta(hours=3.5)
    plain = []
    count = receipt_batches._count_plain

    def counted(account, receipt_ids):
        done = count(account, receipt_ids)
        plain.append(len(done))
        return done

    with monkeypatch.context() as patches:
        patches.setattr(receipt_batches, "_count_plain", counted)
        together.load()
    monkeypatch.setattr(receipt_batches, "_count_plain", lambda account, ids: set())
    alone.load()

    assert together.books() == alone.books()
    assert "Traceback" not in caplog.text
    # At first neither none nor all of them went the short way; young ones may all be
    # looked at by themselves.
    assert (0 if seed % 2 else -1) < plain[0] < 14


# How much it costs.


def numbers(count, first=0):
    return [f"UAE7Q{first + place:05}" for place in range(count)]


def cost(account, actor, rows, name):
    data = as_csv(account, DAY, NEXT, *rows)
    with CaptureQueriesContext(connection) as asked:
        row = statement_import.imported(
            account=account, data=data, file_name=name, actor=actor
        )
    assert row.finished_at is not None
    return len(asked)


@pytest.fixture
def account(duka, time):
    time.now = NEXT + timedelta(hours=6)
    return MpesaAccountFactory(shop=duka)


def told_as(numbers, account):
    """Money that callbacks told: one collection each, used."""
    Collection.objects.bulk_create(
        Collection(
            account=account, environment=account.environment, shop=account.shop,
            receipt=number, amount=250, allocated=250, phone="254712345678",
            source=Source.CALLBACK, binding="token", paid_at=START,
            sighted_at=START,
        )
        for number in numbers
    )  # fmt: skip


@pytest.mark.parametrize("known", [False, True], ids=["new", "called back"])
def test_more_rows_of_a_batch_cost_no_more_queries(account, alice, known):
    costs = []
    for place, count in enumerate((3, 60)):
        some = numbers(count, first=100 * place)
        if known:
            told_as(some, account)
        rows = [paid(one, START) for one in some]
        costs.append(cost(account, alice.user, rows, f"{place}.csv"))

    # SQLite takes some more for more values.
    assert costs[0] <= costs[1] <= costs[0] + 2 < 60


def test_rows_that_a_statement_told_cost_nothing(account, alice, monkeypatch):
    rows = [paid(one, START) for one in numbers(60)]
    cost(account, alice.user, rows, "day.csv")

    assert cost(account, alice.user, rows, "same.csv") < 10
    again = [paid(one, START, payer="2547****5678 - JO") for one in numbers(60)]
    assert cost(account, alice.user, again, "other.csv") < 40
    fuller = [paid(one, START, reference="B") for one in numbers(60)]
    assert cost(account, alice.user, fuller, "fuller.csv") < 60 + 50
    told = []
    monkeypatch.setattr(receipt_batches, "sight_all", lambda *what: told.append(what))
    for name in "BC":
        known = [paid(one, START, reference=name) for one in numbers(60)[::-1]]
        assert cost(account, alice.user, known, f"{name}.csv") < 40
    assert told == []


# When a batch cannot be.


def test_a_batch_that_breaks_is_looked_at_one_by_one(
    account, alice, monkeypatch, caplog
):
    def breaks(account, nobodys):
        raise RuntimeError("a bug")

    monkeypatch.setattr(receipt_batches, "_collect", breaks)

    cost(account, alice.user, [paid(one, START) for one in numbers(3)], "day.csv")

    assert Collection.objects.count() == 3
    assert "could not be counted at once" in caplog.text


def test_a_code_that_is_typed_meanwhile_is_not_overlooked(account, alice, monkeypatch):
    """Typed between the look at the codes and the commit: then nothing is counted."""
    [number] = numbers(1)
    order = OrderFactory(shop=account.shop)
    typed, asked = receipt_batches._typed, []

    def typed_meanwhile(of, told):
        asked.append(told)
        return typed(of, told) if len(asked) == 1 else {number}

    monkeypatch.setattr(receipt_batches, "_typed", typed_meanwhile)
    original = matching.look

    def look(receipt_id):
        assert Collection.objects.count() == 0
        CodeClaim.objects.get_or_create(
            shop=account.shop, order=order, account=account, number=number,
            said_amount=250, created_by=alice.user, created_at=clock.now(),
        )  # fmt: skip
        monkeypatch.setattr(matching, "look", original)
        return original(receipt_id)

    monkeypatch.setattr(matching, "look", look)

    cost(account, alice.user, [paid(number, START)], "day.csv")

    assert CodeClaim.objects.get().state == ClaimState.USED
    [collection] = Collection.objects.all()
    assert collection.payment.order == order
