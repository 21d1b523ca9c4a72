"""Payments in the books: what the list answers, and what one page tells."""

import re
from datetime import UTC, datetime, timedelta

import pytest

from payments import cash
from payments.enums import FailureReason, PaymentStatus
from payments.models import Collection, Payment
from shops.books import BoundedPaginator
from shops.tenancy import access
from smartduka.lib import clock
from tests.admin.conftest import settle, store_notice
from tests.factories import OrderFactory, PaymentFactory


PHONE = "254712345678"


def failed(order, **changes):
    changes = {
        "failure_reason": FailureReason.WRONG_PIN,
        "result_code": "2001",
        "decided_at": clock.now(),
    } | changes
    return PaymentFactory(order=order, status=PaymentStatus.FAILED, **changes)


@pytest.fixture
def several(alice):
    """One payment of each kind, by name."""

    def order():
        return OrderFactory(shop=alice.shop)

    now = clock.now()
    old = now - timedelta(days=1)
    stopped = PaymentFactory(order=order(), status=PaymentStatus.CANCELLED)
    found = {
        "waiting": PaymentFactory(order=order(), phone=PHONE),
        "stuck": PaymentFactory(order=order(), created_at=now - timedelta(minutes=6)),
        "fresh": PaymentFactory(order=order(), created_at=now - timedelta(minutes=4)),
        "stopped": stopped,
        "wrong pin": failed(order()),
        "no money": failed(
            order(), failure_reason=FailureReason.INSUFFICIENT_FUNDS, result_code="1",
            created_at=old,
        ),
        "paid": settle(PaymentFactory(order=order()), "UAE5PAID01"),
        "no receipt": settle(PaymentFactory(order=order()), "UAE5PAID02"),
        "alarm": settle(PaymentFactory(order=order()), "UAE5PAID03"),
    }  # fmt: skip
    Payment.objects.filter(pk=found["no receipt"].pk).update(receipt="")
    Payment.objects.filter(pk=found["alarm"].pk).update(alarm="Paid twice.")
    return found


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ({"look": "undecided"}, {"waiting", "stuck", "fresh", "stopped"}),
        ({"look": "long"}, {"stuck"}),
        ({"look": "alarm"}, {"alarm"}),
        ({"look": "receipt"}, {"no receipt"}),
        ({"look": "nonsense"}, set()),
        ({"why": "wrong_pin"}, {"wrong pin"}),
        ({"why": "insufficient_funds"}, {"no money"}),
        ({"why": "mpesa_busy"}, set()),
        ({"status__exact": "pending"}, {"waiting", "stuck", "fresh"}),
        ({"status__exact": "completed"}, {"paid", "no receipt", "alarm"}),
        ({"method__exact": "cash"}, set()),
        ({"day": "yesterday"}, {"no money"}),
        ({"day": "nonsense"}, set()),
        ({"day": "0001-01-01"}, set()),
        ({"q": "uae5paid01"}, {"paid"}),
        ({"q": "0712 345 678"}, {"waiting"}),
        ({"q": "345678"}, {"waiting"}),
        ({"q": "nobody"}, set()),
        ({"q": "99999999999999999999"}, set()),
        ({"q": "ws_CO_none"}, set()),
        ({"look": "undecided", "q": "0712345678"}, {"waiting"}),
    ],
)
def test_list_answers_its_questions(alice, several, listed, query, names):
    keys = {payment.pk: name for name, payment in several.items()}

    assert {keys[pk] for pk in listed(alice, "payments/payment", **query)} == names


@pytest.mark.parametrize("day", ["today", "week", "month"])
def test_days_are_those_of_nairobi(alice, listed, monkeypatch, day):
    monkeypatch.setattr(clock, "now", lambda: moment("2026-03-10T21:30:00"))
    days = {"today": 0, "week": 6, "month": 29}
    first = moment("2026-03-10T21:00:00") - timedelta(days=days[day])
    made = [
        PaymentFactory(order=OrderFactory(shop=alice.shop), created_at=at).pk
        for at in (first - timedelta(seconds=1), first, moment("2026-03-11T20:59:59"))
    ]

    assert listed(alice, "payments/payment", day=day) == made[:0:-1]
    assert listed(alice, "payments/payment", day="2026-03-11")[0] == made[2]
    assert made[2] not in listed(alice, "payments/payment", day="2026-03-10")


def moment(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    "lookup",
    [
        *("phone__startswith", "phone", "token_hash__startswith", "idempotency_key"),
        *("account__consumer_key_sealed__isnull", "created_by__password__startswith"),
        *("order__shop__name__startswith", "events__reason__contains", "amount__gte"),
    ],
)
@pytest.mark.parametrize("name", ["alice", "operator"])
def test_masked_column_cannot_be_guessed_by_filtering(people, several, name, lookup):
    response = people[name].get("/admin/payments/payment/", {lookup: "2"})

    assert response.status_code == 400


