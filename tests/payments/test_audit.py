"""The audit chain: each way to tamper is found, honest work is not."""

import hashlib
from contextlib import contextmanager
from datetime import timedelta
from io import StringIO

import pytest
from django.contrib.admin.models import CHANGE, LogEntry
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext

from payments import audit, cash, refunds
from payments.enums import PaymentStatus, Source
from payments.models import (
    Act,
    AuditChain,
    AuditMark,
    AuditSeal,
    Collection,
    PaymentEvent,
)
from shops.tenancy import Access
from smartduka.lib import clock
from tests.factories import OrderFactory, PaymentFactory


pytestmark = pytest.mark.django_db(transaction=True)

READ_SEALS = 'SELECT "payments_auditseal"'


def event(payment, reason="something", ago=timedelta(0), **more):
    return PaymentEvent.objects.create(
        payment=payment,
        old=payment.status,
        new=payment.status,
        source=Source.CLOCK,
        reason=reason,
        created_at=clock.now() - ago,
        **more,
    )


def act(person, text="changed the price", at=None):
    return LogEntry.objects.create(
        user=person.user,
        object_id="1",
        object_repr="Soda",
        action_flag=CHANGE,
        change_message=text,
        action_time=at or clock.now(),
    )


def run(statement, *values):
    with connection.cursor() as cursor:
        cursor.execute(statement, values)


def logged(person, ago=timedelta(0), **facts):
    """Write a line of the audit log."""
    values = {
        "shop": person.shop, "road": "api", "address": "10.1.2.3", "status": 201,
        "what": "POST api/orders", "about": "orders.Order", "about_id": "7",
    }  # fmt: skip
    return Act.objects.create(
        at=clock.now() - ago, actor=person.user, **(values | facts)
    )


@contextmanager
def before(words, do):
    """Do something else just before the first statement that begins like this."""
    waiting = [do]

    def execute_after(execute, sql, params, many, context):
        if waiting and sql.startswith(words):
            waiting.pop()()
        return execute(sql, params, many, context)

    with connection.execute_wrapper(execute_after):
        yield
    assert not waiting


@contextmanager
def between_chains(do):
    """Do something else when a round sealed its first chain, and not the second."""
    sealed, done = [], []

    def execute_between(execute, sql, params, many, context):
        if sealed and not done and not connection.in_atomic_block:
            done.append(do)
            do()
        if sql.startswith('INSERT INTO "payments_auditseal"'):
            sealed.append(sql)
        return execute(sql, params, many, context)

    with connection.execute_wrapper(execute_between):
        yield
    assert done


def faults():
    return [fault.what for fault in audit.verify()[1]]


@pytest.fixture
def payment(duka):
    return PaymentFactory(shop=duka, status=PaymentStatus.PENDING)


@pytest.fixture
def boss(alice):
    return Access(alice.user, alice.shop, "owner")


@pytest.fixture
def collection(boss, duka):
    """KES 250 in cash, for a sale of KES 250."""
    cash.take(access=boss, order_id=OrderFactory(shop=duka).pk, amount=250, key="cash")
    return Collection.objects.get()


@pytest.fixture
def sealed(payment):
    events = [event(payment, f"number {number}") for number in range(3)]
    audit.seal()
    return events


def test_honest_work_verifies_and_prints_its_heads(sealed, payment, operator):
    act(operator)
    out = StringIO()

    call_command("verify_audit", stdout=out)

    chains = {chain.name: chain for chain in AuditChain.objects.all()}
    count = PaymentEvent.objects.filter(payment=payment).count()
    assert {name: chain.length for name, chain in chains.items()} == {
        f"shop:{payment.shop_id}": count,
        "platform": 1,
    }
    assert out.getvalue().splitlines() == [
        f"platform: 1 seals, head {chains['platform'].hash}",
        f"shop:{payment.shop_id}: {count} seals,"
        f" head {chains[f'shop:{payment.shop_id}'].hash}",
        "Nothing was changed, removed or slipped in.",
    ]


def test_sealing_twice_adds_nothing(sealed):
    before = list(AuditSeal.objects.values())

    assert audit.seal() == 0

    assert list(AuditSeal.objects.values()) == before


