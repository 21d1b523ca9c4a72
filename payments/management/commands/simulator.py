from __future__ import annotations

import os
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser


class Command(BaseCommand):
    help = "Run the Daraja simulator, a program of its own, in place of this one."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--port", type=int, default=8010)

    def handle(self, *args: Any, **options: Any) -> None:
        # It has settings of its own and must not inherit ours.
        environment = {
            name: value
            for name, value in os.environ.items()
            if name != "DJANGO_SETTINGS_MODULE"
        }
        os.execve(  # noqa: S606 -- our own interpreter and module
            sys.executable,
            [
                *(sys.executable, "-m", "payments.simulator"),
                *("--port", str(options["port"])),
            ],
            environment,
        )
