"""The home page: the day's figures, of the right shops, moving while it is looked at."""

import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from django.contrib.contenttypes.models import ContentType
from django.db import connection
from django.test.utils import CaptureQueriesContext

from payments import accounts, inbox
from payments.admin import charts, home
from payments.enums import FailureReason, Source
from payments.models import Collection
from shops.enums import Role
from shops.models import Shop
from smartduka.lib import clock
from tests.admin.conftest import settle
from tests.factories import (
    MembershipFactory,
    OrderFactory,
    PaymentFactory,
    ShopFactory,
)
from tests.support import callbacks
from tests.support.facts import kes


HOME, FIGURES, WAITING = "/admin/", "/admin/home/figures/", "/admin/home/waiting/"
# A Friday, at noon in Nairobi.
NOON = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
TODAY = date(2026, 11, 20)


@pytest.fixture(autouse=True)
def noon(monkeypatch):
    """It is noon, and stays so."""
    monkeypatch.setattr(clock, "now", lambda: NOON)


def arrived(shop, amount, number, *, days_ago=0, hours_ago=0, account=True):
    """Money of a shop, by hand; without an account it is cash."""
    at = NOON - timedelta(days=days_ago, hours=hours_ago)
    return Collection.objects.create(
        account=accounts.platform_account() if account else None, shop=shop,
        environment="simulator" if account else "", receipt=number,
        amount=kes(amount), allocated=kes(amount), source=Source.PULL,
        paid_at=at, sighted_at=at,
    )  # fmt: skip


def shown(person, **query):
    """What the figures' template was given."""
    response = person.get(HOME, query)
    assert response.status_code == 200
    return response.context


def words(text):
    """A page's text, in one line and without its marks."""
    return " ".join(re.sub(r"<[^>]+>", " ", text).split())


def page(person, address=HOME, **query):
    return words(person.get(address, query).content.decode())


# The figures.


def test_day_without_anything_says_so(alice):
    text = page(alice)

    for sentence in (
        "Today, Friday 20 November", "Takings KES 0", "Nothing went back to customers.",
        "As much as by this time last Friday", "No prompt has an answer yet.",
        "Nobody has a prompt open.", "No prompt was paid yet.",
        "None came in the last 14 days.", "Every prompt was paid, or waits.", "Nothing came in.",
        "No surplus, no credit, and nothing without a sale.",
    ):  # fmt: skip
        assert sentence in text, sentence


def test_takings_are_compared_with_the_week_before(alice):
    arrived(alice.shop, 750, "UAE5TODAY1")
    arrived(alice.shop, 500, "UAE5WEEK01", days_ago=7, hours_ago=1)
    arrived(alice.shop, 900, "UAE5WEEK02", days_ago=7, hours_ago=-1)

    found = shown(alice)
    assert found["taken"].total.kept == kes(750)
    assert found["change"].words == "50 % more than by this time last Friday"
    whole = shown(alice, day="2026-11-13")
    assert whole["taken"].total.kept == kes(1400)
    assert whole["change"].words == "KES 1,400 more than the Friday before"
    assert whole["choice"].name == "Friday 13 November 2026"


@pytest.mark.parametrize(
    ("now", "before", "said"),
    [
        (750, 1000, "25 % less than by this time last Friday"),
        (1001, 1000, "About as much as by this time last Friday"),
        (1000, 1000, "As much as by this time last Friday"),
        (0, 1000, "100 % less than by this time last Friday"),
        (-50, -100, "KES 50 more than by this time last Friday"),
        (-50, 0, "KES 50 less than by this time last Friday"),
        (20000, 1000, "1,900 % more than by this time last Friday"),
    ],
)
def test_change_is_told_in_words(alice, rf, now, before, said):
    request = rf.get(HOME)
    request.user = alice.user
    assert home._change(home.chosen(request), kes(now), kes(before)).words == said


