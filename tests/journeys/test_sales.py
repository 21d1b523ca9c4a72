"""A sale is paid by M-Pesa, however M-Pesa tells it."""

import pytest

from orders.models import Order
from payments.models import Collection, Notice, Payment
from tests.support.facts import money_of, sale_of
from tests.support.processes import LIMIT_S
from tests.support.simulator import wait_until


pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

PHONE = "2547001122"  # and two digits that choose what the phone does
LATER_S = 30  # by M-Pesa's clock, which the test turns


class Sale:
    """One sale of two pieces for KES 250, asked for over HTTP."""

    def __init__(self, till, product):
        self.till, self.product = till, product
        goods = till.get("/api/products", search="sukari").json()["results"]
        answer = till.post(
            "/api/orders", {"items": [{"productId": goods[0]["id"], "quantity": 2}]}
        )
        assert (answer.status_code, answer.json()["total"]) == (201, "250.00")
        self.order = Order.objects.get(pk=answer.json()["id"])

    def prompts(self, ending, status=201, phone=PHONE):
        """Ask the phone with this ending; return the answer's body."""
        answer = self.till.post(
            "/api/payments/mpesa/initiate",
            {"orderId": str(self.order.pk), "phoneNumber": phone + ending},
        )
        assert answer.status_code == status, answer.text
        return answer.json()

    def is_paid(self, asked, **state):
        """Assert that the payment is completed; return its state."""
        seen = self.till.wait_for(asked["transactionId"], "completed")
        assert (seen["undecided"], seen["message"]) == (False, "Paid.")
        assert {name: seen[name] for name in state} == state
        return seen

    def facts(self):
        """Return all that is written down about this sale and its goods."""
        self.product.refresh_from_db()
        return {
            "sale": sale_of(self.order),
            "money": money_of(self.order),
            "stock": self.product.stock,
        }


@pytest.fixture
def sale(till, product):
    return Sale(till, product)


def payment_of(asked):
    return Payment.objects.get(pk=asked["transactionId"])


def history(asked):
    """Return the payment's events: where it went, and who said so."""
    events = payment_of(asked).events.values_list("old", "new", "source")
    return [(new, source) if old != new else source for old, new, source in events]


def paid_once(source, receipt):
    return {
        "sale": ("paid", 250, 0, 0),
        "money": [(source, receipt, 250, [("sale", 250)])],
        "stock": 98,
    }


UNPAID = {"sale": ("open", 0, 250, 0), "money": [], "stock": 100}


def test_sell_prompt_pin_paid(sale, till, mpesa):
    with till.listening() as heard:
        assert heard() == {"event": "shop.state", "undecided": []}
        asked = sale.prompts("11")
        assert (asked["status"], sale.facts()) == ("pending", UNPAID)
        assert [heard()["event"], heard()["event"]] == [
            "payment.created", "payment.pending",
        ]  # fmt: skip

        prompt = mpesa.wait_for_prompt(PHONE + "11")
        assert (prompt["amount"], prompt["checkoutRequestId"]) == (
            250, asked["checkoutRequestId"],
        )  # fmt: skip
        mpesa.answer(prompt["checkoutRequestId"], "pay")

        [entry] = mpesa.ledger()
        state = sale.is_paid(asked, mpesaReceiptNumber=entry["receipt"])
        assert heard() == {"event": "payment.completed", "payment": state}
    assert sale.facts() == paid_once("callback", entry["receipt"])
    assert history(asked) == [
        ("created", "person"), ("pending", "push"), ("completed", "callback"),
    ]  # fmt: skip
    [notice] = Notice.objects.all()
    assert (notice.verdict, notice.copies) == ("applied", 1)
    [sent] = mpesa.wait_for_callbacks(asked["checkoutRequestId"])
    assert sent["status"] == 200
    assert mpesa.stats()["pushes"] == 1


def test_callback_before_the_pushs_answer(sale, mpesa):
    asked = sale.prompts("97")

    [entry] = mpesa.ledger()
    assert asked["status"] == "completed"
    sale.is_paid(
        asked,
        mpesaReceiptNumber=entry["receipt"],
        checkoutRequestId=entry["checkoutRequestId"],
    )
    assert sale.facts() == paid_once("callback", entry["receipt"])
    events = history(asked)
    assert events[:1] + events[-1:] == [
        ("created", "person"),
        ("completed", "callback"),
    ]
    assert ("pending", "push") not in events
    assert mpesa.stats()["pushes"] == 1


def test_answer_of_the_push_is_lost_then_the_callback_comes(sale, mpesa):
    mpesa.faults(auto_delay_s=LATER_S)
    asked = sale.prompts("98", status=202)
    assert (asked["status"], asked["checkoutRequestId"]) == ("created", None)
    # Nobody pushes again: the same request shows the same attempt.
    again = sale.prompts("98", status=200)
    assert again == asked | {"isIdempotent": True}
    assert sale.facts() == UNPAID

    mpesa.advance(LATER_S)
    sale.is_paid(asked)

    [entry] = mpesa.ledger()
    assert payment_of(asked).checkout_request_id == entry["checkoutRequestId"]
    assert sale.facts() == paid_once("callback", entry["receipt"])
    assert history(asked)[-1] == ("completed", "callback")
    assert mpesa.stats()["pushes"] == 1


