"""Transaction Status: what it proves, what it does not, and who may speak at all."""

from decimal import Decimal

import pytest
from django.db import connection

from payments import accounts, errands, gateways, hook_tokens, inquiries, ledger
from payments.enums import FailureReason
from payments.gateways.base import GatewayError
from payments.gateways.organisation import Acknowledged
from payments.models import (
    CodeClaim,
    Collection,
    MpesaAccount,
    Notice,
    OrganisationRequest,
    Receipt,
)
from smartduka.lib import clock
from tests.factories import MpesaAccountFactory
from tests.payments.gateways.test_security_credential import PEM
from tests.support.facts import nothing_changes, sale_of
from tests.support.organisation import (
    FakeOrganisation,
    result,
    status,
    tell,
    told,
)


pytestmark = pytest.mark.django_db

NUMBER = "UAE5B2K9QT"


@pytest.fixture
def organisation(monkeypatch):
    fake = FakeOrganisation()
    monkeypatch.setattr(gateways, "organisation", lambda: fake)
    return fake


@pytest.fixture
def account(db):
    """The platform's paybill 600100, with its initiator."""
    return accounts.platform_account()


@pytest.fixture
def request_(account, organisation, time):
    """A question about the receipt, taken by M-Pesa."""
    return inquiries.ask_status(account, NUMBER)


@pytest.fixture
def claim(order, bob, account, time):
    """Bob typed the code for an open sale of KES 250."""
    return CodeClaim.objects.create(
        shop=order.shop, order=order, account=account, number=NUMBER,
        created_by=bob.user, created_at=clock.now(),
    )  # fmt: skip


def row(request):
    request.refresh_from_db()
    return (
        request.state,
        request.conversation_id,
        request.originator_conversation_id,
        request.result_code,
    )


# Asking.


def test_asking_stores_the_intent_calls_and_keeps_the_ids(
    account, organisation, bob, time, settings
):
    request = inquiries.ask_status(account, NUMBER, asked_by=bob.user)

    [asked] = organisation.questions
    assert (asked.receipt, asked.original_conversation_id) == (NUMBER, "")
    assert asked.urls.result.startswith(f"{settings.MPESA_CALLBACK_URL}/hooks/result/")
    assert asked.urls.timeout.startswith(f"{settings.MPESA_CALLBACK_URL}/hooks/over/")
    assert row(request) == ("sent", "AG_1", "orig-1", "")
    assert (request.kind, request.receipt, request.asked_by, request.asked_at) == (
        "status", NUMBER, bob.user, clock.now(),
    )  # fmt: skip
    token = asked.urls.result.rpartition("/")[2]
    assert hook_tokens.verify(token, hook_tokens.Kind.REQUEST) == request.token_hash
    assert hook_tokens.verify(token) is None
    assert token not in str(OrganisationRequest.objects.values().get())


@pytest.mark.django_db(transaction=True)
def test_the_intent_is_committed_before_the_call(account, organisation):
    seen = []

    def look(asked):
        seen.append(
            (connection.in_atomic_block, row(OrganisationRequest.objects.get()))
        )

    organisation.answers = [look]

    inquiries.ask_status(account, NUMBER)

    assert seen == [(False, ("made", "", "", ""))]