def test_methods_cashiers_hours_and_days_are_those_of_the_day(alice, bob):
    payment = PaymentFactory(order=OrderFactory(shop=alice.shop), created_by=bob.user)
    settle(payment, "UAE5PAID01")
    arrived(alice.shop, 100, "UAE5HAND01", hours_ago=3)
    arrived(alice.shop, 40, None, account=False, hours_ago=3)
    arrived(alice.shop, 60, "UAE5BEFORE", days_ago=2)

    found = shown(alice)
    assert [(one.entry.name, one.entry.words) for one in found["methods"]] == [
        ("M-Pesa prompt", "KES 250"), ("M-Pesa by hand", "KES 100"), ("Cash", "KES 40"),
    ]  # fmt: skip
    assert [(one.entry.name, one.entry.words) for one in found["cashiers"]] == [
        ("bob", "KES 250"), ("Paid without a cashier", "KES 140"),
    ]  # fmt: skip
    hours = {one.entry.name: one.entry.amount for one in found["hours"].columns}
    assert (len(hours), hours["09:00 to 09:59"]) == (13, kes(140))
    assert hours["12:00 to 12:59"] == kes(250)
    days = {one.entry.name: one.entry for one in found["days"].columns}
    assert (len(days), days["Wed 18 Nov"].amount) == (14, kes(60))
    assert days["Wed 18 Nov"].address == "/admin/?day=2026-11-18"
    assert [one.name for one in days.values() if one.is_chosen] == ["Fri 20 Nov"]


def test_prompts_say_why_and_what_to_do(alice):
    def prompt():
        return PaymentFactory(order=OrderFactory(shop=alice.shop))

    paid, *failed = (prompt() for _ in range(4))
    open_ = prompt()
    for status in ("expired", "cancelled"):
        PaymentFactory(
            order=OrderFactory(shop=alice.shop), status=status, next_ask_at=None
        )
    stored = [(paid, callbacks.success(paid, receipt="UAE5HEARD1"))]
    stored += [
        (payment, callbacks.failure(payment, code))
        for payment, code in zip(failed, (1032, 1032, 1), strict=True)
    ]
    for payment, body in stored:
        raw = inbox.Raw(body, False, "196.201.214.200", True)
        notice = inbox.store_for_payment(payment.token_hash, raw)
        inbox.process_now(notice.notice_id)

    found = shown(alice)
    assert (found["rate"], found["answered"]) == ("25 %", 4)
    assert (found["prompts"].failed, found["pending"].waiting) == (3, 1)
    assert found["pending"].amount == open_.amount
    reasons = [
        (one.entry.name, one.entry.words, one.share, one.about)
        for one in found["reasons"]
    ]
    assert reasons == [
        (
            "Cancelled on the phone", "2", Decimal(100),
            "Ask the customer, then try again.",
        ),
        (
            "Not enough money", "1", Decimal(50),
            "The customer can top up and try again, or pay another way.",
        ),
        (
            "Nobody told us", "1", Decimal(50),
            "Check the customer's M-Pesa message. If it is paid, it shows here by"
            " itself.",
        ),
        (
            "Stopped waiting", "1", Decimal(50),
            "If it is paid, it shows here by itself.",
        ),
    ]  # fmt: skip
    assert found["heard"].percent == "100 %"
    assert found["heard"].words == "They arrive."
    # Every link leads to just those rows.
    for one in found["reasons"]:
        shown_rows = alice.get(one.entry.address).context["cl"].result_count
        assert str(shown_rows) == one.entry.words, one.entry.name
    for address, count in (("failed_address", 5), ("pending_address", 3)):
        assert alice.get(found[address]).context["cl"].result_count == count


def test_every_reason_has_a_remedy():
    for reason in FailureReason:
        assert home._remedy(reason).endswith("."), reason
    assert home._remedy(FailureReason.WRONG_PIN) == (
        "The customer can try again with the right PIN."
    )


@pytest.mark.parametrize(
    ("taken", "heard", "tone", "percent", "said"),
    [
        (0, 0, "quiet", "", "No prompt has an answer yet."),
        (4, 0, "wait", "0 %", "4 did not arrive; the answer was found by asking."),
        (5, 0, "bad", "0 %", "None arrives."),
        (1000, 999, "wait", "99 %", "1 did not arrive;"),
        (7, 7, "good", "100 %", "They arrive."),
    ],
)
def test_answers_that_do_not_arrive_are_told(taken, heard, tone, percent, said):
    prompts = home.figures.Prompts(taken=taken, heard=heard)
    found = home._messages(prompts, None)
    assert (found.tone, found.percent) == (tone, percent)
    assert found.words.startswith(said)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.04, "0.0 s"), (8.25, "8.2 s"), (59.9, "59 s"), (80, "1 min 20 s"),
        (3700, "1 h 1 min"), (-1, "0.0 s"),
    ],
)  # fmt: skip
def test_durations_are_written_for_people(seconds, said):
    assert home._duration(timedelta(seconds=seconds)) == said


