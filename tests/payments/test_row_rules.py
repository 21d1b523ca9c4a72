"""What the database refuses of a row of money, whatever the code above it does."""

import itertools

import pytest
from django.apps import apps
from django.db.models import F

from payments import accounts
from payments.models import (
    AccountHook,
    Allocation,
    AuditChain,
    AuditMark,
    AuditSeal,
    CodeClaim,
    Collection,
    Correction,
    Examination,
    Movement,
    MpesaSettings,
    Notice,
    OrganisationRequest,
    Payment,
    Receipt,
    Refund,
    RefundPart,
    Sighting,
    StatementFile,
    StatementImport,
    Suspicion,
)
from smartduka.lib import clock
from tests.factories import (
    MpesaAccountFactory,
    OrderFactory,
    PaymentFactory,
    ShopFactory,
)
from tests.support.refusals import never_becomes, never_shares


pytestmark = pytest.mark.django_db

NOW = clock.now()


class Rows:
    """Makes rows that the database takes, each time another one."""

    def __init__(self, shop, user):
        self.shop, self.user = shop, user
        self.account = accounts.platform_account()
        self.numbers = itertools.count(1)

    def text(self):
        return f"UAE5B2K9Q{next(self.numbers)}"

    def payment_event(self):
        return PaymentFactory(order=OrderFactory(shop=self.shop)).events.first()

    def collection(self, **facts):
        return Collection.objects.create(
            shop=self.shop, amount=100, source="drawer", sighted_at=NOW, **facts
        )

    def allocation(self, **facts):
        return Allocation.objects.create(
            collection=self.collection(), amount=100, created_at=NOW,
            **{"kind": "surplus"} | facts,
        )  # fmt: skip

    def release(self):
        return self.allocation(kind="release", releases=self.allocation())

    def receipt(self, **facts):
        return Receipt.objects.create(
            account=self.account, number=self.text(), amount=100, seen_at=NOW, **facts
        )

    def counted(self):
        return self.receipt(state="counted", collection=self.collection())

    def sighting(self):
        return Sighting.objects.create(
            receipt=self.receipt(), source="pull", amount=100, seen_at=NOW
        )

    def code_claim(self):
        return CodeClaim.objects.create(
            shop=self.shop, order=OrderFactory(shop=self.shop), account=self.account,
            number=self.text(), created_by=self.user, created_at=NOW,
        )  # fmt: skip

    def request(self):
        return OrganisationRequest.objects.create(
            kind="reversal", account=self.account, receipt="UAE5B2K9QT", asked_at=NOW,
            token_hash=self.text(),
        )  # fmt: skip

    def refund(self):
        reserved = self.allocation(kind="reserved")
        return Refund.objects.create(
            shop=self.shop, collection=reserved.collection, reserved=reserved,
            method="reversal", amount=100, request=self.request(), asked_at=NOW,
        )  # fmt: skip

    def refund_part(self):
        return RefundPart.objects.create(
            refund=self.refund(), source=self.allocation(), amount=100
        )

    def statement(self, **facts):
        return StatementImport.objects.create(
            account=self.account, file_hash=self.text(), file_name="day.csv",
            imported_by=self.user, imported_at=NOW, **facts,
        )  # fmt: skip

    def due_statement(self):
        return self.statement(next_try_at=NOW)

    def statement_file(self):
        return StatementFile.objects.create(statement=self.statement(), body=b"x")

    def movement(self):
        return Movement.objects.create(
            account=self.account, kind="charge", number=self.text(), amount=-5, at=NOW,
            statement=self.statement(),
        )  # fmt: skip

    def correction(self):
        return Correction.objects.create(
            collection=self.collection(), amount=-100, reason="Not there",
            asked_by=self.user, asked_at=NOW,
        )  # fmt: skip

    def suspicion(self):
        return Suspicion.objects.create(
            kind="refunds", shop=self.shop, subject=self.text(), person=self.user,
            count=9, first_at=NOW, last_at=NOW,
        )  # fmt: skip

    def own_account(self):
        number = f"60{next(self.numbers):04}"
        return MpesaAccountFactory(shop=self.shop, shortcode=number)

    def hook(self):
        return AccountHook.objects.create(
            account=self.account, token_hash=self.text(), text_hash=self.text(),
            created_at=NOW,
        )  # fmt: skip

    def settings(self):
        return MpesaSettings.objects.create(
            shop=ShopFactory(), account=self.own_account()
        )

    def examination(self):
        account = self.own_account()
        return Examination.objects.create(
            subject=str(account.pk), account=account, health="fine", findings=[],
            examined_at=NOW,
        )  # fmt: skip

    def examination_of_all(self):
        return Examination.objects.create(
            subject="installation", health="fine", findings=[], examined_at=NOW
        )

    def notice(self, **owner):
        return Notice.objects.create(
            body=b"x", body_hash=self.text(), received_at=NOW, **owner
        )

    def account_notice(self):
        return self.notice(account=self.account)

    def request_notice(self):
        return self.notice(request=self.request(), kind="result")

    def chain(self):
        return AuditChain.objects.create(name=self.text())

    def mark(self):
        return AuditMark.objects.create(kind=self.text())

    def seal(self):
        number = next(self.numbers)
        return AuditSeal.objects.create(
            chain=self.chain(), kind="payment", row_id=number, position=number,
            sealed_at=NOW,
        )  # fmt: skip


