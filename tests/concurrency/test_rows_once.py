"""Two who write one row at once: the database keeps one, and nobody meets an error."""

from datetime import timedelta

import pytest

from orders import checkout, lifecycle
from orders.models import Order, OrderLine
from payments import accounts, code_box, statement_booking, statement_import
from payments.models import CodeClaim, Movement, StatementImport
from shops import invitations, second_factor
from shops.enums import Role
from shops.models import Invitation, Membership, SecondFactor
from smartduka.lib import clock
from tests.concurrency.racing import MARKS, kinds, together
from tests.factories import OrderFactory, ProductFactory
from tests.support.statements import as_csv, charge


pytestmark = MARKS

HASTY_S = 0.4
CODE = "UAE5B2K9QT"


# A fee that two statements tell of.


@pytest.fixture
def import_two(duka, alice):
    """Return what imports two files at once that tell of one fee."""
    account = accounts.platform_account()
    now = clock.now()
    fee = charge(CODE, now - timedelta(hours=1))
    files = [as_csv(account, now - timedelta(days=n), now, fee) for n in (1, 2)]

    def imported(data):
        return lambda: statement_import.imported(
            account=account, data=data, file_name="days.csv", actor=alice.user
        )

    return lambda: kinds(together(*[imported(data) for data in files]))


def test_a_fee_of_two_statements_is_booked_once(import_two, rendezvous):
    rendezvous().before(statement_booking, "_movement")

    assert import_two() == ["ok", "ok"]

    assert Movement.objects.values_list("number", "amount").get() == (CODE, -5)
    assert StatementImport.objects.filter(finished_at__isnull=False).count() == 2


def test_a_fee_of_two_statements_is_booked_twice_without_the_constraint(
    import_two, off, rendezvous
):
    off.constraint(Movement, "movement_is_booked_once")
    rendezvous().before(statement_booking, "_movement")

    assert import_two() == ["ok", "ok"]

    assert list(Movement.objects.values_list("number", "amount")) == [(CODE, -5)] * 2


# A code that is typed at two tills.


@pytest.fixture
def type_at_two_tills(duka, seller):
    """Return what types one unknown code for two sales at once; what each was told."""
    sales = [OrderFactory(shop=duka) for _ in range(2)]

    def check(order):
        return lambda: code_box.check(access=seller, order_id=order.pk, text=CODE).found

    return lambda: sorted(together(*[check(order) for order in sales]))


def test_a_code_waits_for_one_of_two_sales(type_at_two_tills, rendezvous):
    rendezvous().before(CodeClaim, "save")

    assert type_at_two_tills() == ["used", "waiting"]

    assert CodeClaim.objects.values_list("number", "state").get() == (CODE, "waiting")


def test_a_code_waits_for_two_sales_without_the_constraint(
    type_at_two_tills, off, rendezvous
):
    off.constraint(CodeClaim, "code_is_claimed_for_one_sale_at_a_time")
    rendezvous().before(CodeClaim, "save")

    assert type_at_two_tills() == ["waiting", "waiting"]

    claimed = CodeClaim.objects.filter(number=CODE, state="waiting")
    assert claimed.values("order").distinct().count() == 2


# A person who takes two links of one shop.


@pytest.fixture
def take_two_links(alice, stranger):
    """Return what opens two links of Alice's shop at once, as one person."""

    def joining():
        _, token = invitations.invite(
            shop=alice.shop, role=Role.CASHIER, name="x", by=alice.user
        )
        return lambda: invitations.join(token, stranger.user)

    jobs = [joining(), joining()]
    return lambda: kinds(together(*jobs))


def roles(person):
    return list(Membership.objects.filter(user=person.user).values_list("role"))


def test_a_person_of_two_links_has_one_role(take_two_links, stranger, rendezvous):
    rendezvous().before(Membership, "save")

    assert take_two_links() == ["ok", "ok"]

    assert roles(stranger) == [("cashier",)]
    assert Invitation.objects.filter(used_by=stranger.user).count() == 2


def test_a_person_of_two_links_has_two_roles_without_the_constraint(
    take_two_links, stranger, off, rendezvous
):
    off.constraint(Membership, "person_has_one_role_in_a_shop")
    rendezvous().before(Membership, "save")

    assert take_two_links() == ["ok", "ok"]

    assert roles(stranger) == [("cashier",)] * 2


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
