"""Statements, M-Pesa's list and corrections in the books, by who may."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import transaction

from payments import (
    accounts,
    corrections,
    disputes,
    gateways,
    matching,
    receipts,
    statement_import,
)
from payments.enums import Source
from payments.gateways.base import GatewayError
from payments.gateways.organisation import Registered
from payments.models import (
    Collection,
    Correction,
    MpesaAccount,
    Receipt,
    StatementImport,
)
from payments.notices_pull import PullPage, PullRow
from payments.receipts import Told
from payments.statements import GLANCED
from shops.enums import Role
from smartduka.lib import clock
from tests.admin.conftest import settle
from tests.factories import MembershipFactory, OrderFactory, PaymentFactory
from tests.support.facts import nothing_changes
from tests.support.statements import as_csv, as_xlsx, charge, line, paid


pytestmark = pytest.mark.django_db

BASE = "/admin/payments/statementimport/"
UPLOAD = BASE + "upload/"
LIST = BASE + "list/"
REFRESH = 'http-equiv="refresh"'
NUMBER = "UAE5B2K9QT"


@pytest.fixture
def account(charlie):
    """Charlie's own paybill."""
    return charlie.shop.mpesa_accounts.get()


@pytest.fixture
def day():
    """Yesterday in Nairobi, and a moment of it."""
    today = (
        clock.now()
        .astimezone(clock.NAIROBI)
        .replace(hour=0, minute=0, second=0, microsecond=0)
    )
    return today - timedelta(days=1), today, today - timedelta(hours=12)


@pytest.fixture
def file(account, day):
    first, end, at = day
    return as_csv(account, first, end, paid(NUMBER, at), charge(NUMBER, at))


def upload(person, account, data, name="day.csv"):
    sent = {"account": str(account.pk), "file": SimpleUploadedFile(name, data)}
    return person.client.post(UPLOAD, sent, follow=True)


def imported(person, account, data, name="day.csv"):
    """Upload a file, let a worker have it, and return the import's page."""
    response = upload(person, account, data, name)
    [(page, status)] = response.redirect_chain
    assert status == 302
    statement_import.attend(StatementImport.objects.get().pk)
    return person.client.get(page)


def text(response):
    return response.content.decode()


# Uploading.


def test_an_owner_imports_a_statement(charlie, account, file):
    response = upload(charlie, account, file)

    row = StatementImport.objects.get()
    assert response.redirect_chain == [(f"{BASE}{row.pk}/change/", 302)]
    assert (row.account, row.imported_by, row.file_name) == (
        account, charlie.user, "day.csv",
    )  # fmt: skip
    assert (bytes(row.file.body), row.finished_at) == (file, None)
    assert Receipt.objects.count() == 0
    assert "The file is kept, and is being imported." in text(response)
    assert REFRESH in text(response)

    statement_import.attend(row.pk)

    page = text(charlie.get(f"{BASE}{row.pk}/change/"))
    assert "1 payments, 1 of them new, 0 receipts filled in." in page
    assert "Rows that were not read" not in page
    assert REFRESH not in page
    collection = Collection.objects.get()
    assert (collection.receipt, collection.shop) == (NUMBER, charlie.shop)


def test_the_same_file_again_changes_nothing_and_says_so(charlie, account, file):
    imported(charlie, account, file)

    with nothing_changes():
        response = upload(charlie, account, file, "copy.csv")
        statement_import.attend(StatementImport.objects.get().pk)

    row = StatementImport.objects.get()
    assert response.redirect_chain == [(f"{BASE}{row.pk}/change/", 302)]
    page = text(response)
    assert "This very file was imported before: nothing was changed by it." in page
    assert "day.csv" in page


def test_the_same_file_while_it_is_imported_says_so(charlie, account, file):
    upload(charlie, account, file)

    page = text(upload(charlie, account, file, "copy.csv"))

    assert "This very file is here already, and is being imported." in page
    assert StatementImport.objects.count() == 1


