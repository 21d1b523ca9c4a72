"""A Daraja (M-Pesa API) of our own, to sell against before the real one is there.

Start it with ``python -m payments.simulator [--port 8010] [--host 127.0.0.1]``.
It is a Django site with its own settings and process and no database: what it knows
lives in memory and is gone when it stops. It imports nothing of the rest of this
project and nothing imports it, so that neither side can cheat.

What answers where
    ``/oauth/v1/generate``                    a token, for Basic consumer key and secret
    ``/mpesa/stkpush/v1/processrequest``      the prompt on a phone
    ``/mpesa/stkpushquery/v1/query``          what became of it
    ``/phone/<msisdn>``                       a virtual phone: the prompt appears by itself
    ``/log``                                  what went in and out
    ``/``                                     accounts, phones, and where to begin
    ``/__sim__/…``                            the control API, see ``control_api``

A phone whose last two digits are 90 to 99 answers by itself (``outcomes.MAGIC``);
all others wait for a person at the virtual phone or for the control API. The switches
that make Daraja misbehave are in ``switches``, the merchants it knows in ``accounts``.

Layers, each importing only what stands above it:
    ``outcomes``, ``refusals``, ``accounts``, ``ids``, ``msisdn``, ``clock``
    ``wire`` (bodies that come in), ``switch``, ``switches``, ``records``
    ``faults``, ``bank``, ``journal`` (the state, under one lock)
    ``bodies``, ``callbacks`` (bodies that go out)
    ``courier``, ``delivery``, ``network`` (what happens when)
    ``world`` (one of each)
    ``daraja_api``, ``control_api``, ``pages`` (HTTP), ``server``
"""
