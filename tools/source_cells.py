"""Keep the source cells of the chapters equal to the package, letter for letter.

    python tools/source_cells.py --check     list the differences, exit 1 if there are any
    python tools/source_cells.py --write     copy the package's text into the cells   (make sync)

A source cell is a code cell whose first line is a path comment, `# odyssey/optim/adam.py`. The rest of it is one or
more consecutive definitions of that file: functions, classes, assignments, with their decorators and with the comment
lines directly above them. The cell says by name which definitions it shows; their text always comes from the file.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HEADER = re.compile(r"# (odyssey/[\w/]+\.py)[ \t]*")
# Every public definition of these files stands in a chapter. Of the part train, what its chapters are about: the checks
# of arguments, the progress bar and the script of a grid are read in the files.
COVERED = (
    "odyssey/autograd/**/*.py",
    "odyssey/optim/**/*.py",
    "odyssey/nn/**/*.py",
    "odyssey/train/training/callbacks.py",
    "odyssey/train/training/checkpoint.py",
    "odyssey/train/training/history.py",
    "odyssey/train/training/loop.py",
    "odyssey/train/key_insight/architectures.py",
    "odyssey/train/key_insight/grid.py",
    "odyssey/train/key_insight/runs.py",
    "odyssey/train/key_insight/statistics.py",
    "odyssey/train/language_model.py",
)

Notebook = dict[str, Any]


class CellError(ValueError):
    """A source cell that cannot be filled from the package."""


@dataclass(frozen=True)
class Definition:
    """Lines first..last (counted from 0, last excluded) of a file; `a, b = 1, 2` has two names."""

    names: tuple[str, ...]
    first: int
    last: int


def assigned_names(node: ast.stmt) -> tuple[str, ...]:
    """The names that a top-level statement defines; none for imports, expressions, if, try and the like."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return (node.name,)
    if isinstance(node, ast.Assign):
        targets = node.targets
    elif isinstance(node, ast.AnnAssign):
        targets = [node.target]
    elif hasattr(ast, "TypeAlias") and isinstance(node, ast.TypeAlias):  # Python 3.12
        targets = [node.name]
    else:
        return ()
    flat = [name for target in targets for name in (target.elts if isinstance(target, ast.Tuple) else [target])]
    return tuple(name.id for name in flat if isinstance(name, ast.Name))


def definitions(text: str) -> list[Definition | None]:
    """The top-level statements of a module in order: a Definition, or None for any other statement.

    A definition begins with its decorators and the comment lines directly above it, and ends with the string that
    documents an assignment. The Nones remain in the list because definitions on their two sides are not consecutive.
    """
    lines = text.splitlines()
    found: list[Definition | None] = []
    for node in ast.parse(text).body:
        is_string = (
            isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        )
        names = assigned_names(node)
        if names:
            decorators = getattr(node, "decorator_list", [])
            first = min([node.lineno, *(decorator.lineno for decorator in decorators)]) - 1
            while first > 0 and lines[first - 1].startswith("#") and not HEADER.fullmatch(lines[first - 1]):
                first -= 1
            found.append(Definition(names, first, node.end_lineno or node.lineno))
        elif is_string and found and found[-1] and found[-1].last == node.lineno - 1:
            found[-1] = Definition(found[-1].names, found[-1].first, node.end_lineno or node.lineno)
        else:
            found.append(None)
    return found


def source_of(text: str, names: list[tuple[str, ...]]) -> str:
    """The text of the consecutive definitions `names` in the module `text`; a CellError says why there is none."""
    found = definitions(text)
    known = [definition.names if definition else None for definition in found]
    for wanted in names:
        if wanted not in known:
            raise CellError(
                f"definition {', '.join(wanted)} is not in the file any more; rename or remove it in the cell"
            )
    for start in range(len(found) - len(names) + 1):
        if known[start : start + len(names)] == names:
            first, last = found[start], found[start + len(names) - 1]
            assert first is not None and last is not None
            return "\n".join(text.splitlines()[first.first : last.last])
    start = known.index(names[0])
    for wanted, there in zip(names[1:], [*known[start + 1 :], *[None] * len(names)], strict=False):
        if wanted != there:
            raise CellError(
                f"definition {', '.join(wanted)} does not come next in the file "
                f"({', '.join(there) if there else 'other code or the end'} does); give it a cell of its own"
            )
    raise AssertionError("unreachable: the loop above finds the first name that is out of place")


def load(path: Path) -> Notebook:
    notebook: Notebook = json.loads(path.read_text(encoding="utf-8"))
    return notebook