def test_each_shop_has_a_chain_of_its_own(sealed, charlie):
    other = PaymentFactory(shop=charlie.shop)
    event(other)

    audit.seal()

    shops = {chain.name for chain in AuditChain.objects.all()}
    assert f"shop:{other.shop_id}" in shops
    assert len(shops) == 2
    assert faults() == []


def test_changed_event_is_found(sealed):
    run(
        "UPDATE payments_paymentevent SET reason = 'another story' WHERE id = %s",
        sealed[1].pk,
    )

    assert faults() == [f"payment_event {sealed[1].pk} was changed"]


def test_changed_refund_is_found(boss, collection):
    refund = refunds.ask(
        access=boss, collection_id=collection.pk, method="cash", amount=50,
        reason="Wrong goods", restocks=False,
    )  # fmt: skip
    audit.seal()
    assert faults() == []
    changed = refund.events.first()

    run(
        "UPDATE payments_refundevent SET reason = 'another story' WHERE id = %s",
        changed.pk,
    )

    assert faults() == [f"refund_event {changed.pk} was changed"]


@pytest.mark.parametrize("change", ["amount = 1", "kind = 'surplus'"])
def test_moved_money_is_found(collection, change):
    portion = collection.allocations.get()
    audit.seal()
    assert faults() == []

    run(
        f"UPDATE payments_allocation SET {change} WHERE id = %s",
        portion.pk,
    )

    assert faults() == [f"allocation {portion.pk} was changed"]


def test_removed_portion_is_found(collection):
    portion = collection.allocations.get()
    audit.seal()

    run("DELETE FROM payments_allocation WHERE id = %s", portion.pk)

    assert faults() == [f"allocation {portion.pk} is gone"]


def test_changed_admin_act_is_found(operator):
    changed = act(operator)
    audit.seal()

    LogEntry.objects.filter(pk=changed.pk).update(change_message="nothing")

    assert faults() == [f"admin_act {changed.pk} was changed"]


def test_audit_log_is_chained_by_shop(bob, charlie, operator):
    logged(bob)
    logged(charlie)
    logged(operator, shop=None)
    logged(bob)
    audit.seal()

    seals = AuditSeal.objects.filter(kind="act").order_by("row_id")
    assert list(seals.values_list("chain__name", flat=True)) == [
        f"shop:{bob.shop.pk}", f"shop:{charlie.shop.pk}", "platform",
        f"shop:{bob.shop.pk}",
    ]  # fmt: skip
    assert faults() == []


@pytest.mark.parametrize(
    "change",
    [
        {"at": clock.now()},
        {"shop": None},
        {"actor": "alice"},
        {"road": "till"},
        {"what": "POST till/sale"},
        {"about": "shops.Product"},
        {"about_id": "8"},
        {"details": "nothing"},
        {"status": 403},
    ],
    ids=lambda change: next(iter(change)),
)
def test_changed_line_of_the_audit_log_is_found(alice, bob, change):
    line = logged(bob)
    audit.seal()
    assert faults() == []
    if "actor" in change:
        change = {"actor": alice.user}

    Act.objects.filter(pk=line.pk).update(**change)

    assert faults() == [f"act {line.pk} was changed"]


def test_removed_line_of_the_audit_log_is_found(bob):
    line = logged(bob)
    audit.seal()

    run("DELETE FROM payments_act WHERE id = %s", line.pk)

    assert faults() == [f"act {line.pk} is gone"]


def test_line_slipped_into_the_audit_log_is_found(bob):
    logged(bob)
    audit.seal()
    line = logged(bob, ago=timedelta(hours=1))
    audit.seal()

    assert faults() == [f"act {line.pk} appeared long after its time"]


def test_masked_address_is_no_change(bob):
    logged(bob)
    audit.seal()

    Act.objects.update(address=None)

    assert faults() == []


def test_audit_log_from_before_it_was_sealed_is_not_late(
    sealed, bob, later, monkeypatch
):
    """What an older installation wrote, in more rounds than one."""
    AuditMark.objects.filter(kind="act").delete()
    later(days=-30)
    for _ in range(5):
        logged(bob)
    monkeypatch.setattr(audit, "ROUND_LIMIT", 2)
    for minute in range(4):
        later(minutes=minute)
        logged(bob)
        audit.seal()
    audit.seal_all()

    assert AuditSeal.objects.filter(kind="act").count() == 9
    assert faults() == []


