"""Write .env once, with fresh keys, for a developer's own machine.

An .env that is there stays as it is. The file is readable by its owner only.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path


ROOT = Path(__file__).resolve().parent.parent
CONTENTS = """\
# Written once by `make run`. Everything that can stand here is in .env.example.
DEBUG=True
SECRET_KEY={secret_key}
MPESA_ENCRYPTION_KEYS={sealing_key}
HOOK_SIGNING_KEYS={signing_key}
MPESA_ENV=simulator
"""


def main() -> None:
    contents = CONTENTS.format(
        secret_key=secrets.token_hex(32),
        sealing_key=secrets.token_hex(32),
        signing_key=secrets.token_hex(32),
    )
    try:
        file = os.open(ROOT / ".env", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return
    with os.fdopen(file, "w", encoding="utf-8") as env_file:
        env_file.write(contents)
    print("Wrote .env with fresh keys.")


if __name__ == "__main__":
    main()
