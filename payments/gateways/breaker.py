"""A breaker: after connections failed in a row, nobody waits for the next one."""

from __future__ import annotations

import logging
import threading
import time


logger = logging.getLogger(__name__)

LIMIT = 5
PAUSE_S = 10


class Breaker:
    """Open for PAUSE_S seconds after LIMIT connections failed in a row.

    Only failures to connect count: they are certain, and so is a refusal.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._failures = 0
        self._open_until = 0.0

    @property
    def is_open(self) -> bool:
        """Whether nothing should be tried now."""
        return time.monotonic() < self._open_until

    def succeeded(self) -> None:
        """A connection was made."""
        self._failures = 0

    def failed(self) -> None:
        """A connection could not be made, in the full time it may take."""
        with self._lock:
            self._failures += 1
            if self._failures >= LIMIT:
                self._failures = 0
                self._open_until = time.monotonic() + PAUSE_S
                logger.warning("breaker open for %s s", PAUSE_S)