def test_callback_is_lost_and_the_worker_asks(sale, shopfront, mpesa):
    with shopfront.worker():
        asked = sale.prompts("95")

        sale.is_paid(asked, mpesaReceiptNumber=None, resultCode="0")

    assert sale.facts() == paid_once("query", None)
    assert history(asked) == [
        ("created", "person"), ("pending", "push"), ("completed", "query"),
    ]  # fmt: skip
    assert Notice.objects.count() == 0
    # The lost one turns up after all: the receipt is filled in, nothing is added.
    [entry] = mpesa.ledger()
    mpesa.control(f"prompts/{asked['checkoutRequestId']}/callback")
    sale.is_paid(asked, mpesaReceiptNumber=entry["receipt"])
    assert sale.facts() == paid_once("query", entry["receipt"])
    assert Collection.objects.get().confirmed_at is not None
    assert mpesa.stats()["pushes"] == 1


def test_callback_is_lost_and_reconcile_finds_the_money(sale, shopfront, mpesa):
    asked = sale.prompts("95")
    wait_until(mpesa.ledger, timeout_s=LIMIT_S)

    printed = shopfront.manage("reconcile")

    assert "asked about 1, 1 decided, 0 expired" in printed
    sale.is_paid(asked, mpesaReceiptNumber=None)
    assert sale.facts() == paid_once("query", None)
    assert history(asked)[-1] == ("completed", "query")
    assert "asked about 0, 0 decided, 0 expired" in shopfront.manage("reconcile")
    assert sale.facts() == paid_once("query", None)
    assert mpesa.stats()["pushes"] == 1


def test_uncertain_failure_then_success(sale, mpesa):
    mpesa.faults(callback_failure_then_success=True, callback_success_gap_s=LATER_S)
    asked = sale.prompts("90")
    mpesa.wait_for_callbacks(asked["checkoutRequestId"], timeout_s=LIMIT_S)

    mpesa.advance(LATER_S)
    sale.is_paid(asked)

    [entry] = mpesa.ledger()
    assert sale.facts() == paid_once("callback", entry["receipt"])
    assert history(asked) == [
        ("created", "person"), ("pending", "push"), "callback",
        ("completed", "callback"),
    ]  # fmt: skip
    verdicts = Notice.objects.order_by("pk").values_list("verdict", flat=True)
    assert list(verdicts) == ["uncertain", "applied"]
    assert mpesa.stats()["pushes"] == 1


def test_certain_failure_then_success(sale, till, mpesa):
    asked = sale.prompts("11")
    prompt = f"prompts/{asked['checkoutRequestId']}"
    mpesa.control(f"{prompt}/callback", {"result_code": "1032"})
    till.wait_for(asked["transactionId"], "failed")
    assert sale.facts() == UNPAID

    mpesa.answer(asked["checkoutRequestId"], "pay")

    [entry] = mpesa.ledger()
    state = sale.is_paid(asked, mpesaReceiptNumber=entry["receipt"], errorCode=None)
    assert (state["retryable"], state["resultCode"]) == (False, "0")
    assert sale.facts() == paid_once("callback", entry["receipt"])
    assert history(asked) == [
        ("created", "person"), ("pending", "push"), ("failed", "callback"),
        ("completed", "callback"),
    ]  # fmt: skip
    assert mpesa.stats()["pushes"] == 1


def test_success_then_failure_undoes_nothing(sale, till, mpesa):
    asked = sale.prompts("90")
    sale.is_paid(asked)
    before = sale.facts()

    sent = mpesa.control(
        f"prompts/{asked['checkoutRequestId']}/callback", {"result_code": "1032"}
    )

    assert sent["status"] == 200
    sale.is_paid(asked)
    assert sale.facts() == before
    assert "1032" in payment_of(asked).alarm
    assert Notice.objects.latest("pk").verdict == "contradiction"


def test_success_after_cancel_and_cash_is_surplus(sale, till, mpesa):
    asked = sale.prompts("11")
    stopped = till.post(f"/api/payments/mpesa/cancel/{asked['transactionId']}")
    assert (stopped.status_code, stopped.json()["status"]) == (200, "cancelled")
    cash = till.post(f"/api/orders/{sale.order.pk}/pay-cash", {"amount": 300}).json()
    assert (cash["change"], cash["orderStatus"]) == (50, "paid")
    assert cash["undecided"] == [asked["transactionId"]]

    mpesa.answer(asked["checkoutRequestId"], "pay")

    [entry] = mpesa.ledger()
    sale.is_paid(asked, mpesaReceiptNumber=entry["receipt"], orderStatus="paid")
    assert sale.facts() == {
        "sale": ("paid", 250, 0, 250),
        "money": [
            ("drawer", None, 250, [("sale", 250)]),
            ("callback", entry["receipt"], 250, [("surplus", 250)]),
        ],
        "stock": 98,
    }
    assert history(asked) == [
        ("created", "person"), ("pending", "push"), ("cancelled", "person"),
        ("completed", "callback"),
    ]  # fmt: skip
    assert till.get(f"/api/orders/{sale.order.pk}").json()["surplus"] == "250.00"
    assert mpesa.stats()["pushes"] == 1


