"""The layers, the single writers and the strict pages: enforced, not hoped for."""

from pathlib import Path

import pytest
from django.apps import apps

from tests.support import architecture as rules


ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("smartduka", *rules.APPS)


def sources(*patterns):
    for package in (*PACKAGES, "templates"):
        for pattern in patterns:
            for path in sorted((ROOT / package).rglob(pattern)):
                if "migrations" not in path.parts:
                    yield path.relative_to(ROOT).as_posix(), path.read_text()


@pytest.mark.parametrize("rule", rules.PYTHON_RULES, ids=lambda rule: rule.__name__)
def test_project_keeps_the_rule(rule):
    files = dict(sources("*.py"))

    assert len(files) > 40
    assert [
        fault for path, source in files.items() for fault in rule(path, source)
    ] == []


def test_templates_have_nothing_inline():
    files = dict(sources("*.html"))

    assert len(files) > 5
    assert [
        f for path, text in files.items() for f in rules.template_faults(path, text)
    ] == []


def test_every_constraint_is_tried_by_a_test():
    names = [
        constraint.name
        for app in rules.APPS
        for model in apps.get_app_config(app).get_models()
        for constraint in model._meta.constraints
    ]
    tests = [path.read_text() for path in (ROOT / "tests").rglob("test_*.py")]

    assert len(names) > 60
    assert rules.untried_rules(names, tests) == []


@pytest.mark.parametrize(
    "listed",
    sorted(
        rules.STATUS_WRITERS
        | rules.STOCK_WRITERS
        | rules.TIME_MODULES
        | (rules.JOINERS - {"smartduka/admin_site.py"})
    ),
)
def test_every_exception_is_still_needed(listed):
    assert (ROOT / listed).is_file()


@pytest.mark.parametrize(
    ("path", "source", "fault"),
    [
        ("shops/x.py", "from orders import checkout", "imports orders"),
        ("shops/x.py", "import payments.models", "imports payments.models"),
        ("orders/x.py", "from payments.models import Payment", "imports payments"),
        ("orders/x.py", "def f():\n    from payments import cash", "imports payments"),
        ("smartduka/lib/x.py", "from shops.models import Shop", "imports shops"),
        ("smartduka/lib/x.py", "from smartduka import models", "smartduka.models"),
        ("smartduka/health.py", "import orders", "imports orders"),
        ("payments/x.py", "from smartduka.urls import api", "smartduka.urls"),
        ("payments/x.py", "from smartduka import routing", "smartduka.routing"),
        ("payments/x.py", "from smartduka import supervisor", "smartduka.supervisor"),
        ("smartduka/health.py", "from smartduka import urls", "joins the apps"),
        ("payments/x.py", "from payments.simulator import bank", "the simulator"),
        ("smartduka/urls.py", "from payments.simulator import urls", "the simulator"),
        ("payments/simulator/x.py", "from payments import models", "payments.models"),
        ("payments/simulator/x.py", "from smartduka.lib import phone", "smartduka"),
        ("payments/x.py", "from . import models", "relative import"),
        ("payments/x.py", "from .models import Payment", "relative import"),
    ],
)
def test_forbidden_import_is_found(path, source, fault):
    assert any(fault in found for found in rules.import_faults(path, source))


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("payments/x.py", "from orders import lifecycle\nfrom shops import stock"),
        ("payments/x.py", "from smartduka.lib import money, realtime"),
        ("orders/x.py", "from shops.models import Product\nimport json"),
        (
            "smartduka/urls.py",
            "from payments import hooks\nfrom smartduka import pages",
        ),
        ("smartduka/supervisor.py", "from smartduka import heartbeat"),
        ("payments/simulator/x.py", "from payments.simulator import bank"),
        (
            "payments/management/commands/worker.py",
            "from smartduka import supervisor",
        ),
    ],
)
def test_allowed_import_is_let_through(path, source):
    assert rules.import_faults(path, source) == []


