"""Every row of the contract's error table, each by its name."""

# ruff: noqa: N802 -- a test is called by the code that it is about

import socket
from base64 import b64encode
from datetime import timedelta
from uuid import uuid4

import pytest
from django.test import Client
from rest_framework_simplejwt.tokens import AccessToken

from orders.models import Order
from payments import pushing
from payments.enums import PaymentStatus
from payments.intents import fingerprint
from payments.models import MpesaAccount, MpesaSettings, Payment, PhoneGuard
from payments.questions import expire_if_over
from shops.enums import Role
from smartduka.lib import clock
from tests.factories import (
    MembershipFactory,
    OrderFactory,
    PaymentFactory,
    ProductFactory,
    ShopFactory,
)
from tests.support.facts import (
    database_without,
    money_of,
    nothing_changes,
    path_of,
    refusal,
    sale_of,
)


pytestmark = pytest.mark.django_db

INITIATE = "/api/payments/mpesa/initiate"
PHONE = "0712345678"


def asking(order, **fields):
    return {"orderId": str(order.pk), "phoneNumber": PHONE, **fields}


def cash_path(order):
    return f"/api/orders/{order.pk}/pay-cash"


@pytest.fixture
def order(duka):
    return OrderFactory(shop=duka, total=250)


# --- 400 INVALID_REQUEST ---------------------------------------------------------

MALFORMED = {
    "empty": b"",
    "not JSON": b"orderId=1",
    "cut off": b'{"orderId": "a',
    "a list": b"[]",
    "text": b'"initiate"',
    "null": b"null",
    "bad UTF-8": b'{"orderId": "\xff\xfe"}',
    "NaN": b'{"orderId": NaN}',
    "deep": b"[" * 100_000,
    "deep object": b'{"a":' * 50_000,
    "endless number": b'{"amount": ' + b"9" * 10_000 + b"}",
    "a NUL": b'{"orderId": "\\u0000", "phoneNumber": "0712345678"}',
    "lone surrogate": b'{"orderId": "\\ud800", "phoneNumber": "0712345678"}',
}


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED)
@pytest.mark.parametrize(
    "path", [INITIATE, "/api/orders", "/api/auth/token", "/api/products"]
)
def test_400_INVALID_REQUEST_malformed_body(alice, order, path, body):
    with nothing_changes():
        response = alice.client.post(path, body, content_type="application/json")

    if response.status_code == 404:
        # An order id that is none names no order of the shop.
        refusal(response, 404, "NOT_FOUND")
    else:
        refusal(response, 400, "INVALID_REQUEST")


def test_400_INVALID_REQUEST_body_that_is_a_form(bob, order):
    with nothing_changes():
        response = bob.client.post(INITIATE, asking(order))

    refusal(response, 400, "INVALID_REQUEST")


WRONG_FIELDS = [
    ("orderId", ...), ("orderId", 7), ("orderId", None), ("orderId", []),
    ("phoneNumber", ...), ("phoneNumber", 712345678), ("phoneNumber", None),
    ("phoneNumber", {"a": 1}), ("phoneNumber", "0712\n345678"),
    ("amount", "250"), ("amount", 250.5), ("amount", 250.0), ("amount", True),
    ("amount", [250]), ("amount", 10**16), ("amount", 1e300),
    ("idempotencyKey", 5), ("idempotencyKey", ""), ("idempotencyKey", "k" * 201),
    ("idempotencyKey", "a\nb"),
    ("acceptRisk", "yes"), ("acceptRisk", 1), ("acceptRisk", None),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), WRONG_FIELDS, ids=str)
def test_400_INVALID_REQUEST_wrong_field_of_initiate(bob, order, name, value):
    body = asking(order)
    if value is ...:
        del body[name]
    else:
        body[name] = value

    with nothing_changes():
        response = bob.post(INITIATE, body)

    assert set(refusal(response, 400, "INVALID_REQUEST")) == {name}


@pytest.mark.parametrize("amount", [..., "250", 250.5, True, None, [], 10**18])
def test_400_INVALID_REQUEST_wrong_amount_of_cash(bob, order, amount):
    with nothing_changes():
        response = bob.post(
            cash_path(order), {} if amount is ... else {"amount": amount}
        )

    assert set(refusal(response, 400, "INVALID_REQUEST")) == {"amount"}


@pytest.mark.parametrize(
    "items",
    [
        ..., None, [], {}, "1", [1], [{}], [{"productId": "P"}], [{"quantity": 1}],
        [{"productId": 1, "quantity": 1}], [{"productId": "P", "quantity": "1"}],
        [{"productId": "P", "quantity": 1.5}], [{"productId": "P", "quantity": 0}],
        [{"productId": "P", "quantity": -1}], [{"productId": "P", "quantity": True}],
        [{"productId": "P", "quantity": 10_001}],
    ],
    ids=str,
)  # fmt: skip
def test_400_INVALID_REQUEST_wrong_items_of_an_order(bob, duka, items):
    product = ProductFactory(shop=duka)
    for item in items if isinstance(items, list) else []:
        if isinstance(item, dict) and item.get("productId") == "P":
            item["productId"] = str(product.pk)

    with nothing_changes():
        response = bob.post("/api/orders", {} if items is ... else {"items": items})

    refusal(response, 400, "INVALID_REQUEST")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("name", ...), ("name", ""), ("name", 5), ("name", "x" * 121), ("price", ...),
        ("price", "cheap"), ("price", "0"), ("price", "-1"), ("price", "1.005"),
        ("price", "NaN"), ("price", "Infinity"), ("price", 1e400),
        ("price", "100000000000"), ("stock", -1), ("stock", "5"), ("stock", 10**12),
        ("barcode", 5), ("barcode", "1" * 49), ("category", "a\tb"),
    ],
    ids=str,
)  # fmt: skip
def test_400_INVALID_REQUEST_wrong_field_of_a_product(alice, name, value):
    body = {"name": "Sugar", "price": "165", name: value}
    if value is ...:
        del body[name]

    with nothing_changes():
        response = alice.post("/api/products", body)

    details = refusal(response, 400, "INVALID_REQUEST")
    assert value == 1e400 or set(details) == {name}


