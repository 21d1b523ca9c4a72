"""How often may be asked: per shop, per phone and per address, told in the contract's words."""

import pytest
from django.core.cache import cache

from payments.models import Payment
from tests.contract.test_errors import INITIATE, asking
from tests.factories import OrderFactory
from tests.support.facts import nothing_changes, refusal


pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _no_guards(settings):
    settings.PHONE_GUARD_S = settings.PHONE_GUARD_SAME_AMOUNT_S = 0
    settings.TRUSTED_PROXY_COUNT = 1
    cache.clear()


def pushed(person, phone, address="196.0.0.1", *, expecting=201):
    order = OrderFactory(shop=person.shop)
    response = person.post(
        INITIATE, asking(order, phoneNumber=phone), {"X-Forwarded-For": address}
    )
    assert response.status_code == expecting, response.json()
    return response


def limited(response):
    details = refusal(response, 429, "RATE_LIMITED")
    assert details["retryAfter"] >= 1
    assert response.headers["Retry-After"] == str(details["retryAfter"])
    return response.json()["message"], details["retryAfter"]


def test_429_for_a_phone_whichever_shop_asks(bob, charlie, mpesa, settings):
    settings.STK_RATE_PER_PHONE = "1/h"
    pushed(bob, "0712345678")

    order = OrderFactory(shop=charlie.shop)
    with nothing_changes():
        refused = charlie.post(INITIATE, asking(order, phoneNumber="+254 712 345 678"))
    words, wait_s = limited(refused)
    pushed(charlie, "0712345679")

    assert words == "This phone was asked too often. Wait, or use another phone."
    assert wait_s <= 3600
    assert mpesa.pushes == 2


def test_429_for_an_address_whichever_shop_asks(bob, charlie, mpesa, settings):
    settings.STK_RATE_PER_IP = "2/m"
    pushed(bob, "0712000001")
    pushed(charlie, "0712000002")

    words, wait_s = limited(pushed(bob, "0712000003", expecting=429))
    pushed(bob, "0712000003", "196.0.0.2")

    assert words == "Too many prompts in a short time. Wait a moment, or take cash."
    assert wait_s <= 60
    assert mpesa.pushes == 3


def test_header_that_anybody_can_write_is_no_other_address(bob, mpesa, settings):
    settings.STK_RATE_PER_IP = "1/m"
    pushed(bob, "0712000001", "6.6.6.6, 196.0.0.1")

    limited(pushed(bob, "0712000002", "7.7.7.7, 196.0.0.1", expecting=429))


def test_refusal_by_one_limit_uses_up_none_of_the_others(bob, mpesa, settings):
    settings.STK_RATE_PER_PHONE, settings.STK_RATE_PER_SHOP = "1/h", "2/m"
    pushed(bob, "0712000001")
    for _ in range(3):
        limited(pushed(bob, "0712000001", expecting=429))

    pushed(bob, "0712000002")
    limited(pushed(bob, "0712000003", expecting=429))


def test_same_key_is_answered_beyond_every_limit(bob, mpesa, settings):
    settings.STK_RATE_PER_PHONE = settings.STK_RATE_PER_IP = "1/h"
    order = OrderFactory(shop=bob.shop)
    body = asking(order, idempotencyKey="k")
    first = bob.post(INITIATE, body)

    again = bob.post(INITIATE, body)

    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json()["transactionId"] == first.json()["transactionId"]
    assert mpesa.pushes == 1


def test_till_says_it_too(bob, mpesa, settings):
    settings.STK_RATE_PER_PHONE = "1/h"
    pushed(bob, "0712345678")
    order = OrderFactory(shop=bob.shop)

    page = bob.client.post(
        f"/till/pay/{order.pk}/mpesa", {"phone": "0712345678", "amount": "100"}
    )

    assert "This phone was asked too often." in page.content.decode()
    assert Payment.objects.filter(order=order).count() == 0
