"""The correctness properties of the M-Pesa plan, by their numbers there.

`pytest -k property_7` finds number 7. Some say something else than the plan does,
because M-Pesa is not as the plan thought:

- 5 and 11: M-Pesa signs no callback: there is no header to check, and the passkey
  signs nothing. A callback is authentic by the secret in its address, and even then
  it must fit what was asked.
- 6: the statuses are created, pending, completed, failed, expired, cancelled and
  reversed; money beats whatever we believed before it, and a retry is another payment.
- 9: a number is 254 and nine digits, the first of them 1 or 7.
- 12: the rate is per shop; a phone has its guard beside it.
- 15: the key is made by who asks, and never expires. A time stamp in it would make
  each click another payment.
- 16: a machine never sends a push again, however long it backs off: that could charge
  twice. What backs off are notices and questions.
- 18: the sandbox has one phone, and its outcome cannot be chosen; what is tested is
  that its keys and its money never mix with real ones.

13 (secrets come back from their seals) and 17 (the account's settings are checked)
are about an account's settings: test_seed3_settings.
"""

import base64
import json
import logging
import os
import runpy
import string
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from unittest import mock

import pytest
import requests
from django.core.cache import cache
from django.core.exceptions import ImproperlyConfigured
from django.db import connection, transaction
from django.test import RequestFactory, override_settings
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from orders.models import Order
from payments import (
    accounts,
    audit,
    cash,
    hook_tokens,
    hooks,
    inbox,
    intents,
    lifecycle,
    notices,
    prompting,
    queries,
    questions,
    references,
    states,
)
from payments.enums import FailureReason, PaymentStatus, Source
from payments.gateways import answers, daraja, result_codes
from payments.gateways.base import (
    Answered,
    Credentials,
    GatewayError,
    PushAccepted,
    PushRequest,
    QueryAnswer,
)
from payments.models import Collection, MpesaAccount, Notice, Payment, PaymentEvent
from payments.refusals import IdempotencyMismatch, PromptInTheWay, RateLimited
from shops.models import Product
from shops.tenancy import Access
from smartduka.lib import phone as phones
from smartduka.lib.clock import NAIROBI
from smartduka.lib.errors import NotFound
from smartduka.lib.redaction import LineFormatter
from tests.factories import OrderFactory, PaymentFactory
from tests.support.callbacks import RECEIPT, failure, success
from tests.support.facts import kes, money_of, nothing_changes, path_of, sale_of
from tests.support.gateway import PENDING, final
from tests.support.outside import JSON, SCALARS, anything, storable


pytestmark = [
    pytest.mark.django_db,
    pytest.mark.usefixtures("messages", "_generous"),
]

# The fixtures are a stage that `undone` clears after each example.
proved = settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

ROOT = Path(__file__).resolve().parent.parent.parent
PHONE = "254712345678"
CHARACTERS = string.ascii_uppercase + string.digits
ACCEPTED = PushAccepted("29115-34620561-1", "ws_CO_21112026090000708374149")

whole_kes = st.integers(1, 250_000)
msisdns = st.from_regex(r"254[17][0-9]{8}", fullmatch=True)
shortcodes = st.from_regex(r"[1-9][0-9]{4,6}", fullmatch=True)
receipts = st.text(CHARACTERS, min_size=8, max_size=12)
moments = st.integers(1_600_000_000, 3_700_000_000).map(
    lambda epoch_s: datetime.fromtimestamp(epoch_s, UTC)
)
CERTAIN = ["1", "2", "8", "17", "1032", "2001", "8006"]
UNCERTAIN = ["26", "1019", "1037", "9999", "2029", "31415"]


@contextmanager
def undone():
    """Take back what an example writes, so that the next finds the same stage."""
    here = transaction.savepoint()
    try:
        yield
    finally:
        transaction.savepoint_rollback(here)
        cache.clear()  # counters in Redis know nothing of savepoints


@pytest.fixture
def payment(order, time):
    """A pending prompt for the whole of a sale of KES 250."""
    return PaymentFactory(order=order, phone=PHONE, expires_at=time.now)


@pytest.fixture
def ask(seller, order, mpesa, time):
    """Ask for money as Bob does; everything can be said otherwise."""

    def request(**changes):
        asked = {
            "access": seller,
            "order_id": order.pk,
            "phone": PHONE,
            "amount": None,
            "key": None,
            "accept_risk": False,
        }
        return prompting.request(**asked | changes)

    return request


