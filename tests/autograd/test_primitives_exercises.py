"""The exercises of the chapter *The primitives*: solutions pass, stubs fail, each named mistake gets its own hint."""

import io
import warnings
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from odyssey import Tensor, gradcheck
from odyssey.autograd import PRIMITIVES, primitive
from odyssey.exercises import primitives as checks
from tools.chapters import exercise_cells
from tools.source_cells import load

CHAPTER = Path(__file__).parents[2] / "book/autograd/primitives.ipynb"
# The name that the reader's function has in the stub.
ANSWERS = {"scatter": "scatter_vjp", "var": "var_vjp", "norm": "norm_vjp", "logdet": "logdet"}


def cells_of(exercise: str) -> tuple[str, list[str]]:
    return exercise_cells(load(CHAPTER), f"ex-primitives-{exercise}")


def run(source: list[str]) -> tuple[dict[str, Any], str]:
    scope: dict[str, Any] = {
        "np": np,
        "Tensor": Tensor,
        "primitive": primitive,
        "PRIMITIVES": PRIMITIVES,
        "gradcheck": gradcheck,
        **{name: getattr(checks, name) for name in dir(checks) if name.startswith("check_")},
    }
    printed = io.StringIO()
    before = dict(PRIMITIVES)
    try:
        with redirect_stdout(printed):
            for text in source:
                exec(text, scope)
    finally:  # the last solution registers a primitive; other tests iterate the table
        for name in set(PRIMITIVES) - set(before):
            del PRIMITIVES[name]
    return scope, printed.getvalue()


@pytest.mark.parametrize("exercise", ANSWERS)
def test_the_solution_passes(exercise: str) -> None:
    _, solution = cells_of(exercise)
    scope, printed = run(solution)
    assert printed.startswith("Correct: ")
    assert getattr(checks, f"check_{exercise}")(scope[ANSWERS[exercise]])


@pytest.mark.parametrize("exercise", ANSWERS)
def test_the_stub_fails_with_a_hint(exercise: str) -> None:
    stub, _ = cells_of(exercise)
    scope, printed = run([stub])
    assert printed.startswith("Not yet: ")
    assert not getattr(checks, f"check_{exercise}")(scope[ANSWERS[exercise]])


def test_every_check_is_used_in_the_chapter() -> None:
    assert {name.removeprefix("check_") for name in dir(checks) if name.startswith("check_")} == set(ANSWERS)


def scatter_by_assignment(g: Any, index: Any, n: int) -> Any:
    out = np.zeros((n, g.shape[1]))
    out[index] = g
    return out


def scatter_by_buffered_sum(g: Any, index: Any, n: int) -> Any:
    out = np.zeros((n, g.shape[1]))
    out[index] += g
    return out


def scatter_keeping_the_first(g: Any, index: Any, n: int) -> Any:
    out = np.zeros((n, g.shape[1]))
    out[index[::-1]] = g[::-1]
    return out


def scatter_averaging(g: Any, index: Any, n: int) -> Any:
    out = np.zeros((n, g.shape[1]))
    np.add.at(out, index, g)
    return out / np.maximum(np.bincount(index, minlength=n), 1)[:, None]


def scatter_too_short(g: Any, index: Any, n: int) -> Any:
    return np.stack([np.bincount(index, g[:, k]) for k in range(g.shape[1])], axis=1)


def scatter_without_negatives(g: Any, index: Any, n: int) -> Any:
    return np.stack([np.bincount(index, g[:, k], minlength=n) for k in range(g.shape[1])], axis=1)


def variance(wrong: Callable[[Any, Any, int, int], Any]) -> Callable[..., Any]:
    """A wrong vjp from a function of (g as a column, deviations, n, ddof)."""

    def answer(g: Any, x: Any, axis: int, ddof: int) -> Any:
        return wrong(np.expand_dims(g, axis), x - x.mean(axis=axis, keepdims=True), x.shape[axis], ddof)

    return answer


def var_without_keepdims(g: Any, x: Any, axis: int, ddof: int) -> Any:
    return g * 2 * (x - x.mean(axis=axis, keepdims=True)) / (x.shape[axis] - ddof)


def var_of_squares(g: Any, x: Any, axis: int, ddof: int) -> Any:
    return np.expand_dims(g, axis) * 2 * x / (x.shape[axis] - ddof)


def var_only_for_rows(g: Any, x: Any, axis: int, ddof: int) -> Any:
    return g[:, None] * 2 * (x - x.mean(axis=axis, keepdims=True)) / (x.shape[axis] - ddof)


def var_that_fits_square_arrays_only_by_chance(g: Any, x: Any, axis: int, ddof: int) -> Any:
    column = g if x.shape[0] == x.shape[1] else np.expand_dims(g, axis)
    return column * 2 * (x - x.mean(axis=axis, keepdims=True)) / (x.shape[axis] - ddof)


def lengths(x: Any) -> Any:
    return np.sqrt((x * x).sum(axis=1, keepdims=True))


def norm_square_without_keepdims(g: Any, x: Any) -> Any:
    return (g if x.shape == (3, 3) else g[:, None]) * x / np.where(lengths(x) == 0, 1, lengths(x))


