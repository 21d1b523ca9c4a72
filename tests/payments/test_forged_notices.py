"""Ten thousand notices that are forged or broken: none accepted, no 500.

Made by a seeded chance, so that a failure comes again. Those with a good token are
about payments that nobody paid; each tries to make one paid, or to break us.
"""

import json
import random
from collections import Counter

import pytest
from django.test import RequestFactory

from payments import hook_tokens, hooks, inbox
from payments.models import Notice, Payment
from smartduka.lib import clock
from tests.factories import OrderFactory, PaymentFactory
from tests.support import callbacks
from tests.support.facts import QUESTION_FIELDS, money_of, nothing_changes


pytestmark = pytest.mark.django_db

MANY = 10_000
PAYMENTS = 8
USED = "UAE5B2K9QT"


@pytest.fixture
def victims(duka, settings):
    """Pending prompts of KES 250 that nobody paid."""
    settings.REJECTED_NOTICES_KEPT = 50
    return [PaymentFactory(order=OrderFactory(shop=duka)) for _ in range(PAYMENTS)]


@pytest.fixture
def post(rf):
    """Post to the hook as Daraja does; return the status."""

    def call(token, body, content_type="application/json"):
        request = rf.post(f"/hooks/stk/{token}", body, content_type=content_type)
        return hooks.stk(request, token).status_code

    return call


def forged_token(dice, victim):
    """A token that was never issued, with a body that fits."""
    token = victim.hook_token
    place = dice.randrange(len(token))
    digit = dice.choice([d for d in "0123456789abcdef" if d != token[place]])
    return dice.choice(
        [
            dice.randbytes(32).hex(), token[:place] + digit + token[place + 1 :],
            token[:-1], token + "0", token.upper() + "A", "", "é" * 64, "0" * 64,
            token[32:] + token[:32], "%00", token[:32] * 2, str(victim.pk),
        ]
    )  # fmt: skip


def _items(body, change):
    document = json.loads(body)
    change(document["Body"]["stkCallback"]["CallbackMetadata"]["Item"])
    return json.dumps(document).encode()


def other_amount(dice, victim, _):
    amount = dice.choice([0, -250, 1, 249, 251, 25000, 250.01, "250.001", "two", None])
    return callbacks.success(victim, amount="x").replace(
        b'"x"', json.dumps(amount).encode()
    )


def no_number(dice, victim, _):
    word = dice.choice(
        [b"NaN", b"Infinity", b"-Infinity", b"1e999999", b"0x10", b"2" * 400]
    )
    return callbacks.success(victim, amount="x").replace(b'"x"', word)


def other_ids(dice, victim, other):
    which = dice.choice([other.checkout_request_id, "ws_CO_0", "ws\u0000CO", "x" * 400])
    return callbacks.success(victim, checkout_id=which)


def two_amounts(dice, victim, _):
    second = dice.choice([1, 251, 2.5, "9"])
    return _items(
        callbacks.success(victim),
        lambda items: items.append({"Name": "Amount", "Value": second}),
    )


def doubled_keys(dice, victim, _):
    body = callbacks.success(victim)
    return dice.choice(
        [
            body.replace(b'"ResultCode": 0', b'"ResultCode": 1, "ResultCode": 0'),
            body.replace(b'"Body": {', b'"Body": {}, "Body": {'),
            body.replace(b'"Value": 250', b'"Value": 1, "Value": 250'),
        ]
    )


def no_receipt(dice, victim, _):
    receipt = dice.choice(["", " ", "é", "UA'; DROP", "U" * 400, 5, None, [], {"a": 1}])
    return callbacks.success(victim, receipt=receipt)


def odd_shape(dice, victim, _):
    return dice.choice(
        [
            b"", b"null", b"[]", b"0", b'""', b"{}", b'{"Body": null}',
            b'{"Body": {"stkCallback": []}}', b'{"Body": [1]}', b"[" * 5000,
            b'{"a":' * 3000, b"Body=1&x=2", b"<xml/>", b'{"Body": {"stkCallback": {}}}',
        ]
    )  # fmt: skip


