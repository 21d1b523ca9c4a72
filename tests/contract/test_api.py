"""The API's calls as the contract has them: whole answers, by equality."""

import threading
import time
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone
from rest_framework_simplejwt.tokens import AccessToken, RefreshToken

from orders.models import Order
from payments import questions
from payments.enums import PaymentStatus
from payments.models import Notice, Payment, PhoneGuard
from shops.enums import Role
from shops.models import Product, StockMovement
from smartduka.lib import clock
from tests.factories import (
    MembershipFactory,
    OrderFactory,
    PaymentFactory,
    ProductFactory,
    ShopFactory,
)
from tests.support import callbacks
from tests.support.facts import (
    kes,
    money_of,
    nothing_changes,
    path_of,
    refusal,
    sale_of,
)


pytestmark = pytest.mark.django_db

INITIATE = "/api/payments/mpesa/initiate"
PHONE = "0712345678"
WAITING = "The customer types the M-Pesa PIN."


@pytest.fixture
def order(duka):
    return OrderFactory(shop=duka, total=250)


def mpesa_path(call, payment):
    return f"/api/payments/mpesa/{call}/{payment.pk}"


def asking(order, **fields):
    return {"orderId": str(order.pk), "phoneNumber": PHONE, **fields}


def later(moment, seconds):
    return clock.iso(moment + timedelta(seconds=seconds))


def state_of(payment, **changes):
    """Return the State of a payment just accepted by M-Pesa, with changes."""
    return {
        "transactionId": str(payment.pk),
        "orderId": str(payment.order_id),
        "orderNumber": payment.order.number,
        "method": "mpesa_stk",
        "status": "pending",
        "amount": 250,
        "phoneNumber": "0712 ••• 678",
        "checkoutRequestId": payment.checkout_request_id,
        "mpesaReceiptNumber": None,
        "resultCode": None,
        "resultDesc": None,
        "errorCode": None,
        "message": WAITING,
        "retryable": False,
        "undecided": True,
        "canResendAt": later(payment.created_at, 120),
        "expiresAt": later(payment.created_at, 300),
        "completedAt": None,
        "orderStatus": "open",
    } | changes


def status_of(person, payment):
    response = person.get(mpesa_path("status", payment))
    assert response.status_code == 200
    return response.json()


# --- Signing in ------------------------------------------------------------------


def test_token_lives_30_min_and_its_refresh_12_h(bob, password):
    def post(path, body):
        return Client().post(path, body, content_type="application/json")

    got = post("/api/auth/token", {"username": "bob", "password": password})
    refreshed = post("/api/auth/token/refresh", {"refresh": got.json()["refresh"]})

    assert (got.status_code, set(got.json())) == (200, {"access", "refresh"})
    assert (refreshed.status_code, set(refreshed.json())) == (200, {"access"})
    for token in (
        AccessToken(got.json()["access"]),
        AccessToken(refreshed.json()["access"]),
    ):
        # The second may turn between the two.
        assert token["exp"] - token["iat"] in (30 * 60 - 1, 30 * 60)
        seen = Client().get("/api/orders", headers={"Authorization": f"Bearer {token}"})
        assert seen.json() == {"results": [], "next": None}
    refresh = RefreshToken(got.json()["refresh"])
    assert refresh["exp"] - refresh["iat"] in (12 * 3600 - 1, 12 * 3600)


def test_x_shop_names_the_shop(alice, duka):
    other = ShopFactory()
    MembershipFactory(user=alice.user, shop=other, role=Role.CASHIER)
    ours, theirs = OrderFactory(shop=duka), OrderFactory(shop=other)

    for shop, order in ((duka, ours), (other, theirs)):
        response = alice.get("/api/orders", headers={"X-Shop": str(shop.pk)})
        assert [row["id"] for row in response.json()["results"]] == [str(order.pk)]
    # What she may do is her role's in that shop.
    new = {"name": "Sugar", "price": "165"}
    refused = alice.post("/api/products", new, headers={"X-Shop": str(other.pk)})
    refusal(refused, 403, "FORBIDDEN")


# --- Products --------------------------------------------------------------------


def test_product_is_added_changed_and_counted(alice, duka):
    added = alice.post(
        "/api/products",
        {
            "name": "Viazi 1 kg", "price": "80.50", "barcode": "616110",
            "category": "Food", "stock": 12,
        },
    )  # fmt: skip
    product = Product.objects.get()
    expected = {
        "id": str(product.pk),
        "name": "Viazi 1 kg",
        "barcode": "616110",
        "category": "Food",
        "price": "80.50",
        "stock": 12,
    }
    assert (added.status_code, added.json()) == (201, expected)

    changed = alice.patch(f"/api/products/{product.pk}", {"price": "85", "stock": 10})

    expected |= {"price": "85.00", "stock": 10}
    assert (changed.status_code, changed.json()) == (200, expected)
    assert alice.get(f"/api/products/{product.pk}").json() == expected
    assert product.shop == duka
    moves = StockMovement.objects.order_by("pk").values_list(
        "quantity", "level_after", "reason", "actor"
    )
    assert list(moves) == [
        (12, 12, "received", alice.user.pk),
        (-2, 10, "counted", alice.user.pk),
    ]


def test_product_of_few_words(alice):
    added = alice.post("/api/products", {"name": "Sugar", "price": 165})

    assert added.json() == {
        "id": str(Product.objects.get().pk),
        "name": "Sugar",
        "barcode": "",
        "category": "",
        "price": "165.00",
        "stock": 0,
    }


def test_products_are_searched_by_name_and_barcode(bob, duka, charlie):
    soda = ProductFactory(shop=duka, name="Soda Coke", barcode="544900")
    bread = ProductFactory(shop=duka, name="Mkate White", barcode="616110")
    ProductFactory(shop=duka, name="Gone", is_active=False)

    def found(**query):
        response = bob.get("/api/products", query)
        assert response.status_code == 200
        return [row["name"] for row in response.json()["results"]]

    assert found() == [bread.name, soda.name]
    assert found(search="coke") == [soda.name]
    assert found(search="white mkate") == [bread.name]
    assert found(search="6161") == [bread.name]
    assert found(search="secret") == []
    assert found(search="\0%_") == []


