import ast
import os
import re
import runpy
from pathlib import Path
from unittest import mock

import pytest
from django.core.exceptions import ImproperlyConfigured

from smartduka.lib import certificates
from tests.payments.gateways.test_security_credential import PEM


ROOT = Path(__file__).resolve().parent.parent.parent
KEY, OTHER_KEY = "ab" * 32, "cd" * 32
LEAST = {"SECRET_KEY": "0123456789" * 5, "MPESA_ENCRYPTION_KEYS": KEY}
PRODUCTION = LEAST | {
    "MPESA_ENV": "production",
    "MPESA_CALLBACK_URL": "https://duka.example.co.ke",
}
ACCOUNT = {
    "MPESA_CONSUMER_KEY": "key",
    "MPESA_CONSUMER_SECRET": "secret",
    "MPESA_SHORTCODE": "555444",
    "MPESA_PASSKEY": "p" * 64,
}
PUBLIC_PASSKEY = "bfb279f9aa9bdbcf158e97dd71a467cd2e0c893059b10f78e6b72ada1ed2c919"


def load(env_file=os.devnull, **values):
    environment = {"SMARTDUKA_ENV_FILE": str(env_file)} | values
    with mock.patch.dict(os.environ, environment, clear=True):
        return runpy.run_path(str(ROOT / "smartduka" / "settings.py"))


def test_defaults_are_the_embedded_simulator():
    settings = load(**LEAST)

    assert settings["DEBUG"] is False
    assert settings["MPESA_ENV"] == "simulator"
    assert settings["MPESA_BASE_URL"] == "http://127.0.0.1:8010"
    assert settings["MPESA_CONSUMER_KEY"] == "sim-platform-key"
    assert settings["MPESA_CONSUMER_SECRET"] == "sim-platform-secret"
    assert settings["MPESA_SHORTCODE"] == settings["MPESA_PARTY_B"] == "600100"
    assert settings["MPESA_PASSKEY"] == "simplatformpasskey" + "0" * 46
    assert settings["MPESA_INITIATOR_NAME"] == "simapi"
    assert settings["MPESA_INITIATOR_PASSWORD"] == "SimPass123#"
    assert settings["MPESA_CALLBACK_IP_MODE"] == "off"
    assert settings["MPESA_MAX_AMOUNT"] == 250_000
    assert settings["STK_RATE_PER_SHOP"] == "10/m"
    assert settings["SECURE_SSL_REDIRECT"] is False
    database = settings["DATABASES"]["default"]
    assert database["NAME"] == ROOT / "var" / "smartduka.sqlite3"
    assert database["OPTIONS"]["transaction_mode"] == "IMMEDIATE"
    assert settings["CHANNEL_LAYER_CROSSES_PROCESSES"] is False


def test_production_is_strict():
    settings = load(**PRODUCTION, **ACCOUNT)

    assert settings["MPESA_BASE_URL"] == "https://api.safaricom.co.ke"
    assert settings["MPESA_CALLBACK_IP_MODE"] == "enforce"
    assert settings["SECURE_SSL_REDIRECT"] is True
    assert settings["SESSION_COOKIE_SECURE"] is True
    assert settings["MPESA_PARTY_B"] == "555444"


