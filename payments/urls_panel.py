"""The payment panel's fragments, below /till/pay/."""

from __future__ import annotations

from django.urls import path

from payments import panel


app_name = "panel"
urlpatterns = [
    path("", panel.queue, name="home"),
    path("pill", panel.pill, name="pill"),
    path("<uuid:order_id>", panel.show, name="show"),
    path("<uuid:order_id>/mpesa", panel.mpesa, name="mpesa"),
    path("<uuid:order_id>/cash", panel.take_cash, name="cash"),
    path("<uuid:order_id>/cancel", panel.cancel, name="cancel"),
    path("<uuid:order_id>/receipt", panel.receipt, name="receipt"),
    path("payment/<uuid:payment_id>/retry", panel.retry, name="retry"),
    path("payment/<uuid:payment_id>/resend", panel.resend, name="resend"),
    path("payment/<uuid:payment_id>/stop", panel.stop, name="stop"),
]
