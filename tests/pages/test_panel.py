"""The payment sheet: what each press does, and what each refusal says."""

import re
import uuid
from datetime import timedelta
from decimal import Decimal

import pytest

from orders.enums import OrderStatus
from orders.models import Order
from payments import prompting, states
from payments.enums import FailureReason, Method, PaymentStatus
from payments.gateways.base import Answered, QueryAnswer
from payments.models import Payment
from payments.refusals import NotRetryable
from smartduka.lib import clock
from tests.factories import OrderFactory, PaymentFactory


pytestmark = pytest.mark.django_db
PART = {"HX-Request": "true"}


@pytest.fixture
def sale(duka):
    return OrderFactory(shop=duka, total=250)


def send(person, order, **typed):
    typed = {"phone": "0712 345 678", "key": str(uuid.uuid4()), **typed}
    return person.client.post(f"/till/pay/{order.pk}/mpesa", typed, headers=PART)


def give(person, order, amount, key=None):
    typed = {"amount": amount, "key": key or str(uuid.uuid4())}
    return person.client.post(f"/till/pay/{order.pk}/cash", typed, headers=PART)


def show(person, order, **query):
    return person.client.get(f"/till/pay/{order.pk}", query, headers=PART)


def text(response):
    return " ".join(response.content.decode().split())


def test_new_sale_asks_for_the_phone(bob, sale, state_of):
    response = show(bob, sale)

    assert state_of(response) == "mpesa"
    assert "KES 250" in text(response)
    assert response["Cache-Control"] == "no-store"


def test_sending_shows_check_the_phone(bob, sale, mpesa, state_of):
    response = send(bob, sale)

    assert state_of(response) == "waiting"
    assert "0712 ••• 678" in text(response)
    assert mpesa.pushes == [("254712345678", 250)]


def test_double_click_is_one_push(bob, sale, mpesa, state_of):
    key = str(uuid.uuid4())

    responses = [send(bob, sale, key=key), send(bob, sale, key=key)]

    assert [state_of(response) for response in responses] == ["waiting", "waiting"]
    assert len(mpesa.pushes) == 1


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        ({"phone": "12345"}, "This is not a Kenyan mobile number"),
        ({"phone": ""}, "This is not a Kenyan mobile number"),
        ({"phone": "\0" * 10}, "This is not a Kenyan mobile number"),
        ({"amount": "0"}, "The amount must be at least KES 1"),
        ({"amount": "12.50"}, "Write the amount in whole shillings"),
        ({"amount": "many"}, "Write the amount in whole shillings"),
        ({"amount": "٣"}, "Write the amount in whole shillings"),
        ({"amount": "251"}, "This sale needs only KES 250 more"),
        ({"amount": "999999999"}, "One M-Pesa payment can be at most"),
    ],
)
def test_wrong_entry_is_told_and_nothing_is_lost(
    bob, sale, mpesa, state_of, typed, sentence
):
    key = str(uuid.uuid4())

    response = send(bob, sale, key=key, **typed)

    assert 400 <= response.status_code < 500
    assert state_of(response) == "mpesa"
    assert sentence in text(response)
    assert key in text(response)
    assert typed.get("amount", "") in text(response)
    assert mpesa.pushes == []
    assert not Payment.objects.exists()


def test_typed_text_is_escaped(bob, sale, mpesa):
    response = send(bob, sale, phone='"><script>alert(1)</script>')

    assert "<script>alert" not in response.content.decode()


def test_key_that_no_form_made_is_none(bob, sale, mpesa, state_of):
    response = send(bob, sale, key="x\0y")

    assert state_of(response) == "waiting"
    assert Payment.objects.get().idempotency_key is None


def test_refused_push_is_not_paid_with_reason_and_remedy(bob, sale, mpesa, state_of):
    mpesa.refuse()

    response = send(bob, sale)

    assert state_of(response) == "failed"
    assert "Try again, or pay another way." in text(response)


