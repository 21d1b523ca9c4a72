"""API addresses of the orders app."""

from __future__ import annotations

from django.urls import path

from orders import views


urlpatterns = [
    path("orders", views.Orders.as_view()),
    path("orders/<str:order_id>", views.OrderDetail.as_view()),
]
