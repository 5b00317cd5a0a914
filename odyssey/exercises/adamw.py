"""Checks for the exercises of the chapter adamw."""

from __future__ import annotations

from collections.abc import Callable
from math import log
from typing import Any

import numpy as np

from ..autograd import Tensor
from ._check import NotYet, exercise

LR, BETA1, BETA2, EPS, DECAY = 0.1, 0.9, 0.99, 1e-8, 0.5

# ---- the formula ----


def _run(p: Any, gradients: Any, mistake: str = "") -> Any:
    """Where AdamW stands after `gradients`, from `p`; `mistake` names a known wrong turn."""
    m, v = np.zeros_like(p), np.zeros_like(p)
    for t, g in enumerate(gradients, start=1):
        if mistake == "in the gradient":
            g = g + DECAY * p
        m = BETA1 * m + (1 - BETA1) * g
        v = BETA2 * v + (1 - BETA2) * g * g
        c1, c2 = (1.0, 1.0) if mistake == "uncorrected" else (1 - BETA1**t, 1 - BETA2**t)
        u = (m / c1) / (np.sqrt(v / c2) + EPS)
        if mistake in ("in the gradient", "none"):
            p = p - LR * u
        elif mistake == "after":
            p = (1 - LR * DECAY) * (p - LR * u)
        elif mistake == "no rate":
            p = (1 - DECAY) * p - LR * u
        elif mistake == "grows":
            p = (1 + LR * DECAY) * p - LR * u
        elif mistake == "penalised direction":
            p = p - LR * (m / c1 + DECAY * p) / (np.sqrt(v / c2) + EPS)
        else:
            p = (1 - LR * DECAY) * p - LR * u
    return p


MISTAKES = {
    "in the gradient": "the decay is added to the gradient, so it passes through m and v; that is Adam with L2. "
    "Shrink the parameters themselves",
    "after": "the decay comes after the step and shrinks the new weights; multiply the old ones, then step",
    "no rate": "the rate is missing in the decay: multiply by 1 - lr * weight_decay, not by 1 - weight_decay",
    "none": "nothing decays; multiply the parameters by 1 - lr * weight_decay in each step",
    "grows": "the weights grow: the decay has the wrong sign",
    "penalised direction": "the decay is added after m but still divided by the root of v; keep it out of the division",
    "uncorrected": "m and v are not corrected for their start at zero; divide by 1 - beta1**t and by 1 - beta2**t",
}


@exercise
def check_adamw(answer: Callable[..., Any]) -> str:
    """`answer(p, gradients, lr, beta1, beta2, eps, weight_decay)`: the parameters after a step for each gradient."""
    rng = np.random.default_rng(0)
    start = np.array([2.0, -1.0, 0.5])
    gradients = [np.array([1.0, -0.3, 0.05]) * (1 + 0.5 * rng.normal(size=3)) for _ in range(4)]
    given, p = [g.copy() for g in gradients], start.copy()
    got = answer(p, given, LR, BETA1, BETA2, EPS, DECAY)
    if got is None:
        raise NotYet("your function returns nothing; return the parameters after the last step")
    if not np.array_equal(p, start):
        raise NotYet("the parameters that you were given have changed; p *= ... writes into them, p = ... * p does not")
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
        raise NotYet(f"after four steps from {start} expected {expected.round(6)}, got {got.round(6)}")
    return "the weights decay by themselves, and Adam knows nothing of it."


# ---- groups ----


@exercise
def check_groups(answer: Callable[..., Any]) -> str:
    """`answer(params, weight_decay)`: groups for AdamW in which only parameters of two or more dimensions decay."""
    shapes = [(4, 3), (3,), (3,), (2, 1, 3, 3), (2,), ()]
    names = ["a weight matrix", "a bias", "the scale of a normalisation", "a convolution", "a bias", "a lone number"]
    params = [Tensor(np.ones(shape), requires_grad=True) for shape in shapes]
    groups = answer(list(params), 0.3)
    if groups is None:
        raise NotYet("your function returns nothing; return a list of groups")
    if not isinstance(groups, list | tuple) or not all(isinstance(g, dict) and "params" in g for g in groups):
        raise NotYet("expected a list of dicts, each with the key 'params'")
    found: dict[int, list[Any]] = {id(p): [] for p in params}
    for group in groups:
        members = [group["params"]] if isinstance(group["params"], Tensor) else list(group["params"])
        for p in members:
            if id(p) not in found:
                raise NotYet("a group holds something that is not one of the given parameters")
            found[id(p)].append(group.get("weight_decay"))
    for p, shape, name in zip(params, shapes, names, strict=True):
        decays = found[id(p)]
        where = f"{name}, of shape {shape},"
        if not decays:
            raise NotYet(f"{where} is in no group and would never be trained")
        if len(decays) > 1:
            raise NotYet(f"{where} is in {len(decays)} groups; AdamW would refuse it")
        if decays[0] is None:
            raise NotYet(f"the group of {where} has no weight_decay and gets the default of 0.01; write it down")
        if len(shape) < 2 and decays[0] != 0:
            raise NotYet(f"{where} decays; biases, scales and shifts should not")
        if len(shape) >= 2 and decays[0] != 0.3:
            raise NotYet(f"{where} should decay with the weight_decay that was given, 0.3, not {decays[0]}")
    return "weights decay, biases and normalisations do not, and nobody is left out."


# ---- half-life ----


@exercise
def check_half_life(answer: Callable[..., Any]) -> str:
    """`answer(lr, weight_decay)`: after how many steps without gradient a weight has halved."""
    for lr, decay in ((0.01, 0.1), (0.1, 0.5), (1e-3, 0.01)):
        got = answer(lr, decay)
        if got is None:
            raise NotYet("your function returns nothing")
        steps, expected = float(got), log(0.5) / log(1 - lr * decay)
        if np.isclose(steps, log(0.5) / log(1 - decay), rtol=0.01):
            raise NotYet("the rate is forgotten: a step multiplies by 1 - lr * weight_decay")
        if np.isclose(steps, 1 / (lr * decay), rtol=0.01):
            raise NotYet("after 1 / (lr * weight_decay) steps 1/e is left, 37 %, not one half")
        if np.isclose(steps, 0.5 / (lr * decay), rtol=0.01):
            raise NotYet("each step takes a share of what is left: the weight falls as a power, not as a line")
        if np.isclose(steps, -expected, rtol=0.05):
            raise NotYet("a number of steps is positive; both logarithms are negative")
        if not np.isclose(steps, expected, rtol=0.03):
            raise NotYet(f"for lr = {lr} and weight_decay = {decay} expected {expected:.4g} steps, got {steps:.4g}")
    return "log(1/2) / log(1 - lr * weight_decay)."
