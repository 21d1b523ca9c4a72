"""Money goes back through M-Pesa, by hand in the books and over real HTTP."""

import re

import pytest
import requests
from django.contrib.auth.hashers import make_password

from orders.models import Order
from payments import accounts, refunds
from payments.enums import Source
from payments.gateways.daraja import Daraja
from payments.gateways.daraja_organisation import DarajaOrganisation
from payments.gateways.organisation import Initiator, ResultUrls, ReversalRequest
from payments.models import Collection, Payment, Refund
from shops.enums import Role
from smartduka.lib import clock
from tests.factories import PASSWORD, MembershipFactory, UserFactory
from tests.journeys.test_payments_by_hand import told
from tests.support.facts import sale_of
from tests.support.processes import LIMIT_S, Shopfront
from tests.support.simulator import wait_until


pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.slow,
    pytest.mark.once,
]

PHONE = "254700112290"  # pays after a moment
# M-Pesa does what it was ordered to so much later: when a test turns its clock.
QUEUE_S = 30


class Books:
    """A manager in a browser: signed in, and filling in forms of the books."""

    def __init__(self, shopfront, username):
        self.url = shopfront.url
        self.http = requests.Session()
        self.http.trust_env = False
        self.read("/login")
        answer = self.send("/login", {"username": username, "password": PASSWORD})
        assert answer.status_code in (200, 302), answer.text

    def read(self, path):
        answer = self.http.get(self.url + path, timeout=LIMIT_S)
        assert answer.status_code == 200, answer.text
        return answer.text

    def send(self, path, said):
        return self.http.post(
            self.url + path,
            said | {"csrfmiddlewaretoken": self.http.cookies["csrftoken"]},
            headers={"Referer": self.url},
            timeout=LIMIT_S,
        )

    def ask_back(self, collection):
        """Fill in the form for a reversal; return the refund."""
        form = f"/admin/payments/refund/of/{collection.pk}/"
        seen = re.search(r'name="seen" value="(\d+)"', self.read(form))[1]
        said = {"method": "reversal", "amount": 250, "reason": "Damp", "seen": seen}
        answer = self.send(form, said)
        assert answer.status_code == 200, answer.text
        return Refund.objects.get()

    def press(self, refund, button):
        answer = self.send(f"/admin/payments/refund/{refund.pk}/{button}/", {})
        assert answer.status_code == 200, answer.text
        return answer.text


@pytest.fixture
def shopfront(django_db_setup, mpesa_process, tmp_path):
    """A web process for each test: one that lives on knows the types of rows by
    numbers that the next test's emptied database has given out anew."""
    found = Shopfront(tmp_path, mpesa_process.url)
    found.start()
    yield found
    found.stop()


@pytest.fixture
def books(shopfront, product, till):
    user = UserFactory(username="meneja", password=None, is_staff=True)
    type(user).objects.filter(pk=user.pk).update(password=make_password(PASSWORD))
    MembershipFactory(user=user, shop=product.shop, role=Role.MANAGER)
    found = Books(shopfront, "meneja")
    yield found
    found.http.close()


@pytest.fixture
def paid(till, product, mpesa):
    """The collection of a sale of KES 250 that was paid by a prompt."""
    goods = till.get("/api/products", search="sukari").json()["results"]
    items = [{"productId": goods[0]["id"], "quantity": 2}]
    order = till.post("/api/orders", {"items": items}).json()
    asked = till.post(
        "/api/payments/mpesa/initiate",
        {"orderId": order["id"], "phoneNumber": PHONE},
    )
    assert asked.status_code == 201, asked.text
    till.wait_for(asked.json()["transactionId"], "completed")
    return Collection.objects.get()


@pytest.fixture
def mpesa(mpesa):
    mpesa.faults(initiator_delay_s=QUEUE_S)
    return mpesa


def carry_out(mpesa):
    """Let M-Pesa do what it was ordered to; our own request was answered by then."""
    mpesa.advance(QUEUE_S)


def reaches(refund, state):
    """Wait until the refund has this state; return it."""

    def look():
        refund.refresh_from_db()
        return refund.state == state

    wait_until(look, timeout_s=LIMIT_S)
    return refund


