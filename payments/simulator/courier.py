"""Posts what M-Pesa has to say: late, twice, never, again after a refusal.

Each post has its own thread and its own connection, follows no redirect, and carries
no signature. Daraja posts once and does not repeat itself unless a switch says so.
The switches of a letter begin with its prefix, see ``switches``.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import requests

from payments.simulator.clock import Agenda, Clock
from payments.simulator.faults import Faults
from payments.simulator.journal import Journal


CONNECT_TIMEOUT_S = 3.0
READ_TIMEOUT_S = 10.0
TRIES_ON_NON200 = 3
ANSWER_LIMIT = 4_096
LUCK = 20_260_114
"""Where luck begins after each reset, so that a test can be repeated."""

Attempt = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Letter:
    """A body on its way to an address.

    ``prefix`` and ``phone`` choose the switches, ``counter`` is what /__sim__/stats
    counts it as, ``record`` is told of each attempt: at, status, error.
    """

    url: str
    body: bytes
    prefix: str
    counter: str
    phone: str | None
    record: Callable[[Attempt], None]


class Courier:
    """Takes letters to the merchants."""

    def __init__(
        self, clock: Clock, agenda: Agenda, faults: Faults, journal: Journal
    ) -> None:
        self._clock = clock
        self._agenda = agenda
        self._faults = faults
        self._journal = journal
        self._round = 0
        self._luck = random.Random(LUCK)  # noqa: S311 -- luck, no secret

    def reset(self) -> None:
        """Record nothing more of what is on its way, and begin luck anew."""
        self._round += 1
        self._luck.seed(LUCK)

    def send(
        self,
        letter: Letter,
        *,
        copies: int = 1,
        forerunner: Letter | None = None,
        gap_s: float = 0,
    ) -> None:
        """Post a letter as its switches have it; returns at once.

        ``copies`` 0 loses it, 2 sends it twice. A forerunner goes out ``gap_s`` before.
        """
        copies += int(self.take(letter, "duplicates")) if copies else 0
        apart_s = self.take(letter, "duplicate_gap_s")
        at_s = self.take(letter, "delay_s")
        if self._is_lost(letter):
            return
        if forerunner is not None:
            self._post_after(at_s, forerunner)
            at_s += gap_s
        for number in range(copies):
            self._post_after(at_s + number * apart_s, letter)

    def send_now(self, letter: Letter) -> None:
        """Post a letter and wait until it is answered; delay has no say."""
        if not self._is_lost(letter):
            self.deliver(letter)

    def deliver(self, letter: Letter) -> Attempt:
        """Post a letter whatever the switches say, and wait for the answer."""
        return self._post(letter, self._round, tried=0)

    def ask(
        self, letter: Letter, *, timeout_s: float = READ_TIMEOUT_S
    ) -> tuple[int | None, bytes]:
        """Post a letter once, and return the status and what was answered.

        The status is None when there was no answer within ``timeout_s``.
        """
        attempt, answer = self._exchange(letter, self._round, timeout_s=timeout_s)
        return attempt["status"], answer

    def take(self, letter: Letter, name: str) -> Any:
        """Return the value of a letter's switch, named without its prefix."""
        return self._faults.take(f"{letter.prefix}{name}", letter.phone)

    def _is_lost(self, letter: Letter) -> bool:
        percent = self.take(letter, "drop_percent")
        unlucky = percent > 0 and self._luck.random() * 100 < percent
        return bool(self.take(letter, "drop")) or unlucky

    def _post_after(self, seconds: float, letter: Letter) -> None:
        if seconds > 0:
            self._agenda.after(seconds, lambda: self._start(letter))
        else:
            self._start(letter)

    def _start(self, letter: Letter, *, tried: int = 0) -> None:
        threading.Thread(
            target=self._post,
            args=(letter, self._round),
            kwargs={"tried": tried},
            daemon=True,
        ).start()

    def _post(self, letter: Letter, begun_in: int, *, tried: int) -> Attempt:
        attempt, _ = self._exchange(letter, begun_in)
        if begun_in == self._round:
            self._try_again(letter, attempt, tried=tried + 1)
        return attempt

    def _exchange(
        self, letter: Letter, begun_in: int, *, timeout_s: float = READ_TIMEOUT_S
    ) -> tuple[Attempt, bytes]:
        attempt: Attempt = {
            "at": self._clock.now().isoformat(),
            "status": None,
            "error": None,
        }
        started = time.monotonic()
        answer = b""
        try:
            attempt["status"], answer = _post_json(letter, timeout_s=timeout_s)
        except (requests.RequestException, ValueError) as trouble:
            attempt["error"] = f"{type(trouble).__name__}: {trouble}"[:300]
        if begun_in == self._round:  # else forgotten by a reset meanwhile
            self._write_down(letter, attempt, answer, time.monotonic() - started)
        return attempt, answer

    def _write_down(
        self, letter: Letter, attempt: Attempt, answer: bytes, took_s: float
    ) -> None:
        # Counted first: whoever sees the attempt finds it counted.
        self._journal.count(letter.counter)
        if attempt["status"] == 200:
            self._journal.count(f"{letter.counter}Accepted")
        letter.record(attempt)
        self._journal.record(
            direction="out",
            method="POST",
            target=letter.url,
            request_body=letter.body,
            status=attempt["status"] or 0,
            answer_body=answer,
            took_s=took_s,
            note=attempt["error"] or "",
        )

    def _try_again(self, letter: Letter, attempt: Attempt, *, tried: int) -> None:
        if attempt["status"] == 200 or tried >= TRIES_ON_NON200:
            return
        if self.take(letter, "retry_on_non200"):
            self._agenda.after(
                self.take(letter, "retry_gap_s"),
                lambda: self._start(letter, tried=tried),
            )


def _post_json(letter: Letter, *, timeout_s: float) -> tuple[int, bytes]:
    with requests.Session() as session:
        # Neither proxies nor .netrc of this machine: they would alter the request.
        session.trust_env = False
        with session.post(
            letter.url,
            data=letter.body,
            headers={"Content-Type": "application/json"},
            timeout=(min(CONNECT_TIMEOUT_S, timeout_s), timeout_s),
            allow_redirects=False,
            stream=True,
        ) as answer:
            return answer.status_code, next(answer.iter_content(ANSWER_LIMIT), b"")
