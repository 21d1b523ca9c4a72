"""Paid at the till: the offer, the code box, and the money that a manager sorts."""

import html
import json
import re
from datetime import UTC, datetime, timedelta

import pytest
from django.db import transaction

from orders.models import Order
from payments import accounts, code_box, drawer, ledger, matching, receipts
from payments.enums import Source
from payments.gateways.base import Answered, QueryAnswer
from payments.models import CodeClaim, Collection, MpesaSettings, Payment, Refund
from payments.receipts import Told
from smartduka.lib import clock
from tests.factories import MpesaAccountFactory, OrderFactory, PaymentFactory
from tests.support.facts import kes, nothing_changes, sale_of


pytestmark = pytest.mark.django_db

CODE, OTHER = "UAE5B2K9QT", "UAE5B2K9QU"
SMS = (
    f"{CODE} Confirmed. Ksh250.00 paid to MAMA MBOGA. on 21/11/26 at 7:05 AM."
    " New M-PESA balance is Ksh1,234.00."
)
SORT = "/till/pay/sort"


@pytest.fixture(autouse=True)
def _quiet(mpesa):
    return mpesa


@pytest.fixture
def account(duka):
    """The shop's own till."""
    account = MpesaAccountFactory(
        shop=duka, type="till", shortcode="600300", party_b="300300"
    )
    MpesaSettings.objects.update_or_create(
        shop=duka, defaults={"account": account, "uses_platform_account": False}
    )
    return account


@pytest.fixture
def order(duka):
    """An open sale of KES 250."""
    return OrderFactory(shop=duka)


def arrive(account, number=CODE, amount=250, source=Source.PULL):
    """Money comes by hand."""
    with transaction.atomic():
        told = Told(number, kes(amount), "2547 ***** 678", "JANE")
        receipt = receipts.sight(account, told, source)
    matching.resolve(receipt.pk)
    receipt.refresh_from_db()
    return receipt


def post(person, path, **typed):
    return person.client.post(f"/till/pay/{path}", typed)


def again_of(sheet):
    """The address at which an open sheet looks for something new."""
    url = html.unescape(re.search(r'data-url="([^"]+)"', sheet)[1])
    seen = re.search(r'data-seen="(\w+)"', sheet)[1]
    return f"{url}{'&' if '?' in url else '?'}seen={seen}"


def press_of(sheet, **typed):
    """What a browser sends for the offer of a sheet on which this is typed."""
    button = re.search(r'<button[^>]* id="accept"[^>]*>', sheet)[0]
    sent = json.loads(html.unescape(re.search(r"hx-vals='([^']*)'", button)[1]))
    if 'hx-include="#panel [data-form]"' in button:
        form = re.search(r"<form[^>]* data-form=.*?</form>", sheet, re.DOTALL)
        for field in re.findall(r"<input[^>]*>", form[0] if form else ""):
            name = re.search(r' name="(\w+)"', field)[1]
            sent[name] = re.search(r' value="([^"]*)"', field)[1]
    piece = re.search(r' value="([^"]*)"', button)[1]
    return sent | typed | {"piece": piece}


def text_of(response):
    return " ".join(re.sub(r"<[^>]+>", " ", response.content.decode()).split())


# The offer.


def test_money_that_came_is_offered_with_one_key(bob, account, order):
    piece = f"collection:{arrive(account).collection_id}"

    sheet = bob.get(f"/till/pay/{order.pk}").content.decode()

    assert f'value="{piece}"' in sheet
    assert 'data-key="Alt+4"' in sheet
    assert "KES 250 from 2547 ••• 678" in re.sub(r"<[^>]+>", "", sheet)
    answer = post(bob, f"{order.pk}/offer", piece=piece)
    assert 'data-state="paid"' in answer.content.decode()
    assert sale_of(order)[0] == "paid"


def test_an_open_sheet_learns_of_money_that_comes(bob, account, order):
    sheet = bob.get(f"/till/pay/{order.pk}").content.decode()
    seen = re.search(r'data-seen="(\w+)"', sheet)[1]
    path = f"/till/pay/{order.pk}?method=mpesa"
    assert 'data-refresh-in="4"' in sheet
    assert bob.get(path, {"seen": seen, "method": "mpesa"}).status_code == 204

    arrive(account)

    fresh = bob.get(path, {"seen": seen, "method": "mpesa"})
    assert fresh.status_code == 200
    assert 'id="offer"' in fresh.content.decode()