def test_products_come_in_pages(bob, duka):
    for name in "CAB":
        ProductFactory(shop=duka, name=name)

    first = bob.get("/api/products", {"limit": 2}).json()
    second = bob.client.get(first["next"]).json()

    assert [row["name"] for row in first["results"]] == ["A", "B"]
    assert [row["name"] for row in second["results"]] == ["C"]
    assert (set(first), second["next"]) == ({"results", "next"}, None)


# --- Orders ----------------------------------------------------------------------


def test_order_is_opened_rounded_once_and_seen_again(bob, duka):
    potatoes = ProductFactory(shop=duka, name="Viazi", price=Decimal("80.50"))
    soda = ProductFactory(shop=duka, name="Soda", price=Decimal(65))

    response = bob.post(
        "/api/orders",
        {
            "items": [
                {"productId": str(potatoes.pk), "quantity": 1},
                {"productId": str(soda.pk), "quantity": 3},
                {"productId": str(potatoes.pk), "quantity": 2},
            ]
        },
    )

    order = Order.objects.get()
    expected = {
        "id": str(order.pk),
        "number": 1,
        "status": "open",
        "total": "437.00",
        "paid": "0.00",
        "balance": "437.00",
        "surplus": "0.00",
        "rounding": "0.50",
        "createdAt": clock.iso(order.created_at),
        "lines": [
            {
                "productId": str(potatoes.pk), "name": "Viazi", "quantity": 3,
                "unitPrice": "80.50", "lineTotal": "241.50",
            },
            {
                "productId": str(soda.pk), "name": "Soda", "quantity": 3,
                "unitPrice": "65.00", "lineTotal": "195.00",
            },
        ],
    }  # fmt: skip
    assert (response.status_code, response.json()) == (201, expected)
    assert bob.get(f"/api/orders/{order.pk}").json() == expected
    assert bob.get("/api/orders").json() == {"results": [expected], "next": None}
    assert list(Product.objects.values_list("stock", flat=True)) == [100, 100]


@pytest.mark.parametrize(
    ("price", "total", "rounding"),
    [
        ("80.49", "80.00", "-0.49"),
        ("80.50", "81.00", "0.50"),
        ("80.51", "81.00", "0.49"),
        ("80.00", "80.00", "0.00"),
        ("0.50", "1.00", "0.50"),
    ],
)
def test_order_total_is_whole_shillings(bob, duka, price, total, rounding):
    product = ProductFactory(shop=duka, price=Decimal(price))

    answer = bob.post(
        "/api/orders", {"items": [{"productId": str(product.pk), "quantity": 1}]}
    ).json()

    assert (answer["total"], answer["rounding"]) == (total, rounding)
    assert answer["lines"][0]["lineTotal"] == price


def test_order_keeps_its_price_when_the_product_changes(alice, duka):
    product = ProductFactory(shop=duka, name="Sugar", price=Decimal(165))
    order = OrderFactory(shop=duka, items=[(product, 1)])
    before = alice.get(f"/api/orders/{order.pk}").json()

    alice.patch(f"/api/products/{product.pk}", {"price": "200", "name": "Sukari"})

    assert alice.get(f"/api/orders/{order.pk}").json() == before


def test_orders_of_a_shop_are_numbered_and_come_newest_first(bob, duka, charlie):
    for _ in range(3):
        OrderFactory(shop=duka)

    first = bob.get("/api/orders", {"limit": 2}).json()
    second = bob.client.get(first["next"]).json()

    assert [row["number"] for row in first["results"]] == [3, 2]
    assert [row["number"] for row in second["results"]] == [1]
    assert second["next"] is None


def test_order_is_cancelled_once(bob, order):
    before = bob.get(f"/api/orders/{order.pk}").json()

    first = bob.post(f"/api/orders/{order.pk}/cancel")
    with nothing_changes():
        second = bob.post(f"/api/orders/{order.pk}/cancel")

    expected = before | {"status": "cancelled", "balance": "0.00"}
    assert (first.status_code, first.json()) == (200, expected)
    assert (second.status_code, second.json()) == (200, expected)


def test_order_is_cancelled_while_something_is_undecided(bob, mpesa, prompt, order):
    payment = prompt(bob, order)

    response = bob.post(f"/api/orders/{order.pk}/cancel")

    assert (response.status_code, response.json()["status"]) == (200, "cancelled")
    state = status_of(bob, payment)
    assert (state["status"], state["undecided"]) == ("pending", True)
    assert state["orderStatus"] == "cancelled"
    assert mpesa.stats()["queries"] == 1


# --- Cash ------------------------------------------------------------------------


def cash(person, order, amount, key=None, **options):
    body = {"amount": amount} | ({"idempotencyKey": key} if key else {})
    return person.post(f"/api/orders/{order.pk}/pay-cash", body, **options)


def test_cash_with_change(bob, order):
    response = cash(bob, order, 300)

    payment = Payment.objects.get()
    assert (response.status_code, response.json()) == (
        201,
        {
            "success": True,
            "transactionId": str(payment.pk),
            "change": 50,
            "balance": 0,
            "orderStatus": "paid",
            "undecided": [],
        },
    )
    assert (payment.method, payment.amount, payment.tendered) == ("cash", 250, 300)
    assert path_of(payment) == ["created", "completed"]
    assert money_of(order) == [("drawer", None, 250, [("sale", 250)])]
    assert sale_of(order) == ("paid", 250, 0, 0)
    assert Product.objects.get().stock == 99
    assert status_of(bob, payment) == state_of(
        payment,
        method="cash", status="completed", phoneNumber="", message="Paid.",
        undecided=False, canResendAt=None, expiresAt=None,
        completedAt=clock.iso(payment.completed_at), orderStatus="paid",
    )  # fmt: skip


def test_cash_in_parts(bob, order):
    first = cash(bob, order, 100).json()
    assert (first["change"], first["balance"], first["orderStatus"]) == (0, 150, "open")
    assert Product.objects.get().stock == 100

    second = cash(bob, order, 200).json()

    assert (second["change"], second["balance"]) == (50, 0)
    assert second["orderStatus"] == "paid"
    assert sale_of(order) == ("paid", 250, 0, 0)
    assert Product.objects.get().stock == 99


