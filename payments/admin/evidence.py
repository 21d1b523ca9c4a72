"""The evidence of a payment as a page, as PDF and as JSON: each for its own shop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.views.decorators.http import require_safe

from payments import evidence
from payments.admin import cells as words
from payments.evidence import Evidence
from payments.evidence_rows import Kind
from payments.models import Payment
from shops import book_cells as cells
from shops.books import BookAdmin


TONES = {
    Kind.PERSON: cells.GOOD,
    Kind.ANSWER: cells.WAIT,
    Kind.MESSAGE: cells.WAIT,
    Kind.MONEY: cells.GOOD,
}
PDF, JSON = "pdf", "json"


class EvidencePages(BookAdmin):
    """Adds the evidence to the book of payments."""

    def get_urls(self) -> list[URLPattern]:
        """Return the pages of the evidence before those of the book."""
        pages: tuple[tuple[str, str, Callable[..., HttpResponse]], ...] = (
            ("evidence/", "evidence", self.evidence_view),
            (f"evidence.{PDF}", f"evidence_{PDF}", self.evidence_pdf_view),
            (f"evidence.{JSON}", f"evidence_{JSON}", self.evidence_json_view),
        )
        own = [
            path(
                f"<path:object_id>/{address}",
                self.admin_site.admin_view(self._only_read(view)),
                name=f"payments_payment_{name}",
            )
            for address, name, view in pages
        ]
        return [*own, *super().get_urls()]

    def _only_read(self, view: Callable[..., HttpResponse]) -> Callable[..., Any]:
        """Return the view for reading; what is not there is so by every verb."""

        def guarded(request: HttpRequest, object_id: str) -> HttpResponse:
            if request.method not in ("GET", "HEAD"):
                self.get_object(request, object_id)
            return require_safe(view)(request, object_id)

        return guarded

    def evidence_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Show the timeline of a payment."""
        found = self._gathered(request, object_id)
        payment = found.payment
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "original": payment,
            "title": "Evidence",
            "book": self.name_of_book,
            "row_title": self.title_of(payment),
            "amount": cells.kes(payment.amount),
            "tone": words.tone(payment),
            "state": payment.get_status_display(),
            "evidence": found,
            "entries": [
                {
                    "entry": entry,
                    "at": cells.moment(entry.at),
                    "kind": cells.pill(
                        entry.kind.value, TONES.get(entry.kind, cells.QUIET)
                    ),
                }
                for entry in found.entries
            ],
            "files": [
                (kind.upper(), self._address(payment, kind)) for kind in (PDF, JSON)
            ],
        }
        return TemplateResponse(
            request, "admin/payments/payment/evidence.html", context
        )

    def evidence_pdf_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Hand out the evidence as a PDF, and write down who took it."""
        from payments import evidence_pdf  # noqa: PLC0415 -- slow to load

        found = self._gathered(request, object_id)
        response = HttpResponse(
            evidence_pdf.drawn(found), content_type="application/pdf"
        )
        return self._handed_out(request, found, response, PDF)

    def evidence_json_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Hand out the evidence as JSON, and write down who took it."""
        found = self._gathered(request, object_id)
        response = JsonResponse(
            evidence.document(found),
            json_dumps_params={"ensure_ascii": False, "indent": 2},
        )
        return self._handed_out(request, found, response, JSON)

    def _gathered(self, request: HttpRequest, object_id: str) -> Evidence:
        """Gather it. Raises Http404 for what is not the person's to read."""
        payment = self.get_object(request, object_id)
        if not self.has_view_permission(request, payment):
            raise Http404
        return evidence.gather(payment, made_by=str(request.user))

    def _handed_out(
        self,
        request: HttpRequest,
        found: Evidence,
        response: HttpResponse,
        kind: str,
    ) -> HttpResponse:
        self.log_change(request, found.payment, f"Evidence saved as {kind.upper()}")
        name = f"payment-{found.payment.pk}.{kind}"
        response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
        return response

    def _address(self, payment: Payment, kind: str) -> str:
        return reverse(f"admin:payments_payment_evidence_{kind}", args=[payment.pk])
