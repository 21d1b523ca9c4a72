"""All settings, from the environment. Every variable is listed in .env.example.

The file `.env` beside manage.py is read if it is there; the real environment wins.
A wrong value stops the start with one sentence (smartduka/env.py).
"""

from __future__ import annotations

import os
import re
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from csp.constants import NONE, SELF

from smartduka import env
from smartduka.env import refuse, timing


BASE_DIR = Path(__file__).resolve().parent.parent
VAR_DIR = BASE_DIR / "var"
env.read_env_file(Path(os.environ.get("SMARTDUKA_ENV_FILE") or BASE_DIR / ".env"))


def derive(key: bytes, purpose: str) -> bytes:
    """Return 32 bytes made from the key for one purpose (HKDF-SHA256)."""
    return HKDF(hashes.SHA256(), 32, b"smartduka", purpose.encode()).derive(key)


# What this process is: `worker` changes how it holds database connections.
PROCESS = env.choice("SMARTDUKA_PROCESS", "web", ("web", "worker"))

# --- What kind of installation ---------------------------------------------------

MPESA_ENV = env.choice("MPESA_ENV", "simulator", ("simulator", "sandbox", "production"))
IN_PRODUCTION = MPESA_ENV == "production"
DEBUG = env.boolean("DEBUG", default=False)
if DEBUG and IN_PRODUCTION:
    raise refuse("DEBUG must be off with MPESA_ENV=production.")

# --- Keys ------------------------------------------------------------------------

# The first key seals, all of them open: that is how keys are rotated.
MPESA_ENCRYPTION_KEYS = env.hex_keys("MPESA_ENCRYPTION_KEYS")
if not MPESA_ENCRYPTION_KEYS:
    raise refuse(
        "MPESA_ENCRYPTION_KEYS is missing: it seals the M-Pesa secrets in the "
        f"database; {env.NEW_KEY_HINT}."
    )
HOOK_SIGNING_KEYS = env.hex_keys("HOOK_SIGNING_KEYS")
# Removing an old key above would then end the addresses that it signed.
HOOK_KEYS_ARE_DERIVED = not HOOK_SIGNING_KEYS
if HOOK_KEYS_ARE_DERIVED:
    HOOK_SIGNING_KEYS = [derive(key, "hook tokens") for key in MPESA_ENCRYPTION_KEYS]

SECRET_KEY = env.text("SECRET_KEY") or ""
if not SECRET_KEY:
    if not DEBUG:
        raise refuse(f"SECRET_KEY is missing; {env.NEW_KEY_HINT}.")
    # Derived, not random: web and worker must sign tasks with the same key.
    SECRET_KEY = derive(MPESA_ENCRYPTION_KEYS[0], "secret key while DEBUG").hex()
if len(SECRET_KEY) < 50 or len(set(SECRET_KEY)) < 5:
    raise refuse(f"SECRET_KEY is too short or too simple; {env.NEW_KEY_HINT}.")

# --- Hosts, proxies, HTTPS -------------------------------------------------------

LOCAL_HOSTS = ("localhost", "127.0.0.1", "[::1]")
ALLOWED_HOSTS = env.words("ALLOWED_HOSTS", LOCAL_HOSTS)
CSRF_TRUSTED_ORIGINS = env.words(
    "CSRF_TRUSTED_ORIGINS", ("http://localhost:8000", "http://127.0.0.1:8000")
)
if wrong := [o for o in CSRF_TRUSTED_ORIGINS if not re.match(r"https?://[^/]+$", o)]:
    raise refuse(
        "CSRF_TRUSTED_ORIGINS must hold origins such as https://duka.example.co.ke; "
        f"{wrong[0]!r} is none."
    )

# How many proxies of ours stand before the server. Their forwarded headers are
# believed by smartduka/lib/net.py and by nothing else; the server's own proxy flags
# stay off, because Daphne believes the left-most address, which anyone can write.
TRUSTED_PROXY_COUNT = env.integer("TRUSTED_PROXY_COUNT", 0)
# No client can send this META key: what a client sends is called HTTP_....
SECURE_PROXY_SSL_HEADER = ("smartduka.scheme", "https")

SECURE_SSL_REDIRECT = env.boolean("SECURE_SSL_REDIRECT", default=IN_PRODUCTION)
# Probes come from inside, without TLS.
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$"]
SECURE_HSTS_SECONDS = 365 * 24 * 3600 if SECURE_SSL_REDIRECT else 0
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"

SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = SECURE_SSL_REDIRECT
SESSION_COOKIE_AGE = 12 * 3600  # one long working day
CSRF_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT
CSRF_FAILURE_VIEW = "smartduka.pages.csrf_failure"

# Every script, style and font is a file of ours; nothing is inline, nothing foreign.
# connect-src 'self' covers the WebSocket of the same origin.
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "media-src": [SELF],
        "manifest-src": [SELF],
        "connect-src": [SELF],
        "form-action": [SELF],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
    }
}

SILENCED_SYSTEM_CHECKS = [
    # Both speak of the owner's whole domain, which is not ours to decide.
    "security.W005",  # HSTS for all subdomains
    "security.W021",  # the browsers' HSTS preload list
]

# --- Applications ----------------------------------------------------------------

INSTALLED_APPS = [
    "daphne",  # first: it replaces runserver
    # Simple: it registers nothing by itself. What is shown is in admin_site.py.
    "django.contrib.admin.apps.SimpleAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "channels",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_q",
    "django_htmx",
    "csp",
    "smartduka.apps.SmartdukaConfig",
    "shops.apps.ShopsConfig",
    "orders.apps.OrdersConfig",
    "payments.apps.PaymentsConfig",
]

MIDDLEWARE = [
    "smartduka.lib.headers.HeadersMiddleware",  # outermost: no answer goes past it
    # Outside of what uses it: it gives the connection back when all others are done.
    "smartduka.lib.transactions.GiveBackMiddleware",
    "smartduka.lib.net.ForwardedMiddleware",  # first of the rest: the others ask for the scheme
    "smartduka.lib.caller.CallerMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "shops.sessions.SessionRules",
    "payments.acts.ActsMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
]

ROOT_URLCONF = "smartduka.urls"
ASGI_APPLICATION = "smartduka.asgi.application"
WSGI_APPLICATION = "smartduka.wsgi.application"
APPEND_SLASH = False  # paths have no trailing slash, and a POST cannot be redirected

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.template.context_processors.i18n",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "smartduka.context.installation",
            ],
        },
    },
]

STATIC_URL = "/static/"
STATIC_ROOT = VAR_DIR / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
# Pages work without a collectstatic step: files are served from where they live.
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = DEBUG

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
LOGIN_URL = "/login"
# Whoever can send money back or change settings must then have a second step; who set
# one up is asked for it everywhere. Decision 0023.
REQUIRE_SECOND_FACTOR = env.boolean("REQUIRE_SECOND_FACTOR", default=IN_PRODUCTION)
# Wrong passwords or codes in a row: of a name from one address, from anywhere; then
# the name must wait.
SIGN_IN_TRIES = timing("SIGN_IN_TRIES", 8)
SIGN_IN_TRIES_ANYWHERE = timing("SIGN_IN_TRIES_ANYWHERE", 40)
SIGN_IN_WAIT_S = timing("SIGN_IN_WAIT_S", 15 * 60)
# Without a touch a session ends: a till is left alone, and others pass by.
SESSION_IDLE_S = timing("SESSION_IDLE_S", 3600)
# How long the link of an invitation is good.
INVITATION_S = timing("INVITATION_S", 3 * 24 * 3600)
LOGIN_REDIRECT_URL = "/"

LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("sw", "Kiswahili")]
LOCALE_PATHS = [BASE_DIR / "locale"]
USE_I18N = True
USE_TZ = True  # stored in UTC; Nairobi is for display
TIME_ZONE = "Africa/Nairobi"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- Database --------------------------------------------------------------------

_database = env.database("DATABASE_URL", VAR_DIR / "smartduka.sqlite3", BASE_DIR)
# ATOMIC_REQUESTS stays off: a view that talks to M-Pesa commits its intent before
# the call and the outcome after it, and must hold no transaction between.
_database["ATOMIC_REQUESTS"] = False
_database["CONN_MAX_AGE"] = 0
if _database["ENGINE"] == "django.db.backends.sqlite3":
    _database["OPTIONS"] = {
        # Writers queue up for the lock instead of failing half-way; FULL because a
        # committed shilling must survive a power cut.
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;",
    }
    Path(_database["NAME"]).parent.mkdir(parents=True, exist_ok=True)
elif PROCESS == "worker":
    # The cluster forks: a pool would be shared by the children and break. Each
    # child keeps one connection, looked after by django-q2.
    _database["CONN_MAX_AGE"] = 60
    _database["CONN_HEALTH_CHECKS"] = True