def test_lost_push_answer_is_amber_and_says_not_to_pay_again(
    bob, sale, mpesa, state_of
):
    mpesa.lose_answers()

    response = send(bob, sale)

    assert state_of(response) == "unknown"
    assert "The customer must not pay again" in text(response)
    assert "note bad" not in text(response)


def test_second_number_while_the_first_is_undecided_says_wait(
    bob, sale, mpesa, state_of
):
    send(bob, sale)

    response = send(bob, sale, phone="0722000111")

    assert (response.status_code, state_of(response)) == (409, "mpesa")
    assert "The customer may still be paying" in text(response)
    assert 'data-count="' in text(response)
    assert "accept_risk" not in text(response)
    assert len(mpesa.pushes) == 1


def test_after_two_minutes_the_cashier_must_confirm_the_risk(
    bob, sale, mpesa, state_of
):
    PaymentFactory(order=sale, created_at=clock.now() - timedelta(seconds=130))

    refused = send(bob, sale)
    confirmed = send(bob, sale, accept_risk="yes")

    assert 'name="accept_risk"' in text(refused)
    assert "the first prompt was not paid" in text(refused)
    assert state_of(confirmed) == "waiting"
    assert len(mpesa.pushes) == 1


def test_part_of_the_sale_may_be_asked(bob, sale, mpesa, state_of):
    response = send(bob, sale, amount="100")

    assert mpesa.pushes == [("254712345678", 100)]
    assert "Another payer · KES 150" in text(response)


def test_exact_cash_is_paid(bob, sale, state_of):
    response = give(bob, sale, "250")

    assert state_of(response) == "paid"
    assert "Exact: no change to give." in text(response)


def test_change_is_told_and_still_there_after_a_reload(bob, sale, state_of):
    first = give(bob, sale, "1,000")
    again = show(bob, sale)

    assert state_of(first) == state_of(again) == "paid"
    assert "<b>KES 750</b>" in text(first)
    assert "<b>KES 750</b>" in text(again)


def test_changed_form_of_a_lost_answer_shows_what_it_sent(bob, sale, mpesa, state_of):
    key = str(uuid.uuid4())
    send(bob, sale, key=key, amount="100")

    changed = send(bob, sale, key=key, phone="0722000111", amount="150")

    assert (changed.status_code, state_of(changed)) == (409, "waiting")
    assert "This was already sent." in text(changed)
    assert "KES 100 · 0712 ••• 678" in text(changed)
    assert key not in text(changed)
    assert len(mpesa.pushes) == 1


@pytest.mark.parametrize(("given", "state"), [("200", "part"), ("400", "paid")])
def test_changed_cash_of_a_lost_answer_shows_what_was_taken(
    bob, state_of, given, state
):
    order = OrderFactory(shop=bob.shop, total=400)
    key = str(uuid.uuid4())
    give(bob, order, given, key)

    changed = give(bob, order, "300", key)

    assert (changed.status_code, state_of(changed)) == (409, state)
    assert "This was already sent." in text(changed)
    assert f"KES {given} · Cash" in text(changed)
    assert Payment.objects.count() == 1


def test_cash_form_whose_answer_was_lost_becomes_the_part_that_it_took(bob, state_of):
    order = OrderFactory(shop=bob.shop, total=400)
    form = show(bob, order, method="cash")
    url = re.search(r'data-url="([^"]+)"', text(form))[1].replace("&amp;", "&")
    seen = re.search(r'data-seen="(\w+)"', text(form))[1]
    key = re.search(r'name="key" value="([^"]+)"', text(form))[1]

    before = bob.client.get(f"{url}&seen={seen}", headers=PART)
    give(bob, order, "200", key)
    after = bob.client.get(f"{url}&seen={seen}", headers=PART)

    assert before.status_code == 204
    assert state_of(after) == "part"


