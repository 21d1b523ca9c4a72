"""Customers pay by hand, and prompts are told twice: over HTTP, M-Pesa at the end."""

import pytest

from payments import accounts, c2b
from payments.models import (
    AccountHook,
    Collection,
    MpesaSettings,
    Notice,
    OrganisationRequest,
    Payment,
    Receipt,
)
from shops.enums import Role
from tests.factories import (
    MpesaAccountFactory,
    ProductFactory,
    ShopFactory,
    UserFactory,
)
from tests.journeys.test_sales import Sale, history, paid_once
from tests.support.cast import Person, join
from tests.support.processes import LIMIT_S
from tests.support.simulator import wait_until


pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.slow,
    pytest.mark.once,
]

CUSTOMER = "254711222333"
NOT_OURS = "ABCDE1234"  # its check character is wrong


@pytest.fixture
def registered(shopfront, mpesa, settings):
    """Return what registers an account with M-Pesa, as its owner does."""
    settings.MPESA_BASE_URL = mpesa.url
    settings.MPESA_CALLBACK_URL = shopfront.url

    def register(account):
        assert c2b.register(account, None).is_ours
        return account

    return register


@pytest.fixture
def platform(registered, product):
    """The platform's paybill, where the shop of the product sells."""
    return registered(accounts.platform_account())


def own(shop, registered, **facts):
    """Give the shop an account of its own, with an initiator; M-Pesa knows it."""
    account = MpesaAccountFactory(shop=shop, initiator_name="simapi", **facts)
    account.initiator_password = "SimPass123#"
    account.save()
    MpesaSettings.objects.update_or_create(
        shop=shop, defaults={"account": account, "uses_platform_account": False}
    )
    return registered(account)


@pytest.fixture
def paybill(product, registered):
    return own(product.shop, registered)


@pytest.fixture
def store(product, registered):
    """A till: customers pay 5600301, M-Pesa's keys are those of store 600300."""
    return own(
        product.shop, registered, type="till", shortcode="600300", party_b="5600301",
        consumer_key="sim-till-key", consumer_secret="sim-till-secret",
        passkey="simtillpasskey".ljust(64, "0"),
    )  # fmt: skip


@pytest.fixture
def sale(till, product):
    return Sale(till, product)


def told(kind="c2b", count=1):
    """Return the processed notices of a kind, as soon as there are so many."""
    rows = Notice.objects.filter(kind=kind, processed_at__isnull=False)
    return wait_until(
        lambda: found if len(found := list(rows.order_by("pk"))) >= count else None,
        timeout_s=LIMIT_S,
    )


def standing(receipt):
    """Return the receipt's state, and whether M-Pesa's books have it."""
    row = Receipt.objects.get(number=receipt)
    return row.state, row.is_proven


def counted(receipt):
    """Return the money of a receipt, as soon as it counts."""
    rows = Collection.objects.filter(receipt_row__number=receipt)
    return wait_until(rows.first, timeout_s=LIMIT_S)


# A prompt is told twice.


def test_paid_prompt_on_a_registered_paybill_is_one_collection(
    sale, till, mpesa, platform
):
    asked = sale.prompts("90")

    [entry] = wait_until(mpesa.ledger, timeout_s=LIMIT_S)
    sale.is_paid(asked, mpesaReceiptNumber=entry["receipt"])
    [by_hand] = told("c2b")
    [callback] = told("stk")

    assert (by_hand.account, by_hand.copies) == (platform, 1)
    assert entry["receipt"].encode() in bytes(by_hand.body)
    assert callback.verdict == "applied"
    wait_until(
        lambda: settle_receipts() or standing(entry["receipt"])[0] == "counted",
        timeout_s=LIMIT_S,
    )
    receipt = Receipt.objects.get()
    assert receipt.collection == Collection.objects.get()
    assert sale.facts() == paid_once("callback", entry["receipt"])
    assert mpesa.stats()["confirmations"] == 1


def settle_receipts():
    """Do what the worker does for held receipts."""
    for receipt_id in c2b.matching.due(10):
        c2b.matching.look(receipt_id)


@pytest.mark.parametrize("which", ["paybill", "store"])
def test_lost_callback_is_healed_down_to_the_receipt_without_a_person(
    request, sale, till, mpesa, shopfront, which
):
    request.getfixturevalue(which)
    with shopfront.worker():
        asked = sale.prompts("95")
        sale.is_paid(asked)
        [entry] = mpesa.ledger()
        state = wait_until(
            lambda: (
                seen
                if (seen := till.state(asked["transactionId"]))["mpesaReceiptNumber"]
                else None
            ),
            timeout_s=LIMIT_S,
        )

    assert state["mpesaReceiptNumber"] == entry["receipt"]
    assert sale.facts() == paid_once("query", entry["receipt"])
    assert Notice.objects.filter(kind="stk").count() == 0
    assert history(asked)[-1] in (("completed", "query"), "c2b")
    assert standing(entry["receipt"])[0] == "counted"
    payment = Payment.objects.get(pk=asked["transactionId"])
    collection = Collection.objects.get()
    healed_s = (collection.sighted_at - payment.created_at).total_seconds()
    assert 0 < healed_s < 90
    assert mpesa.stats()["pushes"] == 1


# Money that nobody asked for.


