"""Tokens: one for all, fetched once, shared by Redis where it is there."""

import threading
import time

import pytest
from django.core.cache import cache
from redis.exceptions import ConnectionError as RedisDown

from payments.enums import FailureReason
from payments.gateways import tokens
from payments.gateways.base import GatewayError


NAME, SECRET = "http://daraja.test|key", "secret"


class Source:
    """Gives token-1, token-2, …; counts, may be slow, may fail."""

    def __init__(self, *, lifetime_s=3599.0, latency_s=0.0, failures=0):
        self.count = 0
        self.left = []
        self.lifetime_s = lifetime_s
        self.latency_s = latency_s
        self.failures = failures

    def __call__(self, left_s):
        self.count += 1
        self.left.append(left_s)
        time.sleep(self.latency_s)
        if self.count <= self.failures:
            raise GatewayError("no", certain=True, reason=FailureReason.SHOP_ACCOUNT)
        return f"token-{self.count}", self.lifetime_s


def obtain(source, *, name=NAME, secret=SECRET, limit_s=5.0):
    return tokens.obtain(name, secret, source, limit_s=limit_s)


class Waited:
    """A lock that lets nobody in before so many want it."""

    def __init__(self, count):
        self._lock, self._wanted = threading.Lock(), threading.Barrier(count)

    def acquire(self, timeout):
        self._wanted.wait(10)
        return self._lock.acquire(timeout=timeout)

    def release(self):
        self._lock.release()


def together(count, job):
    """Run a job in threads; return results or errors."""
    results = []

    def run():
        try:
            results.append(job())
        except GatewayError as error:
            results.append(str(error))

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    return results


def test_a_token_is_fetched_once_for_all_who_wait():
    source = Source(latency_s=0.2)

    assert together(20, lambda: obtain(source)) == ["token-1"] * 20

    assert source.count == 1


def test_a_failure_is_that_of_all_who_waited(monkeypatch):
    monkeypatch.setattr(tokens, "_locks", {tokens._key(NAME, SECRET): Waited(10)})
    source = Source(failures=1)

    assert together(10, lambda: obtain(source)) == ["no"] * 10

    assert source.count == 1


def test_who_comes_after_a_failure_tries_again():
    source = Source(failures=1)
    with pytest.raises(GatewayError):
        obtain(source)

    assert obtain(source) == "token-2"


def test_who_waits_too_long_for_another_was_certainly_not_asked():
    started = threading.Event()

    def slow(left_s):
        started.set()
        time.sleep(0.5)
        return "late", 3599.0

    other = threading.Thread(target=lambda: obtain(slow))
    other.start()
    started.wait(5)

    with pytest.raises(GatewayError, match="no token in time") as refusal:
        obtain(Source(), limit_s=0.1)

    assert refusal.value.certain
    assert refusal.value.reason == FailureReason.MPESA_UNREACHABLE
    other.join(5)


def test_the_fetch_is_told_how_much_time_is_left():
    source = Source()

    obtain(source, limit_s=2.0)

    [left_s] = source.left
    assert 1 < left_s <= 2


def test_no_time_left_means_no_fetch():
    source = Source()

    with pytest.raises(GatewayError, match="no token in time"):
        obtain(source, limit_s=0)

    assert source.count == 0


def test_a_token_ends_a_minute_early(monkeypatch):
    source = Source(lifetime_s=3600.0)
    obtain(source)
    now = time.time()

    monkeypatch.setattr(tokens.time, "time", lambda: now + 3530)
    assert obtain(source) == "token-1"
    monkeypatch.setattr(tokens.time, "time", lambda: now + 3541)
    assert obtain(source) == "token-2"


def test_a_token_of_a_moment_still_serves_once():
    source = Source(lifetime_s=5.0)

    assert [obtain(source), obtain(source)] == ["token-1", "token-1"]


def test_changed_credentials_never_meet_an_old_token():
    source = Source()

    assert obtain(source, secret="old") == "token-1"
    assert obtain(source, secret="new") == "token-2"
    assert obtain(source, name="another key") == "token-3"


def test_a_refused_token_is_forgotten():
    source = Source()
    obtain(source)

    tokens.forget(NAME, SECRET, "token-1")

    assert obtain(source) == "token-2"


