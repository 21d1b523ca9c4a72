"""Check that nothing in the audit chains was changed."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import IntegrityError

from payments import audit


class Command(BaseCommand):
    """`manage.py verify_audit`: prints each chain's head, fails on any fault."""

    help = "Walk the audit chains; print their head hashes and whatever is wrong."

    def handle(self, *args: Any, **options: Any) -> None:
        """Verify and print. Seals all that waits first, so the heads are current."""
        try:
            audit.seal_all()
        except IntegrityError:
            # A forged seal stands where the next one belongs: the walk names it.
            self.stderr.write("What waits could not be sealed.")
        heads, faults = audit.verify()
        for head in heads:
            self.stdout.write(f"{head.chain}: {head.length} seals, head {head.hash}")
        for fault in faults:
            self.stderr.write(f"{fault.chain} at {fault.position}: {fault.what}")
        if faults:
            raise CommandError(f"{len(faults)} faults found.")
        self.stdout.write("Nothing was changed, removed or slipped in.")
