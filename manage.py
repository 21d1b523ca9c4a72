#!/usr/bin/env python
from __future__ import annotations

import os
import sys

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "smartduka.settings")
    # The worker's cluster forks, and a connection pool does not survive a fork:
    # settings read this switch, so it must stand before they are loaded.
    if sys.argv[1:2] in (["worker"], ["qcluster"]):
        os.environ["SMARTDUKA_PROCESS"] = "worker"
    try:
        # Django would go on without settings, and fail with something else.
        _ = settings.INSTALLED_APPS
    except ImproperlyConfigured as error:
        sys.exit(f"SmartDuka does not start: {error}")
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
