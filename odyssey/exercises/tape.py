"""Checks for the exercises of the chapter *The tape*."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ._check import NotYet, exercise

# Of each line of a tape: (line of the input, slope of the operation in that input).
Lines = list[list[tuple[int, float]]]

# A line that is read three times, an input used twice by one line, and a line that nobody reads.
FAN_OUT: Lines = [
    [],
    [],
    [(0, 3.0), (1, 2.0)],
    [(0, -0.5)],
    [(2, 4.0), (0, 1.5)],
    [(1, 7.0)],
    [(3, 2.0), (3, 0.25)],
    [(4, -1.0), (6, 5.0), (2, 0.5)],
]


def reference_adjoints(lines: Lines, overwrite: bool = False, oldest_first: bool = False) -> list[float]:
    """The adjoints of all lines if the last one is the loss; or what two classical mistakes give."""
    adjoints = [0.0] * len(lines)
    adjoints[-1] = 1.0
    numbers = range(len(lines))
    for i in numbers if oldest_first else reversed(numbers):
        for j, slope in lines[i]:
            adjoints[j] = slope * adjoints[i] + (0.0 if overwrite else adjoints[j])
    return adjoints


@exercise
def check_adjoints(answer: Callable[[Lines], list[float]]) -> str:
    """`answer(lines)` returns the adjoint of every line, the last one being the loss."""
    got = answer([list(line) for line in FAN_OUT])
    if got is None:
        raise NotYet("your function returns None; return the list of adjoints, one for each line")
    if len(got) != len(FAN_OUT):
        raise NotYet(f"expected {len(FAN_OUT)} adjoints, one for each line, got {len(got)}")
    if np.allclose(got, 0):
        raise NotYet(
            "all adjoints are 0; the sweep must start with 1 at the last line, the derivative of the loss by itself"
        )
    if np.allclose(got, reference_adjoints(FAN_OUT, overwrite=True)):
        raise NotYet(
            "line 0 is read by three lines, but only one of them counts: you overwrite where gradients must add"
        )
    if np.allclose(got, reference_adjoints(FAN_OUT, oldest_first=True)):
        raise NotYet(
            "the lines are taken in the order of recording; then a line passes on its adjoint before anything "
            "has arrived. Go from the last line to the first"
        )
    if abs(got[-1] - 1) > 1e-12:
        raise NotYet(f"the adjoint of the last line is its derivative by itself, 1, but you give {got[-1]:g}")
    if np.allclose(got, _slopes_only(FAN_OUT)):
        raise NotYet("you add the slopes alone; multiply each by the adjoint of the line that it belongs to")
    if not np.allclose(got, reference_adjoints(FAN_OUT)):
        worst = int(np.argmax(np.abs(np.subtract(got, reference_adjoints(FAN_OUT)))))
        raise NotYet(
            f"line {worst} has the adjoint {got[worst]:g}, expected {reference_adjoints(FAN_OUT)[worst]:g}; "
            f"the tape was {FAN_OUT}"
        )
    return "each line receives from all lines that read it, and is complete when its turn comes."


def _slopes_only(lines: Lines) -> list[float]:
    adjoints = [0.0] * (len(lines) - 1) + [1.0]
    for line in lines:
        for j, slope in line:
            adjoints[j] += slope
    return adjoints


@exercise
def check_unbroadcast(answer: Callable[[Any, tuple[int, ...]], Any]) -> str:
    """`answer(g, shape)` sums g to `shape`, the shape before broadcasting."""
    square = np.arange(9.0).reshape(3, 3) ** 2
    cases = [
        (square, (3, 3)),
        (square, (1, 3)),
        (square, (3, 1)),
        (square, (3,)),
        (np.arange(24.0).reshape(2, 3, 4) ** 2, (3, 1)),
        (np.arange(24.0).reshape(2, 3, 4) ** 2, (1, 3, 4)),
        (square, ()),
    ]
    for g, shape in cases:
        got = answer(g.copy(), shape)
        if got is None:
            raise NotYet("your function returns None; return the summed gradient")
        expected = _summed_to(g, shape)
        what = f"from {g.shape} to {shape}"
        if g is square and len(expected.ravel()) == 3 and _same(np.ravel(got), np.ravel(_summed_to(g.T, shape))):
            raise NotYet(f"{what}: you sum over the wrong axis; sum over the one along which {shape} was copied")
        if np.shape(got) != shape:
            if np.shape(got) == g.shape:
                raise NotYet(f"{what}: you return g as it is; sum over the axes along which broadcasting copied")
            raise NotYet(
                f"{what}: the result has shape {np.shape(got)}; an axis of length 1 stays (keepdims), a new one goes"
            )
        if np.allclose(got, expected):
            continue
        count = g.size // max(1, expected.size)
        if np.allclose(np.multiply(got, count), expected):
            raise NotYet(f"{what}: you average the {count} copies; their gradients add, so sum")
        raise NotYet(f"{what}: expected {expected.tolist()}, got {np.asarray(got).tolist()}")
    return "copying forward is summing backward, axis by axis."


def _same(x: Any, y: Any) -> bool:
    return bool(x.shape == y.shape and np.allclose(x, y))


def _summed_to(g: Any, shape: tuple[int, ...]) -> Any:
    padded = (1,) * (g.ndim - len(shape)) + shape
    axes = tuple(i for i, n in enumerate(padded) if n != g.shape[i])
    return g.sum(axis=axes, keepdims=True).reshape(shape)


@exercise
def check_softplus(answer: Callable[[Any], Any]) -> str:
    """`answer(x)` is a rule for log(1 + exp(x)): it returns the result and its vjp."""
    x = np.array([-2.0, -0.5, 0.0, 0.3, 1.7, 4.0])
    g = np.array([1.0, -3.0, 2.0, 0.5, 7.0, -1.0])
    sigmoid = 1 / (1 + np.exp(-x))
    with np.errstate(all="ignore"):
        out, (grad,) = _apply_rule(answer, x, g)
        if not np.allclose(out, np.log1p(np.exp(x))):
            raise NotYet(
                f"softplus(0) is log 2 = 0.6931; the first part of what you return is {np.ravel(out)[2]:.4g} there"
            )
        for mistake, hint in (
            (sigmoid, "the gradient does not depend on g; multiply the slope by what comes in"),
            (g, "your vjp passes g on unchanged; multiply it by the slope e**x / (1 + e**x)"),
            (g * out, "you multiply g by the value of softplus; its slope is e**x / (1 + e**x)"),
            (g * (1 - sigmoid), "your slope falls where it should rise: it is e**x / (1 + e**x), not 1 / (1 + e**x)"),
        ):
            if np.allclose(grad, mistake):
                raise NotYet(hint)
        if not np.allclose(grad, g * sigmoid):
            right, given = g[4] * sigmoid[4], np.ravel(grad)[4]
            raise NotYet(f"at x = {x[4]}, with g = {g[4]}, the gradient is {right:.4f}; you give {given:.4f}")
        far = np.array([-1000.0, 1000.0])
        out, (grad,) = _apply_rule(answer, far, np.ones(2))
        if not np.allclose(out, [0.0, 1000.0]):
            raise NotYet(
                f"softplus(1000) is 1000, you give {np.ravel(out)[1]}: e**1000 overflows. "
                "Take max(x, 0) out of the logarithm"
            )
        if not np.allclose(grad, [0.0, 1.0]):
            raise NotYet(
                f"the slopes at -1000 and 1000 are 0 and 1, you give {np.ravel(grad)[0]} and {np.ravel(grad)[1]}; "
                "write the slope so that no power overflows"
            )
        single = x.astype(np.float32)
        out, (grad,) = _apply_rule(answer, single, np.ones(6, np.float32))
        if out.dtype != np.float32 or grad.dtype != np.float32:
            raise NotYet(
                f"a float32 input gives {out.dtype} and a gradient of {grad.dtype}; look for an array that upcasts"
            )
    return "value and slope are right, also where e**x overflows."


def _apply_rule(rule: Callable[[Any], Any], x: Any, g: Any) -> tuple[Any, tuple[Any]]:
    answer = rule(x)
    if not isinstance(answer, tuple) or len(answer) != 2:
        raise NotYet(f"a rule returns a tuple (out, vjp), yours returns {type(answer).__name__}")
    out, vjp = answer
    if not callable(vjp):
        raise NotYet(f"the second part of what a rule returns is a function of g, yours is {type(vjp).__name__}")
    grads = vjp(g)
    if not isinstance(grads, tuple) or len(grads) != 1:
        raise NotYet("a vjp returns a tuple with one gradient for each input, here (gradient,): mind the comma")
    return np.asarray(out), (np.asarray(grads[0]),)


@exercise
def check_dual(answer: Any) -> str:
    """`answer` is a class Dual(value, slope) with +, * and sin()."""
    a, b = answer(2.0, 0.5), answer(3.0, -2.0)
    cases: list[tuple[str, Callable[[], Any], float, float, dict[float, str]]] = [
        ("the sum", lambda: a + b, 5.0, -1.5, {}),
        (
            "the product",
            lambda: a * b,
            6.0,
            -2.5,
            {
                -1.0: "you multiply the slopes; the product rule is u'v + uv'",
                1.5: "you keep only u'v of the product rule u'v + uv'",
                -4.0: "you keep only uv' of the product rule u'v + uv'",
                -1.5: "you add the slopes, as for a sum; the product rule is u'v + uv'",
            },
        ),
        (
            "the sine",
            lambda: a.sin(),
            math.sin(2.0),
            0.5 * math.cos(2.0),
            {
                math.cos(2.0): "you forget the inner slope; the chain rule is cos(u) u'",
                0.5 * math.sin(2.0): "you multiply by the sine; its slope is cos(u) u'",
                -0.5 * math.cos(2.0): "its sign is wrong; the slope is cos(u) u'",
            },
        ),
    ]
    for name, compute, value, slope, mistakes in cases:
        result = compute()
        if result is None or not hasattr(result, "slope") or not hasattr(result, "value"):
            raise NotYet(f"{name} must be a Dual again, with a value and a slope, got {type(result).__name__}")
        if not math.isclose(float(result.value), value):
            raise NotYet(f"the value of {name} should be {value:.4g}, got {float(result.value):.4g}")
        for wrong, hint in mistakes.items():
            if math.isclose(float(result.slope), wrong):
                raise NotYet(f"the slope of {name}: {hint}")
        if not math.isclose(float(result.slope), slope):
            raise NotYet(f"the slope of {name} should be {slope:.4g}, got {float(result.slope):.4g}")
    for k, (expected, name) in enumerate(((3 + math.cos(2.0), "x1"), (2.0, "x2"))):
        x1, x2 = answer(2.0, float(k == 0)), answer(3.0, float(k == 1))
        f = x1 * x2 + x1.sin()
        if not math.isclose(float(f.slope), expected):
            raise NotYet(f"the example's derivative by {name} is {expected:.4f}, got {float(f.slope):.4f}")
    return "the slope travels with the value; one run gives the derivative along one direction."


class Counted(float):
    """A float that knows how many of its kind are alive."""

    alive = 0
    peak = 0

    def __new__(cls, value: float) -> Counted:
        made = super().__new__(cls, value)
        Counted.alive += 1
        Counted.peak = max(Counted.peak, Counted.alive)
        return made

    def __del__(self) -> None:
        Counted.alive -= 1


@exercise
def check_checkpointed(answer: Callable[..., tuple[float, float]]) -> str:
    """`answer(step, slope, x, n)` returns the end of a chain of n steps and its derivative by x."""
    for n in (400, 411):
        values = [0.7]
        for _ in range(n):
            values.append(_step(values[-1]))
        slopes = [_slope(v) for v in values]
        calls = 0

        def step(v: float) -> Counted:
            nonlocal calls
            calls += 1
            return Counted(_step(v))

        Counted.alive = Counted.peak = 0
        result = answer(step, _slope, Counted(values[0]), n)
        peak = Counted.peak
        if result is None or len(result) != 2:
            raise NotYet("return two numbers: the end of the chain and its derivative by x")
        value, gradient = (float(number) for number in result)
        if not math.isclose(value, values[-1], rel_tol=1e-9):
            raise NotYet(f"after {n} steps from {values[0]} the chain is at {values[-1]:.6f}, you give {value:.6f}")
        if math.isclose(gradient, math.prod(slopes[1:]), rel_tol=1e-9):
            raise NotYet(
                "each slope is taken at the result of its step; take it at the step's input, as the tape saves it"
            )
        if not math.isclose(gradient, math.prod(slopes[:-1]), rel_tol=1e-9):
            last = " The last segment is shorter when n is no square." if n == 411 else ""
            raise NotYet(f"n = {n}: the derivative is {math.prod(slopes[:-1]):.6g}, you give {gradient:.6g}.{last}")
        if peak > n // 2:
            raise NotYet(
                f"n = {n}: {peak} values were alive at once, as many as on a full tape; keep about √n checkpoints"
            )
        if calls > 3 * n:
            raise NotYet(
                f"n = {n}: {calls} steps were computed; with one checkpoint for each segment, each step runs about "
                "twice. Start again from the nearest checkpoint, not from x, and keep one segment at a time"
            )
        if peak > 3 * math.isqrt(n) + 5:
            enough = 2 * math.isqrt(n)
            raise NotYet(
                f"n = {n}: {peak} values were alive at once; √n checkpoints and one segment of √n make {enough}"
            )
    return f"a chain of {n} steps with {peak} values alive at most, and {calls / n:.2f} evaluations of each step."


def _step(v: float) -> float:
    return v + 0.1 * math.sin(3 * v) - 0.02 * v


def _slope(v: float) -> float:
    return 1 + 0.3 * math.cos(3 * v) - 0.02
