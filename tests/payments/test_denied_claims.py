"""Money that only a notice claims, when M-Pesa's own answer says otherwise."""

import pytest
from django.db import transaction

from payments import (
    disputes,
    drawer,
    gateways,
    inquiries,
    matching,
    receipts,
    references,
)
from payments.drawer_refusals import NotConfirmed
from payments.enums import Source
from payments.models import Collection, MpesaSettings, Payment, Receipt
from payments.receipts import Told
from shops.tenancy import Access
from tests.factories import MpesaAccountFactory, PaymentFactory
from tests.support.facts import kes, sale_of
from tests.support.gateway import PENDING
from tests.support.organisation import FakeOrganisation, result, status, tell
from tests.support.own_till import FULL, fail, succeed


pytestmark = pytest.mark.django_db

NUMBER, OTHER, THIRD = "UAE5B2K9QT", "UAE5B2K9QU", "UAE5B2K9QV"


@pytest.fixture(autouse=True)
def organisation(monkeypatch, messages, time, mpesa):
    fake = FakeOrganisation()
    monkeypatch.setattr(gateways, "organisation", lambda: fake)
    return fake


@pytest.fixture
def account(duka):
    """The shop's own till, with an initiator; claims up to KES 1,000 may be spent."""
    account = MpesaAccountFactory(
        shop=duka, type="till", shortcode="600300", party_b="300300",
        initiator_name="api", initiator_password="secret",
    )  # fmt: skip
    MpesaSettings.objects.update_or_create(
        shop=duka,
        defaults={
            "account": account, "uses_platform_account": False, "claimed_limit": 1000,
        },
    )  # fmt: skip
    return account


@pytest.fixture
def manager(mary):
    return Access(mary.user, mary.shop, "manager")


def sight(account, source, number=NUMBER, amount=250, **facts):
    with transaction.atomic():
        told = Told(number, kes(amount), "2547 ***** 678", "JANE", **facts)
        receipt = receipts.sight(account, told, source)
    matching.resolve(receipt.pk)
    receipt.refresh_from_db()
    return receipt


DENIALS = {
    "unknown": lambda request: result(request, 25),
    "undone": lambda request: status(request, word="Cancelled"),
    "reversed": lambda request: status(request, word="Reversed"),
    "another's": lambda request: status(request, payee="600999 - ANOTHER SHOP"),
}


@pytest.mark.parametrize("how", DENIALS)
def test_what_mpesa_denied_pays_no_sale(account, order, manager, how):
    receipt = sight(account, Source.C2B)
    request = inquiries.ask_status(account, NUMBER)
    tell(request, DENIALS[how](request))

    with pytest.raises(NotConfirmed):
        drawer.apply(
            access=manager, piece=f"receipt:{receipt.pk}", order_id=order.pk,
            reason="The customer says so", has_looked=True,
        )  # fmt: skip

    assert not Payment.objects.exists()


@pytest.mark.parametrize("how", ["unknown", "undone", "another's"])
def test_what_mpesas_books_have_later_is_money_all_the_same(
    account, order, manager, how
):
    sight(account, Source.C2B)
    request = inquiries.ask_status(account, NUMBER)
    tell(request, DENIALS[how](request))

    receipt = sight(account, Source.PULL)

    assert receipt.state == "counted"
    drawer.apply(
        access=manager, piece=f"receipt:{receipt.pk}", order_id=order.pk,
        reason="The customer says so",
    )  # fmt: skip


def test_what_is_denied_while_the_customer_is_asked_about_pays_no_sale(
    account, order, manager, mpesa
):
    """The answer comes while the sale's own prompt is asked about (law 6)."""
    receipt = sight(account, Source.C2B)
    request = inquiries.ask_status(account, NUMBER)
    PaymentFactory(order=order, amount=kes(100), phone="254700000001")

    def meanwhile(_):
        tell(request, DENIALS["unknown"](request))
        return PENDING

    mpesa.otherwise = meanwhile

    with pytest.raises(NotConfirmed):
        drawer.apply(
            access=manager, piece=f"receipt:{receipt.pk}", order_id=order.pk,
            reason="The customer says so", has_looked=True,
        )  # fmt: skip

    assert not Payment.objects.filter(method="c2b").exists()


def test_what_was_sent_back_before_it_was_told_is_no_money(account, order, manager):
    """M-Pesa's list still has the payment; its own answer said that it went back."""
    request = inquiries.ask_status(account, NUMBER)
    tell(request, status(request, word="Reversed", payee="600300 - MAMA MBOGA"))

    sight(account, Source.PULL)

    (collection,) = Collection.objects.all()
    assert collection.reversed_at is not None


SPENT_DENIALS = {how: DENIALS[how] for how in ("unknown", "undone", "another's")}


@pytest.fixture
def paybill(duka):
    """The shop's own paybill; claims up to KES 1,000 may be spent."""
    account = MpesaAccountFactory(
        shop=duka, shortcode="600300", party_b="600300",
        initiator_name="api", initiator_password="secret",
    )  # fmt: skip
    MpesaSettings.objects.update_or_create(
        shop=duka,
        defaults={
            "account": account, "uses_platform_account": False, "claimed_limit": 1000,
        },
    )  # fmt: skip
    return account


def use(receipt, order, manager):
    return drawer.apply(
        access=manager, piece=f"receipt:{receipt.pk}", order_id=order.pk,
        reason="The customer says so",
    )  # fmt: skip


