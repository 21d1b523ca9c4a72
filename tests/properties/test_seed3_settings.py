"""Properties 13 and 17 of the M-Pesa plan: an account's secrets, and its settings.

13 says here: what an owner enters comes back from its seal, opens nowhere else, and
is in no answer and no line of a log. 17: nothing is stored that is wrong, each fault
is told in its field, and only what was tested since its last change, and confirmed,
takes money; nothing of the sandbox where real money moves.
"""

import json
import logging

import pytest
from django.test import override_settings
from hypothesis import assume, given
from hypothesis import strategies as st

from payments import account_entry, configuration, gateways, going_live, views_config
from payments.account_entry import KEYS, Entered
from payments.accounts import SECRETS
from payments.configuration import NotEntered
from payments.gateways.base import Proof
from payments.going_live import NotReady
from payments.models import MpesaAccount
from shops.tenancy import Access
from smartduka.lib.errors import DomainError, InvalidRequest
from smartduka.lib.sealing import Unsealable
from tests.properties.test_seed3 import Lines, proved, undone


pytestmark = [
    pytest.mark.django_db,
    pytest.mark.slow,
    pytest.mark.once,
    pytest.mark.timeout(600),
    pytest.mark.usefixtures("messages", "_generous"),
]

SIGNS = st.characters(codec="utf-8", exclude_categories=["C", "Z"])
# Nothing else begins like this.
secrets = st.text(SIGNS, min_size=4, max_size=80).map(lambda signs: f"k33p-{signs}")
sets = st.lists(secrets, min_size=4, max_size=4, unique=True).map(
    lambda found: dict(zip(SECRETS, found, strict=True))
)


@pytest.fixture
def owner(alice):
    return Access(alice.user, alice.shop, "owner")


@pytest.fixture
def prober(monkeypatch, mpesa):
    monkeypatch.setattr(gateways, "prober", lambda: mpesa)
    return mpesa


def entered(secrets, *, initiator="api", **numbers):
    till = {"type": "till", "shortcode": "600300", "party_b": "5600301"}
    return Entered(**till | numbers, secrets=secrets, initiator_name=initiator)


def code_of(call):
    try:
        call()
    except DomainError as error:
        return type(error)
    return None


# 13


@proved
@given(first=sets, second=sets, chosen=st.sets(st.sampled_from(SECRETS)))
def test_property_13_secrets_come_back_from_their_seals_and_nowhere_else(
    owner, prober, first, second, chosen
):
    log = Lines()
    logging.getLogger().addHandler(log)
    try:
        with undone():
            account = configuration.enter(owner, entered(first)).account
            changed = {name: second[name] if name in chosen else "" for name in SECRETS}
            expected = {name: (second if name in chosen else first)[name]
                        for name in SECRETS}  # fmt: skip
            assume(expected["consumer_key"] != expected["consumer_secret"])
            configuration.enter(owner, entered(changed))
            stored = MpesaAccount.objects.get(pk=account.pk)
            assert {name: getattr(stored, name) for name in SECRETS} == expected

            shown = json.dumps(
                views_config.state_of(configuration.standing(owner.shop)),
                ensure_ascii=False,
            )
            _, tested = configuration.verify(owner)
            told = [shown, repr(entered(first)), *log.lines,
                    *(one.words for one in tested.findings)]  # fmt: skip
            for name in SECRETS:
                sealed = bytes(getattr(stored, f"{name}_sealed"))
                for secret in (first[name], second[name]):
                    assert secret.encode() not in sealed
                    assert not any(secret in text for text in told)
            # Moved to another field, it does not open.
            stored.passkey_sealed, stored.consumer_key_sealed = (
                stored.consumer_key_sealed, stored.passkey_sealed,
            )  # fmt: skip
            for name in ("passkey", "consumer_key"):
                with pytest.raises(Unsealable):
                    getattr(stored, name)
    finally:
        logging.getLogger().removeHandler(log)


@proved
@given(whole=sets, place=st.integers(0, 10_000), name=st.sampled_from(SECRETS))
def test_property_13_a_damaged_secret_is_never_half_a_secret(
    owner, prober, whole, place, name
):
    with undone():
        account = configuration.enter(owner, entered(whole)).account
        sealed = bytearray(getattr(account, f"{name}_sealed"))
        sealed[place % len(sealed)] ^= 1 << place % 8
        MpesaAccount.objects.filter(pk=account.pk).update(
            **{f"{name}_sealed": bytes(sealed)}
        )
        damaged = MpesaAccount.objects.get(pk=account.pk)

        with pytest.raises(Unsealable) as refusal:
            getattr(damaged, name)

        assert whole[name] not in str(refusal.value)
        assert account_entry.readable(damaged, name) is None
        # Entered anew it is whole again.
        configuration.enter(owner, entered(whole))
        assert getattr(MpesaAccount.objects.get(pk=account.pk), name) == whole[name]


# 17

NUMBER, STORE = "5600301", "600300"
TRUE = {"consumer_key": "true-key", "consumer_secret": "true-secret",
        "passkey": "true-passkey"}  # fmt: skip


def daraja(account):
    """What M-Pesa says, if one till with one set of keys is all that it knows."""
    if (account.consumer_key, account.consumer_secret) != (
        TRUE["consumer_key"], TRUE["consumer_secret"],
    ):  # fmt: skip
        return Proof.KEYS
    if account.shortcode != STORE:
        return Proof.NUMBER
    return Proof.GOOD if account.passkey == TRUE["passkey"] else Proof.PASSKEY