@pytest.mark.parametrize(
    "source",
    [
        "payment.status = PaymentStatus.FAILED",
        "old, payment.status = payment.status, new",
        "payment.status: str = new",
        "Payment.objects.filter(pk=1).update(status=PaymentStatus.FAILED)",
        "Payment.objects.update(expires_at=now, status=new)",
        "Payment.objects.bulk_update(rows, ['status'])",
        "setattr(payment, 'status', new)",
        "if payment.status == 'completed': pass",
        "x = payment.status in ('created', 'pending')",
        "Payment.objects.filter(status='pending')",
        "Payment.objects.exclude(status__in=['pending'])",
    ],
)
def test_status_written_or_spelled_elsewhere_is_found(source):
    assert rules.status_faults("payments/settlement.py", source)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("payments/lifecycle.py", "payment.status = new"),
        ("payments/settlement.py", "if payment.status == PaymentStatus.FAILED: pass"),
        ("payments/views.py", "return Response(body, status=201)"),
        ("payments/settlement.py", "x = order.status"),
        ("payments/simulator/bank.py", "prompt.status = 'paid'"),
    ],
)
def test_status_read_or_written_at_home_is_let_through(path, source):
    assert rules.status_faults(path, source) == []


@pytest.mark.parametrize(
    "source",
    [
        "product.stock -= 1",
        "product.stock = 5",
        "Product.objects.update(stock=F('stock') - 1)",
        "Product.objects.bulk_update(products, ['price', 'stock'])",
    ],
)
def test_stock_written_elsewhere_is_found(source):
    assert rules.stock_faults("orders/checkout.py", source)
    assert rules.stock_faults("shops/stock.py", source) == []


@pytest.mark.parametrize("source", ["x = float(amount)", "x = round(total, 2)"])
def test_float_near_money_is_found(source):
    assert rules.float_faults("payments/settlement.py", source)
    assert rules.float_faults("smartduka/lib/money.py", source)
    assert rules.float_faults("smartduka/lib/counters.py", source) == []


@pytest.mark.parametrize(
    ("source", "is_fault"),
    [
        ("import x  # noqa", True),
        ("import x  # noqa: PLC0415", True),
        ("import x  # noqa: PLC0415 -- circular otherwise", False),
        ("f()  # type: ignore[arg-type]", True),
        ("f()  # type: ignore[arg-type]  # the stubs are wrong", False),
        ("import x  # a comment", False),
    ],
)
def test_switched_off_check_needs_a_reason(source, is_fault):
    assert bool(rules.excuse_faults("payments/x.py", source)) is is_fault


@pytest.mark.parametrize(
    ("markup", "is_fault"),
    [
        ("<script>alert(1)</script>", True),
        ('<script type="module">x()</script>', True),
        ('<script type="module" src="{% static \'till.js\' %}"></script>', False),
        ("<STYLE>p { color: red }</STYLE>", True),
        ('<p style="color: red">', True),
        ('<p class="x"\n  style="color: red">', True),
        ('<button onclick="pay()">', True),
        ('<form hx-post="/x" hx-on:click="pay()">', True),
        ('<a href="javascript:pay()">', True),
        ('<a href="/x" class="button" data-style="x">one</a>', False),
        ("<p>{% if a > 1 %}on = {{ style }}{% endif %}</p>", False),
        ("{# <script> is not allowed here #}", False),
    ],
)
def test_inline_code_is_found(markup, is_fault):
    assert bool(rules.template_faults("templates/x.html", markup)) is is_fault


@pytest.mark.parametrize(
    ("test", "is_fault"),
    [
        ('never_becomes(row, "price_is_round", price=1)', False),
        ('never_becomes(row, "price_is_round_here", price=1)', True),
        ("# price_is_round is tried elsewhere", True),
        ("def test_price_is_round(): pass", True),
    ],
)
def test_constraint_without_a_test_is_found(test, is_fault):
    assert bool(rules.untried_rules(["price_is_round"], ["pass", test])) is is_fault