def test_key_of_another_sale_is_replaced_and_nothing_typed_is_lost(
    bob, sale, mpesa, state_of
):
    key = str(uuid.uuid4())
    send(bob, OrderFactory(shop=bob.shop, total=100), key=key)

    response = send(bob, sale, key=key, phone="0722000111")

    assert state_of(response) == "mpesa"
    assert "0722000111" in text(response)
    assert key not in text(response)


def test_less_than_the_balance_is_a_part_and_says_the_rest(bob, sale, state_of):
    response = give(bob, sale, "100")

    assert state_of(response) == "part"
    assert "KES 100 paid" in text(response)
    assert "KES 150" in text(response)
    sale.refresh_from_db()
    assert (sale.status, sale.paid) == (OrderStatus.OPEN, Decimal(100))


def test_double_click_on_cash_is_one_payment(bob, sale, state_of):
    key = str(uuid.uuid4())

    responses = [give(bob, sale, "100", key), give(bob, sale, "100", key)]

    assert [state_of(response) for response in responses] == ["part", "part"]
    assert Payment.objects.count() == 1


@pytest.mark.parametrize("amount", ["", "0", "-5", "12.5", "abc", "9" * 30])
def test_wrong_cash_is_told(bob, sale, state_of, amount):
    response = give(bob, sale, amount)

    assert (response.status_code, state_of(response)) == (400, "cash")
    assert 'role="alert"' in text(response)
    assert not Payment.objects.exists()


def test_cash_says_which_prompt_is_undecided(bob, sale, mpesa, state_of):
    PaymentFactory(order=sale, phone="254712345678")

    form = show(bob, sale, method="cash")
    paid = give(bob, sale, "250")

    for response in (form, paid):
        assert "A prompt is still undecided" in text(response)
        assert "0712 ••• 678" in text(response)
    assert state_of(paid) == "paid"


def test_asking_first_finds_that_the_sale_is_paid_already(bob, sale, mpesa, state_of):
    PaymentFactory(order=sale)
    mpesa.answer = QueryAnswer(Answered.FINAL, "0", "paid")

    response = give(bob, sale, "250")

    assert state_of(response) == "paid"
    assert Payment.objects.filter(method=Method.CASH).count() == 0


def test_failed_payment_says_reason_then_remedy_and_may_be_tried_again(
    bob, sale, mpesa, state_of
):
    PaymentFactory(
        order=sale,
        status=PaymentStatus.FAILED,
        failure_reason=FailureReason.INSUFFICIENT_FUNDS,
        result_code="1",
        may_retry=True,
        decided_at=clock.now() - timedelta(seconds=10),
    )

    shown = show(bob, sale)
    retried = bob.client.post(
        f"/till/pay/payment/{Payment.objects.get().pk}/retry", headers=PART
    )

    page = text(shown)
    assert state_of(shown) == "failed"
    assert page.index("Not enough money in M-Pesa.") < page.index(
        "The customer can top"
    )
    assert state_of(retried) == "waiting"


def test_failure_that_is_not_retryable_offers_cash_first(bob, sale, state_of):
    PaymentFactory(
        order=sale,
        status=PaymentStatus.FAILED,
        failure_reason=FailureReason.PIN_LOCKED,
        result_code="8006",
        decided_at=clock.now(),
    )

    page = text(show(bob, sale))

    assert 'id="retry"' not in page
    assert page.index("Use cash") < page.index("Another number")


def test_retry_of_what_cannot_be_retried_is_told(bob, sale, state_of):
    payment = PaymentFactory(order=sale)

    response = bob.client.post(f"/till/pay/payment/{payment.pk}/retry", headers=PART)

    assert response.status_code == 409
    assert "This payment cannot be tried again" in text(response)
    assert "Start a new one" not in text(response)
    assert "note bad" not in text(response)


