"""Prompts: what is checked, what is claimed, what becomes of the push."""

import logging
from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import IntegrityError, OperationalError, connection

from orders import checkout
from orders import lifecycle as order_lifecycle
from orders.models import Order
from payments import (
    accounts,
    budget,
    hook_tokens,
    intents,
    prompting,
    pushing,
    references,
    refusals,
    settlement,
)
from payments.enums import FailureReason
from payments.gateways.base import GatewayError, PushAccepted
from payments.models import MpesaSettings, Payment, PhoneGuard
from shops.tenancy import Access
from smartduka.lib.errors import Forbidden, NotFound
from smartduka.lib.phone import InvalidPhone
from tests.factories import OrderFactory, PaymentFactory, ShopFactory
from tests.support.facts import nothing_changes, path_of, written_down
from tests.support.gateway import final


pytestmark = pytest.mark.django_db

PHONE, OTHER_PHONE = "254712345678", "254711000222"
ASK = "payments.tasks.ask"
UNKNOWN = GatewayError("no answer", certain=False)
BUSY = GatewayError("busy", certain=True, reason=FailureReason.MPESA_BUSY)
LOCK = GatewayError("lock", certain=True, reason=FailureReason.TOO_SOON, wait_s=60)


@pytest.fixture
def ask(seller, order, mpesa, time):
    """Ask for money as Bob does; everything can be said otherwise."""

    def request(**changes):
        asked = {
            "access": seller,
            "order_id": order.pk,
            "phone": PHONE,
            "amount": None,
            "key": None,
            "accept_risk": False,
        }
        return prompting.request(**asked | changes)

    return request


@pytest.fixture
def undecided(order, time):
    """An undecided prompt for KES 100 of the 250, as old as is said."""

    def make(age_s=0, amount=100, phone=OTHER_PHONE, **facts):
        return PaymentFactory(
            order=order,
            amount=Decimal(amount),
            phone=phone,
            created_at=time.now - timedelta(seconds=age_s),
            **facts,
        )

    return make


def row(payment):
    return Payment.objects.filter(pk=payment.pk).values().get()


def now(payment, *names):
    values = row(payment)
    return tuple(values[name] for name in names)


def refused(kind, ask, **changes):
    """Return the details of a refusal that leaves nothing behind."""
    with nothing_changes(), pytest.raises(kind) as refusal:
        ask(**changes)
    return getattr(refusal.value, "details", None)


# The good case.


def test_a_prompt_is_stored_sent_and_pending(
    ask, order, bob, mpesa, time, tasks, messages, settings
):
    prompted = ask(key="key")

    assert prompted.is_new
    values = row(prompted.payment)
    pushed, account = mpesa.pushes[0], mpesa.accounts[0]
    token = pushed.callback_url.removeprefix(
        f"{settings.MPESA_CALLBACK_URL}/hooks/stk/"
    )
    assert values == {
        "id": prompted.payment.pk,
        "shop_id": order.shop_id,
        "order_id": order.pk,
        "method": "mpesa_stk",
        "status": "pending",
        "amount": Decimal(250),
        "created_by_id": bob.user.pk,
        "created_at": time.now,
        "retry_of_id": None,
        "attempt": 1,
        "idempotency_key": "key",
        "request_hash": intents.fingerprint("stk", order.pk, PHONE, None),
        "account_id": accounts.platform_account().pk,
        "environment": "simulator",
        "shortcode": "600100",
        "party_b": "600100",
        "phone": PHONE,
        "reference": pushed.reference,
        "token_hash": hook_tokens.verify(token),
        "tendered": None,
        "merchant_request_id": "merchant-1",
        "checkout_request_id": "ws_CO_fake_1",
        "receipt": "",
        "answered_at": time.now,
        "expires_at": time.now + timedelta(seconds=300),
        "decided_at": None,
        "completed_at": None,
        "result_code": "",
        "result_desc": "",
        "error_code": "",
        "failure_reason": "",
        "may_retry": False,
        "alarm": "",
        "next_ask_at": time.now + timedelta(seconds=15),
        "asked_at": None,
        "ask_count": 0,
        "leased_until": None,
        "seen_at": None,
        "seen_by_id": None,
    }
    assert (pushed.phone, pushed.amount, pushed.description) == (PHONE, 250, "Sale")
    assert references.is_valid(pushed.reference)
    assert (account.shortcode, account.passkey) == ("600100", settings.MPESA_PASSKEY)
    assert list(
        prompted.payment.events.values_list("old", "new", "source", "actor", "reason")
    ) == [
        ("", "created", "person", bob.user.pk, "KES 250 asked from 0712 ••• 678"),
        ("created", "pending", "push", None, "M-Pesa accepted the prompt"),
    ]
    assert [task[:2] for task in tasks()] == [(ASK, (str(prompted.payment.pk),))]
    assert messages == [("payment.created", "created"), ("payment.pending", "pending")]
    assert Order.objects.get().frozen_at == time.now


