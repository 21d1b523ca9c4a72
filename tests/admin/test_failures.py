"""Failed payments in the books: who sees which, what is said, and the acts."""

import csv
import io
from datetime import timedelta

import pytest
from django.apps import apps
from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_user_model
from django.contrib.contenttypes.models import ContentType
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from openpyxl import load_workbook

from payments import failure_sheets, failures, gateways
from payments.admin import failures as pages
from payments.enums import FailureReason, PaymentStatus
from payments.gateways import result_codes
from payments.models import Payment, PaymentEvent, PhoneGuard
from shops.enums import Role
from smartduka.lib import clock
from tests.factories import MembershipFactory, OrderFactory, PaymentFactory
from tests.support.facts import nothing_changes
from tests.support.gateway import FakeMpesa, final


LIST = "/admin/payments/failedpayment/"
FILES = tuple(f"{LIST}export.{kind}" for kind in ("csv", "xlsx"))


@pytest.fixture(autouse=True)
def mpesa(monkeypatch):
    fake = FakeMpesa()
    monkeypatch.setattr(gateways, "mpesa", lambda: fake)
    return fake


@pytest.fixture(autouse=True)
def kinds_of_rows_are_known(db):
    """Django keeps these per process: the first page would pay for the others."""
    ContentType.objects.get_for_models(*apps.get_models())


def failed(person, reason="cancelled_on_phone", code="1032", **facts):
    """An attempt that failed a while ago, for certain."""
    began = clock.now() - timedelta(minutes=30)
    facts = {
        "order": facts.pop("order", None) or OrderFactory(shop=person.shop),
        "created_by": person.user, "created_at": began,
        "decided_at": began + timedelta(seconds=20), "result_code": code,
        "failure_reason": reason, "may_retry": True, "next_ask_at": None,
    } | facts  # fmt: skip
    payment = PaymentFactory(status=PaymentStatus.FAILED, **facts)
    PhoneGuard.objects.all().delete()
    return payment


def unclear(person, **facts):
    """An attempt that nobody knows about, long after its time."""
    facts = {
        "order": facts.pop("order", None) or OrderFactory(shop=person.shop),
        "created_by": person.user, "created_at": clock.now() - timedelta(minutes=12),
    } | facts  # fmt: skip
    return PaymentFactory(**facts)


def act(person, name, *payments, address=LIST):
    keys = [str(payment.pk) for payment in payments]
    body = {"action": name, "_selected_action": keys}
    return person.client.post(address, body, follow=True)


def told(response):
    return [str(message) for message in response.context["messages"]]


def shown(response):
    return {row.pk for row in response.context["cl"].result_list}


def sheet(person, kind, **query):
    response = person.get(f"{LIST}export.{kind}", query)
    assert response.status_code == 200
    assert response.headers["Content-Disposition"].endswith(f'.{kind}"')
    if kind == "csv":
        text = response.content.decode("utf-8-sig")
        return list(csv.reader(io.StringIO(text)))
    book = load_workbook(io.BytesIO(response.content))
    return [
        ["" if cell is None else str(cell) for cell in row]
        for row in book.active.iter_rows(values_only=True)
    ]


# What is listed, and in which words.


def test_list_holds_what_brought_no_money_and_is_over_or_unclear(alice, listed):
    order = OrderFactory(shop=alice.shop)
    expected = {
        failed(alice, order=order).pk,
        unclear(alice).pk,
        unclear(alice, status=PaymentStatus.EXPIRED).pk,
        unclear(alice, status=PaymentStatus.CANCELLED).pk,
        # Its push was answered by nobody, a moment ago.
        PaymentFactory(
            order=order, status=PaymentStatus.CREATED, checkout_request_id=None
        ).pk,
        # M-Pesa said something vague.
        PaymentFactory(order=order, result_code="1037").pk,
    }
    waiting = PaymentFactory(order=order)
    unanswered = PaymentFactory(
        order=order, status=PaymentStatus.CREATED, answered_at=None
    )
    now = clock.now()
    paid = PaymentFactory(
        order=order, status=PaymentStatus.COMPLETED, completed_at=now, decided_at=now
    )

    rows = set(listed(alice, LIST.strip("/").removeprefix("admin/")))
    assert rows == expected
    assert not rows & {waiting.pk, unanswered.pk, paid.pk}


