"""The exercises of the chapter *The tape*: solutions pass, stubs fail, each named mistake gets its own hint."""

import io
import math
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from odyssey.exercises import tape as checks
from tools.chapters import exercise_cells
from tools.source_cells import cell_text, load

CHAPTER = Path(__file__).parents[2] / "book/autograd/tape.ipynb"
EXERCISES = ("adjoints", "unbroadcast", "softplus", "dual", "checkpoint")


def cells_of(exercise: str) -> tuple[str, list[str]]:
    return exercise_cells(load(CHAPTER), f"ex-tape-{exercise}")


def printed_by(source: list[str]) -> str:
    # A stub may use what the chapter has imported by then; a solution brings its own imports.
    scope: dict[str, Any] = {"np": np} if len(source) == 1 else {}
    printed = io.StringIO()
    with redirect_stdout(printed):
        for text in source:
            exec(text, scope)
    return printed.getvalue()


@pytest.mark.parametrize("exercise", EXERCISES)
def test_solution_passes(exercise: str) -> None:
    _, solution = cells_of(exercise)
    assert solution
    assert printed_by(solution).startswith("Correct: ")


@pytest.mark.parametrize("exercise", EXERCISES)
def test_stub_gets_a_hint(exercise: str) -> None:
    stub, _ = cells_of(exercise)
    assert stub
    printed = printed_by([stub])
    assert printed.startswith("Not yet: ")
    assert "your code raised" not in printed


def test_every_check_belongs_to_an_exercise() -> None:
    text = "".join(cell_text(cell) for cell in load(CHAPTER)["cells"])
    named = [name for name in vars(checks) if name.startswith("check_")]
    assert len(named) == len(EXERCISES)
    assert all(f"{name}(" in text for name in named)


def hint(check: Callable[[Any], bool], answer: Any, capsys: pytest.CaptureFixture[str]) -> str:
    assert check(answer) is False
    printed = capsys.readouterr().out
    assert printed.startswith("Not yet: ")
    return printed


# ---- The sweep ----