def test_the_phone_is_normalized(ask, mpesa):
    ask(phone="0712 345 678")

    assert mpesa.pushes[0].phone == PHONE


def test_part_of_the_sale_may_be_asked_for(ask, mpesa):
    assert ask(amount=100).payment.amount == Decimal(100)
    assert mpesa.pushes[0].amount == 100


def test_a_shops_own_account_is_used(mpesa, charlie):
    his = Access(charlie.user, charlie.shop, "owner")
    order = OrderFactory(shop=charlie.shop)

    prompted = prompting.request(
        access=his, order_id=order.pk, phone=PHONE, amount=None, key=None,
        accept_risk=False,
    )  # fmt: skip

    assert prompted.payment.shortcode == "600200"
    assert mpesa.accounts[0].consumer_key == "sim-shop2-key"


@pytest.mark.django_db(transaction=True)
def test_nothing_is_held_during_the_push(duka, bob, mpesa):
    order = OrderFactory(shop=duka)
    held = []

    def answer(request):
        held.append((connection.connection is None, connection.in_atomic_block))

    mpesa.push_answers = [answer]

    prompting.request(
        access=Access(bob.user, duka, "cashier"), order_id=order.pk, phone=PHONE,
        amount=None, key=None, accept_risk=False,
    )  # fmt: skip

    assert held == [(True, False)]
    assert path_of(Payment.objects.get()) == ["created", "pending"]


def test_the_intent_is_stored_before_the_push(ask, mpesa):
    seen = []
    mpesa.push_answers = [
        lambda request: seen.append(
            list(Payment.objects.values_list("status", "token_hash"))
        )
    ]

    payment = ask().payment

    assert seen == [[("created", payment.token_hash)]]


# What is refused before anything is asked.


def test_an_auditor_may_not_ask(ask, audrey):
    refused(Forbidden, ask, access=Access(audrey.user, audrey.shop, "auditor"))


@pytest.mark.parametrize("whose", ["foreign", "nonsense"])
def test_a_sale_of_another_shop_does_not_exist(ask, charlie, whose):
    order_id = charlie.order.pk if whose == "foreign" else "nonsense"

    refused(NotFound, ask, order_id=order_id)


def test_a_phone_must_be_one(ask):
    refused(InvalidPhone, ask, phone="0812345678")


@pytest.mark.parametrize("amount", [0, -5])
def test_an_amount_is_at_least_a_shilling(ask, amount):
    refused(refusals.AmountTooSmall, ask, amount=amount)


def test_an_amount_is_within_the_limit(ask):
    details = refused(refusals.AmountTooLarge, ask, amount=250_001)

    assert details == {"maxAmount": 250_000}


def test_the_whole_balance_is_within_the_limit_too(ask, duka):
    order = OrderFactory(shop=duka, total=250_001)

    refused(refusals.AmountTooLarge, ask, order_id=order.pk)


def test_a_shop_may_set_a_lower_limit(ask):
    MpesaSettings.objects.update(max_amount=200)

    assert refused(refusals.AmountTooLarge, ask) == {"maxAmount": 200}


def test_no_more_than_the_balance(ask, order):
    details = refused(refusals.AmountExceedsBalance, ask, amount=251)

    assert details == {"balance": 250}


def test_a_balance_with_cents_asks_for_the_next_shilling(ask, order):
    """Nobody pays cents: two people corrected what had been paid by some."""
    Order.objects.filter(pk=order.pk).update(paid=Decimal("99.50"))

    assert refused(refusals.AmountExceedsBalance, ask, amount=152) == {"balance": 151}
    assert ask().payment.amount == Decimal(151)