else:
    # Under ASGI each request has its own thread, so a kept connection would leak:
    # a pool with named sizes, given back at the end of each request and before
    # each call to M-Pesa.
    _database["OPTIONS"]["pool"] = {
        "min_size": env.integer("DATABASE_POOL_MIN", 2),
        "max_size": env.integer("DATABASE_POOL_MAX", 20, least=1),
        "timeout": 10,
    }
DATABASES = {"default": _database}
ON_POSTGRESQL = _database["ENGINE"].endswith("postgresql")

# --- Redis, or what takes its place ----------------------------------------------

REDIS_URL = env.text("REDIS_URL")
if REDIS_URL and urlsplit(REDIS_URL).scheme not in {"redis", "rediss", "unix"}:
    raise refuse("REDIS_URL must look like redis://127.0.0.1:6379/0.")

_layer: dict[str, Any]
if REDIS_URL:
    _layer = {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [REDIS_URL], "prefix": "smartduka"},
    }
elif ON_POSTGRESQL:
    _layer = {"BACKEND": "smartduka.lib.layers.PostgresChannelLayer"}
else:
    _layer = {"BACKEND": "smartduka.lib.layers.LocalChannelLayer"}
CHANNEL_LAYERS = {"default": _layer}
# Where it does not, a socket looks at the database by itself.
CHANNEL_LAYER_CROSSES_PROCESSES = bool(REDIS_URL) or ON_POSTGRESQL

if REDIS_URL:
    CACHES: dict[str, dict[str, Any]] = {
        "default": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": REDIS_URL,
            "KEY_PREFIX": "smartduka",
            # A Redis that hangs must not hang a sale.
            "OPTIONS": {"socket_connect_timeout": 1, "socket_timeout": 1},
        }
    }
else:
    CACHES = {
        "default": {
            "BACKEND": "smartduka.lib.counters.CounterCache",
            "LOCATION": "smartduka_counter",
        },
        "process": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
    }
# django_ratelimit is used as a call and is not in INSTALLED_APPS: its checks know
# Django's own cache classes only. That both of ours count exactly is tested.
RATELIMIT_USE_CACHE = "default"

# --- Tasks (Django-Q2) -----------------------------------------------------------

# The ORM broker always: a task enqueued in a transaction exists only if it commits,
# and one whose worker died is handed out again after `retry`. The rule
# retry > timeout x (queue_limit / workers + 2) keeps a task that waits in a full
# queue from being handed out twice; queue_limit = workers makes it 3 x timeout.
_workers = env.integer("Q_WORKERS", 4, least=1)
TASK_TIMEOUT_S = timing("TASK_TIMEOUT_S", 30)
TASK_RETRY_S = timing("TASK_RETRY_S", 3 * TASK_TIMEOUT_S + 10)
if TASK_RETRY_S <= 3 * TASK_TIMEOUT_S:
    raise refuse("T_TASK_RETRY_S must be more than three times T_TASK_TIMEOUT_S.")
Q_CLUSTER = {
    "name": "smartduka",
    "orm": "default",
    "workers": _workers,
    "queue_limit": _workers,
    "timeout": TASK_TIMEOUT_S,
    "retry": TASK_RETRY_S,
    "max_attempts": 5,
    "ack_failures": False,
    "poll": 0.2,
    "bulk": 1,
    "catch_up": False,
    "save_limit": 1000,
    "label": "Tasks",
    # The cluster keeps its figures in a cache, as pickles; only Redis can hold them
    # for other processes, and nothing of ours needs them.
    "cache": "default" if REDIS_URL else "process",
}

# The watchdog: a heartbeat task must come back, or the cluster is replaced. The
# limit is above the task timeout, so a slow task is not taken for a dead cluster.
WORKER_BEAT_EVERY_S = timing("WORKER_BEAT_EVERY_S", 5.0)
WORKER_STALL_S = timing("WORKER_STALL_S", 90.0)

# --- API -------------------------------------------------------------------------

