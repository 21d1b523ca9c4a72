"""The project's own settings, read from an environment that tests know.

No developer's .env is read. DATABASE_URL and REDIS_URL are taken from the outside:
they choose between the SQLite and the PostgreSQL pass (scripts/test.py).
"""

import os
from pathlib import Path


os.environ |= {
    "SMARTDUKA_ENV_FILE": os.devnull,
    "SECRET_KEY": "tests only " * 6,
    "MPESA_ENCRYPTION_KEYS": "11" * 32 + "," + "22" * 32,
    "MPESA_ENV": "simulator",
    "DEBUG": "False",
    "ALLOWED_HOSTS": "testserver,localhost,127.0.0.1",
}

from smartduka.settings import *  # noqa: F403 -- the environment comes first
from smartduka.settings import DATABASES, ON_POSTGRESQL, STATIC_ROOT


# Fast and worthless hashes: hundreds of tests make users.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
# Messages go to the layer before the call returns, so that a test can look.
REALTIME_INLINE = True
# WhiteNoise warns where collectstatic was never run, and warnings are errors here.
STATIC_ROOT.mkdir(parents=True, exist_ok=True)
# Each test client has middleware of its own: it looks for files when they are asked
# for, and not for all of them at first.
WHITENOISE_AUTOREFRESH = True

if not ON_POSTGRESQL:
    # A file, not memory: threads of a test see each other as processes would.
    DATABASES["default"]["TEST"] = {
        "NAME": os.environ.get("TEST_SQLITE_FILE")
        or str(Path(__file__).parent.parent / "var" / f"test-{os.getpid()}.sqlite3")
    }
    DATABASES["default"]["OPTIONS"]["init_command"] = (
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;"
    )
