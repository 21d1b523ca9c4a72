"""All addresses. API paths have no trailing slash."""

from __future__ import annotations

from typing import Any

from django.urls import include, path, re_path
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView
from rest_framework_simplejwt.views import TokenRefreshView

from payments.urls import hook_urlpatterns
from shops import joining, sign_in
from shops.tokens import Tokens
from smartduka import admin_site, health, pages
from smartduka.lib.api import JsonParser, not_found


handler400 = pages.bad_request
handler403 = pages.permission_denied
handler404 = pages.not_found
handler500 = pages.server_error

api: list[Any] = [
    path("auth/token", Tokens.as_view()),
    path("auth/token/refresh", TokenRefreshView.as_view(parser_classes=[JsonParser])),
    path("schema", SpectacularAPIView.as_view(), name="schema"),
    path("docs", SpectacularSwaggerSplitView.as_view(url_name="schema"), name="docs"),
    path("", include("shops.urls")),
    path("", include("orders.urls")),
    path("", include("payments.urls")),
    re_path(r"", not_found),
]

urlpatterns = [
    path("hooks/", include(hook_urlpatterns)),
    path("api/", include(api)),
    path("healthz", health.healthz),
    path("readyz", health.readyz),
    path("admin", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/", admin_site.site.urls),
    path("login", pages.login, name="login"),
    path("login/code", sign_in.code, name="sign_in_code"),
    path("second-step", sign_in.second_step, name="second_step"),
    path("join/<str:token>", joining.join, name="join"),
    path("logout", pages.logout, name="logout"),
    path("till/", include("orders.urls_pages")),
    path("till/pay/", include("payments.urls_panel")),
    path("", RedirectView.as_view(pattern_name="till:till"), name="home"),
]
