"""Checks for the exercises of the chapter gradcheck."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ._check import NotYet, exercise

# ---- a derivative without a difference ----


def _quotient(x: Any) -> Any:
    """e**x / sqrt(sin**3 x + cos**3 x), the example of Squire and Trapp."""
    return np.exp(x) / np.sqrt(np.sin(x) ** 3 + np.cos(x) ** 3)


def _quotient_slope(x: float) -> float:
    s, c = np.sin(x), np.cos(x)
    return float(_quotient(x) * (1 - 1.5 * (s * s * c - c * c * s) / (s**3 + c**3)))


@exercise
def check_complex_step(answer: Callable[..., Any]) -> str:
    """`answer(f, x)`: the derivative of f at the number x, to the last digits."""
    cases: list[tuple[Callable[[Any], Any], float, float]] = [
        (np.sin, 0.5, float(np.cos(0.5))),
        (lambda x: x * x * x, -2.0, 12.0),
        (_quotient, 1.5, _quotient_slope(1.5)),
    ]
    for f, x, expected in cases:
        seen: list[Any] = []

        def watched(z: Any, f: Any = f, seen: list[Any] = seen) -> Any:
            seen.append(z)
            return f(z)

        got = answer(watched, x)
        if got is None:
            raise NotYet("your function returns nothing")
        if not seen:
            raise NotYet("f was never called")
        steps = [abs(np.imag(z)) for z in seen]
        if max(steps) == 0:
            raise NotYet("every argument of f was a real number; step into the imaginary direction, x + 1j * h")
        if np.iscomplexobj(got):
            raise NotYet("the derivative of a real function is real; take the imaginary part of f(x + 1j * h)")
        h = max(steps)
        ratio = float(got) / expected
        if np.isclose(float(got), np.real(f(x + 1j * h))):
            raise NotYet("that is the real part of f(x + 1j * h), hence f(x); the slope is in the imaginary part")
        if abs(ratio) < 1e-3 or np.isclose(ratio, h):
            raise NotYet("that is the imaginary part itself, h times the slope; divide by h")
        if abs(ratio - 1) > 1e-13 and h > 1e-8:
            raise NotYet(f"right to {abs(ratio - 1):.0e}: h = {h:g} leaves a truncation error of h**2; nothing cancels "
                         "here, so h may be 1e-30")  # fmt: skip
        if not abs(ratio - 1) <= 1e-13:
            raise NotYet(f"f'({x}) = {expected:.15g}, you give {float(got):.15g}")
    return "right to the last digits, from one evaluation and without a subtraction."


# ---- central differences of every element ----


def _coupled(x: Any) -> float:
    return float(np.sum(x**3) + np.prod(x))


def _differences(f: Callable[[Any], float], x: Any, eps: float, left: float, right: float) -> Any:
    """(f(x + right eps e_i) - f(x - left eps e_i)) / ((left + right) eps) for every i."""
    out = np.zeros(x.shape)
    for index in np.ndindex(*x.shape):
        plus, minus = x.astype(float), x.astype(float)
        plus[index] += right * eps
        minus[index] -= left * eps
        out[index] = (f(plus) - f(minus)) / ((left + right) * eps)
    return out


@exercise
def check_numeric_gradient(answer: Callable[..., Any]) -> str:
    """`answer(f, x, eps)`: an array of x's shape with the central differences of f, which gives one number."""
    for x in (np.array([[1.0, 2.0, -1.0], [0.5, 3.0, 1.5]]), np.array([1, 2, 3]), np.array(2.0)):
        eps = 0.01  # so large that a one-sided difference is clearly another number
        kept = x.copy()
        got = answer(_coupled, x, eps)
        if got is None:
            raise NotYet("your function returns nothing")
        if np.shape(got) != x.shape:
            raise NotYet(f"for x of shape {x.shape} expected an array of that shape, got {np.shape(got)}")
        expected = _differences(_coupled, x, eps, 1, 1)
        close = np.allclose(got, expected, rtol=1e-9)
        if not close and np.allclose(got, 0, atol=1e-6):
            raise NotYet("every difference is 0: x_plus and x_minus are one array, or eps was lost in integers")
        if not np.array_equal(x, kept):
            raise NotYet("x is not what it was before: x_plus = x is a second name for the same array; copy it")
        if not close and x.dtype.kind == "i":
            raise NotYet("x = [1, 2, 3] holds integers, which cannot take a small step; convert the copies to float")
        for factor in (2.0, 0.5, -1.0):
            if np.allclose(got, factor * expected, rtol=1e-9):
                raise NotYet(f"every number is {factor:g} times what it should be; the two points lie 2 eps apart")
        for left, right in ((0, 1), (1, 0)):
            if np.allclose(got, _differences(_coupled, x, eps, left, right), rtol=1e-9):
                raise NotYet("these are one-sided differences, f(x + eps) - f(x); step to both sides")
        if not close:
            worst = np.unravel_index(np.argmax(np.abs(got - expected)), x.shape)
            raise NotYet(
                f"at index {tuple(int(i) for i in worst)} expected {expected[worst]:.6g}, "
                f"got {np.asarray(got)[worst]:.6g}; is each element put back before the next one moves?"
            )
    return "central differences of every element, and x is untouched."


