"""Clients that leave in the middle of a push take no connection with them."""

import http.client
import json
import time

import pytest

from payments.models import Payment
from shops.enums import Role
from tests.factories import PASSWORD, MembershipFactory, OrderFactory, UserFactory
from tests.support import installation
from tests.support.processes import LIMIT_S, Caller, Shopfront
from tests.support.simulator import wait_until


pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.postgres,
    pytest.mark.slow,
]

POOL, LEAVING = 2, 6
# The server ends what a client has left after so long, 10 s by default; a push with
# its token may take longer. Here both are shorter.
LEFT_S, PUSH_S = 1, 7


class ImpatientShopfront(Shopfront):
    """A web process with two connections to the database, and not one more."""

    def start(self):
        self.environment |= {"DATABASE_POOL_MIN": 1, "DATABASE_POOL_MAX": POOL}
        self.process = installation.start(
            *("-m", "daphne", "-v", "0", "-b", "127.0.0.1", "-p", str(self.port)),
            *("--application-close-timeout", str(LEFT_S)),
            "smartduka.asgi:application",
            log=self.log,
            **self.environment,
        )
        wait_until(self.is_ready, timeout_s=LIMIT_S)


@pytest.fixture
def small_shopfront(mpesa, tmp_path):
    shopfront = ImpatientShopfront(tmp_path, mpesa.url)
    shopfront.start()
    yield shopfront
    shopfront.stop()


@pytest.fixture
def till(product, small_shopfront):
    """A cashier's program, signed in at the small shop front."""
    user = UserFactory(username="till")
    MembershipFactory(user=user, shop=product.shop, role=Role.CASHIER)
    caller = Caller(small_shopfront, "till", PASSWORD)
    yield caller
    caller.close()


def begin_a_push(till, order, number):
    """Ask for a prompt and read no answer; return the connection."""
    line = http.client.HTTPConnection("127.0.0.1", till.shopfront.port, timeout=20)
    line.request(
        "POST",
        "/api/payments/mpesa/initiate",
        json.dumps({"orderId": str(order.pk), "phoneNumber": f"25471234500{number}"}),
        {
            "Content-Type": "application/json",
            "Authorization": till.http.headers["Authorization"],
        },
    )
    return line


def test_clients_that_leave_during_a_push_leave_the_pool_whole(till, product, mpesa):
    mpesa.faults(push_slow_s=PUSH_S)
    orders = [
        OrderFactory(shop=product.shop, items=[(product, 1)]) for _ in range(LEAVING)
    ]

    lines = [begin_a_push(till, order, n) for n, order in enumerate(orders)]
    wait_until(lambda: mpesa.stats()["pushes"] == LEAVING, timeout_s=LIMIT_S)
    assert not Payment.objects.filter(answered_at__isnull=False).exists()
    for line in lines:
        line.close()

    # What they began is finished all the same.
    wait_until(
        lambda: Payment.objects.filter(status="pending").count() == LEAVING,
        timeout_s=LIMIT_S,
    )
    began = time.monotonic()
    answers = [till.get("/api/payments/mpesa/pending") for _ in range(2 * POOL)]
    assert [answer.status_code for answer in answers] == [200] * 2 * POOL
    assert len(answers[0].json()["results"]) == LEAVING
    assert till.get("/readyz").status_code == 200
    # Nobody waited for a connection: that takes ten seconds.
    assert time.monotonic() - began < 8
