"""The page on which an owner sets up M-Pesa: each step, each fault told in its field."""

import re

import pytest
from django.contrib.admin.models import LogEntry
from django.db import transaction

from payments import accounts, configuration, gateways, going_live, settlement
from payments.admin import attention, setup, setup_forms
from payments.enums import Source
from payments.gateways.base import Proof
from payments.models import MpesaAccount, MpesaSettings, Payment
from shops.enums import Role
from shops.tenancy import Access
from smartduka.lib import clock
from tests.factories import MembershipFactory, ShopFactory
from tests.payments.setup import SECRETS, only_store_number, typed
from tests.support.facts import nothing_changes
from tests.support.gateway import FakeMpesa


NUMBERS = {"keys-party_b": "5600301", "keys-shortcode": "600300"}
KEYS = {f"keys-{name}": value for name, value in SECRETS.items()}


@pytest.fixture(autouse=True)
def mpesa(monkeypatch):
    """The counting M-Pesa, which takes any key."""
    fake = FakeMpesa()
    monkeypatch.setattr(gateways, "mpesa", lambda: fake)
    monkeypatch.setattr(gateways, "prober", lambda: fake)
    return fake


@pytest.fixture
def owner(alice):
    return Access(alice.user, alice.shop, "owner")


def path_of(shop):
    return f"/admin/payments/mpesasettings/setup/{shop.pk}/"


def show(person, kind="", shop=None):
    response = person.client.get(path_of(shop or person.shop), {"kind": kind})
    assert response.status_code == 200
    return response


def send(person, act, kind="till", **fields):
    version = configuration.standing(person.shop).version
    sent = {"act": act, f"{act}-version": version} | fields
    return person.client.post(f"{path_of(person.shop)}?kind={kind}", sent)


def faults(response, act):
    """Return what the form of a button says is wrong, field by field."""
    assert response.status_code == 200
    errors = response.context["forms"][act].errors
    return {name: words[0] for name, words in errors.items()}


def said(response):
    return [str(one) for one in response.context["messages"]]


def after(person, response):
    """Follow to the page, and return what it says above."""
    assert response.status_code == 302, response.content.decode()[-3000:]
    return said(person.client.get(response.url))


def states(response):
    pills = {name: one.state for name, one in response.context["steps"].items()}
    return {name: re.sub("<[^>]+>", "", str(pill)) for name, pill in pills.items()}


# The way through.


def test_the_whole_way(alice, mpesa):
    page = show(alice, "till")
    assert states(page) == {
        "keys": "to enter", "verify": "later", "pay": "later", "live": "not live",
    }  # fmt: skip

    entered = send(alice, "keys", **NUMBERS, **KEYS)
    assert entered.url == f"{path_of(alice.shop)}?kind=till#verify"
    assert after(alice, entered) == [setup.SAVED]
    account = MpesaAccount.objects.get(shop=alice.shop)

    assert after(alice, send(alice, "verify")) == [setup.VERIFIED]

    paid = send(alice, "pay", **{"pay-phone": "0712345678"})
    assert after(alice, paid) == [setup.ASKED]
    test = Payment.objects.get(shop=alice.shop)
    assert states(show(alice)) == {
        "keys": "entered", "verify": "tested", "pay": "waiting", "live": "not live",
    }  # fmt: skip
    assert 'http-equiv="refresh"' in show(alice).content.decode()
    with transaction.atomic():
        order, locked = settlement.locked(test.pk)
        proof = settlement.Proof(Source.CALLBACK, "UAE5SHILL1", test.phone, clock.now())
        settlement.record_success(order, locked, proof)
    page = show(alice)
    assert states(page)["pay"] == "paid"
    assert 'http-equiv="refresh"' not in page.content.decode()

    live = send(alice, "live", **{"live-confirm": "5600301"})
    assert after(alice, live) == ["Live: customers pay to till 5600301 from now on."]
    page = show(alice)
    assert states(page)["live"] == "live"
    assert page.context["verdict"] == setup.Verdict(
        "good", "Live", "Customers pay to till 5600301"
    )
    assert accounts.account_of(alice.shop) == account


