"""How Daraja says no: error envelopes, and the pages that are none.

One errorCode, 500.001.1001, has five meanings; only the message tells them apart.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Refusal:
    """One error envelope: HTTP status, errorCode and errorMessage."""

    status: int
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Page:
    """An answer that is no envelope at all."""

    status: int
    content_type: str
    body: str


class Refused(Exception):
    """A request that Daraja turns down; carries the envelope or the page."""

    def __init__(self, refusal: Refusal | Page) -> None:
        super().__init__(refusal)
        self.refusal = refusal


BAD_CREDENTIALS = Page(400, "application/json", "")
AUTH_TYPE = Refusal(400, "400.008.01", "Invalid authentication type passed")
GRANT_TYPE = Refusal(400, "400.008.02", "Invalid grant type passed")
PAYLOAD = Refusal(400, "400.002.05", "Invalid Request Payload")
ACCESS_TOKEN = Refusal(404, "404.001.03", "Invalid Access Token")
C2B_TOKEN = Refusal(400, "400.003.01", "Invalid Access Token")
BALANCE_TOKEN = Refusal(
    401, "401.002.01", "Error Occurred - Invalid Access Token - Invalid Token"
)
PULL_TOKEN = Refusal(401, "401.001", "Invalid Access Token")
PULL_SHORTCODE = Refusal(400, "400.001", "Invalid ShortCode")
NOT_FOUND = Refusal(404, "404.001.01", "Resource not found")
NO_PRODUCT = Refusal(401, "401.002.01", "Invalid API call as no apiproduct match found")
MERCHANT = Refusal(500, "500.001.1001", "Merchant does not exist")
WRONG_CREDENTIALS = Refusal(
    500, "500.001.1001", "[MerchantValidate] - Wrong credentials"
)
SUBSCRIBER_LOCK = Refusal(
    500,
    "500.001.1001",
    "Unable to lock subscriber, a transaction is already in process "
    "for the current subscriber",
)
PROCESSING = Refusal(500, "500.001.1001", "The transaction is being processed")
BUSY = Refusal(500, "500.003.02", "System is busy. Please try again in few minutes.")
SPIKE_ARREST = Refusal(500, "500.003.02", "Error Occurred: Spike Arrest Violation")
QUOTA = Refusal(500, "500.003.03", "Quota Violation")
INTERNAL = Refusal(500, "500.003.1001", "Internal Server Error")
URLS_REGISTERED = Refusal(500, "500.003.1001", "Urls are already registered.")
DUPLICATE_NOTIFICATION = Refusal(
    500, "500.003.1001", "Duplicate notification info, SP ID 107031"
)

_BLOCKED = (
    "<html><head><title>{0}</title></head><body><h1>{0}</h1>"
    "<p>Request unsuccessful. Incapsula incident ID: 0-0</p></body></html>"
)
HTML_403 = Page(403, "text/html", _BLOCKED.format("403 Forbidden"))
HTML_503 = Page(503, "text/html", _BLOCKED.format("503 Service Unavailable"))
HTML_200 = Page(200, "text/html", _BLOCKED.format("Please wait"))

RESET = "reset"
"""The connection is cut without an answer."""

BY_NAME: dict[str, Refusal | Page | str] = {
    "busy": BUSY,
    "spike_arrest": SPIKE_ARREST,
    "quota": QUOTA,
    "internal": INTERNAL,
    "merchant": MERCHANT,
    "wrong_credentials": WRONG_CREDENTIALS,
    "subscriber_lock": SUBSCRIBER_LOCK,
    "processing": PROCESSING,
    "invalid_token": ACCESS_TOKEN,
    "no_product": NO_PRODUCT,
    "bad_request": Refusal(400, "400.002.02", "Bad Request - Invalid Amount"),
    "envelope_200": Refusal(200, "500.003.02", BUSY.message),
    "too_many": Refusal(429, "429.001.01", "Too Many Requests"),
    "html_403": HTML_403,
    "html_503": HTML_503,
    "html_200": HTML_200,
    "timeout_504": Page(504, "text/html", _BLOCKED.format("504 Gateway Time-out")),
    "empty_400": BAD_CREDENTIALS,
    "empty_200": Page(200, "application/json", ""),
    "truncated_200": Page(200, "application/json", '{"MerchantRequestID":"2654-4b'),
    "urls_registered": URLS_REGISTERED,
    "duplicate_notification": DUPLICATE_NOTIFICATION,
    RESET: RESET,
}
"""What the switches that end in ``_error`` can be set to."""


def invalid(field: str) -> Refused:
    """Return the refusal of one field of a body."""
    return Refused(Refusal(400, "400.002.02", f"Bad Request - Invalid {field}"))


def method_not_allowed(method: str) -> Refused:
    """Return the refusal of a wrong verb."""
    return Refused(Refusal(405, "405.001", f"{method} Method Not Allowed"))