def test_400_INVALID_REQUEST_barcode_of_another_product(alice, duka):
    ProductFactory(shop=duka, barcode="616100")

    with nothing_changes():
        response = alice.post(
            "/api/products", {"name": "Sugar", "price": "165", "barcode": "616100"}
        )

    assert refusal(response, 400, "INVALID_REQUEST") == {"barcode": ["taken"]}


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ({"status": "lost"}, "status"), ({"from": "yesterday"}, "from"),
        ({"to": "2026-02-30"}, "to"), ({"from": "9999-12-31T99:00"}, "from"),
        ({"from": "0001-01-01"}, "from"), ({"to": "9999-12-31"}, "to"),
        ({"from": "0001-01-01T00:00:00+14:00"}, "from"), ({"from": "\0"}, "from"),
    ],
)  # fmt: skip
def test_400_INVALID_REQUEST_wrong_filter_of_a_list(bob, query, name):
    response = bob.get("/api/payments", query)

    assert set(refusal(response, 400, "INVALID_REQUEST")) == {name}


CURSORS = ["p=nonsense", "p=\0", "p=2026-13-45", "r=1&p=x", "p=0001-01-01 00:00+14"]


@pytest.mark.parametrize("cursor", CURSORS)
@pytest.mark.parametrize("path", ["/api/payments", "/api/orders"])
def test_400_INVALID_REQUEST_cursor_that_is_none(bob, path, cursor):
    given = b64encode(cursor.encode()).decode()

    response = bob.get(path, {"cursor": given})

    assert set(refusal(response, 400, "INVALID_REQUEST")) == {"cursor"}


@pytest.mark.parametrize("cursor", ["%%%", "p=", "o=9&r=1", "o=x", "o=99999999999999"])
@pytest.mark.parametrize("path", ["/api/payments", "/api/products"])
def test_cursor_that_says_little_is_no_accident(bob, path, cursor):
    for given in (cursor, b64encode(cursor.encode()).decode()):
        response = bob.get(path, {"cursor": given})
        assert response.status_code in (200, 400, 404)
        assert response.status_code == 200 or response.json()["success"] is False


def test_cursor_with_a_nul_finds_no_product(bob):
    cursor = b64encode(b"p=\0").decode()

    response = bob.get("/api/products", {"cursor": cursor})

    assert set(refusal(response, 400, "INVALID_REQUEST")) == {"cursor"}


LIMITS = ["0", "-1", "x", "", "1e3", "9" * 5000]


@pytest.mark.parametrize("limit", LIMITS, ids=lambda text: text[:5])
@pytest.mark.parametrize("path", ["/api/payments", "/api/orders", "/api/products"])
def test_limit_of_a_list_that_is_none_is_the_usual_one(bob, order, path, limit):
    response = bob.get(path, {"limit": limit})

    assert response.status_code == 200
    assert response.json()["next"] is None


@pytest.mark.parametrize(
    ("verb", "path"),
    [
        ("get", INITIATE),
        ("delete", "/api/orders"),
        ("put", "/api/products"),
        ("post", "/api/payments"),
        ("get", "/api/auth/token"),
    ],
)
def test_405_INVALID_REQUEST_another_verb(alice, verb, path):
    response = getattr(alice.client, verb)(path)

    assert refusal(response, 405, "INVALID_REQUEST") == {}


@pytest.mark.parametrize("missing", ["username", "password"])
def test_400_INVALID_REQUEST_token_without_a_field(bob, password, missing):
    body = {"username": "bob", "password": password}
    del body[missing]

    response = Client().post("/api/auth/token", body, content_type="application/json")

    assert set(refusal(response, 400, "INVALID_REQUEST")) == {missing}


def test_400_INVALID_REQUEST_two_different_keys(bob, order):
    with nothing_changes():
        response = bob.post(
            INITIATE,
            asking(order, idempotencyKey="one"),
            headers={"Idempotency-Key": "two"},
        )

    assert set(refusal(response, 400, "INVALID_REQUEST")) == {"idempotencyKey"}


@pytest.mark.parametrize("key", ["k" * 201, ""])
def test_400_INVALID_REQUEST_header_that_is_no_key(bob, order, key):
    with nothing_changes():
        response = bob.post(INITIATE, asking(order), headers={"Idempotency-Key": key})

    refusal(response, 400, "INVALID_REQUEST")