def test_each_act_is_in_the_history_without_a_secret(alice, mpesa):
    send(alice, "keys", **NUMBERS, **KEYS)
    send(alice, "verify")
    send(alice, "pay", **{"pay-phone": "0712345678"})
    send(alice, "live", **{"live-confirm": "5600301"})
    send(alice, "stop", **{"stop-agree": "on"})
    send(alice, "platform", **{"platform-agree": "on"})

    row = MpesaSettings.objects.get(shop=alice.shop)
    told = [
        entry.get_change_message()
        for entry in LogEntry.objects.filter(object_id=str(row.pk)).order_by("pk")
    ]
    assert told == [
        "Entered: environment, kind, store number or paybill, number that customers"
        " pay to, consumer key, consumer secret, passkey",
        "Tested the connection: it works",
        "Asked a phone for KES 1, as a test",
        "Made till 5600301 live",
        "Stopped M-Pesa",
        "Chose the platform's account",
    ]


def test_a_paybill_has_one_number(alice):
    form = show(alice, "paybill").context["forms"]["keys"]

    assert [one.label for one in form.numbers] == ["Paybill number"]
    sent = {"keys-shortcode": "600400"}
    after(alice, send(alice, "keys", "paybill", **sent, **KEYS))
    account = MpesaAccount.objects.get(shop=alice.shop)
    assert (account.type, account.shortcode, account.party_b) == (
        "paybill", "600400", "600400",
    )  # fmt: skip


def test_a_till_that_is_set_up_is_no_paybill(alice, owner):
    configuration.enter(owner, typed())

    assert states(show(alice, "paybill"))["keys"] == "to enter"
    assert states(show(alice))["keys"] == "entered"


# Secrets.


def test_secrets_are_shown_as_set_on_and_never_come_back(alice, owner):
    account = configuration.enter(
        owner, typed(initiator_name="api", initiator_password="the-password")
    ).account

    text = show(alice).content.decode()

    assert text.count("Leave it empty to keep it.") == 4
    entered = account.passkey_set_at.astimezone(clock.NAIROBI)
    assert f"{entered:%Y-%m-%d}" in text
    for secret in (*SECRETS.values(), "the-password"):
        assert secret not in text


def test_a_secret_that_was_typed_wrong_is_not_written_into_the_page(alice, mpesa):
    mpesa.proof = Proof.PASSKEY

    response = send(alice, "keys", **NUMBERS, **KEYS)

    text = response.content.decode()
    assert list(faults(response, "keys")) == ["passkey"]
    assert "600300" in text
    for secret in SECRETS.values():
        assert f'value="{secret}"' not in text


def test_empty_secrets_are_kept(alice, owner):
    configuration.enter(owner, typed())

    told = after(alice, send(alice, "keys", **NUMBERS))

    assert told == [setup.UNCHANGED]


# What is wrong is told in its field, before anything is saved.


@pytest.mark.parametrize(
    ("proof", "changes", "field", "begins"),
    [
        (Proof.KEYS, {}, "consumer_key", "M-Pesa does not know this consumer key"),
        (Proof.PRODUCT, {}, "consumer_key", "The app of this consumer key may not"),
        (Proof.PASSKEY, {}, "passkey", "The passkey does not fit 600300."),
        (
            only_store_number("600300"),
            {"keys-shortcode": "600301"},
            "shortcode",
            "M-Pesa knows no store number 600301",
        ),
        (
            only_store_number("600300"),
            {"keys-shortcode": "5600301", "keys-party_b": "600300"},
            "shortcode",
            "This is the till number: the two numbers are the wrong way round.",
        ),
        (
            Proof.GOOD,
            {"keys-shortcode": "5600301"},
            "shortcode",
            "This is the till number once more.",
        ),
        (Proof.GOOD, {"keys-passkey": ""}, "passkey", "Enter the passkey"),
        (
            Proof.GOOD,
            {"keys-initiator_name": "api"},
            "initiator_password",
            "An initiator needs its password too.",
        ),
    ],
    ids=[
        "wrong keys", "no product", "wrong passkey", "unknown number", "swapped",
        "till twice", "half", "half an initiator",
    ],
)  # fmt: skip
def test_a_fault_is_told_in_its_field(alice, mpesa, proof, changes, field, begins):
    mpesa.proof = proof

    with nothing_changes():
        response = send(alice, "keys", **NUMBERS | KEYS | changes)

    told = faults(response, "keys")
    assert told[field].startswith(begins)
    form = response.context["forms"]["keys"]
    first = next(name for name in form.fields if name in told)
    assert form.fields[first].widget.attrs["autofocus"]
    assert not LogEntry.objects.exists()