def test_the_same_receipt_rests_for_half_a_minute(account, organisation, time):
    assert inquiries.ask_status(account, NUMBER) is not None
    time.turn(29)
    assert inquiries.ask_status(account, NUMBER) is None
    assert inquiries.ask_status(account, "UAE5OTHER1") is not None
    time.turn(1)
    assert inquiries.ask_status(account, NUMBER) is not None

    assert [one.receipt for one in organisation.questions] == [
        NUMBER, "UAE5OTHER1", NUMBER,
    ]  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        {"initiator_name": ""},
        {"initiator_password": ""},
        {"environment": "sandbox"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_who_has_no_initiator_here_is_not_asked(account, organisation, change):
    for name, value in change.items():
        setattr(account, name, value)

    assert not inquiries.can_ask(account)
    assert inquiries.ask_status(account, NUMBER) is None
    with pytest.raises(errands.NoInitiator, match="no initiator"):
        errands.initiator_of(account)

    assert (organisation.questions, OrganisationRequest.objects.count()) == ([], 0)


def test_the_initiator_has_the_certificate_of_the_settings(account, settings):
    settings.MPESA_CERTIFICATE = PEM.decode()

    found = errands.initiator_of(account)

    assert (found.name, found.password) == ("simapi", "SimPass123#")
    assert found.certificate == PEM.strip()

    settings.MPESA_CERTIFICATE = "/there/is/none.pem"
    with pytest.raises(errands.NoInitiator):
        errands.initiator_of(account)


def test_outside_the_simulator_there_is_none_without_a_certificate(account, settings):
    settings.MPESA_ENV = account.environment = "sandbox"
    assert not inquiries.can_ask(account)

    settings.MPESA_CERTIFICATE = PEM.decode()

    assert inquiries.can_ask(account)


def test_keys_that_cannot_be_opened_ask_nothing(account, organisation, settings):
    settings.MPESA_ENCRYPTION_KEYS = [b"3" * 32]
    assert not inquiries.can_ask(account)
    assert inquiries.ask_status(account, NUMBER) is None
    assert organisation.questions == []


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (GatewayError("500", certain=False), "unknown"),
        (RuntimeError("broke"), "unknown"),
        (
            GatewayError("no", certain=True, reason=FailureReason.SHOP_ACCOUNT),
            "refused",
        ),
    ],
    ids=["lost", "broken off", "refused"],
)
def test_what_is_not_taken_is_refused_or_unknown(account, organisation, error, state):
    organisation.answers = [error]

    request = inquiries.ask_status(account, NUMBER)

    assert row(request) == (state, "", "", "")
    assert len(organisation.questions) == 1


def test_without_the_certificate_nothing_is_asked(account, organisation, monkeypatch):
    def fetch(**limits):
        raise GatewayError("no certificate: HTTP 500", certain=True)

    monkeypatch.setattr(organisation, "certificate", fetch)

    request = inquiries.ask_status(account, NUMBER)

    assert row(request) == ("refused", "", "", "")
    assert organisation.questions == []


# Proof.


def test_completed_money_that_is_nobodys_becomes_unmatched(request_):
    assert tell(request_, status(request_)) == "applied"

    assert row(request_) == ("answered", "AG_1", "orig-1", "0")
    receipt = Receipt.objects.get()
    assert (receipt.number, receipt.amount, receipt.state) == (NUMBER, 250, "counted")
    assert (receipt.payer, receipt.payer_name) == ("254712345678", "JANE WANJIKU")
    assert receipt.proven_at == clock.now()
    [sighting] = receipt.sightings.all()
    assert (sighting.source, sighting.amount) == ("status", Decimal(250))
    [collection] = Collection.objects.all()
    assert (collection.receipt, collection.amount, collection.allocated) == (
        NUMBER, 250, 0,
    )  # fmt: skip
    assert (collection.source, collection.confirmed_at) == ("status", clock.now())


def test_the_till_number_is_this_account_too(request_, account):
    account.party_b = "5600301"
    account.save(update_fields=["party_b"])

    assert tell(request_, status(request_, payee="5600301 - DUKA")) == "applied"

    assert Collection.objects.count() == 1


def test_a_typed_code_that_is_proved_pays_its_sale(claim, request_, order, account):
    # On an account that shops share a typed code is no reason.
    MpesaAccount.objects.filter(pk=account.pk).update(shop=order.shop)

    assert tell(request_, status(request_)) == "applied"

    claim.refresh_from_db()
    assert (claim.state, claim.closed_at) == ("used", clock.now())
    assert sale_of(order) == ("paid", 250, 0, 0)


def test_saying_it_twice_changes_nothing(claim, request_):
    body = status(request_)
    notice = told(request_, body)
    assert inquiries.apply_result(notice) == "applied"

    with nothing_changes():
        assert inquiries.apply_result(notice) == "duplicate"
        assert tell(request_, body + b" ") == "duplicate"


# No proof.

NOT_PROOF = {
    "another receipt": ({"receipt": "UAE5OTHER1"}, "unverified"),
    "no receipt": ({"receipt": ""}, "unverified"),
    "to somebody else": ({"payee": "700700 - OTHER"}, "unverified"),
    "payee unknown": ({"payee": None}, "unverified"),
    "out of our account": (
        {"payer": "600100 - SMARTDUKA", "payee": "600100 - SMARTDUKA"},
        "unverified",
    ),
    "no amount": ({"amount": None}, "unverified"),
    "amount of words": ({"amount": "many"}, "unverified"),
    "under way": ({"word": "Authorized"}, "uncertain"),
    "an unknown word": ({"word": "Hazy"}, "uncertain"),
    "declined": ({"word": "Declined"}, "applied"),
    "cancelled": ({"word": "Cancelled"}, "applied"),
    "expired": ({"word": "Expired"}, "applied"),
}