# --- 400 MPESA_001, MPESA_002, MPESA_003, SHOP_REQUIRED ---------------------------

NO_PHONES = [
    "", " ", "abc", "0712", "071234567", "07123456789", "0212345678", "0812345678",
    "254812345678", "255712345678", "+1 212 555 0100", "00254712345678",
    "\u0660\u0667\u0661\u0662\u0663\u0664\u0665\u0666\u0667\u0668",
    "\uff10\uff17\uff11\uff12\uff13\uff14\uff15\uff16\uff17\uff18", "0712345678;", "0712345678 or 1=1", "7" * 60,
]  # fmt: skip


@pytest.mark.parametrize("phone", NO_PHONES)
def test_400_MPESA_001_no_kenyan_mobile_number(bob, order, phone):
    with nothing_changes():
        response = bob.post(INITIATE, asking(order, phoneNumber=phone))

    assert refusal(response, 400, "MPESA_001") == {}


@pytest.mark.parametrize("amount", [0, -1, -250])
def test_400_MPESA_002_amount_below_one(bob, order, amount):
    with nothing_changes():
        response = bob.post(INITIATE, asking(order, amount=amount))

    assert refusal(response, 400, "MPESA_002") == {}


@pytest.mark.parametrize("amount", [0, -1])
def test_400_MPESA_002_cash_below_one(bob, order, amount):
    with nothing_changes():
        response = bob.post(cash_path(order), {"amount": amount})

    assert refusal(response, 400, "MPESA_002") == {}


def test_400_MPESA_003_amount_above_the_limit(bob, order):
    with nothing_changes():
        response = bob.post(INITIATE, asking(order, amount=250_001))

    assert refusal(response, 400, "MPESA_003") == {"maxAmount": 250_000}
    assert "KES 250,000" in response.json()["message"]


def test_400_MPESA_003_balance_above_the_limit(bob, duka):
    dear = OrderFactory(shop=duka, total=250_001)

    with nothing_changes():
        response = bob.post(INITIATE, asking(dear))

    assert refusal(response, 400, "MPESA_003") == {"maxAmount": 250_000}


def test_400_MPESA_003_above_the_limit_of_the_shop(bob, duka, order):
    MpesaSettings.objects.filter(shop=duka).update(max_amount=249)

    with nothing_changes():
        response = bob.post(INITIATE, asking(order))

    assert refusal(response, 400, "MPESA_003") == {"maxAmount": 249}
    assert "KES 249" in response.json()["message"]


def test_400_SHOP_REQUIRED(alice, duka):
    other = ShopFactory()
    MembershipFactory(user=alice.user, shop=other, role=Role.OWNER)

    assert refusal(alice.get("/api/orders"), 400, "SHOP_REQUIRED") == {}
    for shop in (duka, other):
        response = alice.get("/api/orders", headers={"X-Shop": str(shop.pk)})
        assert response.status_code == 200


# --- 401, 403, 404 ---------------------------------------------------------------


def test_401_NOT_AUTHENTICATED_without_credentials(order):
    with nothing_changes():
        response = Client().post(
            INITIATE, asking(order), content_type="application/json"
        )

    assert refusal(response, 401, "NOT_AUTHENTICATED") == {}
    assert response.headers["WWW-Authenticate"].startswith("Bearer")


def test_401_NOT_AUTHENTICATED_bad_or_expired_token(bob):
    expired = AccessToken.for_user(bob.user)
    expired.set_exp(from_time=clock.now() - timedelta(hours=1))
    good = AccessToken.for_user(bob.user)

    for token, status in (("x", 401), (expired, 401), (f"{good}x", 401), (good, 200)):
        response = Client().get(
            "/api/orders", headers={"Authorization": f"Bearer {token}"}
        )
        assert response.status_code == status
        if status == 401:
            refusal(response, 401, "NOT_AUTHENTICATED")


def test_401_NOT_AUTHENTICATED_token_of_somebody_who_left(bob):
    token = AccessToken.for_user(bob.user)
    bob.user.is_active = False
    bob.user.save()

    response = Client().get("/api/orders", headers={"Authorization": f"Bearer {token}"})

    refusal(response, 401, "NOT_AUTHENTICATED")


def test_401_NOT_AUTHENTICATED_wrong_password_and_wrong_refresh(bob):
    for path, body in (
        ("/api/auth/token", {"username": "bob", "password": "guess"}),
        ("/api/auth/token", {"username": "nobody", "password": "guess"}),
        ("/api/auth/token/refresh", {"refresh": "x.y.z"}),
        (
            "/api/auth/token/refresh",
            {"refresh": str(AccessToken.for_user(bob.user))},
        ),
    ):
        response = Client().post(path, body, content_type="application/json")
        refusal(response, 401, "NOT_AUTHENTICATED")


def test_403_FORBIDDEN_role_may_not(audrey, bob, order):
    with nothing_changes():
        refusals = [
            audrey.post(INITIATE, asking(order)),
            audrey.post(cash_path(order), {"amount": 250}),
            bob.post("/api/products", {"name": "Sugar", "price": "165"}),
        ]

    for response in refusals:
        assert refusal(response, 403, "FORBIDDEN") == {}


def test_403_FORBIDDEN_without_any_shop(stranger):
    assert refusal(stranger.get("/api/orders"), 403, "FORBIDDEN") == {}