def test_removed_event_is_found(sealed):
    run("DELETE FROM payments_paymentevent WHERE id = %s", sealed[1].pk)

    assert faults() == [f"payment_event {sealed[1].pk} is gone"]


def test_removed_event_with_its_seal_is_found(sealed):
    seal = AuditSeal.objects.get(kind="payment_event", row_id=sealed[1].pk)
    run("DELETE FROM payments_auditseal WHERE id = %s", seal.pk)
    run("DELETE FROM payments_paymentevent WHERE id = %s", sealed[1].pk)

    assert faults() == [
        f"seals {seal.position} to {seal.position} are gone",
        f"the seal of payment_event {sealed[2].pk} was changed or slipped in",
    ]


def test_removed_end_is_found(sealed):
    seal = AuditSeal.objects.get(kind="payment_event", row_id=sealed[2].pk)
    run("DELETE FROM payments_auditseal WHERE id = %s", seal.pk)
    run("DELETE FROM payments_paymentevent WHERE id = %s", sealed[2].pk)

    assert faults() == ["the end of the chain is gone"]


@pytest.fixture
def two_waiting(sealed, payment, charlie):
    """Two shops with all sealed but their newest event."""
    other = PaymentFactory(shop=charlie.shop)
    audit.seal()
    return [event(payment), event(other)]


@pytest.fixture
def later(monkeypatch):
    """Turn the clock so far ahead of what it was."""
    now = clock.now

    def turn(**span):
        monkeypatch.setattr(clock, "now", lambda: now() + timedelta(**span))

    return turn


@pytest.fixture
def busy_worker(payment):
    """Let the worker seal something between reading the ends and the seals."""

    def work():
        event(payment, "meanwhile")
        audit.seal()

    return before(READ_SEALS, work)


def test_what_the_worker_seals_during_the_walk_is_no_fault(sealed, busy_worker):
    chain = AuditChain.objects.get()

    with busy_worker:
        heads, found = audit.verify()

    assert found == []
    assert heads == [audit.Head(chain.name, chain.length, chain.hash)]
    assert audit.verify()[0][0].length == chain.length + 1


def test_removed_end_is_found_while_the_worker_seals(sealed, busy_worker):
    run("DELETE FROM payments_auditseal WHERE row_id = %s", sealed[2].pk)
    run("DELETE FROM payments_paymentevent WHERE id = %s", sealed[2].pk)

    with busy_worker:
        assert faults() == ["the end of the chain is gone"]


def test_seal_beyond_the_end_is_found(sealed, payment, busy_worker):
    late = event(payment)
    chain = AuditChain.objects.get()
    (entry,) = audit._events([late.pk])
    AuditSeal.objects.create(
        chain=chain, position=chain.length + 5, kind="payment_event", row_id=late.pk,
        digest=entry.digest, hash="f" * 64, sealed_at=clock.now(),
    )  # fmt: skip
    found = [audit.Fault(chain.name, chain.length + 5, "seals lie beyond the end")]

    assert audit.verify()[1] == found
    with busy_worker:
        assert audit.verify()[1] == found


def test_changed_event_with_a_fresh_digest_is_found(sealed):
    run(
        "UPDATE payments_paymentevent SET reason = 'another story' WHERE id = %s",
        sealed[0].pk,
    )
    (entry,) = audit._events([sealed[0].pk])
    run(
        "UPDATE payments_auditseal SET digest = %s WHERE row_id = %s"
        " AND kind = 'payment_event'",
        entry.digest,
        sealed[0].pk,
    )

    assert faults() == [
        f"the seal of payment_event {sealed[0].pk} was changed or slipped in"
    ]


def test_event_slipped_into_the_past_is_found(sealed, payment):
    late = event(payment, ago=timedelta(hours=3))

    audit.seal()

    assert faults() == [f"payment_event {late.pk} appeared long after its time"]


@pytest.mark.parametrize("kind", ["payment_event", "admin_act"])
def test_row_slipped_in_where_nothing_happened_is_found(
    sealed, payment, operator, later, kind
):
    """Neither its shop nor another has a row since: the empty rounds know."""
    later(hours=3)
    assert audit.seal() == 0
    if kind == "payment_event":
        late = event(payment, ago=timedelta(hours=1))
    else:
        late = act(operator, at=clock.now() - timedelta(hours=1))

    audit.seal()

    assert faults() == [f"{kind} {late.pk} appeared long after its time"]


