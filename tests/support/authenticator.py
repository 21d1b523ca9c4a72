"""An authenticator app: a key typed into it, and the codes that it shows.

Written from RFC 6238 alone, so that it would notice where ours differs.
"""

import base64
import hashlib
import hmac
import struct
import time


STEP_S = 30


def code_at(key: str, step: int) -> str:
    """Return the 6 digits of a time step."""
    secret = base64.b32decode("".join(key.split()))
    digest = hmac.new(secret, struct.pack(">Q", step), hashlib.sha1).digest()
    start = digest[-1] & 15
    number = int.from_bytes(digest[start : start + 4], "big") & 0x7FFFFFFF
    return f"{number % 1_000_000:06}"


class Authenticator:
    """A phone with one key in it. It never shows a code twice: those are spent."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.last = 0

    def code(self) -> str:
        """Return a code that was not shown yet; waits where the clock must go on."""
        step = max(self.last + 1, int(time.time()) // STEP_S)
        while step > int(time.time()) // STEP_S + 1:
            time.sleep(0.5)
        self.last = step
        return code_at(self.key, step)
