"""What is shown is what runs: no statement replaces an attribute of the package, and no run does."""

import ast
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tools.chapters import chapters
from tools.patching import changes, patching_problems, snapshot
from tools.source_cells import HEADER, cell_text, load

ROOT = Path(__file__).parents[2]
# These two write such statements as text, or into a copy, to see them caught.
EXEMPT = ("tests/book/test_guards.py", "tests/book/test_no_monkeypatching.py")


def test_no_statement_replaces_a_package_attribute() -> None:
    problems = patching_problems(ROOT, exempt=EXEMPT)
    assert not problems, "\n".join(problems)


def test_using_the_package_replaces_nothing() -> None:
    before = snapshot()
    from odyssey import Tensor, gradcheck, no_grad
    from odyssey.autograd import detect_anomaly

    x = Tensor(np.linspace(-1.0, 1.0, 12).reshape(3, 4), requires_grad=True)
    w = Tensor(np.linspace(0.5, 2.0, 8).reshape(4, 2), requires_grad=True)
    with detect_anomaly():
        loss = (np.tanh(x @ w) ** 2).sum()
        loss.backward()
    with no_grad():
        (x @ w).sum()
    assert gradcheck(lambda a, b: (np.exp(a) * b).sum(), x.detach().numpy(), x.detach().numpy())
    assert changes(before, snapshot()) == []


@pytest.fixture
def registries() -> Iterator[None]:
    """Source cells register their operations again, which is meant; the other tests get the package's own back."""
    from odyssey.autograd import NUMPY_RULES, PRIMITIVES

    kept = [(table, dict(table)) for table in (PRIMITIVES, NUMPY_RULES)]
    yield
    for table, entries in kept:
        table.clear()
        table.update(entries)


@pytest.mark.usefixtures("registries")
def test_the_code_that_the_chapters_show_replaces_nothing() -> None:
    """Runs the imports and the source cells of every chapter, which define the shown code a second time."""
    pytest.importorskip("matplotlib")
    pytest.importorskip("myst_nb")
    before = snapshot()
    for path in chapters(ROOT):
        scope: dict[str, object] = {"__name__": path.stem}
        for cell in load(path)["cells"]:
            text = cell_text(cell)
            if cell["cell_type"] != "code" or text.startswith("%%"):
                continue
            if HEADER.fullmatch(text.partition("\n")[0]):
                exec(compile(text, f"{path.name}: {text.splitlines()[0]}", "exec"), scope)
            elif not any(line.startswith(("%", "!")) for line in text.splitlines()):
                imports = [node for node in ast.parse(text).body if isinstance(node, ast.Import | ast.ImportFrom)]
                exec(compile(ast.Module(imports, []), path.name, "exec"), scope)
    assert changes(before, snapshot()) == []
