"""How much is run."""

from __future__ import annotations

from dataclasses import dataclass


AT_ONCE = 16
STATEMENT_TRIES = 3


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is run. Counts are per repetition, and multiples of AT_ONCE."""

    repetitions: int
    served: int
    served_alone: int
    written: int
    written_alone: int
    push_repetitions: int
    in_flight: tuple[int, ...]
    rounds: int = 2

    @property
    def callbacks(self) -> int:
        """Callbacks that are sent to the servers, with warming up."""
        a_server = AT_ONCE + self.repetitions * (self.served + self.served_alone)
        return STATEMENT_TRIES + 2 * a_server

    @property
    def writes(self) -> int:
        """Callbacks that pgbench writes, with warming up."""
        a_script = AT_ONCE + self.repetitions * (self.written + self.written_alone)
        return 2 * a_script

    @property
    def pushes(self) -> int:
        """Pushes to the servers, with warming up."""
        return 2 * (1 + self.push_repetitions * self.rounds * sum(self.in_flight))


# Seconds M-Pesa takes for a push, in the measurement of pushes.
UPSTREAM_S = 1.0

FULL = Sizes(5, 480, 96, 1600, 192, 3, (50, 200))
QUICK = Sizes(3, 96, 16, 320, 32, 1, (20, 50))