def test_sandbox_logs_addresses_and_has_no_account_of_its_own():
    settings = load(**LEAST, MPESA_ENV="sandbox")

    assert settings["MPESA_BASE_URL"] == "https://sandbox.safaricom.co.ke"
    assert settings["MPESA_CALLBACK_IP_MODE"] == "log"
    assert settings["MPESA_CONSUMER_KEY"] == settings["MPESA_SHORTCODE"] == ""


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"MPESA_ENV": "live"}, "MPESA_ENV must be one of simulator"),
        ({"MPESA_ENV": "Production"}, "MPESA_ENV must be one of"),
        ({"DEBUG": "maybe"}, "DEBUG must be True or False"),
        ({"SECURE_SSL_REDIRECT": "2"}, "SECURE_SSL_REDIRECT must be True or False"),
        ({"MPESA_MAX_AMOUNT": "lots"}, "MPESA_MAX_AMOUNT must be a whole number"),
        ({"MPESA_MAX_AMOUNT": "0"}, "MPESA_MAX_AMOUNT must be a whole number from 1"),
        ({"MPESA_MAX_AMOUNT": "1.5"}, "MPESA_MAX_AMOUNT must be a whole number"),
        ({"TRUSTED_PROXY_COUNT": "-1"}, "TRUSTED_PROXY_COUNT must be a whole number"),
        ({"Q_WORKERS": "0"}, "Q_WORKERS must be a whole number from 1"),
        ({"STK_RATE_PER_SHOP": "ten"}, "STK_RATE_PER_SHOP must look like 10/m"),
        ({"STK_RATE_PER_SHOP": "0/m"}, "STK_RATE_PER_SHOP must look like 10/m"),
        ({"DATABASE_URL": "mysql://a/b"}, "DATABASE_URL must be sqlite"),
        ({"DATABASE_URL": "postgresql://a"}, "DATABASE_URL must be sqlite"),
        ({"DATABASE_URL": "postgresql://a:b@c:port/d"}, "DATABASE_URL is not a URL"),
        ({"REDIS_URL": "localhost:6379"}, "REDIS_URL must look like redis://"),
        ({"MPESA_CALLBACK_IPS": "1.2.3.4,here"}, "'here' is neither"),
        ({"MPESA_CALLBACK_IPS": "1.2.3.4/8"}, "'1.2.3.4/8' is neither"),
        ({"MPESA_CALLBACK_IP_MODE": "on"}, "MPESA_CALLBACK_IP_MODE must be one of"),
        ({"MPESA_CALLBACK_URL": "duka.example.co.ke"}, "MPESA_CALLBACK_URL must be a"),
        ({"MPESA_CALLBACK_URL": "ftp://duka.co.ke"}, "MPESA_CALLBACK_URL must be a"),
        ({"MPESA_CALLBACK_URL": "http://d.ke/?a=1"}, "MPESA_CALLBACK_URL must be a"),
        ({"MPESA_CALLBACK_URL": "http://d.ke:99999"}, "MPESA_CALLBACK_URL must be a"),
        ({"MPESA_BASE_URL": "nowhere"}, "MPESA_BASE_URL must be a plain http"),
        ({"MPESA_TYPE": "pochi"}, "MPESA_TYPE must be one of paybill, till"),
        ({"MPESA_SHORTCODE": "abc"}, "MPESA_SHORTCODE must be a number"),
        ({"MPESA_PARTY_B": "12"}, "MPESA_PARTY_B must be a number"),
        ({"MPESA_CERTIFICATE": "/nowhere.cer"}, "MPESA_CERTIFICATE must be a cert"),
        ({"MPESA_CERTIFICATE": str(ROOT)}, "no such certificate file"),
        ({"MPESA_CERTIFICATE": str(ROOT / "manage.py")}, "this is no certificate"),
        ({"MPESA_CERTIFICATE": "-----BEGIN CERTIFICATE-----"}, "no certificate."),
        ({"CSRF_TRUSTED_ORIGINS": "duka.co.ke"}, "CSRF_TRUSTED_ORIGINS must hold"),
        ({"SECRET_KEY": ""}, "SECRET_KEY is missing"),
        ({"SECRET_KEY": "short"}, "SECRET_KEY is too short"),
        ({"MPESA_ENCRYPTION_KEYS": ""}, "MPESA_ENCRYPTION_KEYS is missing"),
        ({"MPESA_ENCRYPTION_KEYS": "ab" * 31}, "MPESA_ENCRYPTION_KEYS must hold keys"),
        ({"MPESA_ENCRYPTION_KEYS": "zz" * 32}, "MPESA_ENCRYPTION_KEYS must hold keys"),
        ({"MPESA_ENCRYPTION_KEYS": f"{KEY},{KEY}"}, "holds the same key twice"),
        ({"HOOK_SIGNING_KEYS": "1234"}, "HOOK_SIGNING_KEYS must hold keys"),
        ({"T_PROMPT_S": "soon"}, "T_PROMPT_S must look like 60"),
        ({"T_NOTICE_BACKOFF_S": "5,later"}, "T_NOTICE_BACKOFF_S must look like"),
        ({"T_TASK_RETRY_S": "60"}, "T_TASK_RETRY_S must be more than three times"),
        ({"SMARTDUKA_PROCESS": "cook"}, "SMARTDUKA_PROCESS must be one of"),
        (
            {"MPESA_ENV": "sandbox", "MPESA_CONSUMER_KEY": "key"},
            "MPESA_CONSUMER_SECRET is missing while other parts",
        ),
        (
            {"MPESA_BASE_URL": "https://api.safaricom.co.ke"},
            "would move other money than intended",
        ),
        (
            {"MPESA_ENV": "sandbox", "MPESA_BASE_URL": "https://api.safaricom.co.ke"},
            "would move other money than intended",
        ),
    ],
    ids=lambda value: next(iter(value.items())) if isinstance(value, dict) else None,
)
def test_nonsense_stops_the_start_with_a_sentence(values, sentence):
    with pytest.raises(ImproperlyConfigured, match=re.escape(sentence)) as caught:
        load(**(LEAST | values))

    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"DEBUG": "True"}, "DEBUG must be off"),
        ({"MPESA_BASE_URL": "https://example.com"}, "safaricom.co.ke in production"),
        ({"MPESA_BASE_URL": "https://safaricom.co.ke.evil.com"}, "in production"),
        ({"MPESA_BASE_URL": "https://evilsafaricom.co.ke"}, "in production"),
        ({"MPESA_BASE_URL": "http://api.safaricom.co.ke"}, "must be https"),
        ({"MPESA_BASE_URL": "http://127.0.0.1:8010"}, "in production"),
        ({"MPESA_BASE_URL": "https://sandbox.safaricom.co.ke"}, "is the sandbox"),
        ({"MPESA_SHORTCODE": "174379"}, "is the sandbox's public one"),
        ({"MPESA_PASSKEY": PUBLIC_PASSKEY}, "is the sandbox's public one"),
        ({"MPESA_CALLBACK_URL": "http://duka.co.ke"}, "must be https in production"),
        ({"MPESA_CALLBACK_URL": "https://a.ngrok.io"}, "ngrok host"),
        ({"MPESA_CALLBACK_URL": ""}, "MPESA_CALLBACK_URL must be https"),
    ],
    ids=lambda value: next(iter(value.items())) if isinstance(value, dict) else None,
)
def test_production_refuses(values, sentence):
    with pytest.raises(ImproperlyConfigured, match=re.escape(sentence)):
        load(**(PRODUCTION | ACCOUNT | values))


