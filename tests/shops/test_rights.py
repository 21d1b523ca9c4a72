"""The table of rights, and that every road to an act asks it: both ways."""

import uuid
from decimal import Decimal

import pytest
from django.contrib.auth import get_user_model

from payments import code_box, corrections, drawer, failures, refunds
from payments.models import MpesaSettings
from shops import rights, tenancy
from shops.enums import Role
from shops.models import Membership
from shops.rights import Right
from smartduka.lib.errors import DomainError, Forbidden
from tests.factories import OrderFactory, PaymentFactory, ProductFactory


pytestmark = pytest.mark.django_db

CAST = {
    "alice": Role.OWNER, "mary": Role.MANAGER, "bob": Role.CASHIER,
    "audrey": Role.AUDITOR, "operator": rights.OPERATOR,
}  # fmt: skip


def test_table():
    held = {
        right.value: "".join(
            letter
            for letter, role in zip("omcap", rights.TABLE, strict=True)
            if right in rights.TABLE[role]
        )
        for right in Right
    }

    # o owner, m manager, c cashier, a auditor, p the platform's operator
    assert held == {
        "read books": "omap",
        "sell": "omc",
        "code box": "omc",
        "void": "omc",
        "goods": "omp",
        "free money": "om",
        "refund": "om",
        "correct": "om",
        "statements": "omp",
        "failed payments": "om",
        "messages": "omp",
        "mpesa": "omp",
        "settings": "op",
        "staff": "op",
        "platform": "p",
    }


def test_every_role_has_its_row_and_an_unknown_one_nothing():
    assert set(rights.TABLE) == {*Role.values, rights.OPERATOR}
    assert rights.of_role("king") == frozenset()


def test_auditor_and_cashier_hold_nothing_that_needs_more_than_a_password():
    sensitive = {role for role, held in rights.TABLE.items() if held & rights.SENSITIVE}

    assert sensitive == {Role.OWNER, Role.MANAGER, rights.OPERATOR}


@pytest.mark.parametrize(
    ("right", "sentence"),
    [
        (Right.SELL, "Only a cashier, manager or owner may do this."),
        (Right.REFUND, "Only the shop's owner or a manager may do this."),
        (Right.STAFF, "Only the shop's owner may do this."),
    ],
)
def test_refusal_says_who_may(audrey, right, sentence):
    with pytest.raises(Forbidden) as refused:
        tenancy.access(audrey.user).require(right)

    assert refused.value.message == sentence


# Acts: each says whether the person was let in. What they send is nonsense, so that
# an act which is allowed still does nothing.


def by_page(path):
    return lambda person, shop: (
        person.client.get(path, headers={"X-Shop": str(shop.pk)}).status_code == 200
    )


def by_json(path):
    return lambda person, shop: (
        person.post(path, headers={"X-Shop": str(shop.pk)}).status_code
        not in (401, 403)
    )


def by_call(act, **said):
    def call(person, shop):
        try:
            act(access=tenancy.access(person.user, str(shop.pk)), **said)
        except Forbidden:
            return False
        except DomainError:
            return True
        raise AssertionError("nonsense was done")

    return call


def change_of(model, **sent):
    """Send a form that cannot be saved to the row of the shop."""

    def send(person, shop):
        row = {
            "mpesasettings": lambda: MpesaSettings.objects.get(shop=shop),
            "membership": lambda: Membership.objects.get(shop=shop, role=Role.OWNER),
        }[model]()
        app = row._meta.app_label
        address = f"/admin/{app}/{model}/{row.pk}/change/"
        return person.client.post(address, sent).status_code == 200

    return send


def sets_two_people(person, shop):
    row = MpesaSettings.objects.get(shop=shop)
    page = person.get(f"/admin/payments/mpesasettings/{row.pk}/change/")
    if page.status_code != 200:
        return False
    return "second_person_from" in page.context["adminform"].form.fields