@pytest.mark.parametrize("status", ["paid", "cancelled"])
def test_a_closed_sale_is_not_asked_for(ask, order, status):
    if status == "cancelled":
        order_lifecycle.cancel(order.pk, actor=None)
    else:
        Order.objects.update(status="refunded")

    refused(order_lifecycle.OrderNotOpen, ask)


@pytest.mark.parametrize("why", ["cancelled", "too much"])
def test_what_cannot_be_asked_for_costs_no_question(ask, order, undecided, mpesa, why):
    undecided(30)
    if why == "cancelled":
        order_lifecycle.cancel(order.pk, actor=None)
        refused(order_lifecycle.OrderNotOpen, ask)
    else:
        refused(refusals.AmountExceedsBalance, ask, amount=251)

    assert mpesa.questions == []


def test_a_sale_that_is_closed_meanwhile_is_not_asked_for(
    ask, order, monkeypatch, mpesa
):
    def meanwhile(payments):
        order_lifecycle.cancel(order.pk, actor=None)

    monkeypatch.setattr(prompting.questions, "ask_first", meanwhile)

    with pytest.raises(order_lifecycle.OrderNotOpen):
        ask()

    assert (mpesa.pushes, Payment.objects.count()) == ([], 0)


def test_a_shop_without_an_account_cannot_ask(ask):
    MpesaSettings.objects.all().delete()

    refused(accounts.NotConfigured, ask)


def test_the_lines_stay_as_they_were_asked_for(ask, seller, order):
    ask()

    with pytest.raises(checkout.LinesFrozen):
        checkout.replace_lines(
            order.pk, shop=seller.shop, actor=None,
            items=[checkout.Item(str(order.lines.get().product_id), 2)],
        )  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"phone": "x", "amount": 0}, InvalidPhone),
        ({"amount": 300_000}, refusals.AmountTooLarge),
        ({"amount": 0}, refusals.AmountTooSmall),
    ],
    ids=["phone first", "limit before balance", "least before open"],
)
def test_checks_come_in_their_order(ask, order, changes, kind):
    if changes.get("amount") == 0:
        order_lifecycle.cancel(order.pk, actor=None)

    refused(kind, ask, **changes)


# One key.


def test_a_key_returns_the_payment_it_made(ask, mpesa):
    first = ask(key="key").payment

    with nothing_changes():
        again = ask(key="key")

    assert (again.payment.pk, again.is_new) == (first.pk, False)
    assert len(mpesa.pushes) == 1


@pytest.mark.parametrize(
    "changes", [{"phone": OTHER_PHONE}, {"amount": 250}, {"amount": 100}], ids=str
)
def test_a_key_means_one_thing(ask, changes):
    ask(key="key")

    refused(refusals.IdempotencyMismatch, ask, key="key", **changes)


def test_a_key_that_refused_something_is_free(ask):
    refused(refusals.AmountExceedsBalance, ask, key="key", amount=251)

    assert ask(key="key", amount=250).is_new


def test_the_same_open_prompt_is_returned_without_a_key(ask, mpesa):
    first = ask().payment

    with nothing_changes():
        again = ask(amount=250)

    assert (again.payment.pk, again.is_new) == (first.pk, False)
    assert len(mpesa.pushes) == 1


@pytest.fixture
def quickly(settings, monkeypatch):
    settings.IDEMPOTENCY_WAIT_S = 0.2
    monkeypatch.setattr(prompting, "FIRST_LOOK_S", 0.02)


def test_a_twin_waits_for_the_first_and_gives_up(ask, undecided, quickly):
    undecided(amount=250, phone=PHONE, status="created", answered_at=None)

    details = refused(refusals.InFlight, ask)

    assert details == {"retryAfter": 2}


def test_a_twin_sees_the_answer_of_the_first(ask, undecided, monkeypatch, time):
    first = undecided(amount=250, phone=PHONE, status="created", answered_at=None)

    def answered(pause_s):
        Payment.objects.update(status="pending", answered_at=time.now)

    monkeypatch.setattr(prompting.time, "sleep", answered)

    again = ask()

    assert (again.payment.pk, again.payment.status) == (first.pk, "pending")


