"""M-Pesa accounts in the books: secrets are never shown, choices are the shop's own."""

import pytest
from django.contrib.admin.models import LogEntry

from payments import accounts, c2b, gateways, inbox
from payments.gateways.base import GatewayError
from payments.gateways.organisation import Registered
from payments.models import AccountHook, MpesaAccount, MpesaSettings, Notice
from tests.factories import MpesaAccountFactory, ShopFactory
from tests.support import by_hand


SECRETS = ("sim-shop2-key", "sim-shop2-secret", "simshop2passkey")


@pytest.mark.parametrize("name", ["charlie", "operator"])
def test_account_says_what_is_set_and_shows_no_secret(people, charlie, name):
    account = charlie.shop.mpesa_accounts.get()
    page = people[name].get(f"/admin/payments/mpesaaccount/{account.pk}/change/")
    listing = people[name].get("/admin/payments/mpesaaccount/").content.decode()
    text = page.content.decode()

    told = {
        field.field["field"]: field.contents()
        for fieldset in page.context["adminform"]
        for line in fieldset
        for field in line
        if field.is_readonly
    }
    is_set, not_set = (
        '<span class="pill good">set</span>',
        ('<span class="pill quiet">not set</span>'),
    )
    assert {n: told[n] for n in ("key", "secret", "pass_key", "initiator")} == {
        "key": is_set, "secret": is_set, "pass_key": is_set, "initiator": not_set,
    }  # fmt: skip
    assert "600200" in text
    for page_text in (text, listing):
        assert [secret for secret in SECRETS if secret in page_text] == []
        assert bytes(account.passkey_sealed).hex()[:16] not in page_text


def test_shop_on_the_platforms_account_sees_that_it_is(alice, ours):
    text = alice.get("/admin/payments/mpesasettings/").content.decode()

    assert "Mama Mboga" in text
    assert "The platform&#x27;s account" in text
    assert "600100" not in text


LIMITS = {"claimed_limit": 0, "second_person_from": 5000}


def test_no_form_of_the_books_chooses_an_account(operator, alice, duka):
    own = MpesaAccountFactory(shop=duka, shortcode="600300")
    row = MpesaSettings.objects.get(shop=duka)
    address = f"/admin/payments/mpesasettings/{row.pk}/change/"
    sent = {"account": own.pk, "uses_platform_account": "", "max_amount": 5000}

    for person in (operator, alice):
        person.client.post(address, sent | LIMITS)

    row.refresh_from_db()
    assert (row.account, row.uses_platform_account, row.max_amount) == (
        None, True, 5000,
    )  # fmt: skip


def test_operator_adds_the_settings_of_a_new_shop_once(operator):
    shop = ShopFactory()
    sent = {"shop": shop.pk, "max_amount": "", **LIMITS}
    first = operator.client.post("/admin/payments/mpesasettings/add/", sent)
    again = operator.client.post("/admin/payments/mpesasettings/add/", sent)

    assert (first.status_code, again.status_code) == (302, 200)
    row = MpesaSettings.objects.get(shop=shop)
    assert (row.account, row.uses_platform_account) == (None, False)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mary", (700, 5000)),
        ("alice", (700, 9000)),
        ("operator", (700, 9000)),
        ("audrey", (0, 5000)),
        ("charlie", (0, 5000)),
        ("bob", (0, 5000)),
    ],
)
def test_limits_are_the_managers_and_the_owners(people, duka, name, expected):
    row = MpesaSettings.objects.get(shop=duka)
    sent = {"claimed_limit": 700, "second_person_from": 9000, "max_amount": ""}
    people[name].client.post(
        f"/admin/payments/mpesasettings/{row.pk}/change/",
        sent if name == "operator" else sent | {"account": "7"},
    )

    row.refresh_from_db()
    assert (row.claimed_limit, row.second_person_from) == expected
    assert (row.account, row.uses_platform_account) == (None, True)


# Payments by hand: who may register, and what they are told.

ACCOUNTS = "/admin/payments/mpesaaccount/"


class Registry:
    """M-Pesa, as far as it registers addresses; answers as told."""

    def __init__(self, answer):
        self.answer, self.told = answer, []

    def register_c2b(self, account, urls, *, limit_s):
        self.told.append((account.shortcode, urls))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def registry():
    registry = Registry(Registered())
    with gateways.using(registry):
        yield registry


def act(person, action, *chosen):
    """Run an action of the list; return what the person is told."""
    response = person.client.post(
        ACCOUNTS,
        {"action": action, "_selected_action": [str(one.pk) for one in chosen]},
        follow=True,
    )
    assert response.status_code == 200, response
    return [str(message) for message in response.context["messages"]]