def test_money_that_is_not_offered_is_refused_in_words(bob, account, order):
    piece = f"collection:{arrive(account, amount=90).collection_id}"

    with nothing_changes():
        answer = post(bob, f"{order.pk}/offer", piece=piece)

    assert answer.status_code == 409
    assert "not offered to this sale any more" in text_of(answer)


@pytest.fixture
def used_elsewhere(mary, account, duka):
    """The money of an offer goes to another sale, behind the back of a sheet."""

    def use():
        other = OrderFactory(shop=duka, total=90)
        assert post(mary, f"{other.pk}/code/use", number=CODE).status_code == 200

    return use


@pytest.mark.parametrize(
    ("method", "typed", "shown"),
    [
        ("cash", {"amount": "1000"}, 'id="given" name="amount" value="1000"'),
        ("mpesa", {"phone": "0722 000 111"}, 'name="phone" value="0722 000 111"'),
        ("mpesa", {"amount": "100"}, 'id="part" name="amount" value="100"'),
        ("code", {"text": "UAE5"}, 'name="text" value="UAE5"'),
    ],
)
def test_an_offer_that_is_refused_leaves_the_form_as_it_was(
    bob, account, order, used_elsewhere, method, typed, shown
):
    arrive(account)
    sheet = bob.get(f"/till/pay/{order.pk}", {"method": method}).content.decode()
    sent = press_of(sheet, **typed)
    used_elsewhere()

    answer = post(bob, f"{order.pk}/offer", **sent)

    page = answer.content.decode()
    assert (answer.status_code, f'data-state="{method}"' in page) == (409, True)
    assert "not offered to this sale any more" in text_of(answer)
    assert shown in page
    # It is the offer that was refused, not what was typed.
    assert "aria-invalid" not in page
    if method != "code":
        assert f'name="key" value="{sent["key"]}"' in page


@pytest.mark.parametrize("state", ["waiting", "unknown", "failed", "reversed", "part"])
def test_an_offer_that_is_refused_leaves_the_sheet_of_the_payment(
    bob, account, duka, used_elsewhere, state
):
    now = clock.now()
    facts = {
        "waiting": {},
        "unknown": {"created_at": now - timedelta(seconds=130)},
        "failed": {"status": "failed", "failure_reason": "wrong_pin"},
        "reversed": {"status": "reversed", "completed_at": now},
        "part": {"status": "completed", "completed_at": now},
    }[state]
    if "status" in facts:
        facts |= {"decided_at": now, "next_ask_at": None}
    order = OrderFactory(shop=duka, total=250)
    arrive(account)
    payment = PaymentFactory(order=order, phone="254722000111", **facts)
    # The newest one is not the one that is looked at; its phone makes the offer.
    PaymentFactory(
        order=order, phone="254712345678", status="failed", failure_reason="wrong_pin",
        decided_at=now, next_ask_at=None,
    )  # fmt: skip
    path = f"/till/pay/{order.pk}"
    sheet = bob.get(path, {"payment": str(payment.pk)}).content.decode()
    assert f'data-state="{state}"' in sheet
    sent = press_of(sheet)
    used_elsewhere()

    answer = post(bob, f"{order.pk}/offer", **sent)

    page = answer.content.decode()
    assert (answer.status_code, f'data-state="{state}"' in page) == (409, True)
    assert f'data-url="{path}?payment={payment.pk}"' in page
    assert "not offered to this sale any more" in text_of(answer)


def test_an_offer_that_is_refused_leaves_what_is_known_of_a_code(
    bob, account, order, used_elsewhere
):
    arrive(account)
    sheet = post(bob, f"{order.pk}/code", text=OTHER).content.decode()
    sent = press_of(sheet)
    used_elsewhere()

    answer = post(bob, f"{order.pk}/offer", **sent)

    assert f'value="{OTHER}"' in answer.content.decode()
    assert "Not found yet" in text_of(answer)
    assert "not offered to this sale any more" in text_of(answer)


