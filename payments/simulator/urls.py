"""Paths of the simulator. Anything else is 404 404.001.01, as on Daraja."""

from __future__ import annotations

from django.conf import settings
from django.urls import include, path
from django.views.static import serve

from payments.simulator import (
    c2b_api,
    control_api,
    daraja_api,
    initiator_api,
    money_api,
    pages,
)


daraja_paths = [
    path("oauth/v1/generate", daraja_api.token),
    path("mpesa/stkpush/v1/processrequest", daraja_api.push),
    path("mpesa/stkpushquery/v1/query", daraja_api.query),
    path("mpesa/c2b/v1/registerurl", c2b_api.register, {"version": 1}),
    path("mpesa/c2b/v2/registerurl", c2b_api.register, {"version": 2}),
    path("mpesa/c2b/v1/simulate", c2b_api.simulate),
    path("mpesa/c2b/v2/simulate", c2b_api.simulate),
    path("mpesa/qrcode/v1/generate", c2b_api.qr_code),
    path("pulltransactions/v1/register", c2b_api.pull_register),
    path("pulltransactions/v1/query", c2b_api.pull),
    path("mpesa/transactionstatus/v1/query", initiator_api.status),
    path("mpesa/reversal/v1/request", initiator_api.reversal),
    path("mpesa/accountbalance/v1/query", initiator_api.balance),
    path("docs-assets/SandBoxCertificate.cer", initiator_api.certificate),
]
control_paths = [
    path("prompts", control_api.prompts),
    path("prompts/<str:checkout_id>", control_api.prompt),
    path("prompts/<str:checkout_id>/callback", control_api.callback),
    path("prompts/<str:checkout_id>/<str:word>", control_api.answer),
    path("faults", control_api.faults),
    path("reset", control_api.reset),
    path("ledger", money_api.ledger),
    path("pay", money_api.pay),
    path("sweep", money_api.sweep),
    path("payments/<str:receipt>/confirmation", money_api.confirmation),
    path("statement", money_api.statement),
    path("registrations/<str:number>", money_api.registration),
    path("initiators/<str:number>/unlock", money_api.unlock),
    path("stats", control_api.stats),
    path("journal", control_api.journal),
    path("accounts", control_api.accounts),
    path("phones/<str:text>", control_api.phone),
    path("clock", control_api.clock),
]
page_paths = [
    path("", pages.index, name="index"),
    path("phone", pages.open_phone, name="open_phone"),
    path("phone/<str:text>", pages.phone, name="phone"),
    path("phone/<str:text>/state", pages.phone_state, name="phone_state"),
    path("phone/<str:text>/press", pages.press, name="press"),
    path("phone/<str:text>/pay", pages.pay, name="pay"),
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
