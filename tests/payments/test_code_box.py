"""The code box: what the till says of a code, and what it never does."""

import pytest
from django.core.cache import cache
from django.db import transaction

from orders import lifecycle as order_lifecycle
from payments import code_box, codes, drawer, gateways, matching, receipts
from payments.code_box import Found
from payments.drawer_refusals import (
    HeldMoney,
    NoSuchClaim,
    NotThisSales,
    TooManyCodes,
)
from payments.enums import Source
from payments.models import (
    Allocation,
    CodeClaim,
    Collection,
    MpesaSettings,
    OrganisationRequest,
    Payment,
)
from payments.receipts import Told
from shops.tenancy import Access
from smartduka.lib import clock
from smartduka.lib.errors import Forbidden, NotFound
from tests.factories import MpesaAccountFactory, OrderFactory, PaymentFactory
from tests.support import organisation as bodies
from tests.support.facts import kes, nothing_changes, sale_of
from tests.support.gateway import final
from tests.support.organisation import FakeOrganisation


pytestmark = pytest.mark.django_db

R1, R2 = "UAE5B2K9QT", "UAE5B2K9QU"
MASKED, FULL = "2547 ***** 678", "254712345678"
SMS = (
    "UAE5B2K9QT Confirmed. Ksh250.00 paid to MAMA MBOGA. on 20/11/26 at 12:00 PM."
    "New M-PESA balance is Ksh1,200.00."
)


@pytest.fixture(autouse=True)
def _quiet(messages, time):
    cache.clear()
    return messages


@pytest.fixture
def account(duka):
    """The shop's own till, without an initiator."""
    account = MpesaAccountFactory(
        shop=duka, type="till", shortcode="600300", party_b="300300"
    )
    MpesaSettings.objects.update_or_create(
        shop=duka, defaults={"account": account, "uses_platform_account": False}
    )
    return account


@pytest.fixture
def organisation(account, monkeypatch):
    """M-Pesa, which can be asked for this account."""
    account.initiator_name, account.initiator_password = "till", "secret"
    account.save()
    fake = FakeOrganisation()
    monkeypatch.setattr(gateways, "organisation", lambda: fake)
    return fake


@pytest.fixture
def boss(alice):
    return Access(alice.user, alice.shop, "owner")


def sight(account, number=R1, amount=250, source=Source.PULL, **facts):
    told = Told(number, kes(amount), facts.pop("payer", MASKED), "JANE", **facts)
    with transaction.atomic():
        receipt = receipts.sight(account, told, source)
    matching.resolve(receipt.pk)
    receipt.refresh_from_db()
    return receipt


def check(access, order, text=R1):
    return code_box.check(access=access, order_id=order.pk, text=text)


def use(access, order, number=R1):
    return code_box.use(access=access, order_id=order.pk, number=number)


def claims():
    return list(
        CodeClaim.objects.order_by("created_at").values_list(
            "number", "order__number", "state"
        )
    )


# Genuine and free.


@pytest.mark.parametrize("text", [R1, " uae5 b2k9 qt ", SMS])
def test_free_code_pays_the_sale_with_one_tap(seller, order, account, text):
    receipt = sight(account)

    with nothing_changes():
        answer = check(seller, order, text)
    assert (answer.found, answer.number, answer.amount, answer.piece) == (
        Found.FREE, R1, kes(250), f"collection:{receipt.collection_id}",
    )  # fmt: skip
    assert (answer.rest, answer.is_contradicted) == (kes(0), False)
    payment = use(seller, order)

    assert sale_of(order) == ("paid", kes(250), kes(0), kes(0))
    assert (payment.method, payment.receipt, payment.created_by) == (
        "c2b", R1, seller.user,
    )  # fmt: skip
    assert Allocation.objects.get().reason == (
        f"The code {R1} was typed for this sale."
    )
    assert claims() == []


