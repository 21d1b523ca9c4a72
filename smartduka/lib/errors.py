"""What can be anticipated to go wrong, as facts a cashier can read."""

from __future__ import annotations

from typing import Any


class DomainError(Exception):
    """An anticipated refusal: a code for programs, a sentence for people.

    `message` can be shown to a cashier; ids belong in `details`. `http_status`
    and `code` are those of the error table in the API contract. `said_as` is what
    the pages call a refusal whose code alone says too little.
    """

    code = "INVALID_REQUEST"
    said_as = ""
    message = "This request cannot be carried out."
    http_status = 400

    def __init__(
        self,
        message: str | None = None,
        *,
        details: dict[str, Any] | None = None,
    ) -> None:
        self.message = message or self.message
        self.details = details or {}
        super().__init__(self.message)


class InvalidRequest(DomainError):
    """A field is missing, of the wrong type or nonsense."""


class NotFound(DomainError):
    """No such thing, or a thing of another shop: nobody learns which."""

    code = "NOT_FOUND"
    message = "This does not exist in your shop."
    http_status = 404


class Forbidden(DomainError):
    """The signed-in person may not do this."""

    code = "FORBIDDEN"
    message = "Your role does not allow this."
    http_status = 403