@pytest.fixture
def rows(duka, alice):
    return Rows(duka, alice.user)


@pytest.mark.parametrize(
    ("row", "name", "changes"),
    [
        ("allocation", "allocation_released_is_named", {"kind": "release"}),
        ("allocation", "allocation_released_is_named", {"releases": F("pk")}),
        ("release", "allocation_released_is_named", {"kind": "surplus"}),
        ("release", "allocation_released_is_named", {"releases": None}),
        ("allocation", "allocation_to_credit_names_the_customer", {"kind": "credit"}),
        ("receipt", "receipt_number_is_in_capitals", {"number": "uae5b2k9qt"}),
        ("receipt", "receipt_amount_is_positive", {"amount": 0}),
        ("receipt", "receipt_amount_is_positive", {"amount": -1}),
        ("receipt", "receipt_is_counted_by_its_collection", {"state": "counted"}),
        ("counted", "receipt_is_counted_by_its_collection", {"state": "held"}),
        ("counted", "receipt_is_counted_by_its_collection", {"state": "claimed"}),
        ("counted", "receipt_is_counted_by_its_collection", {"collection": None}),
        ("refund", "refund_amount_is_positive", {"amount": 0}),
        ("refund", "refund_amount_is_positive", {"amount": -1}),
        ("refund", "refund_state_is_known", {"state": "lost"}),
        ("refund_part", "refund_part_is_positive", {"amount": 0}),
        ("refund_part", "refund_part_is_positive", {"amount": -1}),
        ("payment_event", "payment_event_status_is_known", {"new": "paid"}),
        ("request", "organisation_request_kind_is_known", {"kind": "gift"}),
        ("request", "organisation_request_state_is_known", {"state": "lost"}),
        ("due_statement", "statement_is_not_due_when_finished", {"finished_at": NOW}),
        ("correction", "correction_changes_something", {"amount": 0}),
        ("correction", "correction_is_booked_by_two_people", {"state": "booked"}),
        (
            "correction",
            "correction_is_booked_by_two_people",
            {"state": "booked", "decided_by": F("asked_by")},
        ),
        ("suspicion", "suspicion_kind_is_known", {"kind": "envy"}),
        (
            "suspicion",
            "suspicion_was_seen_by_somebody_who_says_what",
            {"seen_at": NOW, "seen_reason": "Known"},
        ),
        (
            "suspicion",
            "suspicion_was_seen_by_somebody_who_says_what",
            {"seen_at": NOW, "seen_by": F("person")},
        ),
        ("examination", "examination_health_is_known", {"health": "ill"}),
        (
            "examination",
            "examination_is_of_an_account_or_the_installation",
            {"account": None},
        ),
        (
            "examination",
            "examination_is_of_an_account_or_the_installation",
            {"subject": "installation"},
        ),
        (
            "examination_of_all",
            "examination_is_of_an_account_or_the_installation",
            {"subject": "nobody"},
        ),
        (
            "settings",
            "shop_uses_its_own_account_or_the_platforms",
            {"uses_platform_account": True},
        ),
        ("own_account", "mpesa_account_type_is_known", {"type": "bank"}),
    ],
    ids=str,
)
def test_the_database_refuses_a_row_that_cannot_be(rows, row, name, changes):
    never_becomes(getattr(rows, row)(), name, **changes)