def call(token, body):
    """Bring a body to the hook; return the status of its answer."""
    request = RequestFactory().post(
        "/hooks/stk/token", body, content_type="application/json"
    )
    return hooks.stk(request, token).status_code


def load(**values):
    """Read the settings as a process with this environment does."""
    least = {
        "SMARTDUKA_ENV_FILE": os.devnull,
        "SECRET_KEY": "0123456789" * 5,
        "MPESA_ENCRYPTION_KEYS": "ab" * 32,
        "MPESA_CALLBACK_URL": "https://duka.example.co.ke",
    }
    given_ones = {name: value for name, value in values.items() if value is not None}
    with mock.patch.dict(os.environ, least | given_ones, clear=True):
        return runpy.run_path(str(ROOT / "smartduka" / "settings.py"))


# 1


@pytest.mark.once
@proved
@given(
    is_till=st.booleans(), shortcode=shortcodes, party_b=shortcodes,
    passkey=st.text(CHARACTERS, min_size=1, max_size=64),
    phone=msisdns, amount=whole_kes, moment=moments,
)  # fmt: skip
def test_property_1_a_push_carries_all_that_daraja_wants(
    time, is_till, shortcode, party_b, passkey, phone, amount, moment
):
    time.now = moment
    account = Credentials("simulator", is_till, shortcode, party_b, "k", "s", passkey)
    reference = references.new_reference()
    url = f"https://duka.example.co.ke/hooks/stk/{hook_tokens.issue().text}"
    gateway = daraja.Daraja()
    sent = []

    def post(account, path, body, *, limit_s):
        sent.append((path, json.loads(json.dumps(body))))
        return 200, '{"ResponseCode": "0", "CheckoutRequestID": "ws_CO_1"}'

    gateway.post = post
    gateway.push(account, PushRequest(phone, amount, reference, "Sale", url))

    stamp = moment.astimezone(NAIROBI).strftime("%Y%m%d%H%M%S")
    [(path, body)] = sent
    assert path == "/mpesa/stkpush/v1/processrequest"
    assert body == {
        "BusinessShortCode": shortcode,
        "Password": base64.b64encode(f"{shortcode}{passkey}{stamp}".encode()).decode(),
        "Timestamp": stamp,
        "TransactionType": (
            "CustomerBuyGoodsOnline" if is_till else "CustomerPayBillOnline"
        ),
        "Amount": amount,
        "PartyA": phone,
        "PartyB": party_b,
        "PhoneNumber": phone,
        "CallBackURL": url,
        "AccountReference": reference,
        "TransactionDesc": "Sale",
    }
    # The limits of the two texts that a customer sees.
    assert reference.isalnum()
    assert len(reference) <= 12
    assert references.is_valid(reference)


# 2


@proved
@given(
    shortcode=shortcodes,
    passkey=st.text(string.printable.strip(), min_size=1, max_size=64),
    moment=moments,
)
def test_property_2_the_password_is_made_of_its_three_parts(shortcode, passkey, moment):
    stamp = daraja.timestamp(moment)
    password = daraja.password(shortcode, passkey, stamp)

    decoded = base64.b64decode(password, validate=True).decode()
    assert decoded == shortcode + passkey + stamp
    read = datetime.strptime(stamp, "%Y%m%d%H%M%S").replace(tzinfo=NAIROBI)
    assert (len(stamp), read) == (14, moment)


# 3


@pytest.mark.once
@proved
@given(phone=msisdns, amount=st.none() | st.integers(1, 250))
def test_property_3_a_payment_is_stored_before_mpesa_is_asked(
    ask, order, seller, charlie, mpesa, phone, amount
):
    with undone():
        seen = []

        def look(request):
            seen.append(Payment.objects.get(reference=request.reference))
            token = request.callback_url.rsplit("/", 1)[1]
            assert seen[0].token_hash == hook_tokens.verify(token)
            assert (request.phone, request.amount) == (phone, amount or 250)
            return ACCEPTED

        mpesa.push_answers = [look]
        made = ask(phone=phone, amount=amount).payment

        [stored] = Payment.objects.filter(order=order)
        assert stored == made == seen[0]
        assert (stored.shop, stored.created_by) == (seller.shop, seller.user)
        assert (stored.phone, stored.amount) == (phone, kes(amount or 250))
        assert (seen[0].status, stored.status) == ("created", "pending")
        assert stored.checkout_request_id == ACCEPTED.checkout_request_id
        assert list(queries.payments_of(seller.shop)) == [stored]
        with pytest.raises(NotFound):
            queries.payment_for(charlie.shop, stored.pk)


