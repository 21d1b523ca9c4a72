"""The rules of the house, as functions from a source file to what is wrong in it.

`tests/test_architecture.py` applies them to the project, and to small sources that
break each rule.
"""

import ast
import re
from pathlib import PurePosixPath


APPS = ("shops", "orders", "payments")
# A package may import itself and what stands to its left.
LAYERS = ("smartduka.lib", *APPS)
# They join the apps: addresses, sockets, and the pages around them.
JOINERS = {
    f"smartduka/{n}.py" for n in ("urls", "routing", "asgi", "admin_site", "pages")
}
# Parts of the platform that a command of an app may start.
FOR_COMMANDS = {"smartduka.supervisor"}

STATUS_WRITERS = {"orders/lifecycle.py", "payments/lifecycle.py"}
STOCK_WRITERS = {"shops/stock.py"}
# Seconds and shares of them, where a float is what the libraries take.
TIME_MODULES = {"payments/schedule.py", "payments/gateways/tokens.py"}

INLINE = {
    "an inline script": re.compile(r"<script(?![^>]*\bsrc=)[^>]*>", re.IGNORECASE),
    "an inline style": re.compile(r"<style\b", re.IGNORECASE),
    "a style attribute": re.compile(r"<[^>]*\sstyle\s*=", re.IGNORECASE),
    "an event attribute": re.compile(
        r"<[^>]*\s(?:on[a-z]+|hx-on[:a-z-]*)\s*=", re.IGNORECASE
    ),
    "a javascript: address": re.compile(r"javascript:", re.IGNORECASE),
}


def is_simulator(path: str) -> bool:
    return path.startswith("payments/simulator/")


def module_of(path: str) -> str:
    name = ".".join(PurePosixPath(path).with_suffix("").parts)
    return name.removesuffix(".__init__")


