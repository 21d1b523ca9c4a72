"""Money that people used, and that was guessed to be a payment's only afterwards."""

import pytest

from payments import (
    accounts,
    cash,
    corrections,
    disputes,
    drawer,
    gateways,
    matching,
    precedence,
    refunds,
    reversals,
)
from payments.enums import Source
from payments.models import Collection, MpesaSettings, Refund
from payments.refund_refusals import ChangedMeanwhile
from payments.settlement import Outcome
from shops.tenancy import Access
from smartduka.lib import clock
from tests.factories import (
    OrderFactory,
    PaymentFactory,
    ShopFactory,
)
from tests.support.facts import kes, nothing_changes, sale_of
from tests.support.organisation import FakeOrganisation, result, tell
from tests.support.own_till import FULL, R1, R2, fail, kinds, own_till, sight, succeed


pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _quiet(messages, time, mpesa):
    return messages


@pytest.fixture
def organisation(monkeypatch):
    fake = FakeOrganisation()
    monkeypatch.setattr(gateways, "organisation", lambda: fake)
    return fake


@pytest.fixture
def account(duka):
    return own_till(duka, initiator_name="api", initiator_password="secret")


@pytest.fixture
def payment(order, account, time):
    return PaymentFactory(order=order, phone=FULL)


@pytest.fixture
def manager(mary):
    return Access(mary.user, mary.shop, "manager")


@pytest.fixture
def owner(alice):
    return Access(alice.user, alice.shop, "owner")


def use(manager, receipt, how):
    if how == "credit":
        drawer.keep_as_credit(
            access=manager, piece=f"collection:{receipt.collection_id}",
            customer="0712345678", reason="Nobody knows for what",
        )  # fmt: skip
        return
    refunds.ask(
        access=manager, collection_id=receipt.collection_id, method="cash",
        amount=100 if how == "in part" else 250, reason="He was here", restocks=False,
    )  # fmt: skip


@pytest.fixture
def guessed(account, payment, manager, request):
    """R1 was used as nobody's; then a question proved the prompt that it may fit."""
    fail(payment)
    use(manager, sight(account), getattr(request, "param", "refunded"))
    succeed(payment, None, Source.QUERY)
    payment.refresh_from_db()
    assert (payment.receipt, sale_of(payment.order)[0]) == (R1, "open")
    return Collection.objects.get()


@pytest.mark.parametrize("is_told", [False, True], ids=["unknown", "nobody's"])
@pytest.mark.parametrize("guessed", ["refunded", "credit", "in part"], indirect=True)
def test_its_own_receipt_brings_its_own_money(guessed, payment, account, is_told):
    used = [one for one in kinds(guessed) if one[0] != "sale"]
    if is_told:
        sight(account, R2)

    assert succeed(payment, R2) == Outcome.ADDED
    for receipt_id in matching.due(10):
        matching.look(receipt_id)

    before, own = Collection.objects.order_by("pk")
    assert (before.receipt, before.payment_id, kinds(before)) == (R1, None, used)
    assert (own.receipt, own.payment_id) == (R2, payment.pk)
    assert kinds(own) == [("sale", kes(250), payment.order_id)]
    assert sale_of(payment.order) == ("paid", kes(250), kes(0), kes(0))
    payment.refresh_from_db()
    assert (payment.status, payment.receipt, payment.alarm) == ("completed", R2, "")


@pytest.mark.parametrize("is_same_sale", [False, True])
def test_who_loses_it_to_its_payment_has_its_own(
    guessed, payment, order, duka, is_same_sale
):
    """The callback of another prompt names R1: what went back was that one's."""
    sale = order if is_same_sale else OrderFactory(shop=duka)
    other = PaymentFactory(order=sale, phone="254712340678", amount=250)

    assert succeed(other, R1) == Outcome.COMPLETED

    before, own = Collection.objects.order_by("pk")
    assert (before.receipt, before.payment_id) == (R1, other.pk)
    assert kinds(before) == [("refunded", kes(250), None)]
    assert (own.receipt, own.payment_id) == (None, payment.pk)
    assert kinds(own) == [("sale", kes(250), order.pk)]
    assert sale_of(order) == ("paid", kes(250), kes(0), kes(0))
    for one, alarm in ((payment, ""), (other, precedence.WENT_BACK)):
        one.refresh_from_db()
        assert (one.status, one.alarm) == ("completed", alarm)