# 4

HOSTS = {
    "api": "api.safaricom.co.ke",
    "sandbox": "sandbox.safaricom.co.ke",
    "lookalike": "safaricom.co.ke.example.com",
    "here": "127.0.0.1:8010",
}
DEFAULTS = {
    "production": ("https://api.safaricom.co.ke", "enforce"),
    "sandbox": ("https://sandbox.safaricom.co.ke", "log"),
    "simulator": ("http://127.0.0.1:8010", "off"),
}


@proved
@given(
    environment=st.sampled_from(sorted(DEFAULTS)),
    host=st.none() | st.sampled_from(sorted(HOSTS)),
    scheme=st.sampled_from(["http", "https"]),
    is_debugged=st.booleans(),
)
def test_property_4_an_environment_reaches_its_own_mpesa_only(
    environment, host, scheme, is_debugged
):
    url = None if host is None else f"{scheme}://{HOSTS[host]}"
    is_allowed = {
        "production": (scheme == "https" and host == "api") or host is None,
        "sandbox": host != "api",
        "simulator": host not in ("api", "sandbox"),
    }[environment] and not (environment == "production" and is_debugged)

    try:
        found = load(MPESA_ENV=environment, MPESA_BASE_URL=url, DEBUG=str(is_debugged))
    except ImproperlyConfigured:
        assert not is_allowed
        return

    assert is_allowed
    default_url, mode = DEFAULTS[environment]
    # Nothing follows from DEBUG: the environment is always said.
    assert (found["MPESA_ENV"], found["MPESA_BASE_URL"]) == (
        environment,
        url or default_url,
    )
    assert found["MPESA_CALLBACK_IP_MODE"] == mode
    assert found["SECURE_SSL_REDIRECT"] == (environment == "production")


# 5


@proved
@given(
    amount=whole_kes, receipt=receipts, phone=msisdns, moment=moments,
    description=st.text(st.characters(codec="utf-8"), max_size=255).filter(storable),
    data=st.data(),
)  # fmt: skip
def test_property_5_a_callback_is_read_in_all_its_forms(
    amount, receipt, phone, moment, description, data
):
    def one_of(*forms):
        return data.draw(st.sampled_from(forms))

    stamp = moment.astimezone(NAIROBI).strftime("%Y%m%d%H%M%S")
    items = [
        {"Name": "Amount", "Value": one_of(amount, float(amount), f"{amount}.00")},
        {"Name": "MpesaReceiptNumber", "Value": one_of(receipt, receipt.lower())},
        one_of({"Name": "Balance"}, {"Name": "Balance", "Value": "{Amount=1}"}),
        {"Name": "TransactionDate", "Value": one_of(int(stamp), stamp)},
        {"Name": "PhoneNumber", "Value": one_of(int(phone), phone)},
    ]
    body = {
        "Body": {
            "stkCallback": {
                "MerchantRequestID": ACCEPTED.merchant_request_id,
                "CheckoutRequestID": ACCEPTED.checkout_request_id,
                "ResultCode": one_of(0, "0"),
                "ResultDesc": description,
                "CallbackMetadata": {"Item": data.draw(st.permutations(items))},
            }
        }
    }

    assert notices.parse_stk(json.dumps(body).encode()) == notices.StkResult(
        merchant_request_id=ACCEPTED.merchant_request_id,
        checkout_request_id=ACCEPTED.checkout_request_id,
        code="0",
        description=description,
        amount=Decimal(amount),
        receipt=receipt,
        phone=phone,
        paid_at=moment,
    )


@proved
@given(code=st.integers(1, 10**6), is_text=st.booleans(), description=st.text("abc ."))
def test_property_5_a_callback_of_a_failure_says_its_code(code, is_text, description):
    said = {
        "CheckoutRequestID": ACCEPTED.checkout_request_id,
        "ResultCode": str(code) if is_text else code,
        "ResultDesc": description,
    }
    result = notices.parse_stk(json.dumps({"Body": {"stkCallback": said}}).encode())

    assert (result.code, result.is_success) == (str(code), False)
    assert result.description == description[:255]
    assert (result.amount, result.receipt, result.paid_at) == (None, None, None)


