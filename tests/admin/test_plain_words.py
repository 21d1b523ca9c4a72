"""The books speak to a shopkeeper: what waits, what is doubtful, and what was said."""

import re

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from payments import accounts, inbox, matching, receipts
from payments.admin import attention, cells
from payments.enums import Source, Verdict
from payments.models import Allocation, Collection, Notice, Payment, Receipt
from payments.receipts import Told
from smartduka.admin_site import site
from smartduka.lib import clock
from tests.admin.conftest import rows_of, settle
from tests.factories import OrderFactory, PaymentFactory
from tests.support.facts import kes


DISPUTED = "M-Pesa's statement does not have this payment."
PILL = '<span class="pill bad">Disputed</span>'


def text_of(person, path):
    return person.get(f"/admin/{path}").content.decode()


def waiting(person):
    """What the home page says: the name and count of each question, and its link."""
    found = person.get("/admin/").context["waiting"]
    return {one.name: (one.count, one.address) for one in found}


@pytest.fixture
def disputed(ours):
    """Alice's money, which M-Pesa's statement does not have."""
    Collection.objects.filter(pk=ours.collection.pk).update(
        disputed=DISPUTED, disputed_at=clock.now()
    )
    return ours


# Names.


def test_home_names_the_books_as_people_do(alice):
    page = alice.get("/admin/")

    groups = {
        group["name"]: [entry["name"] for entry in group["models"]]
        for group in page.context["app_list"]
    }
    assert groups == {
        "Sales and payments": ["Sales", "Payments", "Failed payments", "Refunds"],
        "Money": ["Money received", "Where money went", "Corrections"],
        "M-Pesa": [
            "M-Pesa messages", "M-Pesa receipts", "M-Pesa statements",
            "Fees and transfers", "M-Pesa settings", "M-Pesa accounts",
            "Go-live doctor",
        ],
        "Shop": ["Products", "How stock moved", "Staff", "Suspicions", "Audit log", "Shops"],
    }  # fmt: skip


def test_list_page_and_history_stand_in_the_book_of_that_name(operator, ours):
    settings = ours.mpesasettings
    for path in (
        "payments/mpesasettings/",
        f"payments/mpesasettings/{settings.pk}/change/",
        f"payments/mpesasettings/{settings.pk}/history/",
        "payments/mpesasettings/add/",
    ):
        found = re.search(
            r'class="breadcrumbs">(.*?)</div>', text_of(operator, path), re.DOTALL
        )
        assert "M-Pesa settings" in found[1], path
        assert "Mpesa" not in found[1], path


def test_page_of_one_app_leads_home(alice):
    assert alice.get("/admin/payments/").url == "/admin/"
    assert alice.get("/admin/nothing/").status_code == 404


def test_every_kind_of_message_has_a_name():
    kinds = {
        inbox.STK, inbox.C2B, inbox.RESULT, inbox.TIMEOUT, inbox.UNTOKENED,
        inbox.REJECTED, inbox.ORPHAN,
    }  # fmt: skip
    assert set(cells.NOTICES) == kinds


def test_every_verdict_says_what_it_means(alice, ours):
    for verdict in Verdict:
        Notice.objects.filter(pk=ours.notice.pk).update(verdict=verdict)
        page = alice.get(f"/admin/payments/notice/{ours.notice.pk}/change/")
        assert page.context["meaning"], verdict
        assert f"<h2>{verdict.label}</h2>" in page.content.decode(), verdict


def test_empty_list_says_whether_it_is_the_choice(audrey):
    assert "Nothing here yet." in text_of(audrey, "payments/refund/")
    chosen = text_of(audrey, "payments/refund/?look=waits")
    assert "Nothing fits what you chose." in chosen
    assert '<a href="?">Show everything</a>' in chosen


# What needs a person.