@pytest.mark.parametrize(("said", "verdict"), NOT_PROOF.values(), ids=NOT_PROOF.keys())
def test_what_does_not_agree_in_all_is_no_money(request_, claim, said, verdict):
    with nothing_changes():
        assert tell(request_, status(request_, **said)) == verdict

    assert Receipt.objects.count() == 0
    assert row(request_)[0] == "answered"


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"payee": "700700 - OTHER"}, "This payment went to somebody else."),
        ({"word": "Declined"}, "M-Pesa did not carry it out: Declined."),
        ({"word": "Reversed"}, "M-Pesa sent this payment back to the customer."),
    ],
)
def test_a_typed_code_that_is_no_money_for_us_is_denied(claim, request_, said, why):
    tell(request_, status(request_, **said))

    claim.refresh_from_db()
    assert (claim.state, claim.why, claim.closed_at) == ("denied", why, clock.now())


def test_what_was_sent_back_came_and_went(request_, claim, order):
    assert tell(request_, status(request_, word="Reversed")) == "applied"

    (collection,) = Collection.objects.all()
    assert (collection.receipt, collection.reversed_at) == (NUMBER, clock.now())
    assert sum(one.amount for one in ledger.current(collection)) == collection.amount
    assert {one.kind for one in ledger.current(collection)} == {"refunded"}
    order.refresh_from_db()
    assert (order.status, order.paid) == ("open", 0)


@pytest.mark.parametrize("code", [25, "25", "R000002"])
def test_no_such_transaction_denies_the_typed_code(claim, request_, code):
    with nothing_changes():
        assert tell(request_, result(request_, code)) == "applied"

    claim.refresh_from_db()
    assert (claim.state, claim.why) == (
        "denied", "M-Pesa does not know this code. Look at the SMS again.",
    )  # fmt: skip
    assert row(request_) == ("answered", "AG_1", "orig-1", str(code))


def test_a_denial_is_about_this_number_and_account_alone(claim, request_, order, bob):
    others = [
        CodeClaim.objects.create(
            shop=order.shop, order=order, created_by=bob.user, created_at=clock.now(),
            account=account, number=number,
        )
        for account, number in (
            (claim.account, "UAE5OTHER1"), (MpesaAccountFactory(), NUMBER),
        )
    ]  # fmt: skip

    tell(request_, result(request_, 25))

    for other in others:
        other.refresh_from_db()
        assert (other.state, other.why) == ("waiting", "")


@pytest.mark.parametrize("code", [1, 26, 2001, "500.001", 8006])
def test_any_other_code_decides_nothing(claim, request_, code):
    with nothing_changes():
        assert tell(request_, result(request_, code)) == "uncertain"

    claim.refresh_from_db()
    assert claim.state == "waiting"


def test_a_result_that_announces_more_is_not_the_end(claim, request_):
    assert tell(request_, status(request_, ResultType=1)) == "uncertain"

    assert row(request_) == ("sent", "AG_1", "orig-1", "")
    assert tell(request_, status(request_)) == "applied"


# Whose answer it is.


@pytest.mark.parametrize(
    "change",
    [
        {"ConversationID": "AG_other"},
        {"OriginatorConversationID": "other"},
        {"ConversationID": ""},
        {"OriginatorConversationID": None},
        {"ConversationID": "orig-1", "OriginatorConversationID": "AG_1"},
    ],
    ids=str,
)
def test_both_conversation_ids_must_agree(claim, request_, change):
    with nothing_changes():
        assert tell(request_, status(request_, **change)) == "unverified"

    assert row(request_) == ("sent", "AG_1", "orig-1", "")
    claim.refresh_from_db()
    assert claim.state == "waiting"


IDS = {"ConversationID": "AG_9", "OriginatorConversationID": "orig-9"}


@pytest.fixture
def lost(account, organisation, time):
    """A question whose answer was lost: M-Pesa's ids are not known."""
    organisation.answers = [GatewayError("time-out", certain=False)]
    return inquiries.ask_status(account, NUMBER)


