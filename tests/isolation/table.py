"""How each address is walked by somebody of another shop: who adds one adds a line.

The pages that every book of the admin has are filled by their names. All others are
listed here; a route that is not is a failure of tests/isolation/test_routes.py.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from django.apps import apps

from smartduka.admin_site import site
from tests.isolation import world
from tests.isolation.routes import Route
from tests.isolation.world import World


Fields = dict[str, object]
# The pages of a book, as Django names them.
BOOK_PAGE = re.compile(
    r"admin:(?P<app>[a-z]+)_(?P<model>[a-z]+)_(changelist|add|history|delete|change)"
)
BOOK_LINK = re.compile(r"admin/(?P<app>[a-z]+)/(?P<model>[a-z]+)/<object_id>/")
# Nothing of the other shop is asked for by its id: any answer that shows nothing.
ANYTHING = frozenset({200, 204, 302, 400, 401, 403, 404, 405, 409, 422})
NOT_THERE = frozenset({404, 405})


@dataclass(frozen=True)
class Walk:
    """What an address is tried with: parameters, a body, and what may be answered.

    `ids` gives the parameters, once for each row; without it there are none. A route
    with ids must answer 404 and nothing else but "not this verb". Where it `is_page`,
    the shop's own owner or the operator get another answer than 404 there.
    """

    ids: Callable[[World], list[Fields]] | None = None
    body: Callable[[World], Fields] = field(default=lambda _: {})
    is_json: bool = False
    answers: frozenset[int] = NOT_THERE
    is_page: bool = True

    def parameters(self, of: World) -> list[Fields]:
        return self.ids(of) if self.ids is not None else [{}]


def of(**labels: str) -> Callable[[World], list[Fields]]:
    """Fill each parameter with the first and the last row of a model."""

    def fill(of_world: World) -> list[Fields]:
        found = {name: of_world.rows(label) for name, label in labels.items()}
        longest = max(len(rows) for rows in found.values())
        assert longest, labels
        return [
            {name: rows[min(number, len(rows) - 1)].pk for name, rows in found.items()}
            for number in range(longest)
        ]

    return fill


def plain(body: Any = None, answers: frozenset[int] = ANYTHING, **more: Any) -> Walk:
    """An address without ids; what is sent may name rows of the other shop."""
    return Walk(body=body or (lambda _: {}), answers=answers, **more)


def one(label: str, **more: Any) -> Walk:
    """A page of one row of the admin."""
    return Walk(ids=of(object_id=label), **more)


def first(label: str, name: str = "pk") -> Callable[[World], object]:
    return lambda of_world: str(getattr(of_world.row(label), name))


def body(**fields: Any) -> Callable[[World], Fields]:
    """Return what makes a body; a function in it is asked for a row's id."""
    return lambda of_world: {
        name: value(of_world) if callable(value) else value
        for name, value in fields.items()
    }


ORDER, PAYMENT = of(order_id="orders.Order"), of(payment_id="payments.Payment")
COLLECTION = of(collection_id="payments.Collection")
REASON = body(reason="I guessed the address", amount="10", method="cash")


def collection_piece(of_world: World) -> str:
    return str(of_world.row("payments.Collection").pk)


def beyond_the_books(of_world: World) -> list[Fields]:
    return [{"url": f"payments/payment/{of_world.row('payments.Payment').pk}/export"}]


def every_row(of_world: World) -> list[Fields]:
    kinds = [model._meta.label for model in site._registry]
    return [
        {"content_type_id": type_of(label), "object_id": row.pk}
        for label in kinds
        for row in of_world.rows(label)
    ]


def type_of(label: str) -> int:
    types = apps.get_model("contenttypes.ContentType").objects
    return types.get_for_model(apps.get_model(label)).pk


HOOK = Walk(
    ids=lambda w: [{"token": w.row("payments.Payment").token_hash}],
    body=body(Body={}), is_json=True, answers=frozenset({403, 405}), is_page=False,
)  # fmt: skip
PIECE = plain(body(piece=collection_piece, reason="mine now", looked="yes"))