def test_home_says_what_waits_and_leads_to_it(alice, disputed):
    PaymentFactory(order=OrderFactory(shop=alice.shop), alarm="Paid twice.")
    Notice.objects.update(verdict=Verdict.PARKED)

    found = waiting(alice)

    assert found == {
        "M-Pesa's books say otherwise": ("1", "/admin/payments/collection/?look=disputed"),
        "Payments with an alarm": ("1", "/admin/payments/payment/?look=alarm"),
        "Messages that could not be processed": (
            "1", "/admin/payments/notice/?look=parked",
        ),
    }  # fmt: skip
    for name, (count, address) in found.items():
        assert alice.get(address).context["cl"].result_count == int(count), name


def test_home_is_calm_when_nothing_waits(alice):
    assert "Nothing waits for you." in text_of(alice, "")


def test_home_tells_no_shop_of_anothers(alice, charlie, disputed):
    assert waiting(charlie) == {}


def test_home_tells_of_todays_failures_and_no_older_ones(alice):
    for reason in ("wrong_pin", "other"):
        PaymentFactory(
            order=OrderFactory(shop=alice.shop), status="failed",
            failure_reason=reason, decided_at=clock.now(), next_ask_at=None,
        )  # fmt: skip
    old = Payment.objects.filter(failure_reason="other")
    start = clock.day_bounds(clock.now().astimezone(clock.NAIROBI).date())[0]
    old.update(created_at=start - clock.seconds(1))

    count, address = waiting(alice)["Payments failed today"]

    assert count == "1"
    assert address == "/admin/payments/failedpayment/?day=today"
    assert len(alice.get(address).context["cl"].result_list) == 1

    Payment.objects.update(seen_at=clock.now(), seen_by=alice.user)
    assert "Payments failed today" not in waiting(alice)
    assert len(alice.get(address).context["cl"].result_list) == 0


def test_home_tells_of_old_rows_and_counts_to_its_limit(alice, monkeypatch):
    monkeypatch.setattr(attention, "MOST", 1)
    PaymentFactory(order=OrderFactory(shop=alice.shop), alarm="Paid twice.")
    for _ in range(3):
        PaymentFactory(order=OrderFactory(shop=alice.shop))
    assert waiting(alice)["Payments with an alarm"][0] == "1"

    PaymentFactory(order=OrderFactory(shop=alice.shop), alarm="Paid twice.")
    assert waiting(alice)["Payments with an alarm"][0] == "1+"


def test_home_counts_no_money_of_the_sandbox_after_going_live(
    operator, unmatched, settings
):
    told = Told("UAE5CLAIM1", kes(70), "2547 ***** 678", "JANE")
    with transaction.atomic():
        receipt = receipts.sight(accounts.platform_account(), told, Source.C2B)
    matching.resolve(receipt.pk)
    both = {"Money that no sale took", "Payments by hand not confirmed"}
    assert both <= set(waiting(operator))

    settings.MPESA_ENV = "sandbox"

    assert not both & set(waiting(operator))


def test_home_costs_one_count_for_each_question(alice, ours):
    with CaptureQueriesContext(connection) as captured:
        alice.get("/admin/home/waiting/")

    counts = [one["sql"] for one in captured if "COUNT(" in one["sql"]]
    assert len(counts) == len(attention.QUESTIONS) + 1
    assert all(f"LIMIT {attention.MOST + 1}" in one for one in counts)


def test_every_question_leads_to_its_own_list():
    for one in attention.QUESTIONS:
        filters = site.get_model_admin(one.model).list_filter
        assert one.filter in filters, one.name


# Disputed money.


@pytest.mark.parametrize(
    "path",
    [
        "payments/collection/", "payments/allocation/", "payments/refund/",
        "payments/receipt/", "payments/correction/",
    ],
)  # fmt: skip
def test_list_says_that_money_is_disputed(alice, disputed, path):
    assert PILL in text_of(alice, path)

    Collection.objects.update(disputed="")
    assert PILL not in text_of(alice, path)