def test_money_that_two_sales_may_mean_is_no_ones_by_one_key(
    bob, mary, account, order, duka
):
    other = OrderFactory(shop=duka, actor=mary.user)
    piece = f"collection:{arrive(account).collection_id}"

    sheet = bob.get(f"/till/pay/{order.pk}")

    told = text_of(sheet)
    assert f"The same amount is open for: sale {other.number} · mary" in told
    assert "message first: whose money is it?" in told
    assert "I looked: it is this sale" in told
    assert "Alt+4" not in sheet.content.decode()
    path = f"{order.pk}/offer"
    with nothing_changes():
        # Another till's page, that was loaded before the other sale was there.
        refused = post(bob, path, piece=piece, beside="")
    assert refused.status_code == 409
    assert "Another open sale needs the same amount by now." in text_of(refused)
    assert f"sale {other.number} · mary" in text_of(refused)
    done = post(bob, path, piece=piece, beside=f"{other.number}")
    assert 'data-state="paid"' in done.content.decode()


def test_two_payments_alike_are_listed_by_their_codes(bob, account, order):
    arrive(account, CODE)
    arrive(account, OTHER)

    sheet = bob.get(f"/till/pay/{order.pk}")

    told = text_of(sheet)
    assert "2 payments of KES 250 came by hand" in told
    assert re.search(rf"{OTHER} 2547 ••• 678 · \d\d:\d\d", told)
    assert "Alt+4" not in sheet.content.decode()


def test_an_open_sheet_learns_of_another_sale_of_the_amount(bob, account, order, duka):
    arrive(account)
    path = f"/till/pay/{order.pk}?method=mpesa"
    sheet = bob.get(path).content.decode()
    assert "Alt+4" in sheet
    seen = re.search(r'data-seen="(\w+)"', sheet)[1]
    assert bob.get(path, {"seen": seen, "method": "mpesa"}).status_code == 204

    OrderFactory(shop=duka)

    fresh = bob.get(path, {"seen": seen, "method": "mpesa"})
    assert (fresh.status_code, "Alt+4" in fresh.content.decode()) == (200, False)


@pytest.mark.parametrize("beside", ["x", "-1,,²", "9" * 400])
def test_nonsense_beside_an_offer_is_nobodys_number(bob, account, order, beside):
    piece = f"collection:{arrive(account).collection_id}"

    answer = post(bob, f"{order.pk}/offer", piece=piece, beside=beside)

    assert 'data-state="paid"' in answer.content.decode()


def test_an_auditor_is_offered_nothing(audrey, account, order):
    arrive(account)

    assert 'id="offer"' not in audrey.get(f"/till/pay/{order.pk}").content.decode()
    assert post(audrey, f"{order.pk}/code", text=CODE).status_code == 403


# The code box.


@pytest.mark.parametrize(
    "typed", [CODE, CODE.lower(), SMS], ids=["code", "small", "sms"]
)
def test_a_genuine_code_pays_with_one_more_press(bob, account, order, typed):
    arrive(account)

    found = post(bob, f"{order.pk}/code", text=typed)

    assert "KES 250 · genuine and free" in text_of(found)
    assert 'id="offer"' not in found.content.decode()
    assert "It is just what this sale needs." in text_of(found)
    assert sale_of(order)[0] == "open"
    number = re.search(r'name="number" value="(\w+)"', found.content.decode())[1]
    paid = post(bob, f"{order.pk}/code/use", number=number)
    assert 'data-state="paid"' in paid.content.decode()
    assert f">{CODE}<" in paid.content.decode()
    assert "Paid by hand to the till" in text_of(paid)


@pytest.mark.parametrize("number", ["UKSH1B2C3D", "UAMPESA1X2"])
def test_a_code_that_holds_a_word_of_the_message_pays(bob, account, order, number):
    arrive(account, number)

    found = post(bob, f"{order.pk}/code", text=SMS.replace(CODE, number))

    posted = re.search(r'name="number" value="(\w+)"', found.content.decode())[1]
    paid = post(bob, f"{order.pk}/code/use", number=posted)
    assert (posted, paid.status_code) == (number, 200)
    assert sale_of(order)[0] == "paid"