def test_403_FORBIDDEN_session_without_csrf_token(bob, order):
    client = Client(enforce_csrf_checks=True)
    client.force_login(bob.user)

    with nothing_changes():
        response = client.post(INITIATE, asking(order), content_type="application/json")

    refusal(response, 403, "FORBIDDEN")


def test_404_NOT_FOUND_unknown_or_another_shops_id(alice, charlie):
    theirs = charlie.payment
    for payment_id in (theirs.pk, uuid4(), "1", "x' OR 1=1", "%00"):
        for call in (
            lambda p: alice.get(f"/api/payments/mpesa/status/{p}"),
            lambda p: alice.post(f"/api/payments/mpesa/query/{p}"),
            lambda p: alice.post(f"/api/payments/mpesa/cancel/{p}"),
            lambda p: alice.post(f"/api/payments/mpesa/retry/{p}"),
        ):
            with nothing_changes():
                assert refusal(call(payment_id), 404, "NOT_FOUND") == {}
    for order_id in (charlie.order.pk, uuid4(), "1"):
        for call in (
            lambda o: alice.get(f"/api/orders/{o}"),
            lambda o: alice.post(f"/api/orders/{o}/cancel"),
            lambda o: alice.post(f"/api/orders/{o}/pay-cash", {"amount": 250}),
            lambda o: alice.post(INITIATE, {"orderId": str(o), "phoneNumber": PHONE}),
        ):
            with nothing_changes():
                assert refusal(call(order_id), 404, "NOT_FOUND") == {}
    theirs.refresh_from_db()
    assert theirs.asked_at is None


def test_404_NOT_FOUND_product_of_another_shop(alice, charlie):
    theirs = str(charlie.product.pk)
    items = [{"productId": theirs, "quantity": 1}]

    with nothing_changes():
        ordered = alice.post("/api/orders", {"items": items})
        changed = alice.patch(f"/api/products/{theirs}", {"price": "1"})
        seen = alice.get(f"/api/products/{theirs}")

    assert refusal(ordered, 404, "NOT_FOUND") == {"productIds": [theirs]}
    assert refusal(changed, 404, "NOT_FOUND") == {}
    assert refusal(seen, 404, "NOT_FOUND") == {}


def test_404_NOT_FOUND_shop_that_is_not_theirs(alice, charlie):
    for shop_id in (charlie.shop.pk, 999_999, "x", "-1", "1" * 40):
        response = alice.get("/api/orders", headers={"X-Shop": str(shop_id)})
        assert refusal(response, 404, "NOT_FOUND") == {}


def test_404_NOT_FOUND_address_that_does_not_exist(bob):
    for path in ("/api/nothing", "/api/orders/", "/api/"):
        refusal(bob.get(path), 404, "NOT_FOUND")


# --- 409 about the order ---------------------------------------------------------


def test_409_ORDER_NOT_OPEN_paid(bob, mpesa, order):
    assert bob.post(cash_path(order), {"amount": 250}).status_code == 201

    with nothing_changes():
        prompted = bob.post(INITIATE, asking(order))
        again = bob.post(cash_path(order), {"amount": 250})

    assert refusal(prompted, 409, "ORDER_NOT_OPEN") == {}
    assert refusal(again, 409, "ORDER_NOT_OPEN") == {}
    assert mpesa.pushes == 0


def test_409_ORDER_NOT_OPEN_cancelled(bob, mpesa, order):
    assert bob.post(f"/api/orders/{order.pk}/cancel").status_code == 200

    with nothing_changes():
        prompted = bob.post(INITIATE, asking(order))
        cash = bob.post(cash_path(order), {"amount": 250})

    assert refusal(prompted, 409, "ORDER_NOT_OPEN") == {}
    assert refusal(cash, 409, "ORDER_NOT_OPEN") == {}
    assert mpesa.pushes == 0


def test_409_AMOUNT_EXCEEDS_BALANCE(bob, mpesa, order):
    assert bob.post(cash_path(order), {"amount": 100}).status_code == 201

    with nothing_changes():
        response = bob.post(INITIATE, asking(order, amount=151))

    assert refusal(response, 409, "AMOUNT_EXCEEDS_BALANCE") == {"balance": 150}
    assert mpesa.pushes == 0


def test_409_OUT_OF_STOCK(bob, duka):
    product = ProductFactory(shop=duka, stocked=3)
    items = [{"productId": str(product.pk), "quantity": 4}]

    with nothing_changes():
        response = bob.post("/api/orders", {"items": items})

    assert refusal(response, 409, "OUT_OF_STOCK") == {
        "products": [{"productId": str(product.pk), "stock": 3}]
    }


def test_409_ORDER_HAS_MONEY_part_paid(bob, order):
    bob.post(cash_path(order), {"amount": 100})

    with nothing_changes():
        response = bob.post(f"/api/orders/{order.pk}/cancel")

    assert refusal(response, 409, "ORDER_HAS_MONEY") == {}


def test_409_ORDER_HAS_MONEY_paid(bob, order):
    bob.post(cash_path(order), {"amount": 250})

    with nothing_changes():
        response = bob.post(f"/api/orders/{order.pk}/cancel")

    assert refusal(response, 409, "ORDER_HAS_MONEY") == {}


