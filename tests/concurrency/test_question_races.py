"""A question's answer and a callback want the same receipt at the same moment."""

import threading
from decimal import Decimal

import pytest
from django.db import connection, transaction

from payments import cash, gateways, matching, receipts, settlement
from payments.enums import Source
from payments.models import Collection, MpesaSettings
from payments.receipts import Told
from payments.settlement import Proof
from shops.tenancy import Access
from tests.concurrency.racing import MARKS
from tests.factories import MpesaAccountFactory, OrderFactory, PaymentFactory
from tests.support.gateway import FakeMpesa, final


pytestmark = MARKS

NUMBER = "UAE5B2K9QT"
PHONE, MASKED = "254712345678", "2547 ***** 678"


@pytest.fixture
def account(duka):
    account = MpesaAccountFactory(
        shop=duka, type="till", shortcode="600300", party_b="300300"
    )
    MpesaSettings.objects.update_or_create(
        shop=duka, defaults={"account": account, "uses_platform_account": False}
    )
    return account


def call_back(payment):
    """Another prompt's callback names the receipt, and is committed."""
    try:
        with transaction.atomic():
            order, locked = settlement.locked(payment.pk)
            proof = Proof(Source.CALLBACK, NUMBER, payment.phone)
            settlement.record_success(order, locked, proof)
    finally:
        connection.close()


def test_cash_is_taken_though_a_callback_took_the_receipt(
    account, duka, bob, monkeypatch
):
    mpesa = FakeMpesa()
    monkeypatch.setattr(gateways, "mpesa", lambda: mpesa)
    order = OrderFactory(shop=duka, total=500)
    asked = PaymentFactory(order=order, phone=PHONE, amount=Decimal(250))
    with transaction.atomic():
        told = Told(NUMBER, Decimal(250), MASKED)
        receipt = receipts.sight(account, told, Source.PULL)
    assert matching.resolve(receipt.pk) == "held"
    other = PaymentFactory(
        order=OrderFactory(shop=duka, total=250), phone="254733111222"
    )
    mpesa.otherwise = final("0")
    original, once = receipts.uncounted_for, threading.Event()

    def meanwhile(payment):
        found = original(payment)
        if payment.pk == asked.pk and not once.is_set():
            once.set()
            thread = threading.Thread(target=call_back, args=(other,))
            thread.start()
            thread.join(20)
        return found

    monkeypatch.setattr(receipts, "uncounted_for", meanwhile)

    cash.take(
        access=Access(bob.user, duka, "cashier"), order_id=order.pk, amount=100,
        key=None,
    )  # fmt: skip

    asked.refresh_from_db()
    assert asked.status == "completed"
    found = Collection.objects.filter(account=account).order_by("pk")
    assert {(one.receipt, one.payment_id) for one in found} == {
        (NUMBER, other.pk), (None, asked.pk),
    }  # fmt: skip
