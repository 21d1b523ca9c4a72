"""What can be wrong with a body as a whole, whatever it says."""

from __future__ import annotations


def bent(text: str, style: str) -> bytes:
    """Return the JSON text in one of the styles of ``switch.BODIES``.

    Any other style is the writer's own affair; the text goes out as it is.
    """
    if style == "non_json":
        return b"<html><body>Service temporarily unavailable</body></html>"
    if style == "empty":
        return b""
    if style == "array":
        return f"[{text}]".encode()
    if style == "truncated":
        return text[: len(text) * 2 // 3].encode()
    return text.encode()
