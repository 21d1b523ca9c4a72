"""Reversals of money whose receipt was guessed, and what is learned later."""

import pytest
from django.db import transaction

from payments import (
    gateways,
    matching,
    receipts,
    refund_questions,
    refunds,
    reversals,
)
from payments.enums import Source
from payments.models import (
    Collection,
    Movement,
    MpesaSettings,
    OrganisationRequest,
    Refund,
    StatementImport,
)
from payments.receipts import Told
from payments.refund_refusals import CannotReverse
from shops.tenancy import Access
from smartduka.lib import clock
from tests.factories import OrderFactory, PaymentFactory
from tests.support.facts import kes, sale_of
from tests.support.organisation import (
    FakeOrganisation,
    asked,
    reversed_,
    status,
    tell,
)
from tests.support.own_till import FULL, MASKED, R1, R2, own_till, succeed


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


def sight(account, number=R1, source=Source.PULL, payer=MASKED, amount=250):
    with transaction.atomic():
        receipt = receipts.sight(
            account, Told(number, kes(amount), payer, "JANE"), source
        )
    matching.look(receipt.pk)
    receipt.refresh_from_db()
    return receipt


def send_back(manager, collection):
    return refunds.ask(
        access=manager, collection_id=collection.pk, method="reversal",
        amount=250, reason="Wrong goods", restocks=False,
    )  # fmt: skip


def standing():
    """The receipts of the money that did not go back."""
    return sorted(
        one.receipt or "" for one in Collection.objects.filter(reversed_at__isnull=True)
    )


@pytest.mark.parametrize("is_known", [False, True])
def test_a_reversed_receipt_is_no_guess_any_more(
    account, payment, manager, organisation, is_known
):
    """R1 was guessed, sent back and proved; then the callback names R2."""
    succeed(payment, receipt=None, source=Source.QUERY)
    sight(account)
    collection = Collection.objects.get()
    assert (collection.receipt, collection.binding) == (R1, "fit")
    refund = send_back(manager, collection)
    tell(refund.request, reversed_(refund.request, 250))
    assert Collection.objects.get().reversed_at is not None
    if is_known:
        sight(account, R2)

    succeed(payment, R2)
    for receipt_id in matching.due(10, clock.now() + clock.seconds(60)):
        matching.look(receipt_id)

    assert standing() == [R2]
    assert [one.receipt for one in Collection.objects.exclude(reversed_at=None)] == [R1]


def test_what_was_sent_back_is_the_money_of_its_receipt(
    account, payment, manager, organisation, duka
):
    """R1 was guessed to be this payment's, and sent back; it was another's."""
    succeed(payment, receipt=None, source=Source.QUERY)
    sight(account)
    refund = send_back(manager, Collection.objects.get())
    tell(refund.request, reversed_(refund.request, 250))
    other = PaymentFactory(order=OrderFactory(shop=duka), phone="254712340678")

    succeed(other, R1)
    succeed(payment, R2)

    other.refresh_from_db()
    assert other.status == "reversed"
    assert standing() == [R2]
    assert Collection.objects.get(receipt=R1).payment_id == other.pk
    assert sale_of(other.order) == ("open", kes(0), kes(250), kes(0))


def test_an_answer_about_a_reversal_follows_the_receipt(
    account, payment, manager, organisation, time
):
    """R1 was guessed; while its reversal is under way the callback names R2."""
    succeed(payment, receipt=None, source=Source.QUERY)
    sight(account)
    refund = send_back(manager, Collection.objects.get())
    succeed(payment, R2)
    for receipt_id in matching.due(10, clock.now() + clock.seconds(60)):
        matching.look(receipt_id)
    assert standing() == [R1, R2]
    time.turn(61)
    refund_questions.attend(refund.pk)
    request = asked("status")

    tell(
        request,
        status(
            request,
            receipt="UAE9BACK01",
            payer="600300 - DUKA",
            payee="254712345678 - JANE",
        ),
    )

    assert standing() == [R2]


def test_nothing_is_sent_back_without_its_receipt(
    account, payment, manager, alice, organisation, duka
):
    """R1 was guessed; while a second person is waited for it is found another's."""
    MpesaSettings.objects.update(second_person_from=100)
    succeed(payment, receipt=None, source=Source.QUERY)
    sight(account)
    refund = send_back(manager, Collection.objects.get())
    succeed(PaymentFactory(order=OrderFactory(shop=duka), phone="254712340678"), R1)
    assert Collection.objects.get(payment=payment).receipt is None

    with pytest.raises(CannotReverse):
        refunds.approve(
            access=Access(alice.user, alice.shop, "owner"), refund_id=refund.pk
        )

    refund.refresh_from_db()
    assert (refund.state, refund.request) == ("asked", None)
    assert not OrganisationRequest.objects.exists()


def test_a_reversal_a_moment_before_it_was_asked_for_is_not_missing(
    account, payment, manager, organisation, bob, time
):
    """M-Pesa's clock and ours differ by seconds; its row names no original."""
    succeed(payment)
    refund = send_back(manager, Collection.objects.get())
    refund.refresh_from_db()
    now = clock.now()
    imported = StatementImport.objects.create(
        account=account, file_hash="x", file_name="s.csv", imported_by=bob.user,
        imported_at=now, covers_from=now - clock.seconds(86400),
        covers_to=now + clock.seconds(86400),
    )  # fmt: skip
    Movement.objects.create(
        account=account, kind="reversal", number="UAE9BACK01", amount=kes(-250),
        at=refund.sent_at - clock.seconds(2), statement=imported,
    )  # fmt: skip

    settled = reversals.settle_by_statement(
        account, covers_from=imported.covers_from, covers_to=imported.covers_to
    )

    assert settled == 0
    assert Refund.objects.get().state == "sending"