@pytest.mark.parametrize(
    ("amount", "told"),
    [
        (200, "KES 50 is still to pay after it."),
        (300, "What is too much is kept apart: KES 50"),
    ],
)
def test_another_amount_is_told(bob, account, order, amount, told):
    arrive(account, amount=amount)

    found = text_of(post(bob, f"{order.pk}/code", text=SMS))

    assert told in found
    assert f"The message says KES 250, but M-Pesa says KES {amount}" in found


def test_a_used_code_says_where_by_whom_and_when(bob, mary, account, order, duka):
    arrive(account)
    post(mary, f"{order.pk}/code/use", number=CODE)
    other = OrderFactory(shop=duka)

    with nothing_changes():
        found = post(bob, f"{other.pk}/code", text=CODE)

    assert re.search(
        rf"Used already Sale {order.number} · mary · \d\d/\d\d/\d{{4}}", text_of(found)
    )
    assert "use-code" not in found.content.decode()


def test_a_code_of_another_shop_is_only_used(bob, account, order, charlie):
    theirs = MpesaSettings.objects.get(shop=charlie.shop).account
    arrive(theirs)
    charlies = OrderFactory(shop=charlie.shop)
    post(charlie, f"{charlies.pk}/code/use", number=CODE)

    found = text_of(post(bob, f"{order.pk}/code", text=CODE))

    assert "This code is used already" in found
    assert "charlie" not in found
    assert "Jirani" not in found


def test_an_unknown_code_waits_is_shown_and_is_taken_back(bob, account, order):
    found = post(bob, f"{order.pk}/code", text=CODE)

    claim = CodeClaim.objects.get()
    assert "Not found yet" in text_of(found)
    assert f"{CODE} Take back" in text_of(found)
    assert "waits for M-Pesa" not in text_of(found)
    assert sale_of(order) == ("open", 0, kes(250), 0)
    elsewhere = text_of(bob.get(f"/till/pay/{order.pk}"))
    assert f"{CODE} waits for M-Pesa" in elsewhere

    back = post(bob, f"code/{claim.pk}/withdraw")
    assert "waits for M-Pesa" not in text_of(back)
    claim.refresh_from_db()
    assert claim.state == "withdrawn"


def test_an_open_sheet_looks_again_by_itself_until_mpesa_answered(
    bob, account, order, monkeypatch
):
    account.initiator_name, account.initiator_password = "till", "secret"
    account.save()
    sheet = post(bob, f"{order.pk}/code", text=CODE).content.decode()
    assert "Not found yet, asking M-Pesa" in sheet
    assert 'data-every="2"' in sheet
    path = again_of(sheet)
    assert bob.get(path).status_code == 204

    monkeypatch.setattr(code_box, "ASKING_S", 0)

    fresh = bob.get(path)
    assert fresh.status_code == 200
    assert "Not found yet" in text_of(fresh)
    assert "asking M-Pesa" not in text_of(fresh)
    assert "data-every" not in fresh.content.decode()
    assert 'data-refresh-in="4"' in fresh.content.decode()


def test_an_open_sheet_learns_that_mpesa_does_not_know_the_code(bob, account, order):
    path = again_of(post(bob, f"{order.pk}/code", text=CODE).content.decode())
    CodeClaim.objects.update(
        state="denied", why="M-Pesa does not know this code. Look at the SMS again."
    )

    fresh = bob.get(path)

    assert fresh.content.decode().count("M-Pesa does not know this code.") == 1
    assert "Ask the customer for another message" in text_of(fresh)
    assert "data-every" not in fresh.content.decode()


def test_an_open_sheet_learns_that_the_money_is_gone(bob, mary, account, order, duka):
    arrive(account)
    sheet = post(bob, f"{order.pk}/code", text=CODE).content.decode()
    assert 'id="use-code"' in sheet
    other = OrderFactory(shop=duka)
    post(mary, f"{other.pk}/code/use", number=CODE)

    fresh = bob.get(again_of(sheet))

    assert f"Used already Sale {other.number} · mary" in text_of(fresh)
    assert "use-code" not in fresh.content.decode()


