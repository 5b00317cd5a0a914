"""Checks for the exercises of the chapter *The primitives*."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from ._check import NotYet, exercise

Array = np.ndarray[Any, Any]


@exercise
def check_scatter(answer: Callable[[Array, Any, int], Any]) -> str:
    """`answer(g, index, n)`: the gradient of ``x[index]`` for x of n rows."""
    rng = np.random.default_rng(0)
    g = rng.normal(size=(5, 3))
    index = np.array([2, 0, 3, 1, 4])
    _compare(answer(g, index, 5), g[np.argsort(index)], "where every row is picked once", [])
    index = np.array([1, 3, 1, 1, 0])
    wanted = np.zeros((6, 3))
    last, first, mean = wanted.copy(), wanted.copy(), wanted.copy()
    for k, row in enumerate(index):
        wanted[row] += g[k]
    last[index], first[index[::-1]] = g, g[::-1]
    mean[index] = wanted[index] / np.bincount(index)[index][:, None]
    lost = "only one of the gradients survives; both out[index] = g and out[index] += g write each place once"
    known = [
        (last, f"where row 1 is picked three times, {lost}"),
        (first, f"where row 1 is picked three times, {lost}"),
        (mean, "you average the gradients of a row picked three times; out has three terms with it, so they add"),
        (wanted[:4], "the result must have n = 6 rows, also those behind the last one picked (see minlength)"),
    ]
    _compare(answer(g, index, 6), wanted, "where row 1 is picked three times", known)
    index = np.array([-1, 3, 1, -5, 0])
    wanted = np.zeros((6, 3))
    for k, row in enumerate(index):
        wanted[row] += g[k]
    with _explained("a negative index counts from the end, as in x[-1]; index % n makes it positive"):
        got = np.asarray(answer(g, index, 6))
    _compare(got, wanted, "with the negative indices -1 and -5", [])
    return "picked twice, added twice; rows that nobody picked get zeros."


@exercise
def check_var(answer: Callable[[Array, Array, int, int], Any]) -> str:
    """`answer(g, x, axis, ddof)`: the gradient of ``np.var(x, axis=axis, ddof=ddof)``."""
    rng = np.random.default_rng(0)
    keepdims = "g has lost the reduced axis; give it length 1 again before it multiplies x (np.expand_dims(g, axis))"
    for shape, axis, ddof in (((3, 4), 1, 0), ((3, 4), 1, 1), ((3, 4), 0, 1), ((4, 4), 1, 1)):
        x = rng.normal(size=shape) + 1.0
        g = rng.normal(size=shape[1 - axis])
        n = shape[axis]
        column = np.expand_dims(g, axis)
        centred = x - x.mean(axis=axis, keepdims=True)
        wanted = 2 / (n - ddof) * column * centred
        known = [
            (wanted / 2, "you have lost the 2 of the square"),
            (wanted * (n - ddof) / n, "you divide by n; the variance divided by n - ddof"),
            (
                wanted * (1 - 1 / n),
                "the factor 1 - 1/n is only the diagonal of the path through the mean. Each x_i moves the mean, and "
                "the mean moves all the deviations, whose sum is zero: the whole path contributes nothing",
            ),
            (2 / (n - ddof) * column * x, "you have differentiated the mean of the squares; subtract the mean of x"),
            (centred * 0 + column / n, "this is the gradient of the mean"),
        ]
        if shape == (4, 4):
            known.append((2 / (n - ddof) * g * centred, f"a square x hides it from NumPy, but {keepdims}"))
        with _explained(keepdims):
            got = np.asarray(answer(g, x, axis, ddof))
        _compare(got, wanted, f"for x of shape {shape}, axis={axis}, ddof={ddof}", known)
    return "the path through the mean cancels, and g stands along the right axis."


@exercise
def check_norm(answer: Callable[[Array, Array], Any]) -> str:
    """`answer(g, x)`: the gradient of the Euclidean norm of each row of x."""
    rng = np.random.default_rng(0)
    keepdims = "g has one number for each row; make it a column (g[:, None]) before it multiplies x"
    for shape in ((3, 2), (3, 3)):
        x, g = rng.normal(size=shape), rng.normal(size=3)
        length = np.sqrt((x * x).sum(axis=1, keepdims=True))
        wanted = g[:, None] * x / length
        known = [
            (g[:, None] * x, "you have not divided by the norm"),
            (g[:, None] * x / length**2, "you divide by the squared norm"),
            (wanted * 2, "the 2 of the square cancels with the 1/2 of the root"),
            (wanted / 2, "the 1/2 of the root cancels with the 2 of the square"),
        ]
        if shape == (3, 3):
            known += [
                (g * x / length, f"a square x hides it from NumPy, but {keepdims}"),
                (g[:, None] * x / length.T, f"a square x hides it from NumPy, but {keepdims}; so has the norm"),
                (g * x / length.T, f"a square x hides it from NumPy, but {keepdims}; so has the norm"),
            ]
        with _explained(keepdims):
            got = np.asarray(answer(g, x))
        _compare(got, wanted, f"for x of shape {shape}", known)
    x, g = np.array([[0.0, 0.0], [3.0, 4.0]]), np.array([2.0, 10.0])
    with np.errstate(all="ignore"):
        got = np.asarray(answer(g, x))
    if np.isnan(got[0]).any():
        raise NotYet("at x = (0, 0) your gradient is nan: 0/0. Choose 0 there, and let no 0/0 be computed")
    _compare(got, np.array([[0.0, 0.0], [6.0, 8.0]]), "with a row of zeros", [])
    with np.errstate(all="ignore"):
        got = np.asarray(answer(np.ones(2), np.array([[3e-12, 4e-12], [3e-7, 4e-7]])))
    if not np.allclose(got, [[0.6, 0.8], [0.6, 0.8]], rtol=1e-6):
        raise NotYet(
            f"at x = (3e-12, 4e-12) the gradient is (0.6, 0.8), got ({got[0, 0]:.3g}, {got[0, 1]:.3g}). "
            "An eps in the denominator, or a threshold, cures the zero and bends everything near it"
        )
    return "the direction of x, and 0 where there is none."


@exercise
def check_logdet(answer: Callable[[Array], Any]) -> str:
    """`answer(A)`: the rule of ``log(abs(det(A)))`` for A of shape (..., 2, 2), as ``(out, vjp)``."""
    for A in (
        np.array([[2.0, 1.0], [0.5, 3.0]]),
        np.array([[1.0, 2.0], [3.0, -1.5]]),
        np.array([[[2.0, 1.0], [0.5, 3.0]], [[1.0, 2.0], [3.0, -1.5]], [[0.0, 2.0], [-1.0, 4.0]]]),
    ):
        got = answer(A)
        if not (isinstance(got, tuple) and len(got) == 2 and callable(got[1])):
            raise NotYet("a rule returns two things, the result and a function: return out, lambda g: (...,)")
        out, vjp = got
        determinant = A[..., 0, 0] * A[..., 1, 1] - A[..., 0, 1] * A[..., 1, 0]
        where = f"for A of shape {A.shape}" + (" with a negative determinant" if np.all(determinant < 0) else "")
        if np.isnan(out).any():
            raise NotYet("a negative determinant gives nan; take the logarithm of its absolute value")
        _compare(out, np.log(np.abs(determinant)), where + ", the result", [])
        g = np.linspace(1.5, -2.0, determinant.size).reshape(determinant.shape)
        with _explained("g has the shape of the result, (...,); give it two axes of length 1: g[..., None, None]"):
            gradients = vjp(g)
        if not (isinstance(gradients, tuple) and len(gradients) == 1):
            raise NotYet("a vjp returns a tuple with one gradient for each input, here (gradient,)")
        inverse = np.linalg.inv(A)
        wanted = g[..., None, None] * np.swapaxes(inverse, -1, -2)
        scale = determinant[..., None, None]
        known = [
            (g[..., None, None] * inverse, "this is g times the inverse; the gradient holds the inverse transposed"),
            (wanted * scale, "you have differentiated the determinant; its logarithm still asks for 1/det"),
            (wanted / g[..., None, None], "the gradient g that comes in is missing"),
            (wanted * np.sign(scale), "the derivative of log|d| is 1/d, not 1/|d|: keep the sign"),
        ]
        _compare(gradients[0], wanted, where, known)
    return "g times the transposed inverse, without computing an inverse."


class _explained:
    """Turns a shape error inside the block into a hint."""

    def __init__(self, hint: str) -> None:
        self.hint = hint

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if isinstance(error, ValueError | IndexError):
            raise NotYet(f"{error}. Perhaps {self.hint}") from error


def _compare(got: Any, wanted: Array, where: str, known: Iterable[tuple[Array, str]]) -> None:
    """Raise NotYet if `got` is not `wanted`: with the hint of the `known` mistake that it equals, if there is one."""
    if got is None:
        raise NotYet("the function returns nothing yet; it must return the gradient, an array")
    result = np.asarray(got)
    if result.dtype.kind not in "fiu":
        raise NotYet(f"{where}: expected an array of numbers, got {type(got).__name__}")
    if result.shape == wanted.shape and np.allclose(result, wanted, rtol=1e-9, atol=1e-12):
        return
    for mistake, hint in known:
        if result.shape == mistake.shape and np.allclose(result, mistake, rtol=1e-9, atol=1e-12):
            raise NotYet(hint)
    if result.shape != wanted.shape:
        raise NotYet(f"{where}: expected shape {wanted.shape}, got {result.shape}")
    worst = np.unravel_index(np.argmax(np.nan_to_num(np.abs(result - wanted), nan=np.inf)), wanted.shape)
    place = tuple(int(i) for i in worst)
    raise NotYet(f"{where}: at index {place} expected {wanted[worst]:.6g}, got {result[worst]:.6g}")