def test_row_says_why_what_to_do_who_and_how_often(alice, bob):
    order = OrderFactory(shop=alice.shop)
    first = failed(alice, order=order)
    failed(
        bob, "insufficient_funds", "1", order=order, phone="254712345678",
        retry_of=first, attempt=2,
    )  # fmt: skip
    page = alice.get(LIST).content.decode()

    for words in (
        "Not enough money in M-Pesa.", "The customer can top up and try again",
        "0712 ••• 678", "bob", f"#{order.number}", ">2<", "KES 250",
    ):  # fmt: skip
        assert words in page, words
    assert "254712345678" not in page
    assert f'href="/admin/orders/order/{order.pk}/change/"' in page
    assert f'href="/admin/payments/payment/{first.pk}/change/"' in page


@pytest.mark.parametrize("reason", FailureReason)
def test_every_reason_has_words_of_its_own(reason):
    words = result_codes.words("", reason)

    for text in (words.reason_en, words.remedy_en, words.reason_sw, words.remedy_sw):
        assert text.strip()
    assert (words == result_codes.NOT_PAID) == (reason == FailureReason.OTHER)


@pytest.mark.parametrize(
    ("status", "remedy"),
    [
        ("open", "Ask the customer, then try again."),
        ("paid", "Nothing: the sale is paid another way."),
        ("cancelled", "Nothing: the sale was cancelled."),
    ],
)
def test_next_step_depends_on_the_sale(alice, status, remedy):
    payment = failed(alice)
    payment.order.status = status

    assert failures.next_step(payment).remedy("en") == remedy


def test_of_an_unclear_one_the_customer_must_not_pay_again(alice):
    payment = unclear(alice, status=PaymentStatus.EXPIRED)
    payment.order.status = "paid"

    assert "must not pay again" in failures.next_step(payment).reason("en")


def test_of_a_late_one_it_is_not_said_that_the_customer_types(alice):
    late, fresh = unclear(alice), PaymentFactory(result_code="")

    assert "never told us" in failures.next_step(late).reason("en")
    assert "types the M-Pesa PIN" in failures.next_step(fresh).reason("en")


# Filters.


def test_not_seen_yet_is_shown_by_itself(alice, listed):
    new, old = failed(alice), failed(alice)
    Payment.objects.filter(pk=old.pk).update(seen_at=clock.now(), seen_by=alice.user)

    assert shown(alice.get(LIST)) == {new.pk}
    assert shown(alice.get(LIST, {"seen": "yes"})) == {old.pk}
    assert shown(alice.get(LIST, {"seen": "all"})) == {new.pk, old.pk}
    assert shown(alice.get(LIST, {"seen": "nonsense"})) == set()


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"why": "cancelled_on_phone"}, {"cancelled"}),
        ({"why": "wrong_pin"}, {"pin"}),
        ({"why": "unclear"}, {"unclear"}),
        ({"why": "nonsense"}, set()),
        ({"day": "today"}, {"cancelled", "unclear"}),
        ({"day": "2026-01-05"}, {"pin"}),
        ({"sum": "tiny"}, {"pin"}),
        ({"sum": "small"}, {"cancelled", "unclear"}),
        ({"sum": "huge"}, set()),
        ({"by": "bob"}, {"pin"}),
        ({"by": "alice"}, {"cancelled", "unclear"}),
        ({"by": "charlie"}, set()),
        ({"by": "bob", "sum": "small"}, set()),
    ],
)
def test_filters_narrow_the_list_and_its_files(
    alice, bob, charlie, time_machine_noon, query, expected
):
    january = clock.day_bounds(clock.now().date().replace(2026, 1, 5))[0]
    rows = {
        "cancelled": failed(alice),
        "unclear": unclear(alice),
        "pin": failed(
            bob, "wrong_pin", "2001", created_at=january + timedelta(hours=9),
            order=OrderFactory(shop=alice.shop, total=60),
        ),
    }  # fmt: skip
    people = {"alice": alice, "bob": bob, "charlie": charlie}
    if "by" in query:
        query = query | {"by": str(people[query["by"]].user.pk)}

    keys = {rows[name].pk for name in expected}
    assert shown(alice.get(LIST, query)) == keys
    for kind in failure_sheets.KINDS:
        found = {row[11] for row in sheet(alice, kind, **query)[1:]}
        assert found == {str(key) for key in keys}, kind


@pytest.fixture
def time_machine_noon():
    """Noon in Nairobi: half an hour ago was today as well."""
    import time_machine  # noqa: PLC0415 -- this fixture alone

    noon = clock.day_bounds(clock.now().astimezone(clock.NAIROBI).date())[0]
    with time_machine.travel(noon + timedelta(hours=12), tick=True):
        yield


