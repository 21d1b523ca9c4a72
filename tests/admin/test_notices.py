"""Notices in the books: read as text, and processed again by who may."""

import pytest

from payments import inbox, notices, settlement
from payments.admin import cells
from payments.enums import Verdict
from payments.models import Notice, Payment
from shops.enums import Role
from tests.admin.conftest import rows_of, settle, store_notice
from tests.factories import MembershipFactory, OrderFactory, PaymentFactory
from tests.support import callbacks
from tests.support.facts import money_of, nothing_changes, path_of, sale_of


LIST = "/admin/payments/notice/"


@pytest.fixture
def parked(alice):
    """A callback that was parked, although nothing is wrong with it now."""
    payment = PaymentFactory(order=OrderFactory(shop=alice.shop))
    notice = store_notice(payment)
    Notice.objects.filter(pk=notice.pk).update(
        verdict=Verdict.PARKED, attempts=6, next_try_at=None, error="Boom: it broke"
    )
    return notice


def again(person, *chosen):
    sent = {"action": "process_again", "_selected_action": [one.pk for one in chosen]}
    response = person.client.post(LIST, sent, follow=True)
    return [str(message) for message in response.context["messages"]]


def press(person, notice):
    response = person.client.post(f"{LIST}{notice.pk}/again/", follow=True)
    return [str(message) for message in response.context["messages"]]


@pytest.mark.parametrize("name", ["alice", "mary", "operator"])
@pytest.mark.parametrize("act", [again, press])
def test_process_again_applies_a_parked_notice(people, parked, name, act):
    told = act(people[name], parked)

    notice = Notice.objects.get(pk=parked.pk)
    assert told == ["1 processed again: applied."]
    assert (notice.verdict, notice.attempts, notice.error) == (Verdict.APPLIED, 1, "")
    assert notice.processed_at is not None
    assert notice.next_try_at is None
    payment = Payment.objects.get(pk=parked.payment_id)
    assert path_of(payment) == ["created", "pending", "completed"]
    assert payment.receipt == callbacks.RECEIPT
    assert money_of(payment.order) == [
        ("callback", callbacks.RECEIPT, 250, [("sale", 250)])
    ]
    assert sale_of(payment.order) == ("paid", 250, 0, 0)
    history = people[name].get(f"{LIST}{notice.pk}/history/").content.decode()
    assert "Processed again: applied" in history


@pytest.mark.django_db(transaction=True)
def test_process_again_runs_in_no_transaction_of_the_admin(parked, alice):
    # With real commits a durable transaction inside another one would raise.
    assert again(alice, parked) == ["1 processed again: applied."]
    assert Payment.objects.get(pk=parked.payment_id).receipt == callbacks.RECEIPT


def test_process_again_twice_counts_the_money_once(alice, parked):
    again(alice, parked)
    with nothing_changes():
        told = again(alice, parked)

    assert told == ["1 left as it was: nothing would change."]
    assert Notice.objects.get(pk=parked.pk).verdict == Verdict.APPLIED


def test_process_again_after_the_money_is_known_says_so(alice, parked):
    settle(parked.payment, callbacks.RECEIPT)
    with nothing_changes():
        told = again(alice, parked)

    assert told == ["1 processed again: said nothing new."]
    assert Notice.objects.get(pk=parked.pk).verdict == Verdict.DUPLICATE


def test_process_again_of_what_is_still_broken_waits_for_the_sweep(
    alice, parked, monkeypatch
):
    def broken(*args, **kwargs):
        raise ZeroDivisionError("of phone 254712345678")

    monkeypatch.setattr(settlement, "record_success", broken)
    with nothing_changes():
        told = again(alice, parked)

    notice = Notice.objects.get(pk=parked.pk)
    assert told == ["1 processed again: still broken, tried again by itself."]
    assert (notice.verdict, notice.attempts) == (Verdict.NEW, 1)
    assert notice.next_try_at is not None
    page = alice.get(LIST).content.decode()
    assert "ZeroDivisionError: of phone 2547…678" in page


@pytest.mark.parametrize(
    ("verdict", "may"),
    [
        (Verdict.NEW, True),
        (Verdict.PARKED, True),
        (Verdict.MALFORMED, True),
        (Verdict.UNVERIFIED, True),
        (Verdict.APPLIED, False),
        (Verdict.DUPLICATE, False),
        (Verdict.UNCERTAIN, False),
        (Verdict.CONTRADICTION, False),
    ],
)
def test_button_stands_only_where_it_may_change_something(alice, parked, verdict, may):
    Notice.objects.filter(pk=parked.pk).update(verdict=verdict)
    page = alice.get(f"{LIST}{parked.pk}/change/").content.decode()

    assert (f"{LIST}{parked.pk}/again/" in page) is may
    told = again(alice, parked)
    assert ("left as it was" in told[0]) is not may


def test_auditor_processes_nothing(audrey, parked):
    with nothing_changes():
        audrey.client.post(
            LIST, {"action": "process_again", "_selected_action": [parked.pk]}
        )
        pressed = audrey.client.post(f"{LIST}{parked.pk}/again/")

    assert pressed.status_code == 403
    assert Notice.objects.get(pk=parked.pk).verdict == Verdict.PARKED
    assert b"process_again" not in audrey.get(LIST).content
    assert b"/again/" not in audrey.get(f"{LIST}{parked.pk}/change/").content


