"""Every sentence of the till is there in Swahili, and the compiled file is current."""

import ast
import gettext
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from django.urls import get_resolver
from django.utils import translation
from django.utils.translation.template import templatize

from payments.gateways import result_codes
from shops.words import BY_CODE, sentence
from smartduka.lib.errors import DomainError
from tests.factories import OrderFactory


ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "locale" / "sw" / "LC_MESSAGES"
CALL = re.compile(r"""\b(n?gettext)\((u?(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"))""")
LAYERS = ("shops", "orders", "payments")


def sentences_of_templates():
    for path in sorted((ROOT / "templates").rglob("*.html")):
        if "admin" in path.relative_to(ROOT).parts:
            continue
        for _, literal in CALL.findall(templatize(path.read_text(), origin=path.name)):
            yield ast.literal_eval(literal), path.name


def calls(*names):
    for layer in LAYERS:
        for path in sorted((ROOT / layer).rglob("*.py")):
            if "simulator" in path.parts or "migrations" in path.parts:
                continue
            for node in ast.walk(ast.parse(path.read_text())):
                called = isinstance(node, ast.Call) and node.func
                name = getattr(called, "id", getattr(called, "attr", ""))
                if called and node.args and (not names or name in names):
                    first = node.args[0]
                    if isinstance(first, ast.Constant) and isinstance(first.value, str):
                        yield name, first.value, path.name


def sentences_of_code():
    for _, text, name in calls("_", "gettext", "gettext_noop"):
        yield text, name


@pytest.fixture(scope="module")
def catalog():
    with (FOLDER / "django.mo").open("rb") as compiled:
        return gettext.GNUTranslations(compiled)


def has(catalog, text):
    return any(
        catalog._catalog.get(key)
        for key in (text, (text, 0))
        if key in catalog._catalog
    )


def test_every_sentence_of_the_pages_is_translated(catalog):
    used = [*sentences_of_templates(), *sentences_of_code()]

    assert len(used) > 200
    assert [(text, where) for text, where in used if not has(catalog, text)] == []


def test_placeholders_survive_translation(catalog):
    for original, translated in catalog._catalog.items():
        text = original[0] if isinstance(original, tuple) else original
        if text:
            wanted = re.findall(r"%\(\w+\)s|#|@", text)
            assert re.findall(r"%\(\w+\)s|#|@", translated) == wanted or sorted(
                re.findall(r"%\(\w+\)s|#|@", translated)
            ) == sorted(wanted), text


def test_compiled_catalog_says_what_the_written_one_says(catalog):
    written = (FOLDER / "django.po").read_text()
    pairs = re.findall(
        r'^msgid ((?:".*"\n)+)msgstr ((?:".*"\n?)+)', written, re.MULTILINE
    )
    assert len(pairs) > 150

    def joined(lines):
        return "".join(ast.literal_eval(line) for line in lines.split("\n") if line)

    for original, translated in pairs[1:]:
        assert catalog.gettext(joined(original)) == joined(translated)


def loaded_by_the_addresses():
    """The modules that some page or call can reach, whatever other tests load."""
    listed = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, django; django.setup(); import smartduka.urls;"
            "print(*sys.modules)",
        ],
        env=os.environ | {"DJANGO_SETTINGS_MODULE": "tests.settings"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return set(listed.stdout.split())


def test_every_refusal_of_the_domain_can_be_said_in_swahili():
    assert get_resolver().url_patterns  # every view is loaded, and so is its domain
    reachable = loaded_by_the_addresses()
    kinds = {
        name: kind
        for kind in _all_kinds(DomainError)
        if (name := kind.__name__) and kind.__module__ in reachable
    }
    assert {kind.__module__.split(".")[0] for kind in kinds.values()} == {
        "smartduka",
        *LAYERS,
    }
    raised = [_made(kinds[name], text) for name, text, _ in calls(*kinds)]
    raised += [_made(kind) for kind in kinds.values() if kind.code not in BY_CODE]

    assert len(raised) > 20
    with translation.override("sw"):
        unsaid = {error.message for error in raised if sentence(error) == error.message}
    assert unsaid == set()


def test_every_result_code_has_words_in_both_languages():
    for code, row in result_codes.TABLE.items():
        for text in (
            row.words.reason("en"),
            row.words.remedy("en"),
            row.words.reason("sw"),
            row.words.remedy("sw"),
        ):
            assert text.endswith("."), code
        assert row.words.reason("en") != row.words.reason("sw"), code


@pytest.mark.parametrize("method", ["mpesa", "cash"])
def test_wrong_amount_is_told_in_swahili(bob, method):
    order = OrderFactory(shop=bob.shop, total=250)
    bob.client.post("/till/language", {"language": "sw", "next": "/till/"})

    answer = bob.client.post(
        f"/till/pay/{order.pk}/{method}", {"phone": "0712345678", "amount": "12.50"}
    )

    assert answer.status_code == 400
    assert "Andika kiasi kwa shilingi kamili, kama 500." in answer.content.decode()


@pytest.mark.parametrize(
    ("items", "told"),
    [
        (5, "Kikapu hiki hakikusomeka. Fungua ukurasa upya."),
        ([("1", 1.5)], "Idadi ni namba kamili ya vipande."),
        ([("1", 10_001)], "Mauzo haya yana bidhaa nyingi mno. Yagawanye."),
        ([(str(n), 1) for n in range(301)], "Mauzo haya yana bidhaa nyingi mno."),
    ],
    ids=["no cart", "half a piece", "too many pieces", "too many products"],
)
def test_cart_that_makes_no_sale_is_told_in_swahili(bob, items, told):
    bob.client.post("/till/language", {"language": "sw", "next": "/till/"})
    if isinstance(items, list):
        items = [{"productId": key, "quantity": quantity} for key, quantity in items]

    answer = bob.post("/till/sale", {"items": items})

    assert answer.status_code == 400
    assert answer.json()["message"].startswith(told)


def test_page_is_shown_in_the_chosen_language(bob):
    bob.client.post("/till/language", {"language": "sw", "next": "/till/"})

    page = bob.get("/till/").content.decode()

    assert '<html lang="sw">' in page
    assert "Tafuta au skani" in page
    assert "Search or scan" not in page


def _made(kind, *texts):
    """A refusal as it is raised; of a kind that needs more facts, its own sentence."""
    try:
        return kind(*texts)
    except TypeError:
        error = kind.__new__(kind)
        DomainError.__init__(error)
        return error


def _all_kinds(kind):
    for child in kind.__subclasses__():
        yield child
        yield from _all_kinds(child)
