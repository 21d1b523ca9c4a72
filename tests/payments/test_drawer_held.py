"""Money counted as nobody's, and prompts of the same amount close to it in time.

Our clock and M-Pesa's may differ by two minutes, so a payment that was made after the
money came may look as if it were paid with it. Whose is it then?
"""

import pytest
from django.db import transaction

from payments import (
    drawer,
    drawer_checks,
    ledger,
    matching,
    receipts,
    refunds,
    settlement,
)
from payments.drawer_refusals import HeldMoney
from payments.enums import Source
from payments.ledger import SpentAlready
from payments.models import Collection, Payment, Receipt, Refund
from payments.receipts import Told
from payments.settlement import Proof
from shops.tenancy import Access
from smartduka.lib import clock
from tests.factories import OrderFactory, PaymentFactory
from tests.support.facts import kes, nothing_changes, sale_of
from tests.support.gateway import final
from tests.support.own_till import own_till


pytestmark = pytest.mark.django_db

HERS, HIS = "UAE5B2K9QT", "UAE5B2K9QU"
FULL, HIDDEN, OTHERS = "254712345678", "", "2547 ***** 111"


@pytest.fixture(autouse=True)
def _quiet(messages, time, mpesa):
    return messages


@pytest.fixture
def account(duka):
    return own_till(duka)


@pytest.fixture
def boss(alice):
    return Access(alice.user, alice.shop, "owner")


def sight(account, number=HERS, payer=HIDDEN, source=Source.PULL):
    with transaction.atomic():
        told = Told(number, kes(250), payer, "JANE", paid_at=clock.now())
        receipt = receipts.sight(account, told, source)
    matching.resolve(receipt.pk)
    receipt.refresh_from_db()
    return receipt


def query_says_paid(payment):
    """Its callback is lost, and a question proves the money without a receipt."""
    with transaction.atomic():
        order, held = settlement.locked(payment.pk)
        settlement.record_success(order, held, Proof(Source.QUERY))


def apply(boss, receipt, order):
    return drawer.apply(
        access=boss,
        piece=f"collection:{receipt.collection_id}",
        order_id=order.pk,
        reason="It is hers",
    )


def give_back(boss, receipt):
    return refunds.ask(
        access=boss, collection_id=receipt.collection_id, method="cash", amount=250,
        reason="It is hers", restocks=False,
    )  # fmt: skip


def books():
    """Each collection's receipt, and the sale that has its money."""
    return [
        (one.receipt, *(part.order.number for part in ledger.current(one)))
        for one in Collection.objects.order_by("pk")
    ]


@pytest.fixture
def by_hand_then_prompt(duka, account, time):
    """She paid by hand, unseen; a minute later another sale's customer is asked."""
    hers, his = OrderFactory(shop=duka), OrderFactory(shop=duka)
    receipt = sight(account)
    assert receipt.state == "counted"
    time.turn(60)
    payment = PaymentFactory(order=his, phone=FULL)
    time.turn(20)
    # By the two clocks alone this money may be the prompt's.
    assert receipts.candidates(receipt) == [payment]
    return hers, his, receipt, payment


def test_drawer_takes_nothing_from_a_prompt_made_after_the_money_came(
    by_hand_then_prompt, account, boss
):
    hers, his, receipt, payment = by_hand_then_prompt

    apply(boss, receipt, hers)
    query_says_paid(payment)
    sight(account, HIS, FULL)

    assert books() == [(HERS, hers.number), (HIS, his.number)]
    assert [sale_of(one)[0] for one in (hers, his)] == ["paid", "paid"]


def test_prompt_made_after_the_money_came_takes_nothing_from_the_drawer(
    by_hand_then_prompt, account, boss
):
    hers, his, receipt, payment = by_hand_then_prompt

    query_says_paid(payment)
    apply(boss, receipt, hers)
    sight(account, HIS, FULL)

    assert books() == [(HERS, hers.number), (HIS, his.number)]
    payment.refresh_from_db()
    assert payment.receipt == HIS


def test_by_the_clocks_alone_the_prompt_took_her_money(
    by_hand_then_prompt, boss, monkeypatch
):
    hers, his, receipt, payment = by_hand_then_prompt
    monkeypatch.setattr(receipts, "OWN_CLOCKS", receipts.CLOCK_SKEW)

    query_says_paid(payment)

    assert books() == [(HERS, his.number)]
    with nothing_changes(), pytest.raises(SpentAlready):
        apply(boss, receipt, hers)


def test_money_seen_after_the_prompt_was_made_is_still_its(duka, account, time):
    """A prompt that failed first, and was paid after all."""
    payment = PaymentFactory(order=OrderFactory(shop=duka), phone=FULL)
    with transaction.atomic():
        order, held = settlement.locked(payment.pk)
        settlement.record_failure(order, held, "1032", source=Source.QUERY)
    time.turn(10)
    held.asked_at = time.now
    held.save(update_fields=["asked_at"])
    sight(account, payer=FULL)

    query_says_paid(payment)

    assert books() == [(HERS, payment.order.number)]


@pytest.fixture
def prompts_own(duka, account, time):
    """A prompt's own money, counted as nobody's while its payer was shown wrongly."""
    payment = PaymentFactory(order=OrderFactory(shop=duka), phone=FULL)
    time.turn(20)
    receipt = sight(account, payer=OTHERS)
    assert receipt.state == "counted"
    receipt = sight(account, payer=FULL, source=Source.STATEMENT)
    return payment, receipt


def test_money_of_a_prompt_under_way_is_not_the_drawers(prompts_own, duka, boss, mpesa):
    payment, receipt = prompts_own
    other = OrderFactory(shop=duka)

    with pytest.raises(HeldMoney):
        apply(boss, receipt, other)
    with pytest.raises(HeldMoney):
        drawer.keep_as_credit(
            access=boss,
            piece=f"collection:{receipt.collection_id}",
            customer="Mama Njeri",
            reason="hers",
        )
    assert mpesa.questions == [payment.checkout_request_id]

    query_says_paid(payment)
    assert books() == [(HERS, payment.order.number)]
    assert sale_of(other) == ("open", kes(0), kes(250), kes(0))


def test_money_of_a_prompt_under_way_does_not_go_back(prompts_own, boss, mpesa):
    payment, receipt = prompts_own

    with pytest.raises(HeldMoney):
        give_back(boss, receipt)

    assert mpesa.questions == [payment.checkout_request_id]
    assert not Refund.objects.exists()
    mpesa.answers[payment.checkout_request_id] = final("1032")
    Payment.objects.filter(pk=payment.pk).update(asked_at=None)
    assert give_back(boss, receipt).state == "done"


def test_prompt_that_was_not_paid_lets_the_money_go(prompts_own, duka, boss, mpesa):
    payment, receipt = prompts_own
    mpesa.answers[payment.checkout_request_id] = final("1032")
    other = OrderFactory(shop=duka)

    apply(boss, receipt, other)

    assert books() == [(HERS, other.number)]


def test_without_the_guard_one_shilling_was_counted_twice(
    prompts_own, duka, boss, monkeypatch
):
    payment, receipt = prompts_own
    other = OrderFactory(shop=duka)
    monkeypatch.setattr(drawer_checks, "waiting_for", lambda collection: [])
    monkeypatch.setattr(drawer, "waiting_for", lambda collection: [])

    apply(boss, receipt, other)
    query_says_paid(payment)

    # M-Pesa has one payment of 250 for these two.
    assert books() == [(HERS, other.number), (None, payment.order.number)]
    assert Receipt.objects.count() == 1
