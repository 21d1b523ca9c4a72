"""The keys of the installation: all opens, with the first of them."""

import io

import pytest
from django.core.management import call_command

from payments.doctor import safekeeping
from tests.factories import MpesaAccountFactory
from tests.payments.doctor.conftest import BROKEN, FINE, LOOK, TILL, state


pytestmark = pytest.mark.django_db


OLD, NEW = b"\x01" * 32, b"\x02" * 32


def test_secrets_under_the_one_key_are_fine(settings, shop):
    settings.MPESA_ENCRYPTION_KEYS = [NEW]
    MpesaAccountFactory(shop=shop)

    finding = safekeeping.sealed()

    assert state(finding) == FINE
    assert finding.words == (
        "Rows with secrets that were opened: 1. All are under the only key."
    )


def test_secrets_under_an_old_key_are_to_be_rotated(settings, shop):
    settings.MPESA_ENCRYPTION_KEYS = [OLD]
    MpesaAccountFactory(shop=shop)
    settings.MPESA_ENCRYPTION_KEYS = [NEW, OLD]
    assert "Still under an old key: 1." in safekeeping.sealed().words

    call_command("rotate_keys", stdout=io.StringIO())
    left_over = safekeeping.sealed()
    assert (state(left_over), "1 key left over" in left_over.words) == (LOOK, True)


def test_secrets_that_do_not_open_are_broken(settings, shop):
    settings.MPESA_ENCRYPTION_KEYS = [OLD]
    account = MpesaAccountFactory(shop=shop)
    settings.MPESA_ENCRYPTION_KEYS = [NEW]

    finding = safekeeping.sealed()

    assert state(finding) == BROKEN
    assert finding.words.startswith("3 secrets do not open: ")
    assert str(account.pk) in finding.words


def test_not_more_rows_are_opened_than_a_person_waits_for(monkeypatch, shop):
    MpesaAccountFactory(shop=shop)
    MpesaAccountFactory(shop=shop, **TILL)
    monkeypatch.setattr(safekeeping, "MOST", 1)

    assert "opened: 1 (there are more)" in safekeeping.sealed().words


def test_hook_keys_should_be_their_own(settings):
    settings.HOOK_KEYS_ARE_DERIVED = True
    assert state(safekeeping.signing()) == LOOK
    settings.HOOK_KEYS_ARE_DERIVED = False
    assert state(safekeeping.signing()) == FINE