@pytest.mark.parametrize("total", [250, 400], ids=["paid", "open"])
def test_what_does_not_go_back_is_for_the_sale_of_its_owner(
    account, payment, order, manager, alice, duka, total
):
    """It had paid another sale, and waited to go back when its callback came."""
    fail(payment)
    MpesaSettings.objects.update(second_person_from=100)
    mine = OrderFactory(shop=duka, total=total)
    receipt = sight(account)
    typed = drawer.apply(
        access=manager, piece=f"collection:{receipt.collection_id}",
        order_id=mine.pk, reason="It is this one's",
    )  # fmt: skip
    refund = refunds.ask(
        access=manager, collection_id=receipt.collection_id, method="cash",
        amount=250, reason="He was here", restocks=False,
    )  # fmt: skip
    succeed(payment, R1)
    assert sale_of(order)[0] == "open"

    refunds.refuse(
        access=Access(alice.user, alice.shop, "owner"), refund_id=refund.pk, reason="No"
    )

    (collection,) = Collection.objects.all()
    assert kinds(collection) == [("sale", kes(250), order.pk)]
    assert sale_of(order) == ("paid", kes(250), kes(0), kes(0))
    left = ("paid", kes(250), kes(0)) if total == 250 else ("open", kes(0), kes(400))
    assert sale_of(mine)[:3] == left
    for one, alarm in ((payment, ""), (typed, precedence.ANOTHER_SALES)):
        one.refresh_from_db()
        assert one.alarm == alarm


def test_a_sale_paid_by_other_money_meanwhile_needs_nothing(
    account, payment, order, manager, owner, bob, duka
):
    """Its KES 250 waited to go back, it was paid in cash, and they were another's."""
    fail(payment)
    MpesaSettings.objects.update(second_person_from=100)
    mine = OrderFactory(shop=duka, total=400)
    receipt = sight(account)
    typed = drawer.apply(
        access=manager, piece=f"collection:{receipt.collection_id}",
        order_id=mine.pk, reason="It is this one's",
    )  # fmt: skip
    use(manager, receipt, "refunded")
    seller = Access(bob.user, bob.shop, "cashier")
    cash.take(access=seller, order_id=mine.pk, amount=400, key=None)
    succeed(payment, R1)

    refund = Refund.objects.get()
    refunds.refuse(access=owner, refund_id=refund.pk, reason="It is hers")

    assert sale_of(order) == ("paid", kes(250), kes(0), kes(0))
    assert sale_of(mine) == ("paid", kes(400), kes(0), kes(0))
    typed.refresh_from_db()
    assert typed.alarm == precedence.ANOTHERS


def test_who_lost_the_rest_of_it_is_told_though_its_sale_is_paid(
    account, payment, order, manager, owner, bob, duka
):
    """As above; but KES 50 had gone back before, so it was nobody's in the books."""
    fail(payment)
    MpesaSettings.objects.update(second_person_from=100)
    mine = OrderFactory(shop=duka, total=400)
    receipt = sight(account)
    piece = f"collection:{receipt.collection_id}"
    back = {
        "access": manager, "collection_id": receipt.collection_id, "method": "cash",
        "reason": "He was here", "restocks": False,
    }  # fmt: skip
    refunds.ask(amount=50, **back)
    typed = drawer.apply(
        access=manager, piece=piece, order_id=mine.pk, reason="It is this one's"
    )
    refund = refunds.ask(amount=200, **back)
    assert refund.state == "asked"
    seller = Access(bob.user, bob.shop, "cashier")
    cash.take(access=seller, order_id=mine.pk, amount=400, key=None)
    succeed(payment, R1)

    refunds.refuse(access=owner, refund_id=refund.pk, reason="It is hers")

    assert sale_of(order) == ("open", kes(200), kes(50), kes(0))
    assert sale_of(mine) == ("paid", kes(400), kes(0), kes(0))
    typed.refresh_from_db()
    assert typed.alarm == precedence.ANOTHERS