def test_a_push_that_lost_its_process_is_returned_as_unknown(ask, undecided):
    first = undecided(28, amount=250, phone=PHONE, status="created", answered_at=None)

    again = ask()

    assert (again.payment.pk, again.payment.status) == (first.pk, "created")


# What is spoken for.


def test_an_undecided_prompt_speaks_for_its_amount(ask, undecided):
    one = undecided(30)

    assert refused(refusals.PromptInTheWay, ask, amount=151) == {
        "retryAfter": 90, "undecided": [str(one.pk)], "acceptRiskAllowed": False
    }  # fmt: skip
    assert ask(amount=150).is_new


@pytest.mark.parametrize("age_s", [0, 119.5])
def test_the_cashiers_word_is_not_enough_for_120_seconds(ask, undecided, age_s):
    one = undecided(age_s)

    details = refused(refusals.PromptInTheWay, ask, accept_risk=True)

    assert details == {
        "retryAfter": 120 if age_s == 0 else 1,
        "undecided": [str(one.pk)],
        "acceptRiskAllowed": False,
    }


def test_after_120_seconds_the_cashiers_word_is_needed(ask, undecided, mpesa):
    one = undecided(120)

    assert refused(refusals.PromptInTheWay, ask) == {
        "retryAfter": 0, "undecided": [str(one.pk)], "acceptRiskAllowed": True
    }  # fmt: skip
    assert ask(accept_risk=True).is_new


def test_a_fresh_and_an_old_prompt_speak_together(ask, undecided):
    old, fresh = undecided(200), undecided(20, phone="254711000333")

    details = refused(refusals.PromptInTheWay, ask, amount=100)
    assert details == {
        "retryAfter": 0,
        "undecided": [str(old.pk), str(fresh.pk)],
        "acceptRiskAllowed": True,
    }
    details = refused(refusals.PromptInTheWay, ask, amount=200, accept_risk=True)
    assert details == {
        "retryAfter": 100, "undecided": [str(fresh.pk)], "acceptRiskAllowed": False
    }  # fmt: skip
    assert ask(amount=150, accept_risk=True).is_new


@pytest.mark.parametrize("status", ["expired", "cancelled"])
def test_a_prompt_given_up_still_speaks(ask, undecided, status):
    undecided(30, status=status)

    refused(refusals.PromptInTheWay, ask)


def test_a_decided_prompt_speaks_for_nothing(ask, undecided, time):
    undecided(30, status="cancelled", decided_at=time.now)

    assert ask().is_new


def test_mpesa_is_asked_before_a_new_prompt(ask, undecided, mpesa):
    one = undecided(30)
    mpesa.otherwise = final("1032")

    assert ask().is_new

    assert mpesa.questions == [one.checkout_request_id]
    assert path_of(one)[-1] == "failed"


def test_money_that_the_question_finds_lowers_the_balance(ask, undecided, mpesa):
    undecided(30)
    mpesa.otherwise = final("0")

    assert ask().payment.amount == Decimal(150)
    assert mpesa.pushes[0].amount == 150


# The phone's guard.


@pytest.fixture
def elsewhere(bob):
    """Another shop's order, to be paid from the same phone."""
    shop = ShopFactory(platform=True)
    return {
        "access": Access(bob.user, shop, "cashier"),
        "order_id": OrderFactory(shop=shop).pk,
    }


@pytest.mark.parametrize(
    ("amount", "wait_s"), [(100, 60), (250, 120)], ids=["other", "same"]
)
def test_a_phone_is_guarded_across_shops(ask, elsewhere, time, amount, wait_s):
    ask()
    time.turn(1)

    details = refused(refusals.PromptInTheWay, ask, **elsewhere, amount=amount)
    assert details == {"retryAfter": wait_s - 1, "acceptRiskAllowed": False}
    time.turn(wait_s - 1.5)
    details = refused(refusals.PromptInTheWay, ask, **elsewhere, amount=amount)
    assert details["retryAfter"] == 1
    time.turn(0.5)
    assert ask(**elsewhere, amount=amount).is_new


def test_a_refused_guard_leaves_no_payment_and_no_open_sale(ask, elsewhere):
    ask()

    refused(refusals.PromptInTheWay, ask, **elsewhere)

    assert Payment.objects.count() == 1
    assert Order.objects.get(pk=elsewhere["order_id"]).frozen_at is None


