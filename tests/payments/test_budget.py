"""Questions per account and minute: most of them for those who wait."""

import threading
import time
from types import SimpleNamespace

import pytest
from django.core.cache import cache
from django.db import connection
from django_ratelimit import core as ratelimit
from redis.exceptions import ConnectionError as RedisDown

from payments import budget


pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _ten_a_minute(settings):
    settings.QUESTIONS_PER_ACCOUNT_PER_MINUTE = 10
    settings.QUESTIONS_OLD_SHARE = 0.2


def at(monkeypatch, second):
    monkeypatch.setattr(ratelimit, "time", SimpleNamespace(time=lambda: second))


def taken(account, count, *, young):
    return [budget.take(account, young=young) for _ in range(count)].count(True)


def test_an_account_has_its_number_of_questions():
    assert taken("a", 15, young=True) == 10


def test_accounts_have_budgets_of_their_own():
    taken("a", 15, young=True)

    assert taken("b", 15, young=True) == 10


def test_the_old_have_their_share_only():
    assert taken("a", 15, young=False) == 2


def test_the_old_leave_the_rest_to_the_young():
    taken("a", 15, young=False)

    assert taken("a", 15, young=True) == 8


def test_the_young_may_use_all():
    assert taken("a", 10, young=True) == 10
    assert taken("a", 1, young=False) == 0


def test_even_a_small_share_is_one_question(settings):
    settings.QUESTIONS_OLD_SHARE = 0.01

    assert taken("a", 5, young=False) == 1


@pytest.mark.parametrize("error", [RedisDown("gone"), OSError("no route")], ids=str)
def test_counters_that_are_away_stop_nobody(monkeypatch, error, caplog):
    def away(*args, **kwargs):
        raise error

    monkeypatch.setattr(budget, "get_usage", away)

    assert budget.take("a", young=False) is True
    assert budget.usage_of("push", "1", "10/m") is None
    assert "cannot be reached" in caplog.text


def test_a_use_is_told_with_its_limit():
    for _ in range(2):
        usage = budget.usage_of("push", "1", "1/m")

    assert usage.pop("time_left") in range(60)  # 0 in the window's last second
    assert usage == {"count": 2, "limit": 1, "should_limit": True}


def test_who_waits_as_told_finds_room(monkeypatch):
    """Whichever second of the window it is, its last one too; a second less fails."""
    start = int(time.time())
    limits = [("push", "1", "1/m")]
    waits = set()
    for second in range(start, start + 60):
        cache.clear()
        at(monkeypatch, second)
        budget.wait_for_room(limits)
        [group, wait_s] = budget.wait_for_room(limits)
        waits.add(wait_s)

        at(monkeypatch, second + wait_s - 1)
        assert budget.wait_for_room(limits) == (group, 1)
        at(monkeypatch, second + wait_s)
        assert budget.wait_for_room(limits) is None
    assert waits == set(range(1, 61))


def test_a_key_is_used_once():
    assert budget.use_once("key", 60) is True
    assert budget.use_once("key", 60) is False
    assert budget.use_once("other", 60) is True


@pytest.mark.django_db(transaction=True)
def test_threads_share_a_budget_exactly():
    cache.clear()
    results = []

    def take():
        try:
            results.append(taken("a", 5, young=True))
        finally:
            connection.close()

    threads = [threading.Thread(target=take) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)

    assert sum(results) == 10


@pytest.mark.django_db(transaction=True)
def test_threads_share_several_limits_exactly():
    cache.clear()
    results = []

    def ask(number):
        try:
            limits = [("shop", f"shop {number}", "100/m"), ("phone", "one", "10/m")]
            results.extend(budget.wait_for_room(limits) for _ in range(5))
        finally:
            connection.close()

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)

    assert results.count(None) == 10
    assert {found[0] for found in results if found} == {"phone"}


def test_several_limits_count_nothing_where_one_is_spent():
    budget.usage_of("phone", "one", "1/m")

    found = [
        budget.wait_for_room([("shop", "a", "2/m"), ("phone", "one", "1/m")])
        for _ in range(4)
    ]

    assert [group for group, _ in found] == ["phone"] * 4
    assert [budget.wait_for_room([("shop", "a", "2/m")]) for _ in range(2)] == [
        None
    ] * 2