@pytest.mark.parametrize("mark", ["x", "é" * 900, "a:b:c"])
def test_a_mark_of_nonsense_shows_the_empty_box(bob, account, order, mark):
    sheet = bob.get(f"/till/pay/{order.pk}", {"method": "code", "again": mark})

    assert (sheet.status_code, 'id="found"' in sheet.content.decode()) == (200, False)


def test_evidence_turns_the_open_sheet_green(bob, account, order):
    sheet = post(bob, f"{order.pk}/code", text=CODE).content.decode()

    arrive(account)

    fresh = bob.get(again_of(sheet))
    assert 'data-state="paid"' in fresh.content.decode()


def test_a_denied_code_says_why(bob, account, order):
    post(bob, f"{order.pk}/code", text=CODE)
    CodeClaim.objects.update(state="denied", why="This payment went to somebody else.")

    sheet = text_of(bob.get(f"/till/pay/{order.pk}"))

    assert f"{CODE} This payment went to somebody else." in sheet


@pytest.mark.parametrize("typed", ["", "hello", "0712345678", "x" * 5000])
def test_what_is_no_code_is_refused_and_kept(bob, account, order, typed):
    with nothing_changes():
        answer = post(bob, f"{order.pk}/code", text=typed)

    assert answer.status_code == 400
    assert 'aria-invalid="true"' in answer.content.decode()
    assert 'data-state="code"' in answer.content.decode()


def test_other_spellings_are_offered_never_tried(bob, account, order):
    arrive(account, number="UAE5B2K0QT")

    found = post(bob, f"{order.pk}/code", text="UAE5B2KOQT").content.decode()

    assert 'name="text" value="UAE5B2K0QT"' in found
    assert sale_of(order)[0] == "open"


def test_the_box_is_said_in_swahili(bob, account, order):
    bob.client.post("/till/language", {"language": "sw", "next": "/till/"})

    found = text_of(post(bob, f"{order.pk}/code", text=CODE))

    assert "Bado haijapatikana" in found
    assert f"{CODE} Iondoe" in found
    assert "Not found" not in found


def test_a_code_on_the_shared_account_waits_for_the_operator(
    bob, duka, order, operator
):
    platform = accounts.account_of(duka)
    post(bob, f"{order.pk}/code", text=CODE)

    receipt = arrive(platform, number=CODE)

    sheet = text_of(bob.get(f"/till/pay/{order.pk}"))
    assert f"{CODE} waits for M-Pesa" in sheet
    assert sale_of(order)[0] == "open"
    drawer.hand_to_shop(operator.user, receipt.collection, duka)
    assert sale_of(order)[0] == "paid"


# Money to sort.


def test_a_manager_sees_what_is_free(mary, account):
    arrive(account)
    arrive(account, number=OTHER, amount=90, source=Source.C2B)

    page = text_of(mary.get(SORT))

    assert "2 pieces of money · KES 340" in page
    assert "KES 250 Not matched" in page
    assert "KES 90 Not confirmed" in page
    assert CODE in page
    assert mary.get("/till/").content.decode().count(SORT) == 1


def test_cashiers_and_other_shops_see_nothing(bob, audrey, charlie, account):
    piece = f"collection:{arrive(account).collection_id}"

    for person in (bob, audrey):
        assert person.get(SORT).status_code == 403
        assert post(person, "sort/pay", piece=piece, sale="1").status_code == 403
        assert SORT not in person.get("/till/").content.decode()
    assert CODE not in charlie.get(SORT).content.decode()
    with nothing_changes():
        answer = post(charlie, "sort/keep", piece=piece, customer="Jane", reason="?")
    assert answer.status_code == 404


