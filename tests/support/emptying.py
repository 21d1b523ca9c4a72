"""After a test that commits, only the tables that it filled are emptied.

Django's own way truncates every table there is, and makes all content types and
permissions anew: on PostgreSQL that takes longer than most of these tests.
"""

import pytest
from django.db import connections, transaction
from django.test import TransactionTestCase


# Made by the migrations, and no test's to change.
KEPT = {"django_content_type", "auth_permission"}


@pytest.fixture(autouse=True, scope="session")
def _empty_only_what_is_full():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransactionTestCase, "_fixture_teardown", _empty)
        yield


def _empty(case: TransactionTestCase) -> None:
    for alias in case._databases_names(include_mirrors=False):
        connection = connections[alias]
        names = connection.introspection.django_table_names(
            only_existing=True, include_views=False
        )
        tables = [connection.ops.quote_name(one) for one in sorted({*names} - {*KEPT})]
        # Foreign keys are looked at when the transaction ends: any order will do.
        with transaction.atomic(using=alias), connection.cursor() as cursor:
            for table in _full(cursor, tables):
                cursor.execute(f"DELETE FROM {table}")


def _full(cursor, tables: list[str]) -> list[str]:
    """The tables that have a row, by one question."""
    cursor.execute(
        "SELECT " + ", ".join(f"EXISTS(SELECT 1 FROM {table})" for table in tables)
    )
    return [
        table for table, is_full in zip(tables, cursor.fetchone(), strict=True)
        if is_full
    ]  # fmt: skip
