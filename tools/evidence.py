"""A Sphinx extension: the numbers of the page *How we know it is right*, made while the book is built.

    {evidence}`tests.passed`           a number in a sentence

    ```{evidence} chapters             a table
    ```

tools/facts.py finds the numbers. Nothing is computed for another page.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

from docutils import nodes
from docutils.parsers.rst.states import Inliner
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from tools import counts, records
from tools.chapters import chapters
from tools.facts import (
    all_references,
    circumstances,
    entry,
    facts,
    load_of,
    missed,
    number,
    others_of,
    outputs,
    page_of,
    ratio,
    rows,
    total,
    wrong_answers,
)
from tools.navigation import link
from tools.records import ROOT, Record

Cell: TypeAlias = str | nodes.Node | Sequence[nodes.Node]
KINDS = {"book": "cells of the chapters", "tests": "unit tests", "odyssey": "examples in docstrings"}


def code(text: str) -> nodes.literal:
    return nodes.literal(text, text)


def page(name: str) -> nodes.Node:
    """A link to a chapter, by the name of its module."""
    return link("book/evidence", name, name.rpartition("/")[2])


def joined(parts: Iterable[nodes.Node]) -> list[nodes.Node]:
    """Parts with commas between them."""
    found: list[nodes.Node] = []
    for part in parts:
        found += [nodes.Text(", ")] * bool(found) + [part]
    return found or [nodes.Text("—")]


def table(heads: list[str], body: list[list[Cell]], numeric: set[int]) -> nodes.table:
    """A table; the columns `numeric` are set to the right."""
    group = nodes.tgroup(cols=len(heads))
    group += [nodes.colspec(colwidth=1) for _ in heads]
    for section, lines in ((nodes.thead(), [heads]), (nodes.tbody(), body)):
        for line in lines:
            row = nodes.row()
            for k, cell in enumerate(line):
                if isinstance(cell, str):
                    cell = nodes.Text(cell)
                parts = [cell] if isinstance(cell, nodes.Node) else list(cell)
                style = ["text-right"] if k in numeric else ["odyssey-list"] if len(parts) > 1 else []
                row += nodes.entry("", nodes.paragraph("", "", *parts), classes=style)
            section += row
        group += section
    return nodes.table("", group, classes=["colwidths-auto", "longtable", "odyssey-evidence"])


def tests_table() -> nodes.table:
    body: list[list[Cell]] = []
    record = entry("tests", "suite")
    for part, found in sorted(records.outcomes(record)):
        kind = KINDS[part.partition("/")[0]]
        body.append([code(part), kind, number(found["passed"]), number(found["skipped"]), number(found["failed"])])
    last = [number(total(record, outcome)) for outcome in records.OUTCOMES]
    body.append([nodes.strong("", "all"), "", *[nodes.strong("", text) for text in last]])
    return table(["where", "what", *records.OUTCOMES], body, {2, 3, 4})


def chapters_table() -> nodes.table:
    heads = ["chapter", "texts, values", "numbers in prose", "figures", "timed cells", "lines of code", "checks",
             "wrong answers"]  # fmt: skip
    body: list[list[Cell]] = []
    for path in chapters(ROOT):
        name, found = page_of(path), outputs()[page_of(path)]
        exempt, lines = found.timed + found.otherwise, counts.shown([path]).lines
        numbers = [found.printed, found.quoted, found.figures, exempt, lines, len(counts.checks(path.stem)),
                   wrong_answers()[name]]  # fmt: skip
        body.append([page(name), *map(number, numbers)])
    return table(heads, body, set(range(1, 8)))


def primitives_table() -> nodes.table:
    body: list[list[Cell]] = [
        [code(module.removeprefix("odyssey.")), joined(map(code, found)), str(len(found)), str(sum(found.values()))]
        for module, found in counts.primitives().items()
    ]
    return table(["where", "primitives", "how many", "cases"], body, {2, 3})


def references_table() -> nodes.table:
    body: list[list[Cell]] = []
    for one in all_references():
        close = [f"{value:g}" for value in one.tolerances]
        body.append([
            one.name, number(one.numbers), ", ".join(name.replace(" ", "\N{NO-BREAK SPACE}") for name in one.libraries),
            joined([*[code(test.name) for test in one.tests], *[page(page_of(path)) for path in one.chapters]]),
            " to ".join(dict.fromkeys([close[0], close[-1]])),
        ])  # fmt: skip
    return table(["file", "numbers", "made with", "compared in", "to within"], body, {1})


def benchmarks_table() -> nodes.table:
    body: list[list[Cell]] = []
    for _, row in rows():
        goal = "none" if row["goal"] is None else f"≤\N{NO-BREAK SPACE}{row['goal']:.2f}"
        verdict: Cell = "—" if row["goal"] is None else nodes.strong("", "missed") if missed(row) else "met"
        numbers = [f"{row[whose]:.3g}\N{NO-BREAK SPACE}{row['unit']}" for whose in ("ours", "other")]
        body.append([title(row), row["peer"], *numbers, f"{ratio(row):.2f}", goal, verdict])
    return table(["work", "against", "ours", "theirs", "ratio", "goal", "verdict"], body, {2, 3, 4, 5})


def runs_table() -> nodes.table:
    body: list[list[Cell]] = [
        [code(record["command"]), circumstances(record), others_of(record), load_of(record)]
        for _, record in sorted(records.load("benchmarks").items())
    ]
    return table(["command", "when and where", "others", "load"], body, {2, 3})


def title(row: Record) -> str:
    return row["name"] + (f", {row['threads']} threads" if row["threads"] > 1 else "")


def missed_list() -> nodes.Node:
    items = [
        nodes.list_item("", nodes.paragraph("", f"{title(row)}, against {row['peer']}: {ratio(row):.2f}; the goal was "
                                                f"at most {row['goal']:.2f}."))
        for _, row in rows() if missed(row)
    ]  # fmt: skip
    return nodes.bullet_list("", *items) if items else nodes.paragraph("", "None at present.")


TABLES: dict[str, Callable[[], nodes.Node]] = {
    "tests": tests_table,
    "chapters": chapters_table,
    "primitives": primitives_table,
    "references": references_table,
    "benchmarks": benchmarks_table,
    "runs": runs_table,
    "missed": missed_list,
}

# How wide the columns are in print, as shares of the line. What is not named here is not a table.
WIDTHS = {
    "tests": (0.24, 0.4, 0.12, 0.12, 0.12),
    "chapters": (0.23, 0.11, 0.11, 0.11, 0.11, 0.11, 0.11, 0.11),
    "primitives": (0.27, 0.49, 0.12, 0.12),
    "references": (0.17, 0.12, 0.25, 0.31, 0.15),
    "benchmarks": (0.28, 0.15, 0.13, 0.13, 0.09, 0.11, 0.11),
    "runs": (0.28, 0.48, 0.13, 0.11),
}


def print_columns(widths: tuple[float, ...]) -> addnodes.tabular_col_spec:
    """What LaTeX is told of the columns; the site does without."""
    columns = [rf">{{\raggedright\arraybackslash}}\Y{{{width}}}" for width in widths]
    return addnodes.tabular_col_spec(spec="".join(columns))


class Evidence(SphinxDirective):
    """A table."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        for path in sorted(records.RESULTS.glob("*.json")):
            self.env.note_dependency(str(path))
        name = self.arguments[0]
        if name not in TABLES:
            raise self.error(f"evidence: there is no table {name!r}, but {', '.join(TABLES)}")
        try:
            found = TABLES[name]()
        except LookupError as problem:
            raise self.error(f"evidence: {problem}") from None
        return [print_columns(WIDTHS[name]), found] if name in WIDTHS else [found]


def fact(
    name: str, rawtext: str, text: str, lineno: int, inliner: Inliner, options: Any = None, content: Any = ()
) -> tuple[list[nodes.Node], list[nodes.system_message]]:
    """A number, in a sentence."""
    del name, options, content
    known = facts()
    try:
        if text not in known:
            raise LookupError(f"there is no fact {text!r}, but {', '.join(known)}")
        return [nodes.Text(known[text]())], []
    except LookupError as problem:
        message = inliner.reporter.error(f"evidence: {problem}", line=lineno)
        return [inliner.problematic(rawtext, rawtext, message)], [message]


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.add_directive("evidence", Evidence)
    app.add_role("evidence", fact)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
