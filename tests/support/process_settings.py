"""The installation's own settings, but passwords are hashed in no time.

For the processes on the running test's database: dozens of people sign in there, and
none of these tests is about it. The browser's tests sign in with the real hashes.
"""

from smartduka.settings import *  # noqa: F403 -- nothing else is changed


PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.MD5PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
