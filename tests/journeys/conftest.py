"""Sales from end to end: web, worker and M-Pesa are processes, spoken to by HTTP."""

import pytest

from shops.enums import Role
from tests.factories import (
    PASSWORD,
    MembershipFactory,
    ProductFactory,
    ShopFactory,
    UserFactory,
)
from tests.support.processes import Caller, Shopfront
from tests.support.simulator import SimulatorProcess


@pytest.fixture(scope="package")
def mpesa_process():
    with SimulatorProcess() as process:
        yield process


@pytest.fixture(scope="package")
def shopfront(django_db_setup, mpesa_process, tmp_path_factory):
    """One web process for all journeys; the worker runs where a journey needs it."""
    shopfront = Shopfront(tmp_path_factory.mktemp("shop"), mpesa_process.url)
    shopfront.start()
    yield shopfront
    shopfront.stop()


@pytest.fixture
def mpesa(mpesa_process):
    mpesa_process.reset()
    mpesa_process.faults(auto_delay_s=0.2)
    yield mpesa_process
    mpesa_process.reset()


@pytest.fixture
def product(transactional_db):
    """Sugar at KES 125 in a shop on the platform's account: 100 pieces."""
    shop = ShopFactory(name="Mama Mboga", platform=True)
    return ProductFactory(shop=shop, name="Sukari 1 kg", price=125)


@pytest.fixture
def till(product, shopfront, mpesa):
    """A cashier's program, signed in."""
    user = UserFactory(username="till")
    MembershipFactory(user=user, shop=product.shop, role=Role.CASHIER)
    caller = Caller(shopfront, "till", PASSWORD)
    yield caller
    caller.close()
