"""The audit chain: each way to tamper is found, honest work is not."""

from contextlib import contextmanager
from datetime import timedelta
from io import StringIO

import pytest
from django.contrib.admin.models import CHANGE, LogEntry
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction

from payments import audit, cash, refunds
from payments.enums import PaymentStatus, Source
from payments.models import (
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


def event(payment, reason="something"):
    return PaymentEvent.objects.create(
        payment=payment,
        old=payment.status,
        new=payment.status,
        source=Source.CLOCK,
        reason=reason,
        created_at=clock.now(),
    )


def act(person, text="changed the price"):
    return LogEntry.objects.create(
        user=person.user,
        object_id="1",
        object_repr="Soda",
        action_flag=CHANGE,
        change_message=text,
    )


def run(statement, *values):
    with connection.cursor() as cursor:
        cursor.execute(statement, values)


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
    late = event(payment)
    then = clock.now() - timedelta(hours=3)
    run(
        "UPDATE payments_paymentevent SET created_at = %s WHERE id = %s",
        then,
        late.pk,
    )

    audit.seal()

    assert faults() == [f"payment_event {late.pk} appeared long after its time"]


def test_what_happened_while_no_worker_ran_is_no_fault(
    sealed, payment, operator, monkeypatch
):
    """The shop closed in the minute of its last sale, and opened in the morning."""
    event(payment)
    act(operator)
    now = clock.now
    monkeypatch.setattr(clock, "now", lambda: now() + timedelta(hours=12))

    audit.seal()

    assert faults() == []


def test_event_below_the_mark_that_is_never_sealed_is_found(sealed, payment):
    late = event(payment)
    then = clock.now() - timedelta(hours=3)
    run("UPDATE payments_paymentevent SET created_at = %s WHERE id = %s", then, late.pk)
    AuditMark.objects.filter(kind="payment_event").update(row_id=late.pk + 20_000)

    audit.seal()

    assert faults() == [f"payment_event {late.pk} was never sealed"]


def test_event_committed_late_with_a_lower_id_is_sealed(sealed, payment):
    first = event(payment)
    run("DELETE FROM payments_paymentevent WHERE id = %s", first.pk)
    event(payment)
    audit.seal()
    PaymentEvent(
        pk=first.pk,
        payment=payment,
        old=payment.status,
        new=payment.status,
        source=Source.CLOCK,
        created_at=clock.now(),
    ).save(force_insert=True)

    assert audit.seal() == 1
    assert faults() == []


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
