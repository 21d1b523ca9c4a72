"""A Daraja (M-Pesa API) of our own, to sell against before the real one is there.

Start it with ``python -m payments.simulator [--port 8010] [--host 127.0.0.1]``.
It is a Django site with its own settings and process and no database: what it knows
lives in memory and is gone when it stops. It imports nothing of the rest of this
project and nothing imports it, so that neither side can cheat.

What answers where
    ``/oauth/v1/generate``                    a token, for Basic consumer key and secret
    ``/mpesa/stkpush/v1/processrequest``      the prompt on a phone
    ``/mpesa/stkpushquery/v1/query``          what became of it
    ``/mpesa/c2b/v1|v2/registerurl``          where notices of payments go
    ``/mpesa/c2b/v1|v2/simulate``             a customer who pays by hand
    ``/mpesa/transactionstatus/v1/query``     what became of a receipt
    ``/mpesa/reversal/v1/request``            money back to the customer
    ``/mpesa/accountbalance/v1/query``        what an organisation has
    ``/mpesa/qrcode/v1/generate``             a QR code to pay by
    ``/pulltransactions/v1/register|query``   the payments of the last 48 hours
    ``/docs-assets/SandBoxCertificate.cer``   the key that seals a SecurityCredential;
                                              another one each time this starts
    ``/phone/<msisdn>``                       a virtual phone: the prompt appears by
                                              itself, and a form pays without one
    ``/log``                                  what went in and out
    ``/``                                     accounts, phones, and where to begin
    ``/__sim__/…``                            the control API, see ``control_api``

A phone whose last two digits are 90 to 99 answers a prompt by itself
(``outcomes.MAGIC``); all others wait for a person at the virtual phone or for the
control API. The switches that make Daraja misbehave are in ``switches``, the merchants
it knows in ``accounts``.

What is our guess, because nothing about it is published: a reversal of another amount
than the payment's ends in 2028; a status query for an unknown receipt in 25; a till's
C2B notices carry the number that registered; the words in a statement and in a QR code.
STK payments do not pass validation. B2C is not there.

Layers, each importing only what stands above it:
    ``outcomes``, ``refusals``, ``accounts``, ``ids``, ``msisdn``, ``clock``
    ``fields``, ``wire``, ``wire_c2b``, ``wire_initiator`` (bodies that come in)
    ``switch``, ``switches_business``, ``switches``, ``records``, ``messages``, ``vault``
    ``faults``, ``book``, ``bank``, ``subscriptions``, ``initiators``, ``journal``
    (the state, under one lock; the money is in ``book``)
    ``bodies``, ``callbacks``, ``confirmations``, ``results`` (bodies that go out),
    ``statements``
    ``courier``, ``delivery``, ``customer_payments``, ``operations``, ``network`` (what
    happens when)
    ``world`` (one of each)
    ``answers``, ``gate``, ``daraja_api``, ``c2b_api``, ``initiator_api``, ``controls``,
    ``control_api``, ``money_api``, ``pages`` (HTTP), ``server``
"""
