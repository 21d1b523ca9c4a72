"""Whose money a receipt is, in whatever order its sources come."""

import itertools

import pytest
from django.db import IntegrityError, transaction

from orders import lifecycle as order_lifecycle
from orders.models import Order
from payments import (
    direct,
    drawer,
    matching,
    precedence,
    questions,
    receipts,
    refunds,
)
from payments.enums import Binding, Source
from payments.models import (
    CodeClaim,
    Collection,
    MpesaSettings,
    Payment,
    Receipt,
    Refund,
    Sighting,
)
from payments.receipts import Told
from payments.settlement import Outcome
from shops.tenancy import Access
from smartduka.lib import clock
from tests.factories import (
    MpesaAccountFactory,
    OrderFactory,
    PaymentFactory,
    ShopFactory,
)
from tests.support.facts import kes, money_of, nothing_changes, path_of, sale_of
from tests.support.gateway import final
from tests.support.own_till import FULL, MASKED, OTHERS, R1, R2, fail, own_till, succeed


pytestmark = pytest.mark.django_db

SALE = [("sale", kes(250))]


@pytest.fixture(autouse=True)
def _quiet(messages, time):
    return messages


@pytest.fixture
def account(duka):
    """The shop's own till: its rows by hand carry no reference."""
    return own_till(duka)


@pytest.fixture
def payment(order, account, time):
    """A pending prompt for the whole of the sale, on the till."""
    return PaymentFactory(order=order, phone=FULL)


@pytest.fixture
def paybill(duka):
    """A paybill of the shop: prompts and careful customers give the reference."""
    account = MpesaAccountFactory(shop=duka, shortcode="600400")
    MpesaSettings.objects.update_or_create(
        shop=duka, defaults={"account": account, "uses_platform_account": False}
    )
    return account


def told(number=R1, amount=250, payer=MASKED, reference="", paid_at=None):
    return Told(number, kes(amount), payer, "JANE", reference, paid_at)


def sight(account, source, fact=None, **kwargs):
    with transaction.atomic():
        receipt = receipts.sight(account, fact or told(**kwargs), source)
    return receipt, matching.resolve(receipt.pk)


def prove(payment):
    return succeed(payment, receipt=None, source=Source.QUERY)


def look_again(time, seconds=20):
    time.turn(seconds)
    for receipt_id in matching.due(100):
        matching.look(receipt_id)


def lose_id(payment):
    Payment.objects.filter(pk=payment.pk).update(
        checkout_request_id=None, merchant_request_id="", next_ask_at=None
    )


def books():
    """Every shilling: receipt, amount, allocated, and whose it is."""
    return [
        (one.receipt, one.amount, one.allocated, one.payment_id, one.binding)
        for one in Collection.objects.order_by("pk")
    ]


def standing(number=R1):
    return Receipt.objects.values_list("state", "proven_at", "look_at").get(
        number=number
    )


# One receipt, four sources, twenty-four orders.


@pytest.mark.parametrize(
    "sources",
    list(itertools.permutations(["callback", "c2b", "pull", "statement"])),
    ids="-".join,
)
@pytest.mark.parametrize("kind", ["till", "paybill"])
def test_four_sources_of_one_receipt_are_one_collection(kind, sources, request, time):
    account = request.getfixturevalue("account" if kind == "till" else "paybill")
    order = OrderFactory(shop=account.shop)
    payment = PaymentFactory(order=order, phone=FULL)
    reference = payment.reference if kind == "paybill" else ""

    for source in sources:
        time.turn(2)
        if source == "callback":
            succeed(payment)
        else:
            payer = MASKED if source != "pull" else FULL
            sight(account, Source(source), payer=payer, reference=reference)
    look_again(time)

    (collection,) = Collection.objects.all()
    assert (collection.receipt, collection.amount, collection.allocated) == (
        R1, kes(250), kes(250)
    )  # fmt: skip
    assert (collection.payment_id, collection.phone) == (payment.pk, FULL)
    assert collection.confirmed_at is not None
    assert sale_of(order) == ("paid", kes(250), kes(0), kes(0))
    payment.refresh_from_db()
    assert (payment.status, payment.receipt) == ("completed", R1)
    assert path_of(payment).count("completed") == 1
    row = Receipt.objects.get()
    assert (row.state, row.collection_id, row.payer) == ("counted", collection.pk, FULL)
    assert row.proven_at is not None
    assert sorted(Sighting.objects.values_list("source", flat=True)) == [
        "c2b", "pull", "statement"
    ]  # fmt: skip


