"""A simulator process for tests: started on a free port, spoken to over HTTP."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import requests


ROOT = Path(__file__).resolve().parents[2]
START_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 5.0
CALL_TIMEOUT_S = 15.0
POLL_S = 0.02

_LISTENING = re.compile(r"simulator listening on (http://\S+)")
T = TypeVar("T")


def wait_until(look: Callable[[], T], *, timeout_s: float = 5.0) -> T:
    """Return the first truthy result of look(); raises AssertionError in vain."""
    give_up_at = time.monotonic() + timeout_s
    while True:
        seen = look()
        if seen:
            return seen
        assert time.monotonic() < give_up_at, f"not within {timeout_s} s"
        time.sleep(POLL_S)


class SimulatorProcess:
    """``python -m payments.simulator`` and its control API.

    Usable as a context manager. ``url`` is set once it listens.
    """

    def __init__(self, *, port: int = 0) -> None:
        self.url = ""
        self._port = port
        self._process: subprocess.Popen[str] | None = None
        self._session = requests.Session()
        self._session.trust_env = False

    def __enter__(self) -> SimulatorProcess:
        self.start()
        return self

    def __exit__(self, *details: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it and wait for its line that names the address."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "payments.simulator", "--port", str(self._port)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        match = _LISTENING.match(line)
        assert match, f"the simulator did not start: {line!r}"
        self.url = match[1]

    def stop(self) -> None:
        """Stop it; nothing of it is left."""
        self._session.close()
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._process = None

    def get(self, path: str, **query: str) -> dict[str, Any]:
        """Read from the control API; the path stands behind /__sim__/."""
        return self._json(
            self._session.get(
                f"{self.url}/__sim__/{path}", params=query, timeout=CALL_TIMEOUT_S
            )
        )

    def control(self, path: str, json: Any = None) -> dict[str, Any]:
        """Post to the control API; the path stands behind /__sim__/."""
        return self._json(
            self._session.post(
                f"{self.url}/__sim__/{path}", json=json or {}, timeout=CALL_TIMEOUT_S
            )
        )

    def faults(self, **switches: Any) -> dict[str, Any]:
        """Set switches; returns what is set now."""
        return self.control("faults", switches)["faults"]

    def reset(self) -> None:
        self.control("reset")

    def advance(self, seconds: float) -> None:
        """Turn the simulator's clock on."""
        self.control("clock", {"advance_s": seconds})

    def stats(self) -> dict[str, int]:
        return self.get("stats")

    def ledger(self) -> list[dict[str, Any]]:
        """Return the money that moved, newest first."""
        return self.get("ledger")["ledger"]

    def prompts(self, phone: str | None = None) -> list[dict[str, Any]]:
        """Return prompts, newest first."""
        query = {} if phone is None else {"phone": phone}
        return self.get("prompts", **query)["prompts"]

    def prompt(self, checkout_id: str) -> dict[str, Any]:
        return self.get(f"prompts/{checkout_id}")

    def wait_for_prompt(
        self, phone: str | None = None, *, timeout_s: float = 5.0
    ) -> dict[str, Any]:
        """Return the open prompt of this phone (or any) as soon as there is one."""

        def open_prompt() -> dict[str, Any] | None:
            prompts = self.prompts(phone)
            return next((seen for seen in prompts if seen["status"] == "open"), None)

        prompt = wait_until(open_prompt, timeout_s=timeout_s)
        assert prompt is not None
        return prompt

    def answer(self, checkout_id: str, outcome: str) -> dict[str, Any]:
        """Answer a prompt: pay, cancel, wrong-pin, no-balance, unreachable, …."""
        return self.control(f"prompts/{checkout_id}/{outcome}")

    def pay(
        self, number: str, amount: int, *, phone: str, reference: str = ""
    ) -> dict[str, Any]:
        """Pay by hand: to a paybill with a reference, to a till without."""
        name = "shortcode" if reference else "till"
        order = {"phone": phone, name: number, "amount": amount}
        return self.control("pay", order | {"reference": reference})

    def wait_for_callbacks(
        self, checkout_id: str, count: int = 1, *, timeout_s: float = 5.0
    ) -> list[dict[str, Any]]:
        """Return the callbacks of a prompt once so many were answered or failed."""
        return wait_until(
            lambda: (
                sent
                if len(sent := self.prompt(checkout_id)["callbacks"]) >= count
                else []
            ),
            timeout_s=timeout_s,
        )

    @staticmethod
    def _json(response: requests.Response) -> dict[str, Any]:
        assert response.ok, f"{response.status_code}: {response.text}"
        return response.json()
