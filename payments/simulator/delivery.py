"""Takes the result of a prompt to the merchant who pushed, as the switches have it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from payments.simulator import callbacks, outcomes, switches
from payments.simulator.bank import Bank
from payments.simulator.book import Book
from payments.simulator.courier import Attempt, Courier, Letter
from payments.simulator.faults import Faults
from payments.simulator.records import Prompt
from payments.simulator.switches import CALLBACK_PREFIX


class Delivery:
    """Writes callbacks and gives them to the courier."""

    def __init__(
        self, faults: Faults, book: Book, bank: Bank, courier: Courier
    ) -> None:
        self._faults = faults
        self._book = book
        self._bank = bank
        self._courier = courier

    def send(self, prompt: Prompt, *, copies: int = 1) -> None:
        """Post the callback of a finished prompt; returns at once.

        ``copies`` 0 loses it, 2 sends it twice.
        """
        forerunner, gap_s = None, 0.0
        letter = self._letter(prompt, self._shape(prompt))
        if prompt.result_code == outcomes.PAID and self._courier.take(
            letter, "failure_then_success"
        ):
            shape = default_shape() | {"result_code": outcomes.UNREACHABLE}
            forerunner = self._letter(prompt, shape)
            gap_s = self._courier.take(letter, "success_gap_s")
        self._courier.send(letter, copies=copies, forerunner=forerunner, gap_s=gap_s)

    def send_now(self, prompt: Prompt) -> None:
        """Post the callback and wait until it is answered; delay has no say."""
        self._courier.send_now(self._letter(prompt, self._shape(prompt)))

    def send_bent(self, prompt: Prompt, bends: Mapping[str, Any]) -> Attempt:
        """Post a callback in the given shape whatever the switches say, and wait.

        Returns what is recorded of it: at, status, error.
        """
        shape = default_shape() | dict(bends)
        return self._courier.deliver(self._letter(prompt, shape))

    def _shape(self, prompt: Prompt) -> dict[str, Any]:
        return self._faults.shape(
            CALLBACK_PREFIX, callbacks.SHAPE, prompt.request.phone
        )

    def _letter(self, prompt: Prompt, shape: Mapping[str, Any]) -> Letter:
        phone = prompt.request.phone
        balance = self._book.phone(phone).balance
        return Letter(
            url=prompt.request.callback_url,
            body=callbacks.body_of(prompt, shape, balance=balance),
            prefix=CALLBACK_PREFIX,
            counter="callbacks",
            phone=phone,
            record=lambda attempt: self._bank.record_callback(prompt, attempt),
        )


def default_shape() -> dict[str, Any]:
    """Return the shape of a faithful callback."""
    return switches.default_shape(CALLBACK_PREFIX, callbacks.SHAPE)