REST_FRAMEWORK = {
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_AUTHENTICATION_CLASSES": [
        # First, because it answers missing credentials with 401, a session with 403.
        "rest_framework_simplejwt.authentication.JWTAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "smartduka.lib.api.exception_handler",
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
}
SIMPLE_JWT = {
    "ACCESS_TOKEN_LIFETIME": timedelta(minutes=30),
    "REFRESH_TOKEN_LIFETIME": timedelta(hours=12),
    "SIGNING_KEY": SECRET_KEY,
    "UPDATE_LAST_LOGIN": False,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "SmartDuka",
    "DESCRIPTION": "Point of sale in which an M-Pesa shilling cannot get lost.",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "SCHEMA_PATH_PREFIX": "/api",
    "COMPONENT_SPLIT_REQUEST": True,
}

# --- M-Pesa ----------------------------------------------------------------------

# The platform's own account. With the simulator it is the one that
# payments/simulator knows, so a fresh checkout can sell at once.
_sim = MPESA_ENV == "simulator"
MPESA_BASE_URL = env.base_url(
    "MPESA_BASE_URL",
    {
        "simulator": "http://127.0.0.1:8010",
        "sandbox": "https://sandbox.safaricom.co.ke",
        "production": "https://api.safaricom.co.ke",
    }[MPESA_ENV],
)
MPESA_CONSUMER_KEY = env.text("MPESA_CONSUMER_KEY", "sim-platform-key" if _sim else "")
MPESA_CONSUMER_SECRET = env.text(
    "MPESA_CONSUMER_SECRET", "sim-platform-secret" if _sim else ""
)
MPESA_SHORTCODE = env.text("MPESA_SHORTCODE", "600100" if _sim else "")
MPESA_PARTY_B = env.text("MPESA_PARTY_B", MPESA_SHORTCODE)
MPESA_TYPE = env.choice("MPESA_TYPE", "paybill", ("paybill", "till"))
MPESA_PASSKEY = env.text(
    "MPESA_PASSKEY", "simplatformpasskey".ljust(64, "0") if _sim else ""
)
MPESA_INITIATOR_NAME = env.text("MPESA_INITIATOR_NAME", "simapi" if _sim else "")
MPESA_INITIATOR_PASSWORD = env.text(
    "MPESA_INITIATOR_PASSWORD", "SimPass123#" if _sim else ""
)

# The environment's certificate hides the initiator's password: a file (PEM or DER), or
# the PEM text. The simulator publishes its own, so there it is not needed.
MPESA_CERTIFICATE = env.certificate("MPESA_CERTIFICATE")

_account = {
    "MPESA_CONSUMER_KEY": MPESA_CONSUMER_KEY,
    "MPESA_CONSUMER_SECRET": MPESA_CONSUMER_SECRET,
    "MPESA_SHORTCODE": MPESA_SHORTCODE,
    "MPESA_PASSKEY": MPESA_PASSKEY,
}
if any(_account.values()) and not all(_account.values()):
    _missing = next(name for name, value in _account.items() if not value)
    raise refuse(f"{_missing} is missing while other parts of the account are given.")
for _name, _number in (
    ("MPESA_SHORTCODE", MPESA_SHORTCODE),
    ("MPESA_PARTY_B", MPESA_PARTY_B),
):
    if _number and not re.fullmatch(r"[0-9]{5,7}", _number):
        raise refuse(f"{_name} must be a number of 5 to 7 digits; it is {_number!r}.")

# Our public base URL: M-Pesa calls back to paths below it, and refuses a URL with
# one of these words in it.
# Source: Daraja, "Customer To Business Register URL", URL requirements.
MPESA_CALLBACK_URL = env.base_url("MPESA_CALLBACK_URL", "http://127.0.0.1:8000")
FORBIDDEN_URL_WORDS = (
    *("m-pesa", "mpesa", "safaricom", "exec", "exe", "cmd", "sql", "query"),
)
FORBIDDEN_HOST_WORDS = ("ngrok", "mockbin", "requestbin")
for _word in FORBIDDEN_URL_WORDS:
    if _word in MPESA_CALLBACK_URL.lower():
        raise refuse(
            f"MPESA_CALLBACK_URL must not contain {_word!r}: M-Pesa refuses such a URL."
        )