@pytest.mark.parametrize(
    ("row", "name", "columns"),
    [
        ("refund_part", "refund_takes_once_of_a_portion", ["refund", "source"]),
        ("refund", "collection_has_one_undecided_refund", ["collection"]),
        ("receipt", "receipt_is_one_row_of_an_account", ["number"]),
        ("sighting", "receipt_is_sighted_once_by_a_source", ["receipt"]),
        ("code_claim", "code_is_claimed_for_one_sale_at_a_time", ["number"]),
        ("statement", "statement_is_imported_once", ["file_hash"]),
        ("movement", "movement_is_booked_once", ["number"]),
        ("correction", "collection_has_one_open_correction", ["collection"]),
        ("suspicion", "subject_has_one_open_suspicion_of_a_kind", ["subject"]),
        ("own_account", "shortcode_belongs_to_one_account", ["shortcode"]),
        ("own_account", "party_b_belongs_to_one_account", ["party_b"]),
        ("account_notice", "notice_of_an_account_is_stored_once", ["body_hash"]),
        (
            "request_notice",
            "notice_of_a_request_is_stored_once",
            ["request", "body_hash"],
        ),
        ("notice", "notice_of_nobody_is_stored_once", ["body_hash"]),
        ("seal", "chain_has_one_seal_at_a_position", ["chain", "position"]),
        ("seal", "row_is_sealed_once", ["row_id"]),
    ],
    ids=str,
)
def test_the_database_refuses_a_second_row_of_the_same(rows, row, name, columns):
    first, second = getattr(rows, row)(), getattr(rows, row)()

    never_shares(second, first, *columns, name=name)


# What is unique by itself: model and column, and which rows are tried.
UNIQUE_COLUMNS = {
    (Allocation, "releases"): "release",
    (Receipt, "collection"): "counted",
    (Refund, "reserved"): "refund",
    (Refund, "request"): "refund",
    (OrganisationRequest, "token_hash"): "request",
    (StatementFile, "statement"): "statement_file",
    (AccountHook, "token_hash"): "hook",
    (AccountHook, "text_hash"): "hook",
    (MpesaSettings, "shop"): "settings",
    (Examination, "account"): "examination",
    (AuditChain, "name"): "chain",
    (AuditMark, "kind"): "mark",
}
# Those of a payment are tried in test_lifecycle.
TRIED_ELSEWHERE = {
    (Payment, "retry_of"),
    (Payment, "token_hash"),
    (Payment, "checkout_request_id"),
}


@pytest.mark.parametrize(
    ("unique", "row"),
    UNIQUE_COLUMNS.items(),
    ids=[f"{model.__name__}.{column}" for model, column in UNIQUE_COLUMNS],
)
def test_the_database_refuses_the_same_value_twice(rows, unique, row):
    first, second = getattr(rows, row)(), getattr(rows, row)()

    never_shares(second, first, unique[1])


def test_every_unique_column_of_money_is_tried():
    assert UNIQUE_COLUMNS.keys() | TRIED_ELSEWHERE == {
        (model, field.name)
        for model in apps.get_app_config("payments").get_models()
        for field in model._meta.local_fields
        if field.unique and not field.primary_key
    }