@pytest.mark.parametrize("is_reversed", [False, True])
def test_what_does_not_go_back_and_was_nobodys_pays_if_it_is_there(
    account, payment, order, manager, alice, is_reversed
):
    fail(payment)
    MpesaSettings.objects.update(second_person_from=100)
    use(manager, sight(account), "refunded")
    succeed(payment, R1)
    refund = Collection.objects.get().refunds.get()
    if is_reversed:
        reversals.prove_reversed(
            refund.collection, receipt="", source=Source.STATEMENT, at=clock.now()
        )
        assert sale_of(order) == ("open", kes(0), kes(250), kes(0))
        return

    refunds.refuse(
        access=Access(alice.user, alice.shop, "owner"), refund_id=refund.pk, reason="No"
    )

    assert sale_of(order) == ("paid", kes(250), kes(0), kes(0))
    payment.refresh_from_db()
    assert payment.alarm == ""


@pytest.mark.parametrize("source", [Source.CALLBACK, Source.QUERY])
def test_what_found_its_payment_meanwhile_is_not_let_go(
    account, payment, order, manager, alice, source
):
    """It waited for a second person as nobody's; it may only be refused then."""
    fail(payment)
    MpesaSettings.objects.update(second_person_from=100)
    use(manager, sight(account), "refunded")
    succeed(payment, R1 if source == Source.CALLBACK else None, source)
    owner, refund = Access(alice.user, alice.shop, "owner"), Refund.objects.get()

    with nothing_changes(), pytest.raises(ChangedMeanwhile, match="Refuse the refund"):
        refunds.approve(access=owner, refund_id=refund.pk)

    refunds.refuse(access=owner, refund_id=refund.pk, reason="It is hers")
    assert kinds(Collection.objects.get()) == [("sale", kes(250), order.pk)]
    assert sale_of(order) == ("paid", kes(250), kes(0), kes(0))


@pytest.fixture
def stayed(account, payment, manager, alice, organisation, request):
    """R1 waited to go back; a question proved the prompt that it fits; it stayed."""
    fail(payment)
    how, amount = getattr(request, "param", ("refused by a person", 250))
    MpesaSettings.objects.update(
        second_person_from=100 if how == "refused by a person" else 5000
    )
    receipt = sight(account)
    refund = refunds.ask(
        access=manager, collection_id=receipt.collection_id, amount=amount,
        method="cash" if how == "refused by a person" else "reversal",
        reason="He was here", restocks=False,
    )  # fmt: skip
    succeed(payment, None, Source.QUERY)
    payment.refresh_from_db()
    assert (payment.receipt, payment.alarm) == (R1, precedence.WENT_BACK)
    if how == "refused by a person":
        owner = Access(alice.user, alice.shop, "owner")
        refunds.refuse(access=owner, refund_id=refund.pk, reason="No")
    else:
        tell(refund.request, result(refund.request, 1))
    return Collection.objects.get()


STAYED = [
    ("refused by a person", 250), ("refused by a person", 100), ("by M-Pesa", 250),
]  # fmt: skip


@pytest.mark.parametrize("stayed", STAYED, indirect=True)
def test_what_did_not_go_back_pays_the_sale_it_was_guessed_for(stayed, payment, order):
    assert sum(amount for _, amount, _ in kinds(stayed)) == kes(250)
    assert {(kind, sale) for kind, _, sale in kinds(stayed)} == {("sale", order.pk)}
    assert sale_of(order) == ("paid", kes(250), kes(0), kes(0))
    payment.refresh_from_db()
    assert (payment.status, payment.receipt, payment.alarm) == ("completed", R1, "")


def test_the_callback_confirms_what_did_not_go_back(stayed, payment, order):
    assert succeed(payment, R1) == Outcome.DUPLICATE

    stayed.refresh_from_db()
    assert (stayed.binding, kinds(stayed)) == (
        "token", [("sale", kes(250), order.pk)],
    )  # fmt: skip
    assert sale_of(order) == ("paid", kes(250), kes(0), kes(0))


