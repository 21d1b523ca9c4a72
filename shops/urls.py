"""Addresses of the shops app."""

from __future__ import annotations

from django.urls import path

from shops import views


urlpatterns = [
    path("products", views.Products.as_view()),
    path("products/<str:product_id>", views.ProductDetail.as_view()),
]