# A question proves a till payment; its row comes before, after, or elsewhere.


def test_a_question_proves_and_the_row_comes_after(payment, account, time):
    prove(payment)
    time.turn(5)

    _, state = sight(account, Source.C2B)

    assert state == "counted"
    assert books() == [(R1, kes(250), kes(250), payment.pk, "fit")]
    payment.refresh_from_db()
    assert payment.receipt == R1


def test_a_question_proves_and_the_row_came_before(payment, account, time):
    _, state = sight(account, Source.C2B)
    assert state == "held"
    assert books() == []
    payment.refresh_from_db()
    assert payment.next_ask_at == time.now

    prove(payment)

    assert books() == [(R1, kes(250), kes(250), payment.pk, "fit")]
    look_again(time)
    assert standing() == ("counted", None, None)
    assert money_of(payment.order) == [("query", R1, kes(250), SALE)]


def test_a_row_that_was_offered_to_another_sale_finds_its_own(
    payment, account, duka, time
):
    other = PaymentFactory(order=OrderFactory(shop=duka), phone="254712340678")
    sight(account, Source.C2B)
    assert {one.pk for one in receipts.candidates(Receipt.objects.get())} == {
        payment.pk, other.pk
    }  # fmt: skip

    prove(payment)
    assert books() == [(None, kes(250), kes(250), payment.pk, "token")]
    fail(other)
    look_again(time)

    assert books() == [(R1, kes(250), kes(250), payment.pk, "fit")]
    assert standing()[0] == "counted"
    assert sale_of(other.order) == ("open", kes(0), kes(250), kes(0))


def test_an_unmatched_row_is_not_counted_again(payment, account, time):
    """It was nobody's when its payment had failed; then M-Pesa said: paid."""
    fail(payment)
    sight(account, Source.PULL)
    assert books() == [(R1, kes(250), kes(0), None, "")]

    prove(payment)

    assert books() == [(R1, kes(250), kes(250), payment.pk, "fit")]
    assert sale_of(payment.order) == ("paid", kes(250), kes(0), kes(0))


def test_a_failed_prompt_is_asked_about_before_its_money_is_nobodys(
    payment, account, time, tasks
):
    """M-Pesa has been seen to say "cancelled" of what was paid."""
    fail(payment)
    Payment.objects.filter(pk=payment.pk).update(asked_at=None)

    _, state = sight(account, Source.PULL)

    assert (state, books()) == ("held", [])
    payment.refresh_from_db()
    assert payment.next_ask_at == time.now
    # It says so again: the money is nobody's.
    Payment.objects.filter(pk=payment.pk).update(asked_at=time.now)
    look_again(time)
    assert books() == [(R1, kes(250), kes(0), None, "")]


def test_a_failed_prompt_that_cannot_be_asked_about_holds_for_a_while(
    payment, account, time
):
    fail(payment)
    Payment.objects.filter(pk=payment.pk).update(asked_at=None)
    sight(account, Source.PULL)
    look_again(time, seconds=7000)
    assert books() == []

    look_again(time, seconds=700)

    assert books() == [(R1, kes(250), kes(0), None, "")]


@pytest.mark.parametrize(
    "change",
    [{"amount": 251}, {"payer": "2547 ***** 111"}],
    ids=["another amount", "another payer"],
)
def test_a_failed_prompt_holds_no_other_money(payment, account, time, change):
    fail(payment)
    Payment.objects.filter(pk=payment.pk).update(asked_at=None)

    _, state = sight(account, Source.PULL, **change)

    assert state == "counted"


# By hand and by PIN.


def test_the_customer_pays_by_hand_and_enters_the_pin(payment, account, time):
    _, state = sight(account, Source.C2B, number=R2)
    assert state == "held"

    succeed(payment)
    sight(account, Source.C2B, number=R1)
    sight(account, Source.PULL, number=R2)
    look_again(time)

    assert books() == [
        (R1, kes(250), kes(250), payment.pk, "token"),
        (R2, kes(250), kes(0), None, ""),
    ]
    assert sale_of(payment.order) == ("paid", kes(250), kes(0), kes(0))