def test_cashiers_of_the_own_shops_alone_are_offered(alice, bob, charlie):
    page = alice.get(LIST)
    [spec] = [s for s in page.context["cl"].filter_specs if s.title == "cashier"]
    names = [choice["display"] for choice in spec.choices(page.context["cl"])]

    assert names == ["All", "alice", "audrey", "bob", "mary"]


@pytest.mark.parametrize("typed", ["0712345678", "+254 712 345 678", "712345678"])
def test_customer_is_found_by_the_whole_phone(alice, charlie, typed):
    wanted = failed(alice, phone="254712345678")
    failed(alice)
    failed(charlie, phone="254712345678")

    assert shown(alice.get(LIST, {"q": typed})) == {wanted.pk}
    for number in (str(wanted.order.number), f"#{wanted.order.number}"):
        assert shown(alice.get(LIST, {"q": number})) == {wanted.pk}
    for nothing in ("345678", "Jirani", "99999999999", "0711111111"):
        assert shown(alice.get(LIST, {"q": nothing})) == set(), nothing


# Mark as seen.


def test_marked_as_seen_it_is_written_down_once_with_who_and_when(alice, mary):
    payment = failed(alice)

    assert told(act(mary, "mark_seen", payment)) == [
        f"Sale #{payment.order.number}: marked as seen."
    ]
    act(alice, "mark_seen", payment)
    payment.refresh_from_db()
    assert payment.seen_by == mary.user
    assert clock.now() - payment.seen_at < timedelta(seconds=30)
    event = PaymentEvent.objects.get(reason=failures.SEEN)
    assert (event.payment, event.actor) == (payment, mary.user)
    assert (event.old, event.new) == ("failed", "failed")
    assert shown(alice.get(LIST)) == set()
    assert "seen by mary, <time" in alice.get(LIST, {"seen": "yes"}).content.decode()


def test_many_are_marked_at_once_up_to_the_limit(alice, monkeypatch):
    rows = [failed(alice) for _ in range(4)]
    monkeypatch.setattr(pages, "SEEN_AT_ONCE", 3)

    assert told(act(alice, "mark_seen", *rows)) == [
        "Choose at most 3 payments at a time."
    ]
    assert Payment.objects.filter(seen_at__isnull=False).count() == 0
    said = told(act(alice, "mark_seen", *rows[:3]))
    numbers = ", ".join(f"#{row.order.number}" for row in rows[:3])
    assert said == [f"Sales {numbers}: marked as seen."]
    assert shown(alice.get(LIST)) == {rows[3].pk}


# Try again.


@pytest.mark.django_db(transaction=True)
def test_retry_sends_a_new_prompt_says_so_and_counts_as_seen(alice, mary, mpesa):
    payment = failed(alice)

    said = told(act(mary, "retry", payment))
    assert said == [f"Sale #{payment.order.number}: a new prompt is on the phone."]
    again = Payment.objects.get(retry_of=payment)
    assert (again.status, again.created_by) == (PaymentStatus.PENDING, mary.user)
    assert (again.phone, again.amount) == (payment.phone, payment.amount)
    assert len(mpesa.pushes) == 1
    payment.refresh_from_db()
    assert payment.seen_by == mary.user
    entry = LogEntry.objects.get()
    assert (entry.user, entry.object_id) == (mary.user, str(payment.pk))
    assert entry.content_type.model == "payment"
    assert entry.change_message == "Tried again: a new prompt is on the phone"


@pytest.mark.django_db(transaction=True)
def test_retrying_twice_sends_one_prompt(alice, mpesa):
    payment = failed(alice)
    act(alice, "retry", payment)

    [said] = told(act(alice, "retry", payment, address=f"{LIST}?seen=all"))
    assert said.startswith(f"Sale #{payment.order.number}: it was tried again before.")
    assert len(mpesa.pushes) == 1
    assert Payment.objects.filter(order=payment.order).count() == 2


@pytest.mark.django_db(transaction=True)
def test_retry_says_of_each_what_came_of_it(alice, mpesa):
    good = failed(alice)
    never = failed(alice, "pin_locked", "8006", may_retry=False)
    nobody_knows = unclear(alice, status=PaymentStatus.EXPIRED)

    said = told(act(alice, "retry", good, never, nobody_knows))
    assert f"Sale #{good.order.number}: a new prompt is on the phone." in said
    refused = [one for one in said if "on the phone" not in one]
    assert len(mpesa.pushes) == 1
    for payment in (never, nobody_knows):
        assert any(f"#{payment.order.number}" in one for one in refused), said
    assert Payment.objects.filter(retry_of__isnull=False).count() == 1


