"""What every API view of a shop shares: who is asking, for which shop; lists."""

from __future__ import annotations

from datetime import UTC
from functools import cached_property
from typing import Any

from django.utils.dateparse import parse_datetime
from rest_framework import exceptions
from rest_framework.pagination import CursorPagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from shops import tenancy
from smartduka.lib.api import JsonParser
from smartduka.lib.errors import InvalidRequest


NO_PLACE = "This page of the list does not exist. Begin with the first."


class ShopView(APIView):
    """A view for one person in one shop; the shop never comes from a body."""

    parser_classes = (JsonParser,)

    @cached_property
    def access(self) -> tenancy.Access:
        """For whom this request acts. Raises ShopRequired, NotAMember, NotFound."""
        return tenancy.access(self.request.user, self.request.headers.get("X-Shop"))

    def paginated(self, rows: Any, serialize: Any) -> Response:
        """Answer one page of a list, newest first."""
        paginator = NewestFirst()
        page: Any = paginator.paginate_queryset(rows, self.request, view=self)
        return paginator.get_paginated_response([serialize(row) for row in page or []])


class Pages(CursorPagination):
    """Pages by a cursor, so that a page costs the same however old it is.

    A cursor comes back from outside and may say anything: one that names no place
    in the list is a wrong field.
    """

    page_size_query_param = "limit"

    def decode_cursor(self, request: Request) -> Any:
        """Return the place where a page begins. Raises InvalidRequest."""
        try:
            cursor: Any = super().decode_cursor(request)
        except exceptions.NotFound:
            raise InvalidRequest(NO_PLACE, details={"cursor": ["invalid"]}) from None
        given = None if cursor is None else cursor.position
        if given is not None and not self.is_place(given):
            raise InvalidRequest(NO_PLACE, details={"cursor": ["invalid"]})
        return cursor

    def is_place(self, text: str) -> bool:
        """Whether a row could have this value in the first field of the order."""
        raise NotImplementedError

    def get_paginated_response(self, data: Any) -> Response:
        """Return `{results, next}`; `next` is an address or null."""
        return Response({"results": data, "next": self.get_next_link()})


class NewestFirst(Pages):
    """Rows by the time they were made."""

    ordering = ("-created_at", "-id")
    page_size = 50
    max_page_size = 200

    def is_place(self, text: str) -> bool:
        """Whether it is a moment that exists in UTC."""
        try:
            moment = parse_datetime(text)
            return moment is not None and bool(moment.astimezone(UTC))
        except (ValueError, OverflowError):
            return False
