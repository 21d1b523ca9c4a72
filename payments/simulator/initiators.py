"""API users: may this one do that?

A few wrong passwords lock a user until somebody at the organisation unlocks it.
"""

from __future__ import annotations

import hmac
import threading
from collections import Counter

from payments.simulator import outcomes
from payments.simulator.accounts import Account
from payments.simulator.vault import Vault


class Initiators:
    """Judges SecurityCredentials and counts the wrong ones."""

    def __init__(self, lock: threading.RLock) -> None:
        self._lock = lock
        self._vault = Vault()
        self._wrong: Counter[str] = Counter()

    @property
    def certificate(self) -> bytes:
        return self._vault.certificate

    def reset(self) -> None:
        """Unlock all; the key pair stays."""
        with self._lock:
            self._wrong.clear()

    def unlock(self, account: Account) -> None:
        """Let the account's initiator try again."""
        with self._lock:
            self._wrong.pop(account.shortcode, None)

    def refusal(
        self,
        account: Account,
        *,
        initiator: str,
        credential: str,
        command: str,
        tries: float,
    ) -> str | None:
        """Return the result code that refuses this command, or nothing.

        2001 wrong name or password, 8006 locked after so many ``tries``, 21 the
        role for the command is missing. A right password forgets the wrong ones.
        """
        password = account.initiator_password.encode()
        with self._lock:
            if self._wrong[account.shortcode] >= tries:
                return outcomes.LOCKED
            if not account.initiator or initiator != account.initiator:
                return outcomes.WRONG_PIN
            if not hmac.compare_digest(self._vault.open(credential) or b"", password):
                self._wrong[account.shortcode] += 1
                return outcomes.WRONG_PIN
            del self._wrong[account.shortcode]
        return None if account.may(command) else outcomes.NO_ROLE
