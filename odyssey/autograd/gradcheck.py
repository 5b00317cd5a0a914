"""A gradient checker: central differences against the tape, in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .tape import Tensor, no_grad

Array = np.ndarray[Any, np.dtype[np.float64]]

# Above this many elements an input is checked along random directions instead of element by element.
LARGE = 1000
DIRECTIONS = 20


def gradcheck(
    f: Callable[..., Tensor], *inputs: Any, eps: float = 1e-6, rtol: float = 1e-5, atol: float = 1e-7
) -> bool:
    """Compare the gradients that `backward` gives with central differences.

    The result of `f` is weighted with fixed random numbers and summed, so that errors cannot cancel
    as they do in ``f(x).sum()``. Every float input is checked: each element, or 20 random
    directions if it has more than 1000.

    Parameters
    ----------
    f : callable
        Takes as many Tensors as there are `inputs`, returns a Tensor of floats. Deterministic.
    *inputs : array_like or Tensor
        Where to check. Floats are copied to float64; integers and bools are passed on, unchecked.
    eps : float
        Step of the differences. 1e-6 suits float64 and values near 1.
    rtol, atol : float
        Passes if ``|tape - difference| <= atol + rtol * |difference|``.

    Returns True. Raises AssertionError naming the input, the index and both numbers of the worst
    mismatch; TypeError or ValueError if `f` or a point cannot be checked.

    Examples
    --------
    >>> from odyssey import gradcheck, ops
    >>> gradcheck(ops.tanh, [0.3, -1.2])
    True
    """
    if not eps > 0:
        raise ValueError(f"gradcheck: expected eps > 0, got {eps}")
    points = [_point(value, k) for k, value in enumerate(inputs)]
    checked = [k for k, point in enumerate(points) if point.dtype == np.float64]
    if not checked:
        raise TypeError("gradcheck: expected at least one float input, got none")
    loss, gradients = _tape_gradients(f, points)
    for k in checked:
        if points[k].size <= LARGE:
            _check_elements(loss, points, k, gradients[k], eps, rtol, atol)
        else:
            _check_directions(loss, points, k, gradients[k], eps, rtol, atol)
    return True


def _point(value: Any, k: int) -> Any:
    array = np.array(value.data if isinstance(value, Tensor) else value)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"gradcheck: expected numbers as input {k}, got dtype {array.dtype}")
    if array.dtype.kind != "f":
        return array
    if not np.isfinite(array).all():
        raise ValueError(f"gradcheck: input {k} has a NaN or an infinity; choose a point where f is smooth")
    return array.astype(np.float64)


def _tape_gradients(f: Callable[..., Tensor], points: list[Any]) -> tuple[Callable[..., float], list[Array]]:
    """The weighted loss as a function of plain arrays, and its gradient by the tape at `points`."""
    leaves = [Tensor(p.copy(), requires_grad=p.dtype == np.float64) for p in points]
    result = f(*leaves)
    if not isinstance(result, Tensor) or result.dtype.kind != "f":
        raise TypeError(f"gradcheck: f must return a Tensor of floats, got {type(result).__name__}")
    # Uniform in [1, 2] with a random sign: no weight is so small that an error hides behind it.
    rng = np.random.default_rng(0)
    weights = rng.uniform(1.0, 2.0, result.shape) * rng.choice([-1.0, 1.0], result.shape)
    if result.requires_grad:
        result.backward(weights)

    def loss(*arrays: Any) -> float:
        with no_grad():
            value = float(np.sum(weights * f(*(Tensor(np.array(a)) for a in arrays)).data))
        if not np.isfinite(value):
            raise ValueError("gradcheck: f gave a NaN or an infinity near the point; choose one where f is smooth")
        return value

    return loss, [np.zeros(p.shape) if leaf.grad is None else leaf.grad for p, leaf in zip(points, leaves, strict=True)]


def _slope(loss: Callable[..., float], points: list[Any], k: int, step: Array) -> float:
    """Central difference of `loss` along `step`, an array of input `k`'s shape, per unit of its length."""
    plus, minus = list(points), list(points)
    plus[k], minus[k] = points[k] + step, points[k] - step
    return loss(*plus) - loss(*minus)


def _check_elements(
    loss: Callable[..., float], points: list[Any], k: int, gradient: Array, eps: float, rtol: float, atol: float
) -> None:
    numeric = np.empty(points[k].shape)
    for index in np.ndindex(*points[k].shape):
        step = np.zeros(points[k].shape)
        step[index] = eps
        # The step that was really taken: x + eps is rounded.
        x = points[k][index]
        numeric[index] = _slope(loss, points, k, step) / ((x + eps) - (x - eps))
    excess = np.abs(gradient - numeric) - (atol + rtol * np.abs(numeric))
    if numeric.size and not (excess <= 0).all():
        index = tuple(int(i) for i in np.unravel_index(np.argmax(np.nan_to_num(excess, nan=np.inf)), excess.shape))
        raise AssertionError(
            f"gradcheck: input {k}, index {index}: the tape gives {gradient[index]:.10g}, "
            f"central differences give {numeric[index]:.10g}"
        )


def _check_directions(
    loss: Callable[..., float], points: list[Any], k: int, gradient: Array, eps: float, rtol: float, atol: float
) -> None:
    rng = np.random.default_rng(1)
    for i in range(DIRECTIONS):
        direction = rng.choice([-1.0, 1.0], points[k].shape)
        numeric = _slope(loss, points, k, eps * direction) / (2 * eps)
        along = float(np.sum(gradient * direction))
        if not abs(along - numeric) <= atol + rtol * max(abs(numeric), float(np.sqrt(np.sum(gradient**2)))):
            raise AssertionError(
                f"gradcheck: input {k}, random direction {i}: the tape gives {along:.10g}, "
                f"central differences give {numeric:.10g}"
            )
