"""What every test stands on: the passes with their services, and the cast."""

pytest_plugins = [
    "tests.support.passes",
    "tests.support.emptying",
    "tests.support.cast",
]
