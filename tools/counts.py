"""Counts in the sources what the page *How we know it is right* tells of outputs, code, primitives and exercises."""

from __future__ import annotations

import inspect
import re
from collections import Counter
from dataclasses import dataclass, field
from importlib import import_module
from math import prod
from pathlib import Path

from tools.chapters import EXEMPT_TAG, code_cells, tags
from tools.source_cells import cell_names, load, source_cells

# What a cell is exempt from comparison for: it prints a time, or a ratio of times that it measured.
TIMES = re.compile(r"\d\s*(?:ms|µs|s|seconds|milliseconds)\b|\d times as")
GLUE = "application/papermill.record/"


@dataclass
class Outputs:
    """What nbval compares in a chapter."""

    cells: int = 0
    printed: int = 0  # texts and values
    quoted: int = 0  # numbers that the prose takes from the run
    figures: int = 0  # pictures, which are not compared
    timed: int = 0  # cells that are exempt because they measure time
    otherwise: int = 0  # cells that are exempt for another reason


def outputs(path: Path) -> Outputs:
    """Count the outputs of a chapter. All that a cell writes to stdout counts once, as nbval joins it."""
    found = Outputs()
    for _, cell in code_cells(load(path)):
        found.cells += 1
        if EXEMPT_TAG in tags(cell):
            text = "".join("".join(output.get("text", "")) for output in cell["outputs"])
            if TIMES.search(text):
                found.timed += 1
            else:
                found.otherwise += 1
            continue
        found.printed += any(output["output_type"] == "stream" for output in cell["outputs"])
        for output in cell["outputs"]:
            kinds = list(output.get("data", {}))
            if any(kind.startswith(GLUE) for kind in kinds):
                found.quoted += 1
            elif any(kind.startswith("image/") for kind in kinds) or "odyssey-frames" in str(output.get("data")):
                found.figures += 1
            else:
                found.printed += output["output_type"] != "stream"
    return found


@dataclass
class Shown:
    """The source cells of the book."""

    lines: int = 0
    definitions: set[tuple[str, str]] = field(default_factory=set)


def shown(paths: list[Path]) -> Shown:
    found = Shown()
    for path in paths:
        for _, _, module, rest in source_cells(load(path)):
            found.lines += len(rest.splitlines())
            found.definitions |= {(module, name) for names in cell_names(rest) for name in names}
    return found


def primitives() -> dict[str, dict[str, int]]:
    """{module: {primitive: number of its cases}}, from the tables that the tests go through."""
    import_module("odyssey.nn")  # registers its primitives
    table = import_module("odyssey.autograd").PRIMITIVES
    first = Counter(case.name for case in import_module("tests.autograd.cases").CASES)
    cases = {**first, **{name: len(rows) for name, rows in import_module("tests.nn.test_primitives").CASES.items()}}
    found: dict[str, dict[str, int]] = {}
    for name, operation in table.items():
        if operation.__module__.startswith("odyssey."):  # a test may have registered one of its own
            found.setdefault(operation.__module__, {})[name] = cases.get(name, 0)
    return found


# ---- Exercises ----


def checks(chapter: str) -> list[str]:
    """The names of the checks of a chapter."""
    return sorted(name for name in vars(import_module(f"odyssey.exercises.{chapter}")) if name.startswith("check_"))


def wrong_answers(part: str, chapter: str) -> int:
    """How many wrong answers the tests give to a chapter's checks, each with the hint that it must get.

    They are the cases of the tests that look at a hint, those of the chapter's own stubs left out.
    """
    module = import_module(f"tests.{part}.test_{chapter}_exercises")
    total = 0
    for name, test in vars(module).items():
        if not name.startswith("test_") or "stub" in name or "solution" in name:
            continue
        source = inspect.getsource(test)
        if re.search(r"\bhint\(|mistake|wrong_answers", source):
            marks = [mark for mark in getattr(test, "pytestmark", []) if mark.name == "parametrize"]
            total += prod(len(list(mark.args[1])) for mark in marks)
    return total