def test_retry_beside_an_older_prompt_asks_to_confirm_the_risk(
    bob, sale, mpesa, state_of
):
    PaymentFactory(
        order=sale,
        phone="254722000111",
        created_at=clock.now() - timedelta(seconds=130),
    )
    failed = PaymentFactory(
        order=sale,
        status=PaymentStatus.FAILED,
        failure_reason=FailureReason.WRONG_PIN,
        may_retry=True,
        decided_at=clock.now() - timedelta(seconds=60),
    )
    path = f"/till/pay/payment/{failed.pk}/retry"

    refused = bob.client.post(path, headers=PART)
    confirmed = bob.client.post(path, {"accept_risk": "yes"}, headers=PART)

    assert (refused.status_code, state_of(refused)) == (409, "failed")
    assert "confirm that it was not" in text(refused)
    form = re.search(r"<form[^>]*/retry.*?</form>", text(refused))[0]
    assert 'name="accept_risk"' in form
    assert 'type="submit" id="retry"' in form
    assert state_of(confirmed) == "waiting"
    assert len(mpesa.pushes) == 1


def test_retry_shows_the_money_that_came_meanwhile(
    bob, sale, mpesa, state_of, monkeypatch
):
    payment = PaymentFactory(
        order=sale,
        status=PaymentStatus.FAILED,
        failure_reason=FailureReason.WRONG_PIN,
        decided_at=clock.now(),
    )

    def come_meanwhile(**asked):
        Payment.objects.update(
            status=PaymentStatus.COMPLETED,
            failure_reason="",
            receipt="UKL7RT61SV",
            completed_at=clock.now(),
        )
        Order.objects.update(status=OrderStatus.PAID, paid=250, paid_at=clock.now())
        raise NotRetryable

    monkeypatch.setattr(prompting, "retry", come_meanwhile)

    response = bob.client.post(f"/till/pay/payment/{payment.pk}/retry", headers=PART)

    assert (response.status_code, state_of(response)) == (409, "paid")
    assert "UKL7RT61SV" in text(response)


def test_resend_before_its_time_is_told_with_a_clock(bob, sale, mpesa, state_of):
    send(bob, sale)
    payment = Payment.objects.get()

    response = bob.client.post(f"/till/pay/payment/{payment.pk}/resend", headers=PART)

    assert (response.status_code, state_of(response)) == (409, "waiting")
    assert "Possible again in" in text(response)
    assert len(mpesa.pushes) == 1


def test_resend_with_the_risk_confirmed_makes_a_new_prompt(bob, sale, mpesa, state_of):
    old = PaymentFactory(order=sale, created_at=clock.now() - timedelta(seconds=130))
    path = f"/till/pay/payment/{old.pk}/resend"

    refused = bob.client.post(path, headers=PART)
    sent = bob.client.post(path, {"accept_risk": "yes"}, headers=PART)

    assert "accept_risk" in text(refused)
    assert state_of(sent) == "waiting"
    old.refresh_from_db()
    assert old.status == PaymentStatus.CANCELLED
    assert len(mpesa.pushes) == 1


def test_stop_waiting_says_that_the_prompt_may_still_be_there(
    bob, sale, mpesa, state_of
):
    send(bob, sale)
    payment = Payment.objects.get()

    response = bob.client.post(f"/till/pay/payment/{payment.pk}/stop", headers=PART)

    assert state_of(response) == "stopped"
    assert "The prompt may still be on the phone" in text(response)


def test_stop_waiting_for_a_paid_one_shows_that_it_is_paid(bob, sale, mpesa, state_of):
    send(bob, sale)
    mpesa.answer = QueryAnswer(Answered.FINAL, "0", "paid")

    response = bob.client.post(
        f"/till/pay/payment/{Payment.objects.get().pk}/stop", headers=PART
    )

    assert state_of(response) == "paid"
    assert "The receipt number follows" in text(response)