@pytest.mark.django_db(transaction=True)
def test_retry_stops_when_it_takes_too_long(alice, mpesa, monkeypatch):
    payment = failed(alice)
    monkeypatch.setattr(pages, "LONGEST_S", -1)

    [said] = told(act(alice, "retry", payment))
    assert "left as it was: M-Pesa is slow" in said
    assert mpesa.pushes == []


@pytest.mark.django_db(transaction=True)
def test_retry_asks_about_what_is_undecided_first(alice, mpesa):
    order = OrderFactory(shop=alice.shop, total=500)
    payment = failed(alice, order=order, amount=250)
    other = PaymentFactory(order=order, amount=250, phone="254733000333")
    mpesa.answers[other.checkout_request_id] = final("0")

    [said] = told(act(alice, "retry", payment))
    assert mpesa.questions == [other.checkout_request_id]
    assert said == f"Sale #{order.number}: a new prompt is on the phone."
    other.refresh_from_db()
    assert other.status == PaymentStatus.COMPLETED


@pytest.mark.django_db(transaction=True)
def test_retry_sends_nothing_for_a_sale_that_was_paid_meanwhile(alice, mpesa):
    order = OrderFactory(shop=alice.shop)
    payment = failed(alice, order=order)
    other = unclear(alice, order=order)
    mpesa.answers[other.checkout_request_id] = final("0")

    [said] = told(act(alice, "retry", payment))
    assert mpesa.questions == [other.checkout_request_id]
    assert mpesa.pushes == []
    assert "on the phone" not in said
    payment.refresh_from_db()
    assert payment.seen_at is None


@pytest.mark.django_db(transaction=True)
def test_retry_beside_an_older_prompt_says_what_can_be_done_here(alice, mpesa):
    order = OrderFactory(shop=alice.shop)
    payment = failed(alice, order=order)
    unclear(alice, order=order, phone="254733000333")

    [said] = told(act(alice, "retry", payment))

    assert "still undecided" in said
    # There is nothing to tick in this list.
    assert "confirm" not in said
    assert "at the till" in said
    assert mpesa.pushes == []


@pytest.mark.django_db(transaction=True)
def test_retry_of_an_unclear_one_says_that_it_is_paid(alice, mpesa):
    payment = unclear(alice, status=PaymentStatus.EXPIRED)
    mpesa.answers[payment.checkout_request_id] = final("0")

    said = told(act(alice, "retry", payment))

    number = payment.order.number
    assert said == [f"Sale #{number}: This payment is paid. It needs no new prompt."]
    payment.refresh_from_db()
    assert payment.status == PaymentStatus.COMPLETED
    assert mpesa.pushes == []


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("status", ["pending", "expired", "cancelled"])
def test_retry_of_an_unclear_one_says_that_nobody_knows_yet(alice, mpesa, status):
    payment = unclear(alice, status=status)

    [said] = told(act(alice, "retry", payment))

    assert "M-Pesa has not said yet whether it was paid" in said
    assert "must not pay again" in said
    assert "Start a new one" not in said
    assert (mpesa.questions, mpesa.pushes) == ([payment.checkout_request_id], [])


@pytest.mark.django_db(transaction=True)
def test_retry_respects_what_is_spoken_for(alice, mpesa):
    order = OrderFactory(shop=alice.shop)
    payment = failed(alice, order=order)
    unclear(alice, order=order, created_at=clock.now())

    [said] = told(act(alice, "retry", payment))
    assert mpesa.pushes == []
    assert "on the phone" not in said


@pytest.mark.parametrize("name", ["retry", "ask", "mark_seen"])
def test_what_left_the_list_meanwhile_is_said(alice, mpesa, name):
    payment = failed(alice, seen_at=clock.now(), seen_by=alice.user)

    with nothing_changes():
        assert told(act(alice, name, payment)) == [pages.GONE]
    assert (mpesa.pushes, mpesa.questions) == ([], [])


def test_key_that_is_none_is_not_there(alice):
    body = {"action": "mark_seen", "_selected_action": ["nonsense"]}

    with nothing_changes():
        response = alice.client.post(LIST, body, follow=True)
    assert response.status_code == 404


# Ask M-Pesa.


