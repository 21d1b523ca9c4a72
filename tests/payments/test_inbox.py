"""Notices: stored first, judged under locks, retried, parked, never forgotten."""

import logging
from datetime import timedelta

import pytest
from django.db import OperationalError, transaction

from payments import acceptance, inbox, settlement
from payments.models import Collection, Notice, Payment
from smartduka.lib import clock
from tests.factories import OrderFactory, PaymentFactory
from tests.support import samples
from tests.support.callbacks import failure, success
from tests.support.facts import (
    database_without,
    kes,
    money_of,
    nothing_changes,
    path_of,
    sale_of,
)


pytestmark = pytest.mark.django_db

RECEIPT = "UAE5B2K9QT"
NOTICE_TASK = "payments.tasks.process_notice"
ASK = "payments.tasks.ask"
CONFIRMED_BY_QUERY = [("query", None, kes(250), [("sale", kes(250))])]


def raw(body, *, address="", is_listed=True, is_cut=False):
    return inbox.Raw(body, is_cut, address, is_listed)


def store(payment, body, **facts):
    stored = inbox.store_for_payment(payment.token_hash, raw(body, **facts))
    return Notice.objects.get(pk=stored.notice_id)


def deliver(payment, body, **facts):
    """Store and process as the hook does; return the verdict."""
    return inbox.process_now(store(payment, body, **facts).pk)


def row(payment):
    return Payment.objects.filter(pk=payment.pk).values().get()


def notice_facts(notice, *names):
    values = Notice.objects.filter(pk=notice.pk).values(*names).get()
    return tuple(values[name] for name in names)


# Every sample of Daraja: once, twice, late, out of order, wrong, for another.


@pytest.mark.parametrize("name", samples.named("success"))
def test_a_success_pays_once_however_often_it_comes(payment, name):
    body = samples.body(name, payment)

    assert deliver(payment, body) == "applied"
    with nothing_changes():
        assert deliver(payment, body + b" ") == "duplicate"

    assert money_of(payment.order) == [
        ("callback", RECEIPT, kes(250), [("sale", kes(250))])
    ]
    assert sale_of(payment.order) == ("paid", kes(250), 0, 0)
    assert path_of(payment) == ["created", "pending", "completed"]


@pytest.mark.parametrize("name", samples.named("success"))
@pytest.mark.parametrize("status", ["expired", "cancelled"])
def test_a_late_success_pays_all_the_same(order, name, status):
    payment = PaymentFactory(order=order, status=status)

    assert deliver(payment, samples.body(name, payment)) == "applied"

    assert path_of(payment) == ["created", status, "completed"]
    assert sale_of(order) == ("paid", kes(250), 0, 0)


@pytest.mark.parametrize("name", samples.named("failure"))
def test_success_after_failure_pays(payment, name):
    assert deliver(payment, samples.body(name, payment)) == "applied"
    assert deliver(payment, samples.body("success", payment)) == "applied"

    assert path_of(payment) == ["created", "pending", "failed", "completed"]
    assert sale_of(payment.order) == ("paid", kes(250), 0, 0)


@pytest.mark.parametrize("name", samples.named("failure"))
def test_failure_after_success_undoes_nothing(payment, name):
    deliver(payment, samples.body("success", payment))

    assert deliver(payment, samples.body(name, payment)) == "contradiction"

    assert path_of(payment) == ["created", "pending", "completed"]
    assert sale_of(payment.order) == ("paid", kes(250), 0, 0)
    assert row(payment)["alarm"].startswith("M-Pesa also said")


@pytest.mark.parametrize("name", samples.named("failure"))
def test_a_failure_fails_once_however_often_it_comes(payment, name):
    body = samples.body(name, payment)

    assert deliver(payment, body) == "applied"
    with nothing_changes():
        assert deliver(payment, body + b" ") == "duplicate"

    assert path_of(payment) == ["created", "pending", "failed"]
    assert money_of(payment.order) == []


@pytest.mark.parametrize("name", samples.named("uncertain"))
def test_an_uncertain_code_moves_nothing_and_asks(payment, name, tasks, time):
    assert deliver(payment, samples.body(name, payment)) == "uncertain"

    assert path_of(payment) == ["created", "pending"]
    assert row(payment)["next_ask_at"] == time.now
    assert tasks()[-1][:2] == (ASK, (str(payment.pk),))


