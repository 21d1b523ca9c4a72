"""Sessions of people who share a screen: how long they last, and when they end.

A session ends after an hour in which nobody touched the page, after a working day in
any case, and at once when somebody is switched off or their role changes. Pages that
ask by themselves do not count as a touch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.contrib.auth import (
    HASH_SESSION_KEY,
    SESSION_KEY,
    get_user_model,
    login,
)
from django.contrib.auth.models import AnonymousUser
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import reverse
from django.utils.crypto import constant_time_compare
from django.utils.deprecation import MiddlewareMixin

from shops import pins, second_factor, tenancy
from shops.models import Membership
from shops.pages import go_to, is_part, refusal
from shops.tenancy import Access
from smartduka.lib import clock, realtime
from smartduka.lib.api import error_body
from smartduka.lib.errors import Forbidden


BACKEND = "django.contrib.auth.backends.ModelBackend"
SIGNED_IN_AT, TOUCHED_AT = "signed_in_at", "touched_at"
# Who opened the session by password; the shop whose PIN the one has who took over.
HOLDER, BY_PIN = "holder", "by_pin"
OPEN_BY_PIN = ("/till/", "/api/", "/logout", settings.STATIC_URL)
MUST_SET_UP = "must_set_up_second_step"
# A touch is written down so often, or every page would be a write.
TOUCH_EVERY_S = 60
SET_UP_FIRST = "Set up the second step of signing in first: open the till in a browser."


def begin(request: HttpRequest, user: Any) -> None:
    """Sign somebody in whose password, and code where they have one, were right."""
    login(request, user, backend=BACKEND)
    now = int(clock.now().timestamp())
    request.session[SIGNED_IN_AT] = request.session[TOUCHED_AT] = now
    request.session[HOLDER] = {"user": user.pk, "hash": user.get_session_auth_hash()}
    pins.renew(user)
    ask_to_set_up(request)


def ask_to_set_up(request: HttpRequest) -> None:
    """Keep them to that page where they need a second step here and have none."""
    user = request.user
    if second_factor.is_required(user) and not second_factor.is_on(user):
        request.session[MUST_SET_UP] = True


def set_up(request: HttpRequest) -> None:
    """Let somebody on who has set up the second step."""
    request.session.pop(MUST_SET_UP, None)


def require_open_till(request: HttpRequest, access: Access) -> None:
    """Raise NeedsPassword unless a session was opened by password, here, today."""
    opened: Any = request.session.get(HOLDER) or {}
    holder = get_user_model().objects.filter(pk=opened.get("user")).first()
    if holder is not None and not constant_time_compare(
        holder.get_session_auth_hash(), opened.get("hash", "")
    ):
        holder = None
    pins.require_holder(access, holder, request.session.get(SIGNED_IN_AT))


def hand_over(request: HttpRequest, member: Membership) -> None:
    """Make the session that of somebody whose PIN was right: they only sell, there.

    When it was opened, and by whom, stays: it ends when that would have ended.
    """
    kept = {name: request.session[name] for name in (SIGNED_IN_AT, HOLDER)}
    request.session.flush()
    login(request, member.user, backend=BACKEND)
    request.session.update(kept)
    request.session[TOUCHED_AT] = int(clock.now().timestamp())
    request.session[BY_PIN] = member.shop_id


def end_all(user: Any, *, but: str | None = None) -> int:
    """End every session of a person, and what their sockets hear; return how many.

    `but` is the key of a session that stays: their own. Reads all living sessions:
    it is for acts that are rare. Takes part in the caller's transaction.
    """
    living = Session.objects.filter(expire_date__gt=clock.now())
    theirs = [
        session.pk
        for session in living.iterator()
        if session.pk != but and _is_of(session.get_decoded(), user)
    ]
    ended, _ = Session.objects.filter(pk__in=theirs).delete()
    realtime.check_after_commit([realtime.person_group(user.pk)])
    return ended


def _is_of(session: Mapping[str, Any], user: Any) -> bool:
    """Whether somebody is signed in there, or opened it for others to take over."""
    opened = (session.get(HOLDER) or {}).get("user")
    return session.get(SESSION_KEY) == str(user.pk) or opened == user.pk


def is_living(user: Any, key: str | None) -> bool:
    """Whether a session of this person goes on; `user` as it is in the database now."""
    found = SessionStore(key)
    same_password = constant_time_compare(
        found.get(HASH_SESSION_KEY, ""), user.get_session_auth_hash()
    )
    return found.get(SESSION_KEY) == str(user.pk) and same_password


def admit(user: Any, key: str | None) -> None:
    """Hold who listens at a socket to the rules that `SessionRules` has for pages.

    Raises Forbidden until the second step is set up.
    """
    session = SessionStore(key)
    tenancy.came_by_pin(user, session.get(BY_PIN))
    if session.get(MUST_SET_UP):
        raise Forbidden(SET_UP_FIRST)


class SessionRules(MiddlewareMixin):
    """Ends what is over, and keeps who must set up the second step to that page."""

    def process_request(self, request: HttpRequest) -> HttpResponse | None:
        """Answer only where the page that was asked for may not be shown."""
        session = request.session
        signed_in_at = session.get(SIGNED_IN_AT)
        if signed_in_at is None:
            return None
        now = int(clock.now().timestamp())
        touched_at = session.get(TOUCHED_AT, signed_in_at)
        is_old = now - signed_in_at >= settings.SESSION_COOKIE_AGE
        if is_old or now - touched_at >= settings.SESSION_IDLE_S:
            session.flush()
            request.user = AnonymousUser()
            return None
        if now - touched_at >= TOUCH_EVERY_S and _is_touch(request):
            session[TOUCHED_AT] = now
        if session.get(BY_PIN):
            # Looked at by tenancy and the books, wherever this person acts.
            tenancy.came_by_pin(request.user, session[BY_PIN])
            if not request.path.startswith(OPEN_BY_PIN):
                return refusal(request, pins.NeedsMore())
        if session.get(MUST_SET_UP) and not _is_open_to_all(request.path):
            if request.path.startswith("/api/"):
                return JsonResponse(error_body("FORBIDDEN", SET_UP_FIRST), status=403)
            return go_to(request, reverse("second_step"))
        return None


def _is_touch(request: HttpRequest) -> bool:
    """Whether a person did something, as far as a request tells."""
    if request.method not in ("GET", "HEAD") or not is_part(request):
        return True
    # Parts that people ask for by hand: the search, the scanner.
    path = request.path
    return path.startswith("/till/") and not path.startswith("/till/pay/")


def _is_open_to_all(path: str) -> bool:
    own = (reverse("second_step"), reverse("logout"), reverse("till:language"))
    return path in own or path.startswith(settings.STATIC_URL)