def test_by_hand_and_pin_when_only_a_question_knows(payment, account, time):
    """The receipts may be taken for each other; each shilling is there once."""
    sight(account, Source.C2B, number=R2)
    sight(account, Source.C2B, number=R1)

    prove(payment)
    sight(account, Source.PULL, number=R1)
    sight(account, Source.PULL, number=R2)
    look_again(time)

    assert sorted((r, a, b) for r, a, b, _, _ in books()) == [
        (R1, kes(250), kes(250)), (R2, kes(250), kes(0))
    ] or sorted((r, a, b) for r, a, b, _, _ in books()) == [
        (R1, kes(250), kes(0)), (R2, kes(250), kes(250))
    ]  # fmt: skip


def test_a_guessed_receipt_yields_to_the_callback(payment, account, time):
    """R2 was guessed; the late callback names R1; R2 is nobody's again."""
    prove(payment)
    sight(account, Source.PULL, number=R2)
    assert books() == [(R2, kes(250), kes(250), payment.pk, "fit")]

    assert succeed(payment, R1) == Outcome.FILLED
    look_again(time)

    assert books() == [
        (R1, kes(250), kes(250), payment.pk, "token"),
        (R2, kes(250), kes(0), None, ""),
    ]
    payment.refresh_from_db()
    assert payment.receipt == R1


def test_two_receipts_change_places(payment, account, time):
    """R2 was guessed and R1 counted as nobody's; the callback says: R1."""
    prove(payment)
    sight(account, Source.PULL, number=R2)
    sight(account, Source.PULL, number=R1)
    assert books() == [
        (R2, kes(250), kes(250), payment.pk, "fit"),
        (R1, kes(250), kes(0), None, ""),
    ]

    assert succeed(payment, R1) == Outcome.FILLED

    assert books() == [
        (R1, kes(250), kes(250), payment.pk, "token"),
        (R2, kes(250), kes(0), None, ""),
    ]
    assert {
        (one.number, one.collection.receipt)
        for one in Receipt.objects.select_related("collection")
    } == {(R1, R1), (R2, R2)}
    assert sale_of(payment.order) == ("paid", kes(250), kes(0), kes(0))


def test_a_callback_takes_its_receipt_from_a_guess(payment, account, duka, time):
    other = PaymentFactory(order=OrderFactory(shop=duka), phone="254712340678")
    prove(other)
    fail(payment)
    sight(account, Source.PULL, number=R1)
    assert books() == [(R1, kes(250), kes(250), other.pk, "fit")]

    assert succeed(payment, R1) == Outcome.COMPLETED
    look_again(time)

    assert books() == [
        (None, kes(250), kes(250), other.pk, "fit"),
        (R1, kes(250), kes(250), payment.pk, "token"),
    ]
    other.refresh_from_db()
    assert (other.status, other.receipt) == ("completed", "")


def test_a_callback_takes_a_guess_and_leaves_what_was_nobodys(
    payment, account, duka, time
):
    """M-Pesa lied about the first prompt; the second one was given its receipt."""
    fail(payment)
    second = PaymentFactory(order=OrderFactory(shop=duka), phone=FULL)
    prove(second)
    sight(account, Source.C2B, number=R1)
    sight(account, Source.PULL, number=R2)
    assert books() == [
        (R1, kes(250), kes(250), second.pk, "fit"),
        (R2, kes(250), kes(0), None, ""),
    ]

    assert succeed(payment, R1) == Outcome.COMPLETED
    look_again(time)

    assert books() == [
        (R2, kes(250), kes(250), second.pk, "fit"),
        (R1, kes(250), kes(250), payment.pk, "token"),
    ]
    second.refresh_from_db()
    assert (second.status, second.receipt) == ("completed", R2)
    assert {
        (one.number, one.collection.receipt)
        for one in Receipt.objects.select_related("collection")
    } == {(R1, R1), (R2, R2)}


# Claims.


def test_a_claim_counts_nowhere(account, duka, time):
    _, state = sight(account, Source.C2B)

    assert state == "claimed"
    assert books() == []
    assert standing() == ("claimed", None, None)


def test_a_claim_becomes_money_when_pull_has_it(account, time):
    sight(account, Source.C2B)

    _, state = sight(account, Source.PULL)

    assert state == "counted"
    assert books() == [(R1, kes(250), kes(0), None, "")]
    proven_at = time.now
    look_again(time)
    assert standing() == ("counted", proven_at, None)