def test_cancelling_asks_first_and_says_what_stays_undecided(
    bob, sale, mpesa, state_of
):
    PaymentFactory(order=sale)

    question = show(bob, sale, method="cancel")
    done = bob.client.post(f"/till/pay/{sale.pk}/cancel", headers=PART)

    assert "A prompt is still undecided" in text(question)
    assert state_of(done) == "closed"
    sale.refresh_from_db()
    assert sale.status == OrderStatus.CANCELLED


def test_sale_with_money_cannot_be_cancelled_and_says_why(bob, sale, state_of):
    give(bob, sale, "100")

    response = bob.client.post(f"/till/pay/{sale.pk}/cancel", headers=PART)

    assert (response.status_code, state_of(response)) == (409, "cancel")
    assert "Money was already paid for this sale" in text(response)


def test_nothing_new_is_not_sent_again(bob, sale, mpesa):
    first = send(bob, sale)
    seen = text(first).split('data-seen="')[1].split('"')[0]
    payment = Payment.objects.get()

    same = show(bob, sale, payment=str(payment.pk), seen=seen)
    other = show(bob, sale, payment=str(payment.pk), seen="0" * 16)

    assert (same.status_code, same.content) == (204, b"")
    assert other.status_code == 200


def test_pill_counts_what_waits_in_this_shop(bob, sale, charlie):
    PaymentFactory(order=sale)

    pill, queue = bob.get("/till/pay/pill"), bob.get("/till/pay/")

    assert "1 waiting · KES 250" in text(pill)
    assert str(sale.pk) in text(queue)
    assert str(charlie.order.pk) not in text(queue)


def test_nothing_waiting_shows_no_pill(bob, duka):
    assert text(bob.get("/till/pay/pill")) == ""
    assert "Nothing waits" in text(bob.get("/till/pay/"))


def test_receipt_shows_lines_payments_and_change(bob, sale, mpesa):
    PaymentFactory(
        order=sale,
        status=PaymentStatus.COMPLETED,
        amount=Decimal(100),
        phone="254712345678",
        receipt="UKL7RT61SV",
        completed_at=clock.now(),
        decided_at=clock.now(),
    )
    give(bob, sale, "500")

    page = text(bob.get(f"/till/pay/{sale.pk}/receipt"))

    for fact in (
        "Mama Mboga",
        " 250</td>",
        "UKL7RT61SV",
        "0712 ••• 678",
        "NOT A RECEIPT",
    ):
        assert fact in page
    assert "254712345678" not in page
    assert "<dt>Change</dt><dd>250</dd>" in page


OTHERS = [
    ("get", "/till/pay/{order}"),
    ("get", "/till/pay/{order}?method=cash"),
    ("get", "/till/pay/{own}?payment={payment}"),
    ("get", "/till/pay/{own}?payment=nonsense"),
    ("get", "/till/pay/{own}?method=mpesa&phone_of={payment}"),
    ("get", "/till/pay/{order}/receipt"),
    ("post", "/till/pay/{order}/mpesa"),
    ("post", "/till/pay/{order}/cash"),
    ("post", "/till/pay/{order}/cancel"),
    ("post", "/till/pay/payment/{payment}/retry"),
    ("post", "/till/pay/payment/{payment}/resend"),
    ("post", "/till/pay/payment/{payment}/stop"),
]


@pytest.mark.parametrize(("verb", "path"), OTHERS)
def test_what_belongs_to_another_shop_does_not_exist(
    bob, sale, charlie, mpesa, verb, path
):
    before = Payment.objects.values_list("pk", "status").get()
    url = path.format(order=charlie.order.pk, payment=charlie.payment.pk, own=sale.pk)
    typed = {"phone": "0712345678", "amount": "10"}

    response = getattr(bob.client, verb)(url, typed if verb == "post" else None)

    assert response.status_code == 404
    assert "secret" not in text(response)
    assert Payment.objects.values_list("pk", "status").get() == before
    assert mpesa.pushes == []