def pay_by_reference(account, order):
    payment = PaymentFactory(order=order, reference=references.new_reference())
    fail(payment)
    sight(account, Source.C2B, reference=payment.reference)
    return payment


def doubts():
    """What is disputed, and the payments' alarms with the last word of each."""
    payments = Payment.objects.order_by("created_at")
    return (
        list(Collection.objects.values_list("receipt", "disputed")),
        [(one.status, one.alarm, one.events.last().source) for one in payments],
    )


@pytest.mark.parametrize("how", SPENT_DENIALS)
@pytest.mark.parametrize("by", ["a person", "its reference"])
def test_what_was_spent_before_mpesa_denied_it_is_disputed(
    paybill, order, manager, how, by
):
    if by == "a person":
        use(sight(paybill, Source.C2B), order, manager)
    else:
        pay_by_reference(paybill, order)
    assert sale_of(order)[0] == "paid"

    request = inquiries.ask_status(paybill, NUMBER)
    tell(request, SPENT_DENIALS[how](request))

    why = {
        "unknown": "M-Pesa does not know this code. Look at the SMS again.",
        "undone": "M-Pesa did not carry it out: Cancelled.",
        "another's": "This payment went to somebody else.",
    }[how]
    alarm = ("completed", disputes.ANSWERED_ALARM, "status")
    assert (sale_of(order)[0], doubts()) == ("paid", ([(NUMBER, why)], [alarm]))


def test_what_mpesas_books_have_is_not_disputed_by_a_denial(account, order, manager):
    use(sight(account, Source.C2B), order, manager)
    request = inquiries.ask_status(account, NUMBER)
    sight(account, Source.PULL)

    tell(request, SPENT_DENIALS["unknown"](request))

    assert doubts() == ([(NUMBER, "")], [("completed", "", "person")])


def test_a_statement_that_has_it_ends_the_doubt(account, order, manager):
    use(sight(account, Source.C2B), order, manager)
    request = inquiries.ask_status(account, NUMBER)
    tell(request, SPENT_DENIALS["unknown"](request))

    sight(account, Source.STATEMENT)
    disputes.review(account)

    assert doubts() == ([(NUMBER, "")], [("completed", "", "statement")])


@pytest.mark.parametrize("source", [Source.PULL, Source.STATUS, Source.STATEMENT])
def test_mpesas_books_have_another_amount_than_what_was_spent(
    account, order, manager, source
):
    use(sight(account, Source.C2B), order, manager)

    sight(account, source, amount=25)

    why = "We counted KES 250, M-Pesa told of KES 25."
    assert list(
        Collection.objects.values_list("amount", "disputed", "confirmed_at")
    ) == [(kes(250), why, None)]


def test_another_amount_is_compared_whoever_told_it(account, order, manager):
    """A file that is not complete disputes nothing by itself; and a reader may die."""
    use(sight(account, Source.C2B), order, manager)
    with transaction.atomic():
        receipts.sight(account, Told(NUMBER, kes(25)), Source.STATEMENT)

    for receipt_id in matching.due(10):
        matching.look(receipt_id)

    assert doubts()[0] == [(NUMBER, "We counted KES 250, M-Pesa told of KES 25.")]
    assert matching.due(10) == []


def test_a_notice_with_another_amount_disputes_nothing(account, order, manager):
    use(sight(account, Source.C2B), order, manager)

    sight(account, Source.C2B, amount=25)

    assert doubts()[0] == [(NUMBER, "")]


@pytest.fixture
def denied(account, order):
    """A prompt that was not paid, as M-Pesa says, and a claim of its amount.

    M-Pesa does not know the claim's number; then a question finds the prompt paid.
    """
    payment = PaymentFactory(order=order, phone=FULL)
    fail(payment)
    receipt = sight(account, Source.C2B)
    request = inquiries.ask_status(account, NUMBER)
    tell(request, DENIALS["unknown"](request))
    succeed(payment, None, Source.QUERY)
    matching.resolve(receipt.pk)
    return payment


def money():
    """Each receipt that is counted, and whether it is a payment's."""
    rows = Collection.objects.order_by("pk").values_list("receipt", "payment")
    return [(receipt, payment is not None) for receipt, payment in rows]


def test_what_mpesa_denied_is_no_prompts_receipt(account, denied):
    assert (money(), Receipt.objects.get().state) == ([(None, True)], "claimed")

    own = sight(account, Source.PULL, number=OTHER)

    assert (money(), own.collection.payment) == ([(OTHER, True)], denied)


def test_what_mpesa_denied_holds_no_other_money(account, denied):
    for number in (OTHER, THIRD):
        sight(account, Source.PULL, number=number)

    assert money() == [(OTHER, True), (THIRD, False)]


def test_what_mpesa_denied_of_a_reference_is_not_the_prompts(paybill, order):
    MpesaSettings.objects.update(claimed_limit=0)
    payment = PaymentFactory(order=order, reference=references.new_reference())
    fail(payment)
    receipt = sight(paybill, Source.C2B, reference=payment.reference)
    request = inquiries.ask_status(paybill, NUMBER)
    tell(request, DENIALS["unknown"](request))
    succeed(payment, None, Source.QUERY)

    matching.resolve(receipt.pk)

    assert (money(), Receipt.objects.get().state) == ([(None, True)], "claimed")


def test_what_mpesa_denied_and_then_has_is_the_prompts(account, denied):
    receipt = sight(account, Source.PULL)

    assert (money(), receipt.collection.payment) == ([(NUMBER, True)], denied)