def test_saying_it_again_changes_nothing(account, payment, time):
    sight(account, Source.C2B)
    sight(account, Source.PULL)
    succeed(payment)
    look_again(time)

    with nothing_changes():
        for source in (Source.C2B, Source.PULL, Source.C2B):
            sight(account, source)
    assert Sighting.objects.count() == 2


def test_a_masked_number_never_replaces_a_full_one(account, time):
    sight(account, Source.PULL, payer=FULL)
    sight(account, Source.C2B, payer=MASKED)
    sight(account, Source.STATEMENT, payer="2547****0678")

    assert Receipt.objects.get().payer == FULL
    assert Collection.objects.get().phone == FULL


def test_another_amount_is_told_and_changes_no_money(account, payment, time):
    succeed(payment)

    sight(account, Source.STATEMENT, amount=200)

    assert books() == [(R1, kes(250), kes(250), payment.pk, "token")]
    collection = Collection.objects.get()
    assert collection.disputed == "We counted KES 250, M-Pesa told of KES 200."
    assert collection.confirmed_at is None


def test_the_books_of_m_pesa_correct_a_claim(account, time):
    sight(account, Source.C2B, amount=999)
    sight(account, Source.PULL, amount=250)

    assert books() == [(R1, kes(250), kes(0), None, "")]
    assert "before it was KES 999" in Receipt.objects.get().alarm


# References.


def test_a_reference_completes_a_payment_that_cannot_be_asked_about(paybill, time):
    payment = PaymentFactory(order=OrderFactory(shop=paybill.shop), phone=FULL)
    lose_id(payment)
    typed = payment.reference.lower()
    typed = f"{typed[:4]} {typed[4:]}"

    sight(paybill, Source.PULL, reference=typed, payer=OTHERS)

    assert books() == [(R1, kes(250), kes(250), payment.pk, "reference")]
    assert sale_of(payment.order) == ("paid", kes(250), kes(0), kes(0))


def test_a_claimed_reference_waits_and_asks(paybill, time):
    payment = PaymentFactory(order=OrderFactory(shop=paybill.shop), phone=FULL)

    _, state = sight(paybill, Source.C2B, reference=payment.reference)

    assert state == "held"
    assert books() == []
    payment.refresh_from_db()
    assert payment.next_ask_at == time.now


@pytest.mark.parametrize(("limit", "is_paid"), [(0, False), (249, False), (250, True)])
def test_a_claimed_reference_pays_up_to_the_shops_limit(paybill, limit, is_paid, time):
    MpesaSettings.objects.update(claimed_limit=limit)
    payment = PaymentFactory(order=OrderFactory(shop=paybill.shop), phone=FULL)
    lose_id(payment)

    sight(paybill, Source.C2B, reference=payment.reference)

    assert bool(books()) is is_paid
    assert sale_of(payment.order)[0] == ("paid" if is_paid else "open")
    if is_paid:
        assert Collection.objects.get().confirmed_at is None


def test_a_reference_with_another_amount_reaches_the_shop_unmatched(time, db):
    shop_a, shop_b = ShopFactory(platform=True), ShopFactory(platform=True)
    PaymentFactory(order=OrderFactory(shop=shop_a), phone=FULL)
    payment = PaymentFactory(order=OrderFactory(shop=shop_b), phone=FULL)

    sight(payment.account, Source.PULL, reference=payment.reference, amount=100)

    (collection,) = Collection.objects.all()
    assert (collection.shop, collection.payment, collection.amount) == (
        shop_b, None, kes(100)
    )  # fmt: skip


def test_a_mistyped_reference_on_a_shared_paybill_is_nobodys(time, db):
    shop_a, shop_b = ShopFactory(platform=True), ShopFactory(platform=True)
    PaymentFactory(order=OrderFactory(shop=shop_a), phone=FULL)
    payment = PaymentFactory(order=OrderFactory(shop=shop_b), phone=FULL)
    first = "A" if payment.reference[0] != "A" else "B"

    sight(
        payment.account, Source.PULL, reference=first + payment.reference[1:],
        payer=FULL,
    )  # fmt: skip

    (collection,) = Collection.objects.all()
    assert (collection.shop, collection.payment) == (None, None)
    assert Payment.objects.filter(status="completed").count() == 0


