"""1,000 accounts get new keys while shops prompt, and owners change their secrets."""

import io
import random
import signal
import subprocess
import sys
import threading

import pytest
from django.core.management import call_command
from django.db import connection
from django.db.models import QuerySet

from payments import accounts, prompting
from payments.models import MpesaAccount, MpesaSettings, Payment
from shops.enums import Role
from shops.models import Shop
from shops.tenancy import Access
from smartduka.lib import resealing, sealing
from tests.concurrency.racing import MARKS, together
from tests.factories import OrderFactory, UserFactory
from tests.support import installation


pytestmark = MARKS

COUNT = 1000
OLD, NEW = bytes([1]) * 32, bytes([2]) * 32
SECRETS = ("consumer_key", "consumer_secret", "passkey", "initiator_password")


@pytest.fixture
def thousand(transactional_db, settings):
    """So many shops, each on its own account, sealed under the old key."""
    settings.MPESA_ENCRYPTION_KEYS = [OLD]
    shops = Shop.objects.bulk_create(
        Shop(name=f"Duka {n}", slug=f"duka-{n}") for n in range(COUNT)
    )
    made = MpesaAccount.objects.bulk_create(
        MpesaAccount(
            shop=shop, environment=settings.MPESA_ENV, type="paybill",
            shortcode=str(700000 + n), party_b=str(700000 + n),
            **{name: f"{name} of {n}" for name in SECRETS},
        )
        for n, shop in enumerate(shops)
    )  # fmt: skip
    MpesaSettings.objects.bulk_create(
        MpesaSettings(shop=one.shop, account=one) for one in made
    )
    return {one.pk: {name: getattr(one, name) for name in SECRETS} for one in made}


def secrets_of_all():
    return {
        row.pk: {name: getattr(row, name) for name in SECRETS}
        for row in MpesaAccount.objects.all()
    }


def stale_rows():
    return sum(
        any(sealing.is_stale(getattr(row, f"{name}_sealed")) for name in SECRETS)
        for row in MpesaAccount.objects.all()
    )


def rotate():
    told = io.StringIO()
    call_command("rotate_keys", "--batch", "50", stdout=told)
    return told.getvalue()


class Busy:
    """What goes on meanwhile, until the rotation is over."""

    def __init__(self, expected):
        self.expected = expected
        self.is_over = threading.Event()
        self.began = threading.Barrier(3)
        self.rows = list(MpesaAccount.objects.select_related("shop"))
        self.prompted, self.changed = 0, 0

    def rotation(self):
        try:
            self.began.wait(20)
            return rotate()
        finally:
            self.is_over.set()

    def shops_prompt(self):
        """Each time another shop asks another phone for money."""
        self.began.wait(20)
        user = UserFactory()
        for number, account in enumerate(random.Random(1).sample(self.rows, COUNT)):
            if self.is_over.is_set() and self.prompted >= 10:
                return
            order = OrderFactory(shop=account.shop, total=250)
            prompting.request(
                access=Access(user, account.shop, Role.CASHIER),
                order_id=order.pk, phone=f"2547{number:08}", amount=250,
                key=None, accept_risk=False,
            )  # fmt: skip
            self.prompted += 1

    def owners_change(self):
        """Whole rows that were read a moment ago are saved: old bytes come back."""
        self.began.wait(20)
        for number, account in enumerate(random.Random(2).sample(self.rows, COUNT)):
            if self.is_over.is_set() and self.changed >= 10:
                return
            account.passkey = self.expected[account.pk]["passkey"] = f"new {number}"
            account.save()
            self.changed += 1


def test_1000_accounts_get_new_keys_while_shops_prompt_and_owners_change(
    thousand, mpesa, settings
):
    settings.MPESA_ENCRYPTION_KEYS = [NEW, OLD]
    busy = Busy(thousand)

    results = together(busy.rotation, busy.shops_prompt, busy.owners_change)

    errors = [one for one in results if isinstance(one, Exception)]
    assert errors == []
    assert "0 values that do not open" in results[0]
    assert busy.prompted >= 10
    assert busy.changed >= 10
    # Every prompt left, with secrets that belong to its account.
    assert len(mpesa.pushes) == Payment.objects.count() == busy.prompted
    of_shortcode = {row.shortcode: thousand[row.pk] for row in busy.rows}
    for used in mpesa.accounts:
        assert used.consumer_key == of_shortcode[used.shortcode]["consumer_key"]
    settings.MPESA_ENCRYPTION_KEYS = [NEW]
    assert secrets_of_all() == thousand


def test_the_secret_of_an_owner_is_kept(thousand, settings, monkeypatch):
    settings.MPESA_ENCRYPTION_KEYS = [NEW, OLD]
    pk = min(thousand)

    assert passkey_after_a_change_in_the_middle(pk, monkeypatch) == "by the owner"


def test_the_secret_of_an_owner_is_lost_without_the_comparison(
    thousand, settings, monkeypatch
):
    """The race is real: an update that forgets what was read puts the old one back."""
    settings.MPESA_ENCRYPTION_KEYS = [NEW, OLD]
    pk = min(thousand)
    original = QuerySet.filter

    def careless(rows, *args, **named):
        kept = {k: v for k, v in named.items() if not k.endswith("_sealed")}
        return original(rows, *args, **kept)

    monkeypatch.setattr(QuerySet, "filter", careless)
    lost = passkey_after_a_change_in_the_middle(pk, monkeypatch)
    assert lost == thousand[pk]["passkey"]


def passkey_after_a_change_in_the_middle(pk, monkeypatch):
    unseal = sealing.unseal
    own = f"payments.MpesaAccount:{pk}:passkey"

    def owner():
        try:
            token = sealing.seal("by the owner", bound_to=own)
            MpesaAccount.objects.filter(pk=pk).update(passkey_sealed=token)
        finally:
            connection.close()

    def changed_meanwhile(token, *, bound_to):
        if bound_to == own:
            monkeypatch.setattr(sealing, "unseal", unseal)
            thread = threading.Thread(target=owner)
            thread.start()
            thread.join(20)
        return unseal(token, bound_to=bound_to)

    monkeypatch.setattr(sealing, "unseal", changed_meanwhile)
    resealing.reseal_all()
    return MpesaAccount.objects.get(pk=pk).passkey


def test_killed_in_the_middle_it_goes_on_and_the_old_key_can_go(thousand, settings):
    settings.MPESA_ENCRYPTION_KEYS = [NEW, OLD]
    both = f"{NEW.hex()},{OLD.hex()}"
    process = subprocess.Popen(
        [sys.executable, "manage.py", "rotate_keys", "--batch", "20"],
        cwd=installation.ROOT,
        env=installation.environment(MPESA_ENCRYPTION_KEYS=both),
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        for _ in range(5):
            assert "sealed anew" in process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=20)
    assert process.returncode == -signal.SIGKILL
    left = stale_rows()
    assert 0 < left <= COUNT - 100
    # Half done, every account works.
    assert secrets_of_all() == thousand

    told = rotate()

    assert f"Looked at {COUNT} rows: {left} sealed anew" in told
    settings.MPESA_ENCRYPTION_KEYS = [NEW]
    assert secrets_of_all() == thousand
    accounts.credentials(MpesaAccount.objects.get(pk=min(thousand)))