def test_progress_is_shown_while_a_worker_is_at_it(charlie, account, file):
    upload(charlie, account, file)
    rows = StatementImport.objects
    address = f"{BASE}{rows.get().pk}/change/"

    rows.update(stage="matching", reached=5000, payments=20000)
    page = text(charlie.get(address))
    assert "Finding whose money they are: 5,000 of 20,000." in page
    assert "40 %" in page
    assert "What it had" not in page
    assert REFRESH in page
    rows.update(stage="new", imported_at=clock.now() - timedelta(hours=1))
    assert "No worker has taken it yet: is one running?" in text(charlie.get(address))
    rows.update(attempts=2)
    assert "It broke off, and is tried again by itself." in text(charlie.get(address))


def test_what_only_a_worker_finds_is_told_in_words(charlie, account, day):
    first, end, at = day
    rows = [paid(f"UAE5B2K{n:03}", at) for n in range(GLANCED)]
    data = as_csv(account, first, end, *rows) + b'"UAE5B2K9QT,never closed'

    page = text(imported(charlie, account, data))

    assert "its quotation marks do not fit together" in page
    assert REFRESH not in page
    assert (Receipt.objects.count(), Collection.objects.count()) == (0, 0)
    row = StatementImport.objects.get()
    assert f"{BASE}{row.pk}/again/" in page

    page = text(charlie.client.post(f"{BASE}{row.pk}/again/", follow=True))
    assert "It is tried again." in page
    assert REFRESH in page
    statement_import.attend(row.pk)
    page = text(charlie.get(f"{BASE}{row.pk}/change/"))
    assert "its quotation marks do not fit together" in page


def test_only_a_manager_has_it_tried_again(charlie, alice, account, file):
    imported(charlie, account, file)
    row = StatementImport.objects.get()
    address = f"{BASE}{row.pk}/again/"

    with nothing_changes():
        page = text(charlie.client.post(address, follow=True))
        assert "There is nothing to try again." in page
        assert alice.client.post(address).status_code == 404
        assert charlie.get(address).status_code == 405
        auditor = MembershipFactory(shop=charlie.shop, role=Role.AUDITOR).user
        type(auditor).objects.filter(pk=auditor.pk).update(is_staff=True)
        charlie.client.force_login(auditor)
        StatementImport.objects.update(finished_at=None, error="It broke off.")
        assert charlie.client.post(address).status_code == 403
        assert "/again/" not in text(charlie.get(f"{BASE}{row.pk}/change/"))


def test_an_import_of_which_no_file_was_kept_says_what_to_do(charlie, account, file):
    imported(charlie, account, file)
    row = StatementImport.objects.get()
    StatementImport.objects.update(finished_at=None)

    assert "Upload the same file again." in text(charlie.get(f"{BASE}{row.pk}/change/"))


def test_bad_rows_are_shown_by_line(charlie, account, day):
    first, end, at = day
    data = as_xlsx(
        account, first, end, paid(NUMBER, at), paid("UAE5B2K9QU", at, "<b>free</b>")
    )

    page = text(imported(charlie, account, data, "day.xlsx"))

    assert "<td>7</td><td>the amount paid in is no sum of money</td>" in page
    assert "Some rows could not be read" in page


def test_a_reversal_without_its_original_is_for_a_person(charlie, account, day):
    first, end, at = day
    unnamed = line("UAE9BACK01", at, "Pay Bill Reversal to 2547****5678", gone="-250")
    data = as_csv(account, first, end, paid(NUMBER, at), unnamed)

    page = text(imported(charlie, account, data))

    assert "KES 250 went back (UAE9BACK01), and the row does not name the" in page
    assert "Some rows are for a person to look at" in page


