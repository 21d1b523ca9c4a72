"""The calls about a shop's own account, against M-Pesa as a process of its own."""

import pytest

from orders.models import Order
from payments import going_live
from payments.models import MpesaAccount, MpesaSettings, Payment
from shops.enums import Role
from smartduka.lib import clock
from tests.factories import MembershipFactory
from tests.support.facts import nothing_changes


CONFIG = "/api/payments/mpesa/config"
VERIFY = f"{CONFIG}/verify"
TEST_PAYMENT = f"{CONFIG}/test-payment"

TILL = {
    "type": "till",
    "shortCode": "600300",
    "partyB": "5600301",
    "consumerKey": "sim-till-key",
    "consumerSecret": "sim-till-secret",
    "passkey": "simtillpasskey".ljust(64, "0"),
}
SECRETS = (TILL["consumerKey"], TILL["consumerSecret"], TILL["passkey"], "SimPass123#")


def put(person, body, headers=None):
    return person.client.put(
        CONFIG, body, content_type="application/json", headers=headers or {}
    )


def own(alice):
    return MpesaAccount.objects.get(shop=alice.shop)


def nothing_set_up(**changes):
    """Return the answer for a shop that has no account of its own."""
    nothing = dict.fromkeys(
        (
            *("environment", "type", "shortCode", "partyB", "testPaidAt"),
            *("consumerKeySetAt", "consumerSecretSetAt", "passkeySetAt"),
            *("initiatorPasswordSetAt", "verifiedAt", "verificationProblem"),
        )
    )
    return (
        nothing
        | {
            "mode": "platform",
            "enabled": False,
            "problem": None,
            "version": 0,
            "initiatorName": "",
            "verified": False,
            "verificationStatus": "pending",
        }
        | changes
    )


@pytest.mark.django_db
def test_a_shop_on_the_platforms_account_has_none_of_its_own(alice):
    response = alice.get(CONFIG)

    assert (response.status_code, response.json()) == (200, nothing_set_up())


@pytest.mark.django_db
def test_a_shop_that_chose_nothing_is_told_why_it_cannot_prompt(alice):
    MpesaSettings.objects.filter(shop=alice.shop).delete()

    assert alice.get(CONFIG).json() == nothing_set_up(
        mode="none",
        problem="M-Pesa is not set up for this shop. Take cash, and tell the owner.",
    )


def test_an_account_is_entered_and_no_secret_comes_back(alice, mpesa):
    initiator = {"initiatorName": "simapi", "initiatorPassword": "SimPass123#"}

    response = put(alice, TILL | initiator)

    at = clock.iso(own(alice).passkey_set_at)
    assert (response.status_code, response.json()) == (
        200,
        nothing_set_up(
            version=1,
            environment="simulator",
            type="till",
            shortCode="600300",
            partyB="5600301",
            consumerKeySetAt=at,
            consumerSecretSetAt=at,
            passkeySetAt=at,
            initiatorName="simapi",
            initiatorPasswordSetAt=at,
        ),
    )
    for text in (response.content.decode(), alice.get(CONFIG).content.decode()):
        assert not any(secret in text for secret in SECRETS)


def test_the_whole_way_to_a_live_till(alice, mpesa):
    put(alice, TILL)

    verified = alice.post(VERIFY)
    prompted = alice.post(TEST_PAYMENT, {"phoneNumber": "0712345678"})
    test = Payment.objects.get()
    mpesa.pays(alice.client, test)
    live = put(alice, {"mode": "own", "enabled": True, "confirm": "5600301"})

    at = clock.iso(own(alice).verified_at)
    assert (verified.status_code, verified.json()) == (
        200,
        {
            "success": True,
            "findings": [
                {
                    "part": "keys",
                    "right": True,
                    "message": "M-Pesa knows the consumer key and secret.",
                },
                {
                    "part": "product",
                    "right": True,
                    "message": "The app may send prompts.",
                },
                {
                    "part": "number",
                    "right": True,
                    "message": "600300 belongs to the app.",
                },
                {
                    "part": "passkey",
                    "right": True,
                    "message": "The passkey fits the number.",
                },
            ],
            "verified": True,
            "verifiedAt": at,
            "verificationStatus": "verified",
            "verificationProblem": None,
        },
    )
    assert prompted.status_code == 201
    assert prompted.json()["transactionId"] == str(test.pk)
    assert (test.party_b, test.amount, test.status) == ("5600301", 1, "completed")
    assert Order.objects.get(is_test=True).status == "paid"
    facts = live.json()
    assert (live.status_code, facts["mode"], facts["enabled"]) == (200, "own", True)
    assert facts["testPaidAt"] == clock.iso(test.completed_at)
    assert facts["problem"] is None


