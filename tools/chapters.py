"""What every chapter must have: its nine sections, its exercises, its outputs, and words for every picture."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

from tools.imports import toc_files
from tools.source_cells import Notebook, cell_text, load, notebooks, source_cells

SECTIONS = (
    "The problem",
    "The idea",
    "The derivation",
    "The code",
    "Does it work?",
    "On real data",
    "In the wild",
    "Exercises",
    "Summary and further reading",
)
MIN_EXERCISES = 3
MAX_CELL_LINES = 45
MAX_CELL_COLUMNS = 100  # what the page shows without scrolling, on a screen 1280 pixels wide
IMAGES = ("image/png", "image/svg+xml", "image/jpeg")
ADDRESS = re.compile(r"\bat 0x[0-9a-fA-F]+")
EXEMPT_TAG = "nbval-ignore-output"


def chapters(root: Path) -> list[Path]:
    """The notebooks of _toc.yml that exist, in the order of the book."""
    paths = [root / f"{page}.ipynb" for page in toc_files(root)]
    return [path for path in paths if path.is_file()]


def toc_problems(root: Path) -> list[str]:
    """A page of _toc.yml without a file, or a notebook that no reader can reach."""
    pages = toc_files(root)
    problems = [
        f"_toc.yml: there is no file {page}.ipynb or {page}.md"
        for page in pages
        if not any((root / f"{page}{suffix}").is_file() for suffix in (".ipynb", ".md"))
    ]
    named = {root / f"{page}.ipynb" for page in pages}
    problems += [
        f"{path.relative_to(root).as_posix()}: not in _toc.yml" for path in notebooks(root) if path not in named
    ]
    return problems


def chapter_problems(root: Path, path: Path) -> list[str]:
    """Everything that is wrong with one chapter."""
    notebook = load(path)
    found = [
        *section_problems(notebook),
        *exercise_problems(notebook),
        *execution_problems(notebook),
        *output_problems(notebook),
        *figure_problems(notebook),
        *exemption_problems(notebook),
        *length_problems(notebook),
    ]
    return [f"{path.relative_to(root).as_posix()}: {problem}" for problem in found]


def prose(notebook: Notebook) -> str:
    return "\n\n".join(cell_text(cell) for cell in notebook["cells"] if cell["cell_type"] == "markdown")


def code_cells(notebook: Notebook) -> list[tuple[int, dict[str, Any]]]:
    """(number of the cell counted from 1 among all cells, cell), empty ones left out."""
    numbered = enumerate(notebook["cells"], start=1)
    return [(number, cell) for number, cell in numbered if cell["cell_type"] == "code" and cell_text(cell).strip()]


def tags(cell: dict[str, Any]) -> list[str]:
    found: list[str] = cell.get("metadata", {}).get("tags", [])
    return found


def section_problems(notebook: Notebook) -> list[str]:
    """The headings `## The problem` … `## Summary and further reading` stand once each, in this order."""
    without_code = re.sub(r"^(```+|~~~+).*?^\1\s*$", "", prose(notebook), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^##\s+(.+?)\s*$", without_code, flags=re.MULTILINE)
    problems = []
    for section in SECTIONS:
        count = headings.count(section)
        if count != 1:
            problems.append(f"heading '## {section}' stands {count} times, should stand once")
    present = [heading for heading in headings if heading in SECTIONS]
    if not problems and present != list(SECTIONS):
        problems.append(f"the sections are out of order: {', '.join(present)}")
    if len(re.findall(r"^#\s+\S", without_code, flags=re.MULTILINE)) != 1:
        problems.append("a chapter has exactly one title, a line that begins with a single #")
    return problems


def exercise_problems(notebook: Notebook) -> list[str]:
    """At least three exercises, each with a label and a folded solution that names it."""
    opening = r"^(?:`{3,}|:{3,})\s*\{%s\}[ \t]*([^\n]*)\n((?::[^\n]*\n)*)"
    text = prose(notebook) + "\n"
    exercises = re.findall(opening % "exercise(?:-start)?", text, flags=re.MULTILINE)
    solutions = re.findall(opening % "solution(?:-start)?", text, flags=re.MULTILINE)
    labels = [label for _, options in exercises for label in re.findall(r":label:\s*(\S+)", options)]
    problems = []
    if len(exercises) < MIN_EXERCISES:
        problems.append(f"{len(exercises)} exercises; a chapter has at least {MIN_EXERCISES}")
    if len(labels) != len(exercises):
        problems.append("an exercise has no :label:, so no solution can name it")
    answered = [label.strip() for label, _ in solutions]
    problems += [f"exercise {label} has no solution" for label in labels if label not in answered]
    problems += [f"solution of {label} is not folded; give it :class: dropdown" for label, options in solutions
                 if "dropdown" not in options]  # fmt: skip
    return problems


def exercises(notebook: Notebook) -> dict[str, str]:
    """label → title of the exercises of a chapter, in their order."""
    opening = r"^(?:`{3,}|:{3,})\s*\{exercise(?:-start)?\}[ \t]*([^\n]*)\n:label:[ \t]*(\S+)"
    return {label: title for title, label in re.findall(opening, prose(notebook), flags=re.MULTILINE)}


def execution_problems(notebook: Notebook) -> list[str]:
    """nbval compares nothing in a cell that was never executed, so each must have been, once, from top to bottom."""
    problems = []
    for expected, (number, cell) in enumerate(code_cells(notebook), start=1):
        count = cell.get("execution_count")
        if count != expected:
            problems.append(f"cell {number}: execution count is {count}, should be {expected}; run: make notebooks")
            break
    return problems


def output_problems(notebook: Notebook) -> list[str]:
    """No errors, no noise on stderr, no memory addresses, nothing that differs from run to run by nature."""
    problems = []
    for number, cell in code_cells(notebook):
        kinds = [output["output_type"] for output in cell["outputs"]]
        if ("stream", "stream") in pairwise(kinds):  # the page would break the line there
            problems.append(f"cell {number}: what it printed is stored in pieces; run: make notebooks")
        if "execution" in cell["metadata"]:
            problems.append(f"cell {number}: holds the time when it was run; run: make notebooks")
        for output in cell["outputs"]:
            if output["output_type"] == "error" and "raises-exception" not in tags(cell):
                problems.append(
                    f"cell {number}: stored an error, {output['ename']}; tag it raises-exception if it is meant"
                )
            if output.get("name") == "stderr":
                problems.append(f"cell {number}: wrote to stderr")
            data = output.get("data", {})
            text = "".join(output.get("text", "")) + "".join(data.get("text/plain", ""))
            if match := ADDRESS.search(text):
                problems.append(
                    f"cell {number}: its output holds an address ({match.group()}…), another one in every run; "
                    "end a figure cell in a statement, such as a line with a semicolon or an assert"
                )
    return problems


def figure_problems(notebook: Notebook) -> list[str]:
    """Every image has alt text, a caption and a name in its cell's metadata, and stands alone in its cell."""
    problems = []
    for number, cell in code_cells(notebook):
        outputs = [output.get("data", {}) for output in cell["outputs"]]
        images = [data for data in outputs if any(kind in data for kind in IMAGES)]
        options = cell["metadata"].get("mystnb", {})
        if len(images) > 1:
            problems.append(f"cell {number}: {len(images)} images share one alt text; give each a cell of its own")
        if images and not str(options.get("image", {}).get("alt", "")).strip():
            problems.append(f"cell {number}: its image has no alt text; set mystnb.image.alt in the cell's metadata")
        for key in ("caption", "name"):
            if images and not str(options.get("figure", {}).get(key, "")).strip():
                problems.append(
                    f"cell {number}: its image has no {key}; set mystnb.figure.{key} in the cell's metadata"
                )
        for data in outputs:
            html = "".join(data.get("text/html", ""))
            if "<svg" in html and not ("aria-label" in html or "<title" in html):
                problems.append(f"cell {number}: its drawing (svg in html) has neither an aria-label nor a <title>")
    return problems


