"""A Sphinx extension: the formulas of the EPUB as MathML, which readers set without JavaScript.

MathJax translates them, the one that sets them on the web, in a headless Chromium. Bold, blackboard and script letters
become the signs that Unicode has for them: the browsers inside many readers know no other way to write them.
"""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from docutils import nodes
from playwright.sync_api import Page, sync_playwright
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util.math import get_node_equation_number, wrap_displaymath

from tools import chromium
from tools.website import mathjax_files

MATHML = "http://www.w3.org/1998/Math/MathML"
ElementTree.register_namespace("", MATHML)
STYLES = {"bold": "BOLD", "italic": "ITALIC", "bold-italic": "BOLD ITALIC", "double-struck": "DOUBLE-STRUCK",
          "script": "SCRIPT", "-tex-calligraphic": "SCRIPT", "fraktur": "FRAKTUR", "sans-serif": "SANS-SERIF",
          "monospace": "MONOSPACE"}  # fmt: skip
LOAD = """<!DOCTYPE html><title>MathJax</title>
<script>MathJax = {startup: {typeset: false}}</script><script src="%s"></script>"""


# TeX knows more about spaces than MathML says. MathJax notes it in attributes of its own; this says it to all readers:
# a slash or a bar that counts as a letter, the sign of a number that follows another sign, the space before a "log".
SPACES = (
    (r'<mrow data-mjx-texclass="ORD"><mo( [^>]*)?>([^<|‖]*)</mo></mrow>', r'<mo\1 lspace="0" rspace="0">\2</mo>'),
    (r"<mo([^>]*)>([|‖])</mo>", r'<mo\1 lspace="0" rspace="0">\2</mo>'),
    (r"(<mo[^>]*>(?:[(\[{,;:=<>|≤≥≈∈→±×·]|&lt;|&gt;)</mo>)<mo>([−+±])</mo>",
     r'\1<mo form="prefix" lspace="0" rspace="0">\2</mo>'),
    (r"(</m[in]>)(<mi[^>]*>[a-zA-Z]{2,}</mi>)(?=<mo[^>]*>[\u2061(])",
     r'\1<mspace width="0.17em"/>\2'),
)  # fmt: skip


def in_style(letter: str, style: str) -> str:
    """Unicode's sign for a letter in a mathematical style; the letter itself where there is none."""
    known = unicodedata.name(letter, "")
    match = re.fullmatch(r"(?:LATIN|GREEK) (CAPITAL|SMALL) LETTER ([A-Z]+)|DIGIT ([A-Z]+)", known)
    if match is None:
        return letter
    name = f"DIGIT {match[3]}" if match[3] else f"{match[1]} {match[2]}"
    for candidate in (f"MATHEMATICAL {style} {name}", f"{style} {name}"):  # ℝ and ℒ are older than the others
        try:
            return unicodedata.lookup(candidate)
        except KeyError:
            continue
    return letter


def plain(mathml: str) -> str:
    """MathJax's MathML without its notes to itself, with letters in the signs of their styles."""
    mathml = re.sub(r"\n\s*", "", mathml)
    for pattern, spaced in SPACES:
        mathml = re.sub(pattern, spaced, mathml)
    mathml = re.sub(r' (?:data-[\w-]+|class)="[^"]*"', "", mathml)

    def letters(match: re.Match[str]) -> str:
        tag, before, style, after, text = match.groups()
        if style not in STYLES:
            return match[0]
        # A letter alone is italic unless told otherwise; one that has a style already must stay as it is.
        return f"<{tag}{before}{after}>{''.join(in_style(letter, STYLES[style]) for letter in text)}</{tag}>"

    mathml = re.sub(r'<(m[ion]|mtext)([^>]*?) mathvariant="([^"]*)"([^>]*)>([^<]*)</\1>', letters, mathml)
    return columns(mathml) if "columnalign" in mathml else mathml


def columns(mathml: str) -> str:
    """The columns of aligned equations and matrices, in style attributes: browsers read these and not MathML's own."""
    root = ElementTree.fromstring(mathml)
    for table in root.iter(f"{{{MATHML}}}mtable"):
        sides = table.get("columnalign", "center").split()
        gaps = table.get("columnspacing", "0.8em").split()
        for row in table:
            for place, cell in enumerate(row):
                gap = gaps[min(place, len(gaps) - 1)] if place < len(row) - 1 else "0"
                side = sides[min(place, len(sides) - 1)]
                cell.set("style", f"text-align: {side}; padding: 0.25em {gap} 0.25em 0")
    return ElementTree.tostring(root, encoding="unicode")


def number(reference: re.Match[str]) -> str:
    """The sign that a numeric reference stands for, but for the three that XML needs as references."""
    sign = chr(int(reference[1], 16))
    return reference[0] if sign in "<>&" else sign


class Translator:
    """Turns TeX into MathML, each formula once."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.known: dict[tuple[str, bool], str] = {}

    def mathml(self, tex: str, *, display: bool) -> str:
        """The formula; a ValueError tells what MathJax could not read."""
        if (tex, display) not in self.known:
            found = self.page.evaluate("([tex, display]) => MathJax.tex2mmlPromise(tex, {display})", [tex, display])
            if "<merror" in found:
                raise ValueError(f"MathJax cannot read the formula {tex!r}: {found}")
            self.known[tex, display] = plain(re.sub(r"&#x([0-9A-F]+);", number, found))
        return self.known[tex, display]


def start(app: Sphinx) -> None:
    """Open MathJax for a build of the EPUB, and close it with the build."""
    if app.builder.name != "epub":
        return
    program = chromium.program()
    if program is None:
        raise ExtensionError("the EPUB needs Chromium: apt-get install chromium, or set CHROMIUM to its program")
    playwright = sync_playwright().start()
    browser = playwright.chromium.launch(executable_path=program, args=chromium.FLAGS)

    def stop(app: Sphinx, error: Exception | None) -> None:
        browser.close()
        playwright.stop()

    app.connect("build-finished", stop)
    page = Path(app.outdir).parent / "mathjax.html"
    page.write_text(LOAD % (mathjax_files() / "tex-mml-chtml.js").as_uri(), encoding="utf-8")
    tab = browser.new_page()
    tab.goto(page.as_uri())
    tab.evaluate("MathJax.startup.promise")
    app.builder.formulas = Translator(tab)  # type: ignore[attr-defined]


def visit_math(writer: Any, node: nodes.math) -> None:
    """A formula in a line."""
    writer.body.append(writer.builder.formulas.mathml(node.astext(), display=False))
    raise nodes.SkipNode


def visit_displayed(writer: Any, node: nodes.math_block) -> None:
    """A formula on its own, with its number."""
    tex = node.astext()
    if not node["nowrap"]:
        tex = wrap_displaymath(tex, None, False).strip()
    writer.body.append(writer.starttag(node, "div", CLASS="equation"))
    writer.body.append(writer.builder.formulas.mathml(tex, display=True))
    if node["number"]:
        writer.body.append(f'<span class="eqno">({get_node_equation_number(writer, node)})</span>')
    writer.body.append("</div>\n")
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_displayed, None))
    app.connect("builder-inited", start)
    return {"parallel_read_safe": True, "parallel_write_safe": False}
