"""Account references: what the customer sees on the prompt, and may type.

Eight characters of Crockford's base 32 and one check character, so a mistyped one
is told from an unknown one. At most 12 are allowed by M-Pesa (portal page
MpesaExpressSimulate), letters and digits only.
"""

from __future__ import annotations

import re
import secrets


ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
LENGTH = 8
# Letters that people write for digits; none of them is in the alphabet.
LOOKALIKES = str.maketrans("OIL", "011")


def new_reference() -> str:
    """Return a random reference with its check character."""
    body = "".join(secrets.choice(ALPHABET) for _ in range(LENGTH))
    return body + check_character(body)


def is_valid(reference: str) -> bool:
    """Whether the text is a reference whose check character fits."""
    return (
        len(reference) == LENGTH + 1
        and all(character in ALPHABET for character in reference)
        and check_character(reference[:-1]) == reference[-1]
    )


def normalised(typed: str) -> str:
    """Return what a person typed as ours are written; it need not be one of ours."""
    return re.sub(r"[^A-Z0-9]", "", typed.upper()).translate(LOOKALIKES)


def check_character(body: str) -> str:
    """Return the check character of a body.

    The weight of each place is coprime to 32, hence one wrong character is always
    noticed; neighbours differ in weight, so most swaps are too.
    """
    total = sum(
        (2 * place + 1) * ALPHABET.index(character)
        for place, character in enumerate(body)
    )
    return ALPHABET[total % len(ALPHABET)]