@pytest.mark.parametrize(
    ("change", "field", "begins"),
    [
        (
            {"consumerSecret": "wrong"},
            "consumerSecret",
            "M-Pesa does not know this consumer key and secret.",
        ),
        ({"passkey": "wrong"}, "passkey", "The passkey does not fit 600300."),
        (
            {"shortCode": "600301"},
            "shortCode",
            "M-Pesa knows no store number 600301",
        ),
        (
            {"shortCode": "5600301", "partyB": "600300"},
            "shortCode",
            "This is the till number: the two numbers are the wrong way round.",
        ),
        (
            {"shortCode": "5600301"},
            "shortCode",
            "This is the till number once more.",
        ),
        ({"passkey": ""}, "passkey", "Enter the passkey"),
    ],
    ids=["wrong keys", "wrong passkey", "unknown", "swapped", "till twice", "half"],
)
def test_what_is_wrong_is_told_before_anything_is_stored(
    alice, mpesa, change, field, begins
):
    with nothing_changes():
        response = put(alice, TILL | change)

    body = response.json()
    assert (response.status_code, body["code"]) == (400, "INVALID_REQUEST")
    assert body["details"][field][0].startswith(begins)
    assert not any(secret in response.content.decode() for secret in SECRETS)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "type"),
        ({"type": "till"}, "shortCode"),
        ({"shortCode": "600300"}, "type"),
        ({"type": "bank", "shortCode": "600300"}, "type"),
        ({"mode": "theirs"}, "mode"),
        ({"mode": "platform", "type": "till"}, "mode"),
        ({"mode": "none", "enabled": True}, "enabled"),
        ({"enabled": "yes"}, "enabled"),
        (TILL | {"enabled": True}, "enabled"),
        (TILL | {"passkey": 7}, "passkey"),
        (TILL | {"passkey": "a\nb"}, "passkey"),
        ({"mode": "none", "version": -1}, "version"),
    ],
    ids=[
        "nothing", "no number", "no kind", "odd kind", "odd mode", "platform's keys",
        "none live", "a word", "untested", "a number", "two lines", "no version",
    ],
)  # fmt: skip
def test_half_a_body_is_refused_with_its_field(alice, body, field):
    with nothing_changes():
        response = put(alice, body)

    assert (response.status_code, response.json()["code"]) == (400, "INVALID_REQUEST")
    assert list(response.json()["details"]) == [field]


def test_an_untested_account_does_not_go_live(alice, mpesa):
    put(alice, TILL)

    with nothing_changes():
        response = put(alice, {"enabled": True, "confirm": "5600301"})

    assert (response.status_code, response.json()) == (
        409,
        {
            "success": False,
            "code": "MPESA_NOT_READY",
            "message": going_live.UNTESTED,
            "details": {},
        },
    )


def test_what_somebody_else_saved_is_not_written_over(alice, mpesa):
    seen = alice.get(CONFIG).json()["version"]
    put(alice, TILL)

    with nothing_changes():
        response = put(alice, {"mode": "none", "version": seen})

    assert response.status_code == 409
    assert response.json()["code"] == "MPESA_CONFIG_CHANGED"


@pytest.mark.django_db
def test_the_platform_or_nothing_is_chosen_in_words(alice):
    assert put(alice, {"mode": "none"}).json()["mode"] == "none"
    assert put(alice, {"mode": "platform"}).json()["mode"] == "platform"


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["mary", "bob", "audrey"])
def test_only_the_owner_reads_or_writes_it(request, name):
    person = request.getfixturevalue(name)
    with nothing_changes():
        answers = [
            person.get(CONFIG),
            put(person, {"mode": "none"}),
            person.post(VERIFY),
            person.post(TEST_PAYMENT, {"phoneNumber": "0712345678"}),
        ]

    codes = [(one.status_code, one.json()["code"]) for one in answers]
    assert codes == [(403, "FORBIDDEN")] * 4


@pytest.mark.django_db
def test_the_operator_sets_up_no_shop(operator, duka):
    shop = {"X-Shop": str(duka.pk)}

    assert operator.get(CONFIG, headers=shop).status_code == 403
    assert put(operator, {"mode": "none"}, headers=shop).status_code == 403


@pytest.mark.django_db
def test_another_shops_account_is_not_there(alice, charlie):
    shop = {"X-Shop": str(charlie.shop.pk)}
    with nothing_changes():
        answers = [
            alice.get(CONFIG, headers=shop),
            put(alice, {"mode": "none"}, headers=shop),
            alice.post(VERIFY, headers=shop),
            alice.post(TEST_PAYMENT, {"phoneNumber": "0712345678"}, headers=shop),
        ]

    assert [one.status_code for one in answers] == [404] * 4
    assert "600200" not in alice.get(CONFIG).content.decode()


@pytest.mark.django_db
def test_who_owns_two_shops_names_one(alice, charlie):
    MembershipFactory(user=alice.user, shop=charlie.shop, role=Role.OWNER)

    assert alice.get(CONFIG).json()["code"] == "SHOP_REQUIRED"
    theirs = alice.get(CONFIG, headers={"X-Shop": str(charlie.shop.pk)})
    assert theirs.json()["shortCode"] == "600200"


@pytest.mark.django_db
def test_without_an_account_there_is_nothing_to_test(alice):
    response = alice.post(VERIFY)

    assert response.status_code == 409
    assert response.json()["code"] == "MPESA_NOT_CONFIGURED"


@pytest.mark.django_db
def test_a_test_payment_needs_a_phone(alice):
    with nothing_changes():
        nothing = alice.post(TEST_PAYMENT)
        nonsense = alice.post(TEST_PAYMENT, {"phoneNumber": "12"})

    assert list(nothing.json()["details"]) == ["phoneNumber"]
    assert nonsense.json()["code"] == "MPESA_001"
