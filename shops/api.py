"""What every API view of a shop shares: who is asking, for which shop; lists."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from rest_framework.pagination import CursorPagination
from rest_framework.response import Response
from rest_framework.views import APIView

from shops import tenancy
from smartduka.lib.api import JsonParser


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


class NewestFirst(CursorPagination):
    """Pages by a cursor, so that a page costs the same however old it is."""

    ordering = ("-created_at", "-id")
    page_size = 50
    page_size_query_param = "limit"
    max_page_size = 200

    def get_paginated_response(self, data: Any) -> Response:
        """Return `{results, next}`; `next` is an address or null."""
        return Response({"results": data, "next": self.get_next_link()})
