"""One bounded look at an address over HTTP, as anybody could look."""

from __future__ import annotations

import email.utils
import queue
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

import requests
from urllib3.exceptions import HTTPError, NameResolutionError

from smartduka.lib import clock
from smartduka.lib.transactions import require_no_transaction


# A person waits for the page; a name service may take longer than any time-out.
LIMIT_S = 6.0
CONNECT_S, READ_S = 3.0, 4.0
TEXT_BYTES = 2048

T = TypeVar("T")


class Unreached(Exception):
    """Nobody answered. `why` is one of the words below."""

    NO_NAME = "no_name"
    BAD_CERTIFICATE = "bad_certificate"
    NO_ANSWER = "no_answer"

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. `skew_s`: by how much our clock is ahead of theirs, if known."""

    status: int
    text: str
    skew_s: float | None


def look(url: str, *, limit_s: float = LIMIT_S) -> Answer:
    """Fetch an address, without following where it leads.

    Raises Unreached, also after `limit_s` seconds. Call outside any transaction.
    """
    require_no_transaction()
    return _within(limit_s, lambda: _fetch(url))


def _fetch(url: str) -> Answer:
    session = requests.Session()
    before = clock.now()
    try:
        with session.get(
            url,
            timeout=(CONNECT_S, READ_S),
            allow_redirects=False,
            stream=True,
            headers={"Accept-Encoding": "identity"},
        ) as response:
            middle = before + (clock.now() - before) / 2
            said = response.headers.get("Date")
            text = response.raw.read(TEXT_BYTES).decode("utf-8", "replace")
            return Answer(response.status_code, text, _skew_s(said, middle))
    except requests.exceptions.SSLError as error:
        raise Unreached(_of_tls(error)) from error
    except (requests.RequestException, HTTPError) as error:
        raise Unreached(_of_connection(error)) from error
    finally:
        session.close()


def _skew_s(said: str | None, ours: datetime) -> float | None:
    """Our clock less theirs; theirs has whole seconds, cut off."""
    try:
        theirs = email.utils.parsedate_to_datetime(said or "")
    except ValueError:
        return None
    if theirs.tzinfo is None:
        return None
    return (ours - theirs).total_seconds() - 0.5


def _of_tls(error: Exception) -> str:
    reason = getattr(error.args[0] if error.args else None, "reason", None)
    cause = getattr(reason, "args", (None,))[0]
    is_certificate = isinstance(cause, ssl.SSLCertVerificationError)
    return Unreached.BAD_CERTIFICATE if is_certificate else Unreached.NO_ANSWER


def _of_connection(error: Exception) -> str:
    reason = getattr(error.args[0] if error.args else None, "reason", None)
    is_name = isinstance(reason, NameResolutionError)
    return Unreached.NO_NAME if is_name else Unreached.NO_ANSWER


def _within(limit_s: float, call: Callable[[], T]) -> T:
    """Return what a call returns, or leave it alone after `limit_s` seconds.

    In a thread of its own: resolving a name obeys no time-out. It touches no database.
    """
    answers: queue.SimpleQueue[T | BaseException] = queue.SimpleQueue()

    def run() -> None:
        try:
            answers.put(call())
        except BaseException as error:  # noqa: BLE001 -- raised again where it is waited for
            answers.put(error)

    threading.Thread(target=run, daemon=True).start()
    try:
        answer = answers.get(timeout=limit_s)
    except queue.Empty:
        raise Unreached(Unreached.NO_ANSWER) from None
    if isinstance(answer, BaseException):
        raise answer
    return answer
