"""The code box: what the till says of a code, and what it never does."""

from dataclasses import replace

import pytest
from django.core.cache import cache
from django.db import transaction
from django_q.models import OrmQ

from orders import lifecycle as order_lifecycle
from payments import code_box, codes, drawer, gateways, matching, receipts, tasks
from payments.code_answers import CodeAnswer, Found
from payments.drawer_refusals import (
    HeldMoney,
    NoSuchClaim,
    NotThisSales,
    TooManyCodes,
)
from payments.enums import Source
from payments.gateways.base import GatewayError
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


def again(access, order, answer):
    """What an open page learns when it looks again."""
    return code_box.again(access=access, order_id=order.pk, mark=answer.mark)


def work():
    """What a worker does of the questions that were handed out."""
    for row in OrmQ.objects.order_by("pk"):
        if row.task["func"] == code_box.ASK_TASK:
            row.delete()
            tasks.ask_about_code(*row.task["args"])


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

    assert replace(answer, mark="") == CodeAnswer(Found.TAKEN, R1, balance=kes(250))
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
    assert (answer.found, answer.claim, answer.is_asking) == (
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


@pytest.mark.parametrize(
    ("amount", "paid"), [("100.50", [100]), ("250.99", [250]), ("0.50", [])]
)
def test_cents_that_come_for_a_typed_code_stay_with_the_money(
    seller, order, account, amount, paid
):
    check(seller, order)

    receipt = sight(account, amount=amount)

    assert (receipt.state, receipt.collection.amount) == ("counted", kes(amount))
    assert (receipt.collection.allocated, sale_of(order)[1]) == (sum(paid), sum(paid))
    assert [one.amount for one in order.payments.all()] == paid
    assert claims() == [(R1, order.number, "used" if paid else "denied")]


def test_notice_alone_pays_no_sale_whose_code_was_typed(seller, order, account):
    check(seller, order)

    with nothing_changes():
        receipt = sight(account, source=Source.C2B)

    assert receipt.state == "claimed"
    assert claims() == [(R1, order.number, "waiting")]


def test_mpesa_is_asked_by_a_worker_and_its_answer_pays_the_sale(
    seller, order, account, organisation
):
    answer = check(seller, order)
    assert (answer.found, answer.is_asking) == (Found.WAITING, True)
    assert organisation.questions == []
    assert OrganisationRequest.objects.count() == 0
    work()
    [request] = OrganisationRequest.objects.all()
    assert [one.receipt for one in organisation.questions] == [R1]
    assert again(seller, order, answer) == answer
    assert request.asked_by == seller.user

    bodies.tell(
        request,
        bodies.status(request, payee=f"{account.party_b} - MAMA", receipt=R1),
    )

    assert sale_of(order) == ("paid", kes(250), kes(0), kes(0))
    assert claims() == [(R1, order.number, "used")]


def test_mpesa_does_not_know_the_code(seller, order, account, organisation, time):
    answer = check(seller, order)
    work()
    [request] = OrganisationRequest.objects.all()

    with nothing_changes():
        bodies.tell(request, bodies.result(request, 25))

    assert claims() == [(R1, order.number, "denied")]
    [told] = code_box.claims_of(order)
    assert told.why == "M-Pesa does not know this code. Look at the SMS again."
    seen = again(seller, order, answer)
    assert (seen.found, seen.why, seen.is_asking) == (Found.DENIED, told.why, False)
    # Typed once more it is a new claim, and of the two only the new one is shown.
    time.turn(1)
    assert check(seller, order).found is Found.WAITING
    assert [one.state for one in code_box.claims_of(order)] == ["waiting"]


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


def test_code_of_this_sales_own_prompt_is_asked_about_by_a_worker(
    seller, order, account, mpesa
):
    payment = PaymentFactory(order=order, phone=FULL)
    receipt = sight(account)
    assert receipt.state == "held"
    mpesa.answers[payment.checkout_request_id] = final("0")

    answer = check(seller, order)
    assert (answer.found, answer.is_asking, mpesa.questions) == (Found.HELD, True, [])
    work()

    assert again(seller, order, answer) is None
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
    assert (answer.found, answer.is_asking) == (Found.HELD, True)
    work()

    answer = again(seller, order, answer)
    assert (answer.found, answer.amount) == (Found.FREE, kes(250))
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


# Asked by a worker, looked at again by the page.


def test_check_calls_nobody_whatever_is_undecided(
    seller, order, account, organisation, mpesa, monkeypatch
):
    PaymentFactory(order=order, phone="254733000222", amount=100)
    monkeypatch.setattr(gateways, "mpesa", lambda: pytest.fail("asked in the request"))
    monkeypatch.setattr(
        gateways, "organisation", lambda: pytest.fail("asked in the request")
    )

    answer = check(seller, order)

    assert (answer.found, answer.is_asking) == (Found.WAITING, True)
    assert again(seller, order, answer) == answer
    [row] = [one for one in OrmQ.objects.all() if "about_code" in one.task["func"]]
    assert row.task["args"] == (str(order.pk), R1)


@pytest.mark.parametrize(
    ("seconds", "is_asking"), [(0, True), (59, True), (60, False), (600, False)]
)
def test_page_says_for_a_minute_that_mpesa_is_asked(
    seller, order, account, organisation, time, seconds, is_asking
):
    answer = check(seller, order)
    time.turn(seconds)

    seen = again(seller, order, answer)

    assert (seen.found, seen.is_asking) == (Found.WAITING, is_asking)


def test_refused_question_is_not_waited_for(seller, order, account, organisation):
    organisation.answers.append(GatewayError("no such user", certain=True))
    answer = check(seller, order)
    work()

    assert again(seller, order, answer).is_asking is False


def test_lost_question_is_waited_for(seller, order, account, organisation):
    organisation.answers.append(GatewayError("cut off", certain=False))
    answer = check(seller, order)
    work()

    assert again(seller, order, answer).is_asking is True


def test_where_nobody_can_be_asked_nobody_is_waited_for(seller, order, account):
    answer = check(seller, order)
    work()

    assert (answer.found, answer.is_asking) == (Found.WAITING, False)
    assert OrganisationRequest.objects.count() == 0


def test_worker_asks_once_and_nothing_of_a_closed_sale(
    seller, order, account, organisation
):
    check(seller, order)
    check(seller, order)
    work()
    assert len(organisation.questions) == 1
    order_lifecycle.cancel(order.pk, actor=seller.user)

    with nothing_changes():
        code_box.ask(order.pk, R2)
    assert len(organisation.questions) == 1


def test_free_code_that_is_taken_meanwhile_turns_into_used(
    duka, seller, order, account
):
    sight(account)
    answer = check(seller, order)
    other = OrderFactory(shop=duka)
    use(seller, other)

    seen = again(seller, order, answer)

    assert (seen.found, seen.sale_number, seen.piece) == (Found.USED, other.number, "")


def test_code_that_was_taken_back_is_not_looked_at_again(seller, order, account):
    answer = check(seller, order)
    code_box.withdraw(access=seller, claim_id=answer.claim.pk)

    assert again(seller, order, answer) is None


def test_code_that_waits_elsewhere_is_told_again(duka, seller, order, account, charlie):
    here = OrderFactory(shop=duka)
    check(seller, here)
    answer = check(seller, order)

    assert answer.found is Found.USED
    assert again(seller, order, answer) == answer
    CodeClaim.objects.update(shop=charlie.shop, order=charlie.order)
    assert again(seller, order, answer).found is Found.TAKEN


def test_other_spellings_stay_while_the_page_looks_again(seller, order, account):
    answer = check(seller, order, "UA05B2K9QT")

    assert answer.suggestions
    assert again(seller, order, answer) == answer


def test_mark_is_for_one_sale_one_code_and_an_hour(
    duka, seller, order, account, time, audrey, charlie
):
    answer = check(seller, order, SMS)
    assert again(seller, order, answer) == answer
    other = OrderFactory(shop=duka)

    assert again(seller, other, answer) is None
    for mark in ("", "x", answer.mark[:-1], answer.mark.replace(":", "")):
        assert code_box.again(access=seller, order_id=order.pk, mark=mark) is None
    with pytest.raises(Forbidden):
        again(Access(audrey.user, duka, "auditor"), order, answer)
    with pytest.raises(NotFound):
        again(seller, charlie.order, answer)


def test_mark_grows_old(seller, order, account, monkeypatch):
    answer = check(seller, order)
    monkeypatch.setattr(code_box, "MARK_LIVES_S", -1)

    assert again(seller, order, answer) is None


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
    assert 1 <= refused.value.details["retryAfter"] <= 60
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
