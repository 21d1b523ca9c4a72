"""Text from outside, made fit to be stored."""

from __future__ import annotations


def clean(value: object) -> str:
    """Return text that every database can store: no NUL, no lone surrogates.

    What is no text is "".
    """
    text = value if isinstance(value, str) else ""
    return text.replace("\0", "").encode("utf-8", "replace").decode("utf-8")