def test_manager_of_one_shop_processes_nothing_of_the_other(mary, charlie, parked):
    MembershipFactory(user=mary.user, shop=charlie.shop, role=Role.AUDITOR)
    foreign = store_notice(charlie.payment)
    told = again(mary, parked, foreign)

    assert told == [
        "1 processed again: applied.",
        "1 left as it was: nothing would change.",
    ]
    foreign.refresh_from_db()
    assert (foreign.verdict, foreign.attempts) == (Verdict.NEW, 0)
    charlie.payment.refresh_from_db()
    assert charlie.payment.status == "pending"
    assert press(mary, foreign) == ["1 left as it was: nothing would change."]


def test_button_answers_to_a_press_only(alice, parked):
    assert alice.get(f"{LIST}{parked.pk}/again/").status_code == 405
    assert Notice.objects.get(pk=parked.pk).verdict == Verdict.PARKED


def test_notice_without_payment_stays_as_it_is(operator, nobodys):
    told = again(operator, *nobodys["payments/notice"])

    assert told == ["3 left as it was: nothing would change."]
    verdicts = Notice.objects.order_by("pk").values_list("verdict", flat=True)
    assert list(verdicts) == ["untokened", "rejected", "orphan"]


def test_too_many_at_once_are_refused(alice, parked, monkeypatch):
    monkeypatch.setattr("payments.admin.messages.AT_ONCE", 0)

    assert again(alice, parked) == ["Choose at most 0 messages at a time."]
    assert Notice.objects.get(pk=parked.pk).verdict == Verdict.PARKED


@pytest.mark.parametrize(
    ("query", "verdicts"),
    [
        ({}, ["new", "unverified", "parked"]),
        ({"look": "parked"}, ["parked"]),
        ({"look": "broken"}, ["parked"]),
        ({"look": "due"}, ["new"]),
        ({"look": "doubt"}, ["unverified"]),
        ({"verdict__exact": "new"}, ["new"]),
        ({"day": "today"}, ["new", "unverified", "parked"]),
        ({"day": "yesterday"}, []),
    ],
)
def test_list_answers_its_questions(alice, parked, listed, query, verdicts):
    doubtful = store_notice(parked.payment, b"doubtful")
    Notice.objects.filter(pk=doubtful.pk).update(
        verdict=Verdict.UNVERIFIED, next_try_at=None
    )
    store_notice(parked.payment, b"new")

    found = listed(alice, "payments/notice", **query)

    assert [Notice.objects.get(pk=pk).verdict for pk in found] == verdicts


def test_body_is_shown_as_text_with_masked_phone(audrey, ours):
    bad = b'{"a": "<script>alert(1)</script>", "p": 254712345678} \xff\x00 </pre>'
    notice = store_notice(ours.payment, bad)
    text = audrey.get(f"{LIST}{notice.pk}/change/").content.decode()

    assert (
        '<pre class="said">{&quot;a&quot;: &quot;&lt;script&gt;alert(1)&lt;/script&gt;'
        "&quot;, &quot;p&quot;: 2547…678} \\xff\0 &lt;/pre&gt;</pre>"
    ) in text
    assert "<script>alert" not in text
    assert "254712345678" not in text
    body = audrey.get(f"{LIST}{ours.notice.pk}/change/").content.decode()
    assert "UAE5OURS01" in body
    assert "254712345678" not in body


def test_largest_body_is_shown_whole(alice, ours, settings):
    raw = inbox.Raw(b"x" * settings.NOTICE_BODY_LIMIT, True, "203.0.113.7", False)
    stored = inbox.store_for_payment(ours.payment.token_hash, raw)
    text = alice.get(f"{LIST}{stored.notice_id}/change/").content.decode()

    assert "x" * settings.NOTICE_BODY_LIMIT in text
    assert "65,536 bytes, the rest was cut off" in text
    assert "203.0.113.7 (not M-Pesa&#x27;s)" in text


def test_parsing_again_sees_the_stored_bytes(alice, ours):
    notice = store_notice(ours.payment, b"no json")
    with nothing_changes():
        told = again(alice, notice)

    notice.refresh_from_db()
    assert told == ["1 processed again: not understood."]
    assert bytes(notice.body) == b"no json"
    with pytest.raises(notices.Malformed):
        notices.parse_stk(bytes(notice.body))


def test_rows_of_two_shops_are_told_apart(operator, alice, charlie, ours, listed):
    theirs = rows_of(
        charlie.shop, charlie.user, phone="254733000222", receipt="UAE5THEIR1"
    )

    assert listed(operator, "payments/notice", shop=charlie.shop.pk) == [
        theirs.notice.pk
    ]
    assert listed(operator, "payments/notice", shop=alice.shop.pk) == [ours.notice.pk]


def test_every_verdict_has_its_colour():
    assert set(cells.VERDICT_TONES) == set(Verdict)
