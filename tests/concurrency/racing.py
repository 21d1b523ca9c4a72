"""How a race is made to happen, every time, and what keeps it from happening.

Each guard has a pair of tests: with the guard switched off the race happens, with
it the race does not. Two threads are made to meet just after they read what they
will act upon. Where a lock keeps the second one out, the first loses patience after
a moment and goes on alone.
"""

import contextlib
import os
import threading

import pytest
from django.db import connection
from django.db.models import QuerySet


JOIN_LIMIT_S = 40.0
# How often a crowd is let loose: `make test-race` does it more often than the suite.
ROUNDS = int(os.environ.get("RACE_ROUNDS", "5"))
# Every module of races carries these.
MARKS = [
    pytest.mark.postgres,
    pytest.mark.race,
    pytest.mark.django_db(transaction=True),
]


def together(*jobs):
    """Run the jobs in threads that start at once; return values or exceptions."""
    results = [None] * len(jobs)
    start = threading.Barrier(len(jobs))

    def run(place, job):
        try:
            start.wait(JOIN_LIMIT_S)
            results[place] = job()
        except Exception as error:  # noqa: BLE001 -- it is the result
            results[place] = error
        finally:
            connection.close()

    threads = [
        threading.Thread(target=run, args=(place, job), daemon=True)
        for place, job in enumerate(jobs)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(JOIN_LIMIT_S)
        assert not thread.is_alive(), "a job hangs"
    return results


def kinds(results):
    """Return the names of what came out, sorted: "ok" or the exception's name."""
    return sorted(
        type(one).__name__ if isinstance(one, Exception) else "ok" for one in results
    )


class Rendezvous:
    """A place in the code where threads wait for each other, once."""

    def __init__(self, monkeypatch, patience_s, parties):
        self._monkeypatch = monkeypatch
        self._patience_s = patience_s
        self._barrier = threading.Barrier(parties)
        self._is_over = False

    def meet(self):
        if self._is_over:
            return
        # Broken: somebody is kept out.
        with contextlib.suppress(threading.BrokenBarrierError):
            self._barrier.wait(self._patience_s)
        self._is_over = True

    def after(self, module, name):
        """Let them meet when this function has returned."""
        original = getattr(module, name)

        def wrapped(*args, **kwargs):
            result = original(*args, **kwargs)
            self.meet()
            return result

        self._monkeypatch.setattr(module, name, wrapped)

    def before(self, module, name):
        """Let them meet when this function is about to be called."""
        original = getattr(module, name)

        def wrapped(*args, **kwargs):
            self.meet()
            return original(*args, **kwargs)

        self._monkeypatch.setattr(module, name, wrapped)


class Careless:
    """A model whose conditional updates forget their condition."""

    def __init__(self, model):
        self._model = model
        self.objects = self

    def filter(self, *conditions, **named):
        """Keep only what says which row it is."""
        kept = ("pk", "pk__in", "phone")
        row = {name: value for name, value in named.items() if name in kept}
        return self._model.objects.filter(**row)

    def __getattr__(self, name):
        return getattr(self._model.objects, name)

    def __call__(self, *args, **kwargs):
        return self._model(*args, **kwargs)


class Guards:
    """Switches guards off for one test. What it took from the database comes back."""

    def __init__(self, monkeypatch):
        self._monkeypatch = monkeypatch
        self._unlocked = set()
        self._restored = []
        original = QuerySet.select_for_update

        def select_for_update(rows, *args, **kwargs):
            if rows.model in self._unlocked:
                return rows.all()
            return original(rows, *args, **kwargs)

        monkeypatch.setattr(QuerySet, "select_for_update", select_for_update)

    def lock(self, *locked_models):
        """No row of these models is locked any more."""
        self._unlocked.update(locked_models)

    def condition(self, module, name):
        """A conditional update in this module forgets its condition."""
        model = getattr(module, name)
        self._monkeypatch.setattr(module, name, Careless(model))

    def constraint(self, model, *names):
        """The database forgets these constraints, by name or by column."""
        for name in names:
            table = model._meta.db_table
            columns = {field.name: field.column for field in model._meta.fields}
            if name in columns:
                name = _unique_of_column(table, columns[name])
            drop, create = _statements(table, name)
            _execute(drop)
            self._restored.append((table, create))

    def restore(self):
        for table, create in reversed(self._restored):
            # What the test did may break the law that comes back.
            _execute(f'TRUNCATE "{table}" CASCADE')
            _execute(create)


def _unique_of_column(table, column):
    rows = _execute(
        "SELECT c.conname FROM pg_constraint c JOIN pg_attribute a"
        " ON a.attrelid = c.conrelid AND a.attnum = ANY (c.conkey)"
        " WHERE c.conrelid = %s::regclass AND c.contype = 'u'"
        " AND a.attname = %s AND cardinality(c.conkey) = 1",
        table,
        column,
    )
    return rows[0][0]


def _statements(table, name):
    """Return what drops a constraint or unique index, and what makes it again."""
    rows = _execute(
        "SELECT pg_get_constraintdef(oid) FROM pg_constraint"
        " WHERE conname = %s AND conrelid = %s::regclass",
        name,
        table,
    )
    if rows:
        drop = f'ALTER TABLE "{table}" DROP CONSTRAINT "{name}"'
        return drop, f'ALTER TABLE "{table}" ADD CONSTRAINT "{name}" {rows[0][0]}'
    rows = _execute("SELECT indexdef FROM pg_indexes WHERE indexname = %s", name)
    return f'DROP INDEX "{name}"', rows[0][0]


def _execute(statement, *values):
    with connection.cursor() as cursor:
        cursor.execute(statement, values or None)
        return cursor.fetchall() if cursor.description else []