def exemption_problems(notebook: Notebook) -> list[str]:
    """Only a tag exempts a cell from the comparison of outputs, and only a few cells carry it."""
    cells = code_cells(notebook)
    exempt = [number for number, cell in cells if EXEMPT_TAG in tags(cell)]
    problems = []
    allowed = max(2, len(cells) // 5)
    if len(exempt) > allowed:
        problems.append(
            f"{len(exempt)} of {len(cells)} code cells are exempt from comparison ({exempt}); at most {allowed}"
        )
    for number, cell in cells:
        if "nbval-skip" in tags(cell) or re.search(r"^#\s*NBVAL_|^#\s*PYTEST_VALIDATE_", cell_text(cell), re.MULTILINE):
            problems.append(f"cell {number}: skips the comparison by other means than the tag {EXEMPT_TAG}")
    return problems


def length_problems(notebook: Notebook) -> list[str]:
    """Source cells that no screen holds: too many lines, or too long ones."""
    problems = []
    for number, _, _, rest in source_cells(notebook):
        lines = rest.splitlines()
        widest = max(map(len, lines), default=0)
        if len(lines) + 1 > MAX_CELL_LINES:
            problems.append(f"cell {number}: a source cell of {len(lines) + 1} lines; the limit is {MAX_CELL_LINES}")
        if widest > MAX_CELL_COLUMNS:
            problems.append(f"cell {number}: a source cell of {widest} columns; the limit is {MAX_CELL_COLUMNS}")
    return problems


def exercise_cells(notebook: Notebook, label: str) -> tuple[str, list[str]]:
    """The code of the stub of exercise `label`, and of each code cell of its solution."""
    stub, solution, where = "", [], ""
    for cell in notebook["cells"]:
        text = cell_text(cell)
        if cell["cell_type"] == "markdown":
            if f":label: {label}\n" in text + "\n":
                where = "stub"
            elif f"{{solution-start}} {label}\n" in text:
                where = "solution"
            elif "{solution-end}" in text:
                where = ""
        elif where == "stub":
            stub = text
        elif where == "solution":
            solution.append(text)
    return stub, solution