@pytest.mark.parametrize(
    "word", ["MPesa", "m-pesa", "Safaricom", "exe", "EXEC", "cmd", "sql", "query"]
)
def test_callback_url_with_a_forbidden_word_is_refused(word):
    with pytest.raises(ImproperlyConfigured, match="MPESA_CALLBACK_URL must not"):
        load(**LEAST, MPESA_CALLBACK_URL=f"http://duka.example.co.ke/{word}")


@pytest.mark.parametrize("form", ["file", "text", "one line"])
def test_certificate_is_a_file_or_its_text(tmp_path, form):
    file = tmp_path / "production.cer"
    file.write_bytes(PEM)
    text = PEM.decode()
    value = {"file": str(file), "text": text, "one line": text.replace("\n", "\\n")}

    settings = load(**PRODUCTION, **ACCOUNT, MPESA_CERTIFICATE=value[form])

    assert certificates.read(settings["MPESA_CERTIFICATE"]).strip() == PEM.strip()


def test_no_certificate_is_needed():
    assert load(**LEAST)["MPESA_CERTIFICATE"] == ""


def test_debug_makes_a_secret_key_that_web_and_worker_share():
    one = load(MPESA_ENCRYPTION_KEYS=KEY, DEBUG="1")
    same = load(MPESA_ENCRYPTION_KEYS=KEY, DEBUG="1", SMARTDUKA_PROCESS="worker")
    other = load(MPESA_ENCRYPTION_KEYS=OTHER_KEY, DEBUG="1")

    assert one["SECRET_KEY"] == same["SECRET_KEY"] != other["SECRET_KEY"]


def test_hook_keys_are_derived_for_each_sealing_key_and_differ_from_it():
    settings = load(**LEAST | {"MPESA_ENCRYPTION_KEYS": f"{KEY},{OTHER_KEY}"})

    hooks, sealing = settings["HOOK_SIGNING_KEYS"], settings["MPESA_ENCRYPTION_KEYS"]
    assert [len(key) for key in hooks] == [32, 32]
    assert not set(hooks) & set(sealing)


def test_hook_keys_given_are_used():
    settings = load(**LEAST, HOOK_SIGNING_KEYS=OTHER_KEY)

    assert settings["HOOK_SIGNING_KEYS"] == [bytes.fromhex(OTHER_KEY)]


def test_postgresql_has_a_sized_pool_on_the_web():
    settings = load(**LEAST, DATABASE_URL="postgresql://me:p%40ss@db:5433/duka")

    database = settings["DATABASES"]["default"]
    assert (database["USER"], database["PASSWORD"]) == ("me", "p@ss")
    assert (database["HOST"], database["PORT"], database["NAME"]) == (
        "db",
        "5433",
        "duka",
    )
    assert database["OPTIONS"]["pool"] == {"min_size": 2, "max_size": 20, "timeout": 10}
    assert database["CONN_MAX_AGE"] == 0
    assert settings["CHANNEL_LAYER_CROSSES_PROCESSES"] is True
    layer = settings["CHANNEL_LAYERS"]["default"]["BACKEND"]
    assert layer == "smartduka.lib.layers.PostgresChannelLayer"