def test_another_shops_payer_never_joins_on_a_shared_account(time, db):
    shop = ShopFactory(platform=True)
    payment = PaymentFactory(order=OrderFactory(shop=shop), phone=FULL)
    prove(payment)

    sight(payment.account, Source.PULL, payer=OTHERS)

    assert books() == [
        (None, kes(250), kes(250), payment.pk, "token"),
        (R1, kes(250), kes(0), None, ""),
    ]


def test_by_hand_to_the_reference_of_a_prompt_that_failed(paybill, time):
    """The customer cancelled the prompt and typed its reference: no contradiction."""
    payment = PaymentFactory(order=OrderFactory(shop=paybill.shop), phone=FULL)
    sight(paybill, Source.PULL, reference=payment.reference)
    assert books() == [(R1, kes(250), kes(250), payment.pk, "reference")]

    assert fail(payment) == Outcome.DUPLICATE

    payment.refresh_from_db()
    assert (payment.status, payment.alarm) == ("completed", "")


USES = ["another sale", "credit", "going back"]


def use(receipt, how, mary):
    """Let a manager use money that is nobody's as yet; return the other sale."""
    manager = Access(mary.user, mary.shop, "manager")
    piece, sale = f"collection:{receipt.collection_id}", OrderFactory(shop=mary.shop)
    if how == "another sale":
        drawer.apply(access=manager, piece=piece, order_id=sale.pk, reason="It is hers")
    elif how == "credit":
        drawer.keep_as_credit(
            access=manager, piece=piece, customer="0712345678", reason="For tomorrow"
        )
    else:
        MpesaSettings.objects.update(second_person_from=100)
        refunds.ask(
            access=manager, collection_id=receipt.collection_id, method="cash",
            amount=250, reason="He was here", restocks=False,
        )  # fmt: skip
    return sale


def late_reference(paybill, how, mary):
    """Transaction Status says no reference; it is used; M-Pesa's list has it."""
    payment = PaymentFactory(order=OrderFactory(shop=paybill.shop), phone=FULL)
    fail(payment)
    receipt, _ = sight(paybill, Source.STATUS, payer=FULL)
    receipt.refresh_from_db()
    return payment, use(receipt, how, mary)


@pytest.mark.parametrize("how", USES)
def test_a_reference_that_comes_late_takes_what_people_used(
    paybill, mary, alice, mpesa, time, how
):
    payment, other = late_reference(paybill, how, mary)

    sight(paybill, Source.PULL, payer=FULL, reference=payment.reference)

    words = {
        "another sale": "", "credit": precedence.WAS_CREDIT,
        "going back": precedence.WENT_BACK,
    }  # fmt: skip
    payment.refresh_from_db()
    assert (payment.status, payment.alarm) == ("completed", words[how])
    assert books() == [(R1, kes(250), kes(250), payment.pk, "reference")]
    if how == "going back":
        owner, refund = Access(alice.user, alice.shop, "owner"), Refund.objects.get()
        refunds.refuse(access=owner, refund_id=refund.pk, reason="No")
        payment.refresh_from_db()
        assert payment.alarm == ""
    assert sale_of(payment.order) == ("paid", kes(250), kes(0), kes(0))
    assert [one.alarm for one in other.payments.all()] == (
        [precedence.ANOTHER_SALES] if how == "another sale" else []
    )
    look_again(time)
    assert standing() == ("counted", time.now - clock.seconds(20), None)


def test_who_tells_a_reference_late_need_not_look(paybill, mary, mpesa, time):
    """A statement keeps its rows first, and looks at what waits."""
    payment, _ = late_reference(paybill, "another sale", mary)
    assert standing()[::2] == ("counted", None)

    with transaction.atomic():
        fact = told(payer=FULL, reference=payment.reference)
        receipts.sight(paybill, fact, Source.STATEMENT)

    assert standing()[::2] == ("counted", time.now)
    look_again(time)
    assert sale_of(payment.order) == ("paid", kes(250), kes(0), kes(0))


