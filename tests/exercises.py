"""What the tests of the exercises share: which exercises a chapter has, how their cells run, what a check says."""

import math
import re
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import odyssey.nn.functional as F
from odyssey import Tensor, no_grad
from odyssey.optim.beyond_adam import QUINTIC
from odyssey.optim.clipping import clip_grad_norm
from tools.chapters import exercise_cells
from tools.source_cells import cell_text, load

BOOK = Path(__file__).parents[1] / "book"
CHAPTERS = {path.stem: path for part in ("optim", "nn", "train") for path in sorted((BOOK / part).glob("*.ipynb"))}

# What a chapter has imported before its exercises, as far as they use it.
IMPORTED = {
    "np": np,
    "F": F,
    "Tensor": Tensor,
    "no_grad": no_grad,
    "QUINTIC": QUINTIC,
    "clip_grad_norm": clip_grad_norm,
    **{name: getattr(math, name) for name in ("sqrt", "log", "cos", "ceil", "pi", "inf")},
}


def labels_of(chapter: str) -> list[str]:
    """The labels of all exercises of a chapter."""
    texts = [cell_text(cell) for cell in load(CHAPTERS[chapter])["cells"] if cell["cell_type"] == "markdown"]
    return [label for text in texts for label in re.findall(r"^```\{exercise\}.*\n:label: (\S+)$", text, re.MULTILINE)]


def checks_of(chapter: str) -> list[str]:
    """The names of the checks in `odyssey.exercises.<chapter>`."""
    return sorted(name for name in vars(import_module(f"odyssey.exercises.{chapter}")) if name.startswith("check_"))


def run(chapter: str, *codes: str) -> None:
    """Run cells of a chapter, one after the other, as its reader would."""
    namespace = dict(IMPORTED)
    for code in codes:
        exec(f"from odyssey.exercises.{chapter} import *\n{code}", namespace)


def stub_and_solution(chapter: str, label: str) -> tuple[str, list[str]]:
    """The code of the stub, and of each code cell of the solution."""
    return exercise_cells(load(CHAPTERS[chapter]), label)


def hint(check: Callable[..., bool], answer: Any, capsys: pytest.CaptureFixture[str]) -> str:
    """What the check prints about a wrong answer."""
    assert check(answer) is False
    out = capsys.readouterr().out
    assert out.startswith("Not yet: ")
    return out
