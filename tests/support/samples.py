"""Bodies as Daraja documents or sends them, from tests/samples/daraja.

Each file names its source beside the body. Numbers keep their digits: a body is
written out as it stands in the file.
"""

import json
import re
from pathlib import Path


FOLDER = Path(__file__).resolve().parents[1] / "samples" / "daraja"
NAMES = sorted(path.stem for path in FOLDER.glob("*.json"))
CHECKOUT_ID = "ws_CO_14012026093015482708374149"
MERCHANT_ID = "2654-4b64-97ff-b827b542881d3130"


def named(prefix):
    """Return the names of the samples that begin so."""
    return [name for name in NAMES if name.startswith(prefix)]


def text(name):
    """Return the body of a sample as text, digit for digit."""
    whole = (FOLDER / f"{name}.json").read_text(encoding="utf-8")
    assert json.loads(whole)["source"], f"{name} names no source"
    body = re.search(r'"body":\s*(\{.*\})\s*\}\s*$', whole, re.DOTALL)[1]
    json.loads(body)
    return body


def body(name, payment=None, *, receipt=None, amount=None):
    """Return a sample's bytes, about this payment, with other values if given."""
    changed = text(name)
    if payment is not None:
        changed = changed.replace(CHECKOUT_ID, payment.checkout_request_id)
        changed = changed.replace(MERCHANT_ID, payment.merchant_request_id)
    if receipt is not None:
        changed = changed.replace("UAE5B2K9QT", receipt)
    if amount is not None:
        changed = re.sub(r'("Value": "?)250(\.00?)?', rf"\g<1>{amount}", changed)
    return changed.encode()
