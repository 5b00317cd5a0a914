"""Every guard is broken here on a small copy of the house, and must say so in words that help."""

import copy
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tools import chapters, imports, notebooks, patching, source_cells

TAPE = '''"""The tape."""

from odyssey.data import load

# Why there is a limit: see the chapter.
LIMIT = 3


class Tensor:
    def __init__(self, data):
        self.data = data


def backward(tensor):
    return load(tensor)


load_count = 0
print("not a definition")


def _private(tensor):
    return tensor
'''.replace("from odyssey.data import load\n", "import functools\n").replace(
    "load(tensor)", "functools.reduce(max, tensor)"
)

PRIMITIVES = """from odyssey.autograd.tape import Tensor


def decorated(function):
    return function


@decorated
def exp(tensor):
    return Tensor(tensor)
"""


def code(text: str, outputs: list[Any] | None = None, **metadata: Any) -> dict[str, Any]:
    return {
        "cell_type": "code",
        "execution_count": None,
        "metadata": metadata,
        "outputs": outputs or [],
        "source": text.splitlines(keepends=True),
    }


def text(source: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "metadata": {}, "source": source.splitlines(keepends=True)}


def printed(words: str) -> dict[str, Any]:
    return {"output_type": "stream", "name": "stdout", "text": [words + "\n"]}


IMAGE = {
    "output_type": "display_data",
    "data": {"image/png": "iVBORw0KGgo=", "text/plain": ["<Figure>"]},
    "metadata": {},
}
FIGURE = {"image": {"alt": "A line that falls."}, "figure": {"caption": "The loss.", "name": "fig-loss"}}


def exercise(number: int) -> str:
    return (
        f"```{{exercise}} Number {number}\n:label: ex-{number}\nDo it.\n```\n\n"
        f"```{{solution}} ex-{number}\n:class: dropdown\nDone.\n```"
    )


def chapter(*cells: dict[str, Any]) -> dict[str, Any]:
    """A complete chapter with `cells` as its code."""
    body = [text("# A chapter")]
    for section in chapters.SECTIONS:
        body.append(text(f"## {section}\n\nWords."))
        if section == "The code":
            body.extend(copy.deepcopy(cells))
        if section == "Exercises":
            body.extend(text(exercise(number)) for number in (1, 2, 3))
    count = 0
    for cell in body:
        if cell["cell_type"] == "code":
            count += 1
            cell["execution_count"] = count
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    return {"cells": body, "metadata": kernel, "nbformat": 4, "nbformat_minor": 4}