def test_ids_are_learned_from_a_result_with_the_token_and_the_receipt(lost, claim):
    assert tell(lost, status(lost, **IDS)) == "applied"

    assert row(lost) == ("answered", "AG_9", "orig-9", "0")
    assert Collection.objects.get().receipt == NUMBER


@pytest.mark.parametrize(
    "body",
    [
        lambda request: status(request, receipt="UAE5OTHER1", **IDS),
        lambda request: result(request, 25, **IDS),
        lambda request: status(request),
        lambda request: status(request, ConversationID="AG_9"),
    ],
    ids=["another receipt", "no receipt", "no ids", "one id"],
)
def test_nothing_less_binds_a_result_whose_ids_are_unknown(lost, claim, body):
    with nothing_changes():
        assert tell(lost, body(lost)) == "unverified"

    assert row(lost) == ("unknown", "", "", "")
    claim.refresh_from_db()
    assert claim.state == "waiting"


def test_a_refusal_that_overtakes_our_answer_is_tried_again(account, organisation):
    early = []

    def overtake(asked):
        request = OrganisationRequest.objects.get()
        notice = told(request, result(request, 25, **IDS))
        with pytest.raises(inquiries.TooEarly):
            inquiries.apply_result(notice)
        early.append(notice)
        return Acknowledged("AG_9", "orig-9")

    organisation.answers = [overtake]

    request = inquiries.ask_status(account, NUMBER)

    assert row(request) == ("sent", "AG_9", "orig-9", "")
    assert inquiries.apply_result(early[0]) == "applied"
    assert row(request) == ("answered", "AG_9", "orig-9", "25")


def test_a_refusal_of_a_request_whose_sender_died_is_not_tried_for_ever(
    account, organisation, time
):
    def die(asked):
        raise SystemExit

    organisation.answers = [die]
    with pytest.raises(SystemExit):
        inquiries.ask_status(account, NUMBER)
    request = OrganisationRequest.objects.get()
    notice = told(request, result(request, 25, **IDS))
    with pytest.raises(inquiries.TooEarly):
        inquiries.apply_result(notice)

    time.turn(121)

    assert inquiries.apply_result(notice) == "unverified"
    assert row(request) == ("made", "", "", "")


def test_proof_that_overtakes_our_answer_counts(account, organisation):
    def overtake(asked):
        request = OrganisationRequest.objects.get()
        assert tell(request, status(request, **IDS)) == "applied"
        return Acknowledged("AG_9", "orig-9")

    organisation.answers = [overtake]

    request = inquiries.ask_status(account, NUMBER)

    assert row(request) == ("answered", "AG_9", "orig-9", "0")
    assert Collection.objects.get().receipt == NUMBER


def test_a_body_of_another_environment_proves_nothing(request_, account):
    type(account).objects.filter(pk=account.pk).update(environment="sandbox")

    with nothing_changes():
        assert tell(request_, status(request_)) == "unverified"


def test_an_unlisted_address_proves_nothing_where_that_is_enforced(request_, settings):
    settings.MPESA_CALLBACK_IP_MODE = "enforce"

    with nothing_changes():
        assert tell(request_, status(request_), is_listed=False) == "unverified"
    assert tell(request_, status(request_) + b" ") == "applied"


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"Result": 1}', b'{"Result": {}}', b"\xff", b"NaN"]
)
def test_rubbish_is_malformed(request_, claim, body):
    with nothing_changes():
        assert tell(request_, body) == "malformed"

    assert row(request_) == ("sent", "AG_1", "orig-1", "")


def test_a_body_that_was_cut_is_malformed(request_):
    assert tell(request_, status(request_), is_cut=True) == "malformed"


# Time-outs.


@pytest.mark.parametrize("code", [0, 1037, "500.001"])
def test_a_time_out_proves_nothing_whatever_it_says(claim, request_, code):
    with nothing_changes():
        body = result(request_, code)
        assert tell(request_, body, kind="timeout") == "uncertain"

    assert row(request_) == ("unknown", "AG_1", "orig-1", "")
    claim.refresh_from_db()
    assert claim.state == "waiting"
    assert tell(request_, status(request_)) == "applied"


def test_a_time_out_after_the_answer_says_nothing_new(request_):
    tell(request_, status(request_))

    assert tell(request_, result(request_, 1), kind="timeout") == "duplicate"

    assert row(request_)[0] == "answered"
    assert Notice.objects.count() == 2
