"""What every test stands on; the passes and their services are in support/passes.py."""

pytest_plugins = ["tests.support.passes"]