@pytest.mark.parametrize("why", ["its own sale", "its own money", "a claim"])
def test_a_reference_that_comes_late_leaves_what_people_used(
    paybill, mary, mpesa, time, why
):
    """Its sale has it already; or the payment has money of its own; or it is a claim."""
    payment = PaymentFactory(order=OrderFactory(shop=paybill.shop), phone=FULL)
    fail(payment)
    receipt, _ = sight(paybill, Source.STATUS, payer=FULL)
    receipt.refresh_from_db()
    mine = payment.order if why == "its own sale" else OrderFactory(shop=paybill.shop)
    drawer.apply(
        access=Access(mary.user, mary.shop, "manager"), order_id=mine.pk,
        piece=f"collection:{receipt.collection_id}", reason="It is hers",
    )  # fmt: skip
    if why == "its own money":
        succeed(payment, R2)
    source = Source.C2B if why == "a claim" else Source.PULL

    with nothing_changes():
        sight(paybill, source, payer=FULL, reference=payment.reference)

    assert standing()[::2] == ("counted", None)


def test_a_reference_that_comes_late_parts_two_guesses(paybill, time):
    """The first has the second's receipt by a guess, for the row named nobody."""
    first, second = (
        PaymentFactory(order=OrderFactory(shop=paybill.shop), phone=FULL)
        for _ in range(2)
    )
    fail(second)
    prove(first)
    sight(paybill, Source.STATUS, payer=FULL)
    assert books() == [(R1, kes(250), kes(250), first.pk, "fit")]

    sight(paybill, Source.PULL, payer=FULL, reference=second.reference)

    assert books() == [
        (None, kes(250), kes(250), first.pk, "fit"),
        (R1, kes(250), kes(250), second.pk, "reference"),
    ]
    for one in (first, second):
        assert sale_of(one.order) == ("paid", kes(250), kes(0), kes(0))


def test_a_callback_does_not_take_what_a_reference_names(paybill, time):
    shop = paybill.shop
    payment = PaymentFactory(order=OrderFactory(shop=shop), phone=FULL)
    other = PaymentFactory(order=OrderFactory(shop=shop), phone="254712345111")
    sight(paybill, Source.PULL, reference=payment.reference)

    with nothing_changes():
        assert succeed(other, R1) == Outcome.RECEIPT_TAKEN


# Fits.


def test_what_cannot_be_asked_about_is_joined_when_it_fits_alone(
    payment, account, time
):
    lose_id(payment)

    sight(account, Source.PULL)

    assert books() == [(R1, kes(250), kes(250), payment.pk, "fit")]


def test_a_fit_without_digits_joins_nothing(payment, account, time):
    lose_id(payment)

    _, state = sight(account, Source.PULL, payer="")

    assert state == "held"
    assert books() == []


def test_two_that_fit_are_no_fit(payment, account, duka, time):
    lose_id(payment)
    other = PaymentFactory(order=OrderFactory(shop=duka), phone="254712340678")
    lose_id(other)

    _, state = sight(account, Source.PULL)

    assert state == "held"
    assert books() == []


def test_as_many_receipts_as_payments_fill_them_all(payment, account, duka, time):
    other = PaymentFactory(order=OrderFactory(shop=duka), phone="254712340678")
    prove(payment)
    prove(other)
    _, first = sight(account, Source.PULL, number=R1)
    assert first == "held"

    sight(account, Source.PULL, number=R2)
    look_again(time)
    look_again(time, 40)

    assert sorted(receipt for receipt, *_ in books()) == [R1, R2]
    assert {owner for _, _, _, owner, _ in books()} == {payment.pk, other.pk}


def test_another_payer_fits_nothing(payment, account, time):
    prove(payment)

    sight(account, Source.PULL, payer=OTHERS)

    assert books() == [
        (None, kes(250), kes(250), payment.pk, "token"),
        (R1, kes(250), kes(0), None, ""),
    ]


def test_another_account_fits_nothing(payment, duka, time):
    prove(payment)
    elsewhere = MpesaAccountFactory(shop=duka, shortcode="600500")

    sight(elsewhere, Source.PULL, payer=FULL)

    assert books() == [
        (None, kes(250), kes(250), payment.pk, "token"),
        (R1, kes(250), kes(0), None, ""),
    ]


def test_money_of_another_hour_fits_nothing(payment, account, time):
    prove(payment)
    time.turn(3 * 3600)

    sight(account, Source.PULL, paid_at=time.now)

    assert books()[1] == (R1, kes(250), kes(0), None, "")


def test_a_held_receipt_is_nobodys_when_its_candidate_falls_away(
    payment, account, time
):
    _, state = sight(account, Source.PULL)
    assert state == "held"

    fail(payment)
    look_again(time)

    assert books() == [(R1, kes(250), kes(0), None, "")]


