"""Paths of the simulator. Anything else is 404 404.001.01, as on Daraja."""

from __future__ import annotations

from django.conf import settings
from django.urls import include, path
from django.views.static import serve

from payments.simulator import control_api, daraja_api, pages


daraja_paths = [
    path("oauth/v1/generate", daraja_api.token),
    path("mpesa/stkpush/v1/processrequest", daraja_api.push),
    path("mpesa/stkpushquery/v1/query", daraja_api.query),
]
control_paths = [
    path("prompts", control_api.prompts),
    path("prompts/<str:checkout_id>", control_api.prompt),
    path("prompts/<str:checkout_id>/callback", control_api.callback),
    path("prompts/<str:checkout_id>/<str:word>", control_api.answer),
    path("faults", control_api.faults),
    path("reset", control_api.reset),
    path("ledger", control_api.ledger),
    path("stats", control_api.stats),
    path("journal", control_api.journal),
    path("accounts", control_api.accounts),
    path("phones/<str:number>", control_api.phone),
    path("clock", control_api.clock),
]
page_paths = [
    path("", pages.index, name="index"),
    path("phone", pages.open_phone, name="open_phone"),
    path("phone/<str:text>", pages.phone, name="phone"),
    path("phone/<str:text>/state", pages.phone_state, name="phone_state"),
    path("phone/<str:text>/press", pages.press, name="press"),
    path("phone/<str:text>/top-up", pages.top_up, name="top_up"),
    path("log", pages.log, name="log"),
    path("log/entries", pages.log_entries, name="log_entries"),
    path("static/<path:path>", serve, {"document_root": settings.STATIC_ROOT}),
]
urlpatterns = [
    *daraja_paths,
    path("__sim__/", include(control_paths)),
    *page_paths,
]

handler400 = daraja_api.unreadable
handler404 = daraja_api.resource_not_found
handler500 = daraja_api.internal_error