def test_cash_says_what_is_undecided(bob, mpesa, prompt, order):
    payment = prompt(bob, order)

    answer = cash(bob, order, 250).json()

    assert answer["undecided"] == [str(payment.pk)]
    assert (answer["orderStatus"], answer["balance"]) == ("paid", 0)
    assert mpesa.stats()["queries"] == 1
    assert status_of(bob, payment) == state_of(payment, orderStatus="paid")


def test_cash_asks_first_and_finds_it_paid(bob, mpesa, prompt, order):
    payment = prompt(bob, order)
    mpesa.answered(payment, "pay")

    refused = cash(bob, order, 250)

    refusal(refused, 409, "ORDER_NOT_OPEN")
    assert status_of(bob, payment)["status"] == "completed"
    assert money_of(order) == [("query", None, 250, [("sale", 250)])]


@pytest.mark.parametrize("as_header", [False, True])
def test_cash_with_the_same_key_is_taken_once(bob, order, as_header):
    def pay():
        if as_header:
            return cash(bob, order, 100, headers={"Idempotency-Key": "k"})
        return cash(bob, order, 100, "k")

    first = pay()
    with nothing_changes():
        second = pay()

    assert (first.status_code, second.status_code) == (201, 200)
    assert second.json() == first.json()
    assert sale_of(order) == ("open", 100, 150, 0)


def test_cash_key_of_a_refusal_is_not_remembered(bob, duka, order):
    refusal(cash(bob, order, 0, "k"), 400, "MPESA_002")

    assert cash(bob, order, 250, "k").status_code == 201


# --- Initiate --------------------------------------------------------------------


def initiated(payment, **changes):
    return {
        "success": True,
        "transactionId": str(payment.pk),
        "checkoutRequestId": payment.checkout_request_id,
        "status": "pending",
        "expiresAt": later(payment.created_at, 300),
        "message": WAITING,
        "isIdempotent": False,
    } | changes


def test_initiate_is_201_for_a_new_push(bob, duka, mpesa, order):
    response = bob.post(INITIATE, asking(order))

    payment = Payment.objects.select_related("order").get()
    assert (response.status_code, response.json()) == (201, initiated(payment))
    assert payment.checkout_request_id.startswith("ws_CO_")
    assert (payment.shop, payment.created_by) == (duka, bob.user)
    assert (payment.amount, payment.phone) == (250, "254712345678")
    assert (payment.environment, payment.shortcode) == ("simulator", "600100")
    assert payment.party_b == "600100"
    assert path_of(payment) == ["created", "pending"]
    assert status_of(bob, payment) == state_of(payment)
    [asked] = mpesa.prompts()
    assert (asked["phone"], asked["amount"]) == ("254712345678", 250)
    assert asked["accountReference"] == payment.reference
    assert order.lines.get().quantity == 1
    assert Order.objects.get().frozen_at is not None
    assert Product.objects.get().stock == 100
    assert mpesa.pushes == 1


def test_initiate_goes_to_the_shops_own_paybill(charlie, mpesa, prompt):
    order = OrderFactory(shop=charlie.shop, total=40)

    payment = prompt(charlie, order, "0733111222")

    assert (payment.shortcode, payment.account.shop) == ("600200", charlie.shop)
    assert mpesa.prompts()[0]["partyB"] == "600200"


@pytest.mark.parametrize(
    "written",
    ["0712345678", "0712 345 678", "+254712345678", "254-712-345678", "712345678"],
)
def test_initiate_takes_the_phone_as_people_write_it(
    bob, mpesa, prompt, order, written
):
    assert prompt(bob, order, written).phone == "254712345678"


@pytest.mark.parametrize("amount", [1, 100, 250, None])
def test_initiate_asks_for_a_part_or_the_balance(bob, mpesa, prompt, order, amount):
    payment = prompt(bob, order, amount=amount)

    assert payment.amount == (250 if amount is None else amount)
    assert mpesa.prompts()[0]["amount"] == payment.amount


def test_initiate_same_key_is_200_with_the_state_as_it_is_now(bob, mpesa, order):
    body = asking(order, idempotencyKey="k")
    first = bob.post(INITIATE, body)
    payment = Payment.objects.select_related("order").get()

    with nothing_changes():
        second = bob.post(INITIATE, body)
    mpesa.pays(Client(), payment)
    with nothing_changes():
        third = bob.post(INITIATE, body)

    assert (first.status_code, first.json()) == (201, initiated(payment))
    assert (second.status_code, second.json()) == (
        200,
        initiated(payment, isIdempotent=True),
    )
    assert (third.status_code, third.json()) == (
        200,
        initiated(payment, isIdempotent=True, status="completed", message="Paid."),
    )
    assert mpesa.pushes == 1


def test_initiate_same_key_in_header_and_in_body_and_another_spelling(
    bob, mpesa, order
):
    bodies = [
        (asking(order), {"Idempotency-Key": "k"}),
        (asking(order, idempotencyKey="k"), {}),
        (asking(order, idempotencyKey="k"), {"Idempotency-Key": "k"}),
        (asking(order, phoneNumber="+254 712 345 678"), {"Idempotency-Key": "k"}),
    ]

    answers = [bob.post(INITIATE, body, headers=headers) for body, headers in bodies]

    assert [answer.status_code for answer in answers] == [201, 200, 200, 200]
    assert len({answer.json()["transactionId"] for answer in answers}) == 1
    assert mpesa.pushes == 1


def test_initiate_key_belongs_to_the_shop(bob, charlie, mpesa, prompt, order):
    ours = prompt(bob, order, idempotencyKey="k")
    theirs = prompt(
        charlie, OrderFactory(shop=charlie.shop), "0733111222", idempotencyKey="k"
    )

    assert ours.pk != theirs.pk
    assert mpesa.pushes == 2


