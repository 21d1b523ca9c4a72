from __future__ import annotations

import logging
import threading
import time
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandParser
from django.db import DatabaseError, connection

from payments import demo
from smartduka import supervisor


logger = logging.getLogger(__name__)

# Between the tries to register with a simulator that starts at the same time.
PAUSES_S = (0.5, 1, 1, 2, 4, 8, 15, 30)


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
            return
        if settings.MPESA_ENV == "simulator":
            threading.Thread(target=register_demo, daemon=True).start()
        supervisor.Supervisor().run()


def register_demo() -> None:
    """Let the simulator tell payments by hand, once it is up; it forgets at its end."""
    try:
        for pause_s in PAUSES_S:
            if demo.register():
                return
            connection.close()
            time.sleep(pause_s)
        logger.warning("worker: the simulator was not there to be registered with")
    except DatabaseError as error:
        logger.warning("worker: not registered with the simulator: %s", error)
    finally:
        connection.close()
