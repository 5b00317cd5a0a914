"""What the editions must contain, read from the book's sources alone."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from markdown_it import MarkdownIt
from mdit_py_plugins.amsmath import amsmath_plugin
from mdit_py_plugins.dollarmath import dollarmath_plugin

ROOT = Path(__file__).parents[2]
TOC: dict[str, Any] = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
PARTS = {part["caption"]: [chapter["file"] for chapter in part["chapters"]
                           if chapter["file"] != "book/progress" and not chapter["file"].endswith("/index")]
         for part in TOC["parts"]}  # fmt: skip
NAMES = [name for names in PARTS.values() for name in names]
PREFACE = "editions/preface"

# What Markdown, MyST, HTML or TeX would leave behind if nobody had read it. Code shows none of these.
RAW = ("{evidence", "{glue", "{eq}", "{numref}", "{cite:", "{doc}", "{ref}", "{py:", "{exercise", "{solution", "$$",
       "\\begin{", "\\end{", "\\frac", "\\mathbf", "\\varepsilon", "??", "application/papermill",
       "Fetching the book and installing")  # fmt: skip
# In prose, these too.
BOLD = r"(?<!\S)\*\*[A-Za-z][^*\n]*\*\*"  # and not a power, or the options of a function
RAW_IN_PROSE = ("`", "$", "\\", "](", "```", ":::", "<div", "<span", "<table")


def notebook(name: str) -> list[dict[str, Any]]:
    """The cells of a chapter; a Markdown page is one cell."""
    path = ROOT / f"{name}.ipynb"
    if path.is_file():
        cells: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["cells"]
        return cells
    return [{"cell_type": "markdown", "metadata": {}, "source": (ROOT / f"{name}.md").read_text(encoding="utf-8")}]


def prose(name: str) -> list[str]:
    """The texts of a page, captions included."""
    texts = ["".join(cell["source"]) for cell in notebook(name) if cell["cell_type"] == "markdown"]
    return texts + captions(name)


def captions(name: str) -> list[str]:
    """The captions of the figures that cells draw."""
    figures = [cell["metadata"].get("mystnb", {}).get("figure", {}) for cell in notebook(name)]
    return [figure["caption"] for figure in figures if "caption" in figure]


def pictures(name: str) -> int:
    """How many pictures the cells of a page show."""
    outputs = [output for cell in notebook(name) for output in cell.get("outputs", [])]
    return sum("image/png" in output.get("data", {}) for output in outputs)


def title(name: str) -> str:
    """The title of a page."""
    found = re.search(r"^# (.+)$", prose(name)[0], flags=re.MULTILINE)
    assert found is not None, name
    return re.sub(r"[`*]", "", found[1])


def numbered_titles(form: str) -> dict[str, list[str]]:
    """The titles of the chapters of each part, with their numbers through the book."""
    number = {name: form.format(n) for n, name in enumerate(NAMES, start=1)}
    return {caption: [number[name] + title(name) for name in names] for caption, names in PARTS.items()}


def equations(name: str) -> list[str]:
    """The names of a page's numbered equations, in their order."""
    return re.findall(r"\$\$\s*\((eq-[a-z0-9-]+)\)", "\n".join(prose(name)))


def formulas(name: str) -> int:
    """How many formulas a page has."""
    reader = MarkdownIt("commonmark").enable("table").use(dollarmath_plugin).use(amsmath_plugin)
    text = "\n\n".join(prose(name))
    text = re.sub(r"^(`{3,})\{(?:exercise|solution-start|solution-end)\}[^\n]*\n", r"\1X\n", text, flags=re.MULTILINE)
    lines: list[str] = []
    fence = ""
    for line in text.splitlines():  # an exercise is text between fences: take the fences away
        if not fence and (match := re.fullmatch(r"(`{3,})X", line)):
            fence = match[1]
        elif fence and line == fence:
            fence = ""
        else:
            lines.append(line)
    kinds = ("math_inline", "math_inline_double", "math_block", "math_block_label", "amsmath")
    tokens = reader.parse("\n".join(lines))
    inner = [child for token in tokens for child in token.children or ()]
    titles = re.findall(r"^`{3,}\{exercise\} ([^\n]*)$", "\n\n".join(prose(name)), flags=re.MULTILINE)
    return sum(token.type in kinds for token in [*tokens, *inner]) + sum(text.count("$") // 2 for text in titles)


def glued(name: str) -> Iterator[tuple[str, str]]:
    """For each number that the prose takes from a run: its name, and letters and digits around and of it."""
    values = {}
    for cell in notebook(name):
        for output in cell.get("outputs", []):
            place = output.get("metadata", {}).get("scrapbook", {}).get("name")
            if place:
                values[place] = ast.literal_eval("".join(output["data"]["application/papermill.record/text/plain"]))
    for text in prose(name):
        for match in re.finditer(r"([A-Za-z ,\n]*)\{glue:text\}`([^`]+)`([A-Za-z ,\n]*)", text):
            before, key, after = match.groups()
            yield key, letters(before)[-12:] + letters(values[key]) + letters(after)[:12]


def letters(text: str) -> str:
    """Letters and digits alone: lines may break, and hyphens may stand, wherever they want."""
    return re.sub(r"[^a-zA-Z0-9]", "", text)


def raw(text: str, patterns: tuple[str, ...] = RAW) -> list[str]:
    """Markup that nobody has read, with what stands around it."""
    found = []
    for pattern in patterns:
        at = text.find(pattern)
        if at >= 0:
            found.append(f"{pattern!r} in {text[max(0, at - 60) : at + 60]!r}")
    return found + (re.findall(BOLD, text) if patterns is RAW_IN_PROSE else [])
