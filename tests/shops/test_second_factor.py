"""The second step: codes of RFC 6238, each good once; paper; who needs it."""

import io
from datetime import UTC, datetime

import pytest
from django.core.management import call_command

from shops import second_factor
from shops.enums import Role
from shops.models import RecoveryCode, SecondFactor
from shops.second_factor import WrongCode
from smartduka.lib import clock, sealing
from tests.factories import MembershipFactory, ShopFactory
from tests.support.authenticator import STEP_S, code_at


pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 21, 9, 0, 7, tzinfo=UTC)
STEP = int(NOW.timestamp()) // STEP_S


@pytest.fixture(autouse=True)
def time_stands_still(monkeypatch):
    monkeypatch.setattr(clock, "now", lambda: NOW)


def turned_on(person, step=STEP - 1):
    """Turn it on with the code of a step; return the key and the recovery codes."""
    factor = second_factor.begin(person.user)
    codes = second_factor.confirm(person.user, code_at(factor.secret, step))
    return factor.secret, codes


def refused(person, code):
    with pytest.raises(WrongCode):
        second_factor.accept(person.user, code)
    return True


@pytest.mark.parametrize(
    ("seconds", "code"),
    # RFC 6238, appendix B, the last six of its eight digits.
    [(59, "287082"), (1111111109, "081804"), (20000000000, "353130")],
)
def test_codes_are_those_of_the_standard(seconds, code):
    key = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"

    assert code_at(key, seconds // STEP_S) == code
    found = second_factor._step_of(key, code, datetime.fromtimestamp(seconds, UTC))
    assert found == seconds // STEP_S


def test_it_is_on_once_the_first_code_was_right(alice):
    factor = second_factor.begin(alice.user)
    assert second_factor.is_on(alice.user) is False

    with pytest.raises(WrongCode):
        second_factor.confirm(alice.user, "000000")
    assert second_factor.is_on(alice.user) is False

    codes = second_factor.confirm(alice.user, code_at(factor.secret, STEP))
    assert (second_factor.is_on(alice.user), len(set(codes))) == (True, 10)


def test_beginning_again_makes_another_key_until_it_is_on(alice):
    first = second_factor.begin(alice.user).secret
    second = second_factor.begin(alice.user)
    assert first != second.secret

    second_factor.confirm(alice.user, code_at(second.secret, STEP))
    with pytest.raises(second_factor.AlreadyOn):
        second_factor.begin(alice.user)


@pytest.mark.parametrize("drift", [-1, 0, 1])
def test_code_of_a_clock_that_is_a_little_off_is_taken(alice, drift):
    key, _ = turned_on(alice, STEP - 1)
    if drift == -1:
        SecondFactor.objects.update(last_step=STEP - 2)

    second_factor.accept(alice.user, code_at(key, STEP + drift))

    assert SecondFactor.objects.get().last_step == STEP + drift


@pytest.mark.parametrize("drift", [-2, 2, 100])
def test_code_of_another_time_is_refused(alice, drift):
    key, _ = turned_on(alice)

    assert refused(alice, code_at(key, STEP + drift))


def test_code_is_good_once_and_none_before_it_afterwards(alice):
    key, _ = turned_on(alice, STEP - 1)
    assert refused(alice, code_at(key, STEP - 1))

    second_factor.accept(alice.user, code_at(key, STEP + 1))

    assert refused(alice, code_at(key, STEP + 1))
    assert refused(alice, code_at(key, STEP))


@pytest.mark.parametrize("code", ["", "x", "12345", "1234567", "٣٣٣٣٣٣", "-00001"])
def test_nonsense_is_refused(alice, code):
    turned_on(alice)

    assert refused(alice, code)


def test_code_of_somebody_else_is_refused(alice, mary):
    turned_on(alice)
    key, codes = turned_on(mary)

    assert refused(alice, code_at(key, STEP))
    assert refused(alice, codes[0])


def test_recovery_code_is_good_once_however_it_is_typed(alice):
    _, codes = turned_on(alice)

    second_factor.accept(alice.user, f" {codes[3].upper().replace('-', ' ')} ")

    assert refused(alice, codes[3])
    assert second_factor.codes_left(alice.user) == 9


def test_new_recovery_codes_end_the_old_ones(alice):
    key, old = turned_on(alice)
    new = second_factor.renew_codes(alice.user, code_at(key, STEP))

    assert refused(alice, old[0])
    second_factor.accept(alice.user, new[0])
    assert not {*old} & {*new}


def test_nothing_readable_is_stored(alice):
    key, codes = turned_on(alice)

    row = SecondFactor.objects.values().get()
    stored = repr(row) + repr(list(RecoveryCode.objects.values()))
    assert [one for one in (key, *codes) if one in stored] == []
    assert key.encode() not in bytes(row["secret_sealed"])


def test_keys_rotate_with_the_others(alice, settings):
    key, _ = turned_on(alice)
    settings.MPESA_ENCRYPTION_KEYS = [b"n" * 32, *settings.MPESA_ENCRYPTION_KEYS]

    call_command("rotate_keys", stdout=io.StringIO())

    factor = SecondFactor.objects.get()
    assert sealing.is_stale(factor.secret_sealed) is False
    assert factor.secret == key


def test_secret_of_another_person_does_not_open(alice, mary):
    turned_on(alice)
    turned_on(mary)
    theirs = SecondFactor.objects.get(user=mary.user).secret_sealed
    SecondFactor.objects.filter(user=alice.user).update(secret_sealed=theirs)

    with pytest.raises(sealing.Unsealable):
        SecondFactor.objects.get(user=alice.user).secret  # noqa: B018 -- reading unseals


@pytest.mark.parametrize("is_asked", [True, False])
def test_who_needs_it_where_the_installation_asks(
    alice, mary, bob, audrey, operator, stranger, settings, is_asked
):
    settings.REQUIRE_SECOND_FACTOR = is_asked
    people = (alice, mary, bob, audrey, operator, stranger)

    needed = [p.user.username for p in people if second_factor.is_required(p.user)]
    assert needed == (["alice", "mary", "operator"] if is_asked else [])


def test_a_role_elsewhere_counts_too(bob, settings):
    settings.REQUIRE_SECOND_FACTOR = True
    MembershipFactory(user=bob.user, shop=ShopFactory(), role=Role.MANAGER)

    assert second_factor.is_required(bob.user) is True


def test_turning_off_takes_a_code_and_is_refused_where_it_is_needed(alice, settings):
    key, _ = turned_on(alice)
    with pytest.raises(WrongCode):
        second_factor.turn_off(alice.user, "000000")
    settings.REQUIRE_SECOND_FACTOR = True
    with pytest.raises(second_factor.StillRequired):
        second_factor.turn_off(alice.user, code_at(key, STEP))
    settings.REQUIRE_SECOND_FACTOR = False
    assert second_factor.is_on(alice.user) is True

    second_factor.turn_off(alice.user, code_at(key, STEP))
    assert second_factor.is_on(alice.user) is False
