"""Checks of the exercises of the chapter *sgd*."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..autograd import Tensor
from ..optim.sgd import SGD
from ._check import NotYet, exercise


@exercise
def check_largest_rate(largest_rate: Callable[[Any, float], float]) -> str:
    """`largest_rate(curvatures, momentum)`: the border of convergence on a quadratic."""
    for curvatures, momentum in (([1.0, 100.0], 0.0), ([1.0, 100.0], 0.9), ([4.0, 0.5, 3.0], 0.5)):
        got, right = float(largest_rate(curvatures, momentum)), 2 * (1 + momentum) / max(curvatures)
        if np.isclose(got, right):
            continue
        case = f"for curvatures {curvatures} and momentum {momentum} you gave {got:.4g}"
        if np.isclose(got, 2 / max(curvatures)):
            raise NotYet(f"{case}: that is the limit without momentum; put r = -1 into r² - (1 + μ - ηλ) r + μ = 0")
        if np.isclose(got, 2 * (1 + momentum) / min(curvatures)):
            raise NotYet(f"{case}: the steepest direction diverges first, not the flattest")
        if np.isclose(got, (1 + momentum) / max(curvatures)):
            raise NotYet(f"{case}: half of the limit; the two terms without λ in the equation both hold 1 + μ")
        raise NotYet(f"{case}, but a rate just below {right:.4g} still converges and one above it does not")
    return "the border is 2 (1 + μ) / λ of the steepest direction"


@exercise
def check_steps(steps_needed: Callable[[float, float], int]) -> str:
    """`steps_needed(kappa, factor)`: steps of the best plain descent."""
    for kappa, factor in ((100.0, 1e-6), (10.0, 1e-3), (2.0, 0.5)):
        got = steps_needed(kappa, factor)
        exact = np.log(factor) / np.log((kappa - 1) / (kappa + 1))
        if got == np.ceil(exact):
            continue
        case = f"for kappa {kappa:g} and factor {factor:g} you gave {got}"
        root = np.sqrt(kappa)
        if abs(got - np.log(factor) / np.log((root - 1) / (root + 1))) <= 1:
            raise NotYet(f"{case}: that many are enough with momentum; here it is plain descent")
        if got == np.floor(exact):
            raise NotYet(f"{case}: after that many steps the factor is not yet reached; round up")
        if got == np.ceil(np.log(factor) / np.log(1 - 1 / kappa)):
            raise NotYet(f"{case}: 1 - 1/κ belongs to the rate 1/λₙ; the best rate is larger")
        raise NotYet(f"{case}; the factor of one step is (κ - 1)/(κ + 1), and n of them are multiplied")
    return "the number of steps grows in proportion to κ"


@exercise
def check_nesterov(lookahead: Callable[..., Any]) -> str:
    """`lookahead(gradient, w, rate, momentum, steps)` against `SGD(nesterov=True)`."""
    curvatures, start, rate, momentum = np.array([1.0, 9.0]), np.array([2.0, -1.0]), 0.05, 0.8

    def gradient(w: Any) -> Any:
        return curvatures * w

    def right(steps: int, nesterov: bool = True) -> Any:
        w = Tensor(start.copy(), requires_grad=True)
        optimizer = SGD([w], lr=rate, momentum=momentum, nesterov=nesterov)
        for _ in range(steps):
            w.grad = gradient(w.data)
            optimizer.step()
        return w.data

    given = start.copy()
    for steps in (7, 2, 1):
        got = np.asarray(lookahead(gradient, given, rate, momentum, steps), float)
        if not np.array_equal(given, start):
            raise NotYet("your function changed w itself; make new arrays, w = w - ...")
        if got.shape == start.shape and np.allclose(got, right(steps)):
            continue
        if got.shape == start.shape and np.allclose(got, right(steps, nesterov=False)):
            raise NotYet("that is plain momentum: take the gradient at w - rate * momentum * v, not at w")
        v, w = np.zeros(2), start
        for _ in range(steps):
            v = momentum * v + gradient(w - rate * momentum * v)
            w = w - rate * v
        if got.shape == start.shape and np.allclose(got, w):
            raise NotYet("you returned w; asked for is the point of the next gradient, one momentum step further")
        raise NotYet(f"after {steps} steps you gave {got}, SGD(nesterov=True) gives {right(steps)}")
    return "both forms walk through the same points"


@exercise
def check_dampening(damped: Callable[..., Any]) -> str:
    """`damped(p, gradients, rate, momentum, dampening)` against `SGD(dampening=...)`."""
    rng = np.random.default_rng(0)
    start, gradients = rng.standard_normal(3), list(rng.standard_normal((4, 3)))
    given = start.copy(), [g.copy() for g in gradients]
    for rate, momentum, dampening in ((0.1, 0.8, 0.5), (0.2, 0.5, 0.0), (0.1, 0.9, 0.9)):
        got = np.asarray(damped(given[0], given[1], rate, momentum, dampening), float)
        if not np.array_equal(given[0], start):
            raise NotYet("your function changed p itself; make new arrays, p = p - ...")
        if not np.array_equal(given[1], gradients):
            raise NotYet("your function changed a gradient; after v = g, v *= momentum writes into g")
        right, scaled_first, ignored, averaged = (
            _walk(start, gradients, rate, momentum, *parts)
            for parts in ((1.0, 1 - dampening), (1 - dampening,) * 2, (1.0, 1.0), (1.0, 1 - momentum))
        )
        if got.shape != start.shape:
            raise NotYet(f"you gave an array of shape {got.shape}, the parameters have {start.shape}")
        if np.allclose(got, right):
            continue
        case = f"for momentum {momentum} and dampening {dampening}"
        if np.allclose(got, scaled_first):
            raise NotYet(f"{case}: the first velocity is the whole first gradient, not a part of it")
        if np.allclose(got, ignored):
            raise NotYet(f"{case}: you left the dampening out; only 1 - dampening of a gradient is added")
        if np.allclose(got, averaged):
            raise NotYet(f"{case}: the part of the gradient is 1 - dampening, not 1 - momentum")
        raise NotYet(f"{case} you gave {np.round(got, 3)}, SGD gives {np.round(right, 3)}")
    return "the first velocity is the gradient, and later ones take a part of it"


def _walk(p: Any, gradients: list[Any], rate: float, momentum: float, first: float, later: float) -> Any:
    """Where momentum leads if the velocity takes these parts of the first gradient and of later ones."""
    v = np.zeros_like(p)
    for t, g in enumerate(gradients):
        v = momentum * v + (later if t else first) * g
        p = p - rate * v
    return p
