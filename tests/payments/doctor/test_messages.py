"""What M-Pesa tells of an account: prompts, money, payments by hand."""

from datetime import timedelta

import pytest

from payments import c2b
from payments.doctor import messages
from payments.enums import Verdict
from payments.models import AccountHook, Notice
from smartduka.lib import clock
from tests.factories import (
    MpesaAccountFactory,
    OrderFactory,
    PaymentFactory,
    ShopFactory,
)
from tests.payments.doctor.conftest import BROKEN, FINE, LOOK, UNKNOWN, by_key, state


pytestmark = pytest.mark.django_db


def prompts(account, count, *, told=0, ago_s=900, **facts):
    """Make prompts that are over, of which M-Pesa told of some."""
    made = [
        PaymentFactory(
            order=OrderFactory(shop=account.shop), account=account,
            created_at=clock.now() - timedelta(seconds=ago_s + number), **facts,
        )
        for number in range(count)
    ]  # fmt: skip
    for payment in made[:told]:
        Notice.objects.create(
            payment=payment, body=b"", received_at=clock.now(), verdict=Verdict.APPLIED
        )
    return made


@pytest.mark.parametrize(
    ("count", "told", "ago_s", "health"),
    [
        (0, 0, 900, UNKNOWN), (3, 3, 900, FINE), (4, 3, 900, FINE), (4, 1, 900, LOOK),
        (2, 0, 900, LOOK), (3, 0, 900, BROKEN), (3, 0, 5, UNKNOWN),
    ],
)  # fmt: skip
def test_messages_about_prompts_come(account, count, told, ago_s, health):
    prompts(account, count, told=told, ago_s=ago_s)

    answers = messages.findings(account)[1]

    assert (answers.key, state(answers)) == ("answers", health)
    assert bool(answers.letter) is (health == BROKEN)


def test_money_alone_proves_where_customers_pay(account):
    money = messages.findings(account)[0]
    assert (money.key, state(money)) == ("money", UNKNOWN)

    prompts(account, 1, status="completed", completed_at=clock.now(),
            decided_at=clock.now(), receipt="UAE5DOCTOR")  # fmt: skip
    assert state(messages.findings(account)[0]) == FINE


def test_prompts_of_a_shared_account_are_its_shops(account):
    shared = MpesaAccountFactory(shop=None, shortcode="600100")
    for _ in range(2):
        shop = ShopFactory(platform=True)
        PaymentFactory(order=OrderFactory(shop=shop), account=shared)
    other = prompts(account, 1)

    found = messages._newest_prompts(shared)

    assert len(found) == 2
    assert other[0] not in found
    assert found[0].created_at > found[1].created_at
    assert messages._newest_prompts(account) == other


@pytest.mark.parametrize("code", ["2028", "SFC_IC0003"])
def test_refused_pair_is_told_until_money_arrives(account, code):
    prompts(account, 1, status="failed", failure_reason="shop_account",
            decided_at=clock.now(), result_code=code)  # fmt: skip
    refused = messages.findings(account)[0]
    assert state(refused) == BROKEN
    assert code in refused.letter

    prompts(account, 1, ago_s=60, status="completed", completed_at=clock.now(),
            decided_at=clock.now(), receipt="UAE5DOCTOR")  # fmt: skip
    assert state(messages.findings(account)[0]) == FINE


def test_payments_by_hand_are_registered_and_told(simulator, account):
    assert state(messages.by_hand(account)) == LOOK

    c2b.register(account, None)
    account.refresh_from_db()
    assert state(messages.by_hand(account)) == UNKNOWN

    Notice.objects.create(account=account, body=b"", received_at=clock.now())
    assert state(messages.by_hand(account)) == FINE


def test_address_that_mpesa_did_not_take_is_broken(account):
    AccountHook.objects.create(
        account=account, token_hash="0" * 64, created_at=clock.now()
    )

    finding = messages.by_hand(account)

    assert state(finding) == BROKEN
    assert "delete the validation and confirmation URLs" in finding.letter


def test_activation_of_validation_is_asked_for_where_it_is_wanted(account):
    assert "validation" not in by_key(messages.findings(account))
    account.validates_strictly = True

    found = messages.findings(account)

    assert by_key(found)["validation"] == UNKNOWN
    assert "activate external validation" in found[-1].letter