def test_409_ORDER_HAS_MONEY_that_the_question_before_it_found(
    bob, mpesa, prompt, order
):
    payment = prompt(bob, order)
    mpesa.answered(payment, "pay")  # and the callback never reaches us

    response = bob.post(f"/api/orders/{order.pk}/cancel")

    assert refusal(response, 409, "ORDER_HAS_MONEY") == {}
    assert sale_of(order) == ("paid", 250, 0, 0)


# --- 409 MPESA_006 ---------------------------------------------------------------


def test_409_MPESA_006_balance_spoken_for(bob, mpesa, prompt, order):
    first = prompt(bob, order)

    with nothing_changes():
        response = bob.post(INITIATE, asking(order, phoneNumber="0722000111"))

    details = refusal(response, 409, "MPESA_006")
    assert details["retryAfter"] in range(115, 121)
    assert response.headers["Retry-After"] == str(details.pop("retryAfter"))
    assert details == {"undecided": [str(first.pk)], "acceptRiskAllowed": False}
    assert mpesa.pushes == 1


def test_409_MPESA_006_balance_spoken_for_in_part(bob, mpesa, prompt, order):
    prompt(bob, order, amount=150)

    with nothing_changes():
        refused = bob.post(
            INITIATE, asking(order, phoneNumber="0722000111", amount=101)
        )
    prompt(bob, order, "0722000111", amount=100)

    refusal(refused, 409, "MPESA_006")
    assert mpesa.pushes == 2


def test_409_MPESA_006_balance_spoken_for_until_the_cashier_accepts_the_risk(
    bob, mpesa, order
):
    old = PaymentFactory(
        order=order, phone="254722000111", created_at=clock.now() - timedelta(seconds=121)
    )  # fmt: skip

    with nothing_changes():
        response = bob.post(INITIATE, asking(order))
    accepted = bob.post(INITIATE, asking(order, acceptRisk=True))

    assert refusal(response, 409, "MPESA_006") == {
        "retryAfter": 0,
        "undecided": [str(old.pk)],
        "acceptRiskAllowed": True,
    }
    assert accepted.status_code == 201
    assert mpesa.pushes == 1


def test_409_MPESA_006_risk_cannot_be_accepted_within_120_s(bob, mpesa, prompt, order):
    prompt(bob, order)

    with nothing_changes():
        response = bob.post(
            INITIATE, asking(order, phoneNumber="0722000111", acceptRisk=True)
        )

    assert refusal(response, 409, "MPESA_006")["acceptRiskAllowed"] is False
    assert mpesa.pushes == 1


def test_409_MPESA_006_phone_guard(bob, duka, mpesa, prompt, order):
    prompt(bob, order)
    following = OrderFactory(shop=duka, total=100)

    with nothing_changes():
        response = bob.post(INITIATE, asking(following, phoneNumber="+254 712 345678"))

    details = refusal(response, 409, "MPESA_006")
    assert details.pop("retryAfter") in range(55, 61)
    assert details == {"acceptRiskAllowed": False}
    assert mpesa.pushes == 1


@pytest.mark.parametrize(("amount", "wait_s"), [(250, 120), (249, 60)])
def test_409_MPESA_006_phone_guard_across_shops(
    bob, mpesa, prompt, order, charlie, amount, wait_s
):
    prompt(bob, order)
    theirs = OrderFactory(shop=charlie.shop, total=amount)

    with nothing_changes():
        response = charlie.post(INITIATE, asking(theirs))

    details = refusal(response, 409, "MPESA_006")
    assert details.pop("retryAfter") in range(wait_s - 5, wait_s + 1)
    assert details == {"acceptRiskAllowed": False}
    assert mpesa.pushes == 1


@pytest.mark.parametrize(
    ("outcome", "amount", "wait_s"),
    [("pay", 250, 120), ("pay", 249, 0), ("cancel", 250, 5), ("cancel", 249, 5)],
)
def test_409_MPESA_006_phone_guard_after_the_last_push_was_decided(
    bob, duka, mpesa, prompt, order, outcome, amount, wait_s
):
    posted = mpesa.answered(prompt(bob, order), outcome)
    Client().post(posted.path, posted.body, content_type="application/json")
    following = OrderFactory(shop=duka, total=amount)

    response = bob.post(INITIATE, asking(following))

    if not wait_s:
        assert response.status_code == 201
        return
    details = refusal(response, 409, "MPESA_006")
    assert details["retryAfter"] in range(max(1, wait_s - 5), wait_s + 1)
    assert not following.payments.exists()


def test_409_MPESA_006_subscriber_lock(bob, mpesa, order):
    mpesa.faults(push_error={"value": "subscriber_lock", "times": 1})

    response = bob.post(INITIATE, asking(order, idempotencyKey="k"))

    payment = Payment.objects.get()
    details = refusal(response, 409, "MPESA_006")
    assert details.pop("retryAfter") in range(55, 61)
    assert details == {
        "transactionId": str(payment.pk),
        "status": "failed",
        "retryable": True,
    }
    assert int(response.headers["Retry-After"]) in range(55, 61)
    assert (payment.status, payment.error_code) == ("failed", "MPESA_006")
    assert path_of(payment) == ["created", "failed"]
    assert money_of(order) == []
    assert sale_of(order) == ("open", 0, 250, 0)
    # The phone is guarded as long as M-Pesa asked for, for other shops as well.
    again = refusal(bob.post(INITIATE, asking(order)), 409, "MPESA_006")
    assert again["retryAfter"] in range(55, 61)
    state = bob.get(f"/api/payments/mpesa/status/{payment.pk}").json()
    free_at = payment.decided_at + timedelta(seconds=60)
    assert (state["errorCode"], state["canResendAt"]) == (
        "MPESA_006", clock.iso(free_at),
    )  # fmt: skip