def test_initiate_without_key_open_attempt_is_200(bob, mpesa, order):
    bob.post(INITIATE, asking(order))
    payment = Payment.objects.get()

    with nothing_changes():
        response = bob.post(INITIATE, asking(order, amount=250))

    assert (response.status_code, response.json()) == (
        200,
        initiated(payment, isIdempotent=True),
    )
    assert mpesa.pushes == 1


def test_initiate_202_when_mpesa_does_not_answer(bob, mpesa, order):
    mpesa.faults(push_reset_after_accept={"value": True, "times": 1})

    response = bob.post(INITIATE, asking(order, idempotencyKey="k"))

    payment = Payment.objects.select_related("order").get()
    message = "M-Pesa has not answered yet: the customer must not pay again."
    expected = initiated(payment, status="created", message=message)
    assert (response.status_code, response.json()) == (202, expected)
    assert expected["checkoutRequestId"] is None
    assert status_of(bob, payment) == state_of(
        payment, status="created", message=message
    )
    assert path_of(payment) == ["created"]
    # Remembered, and never pushed again by a machine.
    again = bob.post(INITIATE, asking(order, idempotencyKey="k"))
    assert (again.status_code, again.json()) == (200, expected | {"isIdempotent": True})
    assert mpesa.pushes == 1


UNKNOWN = ["internal", "html_403", "html_503", "html_200", "timeout_504",
           "empty_200", "truncated_200", "reset"]  # fmt: skip


@pytest.mark.parametrize("error", UNKNOWN)
def test_initiate_202_for_an_answer_that_says_nothing(bob, mpesa, order, error):
    mpesa.faults(push_error=error)

    response = bob.post(INITIATE, asking(order))

    assert (response.status_code, response.json()["status"]) == (202, "created")
    assert mpesa.pushes == 1


def test_initiate_202_when_mpesa_is_too_slow(bob, mpesa, order, settings):
    settings.PUSH_READ_TIMEOUT_S = 0.3
    mpesa.faults(push_slow_s=0.8)

    response = bob.post(INITIATE, asking(order))

    assert (response.status_code, response.json()["status"]) == (202, "created")


def test_initiate_token_that_ended_is_renewed_once(bob, mpesa, prompt, order):
    mpesa.faults(expire_token={"value": True, "times": 1})

    prompt(bob, order)

    assert (mpesa.stats()["prompts"], mpesa.stats()["tokenRequests"]) == (1, 2)


@pytest.mark.parametrize(
    ("refused", "code"),
    [
        ({"amount": 0}, "MPESA_002"),
        ({"amount": 251}, "AMOUNT_EXCEEDS_BALANCE"),
        ({"phoneNumber": "x"}, "MPESA_001"),
    ],
)
def test_initiate_key_of_a_refusal_is_not_remembered(
    bob, mpesa, prompt, order, refused, code
):
    response = bob.post(INITIATE, asking(order, idempotencyKey="k") | refused)
    assert response.json()["code"] == code

    prompt(bob, order, idempotencyKey="k")

    assert mpesa.pushes == 1


def test_initiate_key_of_a_guard_is_not_remembered(bob, mpesa, prompt, order, duka):
    other = OrderFactory(shop=duka)
    prompt(bob, other)
    refusal(bob.post(INITIATE, asking(order, idempotencyKey="k")), 409, "MPESA_006")

    payment = prompt(bob, order, "0722000111", idempotencyKey="k")

    assert payment.order == order


def test_initiate_key_of_a_502_is_remembered(bob, mpesa, order):
    mpesa.faults(push_error={"value": "busy", "times": 1})
    body = asking(order, idempotencyKey="k")
    refusal(bob.post(INITIATE, body), 502, "MPESA_004")
    payment = Payment.objects.get()

    with nothing_changes():
        again = bob.post(INITIATE, body)

    assert (again.status_code, again.json()) == (
        200,
        initiated(
            payment, success=False, status="failed", isIdempotent=True,
            message="M-Pesa is very busy.",
        ),
    )  # fmt: skip
    assert mpesa.pushes == 1


def test_initiate_twin_in_flight_waits_for_the_first(bob, mpesa, order):
    mpesa.faults(push_slow_s=0.6)
    body = asking(order, idempotencyKey="k")
    answers = []

    def send(client):
        try:
            answers.append(client.post(INITIATE, body, "application/json"))
        finally:
            connection.close()

    clients = [Client(), Client()]
    for client in clients:
        client.force_login(bob.user)
    twins = [threading.Thread(target=send, args=[client]) for client in clients]
    for twin in twins:
        twin.start()
    for twin in twins:
        twin.join()

    assert sorted(answer.status_code for answer in answers) == [200, 201]
    bodies = sorted((a.json() for a in answers), key=lambda b: b["isIdempotent"])
    assert bodies[0] == initiated(Payment.objects.get())
    assert bodies[1] == bodies[0] | {"isIdempotent": True}
    assert mpesa.pushes == 1


def test_initiate_asks_first_and_finds_it_paid(bob, mpesa, prompt, order):
    first = prompt(bob, order)
    mpesa.answered(first, "pay")  # and the callback never reaches us

    response = bob.post(INITIATE, asking(order, phoneNumber="0722000111"))

    refusal(response, 409, "ORDER_NOT_OPEN")
    assert status_of(bob, first)["status"] == "completed"
    assert money_of(order) == [("query", None, 250, [("sale", 250)])]
    assert (mpesa.pushes, mpesa.stats()["queries"]) == (1, 1)


def test_initiate_asks_first_and_finds_it_failed(bob, mpesa, prompt, order):
    first = prompt(bob, order)
    mpesa.answered(first, "cancel")

    second = prompt(bob, order, "0722000111")

    assert status_of(bob, first)["status"] == "failed"
    assert second.amount == 250
    assert (mpesa.pushes, mpesa.stats()["queries"]) == (2, 1)


def test_initiate_asks_within_a_short_limit(bob, mpesa, prompt, order, settings):
    assert settings.ASK_FIRST_LIMIT_S == 3
    settings.ASK_FIRST_LIMIT_S = 0.2
    prompt(bob, order)
    mpesa.faults(query_slow_s=5)
    started = time.monotonic()

    response = bob.post(INITIATE, asking(order, phoneNumber="0722000111"))

    refusal(response, 409, "MPESA_006")
    assert time.monotonic() - started < 4
    assert mpesa.pushes == 1


