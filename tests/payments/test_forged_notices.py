"""Ten thousand notices that are forged or broken: none accepted, no 500.

Made by a seeded chance, so that a failure comes again. Those with a good token are
about payments that nobody paid; each tries to make one paid, or to break us.
"""

import json
import random
from collections import Counter

import pytest
from django_q.models import OrmQ

from payments import hook_tokens, hooks, inbox
from payments.enums import RequestKind
from payments.hook_tokens import Kind
from payments.models import Notice, OrganisationRequest, Payment, Receipt, Refund
from smartduka.lib import clock
from tests.factories import MpesaAccountFactory, OrderFactory, PaymentFactory
from tests.support import by_hand, callbacks
from tests.support.facts import money_of, nothing_changes, sale_of


pytestmark = pytest.mark.django_db

MANY = 10_000
PARTS = 10
PARTS_ON_BOTH = 2  # of them on PostgreSQL too
PAYMENTS = 8
KEPT = 50  # samples of what is rejected
ASK = "payments.tasks.ask"


@pytest.fixture
def victims(duka, settings):
    """Pending prompts of KES 250 that nobody paid."""
    settings.REJECTED_NOTICES_KEPT = KEPT
    return [PaymentFactory(order=OrderFactory(shop=duka)) for _ in range(PAYMENTS)]


@pytest.fixture
def account(duka):
    """A paybill with a valid address for payments by hand: `hand_token`."""
    account = MpesaAccountFactory(shop=duka, shortcode="600400")
    account.hand_token = by_hand.address(account)
    return account


@pytest.fixture
def request_token(account):
    """The token of a question of ours whose result is awaited."""
    token = hook_tokens.issue(Kind.REQUEST)
    OrganisationRequest.objects.create(
        kind=RequestKind.STATUS,
        account=account,
        receipt=by_hand.RECEIPT,
        token_hash=token.nonce_hash,
        conversation_id="AG_20260114_2010a1b2c3",
        originator_conversation_id="f1e2-4b95-a71d",
        asked_at=clock.now(),
    )
    return token.text


@pytest.fixture
def send(rf):
    """Send to a hook as Daraja does, or not quite so; return the status."""

    def call(token, body, hook=hooks.stk, verb="POST", content_type="application/json"):
        request = rf.generic(verb, "/hooks", body, content_type=content_type)
        tokens = () if hook is hooks.untokened else (token,)
        return hook(request, *tokens).status_code

    return call


def questions_handed_out():
    return Counter(
        task["args"] for row in OrmQ.objects.all() if (task := row.task)["func"] == ASK
    )


# Tokens that are none: the body behind them would be believed.


def forged(dice, victim, tokens):
    """A token that was never issued."""
    token = victim.hook_token
    place = dice.randrange(len(token))
    digit = dice.choice([d for d in "0123456789abcdef" if d != token[place]])
    return dice.choice(
        [
            dice.randbytes(32).hex(), token[:place] + digit + token[place + 1 :],
            token[:-1], token + "0", token.upper() + "A", "", "é" * 64, "0" * 64,
            token[32:] + token[:32], "%00", token[:32] * 2, str(victim.pk), "\0" * 64,
            " " + token[1:], "a" * 70_000,
        ]
    )  # fmt: skip


def of_another_kind(dice, victim, tokens):
    """A token that we signed for something else."""
    return dice.choice([*tokens, hook_tokens.issue(dice.choice([*Kind][1:])).text])


# Bodies of STK callbacks behind the good token of a payment that nobody paid.


def _with(place, value, body):
    """Return a body with another value at this place in its callback."""
    document = json.loads(body)
    holder = document["Body"]["stkCallback"]
    for key in place[:-1]:
        holder = holder[key]
    holder[place[-1]] = value
    return json.dumps(document).encode()


def _flip(dice, body, word):
    """Return a body with one bit of one byte of this word flipped."""
    changed = bytearray(body)
    place = body.index(word) + dice.randrange(len(word))
    changed[place] ^= 1 << dice.randrange(8)
    return bytes(changed)


def other_amount(dice, victim, _):
    amount = dice.choice([0, -250, 1, 249, 251, 25000, 250.01, "250.001", "two", None])
    return callbacks.success(victim, amount="x").replace(
        b'"x"', json.dumps(amount).encode()
    )