def test_409_MPESA_006_subscriber_lock_does_not_remember_the_key(bob, mpesa, order):
    mpesa.faults(push_error={"value": "subscriber_lock", "times": 1})
    body = asking(order, idempotencyKey="k")
    refusal(bob.post(INITIATE, body), 409, "MPESA_006")
    PhoneGuard.objects.update(free_at=clock.now(), free_same_at=clock.now())

    response = bob.post(INITIATE, body)

    assert (response.status_code, response.json()["isIdempotent"]) == (201, False)
    assert mpesa.pushes == 2


# --- 409 MPESA_NOT_CONFIGURED, NOT_RETRYABLE, IN_FLIGHT --------------------------


@pytest.mark.parametrize("how", ["none chosen", "inactive", "sandbox", "unreadable"])
def test_409_MPESA_NOT_CONFIGURED(charlie, mpesa, how):
    order = OrderFactory(shop=charlie.shop)
    account = MpesaAccount.objects.filter(shop=charlie.shop)
    if how == "none chosen":
        MpesaSettings.objects.filter(shop=charlie.shop).delete()
    elif how == "inactive":
        account.update(is_active=False)
    elif how == "sandbox":
        account.update(environment="sandbox")
    else:
        account.update(passkey_sealed=b"not what we sealed")

    with nothing_changes():
        response = charlie.post(INITIATE, asking(order))

    assert refusal(response, 409, "MPESA_NOT_CONFIGURED") == {}
    assert mpesa.pushes == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"status": PaymentStatus.PENDING},
        {"status": PaymentStatus.CANCELLED},
        {"status": PaymentStatus.EXPIRED},
        {"status": PaymentStatus.FAILED, "may_retry": False},
        {"status": PaymentStatus.FAILED, "may_retry": True, "attempt": 4},
    ],
    ids=str,
)
def test_409_NOT_RETRYABLE(bob, mpesa, order, changes):
    if changes["status"] == PaymentStatus.FAILED:
        changes = changes | {
            "failure_reason": "wrong_pin",
            "decided_at": clock.now(),
            "next_ask_at": None,
        }
    payment = PaymentFactory(order=order, **changes)
    mpesa.faults(query_error="busy")

    with nothing_changes():
        response = bob.post(f"/api/payments/mpesa/retry/{payment.pk}")

    assert refusal(response, 409, "NOT_RETRYABLE") == {}
    assert mpesa.pushes == 0


def test_409_NOT_RETRYABLE_completed(bob, mpesa, prompt, order):
    payment = prompt(bob, order)
    mpesa.pays(Client(), payment)

    with nothing_changes():
        response = bob.post(f"/api/payments/mpesa/retry/{payment.pk}")

    assert refusal(response, 409, "NOT_RETRYABLE") == {}
    assert mpesa.pushes == 1


@pytest.mark.parametrize("answer", ["paid", "nothing"])
def test_409_NOT_RETRYABLE_says_what_asking_learned(bob, mpesa, prompt, order, answer):
    payment = prompt(bob, order)
    if answer == "paid":
        mpesa.answered(payment, "pay")
    else:
        mpesa.faults(query_error="busy")

    response = bob.post(f"/api/payments/mpesa/retry/{payment.pk}")

    assert refusal(response, 409, "NOT_RETRYABLE") == {}
    assert response.json()["message"] == (
        "This payment is paid. It needs no new prompt."
        if answer == "paid"
        else "This payment cannot be tried again: M-Pesa has not said yet whether it"
        " was paid. The customer must not pay again."
    )
    assert mpesa.pushes == 1


def test_409_IN_FLIGHT(bob, mpesa, order, settings):
    settings.IDEMPOTENCY_WAIT_S = 0.2
    PaymentFactory(
        order=order,
        phone="254712345678",
        status=PaymentStatus.CREATED,
        checkout_request_id=None,
        answered_at=None,
        idempotency_key="k",
        request_hash=fingerprint("stk", order.pk, "254712345678", None),
    )

    with nothing_changes():
        response = bob.post(INITIATE, asking(order, idempotencyKey="k"))

    details = refusal(response, 409, "IN_FLIGHT")
    assert details["retryAfter"] > 0
    assert response.headers["Retry-After"] == str(details["retryAfter"])
    assert mpesa.pushes == 0


# --- 502, MPESA_005, 422, 429, 503 -----------------------------------------------

REFUSALS = {
    "wrong_credentials": ("shop_account", False),
    "merchant": ("shop_account", False),
    "bad_request": ("shop_account", False),
    "no_product": ("shop_account", False),
    "busy": ("mpesa_busy", True),
    "spike_arrest": ("mpesa_busy", True),
    "quota": ("mpesa_busy", True),
    "too_many": ("mpesa_busy", True),
}