def test_disputed_money_is_shown_and_can_be_corrected(charlie, account, day):
    first, end, at = day
    settle(charlie.payment, "UAE5GONE01")
    Collection.objects.update(paid_at=at)
    last = end - timedelta(minutes=1)
    data = as_csv(account, first, end, paid(NUMBER, last))

    page = text(imported(charlie, account, data))

    collection = Collection.objects.get(receipt="UAE5GONE01")
    assert disputes.MISSING.replace("'", "&#x27;") in page
    assert f"/admin/payments/correction/of/{collection.pk}/" in page
    disputed = charlie.get("/admin/payments/collection/", {"look": "disputed"})
    assert [one.pk for one in disputed.context["cl"].result_list] == [collection.pk]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"%PDF-1.7 x", "This is a PDF."),
        (b"nothing", "The columns of the statement were not found in this file."),
    ],
)
def test_an_unreadable_file_is_told_in_words(charlie, account, data, words):
    response = upload(charlie, account, data)

    assert (response.status_code, words in text(response)) == (200, True)
    assert StatementImport.objects.count() == 0


def test_a_statement_of_another_account_is_refused_in_words(charlie, account, day):
    first, end, at = day
    foreign = as_csv(accounts.platform_account(), first, end, paid(NUMBER, at))

    response = upload(charlie, account, foreign)

    assert "This statement is of 600100, not of Paybill 600200." in text(response)
    assert (StatementImport.objects.count(), Receipt.objects.count()) == (0, 0)


@pytest.mark.parametrize("sent", [{}, {"file": ""}, {"account": "x"}])
def test_a_form_that_is_not_filled_in_is_shown_again(charlie, sent):
    response = charlie.client.post(UPLOAD, sent)

    assert response.status_code == 200
    assert "errorlist" in text(response)


def test_a_file_that_is_too_large_is_not_read(charlie, account, monkeypatch):
    monkeypatch.setattr("payments.admin.statements.FILE_LIMIT", 100)

    response = upload(charlie, account, b"x" * 101)

    assert "larger than 10 MB" in text(response)


def test_nobody_imports_for_an_account_that_is_not_theirs(
    people, account, charlie, file
):
    platform = accounts.platform_account()
    for name, status in {"alice": 200, "mary": 200, "audrey": 403}.items():
        for target in (account, platform):
            response = upload(people[name], target, file)
            assert response.status_code == status, (name, target)
            if status == 200:
                assert "errorlist" in text(response)
    for name in ("bob", "stranger"):
        assert upload(people[name], account, file).status_code in (302, 403)
    assert (StatementImport.objects.count(), Receipt.objects.count()) == (0, 0)


def test_the_operator_imports_for_the_platform(operator, day):
    first, end, at = day
    platform = accounts.platform_account()

    response = imported(
        operator, platform, as_csv(platform, first, end, paid(NUMBER, at))
    )

    assert response.status_code == 200
    assert Collection.objects.get().shop is None


def test_an_auditor_reads_and_is_offered_nothing(charlie, account, file):
    row_page = upload(charlie, account, file).redirect_chain[0][0]
    auditor = MembershipFactory(shop=charlie.shop, role=Role.AUDITOR).user
    type(auditor).objects.filter(pk=auditor.pk).update(is_staff=True)
    client = charlie.client
    client.force_login(auditor)

    assert client.get(row_page).status_code == 200
    assert UPLOAD not in text(client.get(BASE))
    assert client.get(UPLOAD).status_code == 403
    assert client.get(LIST).status_code == 403


# What was told.


def test_a_receipt_shows_what_each_source_said(charlie, account, file, day):
    with transaction.atomic():
        told = Told(NUMBER, Decimal(300), payer="254711222333", paid_at=day[2])
        receipts.sight(account, told, Source.C2B)
    imported(charlie, account, file)

    receipt = Receipt.objects.get()
    page = text(charlie.get(f"/admin/payments/receipt/{receipt.pk}/change/"))

    for words in (
        "M-Pesa&#x27;s notice of a payment by hand", "M-Pesa&#x27;s statement",
        "KES 300", "KES 250", "day.csv", "0711 ••• 333",
        "says KES 250, before it was KES 300.",
    ):  # fmt: skip
        assert words in page, words
    assert "254711222333" not in page


