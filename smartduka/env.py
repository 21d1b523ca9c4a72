"""Read settings from the environment and refuse nonsense with one sentence.

Every reader takes the variable's name and its default, and raises
ImproperlyConfigured with a sentence that names the variable when the value cannot
be meant. An empty value counts as not given.
"""

from __future__ import annotations

import ipaddress
import os
import re
from pathlib import Path
from typing import Any, TypeVar, overload
from urllib.parse import parse_qsl, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

from smartduka.lib import certificates


Timing = TypeVar("Timing", int, float, tuple[int, ...])

YES = frozenset({"1", "true", "yes", "on"})
NO = frozenset({"0", "false", "no", "off"})
KEY_BYTES = 32
NEW_KEY_HINT = 'make one with: python -c "import secrets; print(secrets.token_hex(32))"'


def refuse(sentence: str) -> ImproperlyConfigured:
    """Make the exception that stops the start; the caller raises it."""
    return ImproperlyConfigured(sentence)


def read_env_file(path: Path) -> None:
    """Take KEY=VALUE lines from the file into the environment, where it is silent.

    Blank lines and lines that begin with # are skipped; quotes around a value are
    taken off. The real environment wins. A line of another shape raises.
    """
    if not path.is_file():
        return
    for number, raw in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        line = raw.strip().removeprefix("export ")
        if not line or line.startswith("#"):
            continue
        name, equals, value = line.partition("=")
        name, value = name.strip(), value.strip()
        if not equals or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise refuse(f"{path}, line {number}: expected KEY=VALUE.")
        if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
            value = value[1:-1]
        os.environ.setdefault(name, value)


@overload
def text(name: str) -> str | None: ...
@overload
def text(name: str, default: str) -> str: ...
def text(name: str, default: str | None = None) -> str | None:
    return os.environ.get(name, "").strip() or default


def choice(name: str, default: str, allowed: tuple[str, ...]) -> str:
    value = text(name, default)
    if value not in allowed:
        raise refuse(f"{name} must be one of {', '.join(allowed)}; it is {value!r}.")
    return value


def boolean(name: str, *, default: bool) -> bool:
    value = text(name)
    if value is None:
        return default
    if value.lower() in YES:
        return True
    if value.lower() in NO:
        return False
    raise refuse(f"{name} must be True or False; it is {value!r}.")


def integer(name: str, default: int, *, least: int = 0) -> int:
    value = text(name)
    if value is None:
        return default
    if not re.fullmatch(r"[0-9]{1,9}", value) or int(value) < least:
        raise refuse(f"{name} must be a whole number from {least} up; it is {value!r}.")
    return int(value)


def words(name: str, default: tuple[str, ...] = ()) -> list[str]:
    value = text(name)
    if value is None:
        return list(default)
    return [word.strip() for word in value.split(",") if word.strip()]


def rate(name: str, default: str) -> str:
    """Return a rate as django-ratelimit writes it: 10/m, 100/h, 5/10s."""
    value = text(name, default)
    if not re.fullmatch(r"[1-9][0-9]*/[0-9]*[smhd]", value):
        raise refuse(f"{name} must look like 10/m, 100/h or 5/10s; it is {value!r}.")
    return value


def hex_keys(name: str) -> list[bytes]:
    """Return the comma-separated 32-byte hex keys, the first one first."""
    keys = []
    for word in words(name):
        try:
            key = bytes.fromhex(word)
        except ValueError:
            key = b""
        if len(key) != KEY_BYTES:
            raise refuse(
                f"{name} must hold keys of {KEY_BYTES} bytes as {2 * KEY_BYTES} hex "
                f"digits, separated by commas; {NEW_KEY_HINT}."
            )
        keys.append(key)
    if len(set(keys)) != len(keys):
        raise refuse(f"{name} holds the same key twice.")
    return keys


def networks(name: str, default: tuple[str, ...]) -> list[str]:
    """Return IP addresses and networks; each is checked, and kept as text."""
    values = words(name, default)
    for value in values:
        try:
            ipaddress.ip_network(value)
        except ValueError as error:
            raise refuse(
                f"{name} must hold IP addresses or networks, separated by commas; "
                f"{value!r} is neither."
            ) from error
    return values


def certificate(name: str) -> str:
    """Return the text that names a certificate or is one, checked; "" if none."""
    value = text(name, "")
    if value:
        try:
            certificates.read(value)
        except certificates.UnusableCertificate as error:
            raise refuse(
                f"{name} must be a certificate's file, or its PEM text: {error}."
            ) from error
    return value


def base_url(name: str, default: str) -> str:
    """Return an http(s) URL without query, fragment, password or closing slash."""
    value = text(name, default)
    try:
        parts = urlsplit(value)
        port_is_sane = parts.port is None or parts.port > 0
    except ValueError:
        port_is_sane = False
    if (
        not port_is_sane
        or parts.scheme not in {"http", "https"}
        or not parts.hostname
        or parts.query
        or parts.fragment
        or parts.username is not None
        or re.search(r"\s", value)
    ):
        raise refuse(
            f"{name} must be a plain http or https URL such as "
            f"https://duka.example.co.ke; it is {value!r}."
        )
    return value.rstrip("/")


def database(name: str, default: Path, root: Path) -> dict[str, Any]:
    """Return ENGINE, NAME and the rest from a URL; the default is a SQLite file.

    sqlite:///relative.sqlite3 is taken from the project root, sqlite:////abs.sqlite3
    is absolute; postgresql://user:password@host:5432/name, with ?host=/socket/dir
    for a Unix socket. Other query parameters become connection options.
    """
    value = text(name)
    if value is None:
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": default}
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError as error:
        raise refuse(f"{name} is not a URL that can be read.") from error
    path = unquote(parts.path.removeprefix("/"))
    if parts.scheme == "sqlite" and path and not parts.netloc:
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": root / path}
    if parts.scheme in {"postgres", "postgresql"} and path:
        options = dict(parse_qsl(parts.query))
        return {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": path,
            "USER": unquote(parts.username or ""),
            "PASSWORD": unquote(parts.password or ""),
            "HOST": unquote(parts.hostname or "") or options.pop("host", ""),
            "PORT": str(port or ""),
            "OPTIONS": options,
        }
    raise refuse(
        f"{name} must be sqlite:///file.sqlite3 or "
        "postgresql://user:password@host:5432/name."
    )


def timing(name: str, default: Timing) -> Timing:
    """Return a named time, amount or share, which T_<NAME> may override.

    The override is for tests and tuning of whole processes; inside one process
    Django's own settings override does. A tuple is written 1,2,3.
    """
    value = text(f"T_{name}")
    if value is None:
        return default
    try:
        if isinstance(default, tuple):
            return tuple(int(word) for word in value.split(","))
        return type(default)(value)
    except ValueError as error:
        raise refuse(
            f"T_{name} must look like {default!r}; it is {value!r}."
        ) from error