def no_number(dice, victim, _):
    word = dice.choice(
        [b"NaN", b"Infinity", b"-Infinity", b"1e999999", b"0x10", b"2" * 400, b"9" * 5000]
    )  # fmt: skip
    return callbacks.success(victim, amount="x").replace(b'"x"', word)


def other_ids(dice, victim, other):
    ids = [other.checkout_request_id, "ws_CO_0", "ws\u0000CO", "x" * 400, " ", "\ud800"]
    return callbacks.success(victim, checkout_id=dice.choice(ids))


def another_payments(dice, victim, other):
    return callbacks.success(other, extra=" " * dice.randrange(400))


def two_amounts(dice, victim, _):
    second = {"Name": "Amount", "Value": dice.choice([1, 251, 2.5, "9", None, "250"])}
    items = [{"Name": "Amount", "Value": 250}, second]
    dice.shuffle(items)
    return _with(("CallbackMetadata", "Item"), items, callbacks.success(victim))


def doubled_keys(dice, victim, _):
    body = callbacks.success(victim, extra=" " * dice.randrange(100))
    return dice.choice(
        [
            body.replace(b'"ResultCode": 0', b'"ResultCode": 1, "ResultCode": 0'),
            body.replace(b'"Body": {', b'"Body": {}, "Body": {'),
            body.replace(b'"Value": 250', b'"Value": 1, "Value": 250'),
            body.replace(b'"Item": [', b'"Item": [], "Item": ['),
        ]
    )


def no_receipt(dice, victim, _):
    receipt = dice.choice(["", " ", "é", "UA'; DROP", "U" * 400, 5, None, [], {"a": 1}])
    return callbacks.success(victim, receipt=receipt)


def wrong_types(dice, victim, _):
    places = [
        ("CheckoutRequestID",), ("CallbackMetadata",), ("CallbackMetadata", "Item"),
        *(("CallbackMetadata", "Item", which) for which in (0, 1)),
        *(("CallbackMetadata", "Item", 0, key) for key in ("Name", "Value")),
        ("CallbackMetadata", "Item", 1, "Value"),
    ]  # fmt: skip
    values = [None, [], {}, True, False, 1.5, "x", -1, [[]], [{"Name": []}], 10**30]
    place, value = dice.choice(places), dice.choice(values)
    return _with(place, value, callbacks.success(victim))


def odd_shape(dice, victim, _):
    return dice.choice(
        [
            b"", b"null", b"[]", b"0", b'""', b"{}", b'{"Body": null}',
            b'{"Body": {"stkCallback": []}}', b'{"Body": [1]}', b"Body=1&x=2",
            b"<xml/>", b'{"Body": {"stkCallback": {}}}', b"--x\r\n", b"\x1f\x8b\x08\0",
            b"[" * dice.randrange(1, 60_000), b'{"a":' * dice.randrange(1, 13_000),
        ]
    )  # fmt: skip


def broken_bytes(dice, victim, _):
    body = bytearray(callbacks.success(victim))
    for _ in range(dice.randint(1, 4)):
        body[dice.randrange(len(body))] = dice.choice([0, 0xFF, 0xC0, 0x80, 0xED])
    return bytes(body)


def flipped_bit(dice, victim, _):
    word = dice.choice([victim.checkout_request_id, '"Value": 250', "stkCallback"])
    return _flip(dice, callbacks.success(victim), word.encode())


def cut_short(dice, victim, _):
    body = callbacks.success(victim)
    return body[: dice.randrange(len(body) - 1)]


def other_coding(dice, victim, _):
    text = callbacks.success(victim, extra=" " * dice.randrange(100)).decode()
    codings = ["utf-8-sig", "utf-16", "utf-16-be", "utf-16-le", "utf-32", "cp037"]
    return text.encode(dice.choice(codings))


def long_strings(dice, victim, _):
    place = dice.choice(
        [("CheckoutRequestID",), ("ResultCode",), ("CallbackMetadata", "Item", 0, "Name")]
    )  # fmt: skip
    word = dice.choice(["x", "0", "é", "\u0000", "'"]) * dice.randrange(100, 9_000)
    return _with(place, word, callbacks.success(victim))


