"""One payment by hand is one receipt, however often M-Pesa tells of it at once."""

from decimal import Decimal

import pytest
from django.test import Client

from payments import hook_tokens, inbox, matching, receipts
from payments.enums import RequestKind
from payments.hook_tokens import Kind
from payments.models import (
    Collection,
    Notice,
    OrganisationRequest,
    Receipt,
    Sighting,
)
from smartduka.lib import clock
from tests.concurrency.racing import MARKS, ROUNDS, kinds, together
from tests.factories import MpesaAccountFactory, OrderFactory, PaymentFactory
from tests.support import by_hand
from tests.support.callbacks import success


pytestmark = MARKS

AT_ONCE = 50
ACCEPTED = (200, {"ResultCode": 0, "ResultDesc": "Accepted"})


@pytest.fixture
def account(duka):
    return MpesaAccountFactory(shop=duka, shortcode="600400")


@pytest.fixture
def call():
    """Return a call of a hook as Daraja makes it; its status and answer."""
    first = Client()
    first.handler.load_middleware()

    def post(path, body):
        client = Client()
        client.handler = first.handler
        answer = client.post(path, body, content_type="application/json")
        return answer.status_code, answer.json()

    return post


@pytest.fixture
def path(account):
    return f"/hooks/hand/{by_hand.address(account)}"


def bodies_of(account, count, **facts):
    """The same confirmation in other bytes: each is a notice of its own."""
    return [
        by_hand.confirmation(account, extra=" " * place, **facts)
        for place in range(count)
    ]


@pytest.mark.parametrize("number", range(ROUNDS))
def test_50_copies_of_one_confirmation_are_one_receipt(number, account, path, call):
    body = by_hand.confirmation(account)

    answers = together(*[lambda: call(path, body)] * AT_ONCE)

    assert answers == [ACCEPTED] * AT_ONCE
    notice = Notice.objects.get()
    assert (notice.copies, notice.verdict, notice.next_try_at) == (
        AT_ONCE, "held", None,
    )  # fmt: skip
    assert Receipt.objects.values_list("number", "amount", "state").get() == (
        by_hand.RECEIPT, Decimal("250.00"), "claimed",
    )  # fmt: skip
    assert Sighting.objects.get().notice == notice


def test_50_other_bytes_of_one_confirmation_are_one_receipt(account, path, call):
    bodies = bodies_of(account, AT_ONCE)

    answers = together(*[lambda b=body: call(path, b) for body in bodies])

    assert answers == [ACCEPTED] * AT_ONCE
    assert Receipt.objects.values_list("state").get() == ("claimed",)
    assert Sighting.objects.count() == 1
    verdicts = sorted(Notice.objects.values_list("verdict", flat=True))
    assert verdicts == ["duplicate"] * (AT_ONCE - 1) + ["held"]


def test_the_same_crowd_makes_many_receipts_without_the_constraint(
    account, path, call, off, rendezvous
):
    off.constraint(Receipt, "receipt_is_one_row_of_an_account")
    rendezvous(parties=12).before(receipts, "sight")
    bodies = bodies_of(account, 12)

    answers = together(*[lambda b=body: call(path, b) for body in bodies])

    # What broke is stored and due: M-Pesa never hears of it.
    assert answers == [ACCEPTED] * 12
    assert Receipt.objects.count() > 1


def test_without_its_constraint_a_confirmation_is_stored_twice(
    account, off, monkeypatch
):
    """The statement that counts copies needs it: a plain insert stores two."""
    nonce_hash = hook_tokens.verify(by_hand.address(account), Kind.ACCOUNT)
    stores_twice(
        lambda: inbox.store_for_account(nonce_hash, by_hand.raw(b"the same")),
        "notice_of_an_account_is_stored_once",
        off,
        monkeypatch,
    )


def test_without_its_constraint_a_result_is_stored_twice(account, off, monkeypatch):
    token = hook_tokens.issue(Kind.REQUEST)
    OrganisationRequest.objects.create(
        kind=RequestKind.STATUS,
        account=account,
        receipt=by_hand.RECEIPT,
        token_hash=token.nonce_hash,
        asked_at=clock.now(),
    )
    stores_twice(
        lambda: inbox.store_for_request(
            token.nonce_hash, by_hand.raw(b"the same"), is_timeout=False
        ),
        "notice_of_a_request_is_stored_once",
        off,
        monkeypatch,
    )


@pytest.mark.parametrize("store", [inbox.store_untokened, inbox.count_rejected])
def test_without_its_constraint_what_is_for_nobody_is_stored_twice(
    store, off, monkeypatch
):
    stores_twice(
        lambda: store(by_hand.raw(b"the same")),
        "notice_of_nobody_is_stored_once",
        off,
        monkeypatch,
    )


def stores_twice(store, constraint, off, monkeypatch):
    with monkeypatch.context() as plain:
        plain.setattr(inbox, "_insert", lambda row: row.save())
        assert kinds(together(store, store)) == ["IntegrityError", "ok"]
        off.constraint(Notice, constraint)
        assert kinds(together(store)) == ["ok"]
    assert Notice.objects.count() == 2


@pytest.mark.parametrize("kind", [Kind.ACCOUNT, Kind.REQUEST])
def test_copies_for_a_retired_address_are_stored_once(kind, transactional_db):
    token = hook_tokens.issue(kind)
    raw = by_hand.raw(b"the same")

    def store():
        if kind is Kind.ACCOUNT:
            return inbox.store_for_account(token.nonce_hash, raw)
        return inbox.store_for_request(token.nonce_hash, raw, is_timeout=False)

    together(*[store] * 8)

    assert list(Notice.objects.values_list("kind", "copies")) == [("orphan", 8)]


@pytest.mark.parametrize("number", range(ROUNDS))
def test_callback_and_confirmations_at_once_are_one_collection(
    number, account, path, call, duka
):
    payment = PaymentFactory(
        order=OrderFactory(shop=duka, total=250), account=account, phone="254712345678"
    )
    bodies = bodies_of(account, 4, reference=payment.reference)
    stk = f"/hooks/stk/{payment.hook_token}"

    answers = together(
        *[lambda b=body: call(path, b) for body in bodies],
        *[lambda: call(stk, success(payment))] * 2,
    )

    assert answers == [ACCEPTED] * 6
    for notice_id in Notice.objects.filter(processed_at=None).values_list("pk"):
        Notice.objects.filter(pk=notice_id[0]).update(next_try_at=clock.now())
        inbox.attempt(notice_id[0])
    receipt = Receipt.objects.get()
    matching.resolve(receipt.pk)
    receipt.refresh_from_db()
    collection = Collection.objects.get()
    assert (collection.payment, collection.allocated) == (payment, Decimal(250))
    assert (receipt.collection, receipt.state) == (collection, "counted")
    payment.order.refresh_from_db()
    assert (payment.order.status, payment.order.surplus) == ("paid", Decimal(0))