@pytest.mark.parametrize(
    ("amount", "rest", "after"),
    [(100, 150, ("open", 100, 150, 0)), (400, -150, ("paid", 250, 0, 150))],
    ids=["a part", "too much"],
)
def test_other_amount_is_said_and_can_be_used(
    seller, order, account, amount, rest, after
):
    sight(account, amount=amount)

    answer = check(seller, order)
    assert (answer.found, answer.amount, answer.rest) == (
        Found.FREE, kes(amount), kes(rest),
    )  # fmt: skip
    use(seller, order)

    status, *sums = after
    assert sale_of(order) == (status, *map(kes, sums))


def test_message_that_says_another_amount_is_contradicted(seller, order, account):
    sight(account, amount=25)

    answer = check(seller, order, SMS)

    assert (answer.amount, answer.said_amount, answer.is_contradicted) == (
        kes(25), kes(250), True,
    )  # fmt: skip


def test_claim_within_the_limit_is_free_above_it_is_not(seller, order, account, boss):
    sight(account, source=Source.C2B)
    MpesaSettings.objects.update(claimed_limit=249)

    answer = check(seller, order)
    assert (answer.found, answer.amount, answer.piece) == (Found.CLAIMED, kes(250), "")
    for access in (seller, boss):
        with nothing_changes(), pytest.raises(NotThisSales):
            use(access, order)
    code_box.withdraw(access=seller, claim_id=answer.claim.pk)

    MpesaSettings.objects.update(claimed_limit=250)
    assert check(seller, order).found is Found.FREE
    use(seller, order)
    assert sale_of(order) == ("paid", kes(250), kes(0), kes(0))


# Used.


def test_used_code_says_by_whom_and_when(duka, seller, account, boss, alice, time):
    receipt = sight(account)
    first = OrderFactory(shop=duka)
    used_at = clock.now()
    drawer.apply(
        access=boss,
        piece=f"collection:{receipt.collection_id}",
        order_id=first.pk,
        reason="hers",
    )
    time.turn(300)
    second = OrderFactory(shop=duka)

    with nothing_changes():
        answer = check(seller, second)

    assert (answer.found, answer.sale_number, answer.used_by, answer.used_at) == (
        Found.USED, first.number, "alice", used_at,
    )  # fmt: skip
    with nothing_changes(), pytest.raises(NotThisSales):
        use(seller, second)


def test_code_of_this_very_sale_is_told(seller, order, account):
    sight(account, amount=100)
    use(seller, order)

    assert check(seller, order).found is Found.USED_HERE


def test_code_used_in_another_shop_is_only_used(seller, order, account, charlie):
    his = MpesaAccountFactory(shop=charlie.shop, shortcode="600500")
    sight(his)
    code_box.use(
        access=Access(charlie.user, charlie.shop, "owner"),
        order_id=charlie.order.pk,
        number=R1,
    )

    answer = check(seller, order)

    assert answer == code_box.CodeAnswer(Found.TAKEN, R1, balance=kes(250))
    assert claims() == []


def test_another_shops_free_money_is_not_told(seller, order, account, charlie):
    sight(MpesaAccountFactory(shop=charlie.shop, shortcode="600500"))

    answer = check(seller, order)

    assert (answer.found, answer.amount) == (Found.WAITING, None)
    with nothing_changes(), pytest.raises(NotThisSales):
        use(seller, order)


def test_platforms_money_of_nobody_is_not_told_and_not_used(duka, seller, order):
    shared = PaymentFactory(order=OrderFactory(shop=duka)).account
    receipt = sight(shared, reference="MAMA MBOGA")
    assert receipt.collection.shop is None

    answer = check(seller, order)

    assert (answer.found, answer.amount) == (Found.WAITING, None)
    with nothing_changes(), pytest.raises(NotThisSales):
        use(seller, order)


def test_claim_on_the_platform_that_names_no_shop_is_not_told(duka, seller, order):
    shared = PaymentFactory(order=OrderFactory(shop=duka)).account
    receipt = sight(shared, source=Source.C2B, reference="MAMA MBOGA")
    assert receipt.state == "claimed"

    answer = check(seller, order)

    assert (answer.found, answer.amount, answer.piece) == (Found.WAITING, None, "")