# The charts.


def entries(*amounts):
    return [charts.Entry(str(number), Decimal(one), "") for number, one in
            enumerate(amounts)]  # fmt: skip


def test_columns_fill_the_height_from_the_lowest_to_the_highest():
    found = charts.columns(entries(30, 0, -10))

    assert found.zero == Decimal("75.0")
    assert [(one.y, one.height) for one in found.columns] == [
        (Decimal(0), Decimal("75.0")),
        (Decimal("75.0"), Decimal("0.0")),
        (Decimal("75.0"), Decimal("25.0")),
    ]
    assert [one.is_below for one in found.columns] == [False, False, True]
    assert (found.width, found.most.name) == (30, "0")


@pytest.mark.parametrize("amounts", [(), (0, 0)])
def test_columns_of_nothing_stand_on_the_ground(amounts):
    found = charts.columns(entries(*amounts))

    assert (found.zero, found.most) == (100, None)
    assert [one.height for one in found.columns] == [0] * len(amounts)
    assert all(one.share == 0 for one in charts.bars(entries(*amounts)))


def test_bars_are_shares_of_the_longest():
    found = charts.bars(entries(200, -50, 1), ["a", "b", "c"])
    assert [(one.share, one.is_below, one.about) for one in found] == [
        (Decimal("100.0"), False, "a"), (Decimal("25.0"), True, "b"),
        (Decimal("0.5"), False, "c"),
    ]  # fmt: skip


def test_many_cashiers_are_the_first_and_the_others():
    people = [(f"p{n}", home.Takings(kes(100 - n))) for n in range(12)]

    found, _ = home._cashiers(people)
    assert [one.name for one in found[-2:]] == ["p9", "2 others"]
    assert found[-1].amount == kes(90 + 89)
    assert sum(one.amount for one in found) == sum(one.came for _, one in people)
    assert len(home._cashiers(people[:11])[0]) == 11


# The day.


@pytest.mark.parametrize(
    ("asked", "fault"),
    [
        ("2026-02-30", "That is no day. Today is shown."),
        ("yesterday", "That is no day. Today is shown."),
        ("2026-11-21", "That day has not come yet. Today is shown."),
        ("1999-12-31", "That is too long ago. Today is shown."),
        ("0001-01-01", "That is too long ago. Today is shown."),
    ],
)
def test_day_that_is_none_is_told_and_today_is_shown(alice, asked, fault):
    choice = shown(alice, day=asked)["choice"]

    assert (choice.day, choice.fault) == (TODAY, fault)
    assert fault in page(alice, day=asked)
    assert page(alice, FIGURES, day=asked).startswith("Today,")


def test_day_begins_in_nairobi(alice, monkeypatch):
    at = datetime(2026, 11, 20, 21, 30, tzinfo=UTC)
    monkeypatch.setattr(clock, "now", lambda: at)
    choice = shown(alice)["choice"]

    assert choice.day == date(2026, 11, 21)
    assert (choice.after, choice.before) == ("", "/admin/?day=2026-11-20")
    assert shown(alice, day="2026-11-20")["choice"].after == "/admin/"


# Whose.


@pytest.fixture
def both(alice, charlie):
    """Money of today in Alice's shop, in Charlie's, and nobody's."""
    arrived(alice.shop, 250, "UAE5OURS01")
    arrived(charlie.shop, 999, "UAE5THEIRS")
    rest = arrived(None, 700, "UAE5NOBODY")
    Collection.objects.filter(pk=rest.pk).update(allocated=0)


@pytest.mark.parametrize("name", ["alice", "mary", "audrey"])
def test_shop_of_another_is_not_there(people, both, charlie, name):
    person = people[name]

    for address in (HOME, FIGURES):
        text = page(person, address)
        assert "KES 250" in text
        for secret in ("999", "700", "Jirani"):
            assert secret not in text.replace("Today, ", ""), secret
        for asked in (
            charlie.shop.pk,
            0,
            -1,
            "x",
            "²",
            "9" * 30,
            f"{charlie.shop.pk} ",
        ):
            query = {"shop": str(asked)}
            assert person.get(address, query).status_code == 404, asked
    assert shown(person, shop=person.shop.pk)["taken"].total.kept == kes(250)


