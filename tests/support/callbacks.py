"""Bodies of STK callbacks as Daraja sends them."""

import json


RECEIPT = "UAE5B2K9QT"


def success(payment, *, receipt=RECEIPT, amount=None, checkout_id=None, extra=""):
    """Return the callback that says that this payment was paid.

    `extra` is white space behind it: other bytes, the same meaning.
    """
    items = [
        {"Name": "Amount", "Value": int(payment.amount) if amount is None else amount},
        {"Name": "MpesaReceiptNumber", "Value": receipt},
        {"Name": "Balance"},
        {"Name": "TransactionDate", "Value": 20260114093031},
        {"Name": "PhoneNumber", "Value": int(payment.phone)},
    ]
    callback = _head(payment, checkout_id) | {
        "ResultCode": 0,
        "ResultDesc": "The service request is processed successfully.",
        "CallbackMetadata": {"Item": items},
    }
    return _body(callback, extra)


def failure(payment, code=1032, *, checkout_id=None, extra=""):
    """Return the callback that says that this payment was not paid."""
    callback = _head(payment, checkout_id) | {
        "ResultCode": code,
        "ResultDesc": "Request cancelled by user",
    }
    return _body(callback, extra)


def _head(payment, checkout_id):
    return {
        "MerchantRequestID": payment.merchant_request_id or "29115-34620561-1",
        "CheckoutRequestID": checkout_id or payment.checkout_request_id,
    }


def _body(callback, extra):
    return json.dumps({"Body": {"stkCallback": callback}}).encode() + extra.encode()