def test_code_that_waits_for_another_sale_is_told(duka, seller, account, order):
    check(seller, order)
    other = OrderFactory(shop=duka)

    answer = check(seller, other)

    assert (answer.found, answer.sale_number, answer.used_by) == (
        Found.USED, order.number, seller.user.username,
    )  # fmt: skip
    assert claims() == [(R1, order.number, "waiting")]


# Not found yet.


def test_unknown_code_is_kept_and_counts_nowhere(seller, order, account):
    with nothing_changes():
        answer = check(seller, order, SMS)

    claim = CodeClaim.objects.get()
    assert (answer.found, answer.claim, answer.asked) == (
        Found.WAITING, claim, False,
    )  # fmt: skip
    assert (claim.shop, claim.order, claim.account, claim.number) == (
        order.shop, order, account, R1,
    )  # fmt: skip
    assert (claim.said_amount, claim.state, claim.created_by) == (
        kes(250), "waiting", seller.user,
    )  # fmt: skip
    assert not OrganisationRequest.objects.exists()
    with nothing_changes():
        again = check(seller, order)
    assert (again.claim, CodeClaim.objects.count()) == (claim, 1)


@pytest.mark.parametrize("source", [Source.PULL, Source.STATUS, Source.STATEMENT])
def test_evidence_that_comes_later_pays_the_sale(
    seller, order, account, messages, source
):
    check(seller, order)

    sight(account, source=source)

    assert sale_of(order) == ("paid", kes(250), kes(0), kes(0))
    assert claims() == [(R1, order.number, "used")]
    assert messages == [("payment.completed", "completed")]


def test_notice_alone_pays_no_sale_whose_code_was_typed(seller, order, account):
    check(seller, order)

    with nothing_changes():
        receipt = sight(account, source=Source.C2B)

    assert receipt.state == "claimed"
    assert claims() == [(R1, order.number, "waiting")]


def test_mpesa_is_asked_and_its_answer_pays_the_sale(
    seller, order, account, organisation
):
    answer = check(seller, order)
    [request] = OrganisationRequest.objects.all()
    assert (answer.found, answer.asked) == (Found.WAITING, True)
    assert [one.receipt for one in organisation.questions] == [R1]
    assert request.asked_by == seller.user

    bodies.tell(
        request,
        bodies.status(request, payee=f"{account.party_b} - MAMA", receipt=R1),
    )

    assert sale_of(order) == ("paid", kes(250), kes(0), kes(0))
    assert claims() == [(R1, order.number, "used")]


def test_mpesa_does_not_know_the_code(seller, order, account, organisation):
    check(seller, order)
    [request] = OrganisationRequest.objects.all()

    with nothing_changes():
        bodies.tell(request, bodies.result(request, 25))

    assert claims() == [(R1, order.number, "denied")]
    [told] = code_box.claims_of(order)
    assert told.why == "M-Pesa does not know this code. Look at the SMS again."


def test_other_spellings_are_offered_those_first_that_are_money(seller, order, account):
    sight(account, "UAO5B2K9QT")

    answer = check(seller, order, "UA05B2K9QT")

    assert (answer.found, answer.suggestions[0]) == (Found.WAITING, "UAO5B2K9QT")
    assert answer.suggestions == codes.suggestions("UA05B2K9QT")[:1]


def test_claim_is_withdrawn(seller, order, account, charlie):
    claim = check(seller, order).claim

    with pytest.raises(NoSuchClaim):
        code_box.withdraw(
            access=Access(charlie.user, charlie.shop, "owner"), claim_id=claim.pk
        )
    assert code_box.claims_of(order) == [claim]
    for _ in range(2):
        assert code_box.withdraw(access=seller, claim_id=claim.pk).state == "withdrawn"
    assert code_box.claims_of(order) == []
    sight(account)
    assert sale_of(order) == ("open", kes(0), kes(250), kes(0))