class House:
    """A small tree with the layout of the repository, healthy until a test breaks it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.file("_toc.yml", "format: jb-book\nroot: book/index\nparts:\n- caption: Gradients\n  chapters:\n"
                  "  - file: book/autograd/tape\n  - file: book/autograd/primitives\n- caption: Steps\n  chapters:\n"
                  "  - file: book/optim/sgd\n")  # fmt: skip
        self.file("book/index.md", "# The book\n")
        self.file("odyssey/__init__.py", "from odyssey.autograd import Tensor, exp\nfrom odyssey.optim import SGD\n")
        self.file("odyssey/autograd/__init__.py", "from .primitives import exp\nfrom .tape import Tensor, backward\n")
        self.file("odyssey/autograd/tape.py", TAPE)
        self.file(
            "odyssey/autograd/primitives/__init__.py", "from odyssey.autograd.primitives.elementwise import exp\n"
        )
        self.file("odyssey/autograd/primitives/elementwise.py", PRIMITIVES)
        self.file("odyssey/optim/__init__.py", "from .sgd import SGD\n")
        self.file(
            "odyssey/optim/sgd.py", "from odyssey.autograd import Tensor\n\n\nclass SGD:\n    parameter = Tensor\n"
        )
        self.file("odyssey/exercises/__init__.py", "")
        self.file("odyssey/exercises/primitives.py", "from odyssey import Tensor, exp\n")
        use = "    x = Tensor(1)\n    x.grad = tape.backward\n    x.data += 1\n"
        head = "import odyssey.autograd.tape as tape\nfrom odyssey import Tensor\n\n\n"
        self.file("tests/autograd/test_tape.py", f"{head}def test_it():\n{use}")
        lines = TAPE.splitlines()
        two = "\n".join(
            lines[lines.index("# Why there is a limit: see the chapter.") : lines.index("def backward(tensor):") - 2]
        )
        last = "\n".join(lines[lines.index("def backward(tensor):") : lines.index("load_count = 0") + 1])
        self.book("autograd/tape", chapter(
            code("import numpy as np"),
            code(f"# odyssey/autograd/tape.py\n{two}"),
            code(f"# odyssey/autograd/tape.py\n{last}"),
            code("print(1 + 1)", [printed("2")]),
            code("plot()", [IMAGE], mystnb=FIGURE),
            code("clock()", [printed("0.3 s")], tags=["nbval-ignore-output"]),
        ))  # fmt: skip
        self.book(
            "autograd/primitives",
            chapter(
                code("# odyssey/autograd/primitives/elementwise.py\n" + PRIMITIVES.split("\n\n\n", 1)[1].rstrip("\n"))
            ),
        )
        self.book("optim/sgd", chapter(code("# odyssey/optim/sgd.py\nclass SGD:\n    parameter = Tensor")))

    def file(self, path: str, content: str) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(content, encoding="utf-8")

    def append(self, path: str, content: str) -> None:
        self.file(path, (self.root / path).read_text(encoding="utf-8") + content)

    def replace(self, path: str, old: str, new: str) -> None:
        before = (self.root / path).read_text(encoding="utf-8")
        assert before.count(old) == 1, f"{old!r} stands {before.count(old)} times in {path}"
        self.file(path, before.replace(old, new))

    def book(self, name: str, notebook: dict[str, Any]) -> None:
        self.file(f"book/{name}.ipynb", json.dumps(notebook, indent=1) + "\n")

    def edit(self, name: str, change: Callable[[list[dict[str, Any]]], Any]) -> None:
        """Change the code cells of a chapter."""
        notebook = json.loads((self.root / f"book/{name}.ipynb").read_text(encoding="utf-8"))
        change([cell for cell in notebook["cells"] if cell["cell_type"] == "code"])
        self.book(name, notebook)


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def chapter_guard(root: Path) -> list[str]:
    found = [problem for path in chapters.chapters(root) for problem in chapters.chapter_problems(root, path)]
    return chapters.toc_problems(root) + found


GUARDS: dict[str, Callable[[Path], list[str]]] = {
    "drift": source_cells.drift,
    "coverage": source_cells.uncovered,
    "imports": imports.import_problems,
    "length": imports.long_files,
    "patching": patching.patching_problems,
    "chapters": chapter_guard,
}


@pytest.mark.parametrize("guard", GUARDS)
def test_healthy_house_passes(house: House, guard: str) -> None:
    assert GUARDS[guard](house.root) == []


def set_tape(cell: int, key: str, value: Any) -> Callable[[House], None]:
    return lambda house: house.edit("autograd/tape", lambda cells: cells[cell].update({key: value}))


def set_metadata(cell: int, **metadata: Any) -> Callable[[House], None]:
    return set_tape(cell, "metadata", metadata)


def swap(old: str, new: str, path: str = "book/autograd/tape.ipynb") -> Callable[[House], None]:
    return lambda house: house.replace(path, old, new)


def add(path: str, content: str) -> Callable[[House], None]:
    return lambda house: house.append(path, content)


TAPE_PY, TAPE_NB = "odyssey/autograd/tape.py", "book/autograd/tape.ipynb"
TEST_PY, SGD_PY = "tests/autograd/test_tape.py", "odyssey/optim/sgd.py"

# name of the break → (guard, what breaks the house, words that the report must contain)
BREAKS: dict[str, tuple[str, Callable[[House], Any], list[str]]] = {
    "one character of a source cell": (
        "drift",
        swap("self.data = data", "self.data = dato"),
        [TAPE_NB, "cell 7", TAPE_PY, "-        self.data = dato", "+        self.data = data", "make sync"],
    ),
    "one character of the package": (
        "drift",
        swap("LIMIT = 3", "LIMIT = 4", TAPE_PY),
        ["-LIMIT = 3", "+LIMIT = 4"],
    ),
    "the comment above a definition": (
        "drift",
        swap("# Why there is", "# That there is", TAPE_PY),
        ["+# That there is"],
    ),
    "a decorator": (
        "drift",
        swap("@decorated", "@decorated\n@decorated", "odyssey/autograd/primitives/elementwise.py"),
        ["+@decorated"],
    ),
    "a renamed definition": (
        "drift",
        swap("def backward", "def sweep", TAPE_PY),
        [TAPE_NB, "definition backward is not in the file any more"],
    ),
    "definitions that are not neighbours": (
        "drift",
        swap("load_count = 0", "def _private(tensor):\\n    return tensor"),
        ["definition _private does not come next", "load_count"],
    ),
    "definitions with other code between": (
        "drift",
        set_tape(
            2, "source", "# odyssey/autograd/tape.py\nload_count = 0\n\n\ndef _private(tensor):\n    return tensor"
        ),
        ["definition _private does not come next in the file (other code"],
    ),
    "code in a source cell": (
        "drift",
        set_tape(2, "source", "# odyssey/autograd/tape.py\nprint(1)"),
        ["definitions only"],
    ),
    "a syntax error in a source cell": (
        "drift",
        set_tape(2, "source", "# odyssey/autograd/tape.py\ndef f(:"),
        ["line 2", "not Python"],
    ),
    "a file that is gone": (
        "drift",
        lambda house: (house.root / SGD_PY).unlink(),
        ["there is no file odyssey/optim/sgd.py"],
    ),
    "a public function without a chapter": (
        "coverage",
        add(TAPE_PY, "\n\ndef hidden():\n    pass\n"),
        [TAPE_PY, "hidden is public but stands in no source cell"],
    ),
    "a public constant without a chapter": ("coverage", add(SGD_PY, "\nRATE: float = 0.1\n"), ["RATE is public"]),
    "a public definition inside a condition": (
        "coverage",
        add(SGD_PY, "\nif True:\n    def sly():\n        pass\n"),
        ["sly is public"],
    ),
    "autograd imports optim": (
        "imports",
        add(TAPE_PY, "\n\ndef late():\n    from odyssey.optim import SGD\n    return SGD\n"),
        [f"{TAPE_PY}:27", "odyssey.optim.SGD", "odyssey.autograd may import only odyssey.autograd"],
    ),
    "autograd imports optim through the top": (
        "imports",
        add(TAPE_PY, "\nfrom odyssey import SGD\n"),
        ["odyssey.autograd may import only"],
    ),
    "autograd imports optim by a relative path": (
        "imports",
        add(TAPE_PY, "\nfrom ..optim.sgd import SGD\n"),
        ["odyssey.optim.sgd"],
    ),
    "a chapter imports a later one": (
        "imports",
        add(TAPE_PY, "\nfrom odyssey.autograd import exp\n"),
        ["odyssey.autograd.primitives.elementwise", "a later chapter", "tape may import only what comes before it"],
    ),
    "a chapter imports a later one through a helper": (
        "imports",
        lambda house: (
            house.file("odyssey/autograd/_help.py", "from .primitives import exp\n"),
            house.append(TAPE_PY, "\nfrom . import _help\n"),
        ),
        ["odyssey.autograd._help", "tape may import only"],
    ),
    "an exercise needs a later chapter": (
        "imports",
        add("odyssey/exercises/primitives.py", "from odyssey import SGD\n"),
        ["odyssey/exercises/primitives.py:2", "a later chapter"],
    ),
    "a file of 401 lines": ("length", add(SGD_PY, "# more\n" * 396), [SGD_PY, "401 lines", "400"]),
    "an assignment to a class in a test": (
        "patching",
        add(TEST_PY, "\n\ndef test_patched():\n    Tensor.backward = None\n"),
        [TEST_PY, "line 12", "assigns Tensor.backward"],
    ),
    "an assignment to a module": (
        "patching",
        add(TEST_PY, "\nimport odyssey\nodyssey.autograd.tape.Tensor = int\n"),
        ["assigns odyssey.autograd.tape.Tensor"],
    ),
    "an assignment in a tuple": ("patching", add(TEST_PY, "\ntape.LIMIT, x = 1, 2\n"), ["assigns tape.LIMIT"]),
    "an assignment in the package": (
        "patching",
        add("odyssey/autograd/primitives/elementwise.py", "\nTensor.exp = exp\n"),
        ["elementwise.py", "assigns Tensor.exp"],
    ),
    "an assignment in a chapter": (
        "patching",
        set_tape(0, "source", "import odyssey.optim as optim\noptim.SGD = None"),
        [TAPE_NB, "assigns optim.SGD"],
    ),
    "setattr": ("patching", add(TEST_PY, "\nsetattr(tape, 'backward', None)\n"), ["calls setattr(tape, ...)"]),
    "monkeypatch with an object": (
        "patching",
        add(TEST_PY, "\nmonkeypatch.setattr(Tensor, 'data', 1)\n"),
        ["monkeypatch.setattr(Tensor"],
    ),
    "monkeypatch with a name": (
        "patching",
        add(TEST_PY, "\nmonkeypatch.setattr('odyssey.autograd.tape.LIMIT', 1)\n"),
        ["odyssey.autograd.tape.LIMIT"],
    ),
    "mock.patch": (
        "patching",
        add(TEST_PY, "\nmock.patch('odyssey.autograd.exp')\n"),
        ["mock.patch(odyssey.autograd.exp"],
    ),
    "a change to __dict__": ("patching", add(TEST_PY, "\nvars(tape)['LIMIT'] = 1\n"), ["assigns vars(tape)[...]"]),
    "a deletion": ("patching", add(TEST_PY, "\ndel tape.LIMIT\n"), ["deletes tape.LIMIT"]),
    "a cell that was not executed": (
        "chapters",
        set_tape(3, "execution_count", None),
        [TAPE_NB, "execution count is None, should be 4", "make notebooks"],
    ),
    "cells executed out of order": (
        "chapters",
        set_tape(3, "execution_count", 9),
        ["execution count is 9, should be 4"],
    ),
    "no alt text": (
        "chapters",
        set_metadata(4, mystnb={"figure": FIGURE["figure"]}),
        ["cell 10", "no alt text", "mystnb.image.alt"],
    ),
    "no caption": ("chapters", set_metadata(4, mystnb={"image": FIGURE["image"]}), ["no caption", "no name"]),
    "two images in one cell": ("chapters", set_tape(4, "outputs", [IMAGE, IMAGE]), ["2 images"]),
    "a drawing without words": (
        "chapters",
        set_tape(
            3, "outputs", [{"output_type": "display_data", "data": {"text/html": ["<svg></svg>"]}, "metadata": {}}]
        ),
        ["neither an aria-label nor a <title>"],
    ),
    "an address in an output": (
        "chapters",
        set_tape(3, "outputs", [{"output_type": "execute_result", "data": {"text/plain": ["[<Line2D at 0x7f31>]"]}}]),
        ["address", "at 0x7f31"],
    ),
    "a missing section": (
        "chapters",
        swap("## The derivation", "## A derivation"),
        ["'## The derivation' stands 0 times"],
    ),
    "sections out of order": (
        "chapters",
        lambda house: (
            house.replace(TAPE_NB, "## The idea", "## X"),
            house.replace(TAPE_NB, "## The problem", "## The idea"),
            house.replace(TAPE_NB, "## X", "## The problem"),
        ),
        ["out of order", "The idea, The problem"],
    ),
    "two exercises": ("chapters", swap("```{exercise} Number 3", "```{note} Number 3"), ["2 exercises", "at least 3"]),
    "no solution": ("chapters", swap("{solution} ex-2", "{solution} ex-1"), ["exercise ex-2 has no solution"]),
    "an open solution": (
        "chapters",
        swap('"```{solution} ex-3\\n",\n    ":class: dropdown\\n",', '"```{solution} ex-3\\n",'),
        ["solution of ex-3 is not folded"],
    ),
    "an error in the outputs": (
        "chapters",
        set_tape(3, "outputs", [{"output_type": "error", "ename": "ValueError", "evalue": "", "traceback": []}]),
        ["stored an error, ValueError"],
    ),
    "words stored in pieces": (
        "chapters",
        set_tape(3, "outputs", [printed("w"), printed("w")]),
        ["cell 9: what it printed is stored in pieces"],
    ),
    "words on stderr": ("chapters", set_tape(3, "outputs", [{**printed("w"), "name": "stderr"}]), ["wrote to stderr"]),
    "too many exempt cells": (
        "chapters",
        lambda house: house.edit(
            "autograd/tape",
            lambda cells: [cell.update(metadata={"tags": ["nbval-ignore-output"]}) for cell in cells[:3]],
        ),
        ["4 of 6 code cells are exempt"],
    ),
    "exempt by a comment": (
        "chapters",
        set_tape(3, "source", "# NBVAL_SKIP\nprint(3)"),
        ["by other means than the tag"],
    ),
    "a source cell of 46 lines": (
        "chapters",
        set_tape(2, "source", "# odyssey/autograd/tape.py\n" + "\n".join(f"a{number} = 1" for number in range(45))),
        ["a source cell of 46 lines"],
    ),
    "a source cell of 101 columns": (
        "chapters",
        set_tape(2, "source", "# odyssey/autograd/tape.py\na = " + "1" * 97),
        ["a source cell of 101 columns"],
    ),
    "a notebook outside the table of contents": (
        "chapters",
        lambda house: house.book("autograd/lost", chapter()),
        ["book/autograd/lost.ipynb: not in _toc.yml"],
    ),
    "a page that does not exist": (
        "chapters",
        add("_toc.yml", "  - file: book/optim/adam\n"),
        ["no file book/optim/adam.ipynb"],
    ),
}


@pytest.mark.parametrize("name", BREAKS)
def test_guard_reports_the_break(house: House, name: str) -> None:
    guard, damage, words = BREAKS[name]
    damage(house)
    problems = GUARDS[guard](house.root)
    assert problems, f"the guard '{guard}' did not see it"
    report = "\n".join(problems)
    assert all(word in report for word in words), report


def test_write_mends_every_difference(house: House) -> None:
    """`make sync`: cells follow their file, the rest of the notebook stays byte for byte."""
    source_cells.main(["--write", "--root", str(house.root)])
    before = (house.root / TAPE_NB).read_text(encoding="utf-8")
    house.replace(TAPE_PY, "LIMIT = 3", "LIMIT = 30_000  # σ")
    assert source_cells.drift(house.root)
    assert source_cells.main(["--write", "--root", str(house.root)]) == 0
    assert source_cells.drift(house.root) == []
    after = (house.root / TAPE_NB).read_text(encoding="utf-8")
    assert before != after
    assert json.loads(before)["cells"][7:] == json.loads(after)["cells"][7:]
    assert "LIMIT = 30_000  # σ" in after


def test_write_leaves_what_it_cannot_mend(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    house.replace(TAPE_PY, "def backward", "def sweep")
    before = (house.root / TAPE_NB).read_bytes()
    assert source_cells.main(["--write", "--root", str(house.root)]) == 1
    assert (house.root / TAPE_NB).read_bytes() == before
    assert "definition backward is not in the file any more" in capsys.readouterr().out


def test_printed_text_is_stored_as_one() -> None:
    """A kernel sends it in pieces, cut wherever its buffer was flushed."""

    def stream(text: str, name: str = "stdout") -> dict[str, Any]:
        return {"output_type": "stream", "name": name, "text": text}

    pieces = [stream("Lion ends at"), stream(" 0.2"), stream("\n"), stream("noise", "stderr"), stream("end\n")]
    outputs = [*pieces, IMAGE, stream("last")]
    assert notebooks.joined(outputs) == [stream("Lion ends at 0.2\nend\n"), IMAGE, stream("last")]


def test_snapshot_sees_a_replaced_attribute() -> None:
    def take(owner: SimpleNamespace) -> patching.Snapshot:
        return {name: (id(value), "", value) for name, value in vars(owner).items()}

    owner = SimpleNamespace(kept=len, replaced=min, removed=max)
    before = take(owner)
    owner.replaced = sum
    owner.added = 1
    del owner.removed
    assert patching.changes(before, take(owner)) == ["added was added", "removed was removed", "replaced was replaced"]


def run_nbval(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--nbval",
        "-q",
        "-p",
        "no:cacheprovider",
        "-c",
        "empty.ini",
        "small.ipynb",
    ]
    (folder / "empty.ini").write_text("[pytest]\n", encoding="utf-8")
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.parametrize(
    ("stored", "count", "passes"),
    [
        ("2", 1, True),
        ("3", 1, False),
        (None, None, True),  # the trap that makes `execution_problems` necessary: a cell never run is not compared
    ],
)
def test_strict_nbval_compares_stored_text(tmp_path: Path, stored: str | None, count: int | None, passes: bool) -> None:
    pytest.importorskip("nbval")
    notebook = chapter(code("print(1 + 1)", [printed(stored)] if stored else []))
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            cell["execution_count"] = count
    (tmp_path / "small.ipynb").write_text(json.dumps(notebook), encoding="utf-8")
    result = run_nbval(tmp_path)
    assert (result.returncode == 0) == passes, result.stdout
    assert passes or "mismatch" in result.stdout
