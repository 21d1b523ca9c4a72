"""Chance by seed: the same seed throws the same dice, and makes the same ids."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TypeVar

from payments.chaos.patches import replaced


T = TypeVar("T")


class Dice(random.Random):
    """A seeded source of chance. Shares are percentages."""

    def chance(self, percent: float) -> bool:
        """Say yes in so many of a hundred cases."""
        return self.random() * 100 < percent

    def one_of(self, weighted: Sequence[tuple[T, int]]) -> T:
        """Return one of the values, by their weights."""
        values = [value for value, _ in weighted]
        return self.choices(values, [weight for _, weight in weighted])[0]


@contextmanager
def determined(seed: int) -> Iterator[None]:
    """Let ids, tokens and jitter of the whole process follow from the seed.

    Never outside of chaos: tokens made here are no secrets.
    """
    source = Dice(f"bytes {seed}")
    before = random.getstate()
    random.seed(f"jitter {seed}")
    with ExitStack() as stack:
        stack.enter_context(replaced(os, "urandom", source.randbytes))
        # The module took its own name for it, which `secrets` uses.
        stack.enter_context(replaced(random, "_urandom", source.randbytes))
        try:
            yield
        finally:
            random.setstate(before)