def test_initiate_several_payers_of_one_sale(bob, mpesa, prompt, order):
    first = prompt(bob, order, "0712000001", amount=100)
    second = prompt(bob, order, "0712000002", amount=150)

    mpesa.pays(Client(), first)
    assert sale_of(order) == ("open", 100, 150, 0)
    mpesa.pays(Client(), second)

    assert sale_of(order) == ("paid", 250, 0, 0)
    assert [entry[2] for entry in money_of(order)] == [100, 150]


# --- What became of it -----------------------------------------------------------


def test_state_of_a_completed_payment(bob, mpesa, prompt, order):
    payment = prompt(bob, order)
    posted = mpesa.answered(payment, "pay")
    Client().post(posted.path, posted.body, content_type="application/json")

    payment.refresh_from_db()
    receipt = posted.metadata["MpesaReceiptNumber"]
    assert status_of(bob, payment) == state_of(
        payment,
        status="completed", mpesaReceiptNumber=receipt, resultCode="0",
        resultDesc=posted.stk["ResultDesc"], message="Paid.", undecided=False,
        canResendAt=None, completedAt=clock.iso(payment.completed_at),
        orderStatus="paid",
    )  # fmt: skip
    assert money_of(order) == [("callback", receipt, 250, [("sale", 250)])]
    assert path_of(payment) == ["created", "pending", "completed"]


@pytest.mark.parametrize(
    ("outcome", "code", "message"),
    [
        ("cancel", "1032", "The customer cancelled, or did not answer in time."),
        ("wrong-pin", "2001", "Wrong M-Pesa PIN."),
        ("no-balance", "1", "Not enough money in M-Pesa."),
    ],
)
def test_state_of_a_failed_payment(bob, mpesa, prompt, order, outcome, code, message):
    payment = prompt(bob, order)
    posted = mpesa.answered(payment, outcome)
    Client().post(posted.path, posted.body, content_type="application/json")

    payment.refresh_from_db()
    assert status_of(bob, payment) == state_of(
        payment,
        status="failed", resultCode=code, resultDesc=posted.stk["ResultDesc"],
        message=message, retryable=True, undecided=False,
        canResendAt=later(payment.decided_at, 5),
    )  # fmt: skip
    assert path_of(payment) == ["created", "pending", "failed"]
    assert money_of(order) == []
    assert sale_of(order) == ("open", 0, 250, 0)


def test_state_in_swahili_for_those_who_ask(bob, duka, order):
    payment = PaymentFactory(order=order, phone="254712345678")

    response = bob.get(mpesa_path("status", payment), headers={"Accept-Language": "sw"})

    assert response.json()["message"] == "Mteja anaweka PIN ya M-Pesa."


def test_status_does_not_ask(bob, mpesa, prompt, order):
    payment = prompt(bob, order)

    for _ in range(3):
        status_of(bob, payment)

    assert mpesa.stats()["queries"] == 0


def test_uncertain_callback_leaves_it_pending_until_a_query_confirms(
    bob, mpesa, prompt, order
):
    payment = prompt(bob, order)
    posted = mpesa.answered(payment, "unreachable")
    Client().post(posted.path, posted.body, content_type="application/json")

    uncertain = state_of(
        payment,
        resultCode="1037", resultDesc=posted.stk["ResultDesc"],
        message="Still being checked: the customer must not pay again.",
    )  # fmt: skip
    assert status_of(bob, payment) == uncertain
    payment.refresh_from_db()
    assert payment.next_ask_at <= timezone.now()

    assert questions.attend(payment.pk) is True

    payment.refresh_from_db()
    state = status_of(bob, payment)
    assert state == uncertain | {
        "status": "failed", "message": "The phone could not be reached.",
        "retryable": True, "undecided": False, "resultDesc": state["resultDesc"],
        "canResendAt": later(payment.decided_at, 5),
    }  # fmt: skip
    assert path_of(payment) == ["created", "pending", "failed"]


@pytest.mark.parametrize("code", ["1019", "26", "1037", "77777", "SFC_XX"])
def test_uncertain_codes_decide_nothing(bob, order, code):
    payment = PaymentFactory(order=order)
    body = callbacks.failure(payment, code)

    Client().post(
        f"/hooks/stk/{payment.hook_token}", body, content_type="application/json"
    )

    state = status_of(bob, payment)
    assert (state["status"], state["resultCode"]) == ("pending", code)
    assert state["undecided"] is True
    assert Notice.objects.get().verdict == "uncertain"
    payment.refresh_from_db()
    assert payment.next_ask_at <= timezone.now()


def test_query_asks_at_most_once_in_ten_seconds(bob, mpesa, prompt, order):
    payment = prompt(bob, order)

    first = bob.post(mpesa_path("query", payment))
    second = bob.post(mpesa_path("query", payment))

    expected = state_of(payment)
    assert (first.status_code, first.json()) == (200, expected | {"asked": True})
    assert (second.status_code, second.json()) == (200, expected | {"asked": False})
    assert mpesa.stats()["queries"] == 1

    past = timezone.now() - timedelta(seconds=10)
    Payment.objects.update(asked_at=past)
    assert bob.post(mpesa_path("query", payment)).json()["asked"] is True
    assert mpesa.stats()["queries"] == 2


def test_query_finds_money_without_a_receipt(bob, mpesa, prompt, order):
    payment = prompt(bob, order)
    posted = mpesa.answered(payment, "pay")

    answer = bob.post(mpesa_path("query", payment)).json()

    payment.refresh_from_db()
    assert answer == state_of(
        payment,
        status="completed", resultCode="0", resultDesc=answer["resultDesc"],
        message="Paid.", undecided=False, canResendAt=None,
        completedAt=clock.iso(payment.completed_at), orderStatus="paid",
    ) | {"asked": True}  # fmt: skip
    assert money_of(order) == [("query", None, 250, [("sale", 250)])]

    # The callback comes late and fills the receipt; nothing is counted twice.
    Client().post(posted.path, posted.body, content_type="application/json")
    receipt = posted.metadata["MpesaReceiptNumber"]
    assert status_of(bob, payment)["mpesaReceiptNumber"] == receipt
    assert money_of(order) == [("query", receipt, 250, [("sale", 250)])]
    assert sale_of(order) == ("paid", 250, 0, 0)


