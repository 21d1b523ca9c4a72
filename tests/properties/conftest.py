"""The fixtures of payments' own tests, and limits that generated work never meets."""

import logging

import pytest

from tests.payments.conftest import messages, mpesa, order, seller, tasks, time


__all__ = ["messages", "mpesa", "order", "seller", "tasks", "time"]


@pytest.fixture
def _generous(settings):
    """No rate, budget or jitter: those have tests of their own."""
    settings.STK_RATE_PER_SHOP = "100000/m"
    settings.STK_RATE_PER_PHONE = settings.STK_RATE_PER_IP = "100000/m"
    settings.QUESTIONS_PER_ACCOUNT_PER_MINUTE = 100_000
    settings.QUESTION_JITTER = 0


@pytest.fixture
def _quiet():
    """Thousands of forged messages would be thousands of warnings."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)
