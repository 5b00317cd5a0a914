"""Checks for the exercises of the chapter lars."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..autograd import Tensor
from ._check import NotYet, exercise

# ---- the trust ratio ----


def _size(x: Any) -> float:
    return float(np.sqrt(np.sum(np.square(x))))


@exercise
def check_trust_ratio(answer: Callable[..., Any]) -> str:
    """`answer(w, g, tau, weight_decay)`: the ratio of equation eq-lars-decay without ε, 1 if a norm is zero."""
    rng = np.random.default_rng(0)
    tau, decay = 0.05, 0.3
    w, g = rng.normal(size=(4, 3)), rng.normal(size=(4, 3))
    got = _number(answer(w.copy(), g.copy(), tau, decay))
    p, q = _size(w), _size(g)
    wrong = {
        "the ratio is upside down: a larger gradient needs a smaller rate": tau * (q + decay * p) / p,
        "that is the norm of the sum, ‖g + λw‖, as in Optax; the paper adds the norms": tau * p / _size(g + decay * w),
        "the decay is missing in the denominator; add weight_decay * ‖w‖ to ‖g‖": tau * p / q,
        "the trust coefficient tau is missing": p / (q + decay * p),
        "these are squared norms; take the root": tau * p**2 / (q**2 + decay * p**2),
    }
    for hint, value in wrong.items():
        if np.isclose(got, value):
            raise NotYet(hint)
    if np.allclose(got, tau * np.linalg.norm(w, 2) / (np.linalg.norm(g, 2) + decay * np.linalg.norm(w, 2))):
        raise NotYet("np.linalg.norm(w, 2) of a matrix is its largest singular value; leave the 2 out")
    if not np.isclose(got, tau * p / (q + decay * p)):
        raise NotYet(f"for ‖w‖ = {p:.4f} and ‖g‖ = {q:.4f} expected {tau * p / (q + decay * p):.6f}, got {got:.6f}")
    for name, a, b in (("w", 0 * w, g), ("g", w, 0 * g), ("w and g", 0 * w, 0 * g)):
        with np.errstate(all="ignore"):
            got = _number(answer(a, b, tau, decay))
        if np.isnan(got):
            raise NotYet(f"0/0 is not a number when {name} is zero; the ratio is 1 then")
        if got == 0:
            raise NotYet(f"the ratio is 0 when {name} is zero, and the parameter never moves; it should be 1")
        if got != 1:
            raise NotYet(f"when {name} is zero the ratio should be 1, got {got:g}")
    return "a layer's own size decides how far it may move, and a layer of zeros gets the plain rate."


def _number(got: Any) -> float:
    if got is None:
        raise NotYet("your function returns nothing; return one number")
    if np.size(got) != 1:
        raise NotYet(f"expected one number for the whole layer, got an array of shape {np.shape(got)}")
    return float(np.asarray(got).reshape(()))


# ---- the step ----

LR, MOMENTUM, DECAY, TAU = 0.5, 0.9, 0.2, 0.1


def _run(w: Any, gradients: Any, mistake: str = "") -> Any:
    """Where LARS stands after `gradients`, from `w`; `mistake` names a known wrong turn."""
    v = np.zeros_like(w)
    for t, g in enumerate(gradients):
        lr = LR if t < 2 else LR / 10
        ratio = TAU * _size(w) / (_size(g) + DECAY * _size(w))
        step = g if mistake == "no decay" else g + DECAY * w
        if mistake == "outside":
            v = MOMENTUM * v + step
            w = w - lr * ratio * v
        elif mistake == "rate outside":
            v = MOMENTUM * v + ratio * step
            w = w - lr * v
        elif mistake == "no ratio":
            v = MOMENTUM * v + lr * step
            w = w - v
        elif mistake == "damped":
            v = MOMENTUM * v + (1 - MOMENTUM) * lr * ratio * step
            w = w - v
        elif mistake == "no momentum":
            w = w - lr * ratio * step
        elif mistake == "uphill":
            v = MOMENTUM * v + lr * ratio * step
            w = w + v
        else:
            v = MOMENTUM * v + lr * ratio * step
            w = w - v
    return w


MISTAKES = {
    "outside": "rate and ratio multiply the whole velocity; the paper multiplies each gradient, before it enters v",
    "rate outside": "the rate multiplies the whole velocity, and old gradients get the new rate; put lr at the ratio",
    "no ratio": "this is momentum SGD; multiply the rate by the trust ratio",
    "no decay": "the decay stands in the ratio but not in the step; the direction is g + weight_decay * w",
    "damped": "(1 - momentum) does not belong to LARS; the velocity is momentum * v + the new step",
    "no momentum": "nothing is remembered; keep v from one step to the next",
    "uphill": "the step goes uphill; subtract v",
}


@exercise
def check_lars(answer: Callable[..., Any]) -> str:
    """`answer(w, gradients, rates, momentum, weight_decay, tau)`: the weights after a step for each gradient."""
    rng = np.random.default_rng(1)
    start = rng.normal(size=(3, 2))
    gradients = [rng.normal(size=(3, 2)) for _ in range(4)]
    rates = [LR, LR, LR / 10, LR / 10]
    given, w = [g.copy() for g in gradients], start.copy()
    got = answer(w, given, list(rates), MOMENTUM, DECAY, TAU)
    if got is None:
        raise NotYet("your function returns nothing; return the weights after the last step")
    if not np.array_equal(w, start):
        raise NotYet("the weights that you were given have changed; w -= ... writes into them, w = w - ... does not")
    if any(not np.array_equal(a, b) for a, b in zip(gradients, given, strict=True)):
        raise NotYet("a gradient was changed; g += ... writes into the caller's array")
    got = np.asarray(got, dtype=float)
    if got.shape != start.shape:
        raise NotYet(f"expected an array of shape {start.shape}, got {got.shape}")
    for mistake, hint in MISTAKES.items():
        if np.allclose(got, _run(start, gradients, mistake), rtol=1e-9):
            raise NotYet(hint)
    expected = _run(start, gradients)
    if not np.allclose(got, expected, rtol=1e-9):
        raise NotYet(f"after four steps expected {expected.ravel().round(5)}, got {got.ravel().round(5)}")
    return "ratio, rate, velocity, in this order."


# ---- the noise scale ----


@exercise
def check_noise_scale(answer: Callable[..., Any]) -> str:
    """`answer(small, large, b, B)`: tr(Σ)/‖G‖² from the mean of ‖g‖² at the batch sizes b < B."""
    for signal, trace, b, B in ((2.0, 300.0, 8, 64), (0.5, 10.0, 1, 100), (1e-3, 4.0, 32, 1024)):
        small, large = signal + trace / b, signal + trace / B
        got, expected = _number(answer(small, large, b, B)), trace / signal
        if np.isclose(got, 1 / expected):
            raise NotYet("upside down: the noise scale is tr(Σ) divided by ‖G‖²")
        if np.isclose(got, trace):
            raise NotYet("that is tr(Σ); divide it by ‖G‖²")
        if np.isclose(got, signal):
            raise NotYet("that is ‖G‖², the intercept; the noise scale is tr(Σ)/‖G‖²")
        if np.isclose(got, trace / large):
            raise NotYet("‖g_B‖² still holds noise, tr(Σ)/B; extrapolate the line to 1/B = 0")
        if np.isclose(got, (small - large) / signal):
            raise NotYet("the slope is the difference divided by 1/b - 1/B")
        if np.isclose(got, -expected):
            raise NotYet("the sign is wrong: the norm falls as the batch grows, and 1/b is larger than 1/B")
        if not np.isclose(got, expected):
            raise NotYet(f"for ‖G‖² = {signal:g}, tr(Σ) = {trace:g}, b = {b}, B = {B} expected {expected:.6g}, "
                         f"got {got:.6g}")  # fmt: skip
    return "slope over intercept of a straight line in 1/B."


# ---- groups ----

PARAMETERS = {
    "conv.weight": (8, 1, 3, 3),
    "conv.bias": (8,),
    "norm.weight": (8,),
    "norm.bias": (8,),
    "hidden.weight": (32, 16),
    "hidden.bias": (16,),
    "temperature": (),
}


@exercise
def check_exclude(answer: Callable[..., Any]) -> str:
    """`answer(params)`: groups for LARS in which what is no weight matrix or kernel is excluded."""
    params = [Tensor(np.ones(shape), requires_grad=True) for shape in PARAMETERS.values()]
    groups = answer(list(params))
    if groups is None:
        raise NotYet("your function returns nothing; return a list of groups")
    if not isinstance(groups, list | tuple) or not all(isinstance(g, dict) and "params" in g for g in groups):
        raise NotYet("expected a list of dicts, each with the key 'params'")
    found: dict[int, list[bool]] = {id(p): [] for p in params}
    for group in groups:
        for p in [group["params"]] if isinstance(group["params"], Tensor) else list(group["params"]):
            if id(p) not in found:
                raise NotYet("a group holds something that is not one of the given parameters")
            found[id(p)].append(bool(group.get("exclude", False)))
    for p, (name, shape) in zip(params, PARAMETERS.items(), strict=True):
        times = found[id(p)]
        if not times:
            raise NotYet(f"{name}, of shape {shape}, is in no group and would never be trained")
        if len(times) > 1:
            raise NotYet(f"{name}, of shape {shape}, is in {len(times)} groups; LARS would refuse it")
        if len(shape) < 2 and not times[0]:
            raise NotYet(f"{name}, of shape {shape}, gets a trust ratio, but its size says nothing about the step "
                         "it bears; exclude it")  # fmt: skip
        if len(shape) >= 2 and times[0]:
            raise NotYet(f"{name}, of shape {shape}, is excluded, but it is multiplied with its input like any layer")
    return "weights get a ratio of their own, all others the plain rate."