# 6

FOLLOWERS = {
    "created": {"pending", "completed", "failed", "expired", "cancelled"},
    "pending": {"completed", "failed", "expired", "cancelled"},
    "failed": {"completed"},
    "expired": {"completed"},
    "cancelled": {"completed"},
    "completed": {"reversed"},
    "reversed": set(),
}


@proved
@given(wishes=st.lists(st.sampled_from(sorted(FOLLOWERS)), min_size=1, max_size=8))
def test_property_6_a_payment_moves_by_the_table_only(order, time, wishes):
    with undone():
        payment = PaymentFactory(order=order, status=PaymentStatus.CREATED)
        path = ["created"]
        for wish in wishes:
            is_legal = wish in FOLLOWERS[path[-1]]
            try:
                with transaction.atomic():
                    lifecycle.move(
                        payment,
                        PaymentStatus(wish),
                        source=Source.CLOCK,
                        reason="a wish",
                        failure_reason=FailureReason.OTHER,
                    )
            except lifecycle.IllegalMove:
                assert not is_legal
            else:
                assert is_legal
                path.append(wish)
            # Nothing is written where nothing moved.
            assert Payment.objects.get(pk=payment.pk).status == path[-1]
        assert path_of(payment) == path
        assert len(set(path)) == len(path)
        assert payment.events.count() == len(path)


# 7

parts = st.lists(
    st.tuples(st.integers(1, 300), st.sampled_from(["paid", "failed", "cash", "open"])),
    min_size=1,
    max_size=4,
)


@pytest.fixture
def sales(seller):
    """Open sales, by their totals in KES."""
    totals = (1, 99, 250, 500)
    return {total: OrderFactory(shop=seller.shop, total=total) for total in totals}


@pytest.mark.once
@proved
@given(total=st.sampled_from([1, 99, 250, 500]), parts=parts)
def test_property_7_a_sale_is_paid_when_its_money_reaches_its_total(
    sales, seller, time, mpesa, total, parts
):
    order = sales[total]
    with undone():
        [product_id] = order.lines.values_list("product_id", flat=True)
        arrived = 0
        for number, (amount, fate) in enumerate(parts):
            if fate == "cash":
                if arrived < total:
                    cash.take(access=seller, order_id=order.pk, amount=amount, key=None)
                    arrived += min(amount, total - arrived)
            else:
                payment = PaymentFactory(order=order, amount=Decimal(amount))
                if fate == "paid":
                    body = success(payment, receipt=f"UAE000000{number}")
                    assert call(payment.hook_token, body) == 200
                    arrived += amount
                elif fate == "failed":
                    assert call(payment.hook_token, failure(payment)) == 200

            paid = min(arrived, total)
            status = "paid" if arrived >= total else "open"
            surplus = arrived - paid
            assert sale_of(order) == (status, paid, total - paid, surplus)
            assert Product.objects.get(pk=product_id).stock == 100 - (status == "paid")
        kinds = [portion for row in money_of(order) for portion in row[3]]
        assert sum(amount for kind, amount in kinds if kind == "sale") == paid
        assert sum(amount for kind, amount in kinds if kind == "surplus") == surplus


# 8

FACTS = {
    "paid": lambda one, user: call(one.hook_token, success(one)),
    "denied": lambda one, user: call(one.hook_token, failure(one)),
    "uncertain": lambda one, user: call(one.hook_token, failure(one, 1037)),
    "answered": lambda one, user: questions._apply(one.pk, final("0")),
    "refused": lambda one, user: questions._apply(one.pk, final("1032")),
    "stopped": lambda one, user: prompting._stop(one.pk, user),
    "over": lambda one, user: questions.expire_if_over(one.pk),
}
SOURCES = {
    "paid": "callback",
    "denied": "callback",
    "uncertain": "callback",
    "answered": "query",
    "refused": "query",
    "stopped": "person",
    "over": "clock",
}
TAMPERED = {
    "reason": "nothing happened",
    "new": "reversed",
    "source": "drawer",
    "created_at": "2026-01-01 00:00:00+00:00",
}


