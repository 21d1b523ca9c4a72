"""Bodies that nobody should send, for the parsers of outside messages."""

import copy
import json

from hypothesis import strategies as st


NUMBERS = [10**30, -1, 0, 1.5, 1e300, True, False, float("nan"), float("inf")]
TEXTS = ["", " ", "0", "a\0b", "\ud800", "x" * 500, "٣٤", "NaN", "1e9", "-0", "{}"]

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(codec=None))
    | st.sampled_from([*NUMBERS, *TEXTS])
)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
)


def places(value, path=()):
    """Yield the path of every value inside a document, the document's own first."""
    yield path
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from places(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from places(inner, (*path, index))


def with_value(document, path, value):
    """Return the document with another value at that path."""
    if not path:
        return value
    changed = copy.deepcopy(document)
    holder = changed
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = value
    return changed


@st.composite
def damaged(draw, document):
    """Bytes of a document with up to three values replaced, or cut off."""
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(list(places(document))))
        document = with_value(document, path, draw(JSON))
    raw = json.dumps(document).encode("utf-8")
    return raw[: draw(st.integers(0, len(raw)))] if draw(st.booleans()) else raw


def anything(document):
    """Bytes of every kind: noise, any JSON, and damaged forms of the document."""
    return (
        st.binary(max_size=300)
        | JSON.map(lambda value: json.dumps(value).encode("utf-8"))
        | damaged(document)
    )


def storable(text):
    """Whether every database can store the text."""
    return "\0" not in text and text == text.encode("utf-8", "replace").decode()
