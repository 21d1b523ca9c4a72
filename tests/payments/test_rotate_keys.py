"""New keys for old: what is sealed anew, what is refused, and what a person reads."""

import io

import pytest
from django.core.management import CommandError, call_command

from payments import accounts
from payments.models import MpesaAccount, MpesaSettings
from smartduka.lib import resealing, sealing
from tests.factories import MpesaAccountFactory, OrderFactory, ShopFactory


pytestmark = pytest.mark.django_db

OLD, NEW, NEWEST = (bytes([number]) * 32 for number in (1, 2, 3))
SECRETS = ("consumer_key", "consumer_secret", "passkey", "initiator_password")


def accounts_of(count, **more):
    return [
        MpesaAccountFactory(
            shop=ShopFactory(), shortcode=str(700000 + number),
            consumer_key=f"key-{number}", consumer_secret=f"secret-{number}",
            passkey=f"passkey-{number}", **more,
        )
        for number in range(count)
    ]  # fmt: skip


def rotate(*arguments):
    told = io.StringIO()
    call_command("rotate_keys", *arguments, stdout=told)
    return told.getvalue()


def read_all():
    return {
        row.shortcode: tuple(getattr(row, name) for name in SECRETS)
        for row in MpesaAccount.objects.all()
    }


def test_every_secret_opens_with_the_new_key_alone(settings):
    settings.MPESA_ENCRYPTION_KEYS = [OLD]
    accounts_of(5, initiator_password="initiates")
    before = read_all()

    settings.MPESA_ENCRYPTION_KEYS = [NEW, OLD]
    told = rotate("--batch", "2")

    assert "Looked at 5 rows: 5 sealed anew, 0 changed" in told
    assert "0 values that do not open" in told
    settings.MPESA_ENCRYPTION_KEYS = [NEW]
    assert read_all() == before


def test_a_second_run_changes_nothing(settings):
    settings.MPESA_ENCRYPTION_KEYS = [NEW, OLD]
    accounts_of(3)
    columns = [f"{name}_sealed" for name in SECRETS]
    before = list(MpesaAccount.objects.values_list(*columns))

    assert "3 rows: 0 sealed anew" in rotate()

    assert list(MpesaAccount.objects.values_list(*columns)) == before


def test_an_empty_secret_stays_empty(settings):
    settings.MPESA_ENCRYPTION_KEYS = [OLD]
    (account,) = accounts_of(1)

    settings.MPESA_ENCRYPTION_KEYS = [NEW, OLD]
    rotate()

    account.refresh_from_db()
    assert account.initiator_password_sealed is None


def test_two_runs_with_two_new_keys_keep_every_secret(settings):
    settings.MPESA_ENCRYPTION_KEYS = [OLD]
    accounts_of(2)
    before = read_all()
    for keys in ([NEW, OLD], [NEWEST, NEW], [NEWEST]):
        settings.MPESA_ENCRYPTION_KEYS = keys
        rotate()
    assert read_all() == before


def test_a_secret_that_changed_meanwhile_is_not_overwritten(settings, monkeypatch):
    settings.MPESA_ENCRYPTION_KEYS = [OLD]
    (account,) = accounts_of(1)
    settings.MPESA_ENCRYPTION_KEYS = [NEW, OLD]
    unseal = sealing.unseal

    def changed_first(token, *, bound_to):
        """Let the owner save a new passkey between reading and writing."""
        monkeypatch.setattr(sealing, "unseal", unseal)
        other = MpesaAccount.objects.get(pk=account.pk)
        other.passkey = "changed by the owner"
        other.save()
        return unseal(token, bound_to=bound_to)

    monkeypatch.setattr(sealing, "unseal", changed_first)
    told = rotate()

    assert "1 changed by somebody meanwhile" in told
    settings.MPESA_ENCRYPTION_KEYS = [NEW]
    account.refresh_from_db()
    assert account.passkey == "changed by the owner"
    assert account.consumer_key == "key-0"