def test_worker_keeps_connections_and_has_no_pool():
    settings = load(
        **LEAST,
        DATABASE_URL="postgresql://u@/duka?host=/run/pg&sslmode=disable",
        SMARTDUKA_PROCESS="worker",
    )

    database = settings["DATABASES"]["default"]
    assert database["OPTIONS"] == {"sslmode": "disable"}
    assert database["HOST"] == "/run/pg"
    assert database["CONN_MAX_AGE"] == 60


def test_redis_serves_layer_and_counters_but_never_the_tasks():
    settings = load(**LEAST, REDIS_URL="redis://127.0.0.1:6379/0")

    layer = settings["CHANNEL_LAYERS"]["default"]["BACKEND"]
    assert layer == "channels_redis.pubsub.RedisPubSubChannelLayer"
    assert "RedisCache" in settings["CACHES"]["default"]["BACKEND"]
    assert settings["CHANNEL_LAYER_CROSSES_PROCESSES"] is True
    assert settings["Q_CLUSTER"]["orm"] == "default"
    assert "redis" not in settings["Q_CLUSTER"]


def test_timings_are_the_contract_and_can_be_overridden():
    settings = load(**LEAST)
    fast = load(**LEAST, T_PAYMENT_EXPIRES_S="20", T_QUESTION_GAPS_S="1,2")

    assert settings["PUSH_CONNECT_TIMEOUT_S"] == 3
    assert settings["PUSH_READ_TIMEOUT_S"] == 10
    assert settings["PROMPT_S"] == 60
    assert settings["PAYMENT_EXPIRES_S"] == 300
    assert settings["QUESTION_GAPS_S"] == (15, 10, 20, 30, 60)
    assert settings["NOTICE_BACKOFF_S"] == (5, 30, 120, 600, 3600)
    assert settings["QUESTIONS_UNTIL_S"] == 48 * 3600
    assert fast["PAYMENT_EXPIRES_S"] == 20
    assert fast["QUESTION_GAPS_S"] == (1, 2)


def test_env_file_is_read_and_the_environment_wins(tmp_path):
    file = tmp_path / "env"
    file.write_text(
        f"# keys\n\nMPESA_ENCRYPTION_KEYS={KEY}\n"
        f"export SECRET_KEY='{LEAST['SECRET_KEY']}'\n"
        "MPESA_MAX_AMOUNT=70000\nQ_WORKERS=7\n"
    )

    settings = load(file, MPESA_MAX_AMOUNT="500")

    assert settings["MPESA_MAX_AMOUNT"] == 500
    assert settings["Q_CLUSTER"]["workers"] == 7


def test_env_file_with_a_strange_line_is_refused(tmp_path):
    file = tmp_path / "env"
    file.write_text("SECRET_KEY\n")

    with pytest.raises(ImproperlyConfigured, match="line 1: expected KEY=VALUE"):
        load(file)


def test_no_content_security_policy_exception():
    policy = load(**LEAST)["CONTENT_SECURITY_POLICY"]["DIRECTIVES"]

    assert policy["default-src"] == ["'none'"]
    assert policy["script-src"] == policy["style-src"] == ["'self'"]
    assert not [
        value for values in policy.values() for value in values if "unsafe" in value
    ]


def test_every_variable_is_in_the_example_file():
    tree = ast.parse((ROOT / "smartduka" / "settings.py").read_text())
    read = {
        call.args[0].value
        for call in ast.walk(tree)
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and isinstance(call.func.value, ast.Name)
        and call.func.value.id == "env"
        and call.args
        and isinstance(call.args[0], ast.Constant)
    }
    example = (ROOT / ".env.example").read_text()
    listed = set(re.findall(r"^([A-Z_0-9]+)=", example, re.MULTILINE))

    assert len(read) > 25
    assert read - {"SMARTDUKA_PROCESS"} == listed


def test_example_file_is_a_start_but_for_the_keys():
    example = (ROOT / ".env.example").read_text()
    values = dict(re.findall(r"^([A-Z_0-9]+)=(.*)$", example, re.MULTILINE))

    settings = load(**(values | LEAST))

    assert settings["ALLOWED_HOSTS"] == load(**LEAST)["ALLOWED_HOSTS"]
    assert settings["CSRF_TRUSTED_ORIGINS"] == load(**LEAST)["CSRF_TRUSTED_ORIGINS"]
