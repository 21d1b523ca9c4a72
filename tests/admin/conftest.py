"""The readers of the books, and a full set of rows in two shops."""

from dataclasses import dataclass
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import transaction

from payments import accounts, inbox, settlement
from payments.enums import Source
from payments.models import (
    Allocation,
    Collection,
    Correction,
    Movement,
    Notice,
    Receipt,
    Refund,
    StatementImport,
)
from shops.models import Membership, StockMovement
from smartduka.lib import clock
from tests.factories import (
    OrderFactory,
    PaymentFactory,
    ProductFactory,
    UserFactory,
)
from tests.support import callbacks


# Each model of the books, by the path of its pages.
MODELS = (
    "payments/payment",
    "payments/notice",
    "payments/collection",
    "payments/allocation",
    "payments/refund",
    "payments/receipt",
    "payments/statementimport",
    "payments/movement",
    "payments/correction",
    "payments/mpesasettings",
    "payments/mpesaaccount",
    "orders/order",
    "shops/product",
    "shops/stockmovement",
    "shops/membership",
    "shops/shop",
    "auth/user",
)


@dataclass
class Rows:
    """One row of every model of one shop, by the path of its pages."""

    shop: Any
    by_path: dict[str, Any]

    def __getattr__(self, name):
        for path, row in self.by_path.items():
            if path.endswith("/" + name):
                return row
        raise AttributeError(name)


def settle(payment, receipt):
    """Let the money of a payment arrive, as a callback would."""
    with transaction.atomic():
        order, locked = settlement.locked(payment.pk)
        proof = settlement.Proof(Source.CALLBACK, receipt, payment.phone, clock.now())
        settlement.record_success(order, locked, proof)
    payment.refresh_from_db()
    return payment


def store_notice(payment, body=None):
    """Store what M-Pesa says about a payment, unprocessed."""
    body = callbacks.success(payment) if body is None else body
    raw = inbox.Raw(body, False, "196.201.214.200", True)
    stored = inbox.store_for_payment(payment.token_hash, raw)
    return Notice.objects.get(pk=stored.notice_id)


def refund_of(collection):
    """Make the row of a refund that failed."""
    return Refund.objects.create(
        shop=collection.shop, collection=collection, payment=collection.payment,
        order=collection.payment.order, method="cash", amount=1, state="failed",
        reason="Did not fit", reserved=collection.allocations.get(),
        asked_at=clock.now(), decided_at=clock.now(),
    )  # fmt: skip


def receipt_of(collection):
    """Make the row of its receipt, as M-Pesa's list told it."""
    return Receipt.objects.create(
        account=collection.account, number=collection.receipt,
        amount=collection.amount, payer=collection.phone, seen_at=clock.now(),
        state="counted", collection=collection,
    )  # fmt: skip


def correction_of(collection, owner):
    """Make the row of a correction that was refused."""
    return Correction.objects.create(
        collection=collection, amount=-1, reason="Not there", state="refused",
        asked_by=owner, asked_at=clock.now(),
    )  # fmt: skip


def statement_of(account, owner):
    """Make the row of an import, and a charge that it had."""
    row = StatementImport.objects.create(
        account=account, file_hash=f"hash-{account.pk}", file_name="day.csv",
        imported_by=owner, imported_at=clock.now(), finished_at=clock.now(),
    )  # fmt: skip
    moved = Movement.objects.create(
        account=account, kind="charge", number="UAE5CHARGE", amount=-5,
        at=clock.now(), statement=row,
    )  # fmt: skip
    return row, moved


def rows_of(shop, owner, *, phone, receipt, product=None, account=None):
    """Make one row of every model for a shop."""
    product = product or ProductFactory(shop=shop, name=f"Sugar of {shop.name}")
    order = OrderFactory(shop=shop, actor=owner, items=[(product, 2)])
    payment = PaymentFactory(order=order, phone=phone, created_by=owner)
    notice = store_notice(payment, callbacks.success(payment, receipt=receipt))
    settle(payment, receipt)
    collection = Collection.objects.get(payment=payment)
    # The platform's statements are the operator's alone.
    imported, moved = statement_of(account, owner) if account else (None, None)
    return Rows(
        shop,
        {
            "payments/payment": payment,
            "payments/notice": notice,
            "payments/collection": collection,
            "payments/allocation": Allocation.objects.get(collection=collection),
            "payments/refund": refund_of(collection),
            "payments/receipt": receipt_of(collection),
            "payments/statementimport": imported,
            "payments/movement": moved,
            "payments/correction": correction_of(collection, owner),
            "payments/mpesasettings": shop.mpesa_settings,
            "payments/mpesaaccount": account,
            "orders/order": order,
            "shops/product": product,
            "shops/stockmovement": StockMovement.objects.filter(product=product)[0],
            "shops/membership": Membership.objects.get(user=owner, shop=shop),
            "shops/shop": shop,
            "auth/user": owner,
        },
    )


@pytest.fixture(autouse=True)
def staff(alice, mary, bob, audrey, charlie, stranger):
    """All of them have the staff flag: the role alone must decide."""
    get_user_model().objects.update(is_staff=True)


@pytest.fixture
def ours(alice):
    """One row of everything in Alice's shop; the account is the platform's."""
    return rows_of(alice.shop, alice.user, phone="254712345678", receipt="UAE5OURS01")


@pytest.fixture
def theirs(charlie):
    """One row of everything in Charlie's shop."""
    return rows_of(
        charlie.shop,
        charlie.user,
        phone="254733000222",
        receipt="UAE5THEIR1",
        product=charlie.product,
        account=charlie.shop.mpesa_accounts.get(),
    )


@pytest.fixture
def nobodys(db):
    """Rows without a shop, by the path of their pages: the operator's alone."""
    account = accounts.platform_account()
    collection = Collection.objects.create(
        account=account,
        environment=account.environment,
        receipt="UAE5NOBODY",
        amount=700,
        source=Source.CALLBACK,
        sighted_at=clock.now(),
    )
    raw = inbox.Raw(b"rubbish of nobody", False, "203.0.113.7", False)
    imported, moved = statement_of(account, UserFactory())
    receipt = receipt_of(collection)
    notices = []
    for store in (inbox.store_untokened, inbox.count_rejected):
        store(raw)
        notices.append(Notice.objects.latest("pk"))
    orphan = inbox.store_for_payment("0" * 64, raw)
    notices.append(Notice.objects.get(pk=orphan.notice_id))
    return {
        "payments/mpesaaccount": [account],
        "payments/collection": [collection],
        "payments/receipt": [receipt],
        "payments/statementimport": [imported],
        "payments/movement": [moved],
        "payments/notice": notices,
    }


@pytest.fixture
def people(alice, mary, audrey, operator, bob, charlie, stranger):
    """Everybody, by name."""
    return {
        "alice": alice,
        "mary": mary,
        "audrey": audrey,
        "operator": operator,
        "bob": bob,
        "charlie": charlie,
        "stranger": stranger,
    }


@pytest.fixture
def listed():
    """Return the keys of the rows that a list shows, in their order."""

    def read(person, path, **query):
        response = person.get(f"/admin/{path}/", query)
        assert response.status_code == 200, response
        return [row.pk for row in response.context["cl"].result_list]

    return read