def faults_of(shortcode, party_b, keys):
    """Which fields a person would say are wrong, in the order of looking."""
    wrong = {name for name, value in keys.items() if not value}
    for name, value in (("shortcode", shortcode), ("party_b", party_b)):
        if not (value.isdigit() and 5 <= len(value) <= 7):
            wrong.add(name)
    if not wrong & {"shortcode", "party_b"} and shortcode == party_b:
        wrong.add("shortcode")
    if wrong:
        return wrong
    if any(keys[name] != TRUE[name] for name in ("consumer_key", "consumer_secret")):
        return {"consumer_key", "consumer_secret"}
    if shortcode != STORE:
        return {"shortcode"}
    return set() if keys["passkey"] == TRUE["passkey"] else {"passkey"}


numbers = st.sampled_from([NUMBER, NUMBER, STORE, STORE, "600999", "12", "60030x", ""])
keys_typed = st.fixed_dictionaries({
    name: st.sampled_from([value, value, value, f"wrong-{name}", ""])
    for name, value in TRUE.items()
})  # fmt: skip


@proved
@given(shortcode=numbers, party_b=numbers, keys=keys_typed)
def test_property_17_what_is_wrong_is_told_in_its_field_and_never_stored(
    owner, prober, shortcode, party_b, keys
):
    prober.proof = daraja
    expected = faults_of(shortcode, party_b, keys)
    with undone():
        typed = entered(keys, initiator="", shortcode=shortcode, party_b=party_b)
        if expected:
            with pytest.raises(InvalidRequest) as refusal:
                configuration.enter(owner, typed)
            assert set(refusal.value.details) == expected
            assert all(words for (words,) in refusal.value.details.values())
            assert not MpesaAccount.objects.filter(shop=owner.shop).exists()
            assert configuration.standing(owner.shop).version == 0
        else:
            account = configuration.enter(owner, typed).account
            numbers = (account.shortcode, account.party_b)
            assert numbers == (shortcode, party_b)
            assert account.verified_at is None


acts = st.lists(
    st.sampled_from(["enter", "rekey", "renumber", "verify", "fail", "go", "wrong"]),
    max_size=6,
)


@proved
@given(acts=acts)
def test_property_17_live_is_only_what_was_tested_as_it_is_and_confirmed(
    owner, prober, acts
):
    whole = dict(TRUE)
    till = NUMBER
    # What a person who watched would know.
    is_there = is_tested = is_live = False
    with undone():
        for place, act in enumerate(acts):
            prober.proof = Proof.GOOD
            if act in ("enter", "rekey", "renumber"):
                before = (whole["passkey"], till)
                if act == "rekey":
                    whole["passkey"] = f"passkey-{place}"
                if act == "renumber":
                    till = str(5600301 + place)
                configuration.enter(owner, entered(whole, initiator="", party_b=till))
                if not is_there or before != (whole["passkey"], till):
                    is_tested = False
                # Nobody has paid into it, so other numbers are written over it.
                is_live = is_live and before[1] == till
                is_there = True
            elif act in ("verify", "fail"):
                prober.proof = Proof.GOOD if act == "verify" else Proof.PASSKEY
                result = code_of(lambda: configuration.verify(owner))
                assert result is (None if is_there else NotEntered)
                is_tested = is_there and act == "verify"
            else:
                number = till if act == "go" else "5699999"
                result = code_of(lambda n=number: going_live.go_live(owner, n))
                if not is_there:
                    assert result is NotEntered
                elif not is_tested:
                    assert result is NotReady
                else:
                    assert result is (None if act == "go" else InvalidRequest)
                is_live = is_live or result is None
            standing = configuration.standing(owner.shop)
            assert standing.is_live == is_live
            assert bool(standing.own and standing.own.verified_at) == is_tested
            assert (standing.own is not None) == is_there


@proved
@given(
    shortcode=st.sampled_from(["174379", "600300"]),
    keys=st.fixed_dictionaries({
        "consumer_key": st.sampled_from(["sandbox-key", "true-key"]),
        "consumer_secret": st.sampled_from(["sandbox-secret", "true-secret"]),
        "passkey": st.sampled_from(["sandbox-passkey", "public", "true-passkey"]),
    }),
    secure=st.booleans(),
)  # fmt: skip
def test_property_17_nothing_of_the_sandbox_moves_real_money(
    owner, prober, settings, shortcode, keys, secure
):
    public = settings.SANDBOX_PASSKEY
    typed = keys | ({"passkey": public} if keys["passkey"] == "public" else {})
    wrong = {name for name, value in keys.items() if not value.startswith("true")}
    expected = {"shortcode"} if shortcode == "174379" else wrong
    with undone():
        sandbox = {name: f"sandbox-{name.rsplit('_')[-1]}" for name in KEYS}
        with override_settings(MPESA_ENV="sandbox"):
            configuration.enter(
                owner, entered(sandbox, initiator="", party_b="5600999")
            )
        with override_settings(
            MPESA_ENV="production",
            MPESA_CALLBACK_URL=f"http{'s' * secure}://duka.example.co.ke",
        ):
            account = entered(typed, initiator="", shortcode=shortcode)
            if expected:
                with pytest.raises(InvalidRequest) as refusal:
                    configuration.enter(owner, account)
                assert set(refusal.value.details) == expected
                return
            configuration.enter(owner, account)
            configuration.verify(owner)
            result = code_of(lambda: going_live.go_live(owner, NUMBER))
            assert result is (None if secure else NotReady)
            # What was entered for the sandbox is as it was.
            old = MpesaAccount.objects.get(shop=owner.shop, environment="sandbox")
            assert {name: getattr(old, name) for name in KEYS} == sandbox
