"""What the database itself refuses, told by the name of the rule that was broken."""

import pytest
from django.apps import apps
from django.db import IntegrityError, connection, transaction


def refuses(name, statement):
    """Say whether the statement broke the constraint of that name."""
    with pytest.raises(IntegrityError) as refusal, transaction.atomic():
        statement()
    text = str(refusal.value)
    return name in text or (connection.vendor == "sqlite" and _columns(name) in text)


def never_becomes(row, name, /, **changes):
    """Assert that the constraint forbids these changes of a row, and none is made.

    The database took the row as it is, so nothing else in it can be the reason.
    """
    rows = type(row).objects.filter(pk=row.pk)
    before = rows.values().get()

    assert refuses(name, lambda: rows.update(**changes))

    assert rows.values().get() == before


def never_shares(row, other, *columns, name=None):
    """Assert that a row cannot have what another one has in these columns.

    Without the name of a constraint it is one column that is unique by itself.
    """
    if name is None:
        name = _unique_column(type(row), *columns)
    values = {column: getattr(other, column) for column in columns}
    never_becomes(row, name, **values)


def _columns(name):
    """What SQLite says in place of the name of a unique constraint."""
    found = {
        rule.name: ", ".join(_of_table(model, *rule.fields))
        for model in apps.get_models()
        for rule in model._meta.constraints
        if getattr(rule, "fields", ())
    }
    return f"UNIQUE constraint failed: {found[name]}" if name in found else name


def _unique_column(model, column):
    """How the database calls the rule that a column is unique by itself."""
    if connection.vendor == "sqlite":
        [found] = _of_table(model, column)
        return f"UNIQUE constraint failed: {found}"
    # How PostgreSQL and Django name it; what follows depends on who did.
    return f'"{model._meta.db_table}_{model._meta.get_field(column).column}_'


def _of_table(model, *fields):
    meta = model._meta
    return [f"{meta.db_table}.{meta.get_field(name).column}" for name in fields]
