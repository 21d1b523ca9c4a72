"""Which tests belong to this run, and that none is skipped in silence.

A test that cannot run on this database is left out (deselected), not skipped: the
other pass runs it. A skip therefore always means that something is missing, and with
CI=true it fails the run unless its reason is listed here.
"""

import os
import time
from types import SimpleNamespace

import pytest
from django.conf import settings
from django.core.cache import cache
from django_ratelimit import core as ratelimit


# What asks no database is run in the SQLite pass alone, like what is marked `once`; and
# the long walks through all orders and properties, which every database answers alike:
ON_SQLITE_ALONE = (
    "tests/orderings/",
    "tests/payments/simulator/",
    "tests/properties/",
    "tests/test_architecture.py",
    "tests/test_bench.py",
)
# but what asks Redis without a database is run in both.
MAY_ASK_REDIS = ("tests/payments/gateways/", "tests/smartduka/")
# where both passes run, pages and the whole tables of the API on PostgreSQL alone, and
# the rules of money, which those walks go through on SQLite.
RULES = (
    "account_changed",
    "better_knowledge",
    "c2b",
    "cash",
    "code_box",
    "corrected_money",
    "denied_claims",
    "disputes",
    "drawer",
    "inbox",
    "inquiries",
    "lost_answers",
    "matching",
    "money_taken_back",
    "money_used_before",
    "prompting",
    "pulling",
    "questions",
    "receipt_batches",
    "refunds",
    "reversed_guesses",
    "sale_in_the_way",
    "settlement",
    "statement_import",
    "statement_turns",
)
ON_POSTGRESQL_ALONE = (
    *(f"tests/payments/test_{name}.py" for name in RULES),
    "tests/admin/",
    "tests/contract/test_api.py",
    "tests/contract/test_config.py",
    "tests/contract/test_errors.py",
    "tests/contract/test_hooks",  # and those by hand and of the list
    "tests/contract/test_overtaking.py",
    "tests/contract/test_schema.py",
    "tests/isolation/",
    "tests/pages/",
)
BOTH_PASSES_RUN = bool(os.environ.get("BOTH_PASSES_RUN"))
ALLOWED_SKIPS: tuple[str, ...] = ()
IN_CI = os.environ.get("CI", "").lower() in {"1", "true", "yes"}

_skips: list[tuple[str, str]] = []


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]):
    left_out = set()
    if settings.ON_POSTGRESQL:
        left_out |= {"sqlite", "once"}
    else:
        left_out |= {"postgres", "race"}
    if not settings.REDIS_URL:
        left_out.add("redis")
    if "browser" not in (config.option.markexpr or ""):
        left_out.add("browser")
    if settings.ON_POSTGRESQL:
        folders = ON_SQLITE_ALONE
    else:
        folders = ON_POSTGRESQL_ALONE if BOTH_PASSES_RUN else ()
    kept, dropped = [], []
    for item in items:
        is_here_alone = any(map(item.get_closest_marker, ("sqlite", "once")))
        is_elsewhere = item.nodeid.startswith(folders) or (
            settings.ON_POSTGRESQL
            and not may_ask_a_server(item)
            and not item.nodeid.startswith(ON_POSTGRESQL_ALONE)
        )
        is_out = (is_elsewhere and not is_here_alone) or any(
            map(item.get_closest_marker, left_out)
        )
        (dropped if is_out else kept).append(item)
    if dropped:
        config.hook.pytest_deselected(items=dropped)
        items[:] = kept


def may_ask_a_server(item: pytest.Item) -> bool:
    """Whether a test's database, or Redis, may make a difference to it."""
    markers = ("django_db", "postgres", "race", "redis")
    fixtures = {"db", "transactional_db"} & set(getattr(item, "fixturenames", ()))
    return (
        bool(fixtures)
        or any(map(item.get_closest_marker, markers))
        or item.nodeid.startswith(MAY_ASK_REDIS)
    )


def pytest_runtest_logreport(report: pytest.TestReport):
    if report.skipped and isinstance(report.longrepr, tuple):
        reason = report.longrepr[2].removeprefix("Skipped: ")
        if reason not in ALLOWED_SKIPS:
            _skips.append((report.nodeid, reason))


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int):
    if IN_CI and _skips and exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter):
    if IN_CI and _skips:
        terminalreporter.section("skips that CI does not allow")
        for nodeid, reason in _skips:
            terminalreporter.line(f"{nodeid}: {reason}")


@pytest.fixture(autouse=True)
def _one_window(monkeypatch: pytest.MonkeyPatch):
    """The window of a rate, a minute of the clock, never ends in the middle of a test."""
    moment = time.time()
    monkeypatch.setattr(ratelimit, "time", SimpleNamespace(time=lambda: moment))


@pytest.fixture(autouse=True)
def _clean_counters(request: pytest.FixtureRequest):
    """Counters in Redis outlive a transaction's rollback; those in the database not."""
    if settings.REDIS_URL and request.node.get_closest_marker("django_db"):
        cache.clear()
