"""Two who write one row at once: the database keeps one, and nobody meets an error."""

import pytest

from orders import checkout, lifecycle
from orders.models import Order, OrderLine
from shops import second_factor
from shops.models import SecondFactor
from tests.concurrency.racing import MARKS, kinds, together
from tests.factories import OrderFactory, ProductFactory


pytestmark = MARKS

HASTY_S = 0.4


# A second step that is set up in two windows. That the lock alone makes one key, and
# nobody meets an error, is shown in test_codes_once.


def begin_twice(person):
    def begin():
        return second_factor.begin(person.user).pk

    return kinds(together(begin, begin))


def test_a_person_has_one_key_by_the_constraint_alone(alice, off, rendezvous):
    off.lock(type(alice.user))
    rendezvous().after(second_factor, "is_on")

    assert begin_twice(alice) == ["IntegrityError", "ok"]

    assert SecondFactor.objects.filter(user=alice.user).count() == 1


def test_a_person_has_two_keys_without_both(alice, off, rendezvous):
    off.lock(type(alice.user))
    off.constraint(SecondFactor, "user")
    rendezvous().after(second_factor, "is_on")

    assert begin_twice(alice) == ["ok", "ok"]

    assert SecondFactor.objects.filter(user=alice.user).count() == 2


# The goods of one sale, changed at two tills.


@pytest.fixture
def bare(duka):
    """A sale whose goods were taken off: who takes off others' would wait for them."""
    order = OrderFactory(shop=duka)
    order.lines.all().delete()
    return order


def put_on_twice(order):
    """Put one piece of a product on the sale, and two of it, at once."""
    product = ProductFactory(shop=order.shop)

    def put_on(pieces):
        return lambda: checkout.replace_lines(
            order.pk,
            shop=order.shop,
            actor=None,
            items=[checkout.Item(str(product.pk), pieces)],
        )

    return kinds(together(put_on(1), put_on(2)))


def lines(order):
    return list(OrderLine.objects.filter(order=order).values_list("line_total"))


def test_a_product_has_one_line(bare, rendezvous):
    rendezvous(patience_s=HASTY_S).after(lifecycle, "locked")

    assert put_on_twice(bare) == ["ok", "ok"]

    bare.refresh_from_db()
    assert lines(bare) == [(bare.total,)]


def test_a_product_has_one_line_by_the_constraint_alone(bare, off, rendezvous):
    off.lock(Order)
    rendezvous().before(checkout, "_save_lines")

    assert put_on_twice(bare) == ["IntegrityError", "ok"]

    bare.refresh_from_db()
    assert lines(bare) == [(bare.total,)]


def test_a_product_has_two_lines_without_both(bare, off, rendezvous):
    off.lock(Order)
    off.constraint(OrderLine, "product_has_one_line_on_an_order")
    rendezvous().before(checkout, "_save_lines")

    assert put_on_twice(bare) == ["ok", "ok"]

    assert sorted(lines(bare)) == [(250,), (500,)]