def test_used_claim_is_not_withdrawn(seller, order, account):
    claim = check(seller, order).claim
    sight(account)

    assert code_box.withdraw(access=seller, claim_id=claim.pk).state == "used"


# Belongs to a prompt.


def test_code_of_this_sales_own_prompt_is_asked_about_first(
    seller, order, account, mpesa
):
    payment = PaymentFactory(order=order, phone=FULL)
    receipt = sight(account)
    assert receipt.state == "held"
    mpesa.answers[payment.checkout_request_id] = final("0")

    with pytest.raises(order_lifecycle.OrderNotOpen, match="paid already"):
        check(seller, order)

    payment.refresh_from_db()
    assert (payment.status, payment.receipt) == ("completed", R1)
    assert sale_of(order) == ("paid", kes(250), kes(0), kes(0))
    assert Collection.objects.count() == 1
    assert Payment.objects.count() == 1


def test_held_code_is_not_used(duka, seller, order, account, mpesa):
    PaymentFactory(order=OrderFactory(shop=duka), phone=FULL)
    sight(account)

    answer = check(seller, order)

    assert (answer.found, answer.amount, answer.piece) == (Found.HELD, kes(250), "")
    with nothing_changes(), pytest.raises(NotThisSales):
        use(seller, order)
    assert claims() == []


def test_prompt_that_failed_lets_its_held_receipt_go(seller, order, account, mpesa):
    payment = PaymentFactory(order=order, phone=FULL)
    sight(account)
    mpesa.answers[payment.checkout_request_id] = final("1032")

    answer = check(seller, order)

    assert (answer.found, answer.amount) == (Found.FREE, kes(250))
    assert "M-Pesa was asked first: nothing else was paid." in answer.learned
    use(seller, order)
    assert sale_of(order) == ("paid", kes(250), kes(0), kes(0))


def test_claim_that_became_held_between_look_and_use(
    duka, seller, order, account, monkeypatch
):
    MpesaSettings.objects.update(claimed_limit=250)
    sight(account, source=Source.C2B)

    def meanwhile(order):
        PaymentFactory(order=OrderFactory(shop=duka), phone=FULL)
        return ""

    monkeypatch.setattr(drawer, "ask_first", meanwhile)

    with pytest.raises(HeldMoney):
        use(seller, order)
    assert not Collection.objects.exists()


# Who may, and how often.


def test_auditor_and_strangers_sale(duka, seller, order, account, audrey, charlie):
    sight(account)
    auditor = Access(audrey.user, duka, "auditor")

    with nothing_changes():
        for act in (check, use):
            with pytest.raises(Forbidden):
                act(auditor, order)
            with pytest.raises(NotFound):
                act(seller, charlie.order)
    assert claims() == []


def test_closed_sale_takes_no_code(seller, order, account):
    order_lifecycle.cancel(order.pk, actor=seller.user)

    with pytest.raises(order_lifecycle.OrderNotOpen):
        check(seller, order)
    assert claims() == []


def test_codes_cannot_be_tried_out(seller, order, account, boss, monkeypatch):
    monkeypatch.setattr(code_box, "RATE_PER_USER", "2/m")
    monkeypatch.setattr(code_box, "RATE_PER_SHOP", "3/m")
    for _ in range(2):
        check(seller, order)

    with pytest.raises(TooManyCodes) as refused:
        check(seller, order, R2)
    assert 1 <= refused.value.details["retryAfter"] <= 61
    # Another person of the shop has one left of the shop's three.
    with pytest.raises(TooManyCodes):
        [check(boss, order, R2) for _ in range(3)]
    assert len(claims()) <= 2


def test_unreadable_text_asks_nobody(seller, order, account, mpesa):
    payment = PaymentFactory(order=order, phone=FULL)

    with nothing_changes(), pytest.raises(codes.UnreadableCode):
        check(seller, order, "hello")

    assert mpesa.questions == []
    assert payment.asked_at is None