@pytest.mark.parametrize(
    "path", [path for verb, path in OTHERS if verb == "post"], ids=lambda path: path
)
def test_auditor_moves_no_money(audrey, sale, mpesa, path):
    payment = PaymentFactory(order=sale)
    typed = {"phone": "0712345678", "amount": "10"}

    response = audrey.client.post(
        path.format(order=sale.pk, payment=payment.pk), typed, headers=PART
    )

    assert response.status_code == 403
    assert "Only a cashier, manager or owner may do this." in text(response)
    payment.refresh_from_db()
    assert payment.status == PaymentStatus.PENDING
    assert mpesa.pushes == []


@pytest.mark.parametrize("method", ["mpesa", "cash", "cancel"])
@pytest.mark.parametrize("role", ["auditor", "operator"])
def test_who_may_not_sell_gets_no_form_and_no_phone(
    audrey, operator, sale, role, method
):
    payment = PaymentFactory(order=sale, phone="254712345678")
    person = {"auditor": audrey, "operator": operator}[role]
    headers = PART | {"X-Shop": str(sale.shop_id)}

    form = person.client.get(
        f"/till/pay/{sale.pk}",
        {"method": method, "phone_of": str(payment.pk)},
        headers=headers,
    )
    sheet = person.client.get(f"/till/pay/{sale.pk}", headers=headers)

    assert form.status_code == 403
    assert "0712 345 678" not in text(form)
    assert sheet.status_code == 200


@pytest.mark.parametrize(
    "query",
    [{"method": "mpesa", "phone_of": ""}, {"payment": ""}],
    ids=["form", "sheet"],
)
def test_payment_of_another_sale_is_not_of_this_one(bob, sale, query):
    other = PaymentFactory(order=OrderFactory(shop=bob.shop), phone="254712345678")
    asked = {name: value or str(other.pk) for name, value in query.items()}

    response = show(bob, sale, **asked)

    assert response.status_code == 404
    assert "0712" not in text(response)


@pytest.mark.parametrize("path", [path for verb, path in OTHERS if verb == "post"])
def test_money_moves_by_post_only(bob, sale, path):
    payment = PaymentFactory(order=sale)

    response = bob.get(path.format(order=sale.pk, payment=payment.pk))

    assert response.status_code == 405


@pytest.mark.parametrize("count", [1, 3])
def test_sheet_costs_the_same_queries_for_any_number_of_payments(
    bob, sale, count, django_assert_num_queries
):
    for amount in range(1, count + 1):
        PaymentFactory(order=sale, amount=Decimal(amount))

    with django_assert_num_queries(8):
        show(bob, sale)


def test_a_prompt_that_cannot_be_asked_about_promises_no_question(bob, sale, mpesa):
    mpesa.lose_answers()
    send(bob, sale)

    shown = text(show(bob, sale))

    assert "If it is paid, this screen turns green by itself." in shown
    assert "Next question in" not in shown
    assert "We keep asking" not in shown


def test_a_prompt_that_is_asked_about_no_more_promises_no_question(bob, sale, mpesa):
    send(bob, sale)
    Payment.objects.update(
        next_ask_at=None, created_at=clock.now() - timedelta(hours=49)
    )

    shown, queue = text(show(bob, sale)), text(bob.get("/till/pay/"))

    assert "If it is paid, this screen turns green by itself." in shown
    assert "We keep asking" not in shown
    assert str(sale.pk) in queue
    assert "asked" not in queue


@pytest.mark.parametrize("words", [states.EXPIRED, states.STOPPED])
def test_words_for_what_was_given_up_promise_no_question(words):
    assert "asking" not in words.remedy("en")
    assert "kuuliza" not in words.remedy("sw")


def test_a_prompt_that_is_asked_about_says_when(bob, sale, mpesa):
    send(bob, sale)
    Payment.objects.update(
        result_code="1037", created_at=clock.now() - timedelta(seconds=70)
    )

    shown = text(show(bob, sale))

    assert "Next question in" in shown
    assert "We keep asking and this screen turns green by itself." in shown