@pytest.mark.parametrize(
    ("error", "wait_s"), [(BUSY, 5), (LOCK, 60)], ids=["busy", "subscriber lock"]
)
def test_after_a_certain_refusal_the_phone_is_free_soon(
    ask, mpesa, time, error, wait_s
):
    mpesa.push_answers = [error]
    ask()
    time.turn(wait_s - 1)

    details = refused(refusals.PromptInTheWay, ask)
    assert details["retryAfter"] == 1
    time.turn(1)
    assert ask().is_new


def test_after_a_lost_answer_the_phone_stays_guarded(ask, elsewhere, mpesa, time):
    mpesa.push_answers = [UNKNOWN]
    ask()
    time.turn(59)

    refused(refusals.PromptInTheWay, ask, **elsewhere, amount=100)


# The rate.


def test_new_prompts_are_limited(ask, duka, settings, mpesa):
    settings.STK_RATE_PER_SHOP = "2/m"
    orders = [OrderFactory(shop=duka) for _ in range(3)]
    for number, order in enumerate(orders[:2]):
        ask(order_id=order.pk, phone=f"25471200000{number}", key=f"key {number}")
    ask(order_id=orders[0].pk, phone="254712000000", key="key 0")  # no new push

    details = refused(
        refusals.RateLimited, ask, order_id=orders[2].pk, phone="254712000002"
    )

    assert 1 <= details["retryAfter"] <= 60
    assert len(mpesa.pushes) == 2


def test_a_limit_that_cannot_be_counted_stops_nobody(ask, monkeypatch):
    monkeypatch.setattr(budget, "usage_of", lambda *args: None)

    assert ask().is_new


# What the push is answered.


def test_a_certain_refusal_fails_the_payment(ask, mpesa):
    mpesa.push_answers = [BUSY]

    prompted = ask(key="key")

    assert prompted.is_new
    assert now(prompted.payment, "status", "error_code", "idempotency_key") == (
        "failed", "MPESA_004", "key"
    )  # fmt: skip
    assert ask(key="key").payment.pk == prompted.payment.pk


@pytest.mark.parametrize(
    "answer", [UNKNOWN, RuntimeError("a bug")], ids=["lost", "broken off"]
)
def test_a_lost_answer_is_unknown_and_never_pushed_again(ask, mpesa, answer):
    mpesa.push_answers = [answer]

    payment = ask(key="key").payment

    assert now(payment, "status", "decided_at", "error_code") == ("created", None, "")
    assert ask(key="key").payment.pk == payment.pk
    assert ask().payment.pk == payment.pk
    assert len(mpesa.pushes) == 1


def test_a_callback_before_the_answer_is_kept(ask, mpesa):
    def paid_meanwhile(request):
        payment = Payment.objects.get()
        with settlement.transaction.atomic():
            order, locked = settlement.locked(payment.pk)
            proof = settlement.Proof(settlement.Source.CALLBACK, "UAE5B2K9QT")
            settlement.record_success(order, locked, proof)
        return PushAccepted("merchant", "ws_CO_late")

    mpesa.push_answers = [paid_meanwhile]

    payment = ask().payment

    assert path_of(payment) == ["created", "completed"]
    assert now(payment, "checkout_request_id", "receipt") == (
        "ws_CO_late",
        "UAE5B2K9QT",
    )


def test_cancelled_before_the_answer_keeps_the_ids(ask, mpesa, seller):
    def cancelled_meanwhile(request):
        prompting.stop_waiting(access=seller, payment_id=Payment.objects.get().pk)
        return PushAccepted("merchant", "ws_CO_late")

    mpesa.push_answers = [cancelled_meanwhile]

    payment = ask().payment

    assert path_of(payment) == ["created", "cancelled"]
    assert now(payment, "checkout_request_id") == ("ws_CO_late",)


@pytest.fixture
def no_pause(monkeypatch):
    monkeypatch.setattr(pushing, "KEEP_PAUSES_S", (0, 0))


