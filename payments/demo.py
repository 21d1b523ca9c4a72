"""The demo: two shops to try everything with. Idempotent, the same every time."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import transaction
from django.db.models import Q

from payments import accounts, c2b, pulling
from payments.enums import AccountType
from payments.models import MpesaAccount, MpesaSettings
from shops import stock
from shops.enums import Role
from shops.models import Membership, Product, Shop


PASSWORD = "duka-demo-1234"  # noqa: S105 -- a demo's password is no secret
STOCK = 5_000

GOODS = [
    ("Soda Coke 500 ml", "5449000131805", "Drinks", "80"),
    ("Unga Pembe 2 kg", "6161100420019", "Food", "180"),
    ("Maziwa Brookside 500 ml", "6161101090013", "Food", "65"),
    ("Sukari 1 kg", "6161100420026", "Food", "165"),
    ("Mkate White 400 g", "6161100420033", "Food", "70"),
    ("Mafuta Salit 1 L", "6161100420040", "Food", "320"),
    ("Omo 500 g", "6161100420057", "Home", "190"),
    ("Chai Ketepa 100 g", "6161100420064", "Food", "95"),
    ("Royco Cubes", "6161100420071", "Food", "10"),
    ("Sabuni Menengai", "6161100420088", "Home", "145"),
    ("Mchele Pishori 1 kg", "6161100420095", "Food", "230"),
    ("Maji Keringet 1 L", "6161100420101", "Drinks", "90"),
    ("Viazi 1 kg", "6161100420118", "Food", "80.50"),
    ("Mayai tray", "6161100420125", "Food", "420"),
    ("Blue Band 250 g", "6161100420132", "Food", "150"),
    ("Airtime card 100", "6161100420149", "Phone", "100"),
]

# The second shop's own paybill, as the simulator knows it.
OWN_PAYBILL = {
    "shortcode": "600200",
    "party_b": "600200",
    "consumer_key": "sim-shop2-key",
    "consumer_secret": "sim-shop2-secret",
    "passkey": "simshop2passkey".ljust(64, "0"),
}
INITIATOR = {"initiator_name": "simapi", "initiator_password": "SimPass123#"}

SHOPS = [
    ("mama-mboga", "Mama Mboga Duka", "mama"),
    ("jirani", "Jirani Mini Mart", "jirani"),
]


def load() -> dict[str, Any]:
    """Load the demo, or what of it is missing; return what `demo_data` prints.

    Opens a transaction. Passwords are set anew each time.
    """
    with transaction.atomic(durable=True):
        admin = _person("admin", is_staff=True, is_superuser=True)
        shops = [_shop(slug, name, prefix) for slug, name, prefix in SHOPS]
        _choose_accounts([entry.pop("row") for entry in shops])
    return {"admin": admin, "shops": shops}


def register() -> bool:
    """Have the simulator tell payments by hand, and list what it failed to tell.

    For the accounts of the demo alone, where it was loaded. False if that may be tried
    again: it is not up yet. Call outside any transaction: the simulator is called.
    """
    shops = Shop.objects.filter(slug__in=[slug for slug, _, _ in SHOPS])
    if settings.MPESA_ENV != "simulator" or not shops.exists():
        return True
    own = MpesaAccount.objects.filter(
        Q(shop__in=shops) | Q(shop__isnull=True),
        environment=settings.MPESA_ENV,
        is_active=True,
    )
    return all(
        c2b.register_with_simulator(account)
        and pulling.register_with_simulator(account)
        for account in own
    )


def _shop(slug: str, name: str, prefix: str) -> dict[str, Any]:
    shop, _ = Shop.objects.get_or_create(
        slug=slug, defaults={"name": name, "phone": "0700 000 000"}
    )
    people = {}
    for role in (Role.OWNER, Role.MANAGER, Role.CASHIER):
        people[role.value] = _person(
            f"{prefix}-{role.value}", is_staff=role != Role.CASHIER
        )
        Membership.objects.update_or_create(
            user=get_user_model().objects.get(username=f"{prefix}-{role.value}"),
            shop=shop,
            defaults={"role": role, "is_active": True},
        )
    return {
        "row": shop,
        "id": str(shop.pk),
        "name": shop.name,
        "slug": shop.slug,
        **people,
        "products": [_product(shop, *goods) for goods in GOODS],
    }


def _product(
    shop: Shop, name: str, barcode: str, category: str, price: str
) -> dict[str, str]:
    product, _ = Product.objects.get_or_create(
        shop=shop,
        barcode=barcode,
        defaults={"name": name, "category": category, "price": Decimal(price)},
    )
    if product.stock < STOCK // 2:
        stock.receive(product, quantity=STOCK - product.stock, actor=None)
    return {
        "id": str(product.pk),
        "name": product.name,
        "price": f"{product.price:.2f}",
        "barcode": product.barcode,
    }


def _person(
    username: str, *, is_staff: bool, is_superuser: bool = False
) -> dict[str, str]:
    user, _ = get_user_model().objects.get_or_create(username=username)
    user.is_staff, user.is_superuser, user.is_active = is_staff, is_superuser, True
    if not user.check_password(PASSWORD):
        user.set_password(PASSWORD)
    user.save()
    return {"username": username, "password": PASSWORD}


def _choose_accounts(shops: list[Shop]) -> None:
    first, second = shops
    accounts.platform_account()
    MpesaSettings.objects.get_or_create(
        shop=first, defaults={"uses_platform_account": True}
    )
    numbers = {name: OWN_PAYBILL[name] for name in ("shortcode", "party_b")}
    own = MpesaAccount.objects.filter(
        environment=settings.MPESA_ENV, shop=second, **numbers
    ).first()
    if own is None:
        own = MpesaAccount(
            shop=second,
            environment=settings.MPESA_ENV,
            type=AccountType.PAYBILL,
            **OWN_PAYBILL,
            **INITIATOR,
        )
        own.save()
    elif not own.initiator_name:
        own.initiator_name = INITIATOR["initiator_name"]
        own.initiator_password = INITIATOR["initiator_password"]
        own.save()
    MpesaSettings.objects.get_or_create(shop=second, defaults={"account": own})