def norm_with_flat_lengths(g: Any, x: Any) -> Any:
    length = lengths(x)
    return g[:, None] * x / (length.T if x.shape == (3, 3) else np.where(length == 0, 1, length))


def norm_with_threshold(g: Any, x: Any) -> Any:
    return g[:, None] * np.where(lengths(x) < 1e-8, 0, x / np.where(lengths(x) == 0, 1, lengths(x)))


def log_determinant(wrong: Callable[[Any, Any], Any], sign: bool = True) -> Callable[[Any], Any]:
    """A rule whose vjp is a wrong function of (g with two axes more, A)."""

    def answer(A: Any) -> Any:
        determinant = np.linalg.det(A)
        return np.log(np.abs(determinant)), lambda g: (wrong(g[..., None, None], A),)

    return answer


def logdet_without_abs(A: Any) -> Any:
    with np.errstate(invalid="ignore"):
        return np.log(np.linalg.det(A)), lambda g: (g[..., None, None] * np.linalg.inv(A).mT,)


def logdet_gradient_without_tuple(A: Any) -> Any:
    return np.log(np.abs(np.linalg.det(A))), lambda g: g[..., None, None] * np.linalg.inv(A).mT


def logdet_for_one_matrix(A: Any) -> Any:
    return np.log(np.abs(np.linalg.det(A))), lambda g: (g * np.linalg.inv(A).mT,)


MISTAKES: list[tuple[str, Callable[..., Any], str]] = [
    ("scatter", scatter_by_assignment, "only one of the gradients survives"),
    ("scatter", scatter_by_buffered_sum, "only one of the gradients survives"),
    ("scatter", scatter_keeping_the_first, "only one of the gradients survives"),
    ("scatter", scatter_averaging, "you average"),
    ("scatter", scatter_too_short, "must have n = 6 rows"),
    ("scatter", scatter_without_negatives, "negative index counts from the end"),
    ("scatter", lambda g, index, n: None, "returns nothing yet"),
    ("scatter", lambda g, index, n: g @ g, "matmul"),
    ("var", var_without_keepdims, "np.expand_dims(g, axis)"),
    ("var", var_only_for_rows, "np.expand_dims(g, axis)"),
    ("var", var_that_fits_square_arrays_only_by_chance, "a square x hides it"),
    ("var", variance(lambda g, d, n, ddof: g * d / (n - ddof)), "lost the 2"),
    ("var", variance(lambda g, d, n, ddof: g * 2 * d / n), "you divide by n;"),
    ("var", variance(lambda g, d, n, ddof: g * 2 * d * (1 - 1 / n) / (n - ddof)), "only the diagonal"),
    ("var", var_of_squares, "mean of the squares"),
    ("var", variance(lambda g, d, n, ddof: g / n + 0 * d), "gradient of the mean"),
    ("norm", lambda g, x: g * x / lengths(x), "g[:, None]"),
    ("norm", norm_square_without_keepdims, "a square x hides it"),
    ("norm", norm_with_flat_lengths, "so has the norm"),
    ("norm", lambda g, x: g[:, None] * x, "not divided by the norm"),
    ("norm", lambda g, x: g[:, None] * x / lengths(x) ** 2, "squared norm"),
    ("norm", lambda g, x: g[:, None] * x * 2 / lengths(x), "cancels with the 1/2"),
    ("norm", lambda g, x: g[:, None] * x / 2 / lengths(x), "cancels with the 2"),
    ("norm", lambda g, x: g[:, None] * x / lengths(x), "0/0"),
    ("norm", lambda g, x: g[:, None] * x / (lengths(x) + 1e-12), "bends everything near it"),
    ("norm", norm_with_threshold, "bends everything near it"),
    ("logdet", lambda A: np.log(np.abs(np.linalg.det(A))), "a rule returns two things"),
    ("logdet", logdet_without_abs, "absolute value"),
    ("logdet", logdet_gradient_without_tuple, "returns a tuple"),
    ("logdet", logdet_for_one_matrix, "g[..., None, None]"),
    ("logdet", log_determinant(lambda g, A: g * np.linalg.inv(A)), "inverse transposed"),
    (
        "logdet",
        log_determinant(lambda g, A: g * np.linalg.inv(A).mT * np.linalg.det(A)[..., None, None]),
        "still asks for 1/det",
    ),
    ("logdet", log_determinant(lambda g, A: np.linalg.inv(A).mT), "g that comes in is missing"),
    (
        "logdet",
        log_determinant(lambda g, A: g * np.linalg.inv(A).mT * np.sign(np.linalg.det(A))[..., None, None]),
        "keep the sign",
    ),
]


@pytest.mark.parametrize(("exercise", "answer", "hint"), MISTAKES)
def test_a_named_mistake_gets_its_hint(
    exercise: str, answer: Callable[..., Any], hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not getattr(checks, f"check_{exercise}")(answer)
    printed = capsys.readouterr().out
    assert printed.startswith("Not yet: ")
    assert hint in printed