def test_what_does_not_open_is_named_kept_and_stops_nothing(settings):
    settings.MPESA_ENCRYPTION_KEYS = [OLD]
    good, broken, other = accounts_of(3)
    moved = bytes(good.passkey_sealed)
    MpesaAccount.objects.filter(pk=broken.pk).update(passkey_sealed=moved)
    settings.MPESA_ENCRYPTION_KEYS = [NEW, OLD]

    with pytest.raises(CommandError) as refused:
        rotate()

    assert f"payments.MpesaAccount:{broken.pk}:passkey does not open" in str(
        refused.value
    )
    broken.refresh_from_db()
    assert bytes(broken.passkey_sealed) == moved
    settings.MPESA_ENCRYPTION_KEYS = [NEW]
    for row in (good, other, broken):
        row.refresh_from_db()
    assert (good.passkey, other.passkey) == ("passkey-0", "passkey-2")
    assert broken.consumer_key == "key-1"


def test_a_process_that_keeps_sealing_under_an_old_key_is_told_of(
    settings, monkeypatch
):
    settings.MPESA_ENCRYPTION_KEYS = [NEW, OLD]
    accounts_of(1)
    monkeypatch.setattr(sealing, "is_stale", lambda token: True)

    with pytest.raises(CommandError, match="still seals under an old key"):
        rotate()


def test_old_keys_that_sign_addresses_are_not_called_removable(settings):
    settings.HOOK_KEYS_ARE_DERIVED = True
    assert "Do not remove the others yet" in rotate()
    settings.HOOK_KEYS_ARE_DERIVED = False
    assert "The others may be removed" in rotate()


def test_the_line_for_the_addresses_is_printed_on_demand(settings):
    settings.HOOK_SIGNING_KEYS = [NEW, OLD]
    line = f"HOOK_SIGNING_KEYS={NEW.hex()},{OLD.hex()}\n"
    assert rotate("--print-hook-keys") == line


def test_every_model_with_secrets_is_found():
    found = {
        one.model: {s.name for s in one.secrets} for one in resealing.sealed_models()
    }
    assert found[MpesaAccount] == set(SECRETS)


@pytest.mark.parametrize("name", ["consumer_key", "consumer_secret", "passkey"])
def test_a_secret_moved_between_rows_is_refused_in_words(name, caplog):
    ours, theirs = accounts_of(2)
    column = f"{name}_sealed"
    MpesaAccount.objects.filter(pk=ours.pk).update(**{column: getattr(theirs, column)})
    ours.refresh_from_db()

    with pytest.raises(accounts.KeysUnreadable, match="keys cannot be read"):
        accounts.credentials(ours)

    assert f"MpesaAccount:{ours.pk}:{name} does not open: damaged or moved" in (
        caplog.text
    )
    assert accounts.credentials(theirs).passkey == "passkey-1"


def test_a_secret_moved_between_fields_is_refused():
    (account,) = accounts_of(1)
    column = bytes(account.consumer_secret_sealed)
    MpesaAccount.objects.filter(pk=account.pk).update(passkey_sealed=column)
    account.refresh_from_db()

    with pytest.raises(accounts.KeysUnreadable):
        accounts.credentials(account)
    assert account.consumer_secret == "secret-0"


def test_the_books_and_the_till_say_it_and_go_on(alice, duka):
    alice.user.is_staff = True
    alice.user.save()
    account = MpesaAccountFactory(shop=duka)
    MpesaSettings.objects.filter(shop=duka).update(
        account=account, uses_platform_account=False
    )
    damaged = bytearray(account.passkey_sealed)
    damaged[-1] ^= 1
    MpesaAccount.objects.filter(pk=account.pk).update(passkey_sealed=bytes(damaged))

    for path in (f"{account.pk}/change/", ""):
        page = alice.get(f"/admin/payments/mpesaaccount/{path}")
        assert page.status_code == 200
        assert "cannot be read: enter it again" in page.content.decode()

    order = OrderFactory(shop=duka)
    answer = alice.post(
        "/api/payments/mpesa/initiate",
        {"orderId": str(order.pk), "phoneNumber": "254712345678"},
    )
    assert (answer.status_code, answer.json()["code"]) == (409, "MPESA_NOT_CONFIGURED")
    assert answer.json()["message"].startswith("The shop's M-Pesa keys cannot be read")
    paid = alice.post(
        f"/api/orders/{order.pk}/pay-cash", {"amount": int(order.balance)}
    )
    assert paid.status_code == 201, paid.content
