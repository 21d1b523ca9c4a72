"""Posts callbacks: late, twice, never, failure first, again after a refusal.

Each post has its own thread and its own connection, follows no redirect, and carries
no signature. Daraja posts once and does not repeat itself unless a switch says so.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import requests

from payments.simulator import callbacks, outcomes, switches
from payments.simulator.bank import Bank
from payments.simulator.clock import Agenda, Clock
from payments.simulator.faults import Faults
from payments.simulator.journal import Journal
from payments.simulator.records import Prompt
from payments.simulator.switches import CALLBACK_PREFIX


CONNECT_TIMEOUT_S = 3.0
READ_TIMEOUT_S = 10.0
TRIES_ON_NON200 = 3
ANSWER_LIMIT = 4_096


class Delivery:
    """Takes results to the merchants."""

    def __init__(
        self, clock: Clock, agenda: Agenda, faults: Faults, bank: Bank, journal: Journal
    ) -> None:
        self._clock = clock
        self._agenda = agenda
        self._faults = faults
        self._bank = bank
        self._journal = journal

    def send(self, prompt: Prompt, *, copies: int = 1) -> None:
        """Post the callback of a finished prompt as the switches have it.

        ``copies`` 0 loses it, 2 sends it twice. Returns at once.
        """
        take = self._taker(prompt)
        body = self._body(prompt, self._shape(prompt))
        copies += int(take("duplicates")) if copies else 0
        gap_s, at_s = take("duplicate_gap_s"), take("delay_s")
        if take("drop"):
            return
        if take("failure_then_success") and prompt.result_code == outcomes.PAID:
            self._post_after(at_s, prompt, self._unreachable_body(prompt))
            at_s += take("success_gap_s")
        for number in range(copies):
            self._post_after(at_s + number * gap_s, prompt, body)

    def send_now(self, prompt: Prompt) -> None:
        """Post the callback and wait until it is answered; delay has no say."""
        take = self._taker(prompt)
        body = self._body(prompt, self._shape(prompt))
        if not take("drop"):
            self._post(prompt, body)

    def send_bent(self, prompt: Prompt, bends: Mapping[str, Any]) -> dict[str, Any]:
        """Post a callback in the given shape whatever the switches say, and wait.

        Returns what is recorded of it: at, status, error.
        """
        return self._post(prompt, self._body(prompt, default_shape() | dict(bends)))

    def _taker(self, prompt: Prompt) -> Callable[[str], Any]:
        phone = prompt.request.phone
        return lambda name: self._faults.take(f"{CALLBACK_PREFIX}{name}", phone)

    def _shape(self, prompt: Prompt) -> dict[str, Any]:
        take = self._taker(prompt)
        return {name: take(name) for name in callbacks.SHAPE}

    def _body(self, prompt: Prompt, shape: Mapping[str, Any]) -> bytes:
        balance = self._bank.phone(prompt.request.phone).balance
        return callbacks.body_of(prompt, shape, balance=balance)

    def _unreachable_body(self, prompt: Prompt) -> bytes:
        shape = default_shape() | {"result_code": outcomes.UNREACHABLE}
        return self._body(prompt, shape)

    def _post_after(self, seconds: float, prompt: Prompt, body: bytes) -> None:
        if seconds > 0:
            self._agenda.after(seconds, lambda: self._start(prompt, body))
        else:
            self._start(prompt, body)

    def _start(self, prompt: Prompt, body: bytes, *, tried: int = 0) -> None:
        threading.Thread(
            target=self._post, args=(prompt, body), kwargs={"tried": tried}, daemon=True
        ).start()

    def _post(self, prompt: Prompt, body: bytes, *, tried: int = 0) -> dict[str, Any]:
        attempt: dict[str, Any] = {
            "at": self._clock.now().isoformat(),
            "status": None,
            "error": None,
        }
        started = time.monotonic()
        answer = b""
        try:
            attempt["status"], answer = _post_json(prompt.request.callback_url, body)
        except (requests.RequestException, ValueError) as trouble:
            attempt["error"] = f"{type(trouble).__name__}: {trouble}"[:300]
        if self._bank.prompt(prompt.checkout_id) is not prompt:
            return attempt  # forgotten by a reset meanwhile
        self._bank.record_callback(prompt, attempt)
        self._journal.count("callbacks")
        if attempt["status"] == 200:
            self._journal.count("callbacksAccepted")
        self._journal.record(
            direction="out",
            method="POST",
            target=prompt.request.callback_url,
            request_body=body,
            status=attempt["status"] or 0,
            answer_body=answer,
            took_s=time.monotonic() - started,
            note=attempt["error"] or "",
        )
        self._try_again(prompt, body, attempt=attempt, tried=tried + 1)
        return attempt

    def _try_again(
        self, prompt: Prompt, body: bytes, *, attempt: dict[str, Any], tried: int
    ) -> None:
        if attempt["status"] == 200 or tried >= TRIES_ON_NON200:
            return
        take = self._taker(prompt)
        if take("retry_on_non200"):
            self._agenda.after(
                take("retry_gap_s"), lambda: self._start(prompt, body, tried=tried)
            )


def default_shape() -> dict[str, Any]:
    """Return the shape of a faithful callback."""
    return {
        name: switches.BY_NAME[f"{CALLBACK_PREFIX}{name}"].default
        for name in callbacks.SHAPE
    }


def _post_json(url: str, body: bytes) -> tuple[int, bytes]:
    with requests.Session() as session:
        # Neither proxies nor .netrc of this machine: they would alter the request.
        session.trust_env = False
        with session.post(
            url,
            data=body,
            headers={"Content-Type": "application/json"},
            timeout=(CONNECT_TIMEOUT_S, READ_TIMEOUT_S),
            allow_redirects=False,
            stream=True,
        ) as answer:
            return answer.status_code, next(answer.iter_content(ANSWER_LIMIT), b"")
