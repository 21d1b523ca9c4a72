"""The payment panel's fragments, below /till/pay/."""

from __future__ import annotations

from django.urls import path

from payments import panel, paper, sorting


app_name = "panel"
urlpatterns = [
    path("", panel.queue, name="home"),
    path("pill", panel.pill, name="pill"),
    path("sort", sorting.show, name="sort"),
    path("sort/list", sorting.listed, name="sort_list"),
    path("sort/pay", sorting.pay, name="sort_pay"),
    path("sort/keep", sorting.keep, name="sort_keep"),
    path("sort/back", sorting.give_back, name="sort_back"),
    path("<uuid:order_id>", panel.show, name="show"),
    path("<uuid:order_id>/mpesa", panel.mpesa, name="mpesa"),
    path("<uuid:order_id>/cash", panel.take_cash, name="cash"),
    path("<uuid:order_id>/offer", panel.accept, name="accept"),
    path("<uuid:order_id>/code", panel.check_code, name="check_code"),
    path("<uuid:order_id>/code/use", panel.use_code, name="use_code"),
    path("code/<uuid:claim_id>/withdraw", panel.withdraw_code, name="withdraw_code"),
    path("<uuid:order_id>/cancel", panel.cancel, name="cancel"),
    path("<uuid:order_id>/receipt", paper.receipt, name="receipt"),
    path("payment/<uuid:payment_id>/retry", panel.retry, name="retry"),
    path("payment/<uuid:payment_id>/resend", panel.resend, name="resend"),
    path("payment/<uuid:payment_id>/stop", panel.stop, name="stop"),
]