def test_a_fault_of_a_paybills_second_number_stands_at_its_one(alice):
    other = ShopFactory()
    MpesaAccount.objects.create(
        shop=other, environment="simulator", type="till", shortcode="600999",
        party_b="600400",
    )  # fmt: skip

    response = send(alice, "keys", "paybill", **{"keys-shortcode": "600400"}, **KEYS)

    assert list(faults(response, "keys")) == ["shortcode"]


def test_mpesa_that_says_nothing_is_no_fault_of_the_keys(alice, mpesa):
    mpesa.proof = Proof.UNREACHED

    (told,) = after(alice, send(alice, "keys", **NUMBERS, **KEYS))

    assert told.startswith("Saved. M-Pesa did not say yet whether it is right:")


def test_a_test_that_fails_says_why_until_the_next(alice, owner, mpesa):
    configuration.enter(owner, typed())
    mpesa.proof = Proof.PASSKEY

    (told,) = after(alice, send(alice, "verify"))

    assert told.startswith("The passkey does not fit 600300.")
    page = show(alice)
    assert states(page)["verify"] == "failed"
    assert "The passkey does not fit 600300." in page.content.decode()


def test_the_wrong_number_does_not_go_live(alice, owner):
    configuration.enter(owner, typed())
    configuration.verify(owner)

    with nothing_changes():
        response = send(alice, "live", **{"live-confirm": "5600302"})

    assert faults(response, "live") == {"confirm": going_live.OTHER_NUMBER}


def test_an_untested_account_is_told_what_is_missing(alice, owner):
    configuration.enter(owner, typed())

    page = show(alice)

    assert page.context["reasons"] == [going_live.UNTESTED]
    with nothing_changes():
        response = send(alice, "live", **{"live-confirm": "5600301"})
    assert faults(response, "live") == {"__all__": going_live.UNTESTED}


def test_a_phone_that_is_none_is_told(alice, owner):
    configuration.enter(owner, typed())

    with nothing_changes():
        response = send(alice, "pay", **{"pay-phone": "12"})

    assert faults(response, "pay")["__all__"].startswith("This is not a Kenyan mobile")


@pytest.mark.parametrize("act", ["platform", "stop"])
def test_a_choice_is_ticked(alice, act):
    with nothing_changes():
        response = send(alice, act, "platform")

    assert faults(response, act) == {"agree": "Tick this if you mean it."}


def test_what_somebody_else_saved_is_not_written_over(alice, owner):
    seen = configuration.standing(alice.shop).version
    configuration.enter(owner, typed())

    with nothing_changes():
        response = send(
            alice,
            "keys",
            **NUMBERS | KEYS | {"keys-version": seen, "keys-passkey": "x"},
        )
    assert after(alice, response) == [configuration.ChangedMeanwhile.message]


def test_a_button_that_is_none_does_nothing(alice):
    with nothing_changes():
        assert send(alice, "delete").status_code == 200


# Where the money goes.


def test_a_shop_that_chose_nothing_is_told_why_it_cannot_prompt(alice):
    MpesaSettings.objects.filter(shop=alice.shop).delete()

    assert show(alice).context["verdict"] == setup.Verdict(
        "bad",
        "Not live",
        "The till cannot ask phones for M-Pesa",
        ("M-Pesa is not set up for this shop.",),
    )


def test_what_is_set_up_stands_beside_what_is_live(alice, owner):
    configuration.enter(owner, typed())

    assert show(alice).context["verdict"] == setup.Verdict(
        "good",
        "Live",
        "Customers pay into the platform's account",
        ("Being set up: till 5600301. It is not live.",),
    )


def test_the_platforms_account_that_is_live_needs_no_button(alice, settings):
    text = show(alice, "platform").content.decode()
    assert "The till asks customers to pay into this account." in text

    settings.MPESA_SHORTCODE = ""
    MpesaSettings.objects.filter(shop=alice.shop).delete()
    text = show(alice, "platform").content.decode()
    assert "This installation has no account of its own" in text


def test_an_account_of_another_environment_is_entered_anew(alice, owner, settings):
    configuration.enter(owner, typed())
    settings.MPESA_ENV = "sandbox"

    page = show(alice)

    assert states(page)["keys"] == "of another environment"
    text = page.content.decode()
    assert "Leave it empty to keep it." not in text
    assert setup_forms.SECRET_HELP["passkey"] in text
    assert "Test now" not in text


# A shilling that nobody paid.


