"""One round of asking M-Pesa, by hand."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from payments import reconciliation


class Command(BaseCommand):
    """`manage.py reconcile`: one round now, and what it did."""

    help = (
        "One round now: process waiting notices, ask M-Pesa about undecided payments (the"
        " young first, as many as a sweep takes), read its lists, look at held receipts"
        " and ask about payments by hand that it has not confirmed."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        """Do one round and print it."""
        done = reconciliation.sweep_now()
        self.stdout.write(
            f"Looked at {done.looked_at} payments: asked about {done.asked},"
            f" {done.decided} decided, {done.expired} expired;"
            f" {done.notices} notices processed, {done.pulled} new receipts pulled."
        )
