from __future__ import annotations

import re
from urllib.parse import quote

import pytest
import requests

from tests.payments.simulator.conftest import PHONE
from tests.support.simulator import wait_until


def page(simulator, path):
    return requests.get(f"{simulator.url}{path}", timeout=5)


def press(simulator, checkout_id, key, pin="", phone=PHONE):
    body = {"checkoutRequestId": checkout_id, "key": key, "pin": pin}
    return requests.post(f"{simulator.url}/phone/{phone}/press", json=body, timeout=5)


@pytest.mark.parametrize("path", ["/", f"/phone/{PHONE}", "/log", "/phone/12"])
def test_pages_carry_a_strict_policy_and_nothing_inline(simulator, merchant, path):
    merchant.pushed()

    response = page(simulator, path)

    policy = response.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "style=" not in response.text
    assert not re.search(r"\son\w+=", response.text)
    assert "<style" not in response.text
    scripts = re.findall(r"<script([^>]*)>([^<]*)</script>", response.text)
    assert all("src=" in attributes and not text for attributes, text in scripts)
    for asset in re.findall(r'(?:href|src)="(/static/[^"]+)"', response.text):
        assert page(simulator, asset).status_code == 200


@pytest.mark.parametrize(
    "text",
    ["0712345678", "0712 345 678", "712345678", PHONE, f"+{PHONE}", "0712-345-678"],
)
def test_phone_is_found_by_any_spelling(simulator, text):
    response = page(simulator, f"/phone/{quote(text)}")

    assert response.status_code == 200
    assert f'data-number="{PHONE}"' in response.text
    assert "0712 345 678" in response.text


@pytest.mark.parametrize("text", ["0110345678", "254110345678"])
def test_numbers_that_begin_with_01_are_phones_too(simulator, text):
    response = page(simulator, f"/phone/{text}")

    assert 'data-number="254110345678"' in response.text


@pytest.mark.parametrize("text", ["12", "0812345678", "+255712345678", "<b>"])
def test_what_is_no_number_is_told(simulator, text):
    response = page(simulator, f"/phone/{quote(text)}")

    assert response.status_code == 404
    assert "not a Kenyan mobile number" in response.text
    assert "<b>" not in response.text.split("<main")[1].split("</h1>")[0]


def test_typed_number_leads_to_its_phone(simulator):
    response = page(simulator, "/phone?number=0712+345+678")

    assert response.url == f"{simulator.url}/phone/{PHONE}"
    assert page(simulator, "/phone?number=x").status_code == 404


def test_phone_shows_the_question_of_a_paybill_and_of_a_till(simulator, merchant, till):
    merchant.pushed(Amount=1390)
    till.pushed(phone="254712345679")

    def question(phone):
        return page(simulator, f"/phone/{phone}/state").json()["prompt"]["question"]

    assert question("0712345678") == (
        "Do you want to pay KES 1,390 to SMARTDUKA Account no. K7Q2M9?"
    )
    assert question("0712345679") == "Do you want to pay KES 250 to DUKA TILL?"


def test_pin_pays_and_the_message_brings_the_receipt(simulator, merchant, receiver):
    checkout_id = merchant.pushed()

    state = press(simulator, checkout_id, "send", "1234").json()

    receipt = receiver.wait_for()[0].metadata["MpesaReceiptNumber"]
    assert state["prompt"] is None
    assert state["balance"] == 49_750
    (message,) = state["messages"]
    assert message["text"].startswith(
        f"{receipt} Confirmed. Ksh250.00 sent to SMARTDUKA for account K7Q2M9 on "
    )
    assert "New M-PESA balance is Ksh49,750.00." in message["text"]


@pytest.mark.parametrize(
    ("key", "pin", "status"),
    [
        ("send", "0000", "wrong-pin"),
        ("cancel", "", "cancelled"),
        ("no-balance", "", "no-balance"),
        ("phone-off", "", "unreachable"),
        ("ignore", "", "ignored"),
    ],
)
def test_other_keys_end_without_payment(simulator, merchant, key, pin, status):
    checkout_id = merchant.pushed()

    state = press(simulator, checkout_id, key, pin).json()

    assert simulator.prompt(checkout_id)["status"] == status
    assert state["prompt"] is None
    assert state["balance"] == 50_000


