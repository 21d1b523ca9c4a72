"""What went in and out, for people to read; secrets are cut out before it is kept."""

from __future__ import annotations

import json
import re
import threading
from collections import Counter, deque
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from typing import Any

from payments.simulator.clock import Clock


KEPT = 500
BODY_LIMIT = 4_000
CUT = "•••"

_SECRETS = ("Password", "Passkey", "SecurityCredential", "access_token")
_SECRET_FIELD = re.compile(
    rf'("(?:{"|".join(_SECRETS)})"\s*:\s*)("(?:[^"\\]|\\.)*"|[^,}}\s]+)', re.IGNORECASE
)
_FORM_SECRET = re.compile(rf"\b({'|'.join(_SECRETS)})=[^&\s]+", re.IGNORECASE)
# A callback URL carries a token that is as good as a password.
_LONG_SEGMENT = re.compile(
    r"(?<!/)/([A-Za-z0-9_.~=-]{6})[A-Za-z0-9_.~=-]{14,}(?=[/?#\"\s]|$)"
)


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request with its answer; ``status`` 0 means that there was none."""

    number: int
    at: datetime
    direction: str
    method: str
    target: str
    request_body: str
    status: int
    answer_body: str
    took_ms: int
    note: str


class Journal:
    """The latest exchanges, and how many there were of each kind."""

    def __init__(self, clock: Clock, lock: threading.RLock) -> None:
        self._clock = clock
        self._lock = lock
        self._numbers = count(1)
        self._exchanges: deque[Exchange] = deque(maxlen=KEPT)
        self._counts: Counter[str] = Counter()

    def record(
        self,
        *,
        direction: str,
        method: str,
        target: str,
        request_body: bytes,
        status: int,
        answer_body: bytes,
        took_s: float,
        note: str = "",
    ) -> None:
        with self._lock:
            self._exchanges.append(
                Exchange(
                    number=next(self._numbers),
                    at=self._clock.now(),
                    direction=direction,
                    method=method,
                    target=redact(target),
                    request_body=_readable(request_body),
                    status=status,
                    answer_body=_readable(answer_body),
                    took_ms=round(took_s * 1000),
                    note=redact(note),
                )
            )

    def count(self, what: str) -> None:
        with self._lock:
            self._counts[what] += 1

    def counts(self) -> dict[str, int]:
        with self._lock:
            return dict(self._counts)

    def newest(self, *, after: int = 0) -> list[Exchange]:
        """Return what was kept after this number, newest first."""
        with self._lock:
            kept = list(self._exchanges)
        return [exchange for exchange in reversed(kept) if exchange.number > after]

    def reset(self) -> None:
        """Forget all; numbers go on, so that an open page sees what comes next."""
        with self._lock:
            self._exchanges.clear()
            self._counts.clear()


def redact(text: str) -> str:
    """Return the text without passwords, tokens and the secret end of addresses."""
    text = _SECRET_FIELD.sub(rf'\1"{CUT}"', text)
    text = _FORM_SECRET.sub(rf"\1={CUT}", text)
    return _LONG_SEGMENT.sub(rf"/\1{CUT}", text)


def _readable(body: bytes) -> str:
    text = redact(body[:BODY_LIMIT].decode(errors="replace"))
    try:
        parsed: Any = json.loads(text)
    except ValueError:
        return text
    return json.dumps(parsed, indent=2, ensure_ascii=False)