def test_a_refused_prompt_says_why(alice, owner, mpesa):
    configuration.enter(owner, typed())
    mpesa.push_answers = [
        gateways.GatewayError("no", certain=True, reason="shop_account")
    ]

    (told,) = after(alice, send(alice, "pay", **{"pay-phone": "0712345678"}))

    assert told == f"{setup.REFUSED} {setup.REFUSED_REMEDY}"
    assert states(show(alice))["pay"] == "not paid"


def test_a_lost_answer_is_no_failure(alice, owner, mpesa):
    configuration.enter(owner, typed())
    mpesa.push_answers = [gateways.GatewayError("lost", certain=False)]

    told = after(alice, send(alice, "pay", **{"pay-phone": "0712345678"}))

    assert told == [setup.ASKED_NOBODY_KNOWS]
    assert states(show(alice))["pay"] == "waiting"


def test_a_phone_that_is_asked_is_asked_once(alice, owner, mpesa):
    configuration.enter(owner, typed())
    send(alice, "pay", **{"pay-phone": "0712345678"})

    show(alice)
    told = after(alice, send(alice, "pay", **{"pay-phone": "0712345678"}))

    assert told == [setup.ASKED_ALREADY]
    assert len(mpesa.pushes) == 1


# Who.


@pytest.mark.parametrize("name", ["mary", "audrey"])
def test_others_of_the_shop_do_not_open_it(people, name, mpesa):
    client, path = people[name].client, path_of(people[name].shop)

    with nothing_changes():
        assert client.get(path).status_code == 403
        assert client.post(path, {"act": "verify"}).status_code == 403


@pytest.mark.parametrize("name", ["bob", "stranger"])
def test_who_reads_no_books_is_sent_away(people, duka, name):
    assert people[name].client.get(path_of(duka)).status_code == 302


@pytest.mark.parametrize("act", ["keys", "verify", "pay", "live", "platform", "stop"])
def test_another_shops_page_is_not_there(alice, charlie, act, mpesa):
    path = path_of(charlie.shop)
    sent = {"act": act, "live-confirm": "600200", f"{act}-agree": "on"}

    with nothing_changes():
        assert alice.client.get(path).status_code == 404
        assert alice.client.post(path, sent | NUMBERS | KEYS).status_code == 404
        assert (
            alice.client.get("/admin/payments/mpesasettings/setup/0/").status_code
            == 404
        )
    assert mpesa.probes == mpesa.pushes == []


def test_the_operator_looks_and_touches_nothing(operator, alice, owner):
    configuration.enter(owner, typed())
    path = path_of(alice.shop)

    page = operator.client.get(path)
    assert page.status_code == 200
    text = page.content.decode()
    assert "Only the shop's owner changes anything here." in text
    assert 'type="submit" value' not in text.split('class="setup"')[1]
    with nothing_changes():
        assert operator.client.post(path, {"act": "verify"}).status_code == 403


def test_who_owns_two_shops_sets_up_the_one_that_is_named(alice, charlie):
    MembershipFactory(user=alice.user, shop=charlie.shop, role=Role.OWNER)

    page = show(alice, shop=charlie.shop)

    assert page.context["verdict"].told == "Customers pay to paybill 600200"
    listed = alice.get("/admin/payments/mpesasettings/").content.decode()
    assert path_of(charlie.shop) in listed
    assert "Set up M-Pesa of Jirani" in listed


def test_the_page_is_one_press_from_the_settings(alice, mary, operator, duka):
    row = MpesaSettings.objects.get(shop=duka)
    change = f"/admin/payments/mpesasettings/{row.pk}/change/"

    assert path_of(duka) in alice.get("/admin/payments/mpesasettings/").content.decode()
    assert path_of(duka) in alice.get(change).content.decode()
    assert path_of(duka) in operator.get(change).content.decode()
    assert path_of(duka) not in mary.get(change).content.decode()


def waiting(person):
    found = person.get("/admin/").context["waiting"]
    return [
        (one.count, one.address) for one in found if one.name == attention.NOT_SET_UP
    ]


def test_home_leads_an_owner_whose_shop_takes_no_mpesa_here(
    alice, mary, operator, charlie, owner
):
    assert [waiting(one) for one in (alice, charlie)] == [[], []]
    going_live.stop(owner)

    assert waiting(alice) == [("1", path_of(alice.shop))]
    assert [waiting(one) for one in (mary, operator, charlie)] == [[], [], []]
    MpesaSettings.objects.filter(shop=alice.shop).delete()
    assert waiting(alice) == [("1", path_of(alice.shop))]
