"""Who owns a commit, how long a lock is waited for, what is tried again."""

import logging
import threading
import time

import pytest
from django.db import OperationalError, connection, transaction
from django.http import HttpResponse

from shops.models import Shop
from smartduka.lib import transactions
from smartduka.lib.transactions import (
    GiveBackMiddleware,
    give_back_connection,
    hasty_transaction,
    repeated,
    require_no_transaction,
)
from tests.factories import ShopFactory


class Cause(Exception):
    def __init__(self, sqlstate):
        self.sqlstate = sqlstate


def refused(sqlstate):
    error = OperationalError("the database said no")
    error.__cause__ = Cause(sqlstate)
    return error


class Flaky:
    """Fails as often as is said, then returns "done"; counts."""

    def __init__(self, *errors):
        self.errors = list(errors)
        self.calls = 0

    def __call__(self, *args, **kwargs):
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "done", args, kwargs


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch):
    monkeypatch.setattr(transactions.time, "sleep", lambda _: None)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("sqlstate", ["40P01", "40001"], ids=["deadlock", "serial"])
def test_a_transaction_undone_for_anothers_sake_is_repeated(sqlstate, caplog):
    flaky = Flaky(refused(sqlstate), refused(sqlstate))

    with caplog.at_level(logging.INFO):
        assert repeated(flaky)(1, a=2) == ("done", (1,), {"a": 2})

    assert flaky.calls == 3
    assert caplog.text.count(f"repeated after {sqlstate}") == 2


@pytest.mark.django_db(transaction=True)
def test_it_is_tried_three_times_in_all():
    flaky = Flaky(*[refused("40P01")] * 5)

    with pytest.raises(OperationalError):
        repeated(flaky)()

    assert flaky.calls == 3


@pytest.mark.parametrize(
    "error",
    [refused("55P03"), refused("08006"), OperationalError("sqlite"), KeyError("x")],
    ids=["lock timeout", "connection", "no state", "a bug"],
)
@pytest.mark.django_db(transaction=True)
def test_nothing_else_is_repeated(error):
    flaky = Flaky(error)

    with pytest.raises(type(error)):
        repeated(flaky)()

    assert flaky.calls == 1


@pytest.mark.django_db
def test_part_of_a_transaction_is_not_repeated():
    flaky = Flaky(refused("40P01"))

    with pytest.raises(OperationalError), transaction.atomic():
        repeated(flaky)()

    assert flaky.calls == 1


def test_the_name_stays():
    @repeated
    def settle():
        """Settle."""

    assert (settle.__name__, settle.__doc__) == ("settle", "Settle.")


# No transaction across the network.


@pytest.mark.django_db
def test_a_transaction_is_noticed():
    require_no_transaction()

    with (
        transaction.atomic(),
        pytest.raises(RuntimeError, match="inside a transaction"),
    ):
        require_no_transaction()


@pytest.mark.django_db(transaction=True)
def test_a_connection_is_given_back():
    Shop.objects.exists()
    assert connection.connection is not None

    give_back_connection()

    assert connection.connection is None


@pytest.mark.django_db(transaction=True)
def test_a_connection_in_a_transaction_is_kept():
    with transaction.atomic():
        give_back_connection()

        assert connection.connection is not None


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("ends", ["well", "badly"])
def test_a_request_gives_its_connection_back(rf, ends):
    def view(request):
        Shop.objects.exists()
        if ends == "badly":
            raise RuntimeError("a bug")
        return HttpResponse("fine")

    middleware = GiveBackMiddleware(view)

    if ends == "badly":
        with pytest.raises(RuntimeError):
            middleware(rf.get("/"))
    else:
        assert middleware(rf.get("/")).content == b"fine"
    assert connection.connection is None


# Hasty ones.


@pytest.fixture
def held(transactional_db):
    """A shop whose row another connection holds until the end of the test."""
    shop = ShopFactory()
    is_held, over = threading.Event(), threading.Event()

    def hold():
        try:
            with transaction.atomic():
                Shop.objects.filter(pk=shop.pk).update(name="held")
                is_held.set()
                over.wait(10)
                transaction.set_rollback(True)
        finally:
            connection.close()

    thread = threading.Thread(target=hold)
    thread.start()
    is_held.wait(10)
    yield shop
    over.set()
    thread.join(10)


def test_a_lock_that_is_held_is_waited_for_no_longer_than_that(held):
    started = time.monotonic()

    with pytest.raises(OperationalError), hasty_transaction(0.3):
        Shop.objects.filter(pk=held.pk).update(name="mine")

    assert 0.2 < time.monotonic() - started < 3
    assert Shop.objects.get().name != "mine"


@pytest.mark.django_db(transaction=True)
def test_a_hasty_transaction_commits_or_rolls_back():
    @hasty_transaction(1)
    def make(slug, error=None):
        ShopFactory(slug=slug)
        if error:
            raise error

    make("kept")
    with pytest.raises(KeyError):
        make("lost", KeyError("a bug"))

    assert list(Shop.objects.values_list("slug", flat=True)) == ["kept"]


@pytest.mark.django_db(transaction=True)
def test_haste_ends_with_the_transaction():
    before = patience()

    with hasty_transaction(0.7):
        assert patience() != before

    assert patience() == before


def patience():
    sqlite = connection.vendor == "sqlite"
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA busy_timeout" if sqlite else "SHOW lock_timeout")
        return cursor.fetchone()[0]


@pytest.mark.django_db
def test_a_hasty_transaction_owns_its_commit():
    with (
        transaction.atomic(),
        pytest.raises(RuntimeError, match="durable"),
        hasty_transaction(1),
    ):
        pass