TABLE: dict[str, Walk] = {
    # M-Pesa's side: what belongs to a shop is behind a secret, not behind its id.
    "hooks/stk/<str:token>": HOOK,
    "hooks/hand/<str:token>": HOOK,
    "hooks/check/<str:token>": HOOK,
    "hooks/result/<str:token>": HOOK,
    "hooks/over/<str:token>": HOOK,
    "hooks/pull": plain(body(Body={}), is_json=True),
    # The API.
    "api/auth/token": plain(body(username="jirani-owner", password="guessed")),
    "api/auth/token/refresh": plain(body(refresh="guessed")),
    "api/auth/ws-ticket": plain(),
    "api/schema": plain(),
    "api/docs": plain(),
    "api/products": plain(body(name="Salt", price="20"), is_json=True, answers=ANYTHING | {201}),
    "api/products/<str:product_id>": Walk(
        ids=of(product_id="shops.Product"), body=body(price="1"), is_json=True
    ),
    "api/orders": plain(
        lambda w: {"items": [{"productId": str(w.row("shops.Product").pk), "quantity": 1}]},
        is_json=True,
    ),
    "api/orders/<str:order_id>": Walk(ids=ORDER, is_json=True),
    "api/orders/<str:order_id>/cancel": Walk(ids=ORDER, is_json=True),
    "api/orders/<str:order_id>/pay-cash": Walk(ids=ORDER, body=body(amount=10), is_json=True),
    "api/payments": plain(is_json=True),
    "api/payments/mpesa/initiate": plain(
        body(orderId=first("orders.Order"), phoneNumber="0712345678"),
        answers=NOT_THERE, is_json=True,
    ),
    "api/payments/mpesa/status/<str:payment_id>": Walk(ids=PAYMENT, is_json=True),
    "api/payments/mpesa/query/<str:payment_id>": Walk(ids=PAYMENT, is_json=True),
    "api/payments/mpesa/cancel/<str:payment_id>": Walk(ids=PAYMENT, is_json=True),
    "api/payments/mpesa/retry/<str:payment_id>": Walk(ids=PAYMENT, is_json=True),
    "api/payments/mpesa/pending": plain(is_json=True),
    "api/payments/mpesa/failed": plain(is_json=True),
    "api/payments/mpesa/config": plain(
        body(
            type="paybill", shortCode=first("payments.MpesaAccount", "shortcode"),
            partyB=first("payments.MpesaAccount", "party_b"), consumerKey="guessed",
            consumerSecret="guessed", passkey="guessed",
        ),
        is_json=True,
    ),
    "api/payments/mpesa/config/verify": plain(is_json=True),
    "api/payments/mpesa/config/test-payment": plain(
        body(phoneNumber="0712345678"), is_json=True, answers=ANYTHING | {201},
    ),
    "api/payments/mpesa/callback": plain(body(Body={}), is_json=True),
    "api/": plain(answers=NOT_THERE),
    # Pages of nobody's.
    "healthz": plain(), "readyz": plain(answers=ANYTHING | {503}), "": plain(),
    "join/<str:token>": Walk(
        ids=lambda w: [{"token": w.row("shops.Invitation").token_hash}],
        body=body(username="charlie2", password="guessed-it-2031"), is_page=False),
    "login": plain(body(username="jirani-owner", password="guessed")),
    "login/code": plain(body(code="123456")), "second-step": plain(body(code="123456")),
    "admin": plain(answers=ANYTHING | {301}),
    # The till.
    "till/switch": plain(body(person=first("shops.Membership"), pin="4071")),
    "till/pin": plain(body(password="guessed", pin="4071")),
    "till/": plain(), "till/products": plain(), "till/prices": plain(),
    "till/language": plain(body(language="en", next="/till/")),
    "till/scan": plain(), "till/shops": plain(body(shop=first("shops.Shop"))),
    "till/sale": plain(
        lambda w: {
            "orderId": str(w.row("orders.Order").pk),
            "items": [{"productId": str(w.row("shops.Product").pk), "quantity": 1}],
        },
        answers=NOT_THERE, is_json=True,
    ),
    "till/sale/<uuid:order_id>": Walk(ids=ORDER),
    "till/pay/": plain(), "till/pay/pill": plain(), "till/pay/sort": plain(),
    "till/pay/sort/list": plain(),
    "till/pay/sort/pay": PIECE, "till/pay/sort/keep": PIECE, "till/pay/sort/back": PIECE,
    "till/pay/<uuid:order_id>": Walk(ids=ORDER),
    "till/pay/<uuid:order_id>/mpesa": Walk(ids=ORDER, body=body(phone="0712345678", amount="10")),
    "till/pay/<uuid:order_id>/cash": Walk(ids=ORDER, body=body(amount="10")),
    "till/pay/<uuid:order_id>/offer": Walk(ids=ORDER, body=body(piece=collection_piece)),
    "till/pay/<uuid:order_id>/code": Walk(ids=ORDER, body=body(text="UKL1CLAIM1")),
    "till/pay/<uuid:order_id>/code/use": Walk(ids=ORDER, body=body(number="UKL1CLAIM1")),
    "till/pay/code/<uuid:claim_id>/withdraw": Walk(ids=of(claim_id="payments.CodeClaim")),
    "till/pay/<uuid:order_id>/cancel": Walk(ids=ORDER),
    "till/pay/<uuid:order_id>/receipt": Walk(ids=ORDER),
    "till/pay/payment/<uuid:payment_id>/retry": Walk(ids=PAYMENT),
    "till/pay/payment/<uuid:payment_id>/resend": Walk(ids=PAYMENT),
    "till/pay/payment/<uuid:payment_id>/stop": Walk(ids=PAYMENT),
    # The admin, beside the pages that every book has.
    "admin/": plain(), "admin/login/": plain(), "admin/jsi18n/": plain(),
    "admin/password_change/": plain(), "admin/password_change/done/": plain(),
    "admin/<app_label>/": Walk(
        ids=lambda _: [{"app_label": name} for name in ("orders", "payments", "shops", "auth")],
        answers=frozenset({302, 403, 404, 405}),
    ),
    "admin/<url>": Walk(ids=beyond_the_books, is_page=False),
    "admin/r/<path:content_type_id>/<path:object_id>/": Walk(ids=every_row, is_page=False),
    "admin/home/figures/": plain(), "admin/home/waiting/": plain(),
    "admin/doctor/": plain(), "admin/doctor/check/": plain(),
    "admin/doctor/<uuid:account_id>/": Walk(ids=of(account_id="payments.MpesaAccount")),
    "admin/doctor/<uuid:account_id>/check/": Walk(
        ids=of(account_id="payments.MpesaAccount")
    ),
    "admin/autocomplete/": plain(),  # see test_autocomplete_offers_nothing
    "admin/payments/mpesasettings/setup/<int:shop_id>/": Walk(
        ids=of(shop_id="shops.Shop"), body=body(act="stop", **{"stop-agree": "on"})
    ),
    "admin/payments/failedpayment/export.csv": plain(),
    "admin/payments/failedpayment/export.xlsx": plain(),
    "admin/payments/payment/<path:object_id>/evidence/": one("payments.Payment"),
    "admin/payments/payment/<path:object_id>/evidence.pdf": one("payments.Payment"),
    "admin/payments/payment/<path:object_id>/evidence.json": one("payments.Payment"),
    "admin/shops/membership/invite/": plain(body(
        name="me", role="owner", shop=first("shops.Shop"))),
    "admin/shops/membership/invite/<int:invitation_id>/withdraw/": Walk(
        ids=of(invitation_id="shops.Invitation")),
    "admin/shops/membership/<path:object_id>/reset/": one("shops.Membership"),
    "admin/shops/membership/<path:object_id>/unlock/": one("shops.Membership"),
    "admin/shops/membership/<path:object_id>/sign-out/": one("shops.Membership"),
    "admin/payments/refund/of/<int:collection_id>/": Walk(ids=COLLECTION, body=REASON),
    "admin/payments/refund/<path:object_id>/approve/": one("payments.Refund"),
    "admin/payments/refund/<path:object_id>/refuse/": one("payments.Refund", body=REASON),
    "admin/payments/refund/<path:object_id>/question/": one("payments.Refund"),
    "admin/payments/collection/<int:collection_id>/place/": Walk(ids=COLLECTION),
    "admin/payments/correction/of/<int:collection_id>/": Walk(ids=COLLECTION, body=REASON),
    "admin/payments/correction/<path:object_id>/book/": one("payments.Correction"),
    "admin/payments/correction/<path:object_id>/refuse/": one("payments.Correction"),
    "admin/payments/suspicion/<path:object_id>/seen/": one(
        "payments.Suspicion", body=body(reason="I guessed the address")
    ),
    "admin/payments/notice/<path:object_id>/again/": one("payments.Notice"),
    "admin/payments/statementimport/upload/": plain(
        body(account=first("payments.MpesaAccount"))
    ),
    "admin/payments/statementimport/<int:import_id>/again/": Walk(
        ids=of(import_id="payments.StatementImport")
    ),
    "admin/payments/statementimport/list/": plain(),
    "admin/payments/statementimport/list/<uuid:account_id>/register/": Walk(
        ids=of(account_id="payments.MpesaAccount"), body=body(number="0712345678")
    ),
    "admin/payments/statementimport/list/<uuid:account_id>/read/": Walk(
        ids=of(account_id="payments.MpesaAccount")
    ),
    "admin/shops/product/<path:object_id>/stock/": one(
        "shops.Product", body=body(act="received", pieces="5")
    ),
    "admin/auth/user/<id>/password/": Walk(ids=of(id="auth.User")),
}  # fmt: skip

