"""A gradient checker: central differences against the tape, in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .tape import Tensor, no_grad

Array = np.ndarray[Any, np.dtype[np.float64]]

# Above this many elements an input is checked along random directions instead of element by
# element.
LARGE = 1000
DIRECTIONS = 20


def gradcheck(
    f: Callable[..., Tensor], *inputs: Any,
    eps: float = 1e-6, rtol: float = 1e-5, atol: float = 1e-7,
) -> bool:  # fmt: skip
    """Compare the gradients that `backward` gives with central differences.

    If `f` gives more than one number, these are weighted with fixed random numbers and summed:
    errors cannot hide as they do in ``f(x).sum()``. Every float input is checked: each element, or
    20 random directions if it has more than 1000.

    Parameters
    ----------
    f : callable
        Takes as many Tensors as there are `inputs`, returns a Tensor of floats. Deterministic.
        Other Tensors that it uses get their `grad`, as in any backward pass.
    *inputs : array_like or Tensor
        Where to check. Floats are copied to float64; integers and bools are passed on, unchecked.
    eps : float
        Step of the differences. 1e-6 suits inputs and results of about 1.
    rtol, atol : float
        Passes if ``|tape - difference| <= atol + rtol * |difference|``. Along a direction the norm
        of the gradient counts instead of ``|difference|``, if it is larger.

    Returns
    -------
    True
        Or else AssertionError, naming input, index and both slopes of the worst mismatch;
        TypeError or ValueError if `f` or a point cannot be checked.
    """
    if not (0 < eps < np.inf and rtol >= 0 and atol >= 0):
        got = f"{eps}, {rtol}, {atol}"
        raise ValueError(f"gradcheck: expected eps > 0, rtol >= 0, atol >= 0, got {got}")
    points = [_point(value, k, eps) for k, value in enumerate(inputs)]
    with np.errstate(all="ignore"):  # a NaN or an infinity gets an error, not a warning
        loss = _Loss(f, points, eps)
        for k, gradient in loss.gradients.items():
            check = _check_elements if gradient.size <= LARGE else _check_directions
            check(loss, k, gradient, rtol, atol)
    return True


def _point(value: Any, k: int, eps: float) -> Any:
    """Input `k` as a new array: float64 if it holds floats.

    Raises TypeError or ValueError if unfit for a check.
    """
    array = np.array(value.data if isinstance(value, Tensor) else value)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"gradcheck: expected numbers as input {k}, got dtype {array.dtype}")
    if array.dtype.kind != "f":
        return array
    if not np.isfinite(array).all():
        raise ValueError(
            f"gradcheck: input {k} has a NaN or an infinity; choose a point where f is smooth"
        )
    array = array.astype(np.float64)
    if lost := array[(array + eps) - (array - eps) == 0].tolist():
        raise ValueError(
            f"gradcheck: input {k} has {lost[0]:g}, in which eps={eps:g} is lost; "
            f"choose a point near 1"
        )
    return array


def _weights(shape: tuple[int, ...]) -> Array:
    # Sizes between 1 and 2, none so small that an error hides behind it, and signs at random.
    rng = np.random.default_rng(0)
    return rng.uniform(1.0, 2.0, shape) * _signs(rng, shape)


def _signs(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return np.array(rng.choice([-1.0, 1.0], shape), np.float64)


def _record(f: Callable[..., Tensor], points: list[Any]) -> tuple[list[Tensor], Tensor]:
    """Leaves for the `points`, and what `f` makes of them, on the tape.

    Raises TypeError if that is unfit.
    """
    leaves = [Tensor(np.array(p), requires_grad=p.dtype == np.float64) for p in points]
    if not any(leaf.requires_grad for leaf in leaves):
        raise TypeError("gradcheck: expected at least one float input, got none")
    out = f(*leaves)
    if not isinstance(out, Tensor) or out.dtype != np.float64:
        got = f"a Tensor of {out.dtype}" if isinstance(out, Tensor) else type(out).__name__
        raise TypeError(
            f"gradcheck: f must return a Tensor of float64 for float64 inputs, got {got}"
        )
    return leaves, out


class _Loss:
    """``sum(weights * f(inputs))``, the number that the tape and the differences differentiate."""

    def __init__(self, f: Callable[..., Tensor], points: list[Any], eps: float) -> None:
        self.f, self.points, self.eps = f, points, eps
        leaves, out = _record(f, points)
        self.weights = _weights(out.shape)
        self.middle = self.result(points)
        if not np.array_equal(self.middle, out.data):
            raise ValueError(
                "gradcheck: f gave two results for the same inputs; "
                "give it a fixed seed and no state"
            )
        if out.requires_grad:
            out.backward(self.weights)
        # One number is weighted on the tape, where a rule may forget g, but not in the messages.
        scale = self.weights.item() if out.size == 1 else 1.0
        self.weights = self.weights / scale
        # Of each float input, by its number. What `f` does not use has no gradient: 0.
        self.gradients = {k: x.grad / scale if x.grad is not None else np.zeros(x.shape)
                          for k, x in enumerate(leaves) if x.requires_grad}  # fmt: skip
        # About the largest slope that rounding alone can fake.
        self.noise = float(np.finfo(float).eps / 2 * np.sum(np.abs(self.weights * out.data)) / eps)

    def result(self, points: list[Any]) -> Array:
        """``f(points)`` as an array.

        Raises ValueError if it has a NaN, an infinity or another shape than before.
        """
        with no_grad():
            out = self.f(*(Tensor(np.array(p)) for p in points)).data
        if out.shape != self.weights.shape:
            shapes = f"{self.weights.shape} to {out.shape}"
            raise ValueError(f"gradcheck: near the point f changes its shape, {shapes}")
        if not np.isfinite(out).all():
            raise ValueError(
                "gradcheck: f gave a NaN or an infinity near the point; "
                "choose one where f is smooth"
            )
        return out


def _slopes(loss: _Loss, k: int, direction: Array) -> tuple[float, float, float, float]:
    """Slopes along `direction` of input `k`: tape, central difference, to the left, right."""
    plus, minus = list(loss.points), list(loss.points)
    plus[k] = loss.points[k] + loss.eps * direction
    minus[k] = loss.points[k] - loss.eps * direction
    right, left = loss.result(plus), loss.result(minus)
    # x + eps is rounded: what counts is the step that was really taken.
    taken = plus[k] - minus[k]
    length = float(np.sum(taken * direction) / np.sum(direction**2))
    tape = float(np.sum(loss.gradients[k] * taken, where=taken != 0)) / length
    # Subtracted before the sum, element by element: what did not change leaves no rounding error.
    changes = right - left, 2 * (loss.middle - left), 2 * (right - loss.middle)
    central, to_left, to_right = (float(np.sum(loss.weights * c)) / length for c in changes)
    return tape, central, to_left, to_right


def _check_elements(loss: _Loss, k: int, gradient: Array, rtol: float, atol: float) -> None:
    """Compare every element of the `gradient` of input `k`.

    Raises AssertionError at the worst one.
    """
    worst, message = 0.0, ""
    for index in np.ndindex(gradient.shape):
        tape, numeric, *_ = slopes = _slopes(loss, k, _unit(gradient.shape, index))
        excess = abs(tape - numeric) - (atol + rtol * abs(numeric))
        if not excess <= worst:  # also true of a NaN
            worst = np.inf if np.isnan(excess) else excess
            message = f"index {index}: {_compare(loss, *slopes)}"
    if message:
        raise AssertionError(f"gradcheck: input {k}, {message}")


def _check_directions(loss: _Loss, k: int, gradient: Array, rtol: float, atol: float) -> None:
    """Compare slopes along random directions.

    Raises AssertionError that also names the element to look at.
    """
    rng = np.random.default_rng(1)
    for i in range(DIRECTIONS):
        direction = _signs(rng, gradient.shape)
        tape, numeric, *_ = slopes = _slopes(loss, k, direction)
        tolerance = atol + rtol * max(abs(numeric), float(np.sqrt(np.sum(gradient**2))))
        if not abs(tape - numeric) <= tolerance < np.inf:
            index = _bisect(loss, k, direction)
            found = _slopes(loss, k, _unit(gradient.shape, index))
            raise AssertionError(
                f"gradcheck: input {k}, index {index}: {_compare(loss, *found)}; "
                f"found along random direction {i}: {_compare(loss, *slopes)}"
            )


def _unit(shape: tuple[int, ...], index: tuple[int, ...]) -> Array:
    direction = np.zeros(shape)
    direction[index] = 1.0
    return direction


def _bisect(loss: _Loss, k: int, direction: Array) -> tuple[int, ...]:
    """The element at which one ends by halving `direction` and going on with the half that is
    more wrong.
    """
    suspects = np.arange(direction.size)
    while suspects.size > 1:
        halves = np.array_split(suspects, 2)
        errors = []
        for half in halves:
            part = np.zeros(direction.size)
            part[half] = direction.ravel()[half]
            tape, numeric, *_ = _slopes(loss, k, part.reshape(direction.shape))
            errors.append(np.nan_to_num(abs(tape - numeric), nan=np.inf))
        suspects = halves[int(np.argmax(errors))]
    return tuple(int(i) for i in np.unravel_index(suspects[0], direction.shape))


def _compare(loss: _Loss, tape: float, numeric: float, to_left: float, to_right: float) -> str:
    """Both numbers in words, and a warning if the tape may be right all the same."""
    text = f"the tape gives {tape:.8g}, central differences give {numeric:.8g}"
    if abs(tape - numeric) <= loss.noise:
        text += f" (rounding alone makes errors of {loss.noise:.1g} here: "
        text += "choose smaller inputs, or a larger eps)"
    elif abs(tape - numeric) <= abs(to_right - to_left):
        sides = f"{to_left:.4g} to the left, {to_right:.4g} to the right"
        text += f" ({sides}: a kink or a jump? move the point)"
    return text