def test_success_after_the_sale_was_cancelled_is_surplus(sale, till, mpesa):
    asked = sale.prompts("11")
    assert till.post(f"/api/orders/{sale.order.pk}/cancel").status_code == 200

    mpesa.answer(asked["checkoutRequestId"], "pay")

    [entry] = mpesa.ledger()
    sale.is_paid(asked, orderStatus="cancelled")
    assert sale.facts() == {
        "sale": ("cancelled", 0, 0, 250),
        "money": [("callback", entry["receipt"], 250, [("surplus", 250)])],
        "stock": 100,
    }


def test_duplicates_are_counted_once(sale, mpesa):
    asked = sale.prompts("96")
    mpesa.wait_for_callbacks(asked["checkoutRequestId"], 2, timeout_s=LIMIT_S)

    sale.is_paid(asked)

    [entry] = mpesa.ledger()
    assert sale.facts() == paid_once("callback", entry["receipt"])
    [notice] = Notice.objects.all()
    assert (notice.copies, notice.verdict) == (2, "applied")
    assert history(asked)[-1] == ("completed", "callback")


@pytest.mark.parametrize(
    ("ending", "code"), [("91", "1032"), ("92", "1"), ("93", "2001")]
)
def test_not_paid_then_another_phone_pays(sale, till, mpesa, ending, code):
    first = sale.prompts(ending)
    state = till.wait_for(first["transactionId"], "failed")
    assert (state["resultCode"], state["retryable"]) == (code, True)
    assert sale.facts() == UNPAID

    second = sale.prompts("90", phone="2547221122")

    sale.is_paid(second)
    [entry] = mpesa.ledger()
    assert sale.facts() == paid_once("callback", entry["receipt"])
    assert till.state(first["transactionId"])["status"] == "failed"
    assert mpesa.stats()["pushes"] == 2


def test_unreachable_phone_is_uncertain_until_the_worker_has_asked(
    sale, till, shopfront, mpesa
):
    asked = sale.prompts("94")
    seen = wait_until(
        lambda: (
            state
            if (state := till.state(asked["transactionId"]))["resultCode"]
            else None
        ),
        timeout_s=LIMIT_S,
    )
    assert (seen["status"], seen["resultCode"]) == ("pending", "1037")

    with shopfront.worker():
        failed = till.wait_for(asked["transactionId"], "failed")

    assert (failed["resultCode"], failed["undecided"]) == ("1037", False)
    assert history(asked)[-1] == ("failed", "query")
    assert sale.facts() == UNPAID


def test_mpesa_is_away_and_the_sale_goes_on_in_cash(sale, till, mpesa):
    mpesa.faults(push_error="busy")
    asked = sale.till.post(
        "/api/payments/mpesa/initiate",
        {"orderId": str(sale.order.pk), "phoneNumber": PHONE + "90"},
    )
    assert (asked.status_code, asked.json()["code"]) == (502, "MPESA_004")

    cash = till.post(f"/api/orders/{sale.order.pk}/pay-cash", {"amount": 250}).json()

    assert (cash["orderStatus"], cash["undecided"]) == ("paid", [])
    assert sale.facts() == paid_once("drawer", None)
    assert mpesa.ledger() == []


def test_forged_callback_settles_nothing(sale, till, shopfront, mpesa):
    """It names everything right but the token; M-Pesa is asked, and says no."""
    asked = sale.prompts("11")
    body = {
        "Body": {
            "stkCallback": {
                "MerchantRequestID": payment_of(asked).merchant_request_id,
                "CheckoutRequestID": asked["checkoutRequestId"],
                "ResultCode": 0,
                "ResultDesc": "Paid",
                "CallbackMetadata": {
                    "Item": [
                        {"Name": "Amount", "Value": 250},
                        {"Name": "MpesaReceiptNumber", "Value": "UAE5B2K9QT"},
                    ]
                },
            }
        }
    }
    for path, status in (
        ("/api/payments/mpesa/callback", 200),
        ("/hooks/stk/" + "ab" * 32, 403),
    ):
        assert till.post(path, body).status_code == status

    shopfront.manage("reconcile")

    assert till.state(asked["transactionId"])["status"] == "pending"
    assert sale.facts() == UNPAID
    assert mpesa.stats()["queries"] == 1
