"""Who wants to hear of payments: C2B addresses, and shops that may pull."""

from __future__ import annotations

import threading

from payments.simulator.accounts import Account
from payments.simulator.wire_c2b import Registration


class Subscriptions:
    """What merchants have registered, by shortcode."""

    def __init__(self, lock: threading.RLock) -> None:
        self._lock = lock
        self._c2b: dict[str, Registration] = {}
        self._pull: set[str] = set()

    def reset(self) -> None:
        with self._lock:
            self._c2b.clear()
            self._pull.clear()

    def register(
        self, account: Account, registration: Registration, *, once: bool
    ) -> bool:
        """Keep the addresses; False if there are some and ``once`` is the rule."""
        with self._lock:
            if once and account.shortcode in self._c2b:
                return False
            self._c2b[account.shortcode] = registration
            return True

    def unregister(self, account: Account) -> None:
        """Delete the addresses, as two operators do at the portal."""
        with self._lock:
            self._c2b.pop(account.shortcode, None)

    def registration(self, account: Account) -> Registration | None:
        with self._lock:
            return self._c2b.get(account.shortcode)

    def allow_pull(self, account: Account) -> bool:
        """Let the account pull; False if it may already."""
        with self._lock:
            if account.shortcode in self._pull:
                return False
            self._pull.add(account.shortcode)
            return True

    def may_pull(self, account: Account) -> bool:
        with self._lock:
            return account.shortcode in self._pull