@pytest.mark.parametrize("pin", ["", "12", "12345", "abcd", "١٢٣٤"])
def test_pin_of_another_form_is_asked_for_again(simulator, merchant, pin):
    checkout_id = merchant.pushed()

    response = press(simulator, checkout_id, "send", pin)

    assert response.status_code == 400
    assert simulator.prompt(checkout_id)["status"] == "open"


def test_press_on_a_prompt_that_has_gone_does_nothing(simulator, merchant):
    old = merchant.pushed()
    simulator.answer(old, "cancel")
    new = merchant.pushed()

    assert press(simulator, old, "send", "1234").status_code == 409
    assert press(simulator, new, "send", "1234", phone="0712345679").status_code == 404
    assert simulator.prompt(new)["status"] == "open"


def test_top_up_adds_fifty_thousand(simulator):
    response = requests.post(f"{simulator.url}/phone/{PHONE}/top-up", timeout=5)

    assert response.json()["balance"] == 100_000


def test_index_lists_phones_merchants_and_switches(simulator, merchant):
    merchant.pushed()
    simulator.faults(push_slow_s=0.01)

    text = page(simulator, "/").text

    assert f'href="/phone/{PHONE}"' in text
    assert "prompt open" in text
    assert "sim-platform-key" in text
    assert "push_slow_s" in text


def test_log_shows_both_ways_newest_first_without_secrets(
    simulator, merchant, receiver
):
    secret = "8c1f0e5b2a7d4c3e9f60718293a4b5c6"
    merchant._token = None
    checkout_id = merchant.pushed(CallBackURL=f"{receiver.url}/hooks/stk/{secret}")
    simulator.answer(checkout_id, "pay")
    # The push's own body names the address too: wait for the callback's entry.
    wait_until(
        lambda: page(simulator, "/log/entries").text.count('class="target"') == 3
    )

    text = page(simulator, "/log").text

    assert [
        text.index(path) > 0
        for path in ("/hooks/stk/", "/mpesa/stkpush/v1/processrequest", "/oauth/v1/")
    ] == [True, True, True]
    targets = re.findall(r'class="target">(\S+ \S+)<', text)
    assert [target.split("?")[0].split("/", 1)[1] for target in targets] == [
        targets[0].split("/", 1)[1],
        "mpesa/stkpush/v1/processrequest",
        "oauth/v1/generate",
    ]
    body = merchant.push_body()
    assert receiver.posted[0].path == f"/hooks/stk/{secret}"
    for hidden in (secret, merchant.token, body["Password"][:40], merchant.passkey):
        assert hidden not in text
    assert checkout_id in text


def test_log_cuts_the_address_out_of_an_error_too(simulator, merchant):
    secret = "8c1f0e5b2a7d4c3e9f60718293a4b5c6"
    checkout_id = merchant.pushed(CallBackURL=f"http://127.0.0.1:9/hooks/{secret}")
    simulator.answer(checkout_id, "cancel")
    simulator.wait_for_callbacks(checkout_id)
    wait_until(lambda: "ConnectionError" in page(simulator, "/log").text)

    assert secret not in page(simulator, "/log").text


def test_log_page_asks_only_for_what_is_new(simulator, merchant):
    merchant.pushed()
    newest = simulator.get("journal")["journal"][0]["number"]

    assert "entry" not in page(simulator, f"/log/entries?after={newest}").text
    merchant.push()
    assert page(simulator, f"/log/entries?after={newest}").text.count("<details") == 1


def test_lost_answer_is_in_the_log_as_none(simulator, merchant):
    with pytest.raises(requests.ConnectionError):
        merchant.push(phone="254700112298")

    newest = simulator.get("journal")["journal"][0]
    assert (newest["direction"], newest["status"]) == ("in", 0)
    assert "no answer" in page(simulator, "/log").text