def test_event_slipped_in_under_seals_of_before_is_found(sealed, payment):
    """Seals from before 0015 do not say up to when their kind was sealed."""
    late = event(payment, ago=timedelta(hours=3))
    AuditMark.objects.update(sealed_until=None)

    audit.seal()

    assert AuditSeal.objects.get(row_id=late.pk).sealed_until is None
    assert faults() == [f"payment_event {late.pk} appeared long after its time"]


def test_what_happened_while_no_worker_ran_is_no_fault(
    sealed, payment, operator, later
):
    """The shop closed in the minute of its last sale, and opened in the morning."""
    event(payment)
    act(operator)
    later(hours=12)

    audit.seal()

    assert faults() == []


def test_backlog_of_many_rounds_is_no_fault(sealed, payment, later, monkeypatch):
    monkeypatch.setattr(audit, "ROUND_LIMIT", 2)
    while audit.seal():
        pass
    for number in range(5):
        event(payment, str(number))
    for minute in range(3):
        later(hours=12, minutes=minute)
        audit.seal()

    assert audit.seal() == 0
    assert faults() == []


def test_event_slipped_in_after_a_backlog_is_found(sealed, payment, later):
    event(payment)
    later(hours=12)
    audit.seal()
    late = event(payment, ago=timedelta(hours=6))
    audit.seal()

    assert faults() == [f"payment_event {late.pk} appeared long after its time"]


def test_worker_killed_between_two_chains_leaves_no_fault(two_waiting, later):
    def kill():
        raise KeyboardInterrupt

    later(hours=12)
    with between_chains(kill), pytest.raises(KeyboardInterrupt):
        audit.seal()
    later(hours=12, minutes=1)

    assert audit.seal() == 1
    assert faults() == []


def test_two_that_seal_a_backlog_at_once_leave_no_fault(two_waiting, later):
    def seal_too():
        later(hours=12, seconds=1)
        assert audit.seal() == 1

    later(hours=12)
    with between_chains(seal_too):
        assert audit.seal() == 1

    seals = AuditSeal.objects.filter(row_id__in=[row.pk for row in two_waiting])
    assert len({seal.sealed_at for seal in seals}) == len({s.chain for s in seals}) == 2
    assert faults() == []


def test_clock_that_was_set_back_makes_no_fault(sealed, payment, later):
    later(hours=2)
    event(payment)
    audit.seal()
    later(hours=0)
    event(payment)
    audit.seal()

    assert faults() == []


@pytest.mark.parametrize("column", ["sealed_until", "sealed_at"])
def test_changed_time_of_a_seal_is_found(sealed, payment, column):
    last = event(payment)
    audit.seal()
    assert faults() == []

    run(
        f"UPDATE payments_auditseal SET {column} = %s WHERE row_id = %s",
        clock.now() - timedelta(hours=3),
        last.pk,
    )

    assert faults() == [
        f"the seal of payment_event {last.pk} was changed or slipped in"
    ]


def test_seal_that_says_no_time_is_hashed_without_one(sealed):
    """As all were before 0015."""
    seals = AuditSeal.objects.filter(sealed_until=None).order_by("position")
    previous = audit.EMPTY
    for seal in seals:
        text = f"{previous}|{seal.position}|{seal.kind}|{seal.row_id}|{seal.digest}"
        previous = hashlib.sha256(text.encode()).hexdigest()
        assert seal.hash == previous
    assert len(seals) == AuditChain.objects.get().length


def test_event_below_the_mark_that_is_never_sealed_is_found(sealed, payment):
    late = event(payment, ago=timedelta(hours=3))
    AuditMark.objects.filter(kind="payment_event").update(row_id=late.pk + 20_000)

    audit.seal()

    assert faults() == [f"payment_event {late.pk} was never sealed"]


@pytest.mark.parametrize(
    ("minutes", "words"),
    [(10, None), (20, "payment_event {} appeared long after its time")],
    ids=["in time", "too late"],
)
def test_event_committed_late_with_a_lower_id_is_sealed(
    sealed, payment, later, minutes, words
):
    first = event(payment)
    run("DELETE FROM payments_paymentevent WHERE id = %s", first.pk)
    later(minutes=minutes)
    event(payment)
    audit.seal()
    event(payment, ago=timedelta(minutes=minutes), pk=first.pk)

    assert audit.seal() == 1
    assert faults() == ([words.format(first.pk)] if words else [])