@pytest.mark.parametrize("name", samples.named("uncertain"))
def test_an_uncertain_code_says_that_mpesa_has_the_prompt(order, name):
    payment = PaymentFactory(order=order, status="created")

    assert deliver(payment, samples.body(name, payment)) == "uncertain"

    assert path_of(payment) == ["created", "pending"]


@pytest.mark.parametrize("name", samples.named("success"))
def test_a_wrong_amount_proves_nothing(payment, name, time):
    body = samples.body(name, payment, amount="25")
    assert body != samples.body(name, payment)

    with nothing_changes():
        assert deliver(payment, body) == "unverified"

    assert row(payment)["next_ask_at"] == time.now


@pytest.mark.parametrize("name", samples.NAMES)
def test_a_claim_about_another_shops_payment_proves_nothing(payment, charlie, name):
    with nothing_changes():
        assert deliver(payment, samples.body(name, charlie.payment)) == "unverified"


# What makes a claim no proof.


@pytest.mark.parametrize(
    ("change", "doubt"),
    [
        ({"checkout_id": "ws_CO_other"}, "another CheckoutRequestID"),
        ({"amount": 249}, "another amount"),
        ({"amount": 251}, "another amount"),
        ({"amount": 250.5}, "another amount"),
        ({"receipt": ""}, "no receipt"),
        ({"receipt": "not one"}, "no receipt"),
    ],
    ids=["id", "less", "more", "cents", "no receipt", "odd receipt"],
)
def test_a_success_that_does_not_fit_proves_nothing(
    payment, change, doubt, caplog, time
):
    with nothing_changes():
        assert deliver(payment, success(payment, **change)) == "unverified"

    assert doubt in caplog.text
    assert row(payment)["next_ask_at"] == time.now


def test_another_merchant_id_proves_nothing(payment):
    body = success(payment).replace(payment.merchant_request_id.encode(), b"other")

    with nothing_changes():
        assert deliver(payment, body) == "unverified"


@pytest.mark.parametrize("amount", [250, 250.0, "250", "250.00"], ids=repr)
def test_equal_amounts_are_equal(payment, amount):
    assert deliver(payment, success(payment, amount=amount)) == "applied"


def test_a_claim_without_a_merchant_id_may_fit(payment):
    body = success(payment).replace(payment.merchant_request_id.encode(), b"")

    assert deliver(payment, body) == "applied"


def test_a_claim_may_come_before_the_answer_to_the_push(order):
    payment = PaymentFactory(
        order=order, status="created", checkout_request_id=None, merchant_request_id=""
    )

    assert deliver(payment, success(payment, checkout_id="ws_CO_early")) == "applied"

    facts = row(payment)
    assert (facts["checkout_request_id"], facts["merchant_request_id"]) == (
        "ws_CO_early", "29115-34620561-1"
    )  # fmt: skip
    assert path_of(payment) == ["created", "completed"]


def test_an_early_claim_with_the_id_of_another_proves_nothing(order, duka):
    other = PaymentFactory(order=OrderFactory(shop=duka))
    payment = PaymentFactory(
        order=order, status="created", checkout_request_id=None, merchant_request_id=""
    )
    body = success(payment, checkout_id=other.checkout_request_id)

    with nothing_changes():
        assert deliver(payment, body) == "unverified"


def test_a_claim_whose_id_another_takes_meanwhile_proves_nothing(order, monkeypatch):
    payment = PaymentFactory(
        order=order, status="created", checkout_request_id=None, merchant_request_id=""
    )
    monkeypatch.setattr(acceptance, "learn_ids", lambda *args, **kwargs: False)

    with nothing_changes():
        assert deliver(payment, success(payment, checkout_id="ws_CO_1")) == "unverified"


def test_a_receipt_of_another_payment_asks(payment, duka, time):
    other = PaymentFactory(order=OrderFactory(shop=duka))
    deliver(other, success(other))

    with nothing_changes():
        assert deliver(payment, success(payment)) == "unverified"

    assert row(payment)["next_ask_at"] == time.now