@pytest.mark.once
@proved
@given(
    facts=st.lists(st.sampled_from(sorted(FACTS)), max_size=6, unique=True),
    field=st.sampled_from(sorted(TAMPERED)),
    victim=st.integers(0, 20),
)
def test_property_8_the_trail_is_complete_and_cannot_be_changed_unseen(
    payment, bob, facts, field, victim
):
    with undone():
        for fact in facts:
            old = Payment.objects.get(pk=payment.pk).status
            known = set(payment.events.values_list("pk", flat=True))
            FACTS[fact](payment, bob.user)
            new = Payment.objects.get(pk=payment.pk).status
            told = payment.events.exclude(pk__in=known)
            moves = [(row.old, row.new) for row in told if row.old != row.new]
            assert moves == ([(old, new)] if old != new else [])
            for row in told:
                assert row.source == SOURCES[fact]
                assert row.reason
                assert (row.actor == bob.user) == (fact == "stopped")
                assert (row.notice_id is not None) == (row.source == "callback")

        while audit.seal():
            pass
        assert audit.verify()[1] == []
        rows = list(PaymentEvent.objects.order_by("pk").values_list("pk", flat=True))
        changed = rows[victim % len(rows)]
        with connection.cursor() as cursor:
            cursor.execute(
                f"UPDATE payments_paymentevent SET {field} = %s WHERE id = %s",
                [TAMPERED[field], changed],
            )
        assert f"payment_event {changed} was changed" in [
            fault.what for fault in audit.verify()[1]
        ]


# 9


def looks_like_a_number(text):
    """Say by hand which texts are Kenyan mobile numbers, and which number."""
    kept = "".join(c for c in text if not c.isspace() and c not in "().-")
    for prefix in ("+254", "254", "0", ""):
        rest = kept.removeprefix(prefix)
        fits = kept.startswith(prefix) and len(rest) == 9 and rest[0] in "17"
        if fits and set(rest) <= set(string.digits):
            return "254" + rest
    return None


written_numbers = st.builds(
    lambda prefix, rest, gaps, gap: prefix + "".join(
        gap + digit if number in gaps else digit for number, digit in enumerate(rest)
    ),
    st.sampled_from(["+254", "254", "0", "", "255", "00254", "+0"]),
    st.from_regex(r"[17][0-9]{7,9}|[0-9]{9}", fullmatch=True),
    st.sets(st.integers(0, 9), max_size=3),
    st.sampled_from([" ", "-", ".", "(", ")", "/"]),
)  # fmt: skip


@proved
@given(
    text=written_numbers | st.text("+0712345\u0663\u06f7 -.()x", max_size=16) | msisdns
)
def test_property_9_a_phone_number_has_one_form_or_is_none(text):
    expected = looks_like_a_number(text)
    if expected is None:
        with pytest.raises(phones.InvalidPhone):
            phones.parse(text)
    else:
        assert phones.parse(text) == expected == phones.parse(expected)
        assert phones.masked(expected)[-3:] == expected[-3:]
        assert expected[4:9] not in phones.masked(expected).replace(" ", "")


# 10


@proved
@given(data=st.data(), search=st.text(st.characters(codec="utf-8"), max_size=30))
def test_property_10_nothing_that_is_typed_breaks_or_stains_us(
    bob, order, mpesa, time, data, search
):
    good = {
        "orderId": str(order.pk),
        "phoneNumber": "0712 345 678",
        "amount": 100,
        "idempotencyKey": "a key",
        "acceptRisk": False,
    }
    spoilt = data.draw(st.sets(st.sampled_from(sorted(good)), max_size=2))
    body = good | {name: data.draw(SCALARS | JSON) for name in spoilt}
    with undone():
        answer = bob.post("/api/payments/mpesa/initiate", body)

        assert answer.status_code in (200, 201, 202, 400, 404, 409, 422)
        made = list(Payment.objects.values_list("idempotency_key", "phone", "amount"))
        assert len(made) == len(mpesa.pushes) == (answer.status_code == 201)
        if not made:
            assert set(answer.json()) == {"success", "code", "message", "details"}
        for key, phone, amount in made:
            assert phone == looks_like_a_number(body["phoneNumber"])
            assert amount == (body["amount"] or 250)
            assert key is None or (key.isprintable() and storable(key))
        mpesa.pushes.clear()
        listed = bob.get("/api/payments", {"search": search})
        assert listed.status_code == 200


# 11


