"""Two workers that seal at once make one chain, and no row has two seals."""

import pytest

from payments import audit
from payments.models import AuditChain, AuditSeal
from tests.concurrency.racing import MARKS, kinds, together
from tests.factories import OrderFactory, PaymentFactory


pytestmark = MARKS

UNIQUE = ("chain_has_one_seal_at_a_position", "row_is_sealed_once")


@pytest.fixture(autouse=True)
def two_rows(duka):
    """What is to be sealed: a payment was made, and M-Pesa was asked."""
    PaymentFactory(order=OrderFactory(shop=duka))


@pytest.fixture
def both_have_read(rendezvous):
    """Both rounds see the same rows without a seal before either seals them."""
    rendezvous().before(audit, "_extend")


def seal_together():
    """What came of it, at which positions the seals are, and whether all is well."""
    results = together(audit.seal, audit.seal)
    positions = AuditSeal.objects.order_by("position", "pk")
    _, faults = audit.verify()
    return (
        kinds(results),
        list(positions.values_list("position", flat=True)),
        not faults,
    )


def test_two_workers_seal_each_row_once(both_have_read, rendezvous):
    rendezvous(patience_s=0.4).before(audit, "_linked")

    assert seal_together() == (["ok", "ok"], [1, 2], True)


def test_the_lock_alone_seals_each_row_once(both_have_read, off, rendezvous):
    off.constraint(AuditSeal, *UNIQUE)
    rendezvous(patience_s=0.4).before(audit, "_linked")

    assert seal_together() == (["ok", "ok"], [1, 2], True)


@pytest.mark.parametrize("dropped", UNIQUE)
def test_each_constraint_alone_seals_each_row_once(
    dropped, both_have_read, off, rendezvous
):
    off.lock(AuditChain)
    off.constraint(AuditSeal, dropped)
    rendezvous().before(audit, "_linked")

    assert seal_together() == (["IntegrityError", "ok"], [1, 2], True)


def test_without_the_guards_the_chain_is_broken(both_have_read, off, rendezvous):
    off.lock(AuditChain)
    off.constraint(AuditSeal, *UNIQUE)
    rendezvous().before(audit, "_linked")

    assert seal_together() == (["ok", "ok"], [1, 1, 2, 2], False)