@pytest.mark.parametrize(
    ("mode", "is_listed", "verdict"),
    [
        ("enforce", False, "unverified"),
        ("enforce", True, "applied"),
        ("log", False, "applied"),
        ("off", False, "applied"),
    ],
)
def test_an_address_counts_where_it_is_enforced(
    payment, settings, mode, is_listed, verdict
):
    settings.MPESA_CALLBACK_IP_MODE = mode

    assert deliver(payment, success(payment), is_listed=is_listed) == verdict


def test_another_environment_settles_nothing(payment):
    Payment.objects.update(environment="sandbox")

    with nothing_changes():
        assert deliver(payment, success(payment)) == "unverified"


@pytest.mark.parametrize(
    "facts", [{"body": b"nonsense"}, {"body": None, "is_cut": True}], ids=["odd", "cut"]
)
def test_what_is_not_understood_is_kept_and_asks(payment, facts, time):
    facts = {**facts, "body": facts["body"] or success(payment)}

    with nothing_changes():
        assert deliver(payment, **facts) == "malformed"

    notice = Notice.objects.get()
    assert bytes(notice.body) == facts["body"]
    assert (notice.processed_at, notice.next_try_at) == (time.now, None)
    assert row(payment)["next_ask_at"] == time.now


# Storing.


def test_a_notice_is_stored_as_it_came_and_born_due(payment, time):
    notice = store(payment, b"\x00\xff", address="196.201.214.200", is_cut=True)

    facts = Notice.objects.values().get()
    assert bytes(facts.pop("body")) == b"\x00\xff"
    assert len(facts.pop("body_hash")) == 64
    assert facts == {
        "id": notice.pk,
        "kind": "stk",
        "payment_id": payment.pk,
        "account_id": None,
        "request_id": None,
        "is_cut": True,
        "address": "196.201.214.200",
        "address_is_listed": True,
        "verdict": "new",
        "copies": 1,
        "received_at": time.now,
        "processed_at": None,
        "next_try_at": time.now + timedelta(seconds=15),
        "attempts": 0,
        "error": "",
    }


def test_the_same_bytes_are_counted(payment):
    first = inbox.store_for_payment(payment.token_hash, raw(b"same"))
    second = inbox.store_for_payment(payment.token_hash, raw(b"same"))

    assert (first.is_new, second.is_new) == (True, False)
    assert first.notice_id == second.notice_id
    assert Notice.objects.get().copies == 2


def test_the_same_bytes_for_two_payments_are_two_notices(payment, charlie):
    for one in (payment, charlie.payment):
        store(one, b"same")

    assert Notice.objects.count() == 2


def test_storing_is_one_statement_after_the_look_up(payment, django_assert_num_queries):
    with django_assert_num_queries(2):
        store_only = inbox.store_for_payment(payment.token_hash, raw(b"x"))

    assert store_only.is_new


def test_a_signed_token_of_no_payment_makes_an_orphan(db):
    stored = inbox.store_for_payment("f" * 64, raw(b"x"))

    notice = Notice.objects.get()
    assert (notice.kind, notice.verdict, notice.next_try_at) == (
        "orphan", "orphan", None
    )  # fmt: skip
    assert inbox.process(stored.notice_id) == "orphan"
    assert inbox.process_again(stored.notice_id) is None


@pytest.mark.parametrize(
    ("keep", "kind"),
    [(inbox.store_untokened, "untokened"), (inbox.count_rejected, "rejected")],
    ids=["untokened", "rejected"],
)
def test_messages_of_nobody_are_kept_once_and_capped(db, settings, keep, kind, caplog):
    settings.REJECTED_NOTICES_KEPT = 2

    for body in (b"a", b"a", b"b", b"c", b"b"):
        keep(raw(body))

    kept = Notice.objects.order_by("id").values_list("kind", "body", "copies")
    assert [(one, bytes(body), copies) for one, body, copies in kept] == [
        (kind, b"a", 2), (kind, b"b", 2)
    ]  # fmt: skip
    assert "2 kept, one more not" in caplog.text


def test_kinds_are_capped_apart(db, settings):
    settings.REJECTED_NOTICES_KEPT = 1

    inbox.store_untokened(raw(b"a"))
    inbox.count_rejected(raw(b"a"))

    assert Notice.objects.count() == 2