def offered_again(person, shop):
    PaymentFactory(order=OrderFactory(shop=shop))
    page = person.get("/admin/payments/notice/")
    return page.status_code == 200 and "process_again" in dict(
        page.context["cl"].model_admin.get_action_choices(page.wsgi_request)
    )


NONSENSE = str(uuid.UUID(int=1))
AT_THE_TILL = [
    (Right.SELL, by_json("/api/orders")),
    (Right.SELL, by_json("/api/payments/mpesa/initiate")),
    (Right.SELL, by_json(f"/api/orders/{NONSENSE}/pay-cash")),
    (Right.SELL, by_json(f"/api/payments/mpesa/retry/{NONSENSE}")),
    (Right.SELL, by_json(f"/api/payments/mpesa/cancel/{NONSENSE}")),
    (Right.SELL, by_json("/till/sale")),
    (Right.SELL, by_call(drawer.spend, piece="x", order_id=NONSENSE, reason="x")),
    (Right.CODE_BOX, by_call(code_box.check, order_id=NONSENSE, text="x")),
    (Right.CODE_BOX, by_call(code_box.use, order_id=NONSENSE, number="x")),
    (Right.CODE_BOX, by_call(code_box.withdraw, claim_id="x")),
    (Right.SETTINGS, by_json("/api/payments/mpesa/config/verify")),
    (Right.VOID, by_json(f"/api/orders/{NONSENSE}/cancel")),
    (Right.GOODS, by_json("/api/products")),
    (Right.FREE_MONEY, by_page("/till/pay/sort")),
    (Right.FREE_MONEY, by_call(
        drawer.apply, piece="x", order_id=NONSENSE, reason="test")),
    (Right.FAILURES, by_call(failures.mark_seen, payment_id=NONSENSE)),
    (Right.FAILURES, by_call(failures.try_again, payment_id=NONSENSE)),
    (Right.REFUND, by_call(refunds.refund_for, refund_id="x")),
    (Right.SETTINGS, by_json("/api/payments/mpesa/config/verify")),
    (Right.CORRECT, by_call(
        corrections.ask_correction, collection_id="x", amount=Decimal(1), reason="x")),
]  # fmt: skip
IN_THE_BOOKS = [
    (Right.READ_BOOKS, by_page("/admin/")),
    (Right.READ_BOOKS, by_page("/admin/payments/payment/")),
    (Right.GOODS, by_page("/admin/shops/product/add/")),
    (Right.STATEMENTS, by_page("/admin/payments/statementimport/upload/")),
    (Right.MESSAGES, offered_again),
    (Right.MPESA, change_of("mpesasettings", claimed_limit="x")),
    (Right.SETTINGS, sets_two_people),
    (Right.STAFF, change_of("membership", role="king")),
    (Right.PLATFORM, by_page("/admin/shops/shop/add/")),
    (Right.PLATFORM, by_page("/admin/auth/user/")),
]


def test_every_right_is_asked_for_somewhere():
    assert {right for right, _ in AT_THE_TILL + IN_THE_BOOKS} == set(Right)


@pytest.fixture
def everybody(alice, mary, bob, audrey, operator, duka):
    ProductFactory(shop=duka)
    get_user_model().objects.update(is_staff=True)
    people = (alice, mary, bob, audrey, operator)
    return dict(zip(CAST, people, strict=True))


@pytest.mark.parametrize("name", CAST)
@pytest.mark.parametrize(("right", "act"), AT_THE_TILL)
def test_till_and_api_let_in_exactly_who_has_the_right(
    everybody, duka, right, act, name
):
    # In a shop's till and API the operator reads, as an auditor does.
    role = Role.AUDITOR if name == "operator" else CAST[name]

    assert act(everybody[name], duka) is (right in rights.TABLE[role])


@pytest.mark.parametrize("name", CAST)
@pytest.mark.parametrize(("right", "act"), IN_THE_BOOKS)
def test_books_let_in_exactly_who_has_the_right(everybody, duka, right, act, name):
    assert act(everybody[name], duka) is (right in rights.TABLE[CAST[name]])