def test_payment_to_a_paybill_with_the_reference_of_nobody(
    sale, mpesa, paybill, shopfront
):
    entry = mpesa.pay("600200", 250, phone=CUSTOMER, reference=NOT_OURS)

    [notice] = told()
    assert (notice.account, notice.verdict) == (paybill, "held")
    assert standing(entry["receipt"]) == ("claimed", False)
    assert Collection.objects.count() == 0

    # M-Pesa is asked, and its own books have it.
    with shopfront.worker():
        collection = counted(entry["receipt"])

    assert standing(entry["receipt"]) == ("counted", True)
    assert (collection.shop, collection.payment, collection.amount) == (
        sale.product.shop, None, 250,
    )  # fmt: skip
    assert (collection.allocated, collection.source) == (0, "status")
    assert OrganisationRequest.objects.get().state == "answered"
    assert sale.facts()["sale"] == ("open", 0, 250, 0)


def test_payment_to_a_till_has_no_reference(sale, mpesa, store, shopfront):
    entry = mpesa.pay("5600301", 250, phone=CUSTOMER)
    [notice] = told()
    assert b"Customer Merchant Payment" in bytes(notice.body)
    assert standing(entry["receipt"]) == ("claimed", False)

    with shopfront.worker():
        collection = counted(entry["receipt"])

    assert (collection.shop, collection.payment) == (sale.product.shop, None)


def test_claim_stays_a_claim_where_nobody_can_be_asked(mpesa, paybill, shopfront):
    type(paybill).objects.filter(pk=paybill.pk).update(initiator_name="")
    with shopfront.worker():
        entry = mpesa.pay("600200", 250, phone=CUSTOMER, reference=NOT_OURS)
        told()

    assert standing(entry["receipt"]) == ("claimed", False)
    assert (Collection.objects.count(), OrganisationRequest.objects.count()) == (0, 0)


def test_customer_types_the_reference_that_the_prompt_showed(
    sale, till, mpesa, paybill, shopfront
):
    """The prompt was cancelled; then the customer pays the same by hand."""
    asked = sale.prompts("91")
    till.wait_for(asked["transactionId"], "failed")
    reference = Payment.objects.get(pk=asked["transactionId"]).reference

    with shopfront.worker():
        entry = mpesa.pay("600200", 250, phone=CUSTOMER, reference=reference.lower())
        # First the prompt is asked about once more, then the receipt.
        till.wait_for(asked["transactionId"], "completed", timeout_s=LIMIT_S)
        sale.is_paid(asked, mpesaReceiptNumber=entry["receipt"])

    assert sale.facts()["sale"] == ("paid", 250, 0, 0)
    assert Collection.objects.get().binding == "reference"


def test_mistyped_reference_on_the_platforms_paybill_is_the_operators(
    sale, till, mpesa, platform, shopfront
):
    other = ShopFactory(name="Jirani", platform=True)
    ProductFactory(shop=other)
    owners = [
        join(shop, f"owner-of-{shop.slug}", Role.OWNER)
        for shop in (sale.product.shop, other)
    ]
    asked = sale.prompts("91")
    till.wait_for(asked["transactionId"], "failed")
    reference = Payment.objects.get(pk=asked["transactionId"]).reference
    mistyped = reference[:-1] + ("A" if reference[-1] != "A" else "B")

    with shopfront.worker():
        entry = mpesa.pay("600100", 250, phone=CUSTOMER, reference=mistyped)
        collection = counted(entry["receipt"])

    assert (collection.shop, collection.payment) == (None, None)
    assert till.state(asked["transactionId"])["status"] == "failed"
    notice = Notice.objects.get(kind="c2b")
    pages = (
        f"/admin/payments/collection/{collection.pk}/change/",
        f"/admin/payments/notice/{notice.pk}/change/",
    )
    operator = Person(
        UserFactory(username="operator", is_superuser=True, is_staff=True)
    )
    for page in pages:
        assert operator.client.get(page).status_code == 200
        for owner in owners:
            type(owner.user).objects.filter(pk=owner.user.pk).update(is_staff=True)
            assert owner.client.get(page).status_code == 404


# Registering and validating.


def test_production_registers_once_and_the_first_address_stays(
    mpesa, paybill, settings
):
    mpesa.faults(c2b_production=True)

    assert not c2b.register(paybill, None).is_ours

    entry = mpesa.pay("600200", 100, phone=CUSTOMER, reference=NOT_OURS)
    told()
    assert Receipt.objects.get().number == entry["receipt"]
    assert c2b.valid_addresses(paybill).count() == 1
    assert AccountHook.objects.count() == 2


def test_strict_paybill_turns_a_mistyped_payment_away(sale, till, mpesa, paybill):
    type(paybill).objects.filter(pk=paybill.pk).update(validates_strictly=True)
    mpesa.faults(c2b_validation=True)
    asked = sale.prompts("91")
    till.wait_for(asked["transactionId"], "failed")
    reference = Payment.objects.get(pk=asked["transactionId"]).reference

    with pytest.raises(AssertionError, match="C2B00012"):
        mpesa.pay("600200", 250, phone=CUSTOMER, reference=NOT_OURS)
    assert Receipt.objects.count() == 0

    entry = mpesa.pay("600200", 250, phone=CUSTOMER, reference=reference)
    told()
    assert Receipt.objects.get().number == entry["receipt"]


def test_payment_by_hand_reaches_a_demo_after_its_worker_started(
    shopfront, mpesa, transactional_db
):
    shopfront.manage("demo_data", "--json")
    mpesa.reset()  # a simulator that started later knows nothing

    with shopfront.worker():
        wait_until(
            lambda: mpesa.get("registrations/600200")["registration"],
            timeout_s=LIMIT_S,
        )
        entry = mpesa.pay("600200", 80, phone=CUSTOMER, reference="MAMA")
        told()

    assert Receipt.objects.get().number == entry["receipt"]
    assert AccountHook.objects.count() == 2