@pytest.fixture
def other_keys():
    """A token as somebody would make it who has not our keys."""
    with override_settings(HOOK_SIGNING_KEYS=[b"x" * 32]):
        return hook_tokens.issue().text


@proved
@given(data=st.data())
def test_property_11_a_token_that_is_not_ours_opens_nothing(payment, other_keys, data):
    ours = payment.hook_token
    place = data.draw(st.integers(0, len(ours) - 1))
    token = data.draw(
        st.sampled_from([
            ours[:place] + data.draw(st.sampled_from("0123456789abcdefABCDEF ")) + ours[place + 1 :],
            ours[:place], ours + ours[:place], ours.upper(), other_keys,
            hook_tokens.issue(hook_tokens.Kind.ACCOUNT).text,
            hook_tokens.issue(hook_tokens.Kind.REQUEST).text,
        ])
        | st.text(max_size=80)
    )  # fmt: skip
    assume(token != ours)
    with undone(), nothing_changes():
        assert call(token, success(payment)) == 403
        assert not Notice.objects.exclude(payment=None).exists()


@proved
@given(data=st.data())
def test_property_11_a_good_token_alone_proves_nothing(payment, data):
    genuine = json.loads(success(payment))
    body = data.draw(anything(genuine))
    try:
        said = notices.parse_stk(body)
    except notices.Malformed:
        proves = denies = False
    else:
        merchants = ("", payment.merchant_request_id)
        is_ours = said.checkout_request_id == payment.checkout_request_id
        fits = is_ours and said.merchant_request_id in merchants
        proves = (
            fits
            and said.code == "0"
            and said.amount == payment.amount
            and bool(said.receipt)
        )
        row = result_codes.judge(said.code)
        denies = fits and row.callback in (
            result_codes.Class.FINAL,
            result_codes.Class.CONFIG,
        )
    with undone():
        assert call(payment.hook_token, body) == 200
        status = Payment.objects.get(pk=payment.pk).status
        assert status == ("completed" if proves else "failed" if denies else "pending")
        assert Collection.objects.count() == proves
        assert Notice.objects.get().processed_at is not None


# 12


@proved
@given(
    limit=st.integers(1, 6),
    tries=st.lists(st.sampled_from(["ours", "theirs"]), max_size=16),
)
def test_property_12_a_shop_sends_no_more_prompts_than_its_rate(
    seller, charlie, monkeypatch, limit, tries
):
    monkeypatch.setattr("django_ratelimit.core.time.time", lambda: 1_800_000_000)
    asking = {
        name: intents.Intent(
            access=access,
            order_id=None,
            phone=PHONE,
            amount=None,
            key=None,
            request_hash="",
        )
        for name, access in (
            ("ours", seller),
            ("theirs", Access(charlie.user, charlie.shop, "owner")),
        )
    }
    sent = {"ours": 0, "theirs": 0}
    with undone(), override_settings(STK_RATE_PER_SHOP=f"{limit}/m"):
        cache.clear()
        for shop in tries:
            if sent[shop] < limit:
                intents._require_rate(asking[shop])
                sent[shop] += 1
                continue
            with pytest.raises(RateLimited) as refusal:
                intents._require_rate(asking[shop])
            assert 1 <= refusal.value.details["retryAfter"] <= 60
    assert sent == {name: min(limit, tries.count(name)) for name in sent}


# 14


class Lines(logging.Handler):
    """Keeps log lines as they would be written."""

    def __init__(self):
        super().__init__()
        self.setFormatter(LineFormatter("%(message)s"))
        self.lines = []

    def emit(self, record):
        self.lines.append(self.format(record))


CODES = sorted(
    answers.REFUSED_AS_WRONG
    | answers.REFUSED_AS_BUSY
    | {"500.001.1001", "500.003.1001", ""}
)
MESSAGES = (
    *("Unable to lock subscriber", "Merchant does not exist", "Wrong credentials"),
    *("The transaction is being processed", "Bad Request - Invalid PhoneNumber", ""),
)


