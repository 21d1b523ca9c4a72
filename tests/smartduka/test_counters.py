import threading
import time

import pytest
from django.core.cache import cache, caches
from django.db import connection, transaction
from django_ratelimit.core import get_usage

from smartduka.lib.counters import CounterCache
from smartduka.models import Counter


pytestmark = pytest.mark.django_db


@pytest.fixture
def counters():
    return CounterCache("smartduka_counter", {"TIMEOUT": 60})


def test_add_stores_once(counters):
    assert counters.add("k", 1) is True
    assert counters.add("k", 5) is False
    assert counters.get("k") == 1


def test_incr_counts_and_needs_a_live_value(counters):
    with pytest.raises(ValueError, match="not found"):
        counters.incr("k")
    counters.set("k", 10)

    assert counters.incr("k") == 11
    assert counters.incr("k", 4) == 15
    assert counters.decr("k", 5) == 10


def test_expired_value_is_gone_and_may_be_added_again(counters):
    counters.set("k", 7, timeout=-1)

    assert counters.get("k") is None
    assert counters.get("k", "none") == "none"
    assert counters.touch("k") is False
    with pytest.raises(ValueError, match="not found"):
        counters.incr("k")
    assert counters.add("k", 1, timeout=30) is True
    assert counters.get("k") == 1


def test_touch_prolongs(counters):
    counters.set("k", 1, timeout=5)

    assert counters.touch("k", 500) is True
    assert Counter.objects.get().until > time.time() + 400


def test_value_without_an_end(counters):
    counters.set("k", 1, timeout=None)

    assert Counter.objects.get().until > time.time() + 10**9


def test_delete_and_clear(counters):
    counters.set_many({"a": 1, "b": 2, "c": 3})

    assert counters.get_many(["a", "b"]) == {"a": 1, "b": 2}
    assert counters.delete("a") is True
    assert counters.delete("a") is False
    counters.delete_many(["b"])
    assert counters.get("b") is None
    assert "c" in counters
    counters.clear()
    assert Counter.objects.count() == 0


def test_what_expired_is_swept_away(counters, monkeypatch):
    counters.set("old", 1, timeout=-1)
    monkeypatch.setattr("smartduka.lib.counters.random.randrange", lambda n: 0)

    counters.set("new", 1)

    assert Counter.objects.count() == 1


def test_each_step_is_one_statement(counters, django_assert_num_queries):
    for step in (
        lambda: counters.add("k", 1),
        lambda: counters.incr("k"),
        lambda: counters.get("k"),
        lambda: counters.delete("k"),
    ):
        with django_assert_num_queries(1):
            step()


def test_a_count_that_rolls_back_was_not_counted(counters):
    counters.set("k", 1)
    with transaction.atomic():
        counters.incr("k")
        transaction.set_rollback(True)

    assert counters.get("k") == 1


def count_in_threads(step, *, threads, each):
    """Run the step in threads at once and return how often it said yes."""
    yes = []
    gate = threading.Barrier(threads)

    def work():
        try:
            gate.wait()
            yes.extend(one for one in (step() for _ in range(each)) if one)
        finally:
            connection.close()

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return len(yes)


@pytest.mark.django_db(transaction=True)
def test_limit_lets_exactly_its_number_through(counters):
    def step():
        counters.add("limit", 0)
        return counters.incr("limit") <= 20

    assert count_in_threads(step, threads=8, each=10) == 20


@pytest.mark.django_db(transaction=True)
def test_only_one_adds(counters):
    assert count_in_threads(lambda: counters.add("k", 1), threads=8, each=5) == 1


@pytest.mark.django_db(transaction=True)
def test_ratelimit_counts_exactly_on_the_installations_cache(rf):
    cache.clear()

    def step():
        usage = get_usage(
            rf.post("/"),
            group="push",
            key=lambda g, r: "shop",
            rate="20/h",
            increment=True,
        )
        return not usage["should_limit"]

    assert count_in_threads(step, threads=8, each=10) == 20


def test_cluster_figures_do_not_go_into_the_counters(settings):
    name = settings.Q_CLUSTER["cache"]

    assert not isinstance(caches[name], CounterCache)