def test_a_shop_on_the_platform_sees_the_receipts_of_its_own_money(
    alice, ours, nobodys, theirs, listed
):
    assert listed(alice, "payments/receipt") == [ours.receipt.pk]


def test_movements_are_found_from_their_statement(charlie, account, file, listed):
    imported(charlie, account, file)
    row = StatementImport.objects.get()

    [found] = listed(charlie, "payments/movement", statement__id__exact=row.pk)

    page = text(charlie.get(f"/admin/payments/movement/{found}/change/"))
    assert "KES -5" in page
    assert f"{BASE}{row.pk}/change/" in page


# Corrections.


@pytest.fixture
def disputed(alice):
    """KES 250 of Alice's shop that M-Pesa's books do not have."""
    payment = PaymentFactory(order=OrderFactory(shop=alice.shop))
    settle(payment, NUMBER)
    Collection.objects.update(disputed=disputes.MISSING)
    return Collection.objects.get()


def ask(person, collection, **changes):
    sent = {"way": "less", "amount": "250", "reason": "Never came"} | changes
    return person.client.post(
        f"/admin/payments/correction/of/{collection.pk}/", sent, follow=True
    )


def decide(person, row, verb):
    return person.client.post(
        f"/admin/payments/correction/{row.pk}/{verb}/", follow=True
    )


def test_two_people_correct_the_books(alice, mary, disputed):
    page = text(ask(mary, disputed))
    row = Correction.objects.get()
    assert (row.amount, row.asked_by, row.state) == (-250, mary.user, "asked")
    assert "you asked for it" in page
    assert "Book it" not in page

    decide(mary, row, "book")
    row.refresh_from_db()
    assert row.state == "asked"

    page = text(decide(alice, row, "book"))
    row.refresh_from_db()
    assert (row.state, row.decided_by) == ("booked", alice.user)
    assert "Booked: −KES 250." in page  # noqa: RUF001 -- a minus
    disputed.refresh_from_db()
    assert disputed.allocations.last().kind == "correction"


def test_more_is_asked_for_with_its_sign(mary, disputed):
    ask(mary, disputed, way="more", amount="50.50")

    assert Correction.objects.get().amount == Decimal("50.50")


def test_a_correction_is_refused(alice, mary, disputed):
    ask(mary, disputed)
    row = Correction.objects.get()

    with nothing_changes():
        decide(alice, row, "refuse")

    row.refresh_from_db()
    assert row.state == "refused"


def test_what_cannot_be_corrected_is_told(mary, disputed):
    assert "Only KES 250 of this money is left" in text(
        ask(mary, disputed, amount="251")
    )
    Collection.objects.update(disputed="")
    assert corrections.NotDisputed.message.replace("'", "&#x27;") in text(
        ask(mary, disputed)
    )
    assert Correction.objects.count() == 0


def test_the_button_is_there_while_it_is_disputed(mary, audrey, disputed):
    page = f"/admin/payments/collection/{disputed.pk}/change/"
    address = f"/admin/payments/correction/of/{disputed.pk}/"

    assert address in text(mary.get(page))
    assert address not in text(audrey.get(page))
    Collection.objects.update(disputed="")
    assert address not in text(mary.get(page))


def test_corrections_of_another_shop_are_not_there(people, mary, disputed):
    ask(mary, disputed)
    row = Correction.objects.get()
    expected = {"charlie": 404, "audrey": 403, "operator": 403}
    for name, status in expected.items():
        with nothing_changes():
            for answer in (
                ask(people[name], disputed),
                people[name].get(f"/admin/payments/correction/of/{disputed.pk}/"),
                decide(people[name], row, "book"),
                decide(people[name], row, "refuse"),
            ):
                assert answer.status_code == status, name
    row.refresh_from_db()
    assert row.state == "asked"