def test_a_piece_pays_a_sale_by_its_number(mary, account, order):
    piece = f"collection:{arrive(account).collection_id}"

    answer = post(mary, "sort/pay", piece=piece, sale=order.number, reason="Her SMS")

    assert answer.url == SORT
    assert sale_of(order) == ("paid", kes(250), 0, 0)
    assert ledger.current().get().reason.startswith("Her SMS")
    page = text_of(mary.get(SORT))
    assert f"KES 250 paid sale {order.number}." in page
    assert "Nothing to sort" in page


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Answered.FINAL, "M-Pesa was asked first: KES 40 more arrived."),
        (Answered.PENDING, "A prompt of this sale is still undecided: KES 40."),
    ],
)
def test_paying_a_sale_says_what_was_learned_of_its_prompts(
    mary, account, order, mpesa, answer, said
):
    piece = f"collection:{arrive(account).collection_id}"
    PaymentFactory(order=order, amount=40, phone="254722000111")
    mpesa.answer = QueryAnswer(answer, "0")

    post(mary, "sort/pay", piece=piece, sale=order.number, reason="Her SMS")

    assert sale_of(order)[0] == "paid"
    page = mary.get(SORT)
    assert f"KES 250 paid sale {order.number}." in text_of(page)
    assert re.search(rf'class="note wait"[^>]*><b>{said}', page.content.decode())


@pytest.mark.parametrize("sale", ["", "x", "99999", "-1", "1" * 30])
def test_a_sale_that_is_not_there_is_told_at_the_piece(mary, account, sale):
    piece = f"collection:{arrive(account).collection_id}"

    with nothing_changes():
        answer = post(
            mary, "sort/pay", piece=piece, sale=sale, reason="Why not", act="pay"
        )

    assert answer.status_code == 404
    assert "There is no sale with this number" in text_of(answer)
    assert 'value="Why not"' in answer.content.decode()
    assert answer.content.decode().count(" open>") == 1


def test_a_reason_is_asked_for(mary, account, order):
    piece = f"collection:{arrive(account).collection_id}"

    with nothing_changes():
        answer = post(mary, "sort/pay", piece=piece, sale=order.number, reason=" ")

    assert answer.status_code == 400
    assert "Say why." in text_of(answer)


def test_a_piece_is_kept_as_credit_and_spent(mary, account, order):
    piece = f"collection:{arrive(account).collection_id}"

    post(mary, "sort/keep", piece=piece, customer="Jane W.", reason="She comes back")

    credit = ledger.current().get()
    assert (credit.kind, credit.customer) == ("credit", "Jane W.")
    assert "Jane W." in text_of(mary.get(SORT))
    post(
        mary,
        "sort/pay",
        piece=f"allocation:{credit.pk}",
        sale=order.number,
        reason="Hers",
    )
    assert sale_of(order)[0] == "paid"


def test_what_is_typed_is_kept_without_what_no_database_keeps(mary, account):
    piece = f"collection:{arrive(account).collection_id}"

    kept = post(mary, "sort/keep", piece=piece, customer="Ja\0ne", reason="Her\0s")

    assert kept.status_code == 302
    credit = ledger.current().get()
    assert (credit.customer, credit.reason) == ("Jane", "Hers")


def test_a_piece_goes_back_in_cash(mary, account):
    receipt = arrive(account)
    page = mary.get(SORT).content.decode()
    seen = re.search(r'name="seen" value="(\d+)"', page)[1]
    typed = {"piece": f"collection:{receipt.collection_id}", "seen": seen}

    post(mary, "sort/back", **typed, reason="Paid twice")
    assert "Give KES 250 in cash" in text_of(mary.get(SORT))
    again = post(mary, "sort/back", **typed, reason="Paid twice")

    refund = Refund.objects.get()
    assert (refund.method, refund.amount, refund.state) == ("cash", kes(250), "done")
    assert again.status_code == 409
    assert "already" in text_of(again)


def test_a_large_sum_back_waits_for_a_second_person(mary, account):
    receipt = arrive(account, amount=9000)
    page = mary.get(SORT).content.decode()
    seen = re.search(r'name="seen" value="(\d+)"', page)[1]

    piece = f"collection:{receipt.collection_id}"
    post(mary, "sort/back", piece=piece, seen=seen, reason="?")

    assert Refund.objects.get().state == "asked"
    assert "a second person must approve it" in text_of(mary.get(SORT))