def test_a_short_outage_keeps_the_answer(ask, no_pause, monkeypatch):
    outages = [OperationalError("away"), OperationalError("away")]
    original = pushing._record_answer

    def record(*args):
        if outages:
            raise outages.pop()
        return original(*args)

    monkeypatch.setattr(pushing, "_record_answer", record)

    assert now(ask().payment, "status", "checkout_request_id") == (
        "pending", "ws_CO_fake_1"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (GatewayError("busy", certain=True), "failed"),
        (GatewayError("no answer", certain=False), "created"),
        (None, "pending"),
    ],
    ids=["refused", "lost", "accepted"],
)
def test_an_answer_is_kept_once_when_its_commit_was_not_confirmed(
    ask, no_pause, monkeypatch, mpesa, answer, status
):
    original, tries = pushing._record_answer, []

    def keep_and_lose_the_confirmation(*args):
        kept = original(*args)
        tries.append(kept)
        if len(tries) == 1:
            raise OperationalError("away")
        return kept

    monkeypatch.setattr(pushing, "_record_answer", keep_and_lose_the_confirmation)
    mpesa.push_answers = [answer]

    payment = ask().payment

    assert len(tries) == 2
    assert now(payment, "status", "alarm") == (status, "")
    assert payment.events.count() == 2


def test_an_answer_that_cannot_be_kept_is_in_the_log(
    ask, no_pause, monkeypatch, caplog
):
    def record(*args):
        raise OperationalError("away")

    monkeypatch.setattr(pushing, "_record_answer", record)

    with pytest.raises(OperationalError):
        ask()

    critical = [r.message for r in caplog.records if r.levelno == logging.CRITICAL]
    assert "ws_CO_fake_1" in critical[0]


# Twins that appear between the look and the lock.


@pytest.mark.parametrize("key", ["key", None], ids=["same key", "same prompt"])
def test_a_twin_that_was_faster_is_returned(ask, undecided, monkeypatch, mpesa, key):
    twins = []

    def meanwhile(payments):
        made = undecided(
            amount=250, phone=PHONE, idempotency_key=key,
            request_hash=intents.fingerprint(
                "stk", Order.objects.get().pk, PHONE, None
            ),
        )  # fmt: skip
        twins.append(made)

    monkeypatch.setattr(prompting.questions, "ask_first", meanwhile)

    prompted = ask(key=key)

    assert (prompted.payment.pk, prompted.is_new) == (twins[0].pk, False)
    assert mpesa.pushes == []


# The net below the lock.


def test_a_constraint_that_nobody_won_is_no_answer(ask, monkeypatch):
    def broken(intent):
        raise IntegrityError("odd")

    monkeypatch.setattr(intents, "begin", broken)

    refused(IntegrityError, ask, key="key")


def test_references_never_repeat_in_an_account(ask, undecided, monkeypatch):
    taken = undecided(amount=1)
    drawn = iter([taken.reference, taken.reference, "FRESH0001"])
    monkeypatch.setattr(references, "new_reference", lambda: next(drawn))

    assert ask(amount=100).payment.reference == "FRESH0001"


def test_references_that_always_repeat_are_a_bug(ask, undecided, monkeypatch):
    taken = undecided(amount=1)
    monkeypatch.setattr(references, "new_reference", lambda: taken.reference)

    refused(AssertionError, ask, amount=100)


# Retrying.


@pytest.fixture
def failed(order, time):
    return PaymentFactory(
        order=order, phone=PHONE, status="failed", failure_reason="wrong_pin",
        may_retry=True, decided_at=time.now, next_ask_at=None, amount=Decimal(100),
    )  # fmt: skip


def retry(seller, payment):
    return prompting.retry(access=seller, payment_id=payment.pk)


def test_a_retry_is_a_new_payment(seller, failed, mpesa):
    before = row(failed)

    prompted = retry(seller, failed)

    assert prompted.is_new
    assert now(
        prompted.payment, "retry_of_id", "attempt", "phone", "amount", "order_id"
    ) == (failed.pk, 2, PHONE, Decimal(100), failed.order_id)
    assert row(failed) == before


def test_retrying_twice_is_one_retry(seller, failed, mpesa):
    first = retry(seller, failed)

    with nothing_changes():
        again = retry(seller, failed)

    assert (again.payment.pk, again.is_new) == (first.payment.pk, False)
    assert len(mpesa.pushes) == 1


@pytest.mark.parametrize(
    "facts",
    [
        {"may_retry": False},
        {"attempt": 4},
        {"status": "cancelled"},
        {"status": "expired"},
    ],
    ids=str,
)
def test_some_cannot_be_retried(seller, failed, mpesa, facts):
    Payment.objects.filter(pk=failed.pk).update(**facts)

    with nothing_changes(), pytest.raises(refusals.NotRetryable):
        retry(seller, failed)