def too_long(dice, victim, _):
    return callbacks.success(victim, extra=" " * dice.randrange(65_536, 66_000))


STK_BODIES = (
    other_amount, no_number, other_ids, another_payments, two_amounts, doubled_keys,
    no_receipt, wrong_types, odd_shape, broken_bytes, flipped_bit, cut_short,
    other_coding, long_strings, too_long,
)  # fmt: skip


# Bodies of payments by hand, and of results, behind good tokens too.


def broken_hand(dice, account):
    good = by_hand.confirmation(account, extra=" " * dice.randrange(100))
    nothing = ["", None, "é", "U" * 400, [], {}, True]
    return dice.choice(
        [
            good[: dice.randrange(300)],
            _flip(dice, good, b'"BusinessShortCode": "600400"'),
            good.replace(b"Bill", b"\xff\xfe"), good.replace(b"JANE", b"J\0NE"),
            good.decode().encode("utf-16"), good + b"}", good + b" " * 66_000,
            by_hand.confirmation(account, shortcode="600100"),
            by_hand.confirmation(account, receipt=dice.choice([*nothing, 5])),
            by_hand.confirmation(account, amount=dice.choice([*nothing, 0, "-1", 1e300])),
            good.replace(b'"250.00"', dice.choice([b"NaN", b"1e999999", b"-Infinity"])),
            good.replace(b'"TransID"', b'"TransID": "UAE0000000", "TransID"'),
        ]
    )  # fmt: skip


def broken_result(dice, ids):
    result = {
        "ResultType": 0, "ResultCode": 0, "ResultDesc": "Done", "TransactionID": "X",
        "ConversationID": ids[0], "OriginatorConversationID": ids[1],
        "ResultParameters": {"ResultParameter": [{"Key": "Amount", "Value": 250}]},
    }  # fmt: skip
    wrong = dice.choice(["ConversationID", "OriginatorConversationID"])
    result[wrong] = dice.choice(["AG_1", "", None, 5, "\u0000", "x" * 400])
    body = json.dumps({"Result": result}).encode()
    return dice.choice([body, body[: dice.randrange(200)], b"\xff" + body, b"[]"])


def a_forgery(dice, victims, account, request_token):
    """Return its name, where it goes, and what must be answered."""
    victim, other = dice.sample(victims, 2)
    good = callbacks.success(victim, extra=" " * dice.randrange(200))
    tokens = [account.hand_token, request_token]
    kind = dice.choices(
        ["token", "stk", "hand", "result", "untokened", "verb"], [32, 50, 6, 4, 4, 4]
    )[0]
    if kind == "token":
        make = dice.choice([forged, forged, of_another_kind])
        sent = {"token": make(dice, victim, tokens), "body": good}
        if make is of_another_kind and dice.random() < 0.5:
            hook = dice.choice([hooks.hand, hooks.check, hooks.result, hooks.over])
            sent |= {"token": victim.hook_token, "hook": hook}
        return make.__name__, sent, 403
    if kind == "hand":
        hook = dice.choice([hooks.hand, hooks.hand, hooks.check])
        sent = {"token": account.hand_token, "body": broken_hand(dice, account)}
        return hook.__name__, sent | {"hook": hook}, 200
    if kind == "result":
        ids = ("AG_20260114_2010a1b2c3", "f1e2-4b95-a71d")
        sent = {"token": request_token, "body": broken_result(dice, ids)}
        return "result", sent | {"hook": hooks.result}, 200
    if kind == "untokened":
        body = good if dice.random() < 0.5 else dice.choice(STK_BODIES)
        body = body if isinstance(body, bytes) else body(dice, victim, other)
        return kind, {"token": None, "body": body, "hook": hooks.untokened}, 200
    if kind == "verb":
        verb = dice.choice(["GET", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "X"])
        return verb, {"token": victim.hook_token, "body": good, "verb": verb}, 405
    # The longest are few: they cost memory, not thought.
    make = dice.choices(STK_BODIES, [20] * (len(STK_BODIES) - 1) + [6])[0]
    types = ["application/json", "text/plain", "", "application/x-www-form-urlencoded",
             "multipart/form-data; boundary=x", "application/json; charset=utf-16"]  # fmt: skip
    sent = {"token": victim.hook_token, "body": make(dice, victim, other)}
    return make.__name__, sent | {"content_type": dice.choice(types)}, 200