@pytest.mark.parametrize(
    "name", ["payment", "collection", "receipt", "refund", "correction"]
)
def test_page_says_first_that_its_money_is_disputed(alice, disputed, name):
    row = getattr(disputed, name)
    text = text_of(alice, f"payments/{name}/{row.pk}/change/")

    assert '<section class="verdict bad"' in text
    assert text.index("does not have this payment.</h2>") < text.index("<fieldset")


def test_page_of_disputed_money_offers_the_correction(alice, disputed):
    money = disputed.collection
    text = text_of(alice, f"payments/collection/{money.pk}/change/")

    assert f"/admin/payments/correction/of/{money.pk}/" in text
    assert "Disputed since" in text


# What people said.


@pytest.fixture
def unmatched(db):
    """KES 250 on the platform's account whose account number names no payment."""
    told = Told("UAE5B2K9QT", kes(250), "2547 ***** 678", "JANE", "call 0712 345 678")
    with transaction.atomic():
        receipt = receipts.sight(accounts.platform_account(), told, Source.STATEMENT)
    matching.resolve(receipt.pk)
    return Collection.objects.get()


def test_reason_of_handing_over_stands_on_receipt_and_money(
    operator, alice, unmatched, duka
):
    page = f"payments/receipt/{Receipt.objects.get().pk}/change/"
    assert "What people did" not in text_of(operator, page)

    operator.client.post(
        f"/admin/payments/collection/{unmatched.pk}/place/",
        {"shop": duka.pk, "reason": "The owner showed the SMS"},
    )

    for person in (operator, alice):
        for path in (page, f"payments/collection/{unmatched.pk}/change/"):
            text = text_of(person, path)
            assert "Handed to Mama Mboga: The owner showed the SMS" in text, path
            assert "operator, <time" in text, path


def test_phone_typed_as_account_number_is_masked(operator, unmatched):
    for path in (
        "payments/receipt/",
        f"payments/receipt/{Receipt.objects.get().pk}/change/",
        f"payments/collection/{unmatched.pk}/place/",
    ):
        text = text_of(operator, path)
        assert "call 0712 ••• 678" in text, path
        assert "345 678" not in text, path


@pytest.mark.parametrize("said", ["0712345678", "+254 712 345 678", "0712-345-678"])
def test_phone_is_masked_however_it_is_grouped(said):
    assert "345" not in cells.plain(f"from {said}.")


def test_portions_are_told_in_words(alice):
    order = OrderFactory(shop=alice.shop)
    for receipt in ("UAE5PAID01", "UAE5PAID02"):
        settle(PaymentFactory(order=order, amount=250), receipt)
    told = {cells.portion(one) for one in Allocation.objects.select_related("order")}

    assert told == {"KES 250 for sale #1", "KES 250 surplus of sale #1"}


def test_settings_are_told_in_words_to_who_may_not_change_them(alice, mary, audrey):
    row = alice.shop.mpesa_settings
    for person, boxes in ((alice, 2), (mary, 1), (audrey, 0)):
        text = text_of(person, f"payments/mpesasettings/{row.pk}/change/")
        assert text.count('type="number"') == boxes
        assert "The platform&#x27;s account" in text


def test_decision_says_what_it_does(alice, mary, ours):
    row = ours.correction
    type(row).objects.filter(pk=row.pk).update(state="asked", asked_by=mary.user)
    text = text_of(alice, f"payments/correction/{row.pk}/change/")

    assert "Our books then have so much less of this money" in text
    assert "Nothing in the books changes then" in text


def test_other_shops_acts_are_not_shown(alice, charlie):
    theirs = rows_of(
        charlie.shop, charlie.user, phone="254733000222", receipt="UAE5THEIR1",
        product=charlie.product, account=charlie.shop.mpesa_accounts.get(),
    )  # fmt: skip
    page = f"payments/collection/{theirs.collection.pk}/change/"

    assert alice.get(f"/admin/{page}").status_code == 404