# Walked last, for they end the session.
SIGNING_OUT = ("logout", "admin/logout/")


def walk_of(route: Route) -> Walk | None:
    """Return how a route is walked; None when nobody said it."""
    if route.path in SIGNING_OUT:
        return plain()
    if route.path in TABLE:
        return TABLE[route.path]
    found = BOOK_PAGE.fullmatch(route.name)
    if not found and route.name == "admin:":
        found = BOOK_LINK.fullmatch(
            route.path.replace("<path:object_id>", "<object_id>")
        )
    if not found or not route.path.startswith(
        f"admin/{found['app']}/{found['model']}/"
    ):
        return None
    label = apps.get_model(found["app"], found["model"])._meta.label
    if label not in world.OWNED or set(route.parameters) - {"object_id"}:
        return None
    if not route.parameters:
        return plain(lambda w: every_field(w, label))
    if route.name == "admin:":
        # It leads to the change page, whatever the id is.
        return one(label, answers=frozenset({302}))
    return one(label, body=lambda w: every_field(w, label))


def every_field(of_world: World, label: str) -> Fields:
    """Return a form in which every relation names a row of the other shop."""
    sent: Fields = {}
    for one_field in apps.get_model(label)._meta.fields:
        target = one_field.related_model
        if target is None:
            sent[one_field.name] = "1"
        elif target._meta.label in world.OWNED:
            sent[one_field.name] = of_world.row(target._meta.label).pk
    return sent