@pytest.mark.parametrize("mode", ["A", "B"])
def test_query_of_an_open_prompt_changes_nothing(bob, mpesa, prompt, order, mode):
    payment = prompt(bob, order)
    mpesa.faults(query_pending_mode=mode)

    with nothing_changes():
        answer = bob.post(mpesa_path("query", payment)).json()

    assert answer == state_of(payment) | {"asked": True}


@pytest.mark.parametrize(
    "error", ["internal", "html_403", "html_200", "busy", "reset", "truncated_200"]
)
def test_query_that_gets_no_answer_changes_nothing(bob, mpesa, prompt, order, error):
    payment = prompt(bob, order)
    mpesa.faults(query_error=error)

    with nothing_changes():
        response = bob.post(mpesa_path("query", payment))

    assert (response.status_code, response.json()["status"]) == (200, "pending")


def test_query_of_a_decided_payment_does_not_ask(bob, mpesa, order):
    cash(bob, order, 250)

    response = bob.post(mpesa_path("query", Payment.objects.get()))

    assert (response.status_code, response.json()["asked"]) == (200, False)
    assert mpesa.stats()["queries"] == 0


# --- Cancel and retry ------------------------------------------------------------


def test_cancel_asks_and_stops_waiting(bob, mpesa, prompt, order):
    payment = prompt(bob, order)

    first = bob.post(mpesa_path("cancel", payment))
    with nothing_changes():
        second = bob.post(mpesa_path("cancel", payment))

    expected = state_of(
        payment,
        status="cancelled",
        message="Stopped waiting. If the customer pays after all, the money is recorded.",
    )
    assert (first.status_code, first.json()) == (200, expected)
    assert (second.status_code, second.json()) == (200, expected)
    assert path_of(payment) == ["created", "pending", "cancelled"]
    assert mpesa.stats()["queries"] == 1


def test_cancel_finds_it_paid(bob, mpesa, prompt, order):
    payment = prompt(bob, order)
    mpesa.answered(payment, "pay")

    response = bob.post(mpesa_path("cancel", payment))

    assert (response.status_code, response.json()["status"]) == (200, "completed")
    assert sale_of(order) == ("paid", 250, 0, 0)


@pytest.mark.parametrize("outcome", ["pay", "cancel"])
def test_cancel_of_a_final_payment_answers_its_state(
    bob, mpesa, prompt, order, outcome
):
    payment = prompt(bob, order)
    posted = mpesa.answered(payment, outcome)
    Client().post(posted.path, posted.body, content_type="application/json")

    with nothing_changes():
        response = bob.post(mpesa_path("cancel", payment))

    assert response.status_code == 200
    assert response.json() == status_of(bob, payment)


def test_cancelled_then_decided_stays_cancelled(bob, mpesa, prompt, order):
    payment = prompt(bob, order)
    bob.post(mpesa_path("cancel", payment))
    posted = mpesa.answered(payment, "cancel")
    Client().post(posted.path, posted.body, content_type="application/json")

    state = status_of(bob, payment)
    assert (state["status"], state["undecided"]) == ("cancelled", False)
    assert (state["resultCode"], state["retryable"]) == ("1032", False)


def failed(bob, mpesa, payment):
    posted = mpesa.answered(payment, "wrong-pin")
    Client().post(posted.path, posted.body, content_type="application/json")
    let_the_phone_rest()
    payment.refresh_from_db()
    assert payment.status == "failed"


def let_the_phone_rest():
    """As if the 5 s had passed that a phone rests after a failure."""
    PhoneGuard.objects.update(free_at=timezone.now(), free_same_at=timezone.now())


def test_retry_is_a_new_attempt_like_initiate(bob, mpesa, prompt, order):
    old = prompt(bob, order, amount=200)
    failed(bob, mpesa, old)

    first = bob.post(mpesa_path("retry", old))
    new = Payment.objects.select_related("order").exclude(pk=old.pk).get()
    with nothing_changes():
        second = bob.post(mpesa_path("retry", old))

    assert (first.status_code, first.json()) == (201, initiated(new))
    assert (second.status_code, second.json()) == (
        200,
        initiated(new, isIdempotent=True),
    )
    assert (new.retry_of_id, new.attempt, new.amount) == (old.pk, 2, 200)
    assert new.phone == old.phone
    old.refresh_from_db()
    assert old.status == "failed"
    assert mpesa.pushes == 2


def test_retry_asks_first_and_finds_the_sale_paid(bob, mpesa, prompt, order):
    old = prompt(bob, order)
    failed(bob, mpesa, old)
    mpesa.answered(prompt(bob, order, "0722000111"), "pay")

    response = bob.post(mpesa_path("retry", old))

    refusal(response, 409, "ORDER_NOT_OPEN")
    assert sale_of(order) == ("paid", 250, 0, 0)
    assert mpesa.pushes == 2


def test_retry_waits_for_the_phone_like_initiate(bob, mpesa, prompt, order):
    payment = prompt(bob, order)
    posted = mpesa.answered(payment, "wrong-pin")
    Client().post(posted.path, posted.body, content_type="application/json")

    with nothing_changes():
        response = bob.post(mpesa_path("retry", payment))

    assert refusal(response, 409, "MPESA_006")["retryAfter"] in range(1, 6)
    assert mpesa.pushes == 1


def test_retry_at_most_three_times_after_the_first(bob, mpesa, prompt, order):
    payment = prompt(bob, order)
    for attempt in (2, 3, 4):
        failed(bob, mpesa, payment)
        answer = bob.post(mpesa_path("retry", payment))
        assert answer.status_code == 201
        payment = Payment.objects.get(pk=answer.json()["transactionId"])
        assert payment.attempt == attempt
    failed(bob, mpesa, payment)

    assert status_of(bob, payment)["retryable"] is False
    refusal(bob.post(mpesa_path("retry", payment)), 409, "NOT_RETRYABLE")
    assert mpesa.pushes == 4