@proved
@given(
    status=st.sampled_from([200, 400, 401, 403, 404, 429, 500, 503]),
    code=st.sampled_from(CODES) | st.text(max_size=20),
    message=st.sampled_from(MESSAGES) | st.text(max_size=40),
    echoes=st.booleans(),
)
def test_property_14_an_error_is_told_in_words_and_logged_without_secrets(
    ask, mpesa, monkeypatch, status, code, message, echoes
):
    log, sent = Lines(), []

    def refuse(request):
        sent.append(request)
        echo = f" {request.callback_url} {request.phone}" if echoes else ""
        answer = {"errorCode": code, "errorMessage": message + echo}
        return answers.accepted(status, answer)

    mpesa.push_answers = [refuse]
    logging.getLogger().addHandler(log)
    try:
        with undone():
            payment = ask().payment
            events = list(payment.events.values_list("reason", flat=True))
            assert payment.status in ("failed", "created")
            assert payment.is_undecided == (payment.status == "created")
            assert payment.error_code in ("MPESA_004", "MPESA_006", "")
            assert (payment.error_code == "") == payment.is_undecided
            words = states.explain(payment)
            for language in ("en", "sw-ke"):
                assert words.reason(language)
                assert words.remedy(language)
            kept = [*events, payment.result_desc, *log.lines]
    finally:
        logging.getLogger().removeHandler(log)
    token = sent[0].callback_url.rsplit("/", 1)[1]
    assert not any(token in text or PHONE in text for text in kept)


@proved
@given(code=st.sampled_from(sorted(result_codes.TABLE)) | st.text(max_size=20))
def test_property_14_every_code_has_words_and_only_listed_ones_are_certain(code):
    row = result_codes.judge(code)

    for language in ("en", "sw"):
        assert row.words.reason(language)
        assert row.words.remedy(language)
    if code not in result_codes.TABLE:
        assert {row.callback, row.query} == {result_codes.Class.UNCERTAIN}
    assert (row.query == result_codes.Class.PAID) == (code == "0")


# 15


@pytest.mark.once
@proved
@given(
    requests=st.lists(
        st.tuples(
            st.sampled_from(["a", "b", None]),
            st.sampled_from([PHONE, "254711000222"]),
            st.sampled_from([None, 100, 150]),
        ),
        min_size=2,
        max_size=3,
    )
)
def test_property_15_asking_again_sends_no_second_prompt(ask, mpesa, requests):
    with undone():
        of_key = {}
        made_ones = []
        for key, phone, amount in requests:
            pushes = len(mpesa.pushes)
            try:
                made = ask(key=key, phone=phone, amount=amount)
            except IdempotencyMismatch:
                assert of_key[key][0] != (phone, amount)
                assert len(mpesa.pushes) == pushes
                continue
            except PromptInTheWay:
                assert key not in of_key
                assert len(mpesa.pushes) == pushes
                continue
            assert len(mpesa.pushes) - pushes == made.is_new
            if key in of_key:
                assert of_key[key] == ((phone, amount), made.payment.pk)
                assert not made.is_new
            elif key and made.is_new:
                of_key[key] = ((phone, amount), made.payment.pk)
            if made.is_new:
                made_ones.append(made.payment)
        assert Payment.objects.count() == len(made_ones) == len(mpesa.pushes)
        # However often it was asked for, the sale is asked for once.
        assert sum(one.amount for one in made_ones) <= 250
        mpesa.pushes.clear()


# 16

BREAKDOWNS = (
    requests.ConnectionError("reset"),
    requests.ReadTimeout("slow"),
    requests.exceptions.ChunkedEncodingError("cut"),
    OSError("no route"),
    ValueError("what is this?"),
    MemoryError(),
)
errors = st.sampled_from(BREAKDOWNS) | st.builds(
    lambda certain: GatewayError("no answer", certain=certain), st.booleans()
)
silences = st.lists(
    st.sampled_from([
        PENDING, QueryAnswer(Answered.UNKNOWN), QueryAnswer(Answered.NOT_ASKED),
        final("9999"),
    ]),
    max_size=3,
)  # fmt: skip


@pytest.mark.once
@proved
@given(error=errors, later=silences)
def test_property_16_a_push_whose_answer_is_lost_is_not_sent_again(
    ask, mpesa, time, error, later
):
    mpesa.push_answers = [error]
    with undone():
        payment = ask().payment
        is_certain = isinstance(error, GatewayError) and error.certain
        assert payment.status == ("failed" if is_certain else "created")
        Payment.objects.filter(pk=payment.pk).update(
            checkout_request_id=None if is_certain else "ws_CO_1"
        )
        start = time.now
        for answer in later:
            mpesa.otherwise = answer
            time.turn(30)
            questions.attend(payment.pk)
            payment.refresh_from_db()
            assert payment.is_undecided != is_certain
            if is_certain:
                assert payment.next_ask_at is None
            else:
                # It goes on asking, later and later.
                assert payment.next_ask_at > time.now
        time.now = start
        assert len(mpesa.pushes) == 1
        mpesa.pushes.clear()


