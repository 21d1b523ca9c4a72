"""API addresses of the payments app."""

from __future__ import annotations

from django.urls import path

from payments import hooks, views, views_config


urlpatterns = [
    path("auth/ws-ticket", views.SocketTicket.as_view()),
    path("orders/<str:order_id>/cancel", views.CancelOrder.as_view()),
    path("orders/<str:order_id>/pay-cash", views.PayCash.as_view()),
    path("payments", views.Payments.as_view()),
    path("payments/mpesa/initiate", views.Initiate.as_view()),
    path("payments/mpesa/status/<str:payment_id>", views.Status.as_view()),
    path("payments/mpesa/query/<str:payment_id>", views.Query.as_view()),
    path("payments/mpesa/cancel/<str:payment_id>", views.Cancel.as_view()),
    path("payments/mpesa/retry/<str:payment_id>", views.Retry.as_view()),
    path("payments/mpesa/pending", views.Pending.as_view()),
    path("payments/mpesa/failed", views.Failed.as_view()),
    path("payments/mpesa/config", views_config.Config.as_view()),
    path("payments/mpesa/config/verify", views_config.ConfigVerify.as_view()),
    path(
        "payments/mpesa/config/test-payment", views_config.ConfigTestPayment.as_view()
    ),
    path("payments/mpesa/callback", hooks.untokened),
]
hook_urlpatterns = [
    path("stk/<str:token>", hooks.stk),
    path("hand/<str:token>", hooks.hand),
    path("check/<str:token>", hooks.check),
    path("result/<str:token>", hooks.result),
    path("over/<str:token>", hooks.over),
    path("pull", hooks.pull),
]
