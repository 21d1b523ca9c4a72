"""The evidence of a payment as a PDF, for whoever decides a dispute.

Drawn with the fonts that every PDF reader has, so it holds the letters of Western
Europe; any other is drawn as a question mark, and the JSON has it as it was.
"""

from __future__ import annotations

import io
import re
from datetime import datetime
from functools import partial
from typing import Any
from xml.sax.saxutils import escape

from reportlab.lib import colors
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import (
    Paragraph,
    SimpleDocTemplate,
    Spacer,
    Table,
    TableStyle,
)

from payments.evidence import Evidence
from payments.evidence_rows import Entry, Fact
from smartduka.lib import clock
from smartduka.lib.money import format_kes


MARGIN = 18 * mm
BESIDE = 34 * mm
# The page's frame keeps 6 points free on each side.
COLUMNS = (BESIDE, A4[0] - 2 * MARGIN - 12 - BESIDE)
QUIET, LINE = colors.HexColor("#5f5a52"), colors.HexColor("#d9d5cc")
TEXT = ParagraphStyle("text", fontName="Helvetica", fontSize=9, leading=12)
SMALL = ParagraphStyle("small", TEXT, fontSize=8, leading=10.5, textColor=QUIET)
STRONG = ParagraphStyle("strong", TEXT, fontName="Helvetica-Bold")
TITLE = ParagraphStyle("title", STRONG, fontSize=16, leading=20)
HEADING = ParagraphStyle("heading", STRONG, fontSize=11, leading=16, spaceBefore=10)
WORDS = ParagraphStyle(
    "words", TEXT, fontName="Courier", fontSize=7, leading=9, wordWrap="CJK",
    leftIndent=BESIDE,
)  # fmt: skip
COMMANDS = (
    ("VALIGN", (0, 0), (-1, -1), "TOP"),
    ("LEFTPADDING", (0, 0), (-1, -1), 0),
    ("RIGHTPADDING", (0, 0), (-1, -1), 6),
    ("TOPPADDING", (0, 0), (-1, -1), 2),
    ("BOTTOMPADDING", (0, 0), (-1, -1), 2),
)
PLAIN = TableStyle(COMMANDS)
RULED = TableStyle([*COMMANDS, ("LINEABOVE", (0, 0), (-1, 0), 0.5, LINE)])
# What no font draws; a line break is kept.
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f]")


def drawn(evidence: Evidence) -> bytes:
    """Return the PDF's bytes."""
    file = io.BytesIO()
    name = f"Evidence of payment {evidence.payment.pk}"
    pages = SimpleDocTemplate(
        file,
        pagesize=A4,
        leftMargin=MARGIN,
        rightMargin=MARGIN,
        topMargin=MARGIN,
        bottomMargin=MARGIN,
        title=name,
        author="SmartDuka",
        subject=_letters(
            f"{evidence.shop.name}, sale #{evidence.payment.order.number}"
        ),
    )
    foot = partial(_foot, name)
    pages.build(_story(evidence), onFirstPage=foot, onLaterPages=foot)
    return file.getvalue()


def _story(evidence: Evidence) -> list[Any]:
    payment = evidence.payment
    made = f"Made {_moment(evidence.made_at)} (Nairobi) by {evidence.made_by}"
    head = f"{format_kes(payment.amount)} for sale #{payment.order.number}"
    story: list[Any] = [
        _text("Evidence of a payment", SMALL),
        _text(head, TITLE),
        _text(f"{evidence.reason} {evidence.remedy}", TEXT),
        _text(f"{evidence.shop.name}. {made}. All times are of Nairobi.", SMALL),
        _text("What is known", HEADING),
        _facts(evidence.facts),
        _text("What happened", HEADING),
    ]
    for entry in evidence.entries:
        story += _entry(entry)
    story.append(_text("What this does not hold", HEADING))
    story += [_text(f"- {one}", TEXT) for one in evidence.not_held]
    return story


def _entry(entry: Entry) -> list[Any]:
    """Draw one entry: its head and facts stay together, its words may break."""
    told = [_text(entry.what, STRONG)]
    by = f", by {entry.by}" if entry.by else ""
    told.append(_text(f"{entry.kind.value}{by}", SMALL))
    told += [_named(fact) for fact in entry.facts]
    if entry.seal:
        told.append(_text(f"Sealed in the audit chain: {entry.seal}", SMALL))
    head = Table([[_text(_moment(entry.at), SMALL), told]], COLUMNS, style=RULED)
    words = [_text(entry.words, WORDS)] if entry.words else []
    return [head, *words, Spacer(1, 4)]


def _facts(facts: tuple[Fact, ...]) -> Table:
    rows = [[_text(fact.name, SMALL), _text(fact.value, TEXT)] for fact in facts]
    return Table(rows, COLUMNS, style=PLAIN)


def _named(fact: Fact) -> Paragraph:
    name, value = (escape(_letters(text)) for text in (fact.name, fact.value))
    return Paragraph(f'<font color="#5f5a52">{name}:</font> {value}', TEXT)


def _text(text: str, style: ParagraphStyle) -> Paragraph:
    return Paragraph(escape(_letters(text)).replace("\n", "<br/>"), style)


def _letters(text: str) -> str:
    """Return the text in letters that the fonts have."""
    seen = CONTROL.sub(" ", text).encode("cp1252", errors="replace")
    return seen.decode("cp1252")


def _moment(at: datetime) -> str:
    return f"{at.astimezone(clock.NAIROBI):%Y-%m-%d %H:%M:%S}"


def _foot(name: str, canvas: Canvas, pages: Any) -> None:
    canvas.saveState()
    canvas.setFont("Helvetica", 8)
    canvas.setFillColor(QUIET)
    canvas.drawString(MARGIN, 10 * mm, name)
    canvas.drawRightString(A4[0] - MARGIN, 10 * mm, f"Page {pages.page}")
    canvas.restoreState()
