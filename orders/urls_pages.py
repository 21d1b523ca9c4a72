"""The cashier's pages, below /till/."""

from __future__ import annotations

from django.urls import path
from django.views.i18n import set_language

from orders import switching, till


app_name = "till"
urlpatterns = [
    path("", till.till, name="till"),
    path("shops", till.shops, name="shops"),
    path("switch", switching.switch, name="switch"),
    path("pin", switching.own_pin, name="pin"),
    path("language", set_language, name="language"),
    path("products", till.products, name="products"),
    path("scan", till.scan, name="scan"),
    path("prices", till.prices, name="prices"),
    path("sale", till.save_sale, name="save_sale"),
    path("sale/<uuid:order_id>", till.sale, name="sale"),
]
