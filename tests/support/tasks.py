"""Tasks for tests of the worker: they leave lines in a file."""

import os
import time
from pathlib import Path


def note(file: str, text: str) -> None:
    """Add a line: the text, the process and the time."""
    with Path(file).open("a") as lines:
        lines.write(f"{text} {os.getpid()} {time.time()}\n")


def note_and_linger(file: str, text: str, seconds: int) -> None:
    note(file, f"{text}-begins")
    time.sleep(seconds)
    note(file, f"{text}-ends")