# Processing again, later, and giving up.


def test_processing_twice_changes_nothing(payment):
    notice = store(payment, success(payment))
    assert inbox.process(notice.pk) == "applied"

    with nothing_changes():
        assert inbox.process(notice.pk) == "applied"


@pytest.fixture
def broken(monkeypatch):
    """Processing breaks; returns what mends it."""
    original = inbox._judge

    def judge(*args):
        raise RuntimeError("broken \0 by 254712345678")

    monkeypatch.setattr(inbox, "_judge", judge)
    return lambda: monkeypatch.setattr(inbox, "_judge", original)


def test_what_breaks_in_the_request_is_due_soon(payment, broken, tasks, time, caplog):
    notice = store(payment, success(payment))

    with nothing_changes():
        assert inbox.process_now(notice.pk) is None

    due_at = time.now + timedelta(seconds=5)
    assert notice_facts(notice, "next_try_at", "attempts", "processed_at") == (
        due_at, 1, None
    )  # fmt: skip
    error = notice_facts(notice, "error")[0]
    assert error.startswith("RuntimeError: broken  by 2547")
    assert "254712345678" not in error
    assert tasks()[-1][:2] == (NOTICE_TASK, (notice.pk,))
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


def test_a_broken_notice_backs_off_and_is_parked(payment, broken, time, tasks):
    notice = store(payment, success(payment))
    inbox.process_now(notice.pk)
    gaps = []
    for _ in range(5):
        next_try_at = notice_facts(notice, "next_try_at")[0]
        gaps.append((next_try_at - time.now).total_seconds())
        time.now = next_try_at
        assert inbox.attempt(notice.pk) is None

    assert gaps == [5, 30, 120, 600, 3600]
    assert notice_facts(notice, "verdict", "next_try_at", "attempts") == (
        "parked", None, 6
    )  # fmt: skip
    assert inbox.attempt(notice.pk) is None
    assert notice_facts(notice, "attempts") == (6,)
    assert money_of(payment.order) == []


def test_a_parked_notice_is_processed_when_a_person_asks(payment, broken, time):
    notice = store(payment, success(payment))
    Notice.objects.update(
        verdict="parked", next_try_at=None, attempts=6, error="RuntimeError"
    )
    broken()

    assert inbox.process_again(notice.pk) == "applied"

    assert notice_facts(
        notice, "verdict", "attempts", "error", "next_try_at", "processed_at"
    ) == ("applied", 1, "", None, time.now)  # fmt: skip
    assert sale_of(payment.order) == ("paid", kes(250), 0, 0)


def test_an_attempt_is_counted_before_it_is_made(payment, monkeypatch, time):
    notice = store(payment, success(payment))
    time.turn(15)
    seen = []
    monkeypatch.setattr(
        inbox, "process", lambda key: seen.append(notice_facts(notice, "attempts"))
    )

    inbox.attempt(notice.pk)

    assert seen == [(1,)]


def test_a_notice_that_is_not_due_is_left_alone(payment, time):
    notice = store(payment, success(payment))
    time.turn(14)

    with nothing_changes():
        assert inbox.attempt(notice.pk) is None

    assert notice_facts(notice, "attempts") == (0,)


def test_a_notice_that_kills_its_worker_is_parked_with_a_word(payment, time):
    notice = store(payment, success(payment))
    for _ in range(6):
        Notice.objects.update(next_try_at=time.now)
        assert inbox._count_attempt(notice.pk)

    assert notice_facts(notice, "verdict", "error") == (
        "parked", "Broke its worker each time it was tried."
    )  # fmt: skip


def test_due_notices_are_the_longest_waiting_first(payment, time):
    notices = [store(payment, bytes([number])) for number in range(4)]
    for notice, ago_s in zip(notices, (1, 3, 2, -1), strict=True):
        Notice.objects.filter(pk=notice.pk).update(
            next_try_at=time.now - timedelta(seconds=ago_s)
        )

    assert inbox.due(10) == [notices[1].pk, notices[2].pk, notices[0].pk]
    assert inbox.due(2) == [notices[1].pk, notices[2].pk]
    assert inbox.due(10, time.now + timedelta(seconds=1))[-1] == notices[3].pk


