from __future__ import annotations

import threading
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandParser

from smartduka import supervisor


class Command(BaseCommand):
    help = "Run the tasks' cluster under a watchdog that replaces it when it hangs."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--cluster-only",
            action="store_true",
            help="the cluster itself, as the watchdog starts it",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["cluster_only"]:
            threading.Thread(target=supervisor.end_with_parent, daemon=True).start()
            call_command("qcluster")
        else:
            supervisor.Supervisor().run()