def test_at_most_three_retries_follow_the_first(seller, failed, mpesa, time):
    mpesa.push_answers = [BUSY] * 4
    chain = [failed]
    for _ in range(3):
        chain.append(retry(seller, chain[-1]).payment)
        time.turn(10)

    assert [one.attempt for one in chain] == [1, 2, 3, 4]
    with pytest.raises(refusals.NotRetryable):
        retry(seller, chain[-1])


def test_a_payment_that_was_paid_meanwhile_is_not_retried(
    seller, failed, mpesa, monkeypatch
):
    """The money is recorded between the look and the lock."""
    original = intents.begin

    def begin(intent):
        Payment.objects.filter(pk=failed.pk).update(
            status="completed", completed_at=failed.created_at
        )
        return original(intent)

    monkeypatch.setattr(intents, "begin", begin)

    with pytest.raises(refusals.NotRetryable):
        retry(seller, failed)

    assert mpesa.pushes == []


def test_a_retry_needs_the_balance(seller, failed, order, mpesa):
    Order.objects.filter(pk=order.pk).update(paid=200)

    with nothing_changes(), pytest.raises(refusals.AmountExceedsBalance):
        retry(seller, failed)


def test_a_retry_that_lost_the_race_returns_the_winner(seller, failed, monkeypatch):
    def begin(intent):
        PaymentFactory(order=failed.order, retry_of=failed, amount=Decimal(100))
        raise IntegrityError("retry_of")

    monkeypatch.setattr(intents, "begin", begin)

    prompted = retry(seller, failed)

    assert (prompted.payment.retry_of_id, prompted.is_new) == (failed.pk, False)


@pytest.mark.parametrize("verb", [prompting.retry, prompting.stop_waiting])
def test_another_shops_payment_does_not_exist(seller, charlie, verb):
    with nothing_changes(), pytest.raises(NotFound):
        verb(access=seller, payment_id=charlie.payment.pk)


# Sending again.


def resend(seller, payment, accept_risk=False):
    return prompting.resend(
        access=seller, payment_id=payment.pk, accept_risk=accept_risk
    )


def test_sending_again_replaces_an_old_prompt(seller, undecided, mpesa, messages):
    old = undecided(200, amount=250, phone=PHONE)

    prompted = resend(seller, old, accept_risk=True)

    assert prompted.is_new
    assert (prompted.payment.pk != old.pk, prompted.payment.amount) == (True, 250)
    assert path_of(old) == ["created", "pending", "cancelled"]
    assert old.events.last().reason == "Replaced by a new prompt"
    assert now(old, "decided_at") == (None,)
    assert [event for event, _ in messages] == [
        "payment.cancelled", "payment.created", "payment.pending"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("age_s", "accept_risk"), [(30, True), (200, False)], ids=["fresh", "no word"]
)
def test_refused_guards_leave_the_old_prompt_open(
    seller, undecided, mpesa, age_s, accept_risk
):
    old = undecided(age_s, amount=250, phone=PHONE)

    with nothing_changes(), pytest.raises(refusals.PromptInTheWay):
        resend(seller, old, accept_risk)

    assert mpesa.pushes == []


def test_a_guarded_phone_leaves_the_old_prompt_open(seller, undecided, mpesa, time):
    old = undecided(200, amount=250, phone=PHONE)
    PhoneGuard.objects.create(
        phone=PHONE, amount=1, free_at=time.now + timedelta(seconds=9),
        free_same_at=time.now,
    )  # fmt: skip

    with nothing_changes(), pytest.raises(refusals.PromptInTheWay) as refusal:
        resend(seller, old, accept_risk=True)

    assert refusal.value.details["retryAfter"] == 9


def test_sending_again_asks_about_the_whole_sale_first(seller, order, undecided, mpesa):
    # The customer answered an earlier prompt after all: nothing is left to pay.
    earlier = undecided(900, amount=250, phone=OTHER_PHONE)
    last = undecided(200, amount=250, phone=PHONE)
    mpesa.answers[earlier.checkout_request_id] = final("0")

    with pytest.raises(order_lifecycle.OrderNotOpen):
        resend(seller, last, accept_risk=True)

    assert mpesa.questions == [last.checkout_request_id, earlier.checkout_request_id]
    assert path_of(earlier)[-1] == "completed"
    assert mpesa.pushes == []