def test_buttons_are_posted(alice, mary, disputed):
    ask(mary, disputed)
    row = Correction.objects.get()

    for verb in ("book", "refuse"):
        address = f"/admin/payments/correction/{row.pk}/{verb}/"
        assert alice.get(address).status_code == 405


# M-Pesa's list.


class FakeList:
    """One row, then nothing; or an error."""

    def __init__(self):
        self.error = None
        self.numbers = []

    def pull(self, account, query, *, limit_s):
        if self.error:
            raise self.error
        if query.offset:
            return PullPage("1001")
        return PullPage("1000", (PullRow(NUMBER, Decimal(250), reference="MAMA"),))

    def register_pull(self, account, request, *, limit_s):
        if self.error:
            raise self.error
        self.numbers.append(request.nominated_number)
        return Registered()


@pytest.fixture
def mpesas_list(monkeypatch):
    fake = FakeList()
    monkeypatch.setattr(gateways, "organisation", lambda: fake)
    return fake


def press(person, account, button, **sent):
    address = f"{LIST}{account.pk}/{button}/"
    return person.client.post(address, sent, follow=True)


def test_an_owner_registers_for_the_list_and_reads_it(charlie, account, mpesas_list):
    page = text(press(charlie, account, "register", number="0733 000 111"))
    assert "registered. Its list is read from now on." in page
    assert mpesas_list.numbers == ["254733000111"]

    page = text(press(charlie, account, "read"))
    assert "in the list, 1 of them new." in page
    account.refresh_from_db()
    assert account.pulled_until is not None
    assert Receipt.objects.get().number == NUMBER


def test_what_m_pesa_says_against_it_is_shown(charlie, account, mpesas_list):
    mpesas_list.error = GatewayError("HTTP 500", certain=False)
    words = "M-Pesa did not answer as it should: HTTP 500."

    assert words in text(press(charlie, account, "register", number="0733000111"))
    assert "Give the account" in text(press(charlie, account, "register"))
    assert "not a Kenyan" in text(press(charlie, account, "register", number="12"))
    assert "not registered" in text(press(charlie, account, "read"))
    MpesaAccount.objects.filter(pk=account.pk).update(pull_registered_at=clock.now())
    assert words in text(press(charlie, account, "read"))
    assert words in text(charlie.get(LIST))


def test_a_list_that_is_being_read_is_left_alone(charlie, account, mpesas_list):
    later = clock.now() + timedelta(minutes=1)
    MpesaAccount.objects.filter(pk=account.pk).update(
        pull_registered_at=clock.now(), pull_leased_until=later
    )

    assert "being read already" in text(press(charlie, account, "read"))
    assert Receipt.objects.count() == 0


def test_lists_of_other_accounts_are_not_there(people, account, mpesas_list):
    platform = accounts.platform_account()
    with nothing_changes():
        for target in (account, platform):
            for button in ("register", "read"):
                for name in ("alice", "mary"):
                    answer = press(people[name], target, button, number="0733000111")
                    assert answer.status_code == 404
                answer = press(people["audrey"], target, button, number="0733000111")
                assert answer.status_code == 403
    assert mpesas_list.numbers == []
    assert "600200" not in text(people["alice"].get(LIST))
    operators = text(people["operator"].get(LIST))
    assert "600200" in operators
    assert "600100" in operators


def test_held_receipts_are_found(charlie, account, listed):
    with transaction.atomic():
        told = receipts.sight(account, Told(NUMBER, Decimal(70)), Source.C2B)
    matching.resolve(told.pk)

    assert listed(charlie, "payments/receipt", look="claimed") == [told.pk]
    assert listed(charlie, "payments/receipt", look="held") == []
    assert listed(charlie, "payments/receipt", q=NUMBER.lower()) == [told.pk]
