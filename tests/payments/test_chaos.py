"""Bounded runs of chaos: that it holds, replays, and would notice."""

import os
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection

from payments import gateways
from payments.chaos import database, run
from payments.chaos.bank import PAID, Bank, callback
from payments.chaos.crashes import Crash
from payments.chaos.dice import Dice
from payments.chaos.network import Rates
from payments.models import Payment
from shops.models import Shop
from smartduka.lib import clock


pytestmark = pytest.mark.django_db(transaction=True)

ROOT = Path(__file__).resolve().parent.parent.parent
EVENTS = 300
# Enough of the misfortune that a missing safeguard lets through, in few events.
HOSTILE = Rates(forged=40)


def told(result):
    """What a failure should say: the step, and what went before."""
    return "\n".join([f"seed {result.seed}, {result.wrong}", *result.trace])


@pytest.mark.parametrize(
    "seed",
    [
        11,
        pytest.param(12, marks=pytest.mark.once),
    ],
)
def test_every_shilling_ends_in_one_place(seed):
    result = run.play(seed, events=EVENTS, rates=HOSTILE)

    assert result.wrong == "", told(result)
    assert result.events >= EVENTS
    for name in ("prompts paid", "callbacks lost", "notices forged", "crashes"):
        assert result.figures[name] > 0, name


@pytest.mark.sqlite
def test_a_seed_replays_identically():
    first = run.play(21, events=80)
    ids = sorted(Payment.objects.values_list("pk", flat=True))
    database.clear()
    second = run.play(21, events=80)

    assert (first.wrong, first.figures, first.trace, first.places) == (
        second.wrong, second.figures, second.trace, second.places,
    )  # fmt: skip
    assert sorted(Payment.objects.values_list("pk", flat=True)) == ids
    database.clear()
    assert run.play(22, events=80).trace != first.trace


def first_failure(off, *, rates=HOSTILE):
    """Play until the missing safeguard shows; None if it never does.

    Seeds in which it shows early: any would do, but longer.
    """
    for seed in range(2, 6):
        result = run.play(seed, events=700, rates=rates, off=off)
        database.clear()
        if result.wrong:
            return result
    return None


@pytest.mark.parametrize(
    ("off", "sign"),
    [
        pytest.param("token", "never had|M-Pesa has", marks=pytest.mark.once),
        pytest.param("amount", "never had|M-Pesa has", marks=pytest.mark.once),
        ("unique-receipt", "receipt|we counted|M-Pesa"),
        pytest.param("ask-first", "acted without asking", marks=pytest.mark.once),
    ],
)
def test_a_safeguard_switched_off_is_noticed(off, sign):
    failed = first_failure(off)

    assert failed is not None, f"nobody noticed that {off} is off"
    assert failed.trace
    assert any(one in failed.wrong for one in sign.split("|")), told(failed)


@pytest.mark.postgres
@pytest.mark.slow
def test_locks_switched_off_are_noticed():
    failed = first_failure("lock", rates=Rates())

    assert failed is not None, "nobody noticed that lock is off"


@pytest.mark.sqlite
def test_a_failing_seed_prints_itself_and_touches_no_shop(tmp_path):
    shop = tmp_path / "shop.sqlite3"
    environment = os.environ | {
        "SMARTDUKA_ENV_FILE": os.devnull,
        "DATABASE_URL": f"sqlite:///{shop}",
        "DJANGO_SETTINGS_MODULE": "tests.settings",
    }
    command = [
        sys.executable,
        "manage.py",
        "chaos",
        "--seed",
        "3",
        "--off",
        "ask-first",
    ]

    ended = subprocess.run(
        command, env=environment, cwd=ROOT, capture_output=True, text=True
    )

    assert ended.returncode == 1
    assert "--seed 3 --days 1 --off ask-first" in ended.stderr
    step = int(re.search(r"Seed 3 failed at step (\d+):", ended.stderr)[1])
    assert ended.stderr.count(" Mon 0") == min(step, 30)
    assert "acted without asking" in ended.stderr
    assert not shop.exists() or shop.stat().st_size == 0


@pytest.mark.once
def test_everything_is_turned_back_afterwards():
    before = gateways.mpesa()
    constraints = connection.introspection.get_constraints

    run.play(31, events=60, off="unique-receipt")

    assert gateways.mpesa() is before
    assert abs(clock.now() - datetime.now(UTC)) < timedelta(seconds=60)
    with connection.cursor() as cursor:
        assert "receipt_is_one_collection_of_an_account" in constraints(
            cursor, "payments_collection"
        )


def test_a_database_with_rows_of_others_is_refused():
    Shop.objects.create(name="Somebody's", slug="somebodys")

    with pytest.raises(database.NotOurs, match=r"shops\.Shop"):
        run.play(1, events=10)

    assert Payment.objects.count() == 0


def test_no_chaos_in_production(settings):
    settings.MPESA_ENV = "production"

    with pytest.raises(CommandError, match="production"):
        call_command("chaos", stdout=StringIO())


@pytest.mark.sqlite
def test_locks_cannot_be_missed_with_one_writer():
    with pytest.raises(CommandError, match="PostgreSQL"):
        call_command("chaos", off="lock", stdout=StringIO())


def test_a_crash_is_no_exception():
    # Or the domain could catch it and go on.
    assert not issubclass(Crash, Exception)


def test_the_bank_moves_money_once():
    bank = Bank(Dice(1), balances={"254712000001": 500})
    prompt = bank.show(
        shortcode="600100", reference="A1", phone="254712000001", amount=300,
        callback_url="http://x/hooks/stk/abc", fate="on time", now=clock.now(),
    )  # fmt: skip
    prompt.intent = PAID

    bank.finish(prompt, clock.now())
    bank.finish(prompt, clock.now())

    assert bank.balances["254712000001"] == 200
    assert [entry.amount for entry in bank.ledger] == [300]
    assert b'"Value": 300' in callback(prompt)
    with pytest.raises(ValueError, match="pushed before"):
        bank.show(
            shortcode="600100", reference="A1", phone="254712000001", amount=300,
            callback_url="http://x/hooks/stk/abc", fate="lost", now=clock.now(),
        )  # fmt: skip