def test_what_cannot_be_noted_waits_for_the_sweep(payment, broken, monkeypatch, caplog):
    notice = store(payment, success(payment))
    monkeypatch.setattr(inbox.later, "enqueue_later", no_database)

    assert inbox.process_now(notice.pk) is None

    assert notice_facts(notice, "attempts", "next_try_at")[0] == 0
    assert "waits for the sweep" in caplog.text


def test_an_error_that_cannot_be_kept_is_logged(
    payment, broken, time, caplog, monkeypatch
):
    notice = store(payment, success(payment))
    time.turn(15)
    monkeypatch.setattr(inbox, "_text_of", no_database)

    assert inbox.attempt(notice.pk) is None

    assert "could not be kept" in caplog.text
    assert notice_facts(notice, "attempts") == (1,)


def no_database(*args, **kwargs):
    raise OperationalError("full")


# The same bytes from a better address.


@pytest.fixture
def doubted(payment, settings):
    """A success that came from an address which is not listed."""
    settings.MPESA_CALLBACK_IP_MODE = "enforce"
    notice = store(payment, success(payment), is_listed=False, address="10.0.0.1")
    assert inbox.process_now(notice.pk) == "unverified"
    return notice


def test_a_copy_from_a_listed_address_is_judged_anew(payment, doubted):
    inbox.reconsider(doubted.pk, raw(success(payment), address="196.201.214.200"))

    assert notice_facts(doubted, "verdict", "address", "address_is_listed") == (
        "applied", "196.201.214.200", True
    )  # fmt: skip
    assert sale_of(payment.order) == ("paid", kes(250), 0, 0)


def test_a_copy_from_another_unlisted_address_is_not(payment, doubted):
    with nothing_changes():
        inbox.reconsider(
            doubted.pk, raw(success(payment), address="10.0.0.2", is_listed=False)
        )

    assert notice_facts(doubted, "verdict", "address") == ("unverified", "10.0.0.1")


def test_a_copy_of_what_was_doubted_for_another_reason_is_not(payment):
    notice = store(payment, success(payment, amount=1))
    inbox.process_now(notice.pk)

    with nothing_changes():
        inbox.reconsider(notice.pk, raw(success(payment, amount=1)))


def test_a_copy_that_cannot_be_looked_at_harms_nothing(payment, doubted, caplog):
    with database_without("payments_notice", "UPDATE"):
        inbox.reconsider(doubted.pk, raw(success(payment)))

    assert "could not be reconsidered" in caplog.text


# Without a token.


def test_an_untokened_claim_about_a_known_payment_asks(payment, time, tasks):
    with nothing_changes():
        inbox.ask_about_untokened(success(payment))

    assert row(payment)["next_ask_at"] == time.now
    assert tasks()[-1][:2] == (ASK, (str(payment.pk),))


@pytest.mark.parametrize("body", ["malformed", "unknown", "decided"])
def test_an_untokened_claim_about_nobody_asks_nothing(payment, body, tasks):
    before = row(payment)
    raw_body = {
        "malformed": b"nonsense",
        "unknown": success(payment, checkout_id="ws_CO_unknown"),
        "decided": success(payment),
    }[body]
    if body == "decided":
        Payment.objects.update(decided_at=clock.now())
        before = row(payment)

    inbox.ask_about_untokened(raw_body)

    assert (row(payment), tasks()) == (before, [])


def test_a_failed_payment_claimed_as_paid_with_a_doubt_is_asked_about(payment, time):
    """M-Pesa has been seen to contradict itself."""
    deliver(payment, failure(payment))

    assert deliver(payment, success(payment, amount=1)) == "unverified"

    assert row(payment)["next_ask_at"] == time.now


def test_every_outcome_has_a_verdict():
    assert set(inbox.VERDICTS) == set(settlement.Outcome)


def test_the_receipt_that_follows_an_answer_is_applied(payment):
    with transaction.atomic():
        order, locked = settlement.locked(payment.pk)
        settlement.record_success(
            order, locked, settlement.Proof(settlement.Source.QUERY)
        )
    assert money_of(payment.order) == CONFIRMED_BY_QUERY

    assert deliver(payment, success(payment)) == "applied"

    assert Collection.objects.get().receipt == RECEIPT