@proved
@given(failures=st.integers(0, 8))
def test_property_16_a_broken_notice_backs_off_and_is_never_forgotten(
    payment, time, monkeypatch, failures
):
    broken = iter([True] * failures)
    judge = inbox._judge

    def breaking(*arguments):
        if next(broken, False):
            raise RuntimeError("something in here is broken")
        return judge(*arguments)

    start = time.now
    with undone(), monkeypatch.context() as patched:
        patched.setattr(inbox, "_judge", breaking)
        assert call(payment.hook_token, success(payment)) == 200
        waits = []
        while (notice := Notice.objects.get()).next_try_at is not None:
            waits.append((notice.next_try_at - time.now) / timedelta(seconds=1))
            time.now = notice.next_try_at
            inbox.attempt(notice.pk)
        backoff = (5, 30, 120, 600, 3600)
        assert tuple(waits) == backoff[:failures]
        if failures > len(backoff):
            assert (notice.verdict, notice.processed_at) == ("parked", None)
            assert "something in here is broken" in notice.error
            assert not Collection.objects.exists()
            for _ in range(failures - len(backoff) - 1):
                assert inbox.process_again(notice.pk) is None
            assert inbox.process_again(notice.pk) == "applied"
        collection = Collection.objects.get()
        assert (collection.receipt, collection.amount) == (RECEIPT, kes(250))
        assert Order.objects.get(pk=payment.order_id).status == "paid"
    time.now = start


# 18

PUBLIC_PASSKEY = "bfb279f9aa9bdbcf158e97dd71a467cd2e0c893059b10f78e6b72ada1ed2c919"


@pytest.mark.once
@proved
@given(
    environment=st.sampled_from(["production", "sandbox"]),
    shortcode=st.sampled_from(["174379", "555444"]),
    passkey=st.sampled_from([PUBLIC_PASSKEY, "p" * 64]),
    secure=st.booleans(),
)
def test_property_18_the_sandboxs_keys_open_no_real_account(
    environment, shortcode, passkey, secure
):
    account = {
        "MPESA_CONSUMER_KEY": "key",
        "MPESA_CONSUMER_SECRET": "secret",
        "MPESA_SHORTCODE": shortcode,
        "MPESA_PASSKEY": passkey,
        "MPESA_CALLBACK_URL": f"http{'s' * secure}://duka.example.co.ke",
    }
    is_public = shortcode == "174379" or passkey == PUBLIC_PASSKEY
    is_allowed = environment == "sandbox" or (secure and not is_public)
    try:
        found = load(MPESA_ENV=environment, **account)
    except ImproperlyConfigured:
        assert not is_allowed
    else:
        assert is_allowed
        assert {name: found[name] for name in account} == account


@proved
@given(
    theirs=st.sampled_from(["sandbox", "production"]),
    code=st.sampled_from(["0", *CERTAIN, *UNCERTAIN]),
    answer=st.sampled_from(["0", *CERTAIN]),
)
def test_property_18_money_of_another_environment_settles_nothing(
    payment, seller, mpesa, theirs, code, answer
):
    mpesa.otherwise = final(answer)
    with undone():
        Payment.objects.filter(pk=payment.pk).update(environment=theirs)
        MpesaAccount.objects.filter(pk=payment.account_id).update(environment=theirs)
        told = success(payment) if code == "0" else failure(payment, int(code))
        assert call(payment.hook_token, told) == 200
        assert questions.ask(payment.pk) is False

        assert mpesa.questions == []
        assert path_of(payment) == ["created", "pending"]
        assert Payment.objects.get(pk=payment.pk).is_undecided
        assert sale_of(payment.order) == ("open", 0, 250, 0)
        assert not Collection.objects.exists()
        assert Notice.objects.get().verdict == "unverified"
        account = MpesaAccount.objects.get(pk=payment.account_id)
        choice = seller.shop.mpesa_settings
        choice.account, choice.uses_platform_account = account, False
        choice.save()
        with pytest.raises(accounts.NotConfigured):
            accounts.account_of(seller.shop)
