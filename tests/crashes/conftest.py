"""A shop whose web or worker process dies at a chosen place."""

from pathlib import Path

import pytest

from tests.journeys.conftest import mpesa, mpesa_process, product
from tests.support.processes import Shopfront, end


__all__ = ["mpesa", "mpesa_process", "product"]

FATAL = Path(__file__).resolve().parent.parent / "support" / "fatal"
# What takes minutes in a shop takes seconds here.
QUICK = {
    "T_NOTICE_FIRST_TRY_S": 1,
    "T_NOTICE_BACKOFF_S": "1,1,1,1,1",
    "T_SWEEP_EVERY_S": 1,
    "T_TASK_TIMEOUT_S": 2,
    "T_TASK_RETRY_S": 7,
}


@pytest.fixture
def shop(django_db_setup, transactional_db, mpesa_process, tmp_path):
    """Web and worker, to be started by the test; both are gone afterwards."""
    front = Shopfront(tmp_path, mpesa_process.url)
    front.environment |= QUICK
    front.flag = tmp_path / "died"

    def dies_at(place, *, family=False):
        front.environment |= {
            "PYTHONPATH": str(FATAL),
            "FATAL_PLACE": place,
            "FATAL_FLAG": str(front.flag),
            "FATAL_FAMILY": "1" if family else "",
        }

    front.dies_at = dies_at
    yield front
    end(front.process)