def test_retry_of_a_502(bob, mpesa, order):
    mpesa.faults(push_error={"value": "busy", "times": 2})
    bob.post(INITIATE, asking(order))
    first = Payment.objects.get()
    let_the_phone_rest()

    refused = bob.post(mpesa_path("retry", first))
    second = Payment.objects.exclude(pk=first.pk).get()
    let_the_phone_rest()
    accepted = bob.post(mpesa_path("retry", second))

    assert refusal(refused, 502, "MPESA_004")["transactionId"] == str(second.pk)
    assert accepted.status_code == 201
    assert mpesa.pushes == 3


# --- Lists -----------------------------------------------------------------------


@pytest.fixture
def payments(duka, charlie):
    """One payment of each kind in Alice's shop, the oldest first."""
    made = []
    facts = [
        ("pending", {}),
        ("created", {"checkout_request_id": None}),
        ("failed", {"failure_reason": "wrong_pin", "decided_at": timezone.now()}),
        (
            "completed",
            {
                "receipt": "UAE5B2K9QT",
                "decided_at": timezone.now(),
                "completed_at": timezone.now(),
            },
        ),
        ("expired", {}),
        ("cancelled", {}),
    ]
    now = timezone.now()
    for number, (status, fields) in enumerate(facts):
        made.append(
            PaymentFactory(
                order=OrderFactory(shop=duka),
                status=PaymentStatus(status),
                phone=f"25471200000{number}",
                created_at=now - timedelta(hours=10 - number),
                **fields,
            )
        )
    return made


def listed(person, path="/api/payments", **query):
    response = person.get(path, query)
    assert response.status_code == 200, response.json()
    assert set(response.json()) == {"results", "next"}
    return [row["status"] for row in response.json()["results"]]


def test_lists_are_states_of_the_shop_newest_first(bob, payments):
    assert listed(bob) == [
        "cancelled", "expired", "completed", "failed", "created", "pending",
    ]  # fmt: skip
    rows = bob.get("/api/payments").json()["results"]
    for payment, row in zip(reversed(payments), rows, strict=True):
        assert row == status_of(bob, payment)


def test_lists_of_pending_and_failed(bob, payments):
    assert listed(bob, "/api/payments/mpesa/pending") == ["created", "pending"]
    assert listed(bob, "/api/payments/mpesa/failed") == ["failed"]


def test_list_filters_by_status(bob, payments):
    for status in ("pending", "created", "failed", "completed", "expired", "cancelled"):
        assert listed(bob, status=status) == [status]
    assert listed(bob, status="reversed") == []


def test_list_filters_by_time(bob, payments):
    created = payments[2].created_at.isoformat()

    assert listed(bob, **{"from": created})[-1] == "failed"
    assert listed(bob, to=created) == ["created", "pending"]
    assert listed(bob, **{"from": "2020-01-01", "to": "2020-12-31"}) == []


def test_list_filters_by_nairobi_days(bob, duka):
    for moment in ("2026-03-01T20:59:59Z", "2026-03-01T21:00:00Z"):
        PaymentFactory(
            order=OrderFactory(shop=duka),
            created_at=datetime.fromisoformat(moment),
        )

    def days(**query):
        rows = bob.get("/api/payments", query).json()["results"]
        return [row["orderNumber"] for row in rows]

    assert days(**{"from": "2026-03-02"}) == [2]
    assert days(to="2026-03-01") == [1]
    assert days(**{"from": "2026-03-01", "to": "2026-03-02"}) == [2, 1]


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("uae5b2k9qt", ["completed"]),
        ("0712 000 004", ["expired"]),
        ("+254712000004", ["expired"]),
        ("712000004", ["expired"]),
        ("3", ["failed"]),
        ("733000111", []),
        ("UA12000004", []),  # a receipt is no end of a phone number
        ("%", []),
        ("\0", None),
        ("٣", None),
    ],
)
def test_list_is_searched_by_receipt_phone_and_sale(bob, payments, search, found):
    rows = listed(bob, search=search)

    assert found is None or rows == found


def test_list_comes_in_pages(bob, payments):
    first = bob.get("/api/payments", {"limit": 4}).json()
    second = bob.client.get(first["next"]).json()

    assert [row["status"] for row in first["results"]] == [
        "cancelled", "expired", "completed", "failed",
    ]  # fmt: skip
    assert [row["status"] for row in second["results"]] == ["created", "pending"]
    assert second["next"] is None


@pytest.mark.parametrize("count", [1, 3])
def test_list_costs_the_same_for_one_and_for_three(
    bob, duka, count, django_assert_num_queries
):
    for _ in range(count):
        PaymentFactory(order=OrderFactory(shop=duka))

    # Session, person, membership, payments with their orders.
    with django_assert_num_queries(4):
        bob.get("/api/payments")
    # … orders, and their lines.
    with django_assert_num_queries(5):
        bob.get("/api/orders")


# --- Who may ---------------------------------------------------------------------

READ, SELL, MANAGE, OWN = "read", "sell", "manage", "own"
MAY = {
    "alice": {READ, SELL, MANAGE, OWN},
    "mary": {READ, SELL, MANAGE},
    "bob": {READ, SELL},
    "audrey": {READ},
}
CONFIG = "/api/payments/mpesa/config"
CALLS = {
    "products": (READ, "get", "/api/products"),
    "product": (READ, "get", "/api/products/{product}"),
    "add product": (MANAGE, "post", "/api/products"),
    "change product": (MANAGE, "patch", "/api/products/{product}"),
    "orders": (READ, "get", "/api/orders"),
    "order": (READ, "get", "/api/orders/{order}"),
    "open order": (SELL, "post", "/api/orders"),
    "cancel order": (SELL, "post", "/api/orders/{order}/cancel"),
    "cash": (SELL, "post", "/api/orders/{order}/pay-cash"),
    "initiate": (SELL, "post", INITIATE),
    "status": (READ, "get", "/api/payments/mpesa/status/{payment}"),
    "query": (READ, "post", "/api/payments/mpesa/query/{payment}"),
    "cancel": (SELL, "post", "/api/payments/mpesa/cancel/{payment}"),
    "retry": (SELL, "post", "/api/payments/mpesa/retry/{payment}"),
    "pending": (READ, "get", "/api/payments/mpesa/pending"),
    "failed": (READ, "get", "/api/payments/mpesa/failed"),
    "payments": (READ, "get", "/api/payments"),
    "ticket": (READ, "post", "/api/auth/ws-ticket"),
    "settings": (OWN, "get", CONFIG),
    "change settings": (OWN, "put", CONFIG),
    "verify settings": (OWN, "post", f"{CONFIG}/verify"),
    "test payment": (OWN, "post", f"{CONFIG}/test-payment"),
}