def test_list_says_the_reason_first_and_masks_the_phone(audrey, several):
    page = audrey.get("/admin/payments/payment/")
    cl = page.context["cl"]
    text = page.content.decode()

    assert [column for column in cl.list_display if column != "action_checkbox"] == [
        "says", "sum", "method", "payer", "sale", "by", "at", "code",
    ]  # fmt: skip
    for words in (
        '<span class="pill bad">Wrong M-Pesa PIN.</span>',
        '<span class="pill wait">The customer types the M-Pesa PIN.</span>',
        '<span class="pill good">Paid.</span>',
        '<span class="pill good">Paid.</span> <span class="pill bad">Paid twice.</span>',
        '<span class="money">KES 250</span>',
        '<span class="code">UAE5PAID01</span>',
        "0712 ••• 678",
    ):
        assert words in text, words
    found = audrey.get("/admin/payments/payment/", {"q": PHONE}).content.decode()
    assert "0712 ••• 678" in found
    assert PHONE not in text
    # What was typed stands in the search and in the links that carry it on.
    assert PHONE not in re.sub(rf"(value=\"|q=|q%3D){PHONE}", "", found)


def test_only_who_sees_several_shops_reads_their_names(alice, operator, several):
    own = alice.get("/admin/payments/payment/").context["cl"].list_display
    all_ = operator.get("/admin/payments/payment/").context["cl"].list_display

    assert ("shop_name" in own, "shop_name" in all_) == (False, True)


def test_page_tells_everything_about_a_payment(audrey, ours):
    page = audrey.get(f"/admin/payments/payment/{ours.payment.pk}/change/")
    text = page.content.decode()

    assert [one.opts.verbose_name_plural for one in page.context["inline_admin_formsets"]] == [
        "what happened", "messages from M-Pesa", "money that arrived",
    ]  # fmt: skip
    rows = [
        [form.original for form in formset]
        for formset in page.context["inline_admin_formsets"]
    ]
    assert rows == [
        list(ours.payment.events.all()), [ours.notice], [ours.collection],
    ]  # fmt: skip
    for words in (
        '<section class="verdict good"', "<h2>Paid.</h2>", "Hand over the goods.",
        '<span class="money">KES 500</span>', "UAE5OURS01", "0712 ••• 678",
        "KES 500 arrived, receipt UAE5OURS01", "KES 500 for sale #1", "600100 (practice)",
        f"/admin/payments/notice/{ours.notice.pk}/change/",
        f"/admin/payments/collection/{ours.collection.pk}/change/",
        f"/admin/orders/order/{ours.order.pk}/change/",
        '<span class="pill wait">Not looked at yet</span>',
    ):  # fmt: skip
        assert words in text, words
    for secret in (
        "254712345678", "0712345678", ours.payment.token_hash, ours.payment.hook_token,
        'name="_save"', "<textarea", "<select",
    ):  # fmt: skip
        assert secret not in text, secret


def test_end_of_mpesas_id_is_masked_like_the_phone(alice):
    payment = PaymentFactory(
        order=OrderFactory(shop=alice.shop),
        phone=PHONE,
        checkout_request_id="ws_CO_21112026030438341712345678",
    )
    page = alice.get(f"/admin/payments/payment/{payment.pk}/change/").content.decode()

    assert "ws_CO_21112026030438341…678" in page
    assert "712345678" not in page


@pytest.mark.parametrize(
    ("name", "tone", "words"),
    [
        ("waiting", "wait", "The customer types the M-Pesa PIN."),
        (
            "stopped",
            "wait",
            "Stopped waiting. If the customer pays after all, the money is recorded.",
        ),
        ("wrong pin", "bad", "Wrong M-Pesa PIN."),
        ("no money", "bad", "Not enough money in M-Pesa."),
    ],
)
def test_page_says_first_how_it_stands(alice, several, name, tone, words):
    page = alice.get(f"/admin/payments/payment/{several[name].pk}/change/")
    text = page.content.decode()

    assert f'<section class="verdict {tone}"' in text
    assert f"<h2>{words}</h2>" in text
    assert text.index(words) < text.index("fieldset")


def test_alarm_stands_on_top(alice, several):
    page = alice.get(f"/admin/payments/payment/{several['alarm'].pk}/change/")

    assert b"<h2>Paid twice.</h2>" in page.content