@pytest.mark.django_db(transaction=True)
def test_asking_says_what_mpesa_answered(alice, mpesa):
    payment = unclear(alice)
    mpesa.answers[payment.checkout_request_id] = final("1")

    [said] = told(act(alice, "ask", payment))
    assert said == (
        f"Sale #{payment.order.number}: M-Pesa answered. Not enough money in M-Pesa."
    )
    payment.refresh_from_db()
    assert payment.failure_reason == FailureReason.INSUFFICIENT_FUNDS
    assert LogEntry.objects.get().change_message == "Asked M-Pesa"


@pytest.mark.django_db(transaction=True)
def test_asking_finds_the_money_of_a_failed_one(alice, mpesa):
    payment = failed(alice)
    mpesa.answers[payment.checkout_request_id] = final("0")

    [said] = told(act(alice, "ask", payment))
    assert "Paid" in said
    payment.refresh_from_db()
    assert payment.status == PaymentStatus.COMPLETED
    assert shown(alice.get(LIST, {"seen": "all"})) == set()


@pytest.mark.django_db(transaction=True)
def test_asking_says_why_it_could_not(alice, mpesa):
    nameless = unclear(alice, status=PaymentStatus.CREATED, checkout_request_id=None)
    rested = unclear(alice, asked_at=clock.now())

    said = told(act(alice, "ask", nameless, rested))
    assert len(said) == 2
    assert "gave this prompt no number" in said[0]
    assert "asked a moment ago" in said[1]
    assert mpesa.questions == []


# Who may.


@pytest.mark.parametrize("name", ["retry", "ask", "mark_seen"])
def test_an_auditor_reads_and_does_nothing(alice, audrey, mpesa, name):
    payment = failed(alice)

    assert shown(audrey.get(LIST)) == {payment.pk}
    with nothing_changes():
        act(audrey, name, payment)
    assert (mpesa.pushes, mpesa.questions) == ([], [])
    assert 'name="action"' not in audrey.get(LIST).content.decode()


def test_the_operator_asks_and_sends_nothing(alice, operator, mpesa):
    payment = failed(alice)

    page = operator.get(LIST).content.decode()
    assert "Ask M-Pesa now" in page
    assert "Send a new prompt" not in page
    with nothing_changes():
        act(operator, "retry", payment)
        act(operator, "mark_seen", payment)
    assert mpesa.pushes == []


def test_a_manager_here_who_audits_there_changes_nothing_there(alice, charlie, mpesa):
    MembershipFactory(user=alice.user, shop=charlie.shop, role=Role.AUDITOR)
    theirs = failed(charlie)

    with nothing_changes():
        for name in ("retry", "ask", "mark_seen"):
            [said] = told(act(alice, name, theirs))
            assert "your role in that shop does not allow it" in said
    assert (mpesa.pushes, mpesa.questions) == ([], [])


@pytest.mark.parametrize("name", ["bob", "stranger"])
def test_who_has_no_books_is_refused(people, alice, name):
    payment = failed(alice)
    client = people[name].client

    with nothing_changes():
        for address in (LIST, *FILES, f"{LIST}{payment.pk}/change/"):
            assert client.get(address, follow=True).status_code == 403, address
        assert act(people[name], "mark_seen", payment).status_code == 403


def test_acts_need_the_token_of_the_form(alice):
    payment = failed(alice)
    client = Client(enforce_csrf_checks=True)
    client.force_login(alice.user)

    with nothing_changes():
        sent = {"action": "mark_seen", "_selected_action": [str(payment.pk)]}
        assert client.post(LIST, sent).status_code == 403


def test_files_are_read_and_not_sent_to(alice):
    for address in FILES:
        assert alice.client.post(address).status_code == 405


# Another shop.


def test_what_is_another_shops_does_not_exist(alice, charlie, mpesa):
    ours, theirs = failed(alice), failed(charlie, phone="254733000222")

    with nothing_changes():
        for page in ("change", "history", "delete"):
            address = f"{LIST}{theirs.pk}/{page}/"
            assert alice.get(address).status_code == 404, address
            assert alice.client.post(address).status_code == 404, address
        for name in ("retry", "ask", "mark_seen"):
            act(alice, name, theirs)
    assert (mpesa.pushes, mpesa.questions) == ([], [])
    assert shown(alice.get(LIST, {"seen": "all"})) == {ours.pk}
    for kind in failure_sheets.KINDS:
        for query in ({}, {"shop": charlie.shop.pk}, {"seen": "all"}):
            rows = sheet(alice, kind, **query)
            assert str(theirs.pk) not in str(rows)
            assert "222" not in str([row[3] for row in rows])