# ---- when two numbers agree ----


@exercise
def check_agree(answer: Callable[..., Any]) -> str:
    """`answer(tape, numeric, rtol, atol)`: True if all elements agree up to atol + rtol * |numeric|."""

    def ask(tape: Any, numeric: Any) -> bool:
        with np.errstate(all="ignore"):
            got = answer(np.array(tape), np.array(numeric), 1e-5, 1e-7)
        if np.shape(got) != () or got is None:
            raise NotYet("give one True or False for the whole array: all elements must agree")
        return bool(got)

    if not ask([1.0, 2.0], [1.0, 2.0]):
        raise NotYet("equal arrays must agree")
    if ask([3.0], [1.0]):
        raise NotYet("3 and 1 must not agree")
    if ask([1.0], [3.0]):
        raise NotYet("1 and 3 must not agree: their difference is negative, take its absolute value")
    if ask([1.0, 2.0], [1.0, 2.1]):
        raise NotYet("one element is wrong and one is right; all must agree")
    if not ask([0.0, 1.0], [0.0, 1.0]):
        raise NotYet("0 and 0 must agree; a relative error is 0/0 there")
    if not ask([0.0, 1.0], [1e-11, 1.0]):
        raise NotYet("0 and 1e-11 must agree: rounding makes such numbers. Relative errors need a floor, atol")
    if ask([1e3], [1e3 + 0.02]) or not ask([1e3], [1e3 + 0.005]):
        raise NotYet("near 1000 a difference of 0.005 is within rtol = 1e-5 and 0.02 is not; scale rtol by |numeric|")
    if ask([1e-6], [2e-6]):
        raise NotYet("1e-6 and 2e-6 must not agree at atol = 1e-7")
    for tape, numeric in ((np.nan, 1.0), (1.0, np.nan), (np.nan, np.nan)):
        if ask([tape], [numeric]):
            raise NotYet("NaN must agree with nothing. Every comparison with NaN is False: ask whether all are close, "
                         "not whether any is far")  # fmt: skip
    if ask([np.inf], [1.0]):
        raise NotYet("an infinite gradient must not agree with 1")
    return "close numbers agree, zeros too, and NaN never does."


# ---- five suspects ----


def softplus(x: Any) -> Any:
    return np.logaddexp(0, x), lambda g: (g / (1 + np.exp(-x)),)


def standardize(x: Any) -> Any:
    sigma = np.sqrt(np.var(x, axis=0) + 1e-5)
    return (x - x.mean(axis=0)) / sigma, lambda g: ((g - g.mean(axis=0)) / sigma,)


def leaky_relu(x: Any) -> Any:
    return np.maximum(x, 0.1 * x), lambda g: (g * np.where(x > 0, 1.0, 0.1),)


def pick(x: Any) -> Any:
    rows = [0, 2, 2, 1]

    def vjp(g: Any) -> Any:
        out = np.zeros_like(x)
        out[rows] = g
        return (out,)

    return x[rows], vjp


def gelu(x: Any) -> Any:
    c = np.sqrt(2 / np.pi)
    out = 0.5 * x * (1 + np.tanh(c * (x + 0.044715 * x**3)))

    def vjp(g: Any) -> Any:
        t = np.tanh(c * (x + 0.0447 * x**3))
        return (g * (0.5 * (1 + t) + 0.5 * x * (1 - t * t) * c * (1 + 3 * 0.0447 * x * x)),)

    return out, vjp


# Rules as `primitive` takes them: x, an array of shape (3, 4), to (out, vjp).
SUSPECTS: dict[str, Callable[[Any], Any]] = {
    rule.__name__: rule for rule in (softplus, standardize, leaky_relu, pick, gelu)
}


@exercise
def check_suspects(answer: Any) -> str:
    """`answer`: the names of those SUSPECTS whose vjp is wrong, as a set or list."""
    if isinstance(answer, str) or not hasattr(answer, "__iter__"):
        raise NotYet("expected a set of names, such as {'gelu', 'pick'}")
    named = set(answer)
    if unknown := named - set(SUSPECTS):
        raise NotYet(f"there is no suspect {sorted(unknown, key=str)[0]!r}; they are {', '.join(SUSPECTS)}")
    if not named:
        raise NotYet("at least one of the five is wrong; wrap each rule with primitive() and gradcheck it")
    if "leaky_relu" in named:
        raise NotYet("leaky_relu is right. Did you check it at its kink, x = 0?")
    if "softplus" in named:
        raise NotYet("softplus is right. A check in float32, or with too small a step, condemns it")
    if "standardize" not in named:
        raise NotYet("one bug is invisible if you check sum(y): its gradient is 0 with and without the bug")
    if "pick" not in named:
        raise NotYet("one bug is only in the row that is picked twice; check every element")
    if "gelu" not in named:
        raise NotYet("one bug is a constant copied with a digit too few. A relative tolerance of 1e-3 lets it pass")
    return "three wrong vjps, two right ones."