def test_swahili_reader_reads_the_reason_in_swahili(alice, several):
    alice.client.cookies["django_language"] = "sw"
    page = alice.get(f"/admin/payments/payment/{several['wrong pin'].pk}/change/")

    assert "PIN ya M-Pesa si sahihi." in page.content.decode()


def test_page_of_cash_speaks_of_cash_only(alice):
    order = OrderFactory(shop=alice.shop)
    taken = cash.take(
        access=access(alice.user), order_id=order.pk, amount=300, key=None
    )
    page = alice.get(f"/admin/payments/payment/{taken.payment.pk}/change/")
    text = page.content.decode()

    groups = [
        one.opts.verbose_name_plural for one in page.context["inline_admin_formsets"]
    ]
    assert groups == ["what happened", "money that arrived"]
    assert [name for name, _ in page.context["adminform"].fieldsets] == [
        "Money",
        "Times",
    ]
    assert '<span class="money">KES 300</span>' in text
    assert "KES 250 for sale #1" in text


def test_retry_links_the_attempt_before(alice, several):
    first = several["wrong pin"]
    second = PaymentFactory(order=first.order, retry_of=first, attempt=2)
    page = alice.get(f"/admin/payments/payment/{second.pk}/change/").content.decode()

    assert f"/admin/payments/payment/{first.pk}/change/" in page


def test_words_of_others_are_shown_as_text(alice):
    bad = "<script>alert(1)</script> 254712345678"
    payment = failed(OrderFactory(shop=alice.shop), result_desc=bad)
    Payment.objects.filter(pk=payment.pk).update(alarm=bad)
    for address in (
        "/admin/payments/payment/",
        f"/admin/payments/payment/{payment.pk}/change/",
    ):
        text = alice.get(address).content.decode()

        assert "<script>alert" not in text
        assert "&lt;script&gt;alert(1)&lt;/script&gt; 2547…678" in text
        assert "254712345678" not in text


def test_long_list_is_counted_to_its_limit_only(alice, monkeypatch, listed):
    monkeypatch.setattr(BoundedPaginator, "LIMIT", 3)
    order = OrderFactory(shop=alice.shop)
    made = [PaymentFactory(order=order).pk for _ in range(4)]
    page = alice.get("/admin/payments/payment/")

    assert (page.context["cl"].result_count, page.context["cl"].paginator.is_cut) == (
        3, True,
    )  # fmt: skip
    assert "The first 3 payments. There are more" in page.content.decode()
    monkeypatch.setattr(BoundedPaginator, "LIMIT", 4)
    page = alice.get("/admin/payments/payment/")
    assert page.context["cl"].paginator.is_cut is False
    assert listed(alice, "payments/payment") == made[::-1]


@pytest.mark.parametrize(
    ("query", "receipts"),
    [
        ({}, ["UAE5PAID03", "UAE5PAID02", "UAE5PAID01"]),
        ({"q": "uae5paid02 "}, ["UAE5PAID02"]),
        ({"look": "alone"}, ["UAE5PAID03", "UAE5PAID01"]),
        ({"look": "rest"}, ["UAE5PAID01"]),
        ({"look": "receipt"}, []),
        ({"source__exact": "callback"}, ["UAE5PAID03", "UAE5PAID02", "UAE5PAID01"]),
        ({"source__exact": "query"}, []),
        ({"day": "yesterday"}, []),
    ],
)
def test_list_of_money_answers_its_questions(alice, several, listed, query, receipts):
    Collection.objects.filter(receipt="UAE5PAID02").update(confirmed_at=clock.now())
    Collection.objects.filter(receipt="UAE5PAID01").update(allocated=100)

    found = listed(alice, "payments/collection", **query)

    assert [Collection.objects.get(pk=pk).receipt for pk in found] == receipts


def test_money_shows_where_each_shilling_went(audrey, alice):
    order = OrderFactory(shop=alice.shop)
    for receipt in ("UAE5PAID01", "UAE5PAID02"):
        settle(PaymentFactory(order=order, amount=250, phone=PHONE), receipt)
    text = audrey.get("/admin/payments/collection/").content.decode()

    assert "KES 250 for sale #1" in text
    assert "KES 250 surplus of sale #1" in text
    assert "0712 ••• 678" in text
    assert PHONE not in text
    page = audrey.get("/admin/payments/allocation/", {"look": "surplus"})
    assert [row.kind for row in page.context["cl"].result_list] == ["surplus"]


def test_hook_token_is_nowhere(operator, ours):
    store_notice(ours.payment, b"other bytes")
    for path in ("payment", "notice", "collection", "allocation", "mpesaaccount"):
        text = operator.get(f"/admin/payments/{path}/").content.decode()

        assert ours.payment.hook_token not in text
        assert ours.payment.token_hash not in text