# Laws of environments: a test installation never reaches real money by mistake, and
# a real one settles nothing on anybody else's word.
_daraja = urlsplit(MPESA_BASE_URL)
_daraja_host = _daraja.hostname or ""
_is_safaricom = ("." + _daraja_host).endswith(".safaricom.co.ke")
# Published by Safaricom for everyone's first steps.
SANDBOX_SHORTCODE = "174379"
SANDBOX_PASSKEY = "bfb279f9aa9bdbcf158e97dd71a467cd2e0c893059b10f78e6b72ada1ed2c919"
if IN_PRODUCTION:
    if not _is_safaricom or _daraja.scheme != "https":
        raise refuse(
            "MPESA_BASE_URL must be https and at safaricom.co.ke in production."
        )
    if _daraja_host.startswith("sandbox."):
        raise refuse("MPESA_BASE_URL is the sandbox, but MPESA_ENV is production.")
    if MPESA_SHORTCODE == SANDBOX_SHORTCODE or MPESA_PASSKEY == SANDBOX_PASSKEY:
        raise refuse("MPESA_SHORTCODE or MPESA_PASSKEY is the sandbox's public one.")
    if not MPESA_CALLBACK_URL.startswith("https://"):
        raise refuse("MPESA_CALLBACK_URL must be https in production.")
    for _word in FORBIDDEN_HOST_WORDS:
        if _word in MPESA_CALLBACK_URL.lower():
            raise refuse(
                f"MPESA_CALLBACK_URL is at a {_word} host: M-Pesa blocks those."
            )
elif _is_safaricom and (_sim or not _daraja_host.startswith("sandbox.")):
    raise refuse(
        f"MPESA_BASE_URL is {MPESA_BASE_URL}, but MPESA_ENV is {MPESA_ENV}: "
        "that would move other money than intended."
    )

# Where Daraja calls back from; a signal, never the proof.
# Source: Daraja, "Getting started / go live", checked 8 Aug 2026.
MPESA_CALLBACK_IPS = env.networks(
    "MPESA_CALLBACK_IPS",
    (
        *("196.201.214.200", "196.201.214.206", "196.201.213.114"),
        *("196.201.214.207", "196.201.214.208", "196.201.213.44"),
        *("196.201.212.127", "196.201.212.138", "196.201.212.129"),
        *("196.201.212.136", "196.201.212.74", "196.201.212.69"),
    ),
)
# The sandbox calls from unlisted addresses, so there it is only logged.
MPESA_CALLBACK_IP_MODE = env.choice(
    "MPESA_CALLBACK_IP_MODE",
    {"simulator": "off", "sandbox": "log", "production": "enforce"}[MPESA_ENV],
    ("off", "log", "enforce"),
)

MPESA_MAX_AMOUNT = env.integer("MPESA_MAX_AMOUNT", 250_000, least=1)  # KES, per push
STK_RATE_PER_SHOP = env.rate("STK_RATE_PER_SHOP", "10/m")  # new pushes only
# Beside the shop's, across all shops: nobody's phone is pestered for an hour, and no
# single address asks for everybody. Tills behind one router share an address.
STK_RATE_PER_PHONE = env.rate("STK_RATE_PER_PHONE", "60/h")
STK_RATE_PER_IP = env.rate("STK_RATE_PER_IP", "120/m")

# --- Timing of payments ----------------------------------------------------------
# Each, like every other timing(), may be overridden by T_<NAME> in the environment, for
# tests and tuning.

# A push is one HTTP call. Connecting is quick or broken; an answer takes seconds,
# and giving up early only turns a good push into an unknown one.
PUSH_CONNECT_TIMEOUT_S = timing("PUSH_CONNECT_TIMEOUT_S", 3)
PUSH_READ_TIMEOUT_S = timing("PUSH_READ_TIMEOUT_S", 10)
# How long the prompt stays on the phone, as counted down on the screen.
PROMPT_S = timing("PROMPT_S", 60)
# When we stop waiting; not when we stop asking.
PAYMENT_EXPIRES_S = timing("PAYMENT_EXPIRES_S", 300)

# Gaps between our questions to Daraja about one undecided payment: the first 15 s
# after the push, then growing; two minutes for the rest of the first hour, hourly
# until the last. The jitter, a share of the gap, keeps a busy minute from asking in
# one burst.
QUESTION_GAPS_S = timing("QUESTION_GAPS_S", (15, 10, 20, 30, 60))
QUESTION_GAP_FIRST_HOUR_S = timing("QUESTION_GAP_FIRST_HOUR_S", 120)
QUESTION_GAP_LATER_S = timing("QUESTION_GAP_LATER_S", 3600)
QUESTION_JITTER = timing("QUESTION_JITTER", 0.2)
# After this only a statement or a person closes the payment.
QUESTIONS_UNTIL_S = timing("QUESTIONS_UNTIL_S", 48 * 3600)
# At most one question per payment in this time, whoever wants to know.
QUESTION_MIN_GAP_S = timing("QUESTION_MIN_GAP_S", 10)
# A question asked before another act (initiate, cancel, cash) is given up sooner:
# the cashier waits.
ASK_FIRST_LIMIT_S = timing("ASK_FIRST_LIMIT_S", 3)
# Daraja meters each app; old payments may use only this share of the budget.
QUESTIONS_PER_ACCOUNT_PER_MINUTE = timing("QUESTIONS_PER_ACCOUNT_PER_MINUTE", 120)
QUESTIONS_OLD_SHARE = timing("QUESTIONS_OLD_SHARE", 0.2)