def test_what_is_not_confirmed_is_refused_in_words(mary, account, order):
    receipt = arrive(account, source=Source.C2B)

    with nothing_changes():
        answer = post(
            mary,
            "sort/pay",
            piece=f"receipt:{receipt.pk}",
            sale=order.number,
            reason="?",
        )

    assert answer.status_code == 409
    assert "M-Pesa has not confirmed this money yet" in text_of(answer)


def test_disputed_money_says_so_and_asks_whether_somebody_looked(
    mary, bob, account, order
):
    collection = arrive(account).collection
    Collection.objects.update(
        disputed="M-Pesa's statement does not have this payment.",
        disputed_at=datetime(2026, 11, 21, 4, 10, tzinfo=UTC),
    )
    piece = f"collection:{collection.pk}"

    page = mary.get(SORT)

    told = text_of(page)
    assert "Disputed since 21/11/2026 07:10" in told
    assert "statement does not have this payment." in told
    assert page.content.decode().count('name="looked"') == 3
    for path, facts in (
        ("sort/pay", {"sale": order.number}),
        ("sort/keep", {"customer": "Mama Njeri"}),
        ("sort/back", {}),
    ):
        with nothing_changes():
            refused = post(mary, path, piece=piece, reason="hers", **facts)
        assert refused.status_code == 409
        assert "Look at them, then say that you did." in text_of(refused)
    sheet = post(bob, f"{order.pk}/code", text=CODE)
    assert "KES 250 · disputed since 21/11/2026 07:10" in text_of(sheet)
    assert "Call the manager" in text_of(sheet)
    assert 'id="use-code"' not in sheet.content.decode()

    done = post(
        mary, "sort/pay", piece=piece, sale=order.number, reason="hers", looked="yes"
    )

    assert done.status_code == 302
    assert sale_of(order)[0] == "paid"


def test_open_sales_of_the_amount_are_one_press_away(mary, account, order, duka):
    OrderFactory(shop=duka, total=90)
    arrive(account)

    page = mary.get(SORT).content.decode()

    assert re.findall(r'data-sale="(\d+)"', page) == [str(order.number)]


def test_undisputed_money_asks_for_no_look(mary, account):
    arrive(account)

    page = mary.get(SORT).content.decode()

    assert ('name="looked"' in page, "Disputed" in page) == (False, False)


def test_an_open_list_learns_what_changed(mary, account, order):
    page = mary.get(SORT).content.decode()
    seen = re.search(r'data-seen="(\w+)"', page)[1]
    assert mary.get(f"{SORT}/list", {"seen": seen}).status_code == 204

    arrive(account)

    fresh = mary.get(f"{SORT}/list", {"seen": seen})
    assert fresh.content.decode().strip().startswith('<div id="pieces"')
    assert CODE in fresh.content.decode()


def test_what_is_held_is_shown_and_not_for_use(mary, account, order):
    PaymentFactory(order=order, phone="254712345678")
    held = arrive(account)
    assert held.state == "held"

    page = mary.get(SORT).content.decode()

    assert CODE in page
    assert f"receipt:{held.pk}" not in page


def test_the_page_is_said_in_swahili(mary, account):
    arrive(account)
    mary.client.post("/till/language", {"language": "sw", "next": SORT})

    page = text_of(mary.get(SORT))

    assert "Pesa za kupanga" in page
    assert "Fungu 1 la pesa · KES 250" in page
    assert "Haina mauzo" in page
    assert "Keep as credit" not in page


def test_a_surplus_of_a_closed_sale_pays_another(mary, bob, account, order, duka):
    arrive(account, amount=400)
    post(bob, f"{order.pk}/code/use", number=CODE)
    other = OrderFactory(shop=duka, total=150)
    assert f"KES 150 Surplus 2547 ••• 678 · {CODE} · Sale {order.number}" in text_of(
        mary.get(SORT)
    )

    surplus = ledger.current().get(kind="surplus")
    post(
        mary,
        "sort/pay",
        piece=f"allocation:{surplus.pk}",
        sale=other.number,
        reason="?",
    )

    assert Order.objects.get(pk=other.pk).status == "paid"
    assert Order.objects.get(pk=order.pk).surplus == 0
    assert Payment.objects.filter(method="c2b").count() == 2
    assert Collection.objects.get().allocated == kes(400)