def test_seals_are_looked_up_by_kind_and_id(sealed, payment, bob):
    """Their index begins with the kind."""
    event(payment)
    logged(bob)

    with CaptureQueriesContext(connection) as captured:
        audit.seal()

    told = [query["sql"] for query in captured]
    looked_up = [sql for sql in told if '"payments_auditseal"."row_id" IN' in sql]
    assert len(looked_up) == 2
    for sql in looked_up:
        assert '"payments_auditseal"."kind" =' in sql


def test_row_is_sealed_once_by_the_database(sealed):
    seal = AuditSeal.objects.order_by("position").first()

    with pytest.raises(IntegrityError), transaction.atomic():
        AuditSeal.objects.create(
            chain=seal.chain,
            position=99,
            kind=seal.kind,
            row_id=seal.row_id,
            digest=seal.digest,
            hash=seal.hash,
            sealed_at=clock.now(),
        )


def test_round_is_limited_and_the_next_one_goes_on(payment, monkeypatch):
    waiting = PaymentEvent.objects.count()
    for number in range(5):
        event(payment, str(number))
    monkeypatch.setattr(audit, "ROUND_LIMIT", 2)

    rounds = [audit.seal() for _ in range((waiting + 5) // 2 + 1)]

    assert sum(rounds) == waiting + 5
    assert faults() == []


def test_command_fails_on_a_fault(sealed):
    run("DELETE FROM payments_paymentevent WHERE id = %s", sealed[1].pk)
    err = StringIO()

    with pytest.raises(CommandError, match="1 faults found"):
        call_command("verify_audit", stdout=StringIO(), stderr=err)

    assert f"payment_event {sealed[1].pk} is gone" in err.getvalue()


def test_command_seals_a_whole_backlog_before_it_judges(
    sealed, payment, later, monkeypatch
):
    for number in range(5):
        event(payment, str(number))
    later(hours=12)
    monkeypatch.setattr(audit, "ROUND_LIMIT", 2)
    out = StringIO()

    call_command("verify_audit", stdout=out)

    assert f"{PaymentEvent.objects.count()} seals" in out.getvalue()


def test_backlog_is_sealed_though_the_worker_takes_of_it(sealed, payment, monkeypatch):
    """A round that another one emptied does not end the work."""
    for number in range(5):
        event(payment, str(number))
    monkeypatch.setattr(audit, "ROUND_LIMIT", 2)

    with before('SELECT "payments_auditchain"', audit.seal):
        audit.seal_all()

    assert AuditSeal.objects.count() == PaymentEvent.objects.count()


def test_sealing_all_ends_where_rows_come_faster(sealed, payment, monkeypatch):
    monkeypatch.setattr(audit, "ROUND_LIMIT", 1)
    monkeypatch.setattr(audit, "MOST_ROUNDS", 3)
    for number in range(5):
        event(payment, str(number))

    audit.seal_all()

    assert AuditSeal.objects.count() == PaymentEvent.objects.count() - 2


def test_what_happens_during_a_long_walk_is_no_fault(sealed, payment, later):
    """No worker runs, and the walk takes longer than a row may wait."""

    def sell():
        event(payment)
        later(minutes=20)

    with before(READ_SEALS, sell):
        assert faults() == []


@pytest.fixture
def forged_end(sealed):
    """Someone wrote the next seal by hand, and not the end."""
    chain = AuditChain.objects.get()
    AuditSeal.objects.create(
        chain=chain, position=chain.length + 1, kind="payment_event", row_id=10**9,
        digest="d" * 64, hash="f" * 64, sealed_at=clock.now(),
    )  # fmt: skip
    return chain


def test_command_tells_of_a_seal_that_is_in_the_way(forged_end, payment):
    event(payment)
    err = StringIO()

    with pytest.raises(CommandError, match="1 faults found"):
        call_command("verify_audit", stdout=StringIO(), stderr=err)

    assert err.getvalue().splitlines() == [
        "What waits could not be sealed.",
        f"{forged_end.name} at {forged_end.length + 1}: seals lie beyond the end",
    ]