def test_a_receipt_heals_a_lost_callback_within_90_seconds(
    payment, account, mpesa, time
):
    """The question falls due at 15 s; the row came at 3 s; nobody did anything."""
    time.turn(3)
    sight(account, Source.C2B)
    mpesa.answers[payment.checkout_request_id] = final("0")
    time.turn(12)

    questions.attend(payment.pk)

    assert books() == [(R1, kes(250), kes(250), payment.pk, "fit")]
    assert sale_of(payment.order) == ("paid", kes(250), kes(0), kes(0))


# Typed codes.


def test_a_typed_code_pays_its_sale_when_the_money_is_proved(account, order, bob, time):
    claim = CodeClaim.objects.create(
        shop=order.shop, order=order, account=account, number=R1,
        created_by=bob.user, created_at=time.now,
    )  # fmt: skip
    sight(account, Source.C2B)
    assert books() == []

    sight(account, Source.STATUS)

    (payment,) = Payment.objects.all()
    assert (payment.method, payment.status, payment.receipt, payment.amount) == (
        "c2b", "completed", R1, kes(250)
    )  # fmt: skip
    assert books() == [(R1, kes(250), kes(250), payment.pk, "person")]
    assert sale_of(order) == ("paid", kes(250), kes(0), kes(0))
    claim.refresh_from_db()
    assert (claim.state, claim.closed_at) == ("used", time.now)


def test_a_better_reason_beats_a_typed_code(account, payment, duka, bob, time):
    mine = OrderFactory(shop=duka)
    claim = CodeClaim.objects.create(
        shop=duka, order=mine, account=account, number=R1,
        created_by=bob.user, created_at=time.now,
    )  # fmt: skip
    succeed(payment)

    sight(account, Source.PULL)

    assert books() == [(R1, kes(250), kes(250), payment.pk, "token")]
    claim.refresh_from_db()
    assert claim.state == "denied"
    assert sale_of(mine) == ("open", kes(0), kes(250), kes(0))


def test_a_person_yields_to_the_callback(account, payment, order, duka, bob, time):
    """The money of a payment that looked failed was used for another sale."""
    fail(payment)
    receipt, _ = sight(account, Source.PULL)
    mine = OrderFactory(shop=duka)
    with transaction.atomic():
        locked = order_lifecycle.locked(mine.pk)
        receipt.refresh_from_db()
        direct.pay(
            locked, receipt.collection, kes(250), actor=bob.user, reason="The next one"
        )
    assert sale_of(mine) == ("paid", kes(250), kes(0), kes(0))

    assert succeed(payment, R1) == Outcome.COMPLETED

    assert books() == [(R1, kes(250), kes(250), payment.pk, "token")]
    assert sale_of(order) == ("paid", kes(250), kes(0), kes(0))
    other = Payment.objects.get(method="c2b")
    assert (other.status, other.receipt, other.alarm) == (
        "completed", "", "This money was another sale's: ask the customer to pay."
    )  # fmt: skip


# The nets below.


def test_a_receipt_is_counted_once_whoever_counts(account, time):
    receipt, _ = sight(account, Source.PULL)
    with pytest.raises(IntegrityError), transaction.atomic():
        direct.collect(receipt, shop=account.shop)
    assert len(books()) == 1


def test_a_receipt_that_breaks_waits_and_hides_no_other(account, monkeypatch, time):
    receipt, _ = sight(account, Source.C2B)
    Receipt.objects.update(look_at=time.now)

    def broken(_):
        raise RuntimeError("broken")

    monkeypatch.setattr(matching, "resolve", broken)
    assert matching.look(receipt.pk) is None
    assert matching.due(10) == []
    time.turn(600)
    assert matching.due(10) == [receipt.pk]


def test_an_order_that_is_gone_leaves_the_money_unmatched(account, order, bob, time):
    CodeClaim.objects.create(
        shop=order.shop, order=order, account=account, number=R1,
        created_by=bob.user, created_at=time.now,
    )  # fmt: skip
    order_lifecycle.cancel(order.pk, actor=bob.user)

    sight(account, Source.PULL)

    assert books() == [(R1, kes(250), kes(0), None, "")]
    assert Order.objects.get(pk=order.pk).status == "cancelled"
    assert Binding.PERSON not in Collection.objects.values_list("binding", flat=True)