@pytest.mark.parametrize("total", [250, 400], ids=["paid", "open"])
def test_the_callback_has_another_receipt_than_what_did_not_go_back(
    account, duka, manager, alice, time, total
):
    """R1 is somebody else's, and the sale was paid by R2."""
    sale = OrderFactory(shop=duka, total=total)
    payment = PaymentFactory(order=sale, phone=FULL, amount=250)
    fail(payment)
    MpesaSettings.objects.update(second_person_from=100)
    use(manager, sight(account), "refunded")
    succeed(payment, None, Source.QUERY)
    owner, refund = Access(alice.user, alice.shop, "owner"), Refund.objects.get()
    refunds.refuse(access=owner, refund_id=refund.pk, reason="No")

    succeed(payment, R2)
    for receipt_id in matching.due(10):
        matching.look(receipt_id)

    nobodys, own = (Collection.objects.get(receipt=one) for one in (R1, R2))
    assert (nobodys.payment, kinds(nobodys)) == (None, [])
    assert (own.payment, kinds(own)) == (payment, [("sale", kes(250), sale.pk)])
    assert sale_of(sale)[1:] == (kes(250), kes(total - 250), kes(0))
    payment.refresh_from_db()
    assert (payment.receipt, payment.alarm) == (R2, "")


def test_a_guess_takes_no_credit_that_did_not_go_back(
    account, payment, order, manager, alice
):
    """A person had kept it for a customer before it was to go back to him."""
    fail(payment)
    MpesaSettings.objects.update(second_person_from=100)
    receipt = sight(account)
    use(manager, receipt, "credit")
    use(manager, receipt, "refunded")
    succeed(payment, None, Source.QUERY)

    owner, refund = Access(alice.user, alice.shop, "owner"), Refund.objects.get()
    refunds.refuse(access=owner, refund_id=refund.pk, reason="No")

    assert kinds(Collection.objects.get()) == [("credit", kes(250), None)]
    assert sale_of(order) == ("open", kes(0), kes(250), kes(0))
    payment.refresh_from_db()
    assert payment.alarm == precedence.WAS_KEPT


@pytest.mark.parametrize("binding", [None, R1], ids=["guessed", "named"])
def test_what_did_go_back_before_is_still_told(
    account, payment, order, manager, alice, binding
):
    fail(payment)
    MpesaSettings.objects.update(second_person_from=150)
    receipt = sight(account)
    use(manager, receipt, "in part")
    refund = refunds.ask(
        access=manager, collection_id=receipt.collection_id, method="cash",
        amount=150, reason="He was here", restocks=False,
    )  # fmt: skip
    succeed(payment, binding, Source.CALLBACK if binding else Source.QUERY)

    owner = Access(alice.user, alice.shop, "owner")
    refunds.refuse(access=owner, refund_id=refund.pk, reason="No")

    assert kinds(Collection.objects.get()) == [
        ("refunded", kes(100), None), ("sale", kes(150), order.pk),
    ]  # fmt: skip
    assert sale_of(order) == ("open", kes(150), kes(100), kes(0))
    payment.refresh_from_db()
    assert payment.alarm == precedence.WENT_BACK


def test_what_another_shop_used_is_not_guessed_to_be_a_prompts(
    duka, manager, operator, time
):
    """On the shared account: the operator handed it over, and it was kept there."""
    account = accounts.platform_account()
    there = ShopFactory(platform=True)
    payment = PaymentFactory(order=OrderFactory(shop=there), phone=FULL)
    fail(payment)
    receipt = sight(account)
    drawer.hand_to_shop(operator.user, receipt.collection, duka)
    use(manager, receipt, "credit")

    succeed(payment, None, Source.QUERY)

    kept, own = Collection.objects.order_by("pk")
    assert (kept.shop, kept.payment, kinds(kept)) == (
        duka, None, [("credit", kes(250), None)],
    )  # fmt: skip
    assert (own.shop, own.payment, own.receipt) == (there, payment, None)
    assert own.disputed == precedence.PERHAPS
    payment.refresh_from_db()
    assert (payment.status, payment.alarm) == ("completed", precedence.PERHAPS)
    assert not payment.events.filter(reason__contains=R1).exists()