def broken_bytes(dice, victim, _):
    body = bytearray(callbacks.success(victim))
    for _ in range(dice.randint(1, 4)):
        body[dice.randrange(len(body))] = dice.choice([0, 0xFF, 0xC0, 0x80, 0xED])
    return bytes(body)


def cut_short(dice, victim, _):
    body = callbacks.success(victim)
    return body[: dice.randrange(len(body) - 1)]


def too_long(dice, victim, _):
    return callbacks.success(victim, extra=" " * 66_000)


def other_coding(dice, victim, _):
    text = callbacks.success(victim).decode()
    return text.encode(dice.choice(["utf-16", "utf-32", "utf-16-be"]))


FAMILIES = (
    other_amount, no_number, other_ids, two_amounts, doubled_keys, no_receipt,
    odd_shape, broken_bytes, cut_short, other_coding, too_long,
)  # fmt: skip


def facts(payments):
    """What must not change: everything but that a question is due."""
    rows = Payment.objects.filter(pk__in=[one.pk for one in payments])
    return [
        {k: v for k, v in row.items() if k not in QUESTION_FIELDS}
        for row in rows.order_by("pk").values()
    ]


@pytest.mark.slow
def test_none_of_ten_thousand_is_accepted(victims, post):
    dice = random.Random(20261121)
    before = facts(victims)
    answers = Counter()

    with nothing_changes():
        for number in range(MANY):
            victim, other = dice.sample(victims, 2)
            if number % 5 < 2:
                body = callbacks.success(victim)
                answers["bad token", post(forged_token(dice, victim), body)] += 1
                continue
            # The longest are few: they cost memory, not thought.
            family = dice.choices(FAMILIES, [20] * 10 + [1])[0]
            body = family(dice, victim, other)
            answers[family.__name__, post(victim.hook_token, body)] += 1

    statuses = {status for _, status in answers}
    assert statuses == {200, 403}
    assert {name for name, status in answers if status == 403} == {"bad token"}
    assert sum(answers.values()) == MANY
    assert {family.__name__ for family in FAMILIES} < {name for name, _ in answers}
    assert facts(victims) == before
    verdicts = Counter(
        Notice.objects.exclude(kind=inbox.REJECTED).values_list("verdict", flat=True)
    )
    assert set(verdicts) <= {"malformed", "unverified"}
    assert Notice.objects.filter(next_try_at__isnull=False).count() == 0
    assert Notice.objects.filter(kind=inbox.REJECTED).count() <= 50


def test_a_genuine_one_is_still_accepted_among_them(victims, post):
    """The sieve is no wall."""
    victim = victims[0]
    assert post(victim.hook_token, b"\x00") == 200
    assert post(victim.hook_token, callbacks.success(victim)) == 200

    assert [receipt for _, receipt, _, _ in money_of(victim.order)] == [USED]


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("NUL", lambda p: callbacks.success(p).replace(b"ws_CO", b"ws\\u0000CO")),
        ("raw NUL", lambda p: callbacks.success(p).replace(b"250", b"2\x0050")),
        ("NaN", lambda p: callbacks.success(p).replace(b": 250", b": NaN")),
        ("bad UTF-8", lambda p: callbacks.success(p).replace(b"success", b"\xff\xfe")),
        ("two Amounts", lambda p: two_amounts(random.Random(1), p, None)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_notice_with_oddities_settles_nothing_and_asks(name, body, victims, post):
    victim = victims[0]
    sent = body(victim)

    with nothing_changes():
        assert post(victim.hook_token, sent) == 200

    notice = Notice.objects.get()
    assert (bytes(notice.body), notice.payment_id) == (sent, victim.pk)
    assert notice.verdict in ("malformed", "unverified")
    assert (notice.next_try_at, notice.copies) == (None, 1)
    victim.refresh_from_db()
    assert victim.next_ask_at <= clock.now()


def test_a_signature_alone_is_no_payment(post):
    """A token that we signed, for a payment that is not there: kept as an orphan."""
    assert post(hook_tokens.issue().text, b"{}") == 200
    assert Notice.objects.values_list("verdict", "payment").get() == ("orphan", None)


def test_another_verb_is_told_so():
    request = RequestFactory().get("/hooks/stk/x")
    assert hooks.stk(request, "x").status_code == 405
    assert Notice.objects.count() == 0