def test_every_choice_keeps_to_the_own_shop(alice, charlie):
    theirs = failed(charlie)
    MembershipFactory(user=alice.user, role=Role.AUDITOR)

    assert shown(alice.get(LIST, {"shop": charlie.shop.pk})) == set()
    assert shown(alice.get(LIST, {"by": charlie.user.pk})) == set()
    assert shown(charlie.get(LIST)) == {theirs.pk}


def test_own_row_leads_to_the_payment_and_its_evidence(alice):
    payment = failed(alice)
    page = f"/admin/payments/payment/{payment.pk}"

    assert alice.get(f"{LIST}{payment.pk}/change/").url == f"{page}/change/"
    assert alice.get(f"{LIST}{payment.pk}/history/").url == f"{page}/evidence/"


# Files.


@pytest.mark.parametrize("kind", failure_sheets.KINDS)
def test_file_says_what_the_list_says(alice, mary, kind):
    at = clock.now().astimezone(clock.NAIROBI).replace(microsecond=0)
    order = OrderFactory(shop=alice.shop)
    payment = failed(
        alice, order=order, created_at=at, phone="254712345678", seen_at=at,
        seen_by=mary.user,
    )  # fmt: skip

    header, row = sheet(alice, kind, seen="all")
    when = f"{at:%Y-%m-%d %H:%M:%S}"
    assert header == list(failure_sheets.COLUMNS)
    assert row == [
        when, str(order.number), "250", "0712 ••• 678",
        "The customer cancelled, or did not answer in time.",
        "Ask the customer, then try again.", "1", "alice", "1032", "mary", when,
        str(payment.pk),
    ]  # fmt: skip


@pytest.mark.parametrize("kind", failure_sheets.KINDS)
@pytest.mark.parametrize(
    "name",
    ["=1+1", "+cmd|' /C calc'!A0", "-2", "@SUM(A1)", "\t=1", "\r=1", " =1", "\uff1d1"],
)
def test_no_name_becomes_a_formula(alice, kind, name):
    get_user_model().objects.filter(pk=alice.user.pk).update(username=name)
    failed(alice)

    cell = sheet(alice, kind)[1][7]
    assert cell.startswith("'")
    response = alice.get(f"{LIST}export.{kind}")
    if kind == "xlsx":
        book = load_workbook(io.BytesIO(response.content))
        types = {cell.data_type for row in book.active.iter_rows() for cell in row}
        assert "f" not in types


@pytest.mark.parametrize("kind", failure_sheets.KINDS)
def test_file_is_bounded_and_says_so(alice, kind, monkeypatch):
    for _ in range(3):
        failed(alice)
    monkeypatch.setattr(failure_sheets, "LIMIT", 2)

    rows = sheet(alice, kind)
    assert len(rows) == 4
    assert rows[-1][0] == failure_sheets.CUT


def test_file_of_who_reads_several_shops_names_them(alice, charlie, operator):
    failed(alice)
    failed(charlie)

    rows = sheet(operator, "csv")
    assert rows[0][-1] == "Shop"
    assert {row[-1] for row in rows[1:]} == {"Mama Mboga", "Jirani"}
    assert sheet(alice, "csv")[0][-1] == "Payment"


@pytest.mark.parametrize("kind", failure_sheets.KINDS)
def test_who_took_a_file_away_is_written_down(audrey, alice, kind):
    failed(alice, phone="254712345678")
    query = {"why": "cancelled_on_phone", "day": "today", "q": "0712345678"}
    sheet(audrey, kind, **query)

    entry = LogEntry.objects.get()
    assert (entry.user, entry.object_repr) == (audrey.user, "Failed payments")
    assert entry.change_message == (
        f"Saved as {kind.upper()}"
        " (reason: Cancelled on the phone, day: Today, a search)"
    )
    assert "Failed payments" in audrey.get("/admin/").content.decode()


def test_nonsense_in_the_address_shows_the_list(alice):
    assert alice.get(FILES[0], {"order__total__gt": "1"}).status_code in (302, 400)


# What it costs.


@pytest.mark.parametrize("address", [LIST, *FILES])
def test_costs_the_same_for_one_row_and_for_five(alice, mary, address):
    def cost():
        with CaptureQueriesContext(connection) as captured:
            assert alice.get(address).status_code == 200
        return [query["sql"] for query in captured]

    failed(alice)
    one = cost()
    for _ in range(4):
        failed(alice, seen_by=mary.user)
    five = cost()

    assert len(one) == len(five) <= 7, "\n".join(five)