def save(path: Path, notebook: Notebook) -> None:
    """Write a notebook in the layout that nbformat and Jupyter use, so that a diff shows only what changed."""
    text = json.dumps(notebook, indent=1, sort_keys=True, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


def cell_text(cell: dict[str, Any]) -> str:
    source = cell["source"]
    return source if isinstance(source, str) else "".join(source)


def notebooks(root: Path) -> list[Path]:
    return sorted(path for path in root.glob("book/**/*.ipynb") if ".ipynb_checkpoints" not in path.parts)


def source_cells(notebook: Notebook) -> Iterator[tuple[int, dict[str, Any], str, str]]:
    """(number of the cell counted from 1, the cell, path of the module, text below the path comment)."""
    for number, cell in enumerate(notebook["cells"], start=1):
        header, _, rest = cell_text(cell).partition("\n")
        match = HEADER.fullmatch(header)
        if cell["cell_type"] == "code" and match:
            yield number, cell, match.group(1), rest


def cell_names(rest: str) -> list[tuple[str, ...]]:
    """Which definitions a source cell shows."""
    try:
        found = definitions(rest)
    except SyntaxError as error:
        raise CellError(f"line {(error.lineno or 0) + 1} of the cell is not Python: {error.msg}") from None
    if not found or None in found:
        raise CellError("a source cell holds definitions only, and at least one; move other code to another cell")
    return [definition.names for definition in found if definition]


def wanted_text(root: Path, module: str, rest: str) -> str:
    """What a source cell must say, path comment included."""
    file = root / module
    if not file.is_file():
        raise CellError(f"there is no file {module}")
    return f"# {module}\n" + source_of(file.read_text(encoding="utf-8"), cell_names(rest))


def drift(root: Path) -> list[str]:
    """One problem, with a diff, for every source cell that differs from its file."""
    problems = []
    for path in notebooks(root):
        for number, cell, module, rest in source_cells(load(path)):
            where = f"{path.relative_to(root).as_posix()}, cell {number} ({module})"
            try:
                wanted = wanted_text(root, module, rest)
            except CellError as error:
                problems.append(f"{where}: {error}")
                continue
            if cell_text(cell) != wanted:
                diff = difflib.unified_diff(
                    cell_text(cell).splitlines(), wanted.splitlines(), "the chapter", "the package", lineterm=""
                )
                problems.append("\n".join([f"{where}: differs from the package; run: make sync", *diff]))
    return problems


def write(root: Path) -> tuple[list[str], list[str]]:
    """Fill every source cell from the package. Returns (cells changed, problems); what has a problem stays as it is."""
    changed, problems = [], []
    for path in notebooks(root):
        notebook, before = load(path), len(changed)
        for number, cell, module, rest in source_cells(notebook):
            where = f"{path.relative_to(root).as_posix()}, cell {number} ({module})"
            try:
                wanted = wanted_text(root, module, rest)
            except CellError as error:
                problems.append(f"{where}: {error}")
                continue
            if cell_text(cell) != wanted:
                cell["source"] = wanted.splitlines(keepends=True)
                changed.append(where)
        if len(changed) > before:
            save(path, notebook)
    return changed, problems


def public_definitions(text: str) -> list[str]:
    """Public names that a module defines at top level, those inside `if` and `try` included."""
    names: list[str] = []

    def visit(body: list[ast.stmt]) -> None:
        for node in body:
            names.extend(name for name in assigned_names(node) if not name.startswith("_") and name not in names)
            if isinstance(node, ast.If | ast.Try | ast.With):
                for field in ("body", "orelse", "finalbody"):
                    visit(getattr(node, field, []))
                for handler in getattr(node, "handlers", []):
                    visit(handler.body)

    visit(ast.parse(text).body)
    return names


def uncovered(root: Path) -> list[str]:
    """One problem for every public definition of COVERED that stands in no chapter."""
    shown: set[tuple[str, str]] = set()
    for path in notebooks(root):
        for _, _, module, rest in source_cells(load(path)):
            try:
                shown.update((module, name) for names in cell_names(rest) for name in names)
            except CellError:
                continue  # `drift` reports it
    problems = []
    for pattern in COVERED:
        for file in sorted(root.glob(pattern)):
            module = file.relative_to(root).as_posix()
            for name in public_definitions(file.read_text(encoding="utf-8")):
                if (module, name) not in shown:
                    problems.append(f"{module}: {name} is public but stands in no source cell of any chapter")
    return problems


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Keep the chapters' source cells equal to the package.")
    mode = parser.add_mutually_exclusive_group(required=True)
    mode.add_argument("--check", action="store_true", help="list differences as diffs, change nothing")
    mode.add_argument("--write", action="store_true", help="rewrite the cells from the package")
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parents[1], help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.check:
        changed, problems = [], drift(options.root)
    else:
        changed, problems = write(options.root)
    for where in changed:
        print(f"updated {where}")
    print("\n\n".join(problems) if problems else "Every source cell equals the package.")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