@pytest.mark.parametrize("error", REFUSALS)
def test_502_MPESA_004_push_refused(bob, mpesa, order, error):
    reason, retryable = REFUSALS[error]
    mpesa.faults(push_error=error)

    response = bob.post(INITIATE, asking(order))

    payment = Payment.objects.get()
    details = refusal(response, 502, "MPESA_004")
    assert details.pop("retryAfter") in range(1, 7)
    assert details == {
        "transactionId": str(payment.pk),
        "status": "failed",
        "retryable": retryable,
    }
    state = bob.get(f"/api/payments/mpesa/status/{payment.pk}").json()
    assert (state["status"], state["errorCode"]) == ("failed", "MPESA_004")
    assert state["retryable"] is retryable
    assert payment.failure_reason == reason
    assert path_of(payment) == ["created", "failed"]
    assert payment.next_ask_at is None
    assert money_of(order) == []
    assert sale_of(order) == ("open", 0, 250, 0)
    assert mpesa.stats()["prompts"] == 0


@pytest.mark.parametrize(
    "error", ["empty_400", "html_403", "html_503", "html_200", "busy", "reset"]
)
def test_502_MPESA_004_no_token_no_prompt(bob, mpesa, order, error):
    mpesa.faults(oauth_error=error)

    response = bob.post(INITIATE, asking(order))

    assert refusal(response, 502, "MPESA_004")["status"] == "failed"
    assert path_of(Payment.objects.get()) == ["created", "failed"]
    assert mpesa.pushes == 0


def test_502_MPESA_004_mpesa_cannot_be_reached(bob, mpesa, order, settings):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        settings.MPESA_BASE_URL = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        response = bob.post(INITIATE, asking(order))

    assert refusal(response, 502, "MPESA_004")["retryable"] is True
    assert "not asked" in response.json()["message"]
    assert path_of(Payment.objects.get()) == ["created", "failed"]


def test_MPESA_005_expired(bob, order):
    payment = PaymentFactory(
        order=order, created_at=clock.now() - timedelta(seconds=301)
    )

    assert expire_if_over(payment.pk) is True

    state = bob.get(f"/api/payments/mpesa/status/{payment.pk}").json()
    assert (state["status"], state["errorCode"]) == ("expired", "MPESA_005")
    assert (state["undecided"], state["retryable"]) == (True, False)
    assert sale_of(order) == ("open", 0, 250, 0)


@pytest.mark.parametrize(
    "other",
    [{"phoneNumber": "0712345679"}, {"amount": 250}, {"amount": 100}, {"orderId": ...}],
    ids=str,
)
def test_422_IDEMPOTENCY_MISMATCH(bob, duka, mpesa, prompt, order, other):
    prompt(bob, order, idempotencyKey="k")
    if "orderId" in other:
        other = {"orderId": str(OrderFactory(shop=duka).pk)}

    with nothing_changes():
        response = bob.post(INITIATE, asking(order, idempotencyKey="k") | other)

    assert refusal(response, 422, "IDEMPOTENCY_MISMATCH") == {}
    assert mpesa.pushes == 1


def test_422_IDEMPOTENCY_MISMATCH_of_cash(bob, prompt, mpesa, order):
    prompt(bob, order, idempotencyKey="k", amount=100)

    with nothing_changes():
        response = bob.post(cash_path(order), {"amount": 50, "idempotencyKey": "k"})

    assert refusal(response, 422, "IDEMPOTENCY_MISMATCH") == {}


def test_429_RATE_LIMITED_with_retry_after(bob, duka, mpesa, prompt, settings):
    settings.STK_RATE_PER_SHOP = "2/m"
    for number in range(2):
        prompt(bob, OrderFactory(shop=duka), f"071234560{number}")
    third = OrderFactory(shop=duka)

    with nothing_changes():
        response = bob.post(INITIATE, asking(third))

    details = refusal(response, 429, "RATE_LIMITED")
    assert details["retryAfter"] in range(1, 61)
    assert response.headers["Retry-After"] == str(details["retryAfter"])
    assert mpesa.pushes == 2


def test_429_RATE_LIMITED_counts_new_pushes_of_one_shop_only(
    bob, duka, charlie, mpesa, prompt, order, settings
):
    settings.STK_RATE_PER_SHOP = "2/m"
    prompt(bob, order, idempotencyKey="k")

    for _ in range(3):
        prompt(bob, order, idempotencyKey="k", status=200)  # the same again
        prompt(bob, order, status=200)  # open already
        bob.post(INITIATE, asking(order, phoneNumber="0722000111"))  # spoken for
    prompt(charlie, OrderFactory(shop=charlie.shop, total=99), "0733999888")
    prompt(bob, OrderFactory(shop=duka), "0722000111")

    assert mpesa.pushes == 3


def test_503_UNAVAILABLE_our_database_cannot(bob, mpesa, order):
    with nothing_changes(), database_without("payments_payment"):
        response = bob.post(INITIATE, asking(order))

    assert refusal(response, 503, "UNAVAILABLE") == {}
    assert mpesa.pushes == 0