EXPECTED = {
    *(family.__name__ for family in (*STK_BODIES, forged, of_another_kind)),
    *("hand", "check", "result", "untokened", "GET", "PUT", "DELETE", "X"),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "part",
    [
        *range(PARTS_ON_BOTH),
        *(
            pytest.param(part, marks=pytest.mark.once)
            for part in range(PARTS_ON_BOTH, PARTS)
        ),
    ],
)
def test_none_of_ten_thousand_is_accepted(part, victims, account, request_token, send):
    dice = random.Random(20_261_121 + part)
    sent_of = Counter()

    with nothing_changes():
        for number in range(MANY // PARTS):
            name, sent, status = a_forgery(dice, victims, account, request_token)
            assert send(**sent) == status, (part, number, name)
            sent_of[name] += 1

    assert set(sent_of) >= EXPECTED
    assert (Receipt.objects.count(), Refund.objects.count()) == (0, 0)
    assert OrganisationRequest.objects.get().answered_at is None
    # Each is kept with its verdict, none is left to be tried again.
    kept = Notice.objects.exclude(kind__in=(inbox.REJECTED, inbox.UNTOKENED))
    verdicts = set(kept.values_list("verdict", flat=True))
    assert verdicts == {"malformed", "unverified"}
    assert not Notice.objects.filter(next_try_at__isnull=False).exists()
    assert not kept.filter(processed_at=None).exists()
    for kind in (inbox.REJECTED, inbox.UNTOKENED):
        assert Notice.objects.filter(kind=kind).count() <= KEPT
    assert Notice.objects.filter(kind=inbox.REJECTED).count() == KEPT
    # Whom they speak of is asked about, once for all of them.
    asked = questions_handed_out()
    assert asked == {(str(victim.pk),): 1 for victim in victims}


def test_a_genuine_one_is_still_accepted_among_them(victims, send):
    """The sieve is no wall."""
    victim = victims[0]
    assert send(victim.hook_token, b"\x00") == 200
    assert send(victim.hook_token, callbacks.success(victim)) == 200

    assert money_of(victim.order) == [
        ("callback", callbacks.RECEIPT, 250, [("sale", 250)])
    ]
    assert sale_of(victim.order) == ("paid", 250, 0, 0)
    assert Payment.objects.filter(status="completed").get() == victim


def _odd(change):
    return lambda payment: change(callbacks.success(payment))


ODD = {
    "NUL": _odd(lambda body: body.replace(b"ws_CO", b"ws\\u0000CO")),
    "raw NUL": _odd(lambda body: body.replace(b"250", b"2\x0050")),
    "NaN": _odd(lambda body: body.replace(b": 250", b": NaN")),
    "bad UTF-8": _odd(lambda body: body.replace(b"success", b"\xff\xfe")),
    "two Amounts": _odd(
        lambda body: body.replace(
            b'{"Name": "Balance"}', b'{"Name": "Amount", "Value": 9}'
        )
    ),
}


@pytest.mark.parametrize("name", ODD)
def test_a_notice_with(name, victims, send):
    """Stored, answered 200, nothing settled, and M-Pesa is asked."""
    victim = victims[0]
    sent = ODD[name](victim)
    assert sent != callbacks.success(victim)

    with nothing_changes():
        assert send(victim.hook_token, sent) == 200

    notice = Notice.objects.get()
    assert (bytes(notice.body), notice.payment_id) == (sent, victim.pk)
    assert notice.verdict in ("malformed", "unverified")
    assert (notice.next_try_at, notice.copies) == (None, 1)
    victim.refresh_from_db()
    assert (victim.status, victim.is_undecided) == ("pending", True)
    assert victim.next_ask_at <= clock.now()
    assert questions_handed_out() == {(str(victim.pk),): 1}


def test_a_signature_alone_is_no_payment(send, db):
    """A token that we signed, for a payment that is not there: kept as an orphan."""
    assert send(hook_tokens.issue().text, b"{}") == 200
    assert Notice.objects.values_list("verdict", "payment").get() == ("orphan", None)


def test_another_verb_is_told_so(send, db):
    assert send("x", b"", verb="GET") == 405
    assert Notice.objects.count() == 0