def test_person_of_two_shops_chooses_and_sees_both(alice, both, charlie):
    MembershipFactory(user=alice.user, shop=charlie.shop, role=Role.AUDITOR)
    third = ShopFactory(name="Mbali")
    MembershipFactory(user=alice.user, shop=third, role=Role.CASHIER)

    found = shown(alice)
    assert [shop.name for shop in found["choice"].shops] == ["Jirani", "Mama Mboga"]
    assert found["taken"].total.kept == kes(1249)
    assert found["free"].total == 0  # what is nobody's is the operator's to see
    one = shown(alice, shop=charlie.shop.pk)
    assert one["taken"].total.kept == kes(999)
    assert f"shop={charlie.shop.pk}" in one["choice"].live
    assert f"shop={charlie.shop.pk}" in one["failed_address"]
    # At the till of the third only: its books are not theirs.
    assert alice.get(HOME, {"shop": third.pk}).status_code == 404


def test_operator_sees_all_shops_and_any_of_them(operator, alice, both, charlie):
    found = shown(operator)

    assert found["taken"].total.kept == kes(1249)
    assert found["free"].amounts["unmatched"] == kes(700)
    assert {shop.pk for shop in found["choice"].shops} == set(
        Shop.objects.values_list("pk", flat=True)
    )
    one = shown(operator, shop=charlie.shop.pk)
    assert one["taken"].total.kept == kes(999)
    assert one["free"].total == 0
    assert operator.get(HOME, {"shop": 10**9}).status_code == 404


def test_operator_reaches_a_shop_that_the_list_leaves_out(
    operator, alice, charlie, monkeypatch
):
    monkeypatch.setattr(home, "SHOPS_SHOWN", 1)
    last = Shop.objects.all()[1]

    assert len(shown(operator)["choice"].shops) == 1
    choice = shown(operator, shop=last.pk)["choice"]
    assert (choice.shop, choice.shops[-1]) == (last, last)


@pytest.mark.parametrize("address", [HOME, FIGURES, WAITING])
def test_who_reads_no_books_has_no_home(client, bob, stranger, address):
    assert client.get(address).status_code == 302
    for person in (bob, stranger):
        assert person.get(address).status_code in (302, 403)
        assert person.client.get(address, follow=True).status_code == 403


# Live.


def test_figures_move_without_the_page(alice):
    live = shown(alice)["choice"].live
    assert live == "/admin/home/figures/?shown=2026-11-20"
    assert "Takings KES 0" in page(alice, live)
    arrived(alice.shop, 250, "UAE5OURS01")

    response = alice.get(live)
    assert "Takings KES 250" in words(response.content.decode())
    assert response["X-As-Of"] == "12:00:00"
    assert "HX-Refresh" not in response
    assert "no-store" in response["Cache-Control"]


def test_page_of_today_is_another_after_midnight(alice, monkeypatch):
    today, named = shown(alice)["choice"].live, shown(alice, day="2026-11-20")
    later = NOON + timedelta(hours=12)
    monkeypatch.setattr(clock, "now", lambda: later)

    assert alice.get(today)["HX-Refresh"] == "true"
    assert "HX-Refresh" not in alice.get(named["choice"].live)


def test_day_that_is_over_asks_seldom(alice):
    assert shown(alice)["choice"].every_s == 5
    assert shown(alice, day="2026-11-19")["choice"].every_s == 30


def test_what_waits_is_asked_for_alone(alice):
    assert "Nothing waits for you." in page(alice, WAITING)
    PaymentFactory(order=OrderFactory(shop=alice.shop), alarm="Paid twice.")

    response = alice.get(WAITING)
    assert "Payments with an alarm" in response.content.decode()
    assert response["X-As-Of"] == ""


# The cost.


def test_home_costs_the_same_for_every_number_of_rows(alice, operator, bob):
    ContentType.objects.get_for_models(Collection)

    def costs():
        found = []
        for person, address in (
            (alice, HOME), (alice, FIGURES), (operator, FIGURES),
        ):  # fmt: skip
            with CaptureQueriesContext(connection) as captured:
                assert person.get(address).status_code == 200
            found.append(len(captured))
        return found

    costs()
    before = costs()
    for number in range(3):
        order = OrderFactory(shop=alice.shop)
        settle(PaymentFactory(order=order, created_by=bob.user), f"UAE5COST0{number}")
    ShopFactory()

    assert costs() == before
    # Session, person, roles (the operator: shops), fourteen of the figures.
    assert before[1:] == [17, 17]