@pytest.mark.parametrize(
    ("table", "call"),
    [
        ("shops_membership", lambda p, o: p.get("/api/orders")),
        ("auth_user", lambda p, o: p.get("/api/orders")),
        ("orders_order", lambda p, o: p.post(cash_path(o), {"amount": 250})),
        ("payments_collection", lambda p, o: p.post(cash_path(o), {"amount": 250})),
        ("orders_orderline", lambda p, o: p.get("/api/orders")),
        ("shops_product", lambda p, o: p.get("/api/products")),
        ("payments_payment", lambda p, o: p.get("/api/payments")),
    ],
)
def test_503_UNAVAILABLE_wherever_the_database_fails(
    bob, order, table, call, transactional_db
):
    with nothing_changes(), database_without(table):
        response = call(bob, order)

    assert refusal(response, 503, "UNAVAILABLE") == {}


def test_503_UNAVAILABLE_when_signing_in(bob, password, transactional_db):
    with database_without("auth_user"):
        response = Client().post(
            "/api/auth/token",
            {"username": "bob", "password": password},
            content_type="application/json",
        )

    assert refusal(response, 503, "UNAVAILABLE") == {}


def test_503_UNAVAILABLE_after_the_push_leaves_it_unknown_not_lost(
    bob, mpesa, order, monkeypatch
):
    """The answer of M-Pesa cannot be stored: the intent stands, the question is due."""
    monkeypatch.setattr(pushing, "KEEP_PAUSES_S", (0.01,))
    with database_without("payments_payment", "UPDATE"):
        response = bob.post(INITIATE, asking(order))

    refusal(response, 503, "UNAVAILABLE")
    payment = Payment.objects.get()
    assert (payment.status, payment.decided_at) == ("created", None)
    assert payment.next_ask_at is not None
    assert mpesa.pushes == 1


# --- The order of the checks -----------------------------------------------------


def test_order_of_checks_credentials_before_everything(order):
    for path in (INITIATE, cash_path(order), "/api/orders"):
        response = Client().post(path, b"{", content_type="application/json")
        refusal(response, 401, "NOT_AUTHENTICATED")


def test_order_of_checks_role_before_shape(audrey, order):
    for path in (INITIATE, cash_path(order), "/api/orders", "/api/products"):
        response = audrey.client.post(path, b"{", content_type="application/json")
        refusal(response, 403, "FORBIDDEN")


def test_order_of_checks_shop_before_shape(bob, alice, charlie):
    theirs = str(charlie.order.pk)

    for body in ({"orderId": theirs}, {"orderId": theirs, "phoneNumber": 5}):
        refusal(bob.post(INITIATE, body), 404, "NOT_FOUND")
    refusal(bob.post(cash_path(charlie.order), {}), 404, "NOT_FOUND")
    refusal(
        alice.patch(f"/api/products/{charlie.product.pk}", {"price": "x"}),
        404,
        "NOT_FOUND",
    )


def test_order_of_checks_shape_before_key(bob, mpesa, prompt, order):
    prompt(bob, order, idempotencyKey="k")

    response = bob.post(INITIATE, asking(order, idempotencyKey="k", amount="x"))
    refusal(response, 400, "INVALID_REQUEST")
    response = bob.post(INITIATE, asking(order, idempotencyKey="k", phoneNumber="x"))
    refusal(response, 400, "MPESA_001")


@pytest.mark.parametrize("amount", [0, 250_001])
def test_order_of_checks_key_before_amount_limits(bob, mpesa, prompt, order, amount):
    prompt(bob, order, idempotencyKey="k")

    response = bob.post(INITIATE, asking(order, idempotencyKey="k", amount=amount))

    refusal(response, 422, "IDEMPOTENCY_MISMATCH")


def test_order_of_checks_key_before_order_open(bob, mpesa, prompt, order):
    payment = prompt(bob, order, idempotencyKey="k")
    mpesa.pays(Client(), payment)

    again = bob.post(INITIATE, asking(order, idempotencyKey="k"))

    assert again.status_code == 200
    assert again.json()["status"] == "completed"


@pytest.mark.parametrize(("amount", "code"), [(0, "MPESA_002"), (250_001, "MPESA_003")])
def test_order_of_checks_amount_limits_before_order_open(bob, order, amount, code):
    bob.post(f"/api/orders/{order.pk}/cancel")

    refusal(bob.post(INITIATE, asking(order, amount=amount)), 400, code)


def test_order_of_checks_order_open_before_balance(bob, order):
    bob.post(f"/api/orders/{order.pk}/cancel")

    refusal(bob.post(INITIATE, asking(order, amount=251)), 409, "ORDER_NOT_OPEN")


def test_order_of_checks_balance_before_guards(bob, mpesa, prompt, order):
    prompt(bob, order)

    response = bob.post(INITIATE, asking(order, amount=251))

    refusal(response, 409, "AMOUNT_EXCEEDS_BALANCE")


def test_order_of_checks_guards_before_rate(bob, mpesa, prompt, order, settings):
    settings.STK_RATE_PER_SHOP = "1/m"
    prompt(bob, order)

    response = bob.post(INITIATE, asking(order, phoneNumber="0722000111"))

    refusal(response, 409, "MPESA_006")


def test_order_of_checks_nothing_of_it_froze_the_order(bob, order):
    for fields in ({"phoneNumber": "x"}, {"amount": 0}, {"amount": 251}):
        assert bob.post(INITIATE, asking(order) | fields).status_code in (400, 409)

    assert Order.objects.get().frozen_at is None