@pytest.fixture
def doubtful(account, payment, duka, manager):
    """A person paid another sale with what fits a prompt that M-Pesa called unpaid.

    Then M-Pesa says that the prompt was paid: by that very money, as like as not.
    """
    fail(payment)
    elsewhere = OrderFactory(shop=duka, total=250)
    drawer.apply(
        access=manager, piece=f"collection:{sight(account).collection_id}",
        order_id=elsewhere.pk, reason="It is hers",
    )  # fmt: skip
    succeed(payment, None, Source.QUERY)
    return elsewhere


def doubt(payment):
    rows = Collection.objects.filter(payment=payment)
    payment.refresh_from_db()
    [(receipt, why)] = rows.values_list("receipt", "disputed")
    return receipt, why, payment.status, payment.receipt, payment.alarm


def test_what_may_pay_another_sale_already_is_counted_and_disputed(doubtful, payment):
    assert doubt(payment) == (
        None, precedence.PERHAPS, "completed", "", precedence.PERHAPS,
    )  # fmt: skip
    assert payment.events.latest("pk").reason == f"Perhaps its money: receipt {R1}"
    assert [sale_of(sale)[0] for sale in (payment.order, doubtful)] == ["paid", "paid"]
    used = Collection.objects.get(receipt=R1)
    assert (used.disputed, kinds(used)) == ("", [("sale", kes(250), doubtful.pk)])


@pytest.mark.parametrize("source", [Source.CALLBACK, Source.PULL])
def test_that_doubt_ends_with_a_receipt_of_its_own(doubtful, payment, account, source):
    if source == Source.CALLBACK:
        assert succeed(payment, R2) == Outcome.FILLED
    else:
        sight(account, R2)

    assert doubt(payment) == (R2, "", "completed", R2, "")
    assert [sale_of(sale)[0] for sale in (payment.order, doubtful)] == ["paid", "paid"]


def test_that_doubt_ends_when_m_pesa_says_that_it_is_the_same_money(doubtful, payment):
    assert succeed(payment, R1) == Outcome.FILLED

    double = Collection.objects.get(receipt=None)
    assert kinds(double) == [("correction", kes(250), None)]
    assert doubt(payment) == (R1, "", "completed", R1, "")
    assert sale_of(payment.order)[0] == "paid"
    [other] = doubtful.payments.all()
    assert other.alarm == precedence.ANOTHER_SALES


def test_who_loses_a_receipt_while_what_fits_it_was_used(
    account, payment, duka, manager
):
    """Two prompts on one phone, and each was guessed to have the other's receipt."""
    second = PaymentFactory(order=OrderFactory(shop=duka), phone=FULL)
    fail(payment)
    succeed(second, None, Source.QUERY)
    sight(account, R1)
    use(manager, sight(account, R2), "credit")
    succeed(payment, None, Source.QUERY)
    receipts_of = Collection.objects.order_by("pk").values_list("receipt", "payment")
    assert list(receipts_of) == [(R1, second.pk), (R2, payment.pk)]

    assert succeed(payment, R1) == Outcome.ADDED

    assert doubt(payment) == (R1, "", "completed", R1, "")
    assert doubt(second) == (
        None, precedence.PERHAPS, "completed", "", precedence.PERHAPS,
    )  # fmt: skip
    kept = Collection.objects.get(receipt=R2)
    assert (kept.payment, kinds(kept)) == (None, [("credit", kes(250), None)])


def test_who_loses_a_receipt_while_its_own_went_back_for_another(
    account, payment, duka, time
):
    """As above, but M-Pesa sent back what the first had by a guess."""
    second = PaymentFactory(order=OrderFactory(shop=duka), phone=FULL)
    fail(payment)
    succeed(second, None, Source.QUERY)
    sight(account, R1)
    succeed(payment, None, Source.QUERY)
    back = sight(account, R2).collection
    Collection.objects.filter(pk=back.pk).update(reversed_at=clock.now())
    assert back.payment_id == payment.pk

    assert succeed(payment, R1) == Outcome.ADDED

    assert doubt(second) == (
        None, precedence.PERHAPS, "completed", "", precedence.PERHAPS,
    )  # fmt: skip


