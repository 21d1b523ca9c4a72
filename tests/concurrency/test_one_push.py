"""One key is one push: 200 at once against the simulator, and each guard alone."""

import json
import uuid

import pytest
from django.test import Client

from orders.models import Order
from payments import accounts, guards, intents, prompting
from payments.models import Payment
from shops import tenancy
from tests.concurrency.racing import MARKS, ROUNDS, kinds, together
from tests.factories import OrderFactory
from tests.support.simulator import SimulatorProcess


pytestmark = MARKS

AT_ONCE = 200
URL = "/api/payments/mpesa/initiate"
PHONE = "254712345678"


@pytest.fixture(scope="module")
def simulator():
    with SimulatorProcess() as process:
        yield process


@pytest.fixture
def order(duka):
    accounts.platform_account()  # made once, long before a rush
    return OrderFactory(shop=duka, total=250)


@pytest.fixture
def initiate(bob, order):
    """Return a call of the API as Bob's browser makes it; its status and body."""
    body = {"orderId": str(order.pk), "phoneNumber": PHONE, "amount": 250}
    first = Client()
    first.handler.load_middleware()

    def call(key):
        client = Client()
        client.handler = first.handler
        client.cookies = bob.client.cookies
        answer = client.post(
            URL,
            json.dumps(body | {"idempotencyKey": key}),
            content_type="application/json",
        )
        return answer.status_code, answer.json()

    return call


@pytest.mark.parametrize("number", range(ROUNDS))
def test_200_initiates_with_one_key_are_one_push(
    number, initiate, order, simulator, settings
):
    settings.MPESA_BASE_URL = simulator.url
    simulator.reset()
    simulator.faults(push_latency_s=0.2)
    key = str(uuid.uuid4())

    answers = together(*[lambda: initiate(key)] * AT_ONCE)

    assert simulator.stats()["pushes"] == 1
    assert len(simulator.prompts()) == 1
    payment = Payment.objects.get()
    statuses = sorted(status for status, _ in answers)
    assert statuses == [200] * (AT_ONCE - 1) + [201]
    bodies = [body for _, body in answers]
    assert {body["transactionId"] for body in bodies} == {str(payment.pk)}
    checkout_id = simulator.prompts()[0]["checkoutRequestId"]
    assert {body["checkoutRequestId"] for body in bodies} == {checkout_id}
    assert {body["status"] for body in bodies} == {"pending"}
    assert sorted(body["isIdempotent"] for body in bodies) == [False] + [True] * 199
    assert list(payment.events.values_list("old", "new")) == [
        ("", "created"), ("created", "pending")
    ]  # fmt: skip


def test_the_same_crowd_pushes_often_without_the_guards(
    initiate, order, mpesa, off, rendezvous
):
    switch_off(off, None)
    mpesa.latency_s = 0.5
    rendezvous(parties=12).after(intents, "require_unspoken")

    together(*[lambda: initiate("key")] * 12)

    assert len(mpesa.pushes) > 1
    assert Payment.objects.filter(idempotency_key="key").count() == len(mpesa.pushes)


@pytest.mark.parametrize(
    ("guard", "results"),
    [
        ("order lock", ["ok", "ok"]),
        ("key makes one payment", ["ok", "ok"]),
        ("one open prompt", ["ok", "ok"]),
        ("phone guard", ["PromptInTheWay", "ok"]),
    ],
    ids=lambda value: str(value),
)
def test_two_with_one_key_are_one_push_by_each_guard_alone(
    guard, results, order, seller, mpesa, off, rendezvous
):
    switch_off(off, guard)
    here = rendezvous(patience_s=0.3 if guard == "order lock" else 5.0)
    here.after(intents, "require_unspoken")

    answers = together(*[lambda: ask(seller, order, key="key")] * 2)

    assert kinds(answers) == results
    assert len(mpesa.pushes) == 1
    payment = Payment.objects.get()
    prompted = [one for one in answers if not isinstance(one, Exception)]
    assert {one.payment.pk for one in prompted} == {payment.pk}
    assert [one.is_new for one in prompted].count(True) == 1


def test_two_with_one_key_are_two_pushes_without_any_guard(
    order, seller, mpesa, off, rendezvous
):
    switch_off(off, None)
    rendezvous().after(intents, "require_unspoken")

    answers = together(*[lambda: ask(seller, order, key="key")] * 2)

    assert kinds(answers) == ["ok", "ok"]
    assert len(mpesa.pushes) == 2


def test_one_key_for_two_orders_makes_one_payment(
    duka, order, seller, mpesa, rendezvous
):
    """Each order has its own lock: only the constraint sees the key."""
    other = OrderFactory(shop=duka, total=250)
    rendezvous().after(intents, "require_unspoken")

    answers = together(
        lambda: ask(seller, order, key="key"),
        lambda: ask(seller, other, key="key", phone="254711000222"),
    )

    assert kinds(answers) == ["IdempotencyMismatch", "ok"]
    assert len(mpesa.pushes) == Payment.objects.count() == 1


def test_one_key_for_two_orders_makes_two_without_the_constraint(
    duka, order, seller, mpesa, off, rendezvous
):
    off.constraint(Payment, "idempotency_key_makes_one_payment_of_a_shop")
    other = OrderFactory(shop=duka, total=250)
    rendezvous().after(intents, "require_unspoken")

    answers = together(
        lambda: ask(seller, order, key="key"),
        lambda: ask(seller, other, key="key", phone="254711000222"),
    )

    assert kinds(answers) == ["ok", "ok"]
    assert len(mpesa.pushes) == 2


def test_a_shop_may_use_a_key_that_another_shop_uses(seller, order, charlie, mpesa):
    his = tenancy.Access(charlie.user, charlie.shop, "owner")

    answers = together(
        lambda: ask(seller, order, key="key"),
        lambda: ask(
            his, charlie.order, key="key", phone="254711000222", accept_risk=True
        ),
    )

    # His order has an undecided payment: the refusal is not about the key.
    assert kinds(answers) == ["PromptInTheWay", "ok"]


def ask(access, order, *, key=None, phone=PHONE, amount=None, accept_risk=False):
    return prompting.request(
        access=access,
        order_id=order.pk,
        phone=phone,
        amount=amount,
        key=key,
        accept_risk=accept_risk,
    )


def switch_off(off, kept):
    """Switch off what makes one key one push, but for one guard."""
    switches = {
        "order lock": lambda: off.lock(Order),
        "key makes one payment": lambda: off.constraint(
            Payment, "idempotency_key_makes_one_payment_of_a_shop"
        ),
        "one open prompt": lambda: off.constraint(
            Payment, "order_has_one_open_prompt_per_phone_and_amount"
        ),
        "phone guard": lambda: off.condition(guards, "PhoneGuard"),
    }
    assert kept is None or kept in switches
    for guard, switch in switches.items():
        if guard != kept:
            switch()