# The sweep is the net under the questions: it hands out due ones and never asks.
SWEEP_EVERY_S = timing("SWEEP_EVERY_S", 60)
SWEEP_LIMIT = timing("SWEEP_LIMIT", 50)
# The audit chains are extended in rounds, so that no sale waits for another.
AUDIT_EVERY_S = timing("AUDIT_EVERY_S", 60)
# Refunds that M-Pesa has not decided are handed out in rounds, to be asked about.
REFUNDS_EVERY_S = timing("REFUNDS_EVERY_S", 60)
# M-Pesa's list of payments is read so often, by one reader at a time.
PULL_EVERY_S = timing("PULL_EVERY_S", 300)
PULL_LEASE_S = timing("PULL_LEASE_S", 120)
# What statements said is looked at again so often, for those of so long ago: a receipt
# that was held then may have found its money since.
STATEMENTS_EVERY_S = timing("STATEMENTS_EVERY_S", 600)
# An uploaded statement is imported in turns by one worker at a time; that of one that
# died is free after this, for no task lives longer. After a failure it waits so long,
# then a person must look.
STATEMENT_LEASE_S = timing("STATEMENT_LEASE_S", 2 * TASK_TIMEOUT_S)
STATEMENT_BACKOFF_S = timing("STATEMENT_BACKOFF_S", (5, 30, 120))
DISPUTES_REVIEWED_S = timing("DISPUTES_REVIEWED_S", 14 * 24 * 3600)
# Who does more of something than is usual is flagged, for a person to look at: so many
# of one subject in one window. A busy till fails a few prompts an hour.
SUSPICIONS_EVERY_S = timing("SUSPICIONS_EVERY_S", 300)
SUSPICION_WINDOW_S = timing("SUSPICION_WINDOW_S", 3600)
SUSPICION_FAILURES = timing("SUSPICION_FAILURES", 20)  # of one person in a shop
SUSPICION_PHONES = timing("SUSPICION_PHONES", 15)  # different ones that did not pay
SUSPICION_REFUNDS = timing("SUSPICION_REFUNDS", 5)  # asked for by one person
SUSPICION_REFUNDS_WINDOW_S = timing("SUSPICION_REFUNDS_WINDOW_S", 24 * 3600)
SUSPICION_FORGED = timing("SUSPICION_FORGED", 10)  # from one address
# Personal data (phones, names, addresses, messages, statement files) is masked after so
# many days; 0 keeps it. Money rows stay for ever. Never before M-Pesa's disputes are
# over: questions, reversals and statements need what was told.
RETENTION_DAYS = env.integer("RETENTION_DAYS", 0)
if 0 < RETENTION_DAYS < 90:
    raise refuse("RETENTION_DAYS must be 0 (keep everything), or 90 or more.")
RETENTION_EVERY_S = timing("RETENTION_EVERY_S", 3600)
RETENTION_BATCH = timing("RETENTION_BATCH", 500)  # rows in one transaction
RETENTION_ROWS = timing("RETENTION_ROWS", 5000)  # of one kind in one round
# What the workers' watchdogs hand out by the clock, once for all of them together.
PERIODIC_TASKS = {
    "payments.tasks.sweep": SWEEP_EVERY_S,
    "payments.tasks.pull": PULL_EVERY_S,
    "payments.tasks.review_statements": STATEMENTS_EVERY_S,
    "payments.tasks.sweep_statements": SWEEP_EVERY_S,
    "payments.tasks.seal_audit": AUDIT_EVERY_S,
    "payments.tasks.sweep_refunds": REFUNDS_EVERY_S,
    "payments.tasks.look_for_suspicions": SUSPICIONS_EVERY_S,
    "payments.tasks.mask_old_data": RETENTION_EVERY_S,
}