def carry_out(person, call, order, payment, headers=None):
    """Make a call that is well formed and of no consequence: the phone is none."""
    _, verb, path = CALLS[call]
    path = path.format(
        product=order.lines.get().product_id, order=order.pk, payment=payment.pk
    )
    if verb == "get":
        return person.get(path, headers=headers)
    body = {
        "add product": {"name": "Sugar", "price": "165"},
        "change product": {"category": "Food"},
        "open order": {"items": []},
        "cash": {"amount": 0},
        "initiate": {"orderId": str(order.pk), "phoneNumber": "none"},
    }.get(call, {})
    return getattr(person, verb)(path, body, headers=headers)


# Refused for what was asked, not for who asked: the role was enough.
REFUSED_LATER = {
    "open order": 400,
    "cash": 400,
    "initiate": 400,
    "retry": 409,
    "change settings": 400,
    "verify settings": 409,
    "test payment": 400,
}


@pytest.fixture
def decided(order):
    """A payment that was not paid for certain: M-Pesa is not asked about it."""
    return PaymentFactory(
        order=order,
        phone="254712345678",
        status=PaymentStatus.FAILED,
        failure_reason="pin_locked",
        decided_at=timezone.now(),
        next_ask_at=None,
    )


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("who", MAY)
def test_role_may(request, order, decided, who, call):
    person = request.getfixturevalue(who)

    response = carry_out(person, call, order, decided)

    if CALLS[call][0] in MAY[who]:
        done = 201 if call == "add product" else 200
        assert response.status_code == REFUSED_LATER.get(call, done)
    else:
        refusal(response, 403, "FORBIDDEN")


# The others name no row of ours.
@pytest.mark.parametrize("call", sorted(CALLS.keys() - {"add product", "open order"}))
def test_another_shop_sees_nothing(charlie, order, decided, call):
    with nothing_changes():
        response = carry_out(charlie, call, order, decided)

    assert str(decided.pk) not in response.content.decode()
    assert str(order.pk) not in response.content.decode()
    if "{" in CALLS[call][2] or call == "initiate":
        assert refusal(response, 404, "NOT_FOUND") == {}
    else:
        own = {"change settings": 400, "test payment": 400}
        assert response.status_code == own.get(call, 200)


@pytest.mark.parametrize("call", CALLS)
def test_nobody_may_anything(order, decided, call):
    _, verb, path = CALLS[call]
    path = path.format(product=1, order=order.pk, payment=decided.pk)

    with nothing_changes():
        response = getattr(Client(), verb)(path)

    refusal(response, 401, "NOT_AUTHENTICATED")


# A ticket is for a person; the socket asks for the shop.
@pytest.mark.parametrize("call", sorted(CALLS.keys() - {"ticket"}))
def test_person_without_a_shop_may_nothing(stranger, order, decided, call):
    with nothing_changes():
        response = carry_out(stranger, call, order, decided)

    refusal(response, 403, "FORBIDDEN")


@pytest.mark.parametrize("call", CALLS)
def test_operator_reads_a_shop_that_is_named_and_sells_nowhere(
    operator, duka, order, decided, call
):
    unnamed = carry_out(operator, call, order, decided)
    named = carry_out(operator, call, order, decided, {"X-Shop": str(duka.pk)})

    if call != "ticket":
        refusal(unnamed, 400, "SHOP_REQUIRED")
    if CALLS[call][0] == READ:
        assert named.status_code == 200
    else:
        refusal(named, 403, "FORBIDDEN")


def test_every_address_of_the_api_is_in_the_roles_table(client):
    """A call that is added must say who may make it."""
    schema = client.get("/api/schema", headers={"Accept": "application/json"}).json()
    shared = {"/api/auth/token", "/api/auth/token/refresh"}
    known = {
        (path.replace("{product}", "{product_id}").replace("{order}", "{order_id}")
         .replace("{payment}", "{payment_id}"), verb)
        for _, verb, path in CALLS.values()
    }  # fmt: skip
    found = {
        (path, verb)
        for path, verbs in schema["paths"].items()
        if path not in shared
        for verb in verbs
    }

    assert found == known


def test_membership_that_ended_opens_nothing(bob, duka, order):
    bob.user.memberships.update(is_active=False)
    refusal(bob.get("/api/orders"), 403, "FORBIDDEN")
    bob.user.memberships.update(is_active=True)
    duka.is_active = False
    duka.save()

    refusal(bob.get("/api/orders"), 403, "FORBIDDEN")


# --- Ticket, schema, docs --------------------------------------------------------


def test_ticket_for_a_socket(bob):
    response = bob.post("/api/auth/ws-ticket")

    assert (response.status_code, set(response.json())) == (
        200,
        {"ticket", "expiresIn"},
    )
    assert response.json()["expiresIn"] == 30


def test_ids_are_opaque_strings(bob, mpesa, prompt, order):
    payment = prompt(bob, order)
    state = status_of(bob, payment)

    assert UUID(state["transactionId"])
    assert isinstance(bob.get("/api/products").json()["results"][0]["id"], str)
    assert isinstance(state["orderId"], str)


def test_money_of_orders_is_text_and_of_payments_whole(bob, order):
    state = bob.get(f"/api/orders/{order.pk}").json()

    assert Decimal(state["total"]) == kes(250)
    assert {type(state[n]) for n in ("total", "paid", "balance", "surplus")} == {str}
    answer = cash(bob, order, 250).json()
    assert {type(answer[n]) for n in ("change", "balance")} == {int}