def sweep_with(
    overwrite: bool = False, oldest_first: bool = False, seed: float = 1.0, slopes_only: bool = False
) -> Callable[[checks.Lines], list[float]]:
    def adjoints(lines: checks.Lines) -> list[float]:
        result = [0.0] * (len(lines) - 1) + [seed]
        numbers = range(len(lines))
        for i in numbers if oldest_first else reversed(numbers):
            for j, slope in lines[i]:
                sent = slope if slopes_only else slope * result[i]
                result[j] = sent if overwrite else result[j] + sent
        return result

    return adjoints


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (sweep_with(overwrite=True), "overwrite where gradients must add"),
        (sweep_with(oldest_first=True), "order of recording"),
        (sweep_with(seed=0.0), "start with 1 at the last line"),
        (sweep_with(seed=2.0), "its derivative by itself, 1, but you give 2"),
        (sweep_with(slopes_only=True), "multiply each by the adjoint"),
        (lambda lines: None, "returns None"),
        (lambda lines: [1.0], "expected 8 adjoints"),
        (lambda lines: [0.5] * 7 + [1.0], "expected"),
        (lambda lines: 1 / 0, "your code raised ZeroDivisionError"),
    ],
)
def test_adjoints_mistakes(answer: Any, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert words in hint(checks.check_adjoints, answer, capsys)


def test_adjoints_does_not_let_an_answer_spoil_the_tape(capsys: pytest.CaptureFixture[str]) -> None:
    def spoil(lines: checks.Lines) -> list[float]:
        for line in lines:
            line.clear()
        return [0.0] * len(lines)

    hint(checks.check_adjoints, spoil, capsys)
    assert checks.check_adjoints(sweep_with())


# ---- Un-broadcasting ----


def sum_to(g: Any, shape: tuple[int, ...], reduce: str = "sum") -> Any:
    while g.ndim > len(shape):
        g = getattr(g, reduce)(axis=0)
    for axis, n in enumerate(shape):
        if n == 1:
            g = getattr(g, reduce)(axis=axis, keepdims=True)
    return g


def wrong_axis(g: Any, shape: tuple[int, ...]) -> Any:
    return sum_to(g.T if g.shape == (3, 3) and shape != (3, 3) else g, shape)


def wrong_new_axis(g: Any, shape: tuple[int, ...]) -> Any:
    return g.sum(axis=1) if g.shape == (3, 3) and shape == (3,) else sum_to(g, shape)


def without_keepdims(g: Any, shape: tuple[int, ...]) -> Any:
    axes = tuple(i for i, n in enumerate((1,) * (g.ndim - len(shape)) + shape) if n != g.shape[i])
    return g.sum(axis=axes)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda g, shape: g, "you return g as it is"),
        (wrong_axis, "wrong axis"),
        (lambda g, shape: wrong_axis(g, shape).reshape(shape), "wrong axis"),
        (wrong_new_axis, "wrong axis"),
        (without_keepdims, "keepdims"),
        (lambda g, shape: sum_to(g, shape, "mean"), "you average the 3 copies"),
        (lambda g, shape: sum_to(g, shape, "max"), "expected [["),
        (lambda g, shape: None, "returns None"),
    ],
)
def test_unbroadcast_mistakes(answer: Any, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert words in hint(checks.check_unbroadcast, answer, capsys)


# ---- A new primitive ----


def softplus_with(out: Any = None, slope: Any = None) -> Callable[[Any], Any]:
    def value(x: Any) -> Any:
        return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))

    def sigmoid(x: Any) -> Any:
        return 0.5 + 0.5 * np.tanh(0.5 * x)

    return lambda x: ((out or value)(x), lambda g: ((slope or (lambda g, x: g * sigmoid(x)))(g, x),))


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (softplus_with(out=lambda x: np.log(1 + np.exp(x))), "overflows"),
        (softplus_with(out=np.exp), "softplus(0) is log 2"),
        (softplus_with(slope=lambda g, x: g), "passes g on unchanged"),
        (softplus_with(slope=lambda g, x: 1 / (1 + np.exp(-x))), "does not depend on g"),
        (softplus_with(slope=lambda g, x: g * np.log1p(np.exp(x))), "by the value of softplus"),
        (softplus_with(slope=lambda g, x: g / (1 + np.exp(x))), "falls where it should rise"),
        (softplus_with(slope=lambda g, x: g * np.exp(x) / (1 + np.exp(x))), "the slopes at -1000 and 1000"),
        (softplus_with(slope=lambda g, x: 3 * g), "the gradient is"),
        (softplus_with(slope=lambda g, x: g.astype(np.float64) * (0.5 + 0.5 * np.tanh(x / 2))), "upcasts"),
        (lambda x: np.log1p(np.exp(x)), "returns a tuple (out, vjp)"),
        (lambda x: (np.log1p(np.exp(x)), x), "is a function of g"),
        (lambda x: (np.log1p(np.exp(x)), lambda g: g), "mind the comma"),
    ],
)
def test_softplus_mistakes(answer: Any, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert words in hint(checks.check_softplus, answer, capsys)


# ---- Dual numbers ----


def dual_with(product: Any = None, sine: Any = None, total: Any = None) -> type:
    class Dual:
        def __init__(self, value: float, slope: float) -> None:
            self.value, self.slope = value, slope

        def __add__(self, other: Any) -> Any:
            return Dual(self.value + other.value, (total or (lambda a, b: a.slope + b.slope))(self, other))

        def __mul__(self, other: Any) -> Any:
            rule = product or (lambda a, b: a.slope * b.value + a.value * b.slope)
            return Dual(self.value * other.value, rule(self, other))

        def sin(self) -> Any:
            return Dual(math.sin(self.value), (sine or (lambda a: math.cos(a.value) * a.slope))(self))

    return Dual


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (dual_with(product=lambda a, b: a.slope * b.slope), "you multiply the slopes"),
        (dual_with(product=lambda a, b: a.slope * b.value), "you keep only u'v of"),
        (dual_with(product=lambda a, b: a.value * b.slope), "you keep only uv' of"),
        (dual_with(product=lambda a, b: a.slope + b.slope), "you add the slopes"),
        (dual_with(product=lambda a, b: 0.0), "the slope of the product should be -2.5"),
        (dual_with(sine=lambda a: math.cos(a.value)), "you forget the inner slope"),
        (dual_with(sine=lambda a: math.sin(a.value) * a.slope), "multiply by the sine"),
        (dual_with(sine=lambda a: -math.cos(a.value) * a.slope), "its sign is wrong"),
        (dual_with(total=lambda a, b: a.slope), "the slope of the sum should be -1.5"),
    ],
)
def test_dual_mistakes(answer: Any, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert words in hint(checks.check_dual, answer, capsys)


def test_dual_must_return_duals(capsys: pytest.CaptureFixture[str]) -> None:
    class Plain(dual_with()):  # type: ignore[misc]
        def __mul__(self, other: Any) -> Any:
            return self.value * other.value

    assert "the product must be a Dual again" in hint(checks.check_dual, Plain, capsys)


# ---- Checkpoints ----


def keeps_all(step: Any, slope: Any, x: Any, n: int) -> tuple[float, float]:
    values = [x]
    for _ in range(n):
        values.append(step(values[-1]))
    return values[-1], math.prod(slope(v) for v in values[:-1])


def starts_again(step: Any, slope: Any, x: Any, n: int) -> tuple[float, float]:
    gradient, end = 1.0, x
    for _ in range(n):
        end = step(end)
    for k in reversed(range(n)):
        v = x
        for _ in range(k):
            v = step(v)
        gradient *= slope(v)
    return end, gradient


def segments(
    step: Any, slope: Any, x: Any, n: int, length: int = 0, shift: int = 0, drop_last: bool = False
) -> tuple[float, float]:
    length = length or math.isqrt(n)
    checkpoints, v = [], x
    for k in range(n):
        if k % length == 0:
            checkpoints.append(v)
        v = step(v)
    end, gradient = v, 1.0
    for number in reversed(range(len(checkpoints))):
        stop = min(n, (number + 1) * length)
        if drop_last and stop - number * length < length:
            checkpoints.pop()
            continue
        segment = [checkpoints.pop()]
        while len(segment) < stop - number * length + shift:
            segment.append(step(segment[-1]))
        for value in segment[shift:]:
            gradient *= slope(value)
    return end, gradient


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (keeps_all, "as many as on a full tape"),
        (starts_again, "Start again from the nearest checkpoint"),
        (lambda *args: segments(*args, length=4), "√n checkpoints and one segment"),
        (lambda *args: segments(*args, shift=1), "take it at the step's input"),
        (lambda *args: segments(*args, drop_last=True), "The last segment is shorter"),
        (lambda step, slope, x, n: (x, 1.0), "after 400 steps"),
        (lambda step, slope, x, n: (segments(step, slope, x, n)[0], 2.0), "the derivative is"),
        (lambda step, slope, x, n: None, "return two numbers"),
    ],
)
def test_checkpoint_mistakes(answer: Any, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert words in hint(checks.check_checkpointed, answer, capsys)


def test_checkpoints_pass_for_another_length(capsys: pytest.CaptureFixture[str]) -> None:
    assert checks.check_checkpointed(lambda *args: segments(*args, length=25))
    assert "Correct" in capsys.readouterr().out