# A notice is born due this far ahead, so that a crash between storing and
# processing heals; a broken one backs off and is then parked.
NOTICE_FIRST_TRY_S = timing("NOTICE_FIRST_TRY_S", 15)
NOTICE_BACKOFF_S = timing("NOTICE_BACKOFF_S", (5, 30, 120, 600, 3600))
# Within the request that brought it; after that the retry has it.
NOTICE_PROCESS_LIMIT_S = timing("NOTICE_PROCESS_LIMIT_S", 2)
NOTICE_BODY_LIMIT = timing("NOTICE_BODY_LIMIT", 65_536)  # bytes kept of one body
REJECTED_NOTICES_KEPT = timing("REJECTED_NOTICES_KEPT", 1000)  # rows, for samples

# A twin request with the same key waits this long for the first: longer than a
# push's own read timeout, so it nearly always sees the answer.
IDEMPOTENCY_WAIT_S = timing("IDEMPOTENCY_WAIT_S", 12)

# A success by callback is confirmed by one question: at once from this amount (KES),
# else in the sweep, this long after.
CONFIRM_AT_ONCE_FROM = timing("CONFIRM_AT_ONCE_FROM", 5000)
CONFIRM_GAP_S = timing("CONFIRM_GAP_S", 60)

# How long after its push a payment by M-Pesa may still be the one that a receipt
# without a reference is for, and how often a held receipt is looked at again.
RECEIPT_WINDOW_S = timing("RECEIPT_WINDOW_S", 2 * 3600)
RECEIPT_LOOK_S = timing("RECEIPT_LOOK_S", (15, 30, 60))
RECEIPT_LOOK_LATER_S = timing("RECEIPT_LOOK_LATER_S", 600)

# Transaction Status: the same receipt is asked about at most once in this time.
STATUS_MIN_GAP_S = timing("STATUS_MIN_GAP_S", 30)
# What only the C2B address told of: the first gap between our questions about it; each
# further one is as long as it has waited by then, until QUESTIONS_UNTIL_S.
CLAIM_QUESTION_GAP_S = timing("CLAIM_QUESTION_GAP_S", 60)
# A reversal whose result did not come: the gaps between our questions about it; the
# last one repeats until QUESTIONS_UNTIL_S.
REFUND_QUESTION_GAPS_S = timing("REFUND_QUESTION_GAPS_S", (60, 120, 600, 3600))

# Per phone, across all shops: while a push is undecided; for the same amount
# (M-Pesa's own rule, code 17); after a certain failure, for a queue is waiting.
PHONE_GUARD_S = timing("PHONE_GUARD_S", 60)
PHONE_GUARD_SAME_AMOUNT_S = timing("PHONE_GUARD_SAME_AMOUNT_S", 120)
PHONE_GUARD_AFTER_FAILURE_S = timing("PHONE_GUARD_AFTER_FAILURE_S", 5)
# What an undecided payment asked for counts as spoken for until this long after it.
SPOKEN_FOR_S = timing("SPOKEN_FOR_S", 120)
MAX_RETRIES = timing("MAX_RETRIES", 3)  # attempts after the first

# Sockets: how often one looks at the database where the layer does not reach it, how
# often membership is checked again, how long a ticket opens a socket.
SOCKET_LOOK_S = timing("SOCKET_LOOK_S", 3)
MEMBERSHIP_RECHECK_S = timing("MEMBERSHIP_RECHECK_S", 60)
WS_TICKET_S = timing("WS_TICKET_S", 30)
# Events for screens leave from a thread of their own; True sends them in the caller's
# thread, which tests that look at the layer want.
REALTIME_INLINE = False

# --- Errors ----------------------------------------------------------------------

DEFAULT_EXCEPTION_REPORTER_FILTER = "smartduka.lib.redaction.ErrorPages"

# --- Logging ---------------------------------------------------------------------

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {
            "()": "smartduka.lib.redaction.LineFormatter",
            "format": "%(asctime)s %(levelname)s %(name)s: %(message)s",
        }
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": "INFO"},
    "loggers": {
        # Replaces Django's own handlers: everything goes through the root's one.
        "django": {"handlers": [], "level": "INFO", "propagate": True},
        "django.server": {"handlers": [], "level": "INFO", "propagate": True},
        # A line for every task is noise; a failed one is an error.
        "django-q": {"handlers": [], "level": "WARNING", "propagate": True},
        "daphne": {"level": "WARNING"},
    },
}
