"""All checks together, what is kept of them, and the command."""

import io
import json

import pytest
from django.core.management import CommandError, call_command

from payments.doctor import examinations, mpesa
from payments.doctor.findings import Finding, Report, restored
from payments.models import Examination, MpesaSettings
from smartduka.models import Heartbeat
from tests.factories import MpesaAccountFactory, ShopFactory
from tests.payments.doctor.conftest import BROKEN, FINE, LOOK, TILL, UNKNOWN, by_key


pytestmark = pytest.mark.django_db


OF_AN_ACCOUNT = {
    "numbers": FINE, "used": FINE, "keys": FINE, "product": FINE, "number": FINE,
    "passkey": FINE, "initiator": FINE, "money": UNKNOWN, "answers": UNKNOWN,
    "by_hand": LOOK, "mpesa": FINE, "clock": FINE, "address": FINE, "reach": FINE,
    "worker": FINE, "sweep": FINE,
}  # fmt: skip


def test_examination_is_kept_until_the_next(healthy, account, operator):
    report = examinations.examine_account(account, by=operator.user)

    assert by_key(report.findings) == OF_AN_ACCOUNT
    kept = Examination.objects.get()
    assert (kept.account, kept.health, kept.examined_by) == (
        account, LOOK, operator.user,
    )  # fmt: skip
    assert examinations.report_of(kept) == report

    Heartbeat.objects.all().delete()
    examinations.examine_account(account)
    kept.refresh_from_db()
    assert (Examination.objects.count(), kept.health) == (1, BROKEN)
    assert kept.examined_by is None


def test_no_secret_is_kept(healthy, account):
    account.passkey = "wrong-passkey-of-jirani"
    account.save()
    examinations.examine_account(account)
    examinations.examine_installation()

    kept = json.dumps(list(Examination.objects.values_list("findings", flat=True)))
    for secret in (
        "sim-shop2-key", "sim-shop2-secret", "wrong-passkey-of-jirani", "SimPass123#",
    ):  # fmt: skip
        assert secret not in kept
    assert "The passkey does not fit 600200" in kept


def test_check_that_breaks_hides_no_other(healthy, account, monkeypatch):
    def break_down():
        raise ZeroDivisionError

    monkeypatch.setattr(mpesa, "findings", break_down)

    found = {one.key: one for one in examinations.examine_account(account).findings}

    assert found["mpesa"].health == UNKNOWN
    assert "ZeroDivisionError" in found["mpesa"].words
    assert found["reach"].health == FINE


def test_installation_is_examined_as_a_whole(healthy):
    found = by_key(examinations.examine_installation().findings)

    assert found == {
        "mode": LOOK, "callers": FINE, "deploy": LOOK, "tables": FINE,
        "backups": UNKNOWN, "mpesa": FINE, "clock": FINE, "address": FINE,
        "reach": FINE, "worker": FINE, "sweep": FINE, "proxies": UNKNOWN,
        "encryption": LOOK, "signing": LOOK,
    }  # fmt: skip


def test_worst_certain_finding_says_how_all_stands():
    def report(*healths):
        return Report(tuple(Finding(h, h, h, "words") for h in healths))

    assert report(FINE, UNKNOWN).health == FINE
    assert report(FINE, LOOK, UNKNOWN).health == LOOK
    assert report(LOOK, BROKEN).health == BROKEN
    whole = report(FINE, UNKNOWN, BROKEN, LOOK)
    assert [one.health for one in whole.worst_first] == [BROKEN, LOOK, UNKNOWN, FINE]
    assert restored(whole.stored()) == whole


# The command.


def doctor(*arguments):
    """What is printed, and whether it ended with status 1."""
    told = io.StringIO()
    try:
        call_command("doctor", *arguments, stdout=told)
    except CommandError as error:
        return told.getvalue(), error
    return told.getvalue(), None


def test_command_ends_well_when_nothing_is_broken(healthy, account):
    told, error = doctor("--shop", "jirani")

    assert error is None
    assert told.startswith("Paybill 600200 (simulator): Look at this")
    assert "  ok     Passkey: The passkey fits the number.\n" in told


def test_command_ends_with_status_one_and_the_letter(healthy, account):
    account.passkey = "wrong"
    account.save()

    told, error = doctor("--shop", "jirani")

    assert (str(error), error.returncode) == ("1 thing is broken.", 1)
    assert "  BROKEN Passkey: The passkey does not fit 600200." in told
    assert "         | To: apisupport@safaricom.co.ke\n" in told


def test_command_for_programs_counts_what_is_shared_once(healthy, account):
    Heartbeat.objects.filter(name__startswith="worker").delete()
    MpesaAccountFactory(shop=ShopFactory(slug="till"), **TILL)

    told, error = doctor("--json")

    answer = json.loads(told)
    assert (answer["broken"], str(error)) == (1, "1 thing is broken.")
    assert [(one["shop"], one["health"]) for one in answer["reports"]] == [
        (None, "broken"), ("jirani", "broken"), ("till", "broken"),
    ]  # fmt: skip
    first = answer["reports"][1]["findings"][0]
    assert first == {
        "key": "numbers", "name": "The numbers", "health": "fine",
        "words": "Paybill 600200: one number for prompts and for customers.",
        "remedy": "", "who": "owner", "letter": "",
    }  # fmt: skip


def test_command_says_when_a_shop_has_no_account(shop):
    told, error = doctor("--shop", "jirani")

    assert str(error) == "1 thing is broken."
    assert "BROKEN In use: M-Pesa is not set up for this shop." in told


def test_command_looks_at_the_account_that_is_being_set_up(healthy, account):
    MpesaSettings.objects.update(account=None, candidate=account)

    told, error = doctor("--shop", "jirani")

    assert error is None
    assert "LOOK   In use: It is being set up" in told


def test_command_does_not_know_a_shop():
    with pytest.raises(CommandError, match="There is no shop 'nobody'"):
        call_command("doctor", "--shop", "nobody")
