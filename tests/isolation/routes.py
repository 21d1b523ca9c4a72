"""Every address of the installation, read from its own resolver and registry.

Nothing here is a list that somebody keeps: what is not found by walking the URL
patterns, the admin's registry and the sockets' router is not reachable.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from django.db.models import ForeignKey
from django.urls import URLResolver, get_resolver

from smartduka import routing
from smartduka.admin_site import site


# What the patterns of the admin write as regular expressions.
NAMED = re.compile(r"\^?\(\?P<(\w+)>[^)]*\)(/?)\$?")
PARAMETER = re.compile(r"<(?:\w+:)?(\w+)>")


@dataclass(frozen=True)
class Route:
    """One address. `path` is its pattern, parameters in angle brackets."""

    path: str
    name: str
    view: Callable[..., Any]

    @property
    def parameters(self) -> tuple[str, ...]:
        return tuple(PARAMETER.findall(self.path))

    def filled(self, **values: object) -> str:
        return "/" + PARAMETER.sub(lambda found: str(values[found[1]]), self.path)


def http_routes(resolver: Any = None) -> list[Route]:
    """Return every HTTP address below a resolver: the installation's."""
    return list(_walk(resolver or get_resolver(), "", ""))


def socket_routes(patterns: Any = None) -> list[str]:
    """Return the patterns of every WebSocket address."""
    patterns = routing.websocket_urlpatterns if patterns is None else patterns
    return [_plain(str(one.pattern)) for one in patterns]


def actions() -> list[tuple[Any, str]]:
    """Return every admin book with each action that it or the site offers."""
    found = []
    for model, book in site._registry.items():
        names = [getattr(one, "__name__", one) for one in book.actions or ()]
        found += [(model, name) for name in (*dict(site.actions), *names)]
    return found


def foreign_keys() -> list[tuple[Any, str]]:
    """Return every relation of an admin's model: what autocomplete may be asked."""
    return [
        (model, field.name)
        for model in site._registry
        for field in model._meta.get_fields()
        if isinstance(field, ForeignKey) or (field.many_to_many and field.concrete)
    ]


def _walk(resolver: Any, before: str, spaces: str) -> Iterator[Route]:
    for one in resolver.url_patterns:
        path = before + _plain(str(one.pattern))
        if isinstance(one, URLResolver):
            inside = f"{one.namespace}:" if one.namespace else ""
            yield from _walk(one, path, spaces + inside)
        else:
            yield Route(path, spaces + (one.name or ""), one.callback)


def _plain(pattern: str) -> str:
    return NAMED.sub(r"<\1>\2", pattern)