def test_owner_registers_for_payments_by_hand(charlie, registry):
    account = charlie.shop.mpesa_accounts.get()

    [told] = act(charlie, "register", account)

    assert told.startswith("Paybill 600200: M-Pesa tells payments by hand to a new")
    [(shortcode, urls)] = registry.told
    assert shortcode == "600200"
    hook = AccountHook.objects.get()
    assert (hook.account, hook.created_by, hook.retired_at) == (
        account, charlie.user, None,
    )  # fmt: skip
    token = urls.confirmation.rsplit("/", 1)[1]
    entry = LogEntry.objects.get()
    page = charlie.get(f"{ACCOUNTS}{account.pk}/change/").content.decode()
    assert "1 valid address" in page
    assert token not in told + entry.get_change_message() + page


def test_an_address_that_mpesa_has_already_is_told_in_words(charlie, registry):
    registry.answer = Registered(already=True)

    [told] = act(charlie, "register", charlie.shop.mpesa_accounts.get())

    assert "Only a test payment can show whether it is ours" in told


def test_what_mpesa_refuses_is_told_in_words(charlie, registry):
    registry.answer = GatewayError("HTTP 400 no", certain=True, may_retry=False)

    [told] = act(charlie, "register", charlie.shop.mpesa_accounts.get())

    assert told == "Paybill 600200: M-Pesa refused the address: HTTP 400 no."
    assert LogEntry.objects.count() == 0


@pytest.mark.parametrize("action", ["register", "retire_older"])
@pytest.mark.parametrize("name", ["audrey", "charlie", "bob", "stranger"])
def test_who_does_not_manage_the_shop_registers_nothing(
    people, ours, theirs, name, action, registry, duka
):
    account = MpesaAccountFactory(shop=duka, shortcode="600300")
    people[name].client.post(
        ACCOUNTS, {"action": action, "_selected_action": [str(account.pk)]}
    )

    assert registry.told == []
    assert AccountHook.objects.count() == 0


def test_auditor_of_one_shop_who_manages_another_registers_only_there(
    audrey, charlie, registry
):
    charlie.shop.memberships.create(user=audrey.user, role="manager")
    own = MpesaAccountFactory(shop=audrey.shop, shortcode="600300")
    managed = charlie.shop.mpesa_accounts.get()

    told = act(audrey, "register", own, managed)

    assert [shortcode for shortcode, _ in registry.told] == ["600200"]
    assert "Paybill 600300: only its owner or manager can do this." in told


def test_platforms_account_is_registered_by_the_operator_alone(
    operator, alice, registry
):
    account = accounts.platform_account()
    alice.client.post(
        ACCOUNTS, {"action": "register", "_selected_action": [str(account.pk)]}
    )
    assert registry.told == []

    act(operator, "register", account)

    assert [shortcode for shortcode, _ in registry.told] == ["600100"]


def test_older_addresses_are_retired(charlie, registry):
    account = charlie.shop.mpesa_accounts.get()
    [told] = act(charlie, "retire_older", account)
    assert "no address was retired" in told

    for _ in range(3):
        act(charlie, "register", account)
    [told] = act(charlie, "retire_older", account)

    assert told == "Paybill 600200: 2 older addresses retired."
    assert c2b.valid_addresses(account).get() == AccountHook.objects.latest("pk")


def test_manager_makes_the_validation_strict_and_nothing_else(charlie):
    account = charlie.shop.mpesa_accounts.get()
    address = f"{ACCOUNTS}{account.pk}/change/"

    response = charlie.client.post(
        address, {"validates_strictly": "on", "shortcode": "1", "is_active": ""}
    )

    assert response.status_code == 302
    row = MpesaAccount.objects.get(pk=account.pk)
    assert (row.validates_strictly, row.shortcode, row.is_active) == (
        True, "600200", True,
    )  # fmt: skip


def test_last_payment_by_hand_is_shown_and_leads_to_its_message(
    charlie, alice, ours, registry
):
    account = charlie.shop.mpesa_accounts.get()
    notice = by_hand.deliver(account, by_hand.confirmation(account, name="AMINA"))
    assert notice.verdict == "held"

    page = charlie.get(f"{ACCOUNTS}{account.pk}/change/").content.decode()
    link = f"/admin/payments/notice/{notice.pk}/change/"
    assert link in page
    assert "AMINA" in charlie.get(link).content.decode()
    assert alice.client.get(link).status_code == 404


def test_message_about_the_platforms_account_is_the_operators(operator, alice):
    account = accounts.platform_account()
    notice = by_hand.deliver(account, by_hand.confirmation(account))

    link = f"/admin/payments/notice/{notice.pk}/change/"
    assert operator.client.get(link).status_code == 200
    assert alice.client.get(link).status_code == 404


def test_parked_message_of_an_account_is_processed_again(charlie, monkeypatch):
    account = charlie.shop.mpesa_accounts.get()
    with monkeypatch.context() as broken:
        broken.setattr(c2b, "apply", lambda notice: 1 / 0)
        notice = by_hand.deliver(account, by_hand.confirmation(account))
    Notice.objects.update(verdict="parked", next_try_at=None, attempts=6)
    assert inbox.is_owned(notice)

    charlie.client.post(f"/admin/payments/notice/{notice.pk}/again/")

    notice.refresh_from_db()
    assert (notice.verdict, notice.error) == ("held", "")