@pytest.mark.parametrize("code", ["0", "1032"])
def test_a_prompt_that_turns_out_final_is_not_sent_again(
    seller, undecided, mpesa, code
):
    old = undecided(200, amount=250, phone=PHONE)
    mpesa.otherwise = final(code)

    prompted = resend(seller, old, accept_risk=True)

    assert (prompted.payment.pk, prompted.is_new) == (old.pk, False)
    assert prompted.payment.decided_at is not None
    assert mpesa.pushes == []


def test_a_prompt_decided_under_the_lock_is_not_sent_again(
    seller, undecided, mpesa, monkeypatch, time
):
    old = undecided(200, amount=100, phone=PHONE)
    original = intents.begin

    def begin(intent):
        Payment.objects.filter(pk=old.pk).update(
            status="failed", failure_reason="other", decided_at=time.now
        )
        return original(intent)

    monkeypatch.setattr(intents, "begin", begin)

    prompted = resend(seller, old, accept_risk=True)

    assert (prompted.payment.pk, prompted.is_new) == (old.pk, False)
    assert mpesa.pushes == []


def test_a_prompt_given_up_is_sent_again_without_another_move(seller, undecided, mpesa):
    old = undecided(200, amount=250, phone=PHONE, status="expired")

    assert resend(seller, old, accept_risk=True).is_new

    assert path_of(old) == ["created", "expired"]


# Stopping to wait.


def stop(seller, payment):
    return prompting.stop_waiting(access=seller, payment_id=payment.pk)


def test_waiting_is_stopped_after_a_question(seller, undecided, mpesa, messages, bob):
    payment = undecided(30)

    assert stop(seller, payment).status == "cancelled"

    assert mpesa.questions == [payment.checkout_request_id]
    assert path_of(payment) == ["created", "pending", "cancelled"]
    event = payment.events.last()
    assert (event.actor, event.source, event.reason) == (
        bob.user, "person", "The cashier stopped waiting"
    )  # fmt: skip
    assert now(payment, "decided_at") == (None,)
    assert now(payment, "next_ask_at") != (None,)
    assert messages == [("payment.cancelled", "cancelled")]


@pytest.mark.parametrize(("code", "status"), [("0", "completed"), ("1032", "failed")])
def test_an_answer_is_better_than_stopping(seller, undecided, mpesa, code, status):
    payment = undecided(30)
    mpesa.otherwise = final(code)

    assert stop(seller, payment).status == status


@pytest.mark.parametrize("status", ["expired", "cancelled"])
def test_stopping_what_is_over_changes_nothing(seller, undecided, mpesa, status, time):
    payment = undecided(30, status=status, asked_at=time.now)

    with nothing_changes():
        assert stop(seller, payment).status == status


def test_a_decided_payment_is_not_asked_about(seller, failed, mpesa):
    with nothing_changes():
        assert stop(seller, failed).status == "failed"

    assert mpesa.questions == []


@pytest.mark.parametrize("was_answered", [True, False])
def test_a_payment_without_an_id_is_asked_about_while_it_may_get_one(
    seller, undecided, mpesa, was_answered, time
):
    payment = undecided(
        5, status="created", checkout_request_id=None,
        answered_at=time.now if was_answered else None,
    )  # fmt: skip

    stop(seller, payment)

    assert (now(payment, "next_ask_at") == (None,)) is was_answered


def test_an_auditor_may_do_none_of_it(audrey, failed):
    access = Access(audrey.user, audrey.shop, "auditor")

    for act in (
        lambda: retry(access, failed),
        lambda: resend(access, failed),
        lambda: stop(access, failed),
    ):
        with nothing_changes(), pytest.raises(Forbidden):
            act()


def test_fingerprints_differ_where_parts_differ():
    assert intents.fingerprint("a", "bc") != intents.fingerprint("ab", "c")
    assert intents.fingerprint("a", 1) == intents.fingerprint("a", "1")
    assert len(intents.fingerprint()) == 64


def test_nothing_is_written_by_looking(order):
    assert written_down() == written_down()
