"""What the switches are set to; they are listed in ``switches``.

``POST /__sim__/faults`` merges ``{"switch": value}`` into what is set; null or the
default takes a switch back, ``{"clear": true}`` takes all back. A value may be
``{"value": …, "times": n, "phone": "07…"}``: then it works for the next n uses only,
for that phone only, or both. ``{"callback": {"drop": true}}`` and plain words of
``switches.ALIASES`` mean the same as ``{"callback_drop": true}``. An act and no switch
is ``{"expire_tokens": true}``: all tokens given out so far stop working at once.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from payments.simulator import msisdn, switches
from payments.simulator.switch import BadSwitch


@dataclass(slots=True)
class _Setting:
    value: Any
    times: int | None = None
    phone: str | None = None


class Faults:
    """What the switches are set to."""

    def __init__(self, lock: threading.RLock) -> None:
        self._lock = lock
        self._settings: dict[str, _Setting] = {}

    def take(self, name: str, phone: str | None = None) -> Any:
        """Return the value of a switch for this use, and count the use."""
        with self._lock:
            setting = self._settings.get(name)
            if setting is None or (setting.phone and setting.phone != phone):
                return switches.BY_NAME[name].default
            if setting.times is not None:
                setting.times -= 1
                if setting.times <= 0:
                    del self._settings[name]
            return setting.value

    def shape(
        self, prefix: str, names: tuple[str, ...], phone: str | None
    ) -> dict[str, Any]:
        """Return the values of these switches, named without their prefix."""
        return {name: self.take(f"{prefix}{name}", phone) for name in names}

    def merge(self, wanted: Mapping[str, Any]) -> None:
        """Set all these switches, or none.

        Raises BadSwitch, with a sentence that can be shown.
        """
        settings = {
            name: _setting_of(name, value) for name, value in _flattened(wanted).items()
        }
        with self._lock:
            for name, setting in settings.items():
                if setting is None:
                    self._settings.pop(name, None)
                else:
                    self._settings[name] = setting

    def clear(self) -> None:
        with self._lock:
            self._settings.clear()

    def active(self) -> dict[str, Any]:
        """Return what is set, in the form in which it can be posted again."""
        with self._lock:
            return {
                name: _as_posted(setting) for name, setting in self._settings.items()
            }


def _flattened(wanted: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in wanted.items():
        if name in switches.ALIASES:
            flat[switches.ALIASES[name]] = value
        elif isinstance(value, dict) and name not in switches.BY_NAME:
            flat |= {f"{name}_{part}": inner for part, inner in value.items()}
        else:
            flat[name] = value
    return flat


def _setting_of(name: str, value: Any) -> _Setting | None:
    times, phone = None, None
    if isinstance(value, dict):
        times, phone = value.get("times"), value.get("phone")
        value = value.get("value", True)
        if times is not None and (not isinstance(times, int) or times < 1):
            raise BadSwitch(f"{name}: times is a whole number from 1.")
        if phone is not None:
            phone = msisdn.normalize(str(phone))
            if phone is None:
                raise BadSwitch(f"{name}: phone is no Kenyan number.")
    if value is None and name in switches.BY_NAME:
        return None
    switches.check(name, value)
    if times is None and phone is None and value == switches.BY_NAME[name].default:
        return None
    return _Setting(value, times, phone)


def _as_posted(setting: _Setting) -> Any:
    if setting.times is None and setting.phone is None:
        return setting.value
    posted = {"value": setting.value, "times": setting.times, "phone": setting.phone}
    return {key: value for key, value in posted.items() if value is not None}