def facts(collection):
    collection.refresh_from_db()
    order = Order.objects.get()
    return (
        sale_of(order),
        order.refunded,
        Payment.objects.get().status,
        collection.reversed_at is not None,
    )


KEPT = (("paid", 250, 0, 0), 0, "completed", False)
GONE = (("refunded", 250, 0, 0), 250, "reversed", True)


def reversals_at(mpesa):
    return [one for one in mpesa.ledger() if one["kind"] == "reversal"]


def test_a_reversal_is_done(books, paid, mpesa):
    refund = books.ask_back(paid)
    carry_out(mpesa)
    reaches(refund, "done")

    [entry] = reversals_at(mpesa)
    assert (refund.receipt, entry["amount"]) == (entry["receipt"], 250)
    assert facts(paid) == GONE
    [notice] = told("result")
    assert (notice.verdict, notice.request) == ("applied", refund.request)
    assert refund.request.state == "answered"


def test_a_result_that_is_lost_is_healed_by_a_question(books, paid, mpesa):
    mpesa.faults(result_drop={"value": True, "times": 1})
    refund = books.ask_back(paid)
    carry_out(mpesa)
    wait_until(lambda: reversals_at(mpesa), timeout_s=LIMIT_S)
    assert (reaches(refund, "sending").receipt, facts(paid)) == ("", KEPT)

    assert "M-Pesa is asked." in books.press(refund, "question")
    carry_out(mpesa)

    [entry] = reversals_at(mpesa)
    assert reaches(refund, "done").receipt == entry["receipt"]
    assert facts(paid) == GONE


def test_a_lost_answer_is_unknown_until_the_result_comes(books, paid, mpesa):
    mpesa.faults(
        initiator_error={"value": "reset", "times": 1},
        initiator_error_after_accept=True,
    )
    refund = books.ask_back(paid)
    assert (refund.state, facts(paid)) == ("unknown", KEPT)

    carry_out(mpesa)
    reaches(refund, "done")

    assert facts(paid) == GONE
    assert len(reversals_at(mpesa)) == 1


def test_money_that_was_sent_back_before_waits_for_proof(
    books, paid, mpesa, settings, shopfront
):
    """R000001: it was reversed elsewhere, and only a statement shows when."""
    settings.MPESA_BASE_URL = mpesa.url
    reverse_elsewhere(paid, shopfront)
    carry_out(mpesa)
    [entry] = wait_until(lambda: reversals_at(mpesa), timeout_s=LIMIT_S)

    refund = books.ask_back(paid)
    carry_out(mpesa)
    reaches(refund, "unknown")

    assert (refund.request.result_code, facts(paid)) == ("R000001", KEPT)
    with pytest.raises(refunds.RefundInTheWay):
        refunds.ask(
            access=refunds.Access(refund.asked_by, paid.shop, "manager"),
            collection_id=paid.pk, method="cash", amount=250, reason="x",
            restocks=False,
        )  # fmt: skip
    refunds.prove_reversed(
        paid, receipt=entry["receipt"], source=Source.STATEMENT, at=clock.now()
    )
    assert reaches(refund, "done").receipt == entry["receipt"]
    assert facts(paid) == GONE
    assert len(reversals_at(mpesa)) == 1


def reverse_elsewhere(collection, shopfront):
    """Send it back without telling this installation, as M-Pesa's portal would."""
    account, daraja = accounts.platform_account(), Daraja()
    organisation = DarajaOrganisation(daraja)
    address = f"{shopfront.url}/hooks/result/{'0' * 64}"
    organisation.reverse(
        accounts.credentials(account),
        Initiator(
            account.initiator_name,
            account.initiator_password,
            organisation.certificate(limit_s=LIMIT_S),
        ),
        ReversalRequest(ResultUrls(address, address), collection.receipt, 250),
        limit_s=LIMIT_S,
    )
    daraja._session.close()


def test_too_little_money_frees_it(books, paid, mpesa):
    mpesa.control("sweep", {"shortcode": "600100"})

    refund = books.ask_back(paid)
    carry_out(mpesa)
    reaches(refund, "failed")

    assert "too little money" in refund.why_failed
    assert facts(paid) == KEPT
    assert reversals_at(mpesa) == []
