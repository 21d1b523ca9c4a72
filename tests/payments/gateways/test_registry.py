"""Who answers for M-Pesa: the real client, or one stand-in for everything."""

import pytest

from payments import gateways
from payments.gateways.base import GatewayError
from payments.gateways.daraja import Daraja
from payments.gateways.daraja_organisation import DarajaOrganisation
from tests.support.gateway import FakeMpesa


class Both(FakeMpesa):
    def pull(self, account, query, *, limit_s):
        """One verb of an organisation makes it one."""


def test_both_clients_share_one_session():
    assert isinstance(gateways.mpesa(), Daraja)
    assert isinstance(gateways.organisation(), DarajaOrganisation)
    assert gateways.organisation()._daraja is gateways.mpesa()


def test_a_stand_in_with_an_organisations_verbs_serves_both():
    real = gateways.organisation()
    both = Both()

    with gateways.using(both):
        assert gateways.mpesa() is gateways.organisation() is both
    assert gateways.organisation() is real


def test_behind_a_stand_in_without_them_the_real_network_is_not_asked():
    with gateways.using(FakeMpesa()), pytest.raises(GatewayError) as caught:
        gateways.organisation()

    assert caught.value.certain