def test_a_prompt_with_money_of_its_own_takes_nobody_elses(account, payment, duka):
    """It has another's receipt by a guess; both were paid, so nothing is twice."""
    second = PaymentFactory(order=OrderFactory(shop=duka), phone=FULL)
    fail(second)
    succeed(payment, None, Source.QUERY)
    sight(account, R1)

    succeed(second, None, Source.QUERY)

    assert doubt(payment) == (R1, "", "completed", R1, "")
    assert doubt(second) == (None, "", "completed", "", "")


@pytest.mark.parametrize("seen", ["before the prompt", "of another amount"])
def test_what_cannot_be_its_money_raises_no_doubt(
    account, duka, manager, time, seen
):  # fmt: skip
    receipt = sight(account)
    drawer.apply(
        access=manager, piece=f"collection:{receipt.collection_id}",
        order_id=OrderFactory(shop=duka, total=250).pk, reason="It is hers",
    )  # fmt: skip
    if seen == "before the prompt":
        time.turn(60)
    total = 250 if seen == "before the prompt" else 300
    payment = PaymentFactory(order=OrderFactory(shop=duka, total=total), phone=FULL)

    succeed(payment, None, Source.QUERY)

    assert doubt(payment) == (None, "", "completed", "", "")


@pytest.fixture
def corrected(order, duka, mary, alice, time):
    """What a question proved no statement had: two people took it out of the books."""
    account = accounts.platform_account()
    payment = PaymentFactory(order=order, phone=FULL)
    succeed(payment, None, Source.QUERY)
    receipt = sight(account, payer="")
    answered = Collection.objects.get(payment=payment)
    Collection.objects.filter(pk=answered.pk).update(disputed=disputes.MISSING)
    asked = corrections.ask_correction(
        access=Access(mary.user, duka, "manager"), collection_id=answered.pk,
        amount=kes(-250), reason="The statement lacks it",
    )  # fmt: skip
    corrections.book(access=Access(alice.user, duka, "owner"), correction_id=asked.pk)
    return payment, receipt


def test_what_was_corrected_away_takes_no_true_money_along(corrected):
    """Then the callback names the receipt, which had been counted as nobody's."""
    payment, receipt = corrected

    assert succeed(payment, R1) == Outcome.ADDED

    gone, true = Collection.objects.order_by("pk")
    assert [disputes.counted_of(one) for one in (gone, true)] == [0, kes(250)]
    assert (gone.receipt, true.receipt, true.pk) == (None, R1, receipt.collection_id)
    assert true.payment_id == payment.pk
    payment.refresh_from_db()
    assert payment.alarm == precedence.CAME_LATE


def test_what_was_corrected_away_holds_no_other_money(corrected, operator):
    _, receipt = corrected
    sight(receipt.account, source=Source.STATEMENT)

    refund = refunds.ask(
        access=refunds.Operator(operator.user), method="cash", restocks=False,
        collection_id=receipt.collection_id, amount=250, reason="He was here",
    )  # fmt: skip

    assert refund.state == "done"


def test_a_receipt_does_not_fill_what_was_corrected_away(corrected):
    payment, _ = corrected

    assert succeed(payment, R2) == Outcome.ADDED

    assert disputes.counted_of(Collection.objects.get(receipt=R2)) == kes(250)


@pytest.mark.parametrize("total", [250, 400], ids=["paid", "open"])
def test_own_money_that_comes_late_is_no_second_payment(account, duka, time, total):
    """The push's answer was lost, and another prompt's receipt was guessed to be its."""
    sale = OrderFactory(shop=duka, total=total)
    payment = PaymentFactory(
        order=sale, phone=FULL, amount=250, checkout_request_id=None
    )
    sight(account, payer=FULL)
    other = PaymentFactory(order=OrderFactory(shop=duka), phone=FULL)
    succeed(other, R1)
    payment.refresh_from_db()
    assert payment.alarm == precedence.ANOTHER_SALES

    assert succeed(payment, R2) == Outcome.ADDED

    own = Collection.objects.get(receipt=R2)
    kind, alarm = ("surplus", precedence.CAME_LATE) if total == 250 else ("sale", "")
    assert kinds(own) == [(kind, kes(250), sale.pk)]
    payment.refresh_from_db()
    assert (payment.receipt, payment.alarm) == (R2, alarm)