def test_a_token_that_somebody_replaced_is_kept():
    source = Source()
    obtain(source)

    tokens.forget(NAME, SECRET, "token-0")

    assert obtain(source) == "token-1"


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("3599", 3599.0),
        (3599, 3599.0),
        ("3599.5", 3599.5),
        (None, 3600.0),
        ("soon", 3600.0),
        ("-1", 3600.0),
        (0, 3600.0),
        ("nan", 3600.0),
        ("1e9", 3600.0),
        ([], 3600.0),
    ],
    ids=str,
)
def test_lifetime_is_read_from_texts_and_numbers(said, seconds):
    assert tokens.lifetime_s(said) == seconds


def test_without_redis_each_process_has_its_own(settings):
    settings.REDIS_URL = None
    source = Source()
    obtain(source)
    tokens.forget(NAME, SECRET, "token-1")
    assert obtain(source) == "token-2"
    tokens.forget_all()

    assert obtain(source) == "token-3"


# Shared by Redis.


@pytest.fixture
def other_process():
    """What another process would know: nothing but Redis."""
    return tokens.forget_all


@pytest.mark.redis
def test_processes_share_a_token(other_process):
    source = Source()
    obtain(source)
    other_process()

    assert obtain(source) == "token-1"
    assert source.count == 1


@pytest.mark.redis
def test_a_token_in_redis_is_sealed():
    obtain(Source())

    sealed, until = cache.get(tokens._key(NAME, SECRET))

    assert b"token-1" not in bytes(sealed)
    assert until > time.time()


@pytest.mark.redis
@pytest.mark.parametrize("entry", [("nonsense", 1e12), (b"", 1e12), 7, ()], ids=str)
def test_nonsense_in_redis_is_no_token(entry, other_process):
    source = Source()
    cache.set(tokens._key(NAME, SECRET), entry, 60)

    assert obtain(source) == "token-1"


@pytest.mark.redis
def test_a_token_of_redis_that_is_over_is_fetched_anew(other_process, monkeypatch):
    source = Source()
    obtain(source)
    other_process()
    now = time.time()
    monkeypatch.setattr(tokens.time, "time", lambda: now + 3600)

    assert obtain(source) == "token-2"


@pytest.mark.redis
def test_forgetting_reaches_the_others(other_process):
    source = Source()
    obtain(source)

    tokens.forget(NAME, SECRET, "token-1")
    other_process()

    assert obtain(source) == "token-2"


@pytest.mark.redis
def test_forgetting_leaves_the_newer_token_of_another_process(other_process):
    source = Source()
    obtain(source)
    remembered = dict(tokens._local)
    other_process()
    tokens.forget(NAME, SECRET, "token-1")
    assert obtain(source) == "token-2"
    other_process()
    tokens._local.update(remembered)

    tokens.forget(NAME, SECRET, "token-1")

    assert obtain(source) == "token-2"
    assert source.count == 2


@pytest.mark.redis
def test_two_processes_fetch_once(other_process, monkeypatch):
    """The lock of this process is taken away: only Redis keeps the second out."""
    source = Source(latency_s=0.3)
    monkeypatch.setattr(tokens, "_locks", NoLocks())

    assert together(2, lambda: obtain(source)) == ["token-1", "token-1"]

    assert source.count == 1


@pytest.mark.redis
def test_a_lock_of_redis_that_nobody_gives_back_ends_the_wait():
    cache.set(tokens._key(NAME, SECRET) + ":lock", 1, 60)

    with pytest.raises(GatewayError, match="no token in time"):
        obtain(Source(), limit_s=0.2)


@pytest.mark.redis
def test_the_lock_of_redis_is_given_back():
    obtain(Source())

    assert cache.get(tokens._key(NAME, SECRET) + ":lock") is None


@pytest.mark.redis
def test_a_redis_that_is_down_costs_a_token_and_nothing_else(
    other_process, monkeypatch
):
    def down(*args, **kwargs):
        raise RedisDown("gone")

    for verb in ("get", "set", "add", "delete"):
        monkeypatch.setattr(cache, verb, down)
    source = Source()

    assert obtain(source) == "token-1"
    tokens.forget(NAME, SECRET, "token-1")
    assert obtain(source) == "token-2"


class NoLocks(dict):
    def setdefault(self, key, default=None):
        return threading.Lock()