def imported_modules(tree: ast.AST):
    """Yield (line, module) for every import, `from a import b` as a and as a.b."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.lineno, node.module
            for alias in node.names:
                yield node.lineno, f"{node.module}.{alias.name}"


def is_within(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


def import_faults(path: str, source: str) -> list[str]:
    """Imports that run against the order of the layers, or are relative."""
    tree = ast.parse(source)
    faults = [
        f"{path}:{node.lineno}: relative import"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    seen = set()
    for line, imported in imported_modules(tree):
        if fault := import_fault(path, imported):
            seen.add((line, fault))
    return faults + [f"{path}:{line}: {fault}" for line, fault in sorted(seen)]


def import_fault(path: str, imported: str) -> str | None:
    ours = (*APPS, "smartduka")
    simulator = "payments.simulator"
    if is_simulator(path):
        is_own = is_within(imported, simulator) or imported == "payments"
        if not is_own and any(is_within(imported, package) for package in ours):
            return f"the simulator imports {imported}"
        return None
    if is_within(imported, simulator):
        return f"imports the simulator: {imported}"
    if path in JOINERS or not any(is_within(imported, package) for package in ours):
        return None
    home = module_of(path)
    if home.startswith("smartduka.lib"):
        allowed = ("smartduka.lib",)
    elif is_within(home, "smartduka"):
        allowed = ("smartduka",)
    else:
        app = home.split(".")[0]
        allowed = LAYERS[: LAYERS.index(app) + 1]
    # `from smartduka import x` names the package itself on the way to x.
    if imported == "smartduka" or any(is_within(imported, one) for one in allowed):
        is_joiner = imported.replace(".", "/") + ".py" in JOINERS
        return f"imports {imported}, which joins the apps" if is_joiner else None
    if "/management/commands/" in path and imported in FOR_COMMANDS:
        return None
    return f"imports {imported}, which is not below it"


def attributes_set(tree: ast.AST, name: str):
    """Yield the lines that set an attribute of this name, in any way we know."""
    for node in ast.walk(tree):
        targets = []
        if isinstance(node, ast.Assign):
            targets = node.targets
        elif isinstance(node, ast.AugAssign | ast.AnnAssign):
            targets = [node.target]
        for target in targets:
            for part in ast.walk(target):
                is_attribute = isinstance(part, ast.Attribute) and part.attr == name
                if is_attribute and isinstance(part.ctx, ast.Store):
                    yield part.lineno
        if isinstance(node, ast.Call) and sets_by_call(node, name):
            yield node.lineno


def sets_by_call(call: ast.Call, name: str) -> bool:
    """Say whether it is update(name=…), bulk_update(…, ["name"]) or setattr."""
    called = call.func.attr if isinstance(call.func, ast.Attribute) else ""
    if isinstance(call.func, ast.Name):
        called = call.func.id
    constants = {
        part.value for arg in call.args for part in ast.walk(arg)
        if isinstance(part, ast.Constant)
    }  # fmt: skip
    if called in {"update", "aupdate"}:
        return any(keyword.arg == name for keyword in call.keywords)
    if called in {"bulk_update", "abulk_update", "setattr"}:
        return name in constants
    return False


def status_faults(path: str, source: str) -> list[str]:
    """Statuses written outside the two lifecycles, or spelled as text."""
    if is_simulator(path) or not path.startswith(APPS):
        return []
    tree = ast.parse(source)
    faults = []
    if path not in STATUS_WRITERS:
        faults += [
            f"{path}:{n}: writes a status" for n in attributes_set(tree, "status")
        ]
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            is_status = any(
                isinstance(s, ast.Attribute) and s.attr == "status" for s in sides
            )
            if is_status and any(is_text(side) for side in sides):
                faults.append(f"{path}:{node.lineno}: compares a status with text")
        elif isinstance(node, ast.keyword) and (
            node.arg in {"status", "status__in"} and is_text(node.value)
        ):
            faults.append(f"{path}:{node.value.lineno}: gives a status as text")
    return faults


def is_text(node: ast.AST) -> bool:
    if isinstance(node, ast.Tuple | ast.List | ast.Set):
        return any(is_text(element) for element in node.elts)
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def stock_faults(path: str, source: str) -> list[str]:
    """Stock levels written outside shops/stock.py."""
    if path in STOCK_WRITERS or is_simulator(path) or not path.startswith(APPS):
        return []
    lines = attributes_set(ast.parse(source), "stock")
    return [f"{path}:{line}: writes a stock level" for line in lines]


def float_faults(path: str, source: str) -> list[str]:
    """Floats and roundings where money is handled: the apps and lib/money.py."""
    handles_money = path.startswith(APPS) or path == "smartduka/lib/money.py"
    if not handles_money or is_simulator(path) or path in TIME_MODULES:
        return []
    return [
        f"{path}:{node.lineno}: calls {node.func.id}()"
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in {"float", "round"}
    ]


def excuse_faults(path: str, source: str) -> list[str]:
    """Checks switched off for a line without a reason beside it."""
    switch = re.compile(r"#\s*(?:noqa\b(?!.* -- \w)|type: ignore\b(?!.*\]\s+#\s*\w))")
    return [
        f"{path}:{number}: a check is switched off without a reason"
        for number, line in enumerate(source.splitlines(), 1)
        if switch.search(line)
    ]


def template_faults(path: str, source: str) -> list[str]:
    """What a strict Content-Security-Policy would block."""
    # Comments are for readers, and tags may hold quotes and angle brackets.
    plain = re.sub(r"{#.*?#}|<!--.*?-->|{%.*?%}|{{.*?}}", "", source, flags=re.DOTALL)
    return [
        f"{path}: {name}" for name, pattern in INLINE.items() if pattern.search(plain)
    ]


def untried_rules(names: list[str], tests: list[str]) -> list[str]:
    """Constraints that no test names as a text of its own: gone, nobody would know."""
    return [name for name in names if not any(f'"{name}"' in test for test in tests)]


PYTHON_RULES = (
    import_faults,
    status_faults,
    stock_faults,
    float_faults,
    excuse_faults,
)
