"""New keys for old: seals every secret under the first of MPESA_ENCRYPTION_KEYS."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from smartduka.lib import resealing


BATCH = 100
DONE = (
    "Everything is under the first key. The others may be removed from"
    " MPESA_ENCRYPTION_KEYS."
)
# What M-Pesa says of a prompt or a request of ours may come two days later.
DONE_BUT_HOOKS = (
    "Everything is under the first key. Do not remove the others yet: HOOK_SIGNING_KEYS"
    " is not set, so the addresses that M-Pesa calls are signed with keys made from"
    " them. Put the line of `manage.py rotate_keys --print-hook-keys` into the"
    " environment first."
)


class Command(BaseCommand):
    """`manage.py rotate_keys`: while everything runs, and again after a kill."""

    help = (
        "Seal every secret in the database under the first of MPESA_ENCRYPTION_KEYS."
        " Payments go on meanwhile; a run that was stopped is simply started again."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take the size of a batch."""
        parser.add_argument("--batch", type=int, default=BATCH, help="rows at a time")
        parser.add_argument(
            "--print-hook-keys",
            action="store_true",
            help="print the line HOOK_SIGNING_KEYS=... to copy; rotate nothing",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Rotate, and print what was done. Raises CommandError if not all of it."""
        if options["print_hook_keys"]:
            keys = ",".join(key.hex() for key in settings.HOOK_SIGNING_KEYS)
            self._tell(f"HOOK_SIGNING_KEYS={keys}")
            return
        tally = resealing.reseal_all(batch=max(1, options["batch"]), tell=self._tell)
        self._tell(
            f"Looked at {tally.looked_at} rows: {tally.resealed} sealed anew,"
            f" {tally.changed_meanwhile} changed by somebody meanwhile and looked at"
            f" again, {len(tally.unreadable)} values that do not open."
        )
        if tally.unreadable:
            listed = "\n".join(f"- {one}" for one in tally.unreadable)
            raise CommandError(
                f"These were left as they are; enter them again:\n{listed}\n"
                "Keep the old keys until no value is left that one of them opens."
            )
        if tally.left:
            raise CommandError(
                "Another process still seals under an old key. Restart web and worker"
                " with the new key first in MPESA_ENCRYPTION_KEYS, then run this again."
            )
        self._tell(DONE_BUT_HOOKS if settings.HOOK_KEYS_ARE_DERIVED else DONE)

    def _tell(self, words: str) -> None:
        self.stdout.write(words)
        self.stdout.flush()
