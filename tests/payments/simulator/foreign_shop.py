"""A Django project of somebody else's, with django-daraja in it; run as a script.

Arguments: the simulator's address, a phone, an amount, a callback address. Prints what
the library made of the answer as one line of JSON.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module

import django
from django.conf import settings
from django.core.management import call_command


def main(url, phone, amount, callback_url):
    settings.configure(
        INSTALLED_APPS=["django_daraja"],
        DATABASES={
            "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
        },
        DEFAULT_AUTO_FIELD="django.db.models.AutoField",
        USE_TZ=True,
        MPESA_ENVIRONMENT="sandbox",
        MPESA_CONSUMER_KEY="sim-sandbox-key",
        MPESA_CONSUMER_SECRET="sim-sandbox-secret",
        MPESA_EXPRESS_SHORTCODE="174379",
        MPESA_SHORTCODE="174379",
        MPESA_PASSKEY=(
            "bfb279f9aa9bdbcf158e97dd71a467cd2e0c893059b10f78e6b72ada1ed2c919"
        ),
    )
    django.setup()
    call_command("migrate", verbosity=0)

    core = import_module("django_daraja.mpesa.core")
    utils = import_module("django_daraja.mpesa.utils")
    # The library knows the hosts of Safaricom only.
    core.api_base_url = utils.api_base_url = lambda: f"{url}/"
    answer = core.MpesaClient().stk_push(
        phone, int(amount), "K7Q2M9", "Sale", callback_url
    )
    sys.stdout.write(
        json.dumps(
            {
                "status": answer.status_code,
                "responseCode": answer.response_code,
                "checkoutRequestId": answer.checkout_request_id,
                "merchantRequestId": answer.merchant_request_id,
                "customerMessage": answer.customer_message,
                "errorCode": answer.error_code,
                "errorMessage": answer.error_message,
            }
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
