import uuid
from types import SimpleNamespace

import pytest

from smartduka.lib import sealing
from smartduka.lib.sealing import SealedText, Unsealable


OLD, NEW = bytes([1]) * 32, bytes([2]) * 32


class Account:
    """As much of a model as SealedText looks at."""

    _meta = SimpleNamespace(label="payments.MpesaAccount")
    passkey = SealedText("passkey")
    secret = SealedText("secret")

    def __init__(self, pk="new"):
        self.pk = uuid.uuid4() if pk == "new" else pk
        self.passkey_sealed = self.secret_sealed = None


@pytest.mark.parametrize("text", ["", "s", "Ünïcode ✓ " * 50, "\x00\n"])
def test_sealed_text_opens_again(text):
    token = sealing.seal(text, bound_to="account:1:passkey")

    assert sealing.unseal(token, bound_to="account:1:passkey") == text
    assert len(token) == 1 + 4 + 12 + len(text.encode()) + 16
    assert token[:1] == b"\x01"


def test_sealing_twice_gives_different_tokens_without_the_text():
    one, two = (sealing.seal("bfb279f9aa", bound_to="x") for _ in range(2))

    assert one != two
    assert b"bfb279f9aa" not in one + two


def test_token_does_not_open_for_another_owner():
    token = sealing.seal("secret", bound_to="account:1:passkey")

    for other in ("account:2:passkey", "account:1:secret", ""):
        with pytest.raises(Unsealable, match="damaged or moved"):
            sealing.unseal(token, bound_to=other)


def test_any_flipped_bit_is_noticed():
    token = sealing.seal("secret", bound_to="x")

    for position in range(len(token)):
        for bit in (1, 128):
            damaged = bytearray(token)
            damaged[position] ^= bit
            with pytest.raises(Unsealable):
                sealing.unseal(bytes(damaged), bound_to="x")


@pytest.mark.parametrize("length", [0, 1, 5, 17, 32, 38])
def test_cut_token_is_refused(length):
    token = sealing.seal("secret", bound_to="x")

    with pytest.raises(Unsealable):
        sealing.unseal(token[:length], bound_to="x")


def test_rotation_reads_old_tokens_and_seals_with_the_new_key(settings):
    settings.MPESA_ENCRYPTION_KEYS = [OLD]
    old = sealing.seal("secret", bound_to="x")
    assert not sealing.is_stale(old)

    settings.MPESA_ENCRYPTION_KEYS = [NEW, OLD]
    assert sealing.unseal(old, bound_to="x") == "secret"
    assert sealing.is_stale(old)
    new = sealing.seal("secret", bound_to="x")
    assert not sealing.is_stale(new)

    settings.MPESA_ENCRYPTION_KEYS = [NEW]
    assert sealing.unseal(new, bound_to="x") == "secret"
    with pytest.raises(Unsealable, match="key that is not given"):
        sealing.unseal(old, bound_to="x")


def test_error_says_nothing_of_the_contents():
    token = sealing.seal("my-passkey", bound_to="x")

    with pytest.raises(Unsealable) as caught:
        sealing.unseal(token, bound_to="y")

    assert "my-passkey" not in str(caught.value)


def test_field_reads_what_was_written_and_stores_no_plaintext():
    account = Account()

    account.passkey = "p" * 64

    assert account.passkey == "p" * 64
    assert b"ppp" not in account.passkey_sealed


def test_field_reads_a_memoryview_as_postgresql_returns_it():
    account = Account()
    account.passkey = "secret"
    account.passkey_sealed = memoryview(account.passkey_sealed)

    assert account.passkey == "secret"


def test_empty_field_is_null():
    account = Account()
    assert account.passkey == ""

    account.passkey = "x"
    account.passkey = ""

    assert account.passkey_sealed is None


def test_ciphertext_moved_to_another_row_is_refused():
    account, other = Account(), Account()
    account.passkey = "secret"
    other.passkey_sealed = account.passkey_sealed

    with pytest.raises(Unsealable):
        _ = other.passkey


def test_ciphertext_moved_to_another_field_is_refused():
    account = Account()
    account.passkey = "secret"
    account.secret_sealed = account.passkey_sealed

    with pytest.raises(Unsealable):
        _ = account.secret


def test_row_without_a_key_cannot_seal():
    with pytest.raises(ValueError, match="before its row has a key"):
        Account(pk=None).passkey = "secret"


def test_field_is_a_property_so_that_models_take_it_as_a_keyword():
    assert isinstance(Account.passkey, property)
