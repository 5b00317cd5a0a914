"""Checks for the exercises of the chapter beyond_adam."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ._check import NotYet, exercise

LR, BETA1, BETA2, DECAY = 0.1, 0.6, 0.95, 0.5
START = np.array([1.0, -2.0, 0.5, 1.5])
GRADIENTS = [np.array(g) for g in ([1.0, -0.2, 0.5, 0.1], [-0.07, 1.0, -3.0, -0.1], [0.3, -0.3, 1.0, 2.0])]


def _lion(mistake: str = "") -> Any:
    """Where Lion stands after GRADIENTS; `mistake` names a known wrong turn."""
    beta1, beta2 = (BETA2, BETA1) if mistake == "swapped" else (BETA1, BETA2)
    p, m = START.copy(), np.zeros(4)
    for g in GRADIENTS:
        inside = beta1 * m + (1 - beta1) * g
        if mistake == "one beta":
            m = beta1 * m + (1 - beta1) * g
            inside = m
        elif mistake == "memory first":
            m = beta2 * m + (1 - beta2) * g
            inside = beta1 * m + (1 - beta1) * g
        elif mistake == "memory of the step":
            m = inside
        else:
            m = beta2 * m + (1 - beta2) * g
        if mistake == "coupled":
            step = np.sign(inside + DECAY * p)
        elif mistake == "no sign":
            step = inside + DECAY * p
        elif mistake == "no decay":
            step = np.sign(inside)
        elif mistake == "bare decay":
            step = np.sign(inside) + DECAY * p / LR
        else:
            step = np.sign(inside) + DECAY * p
        p = p - LR * step
    return p


MISTAKES = {
    "no sign": "the step is the interpolation itself; take its sign",
    "coupled": "the decay stands inside the sign, where its size is lost; add decay * p to the sign",
    "no decay": "the weights do not decay; add decay * p to the sign",
    "bare decay": "the decay is not multiplied by the rate; the step is lr * (sign + decay * p)",
    "swapped": "the two betas are swapped; beta1 belongs to the step, beta2 to the memory",
    "memory first": "the memory is updated before the step; interpolate with the old memory first",
    "one beta": "only beta1 is used; the memory has its own, beta2",
    "memory of the step": "only beta1 is used; the memory has its own, beta2",
}


@exercise
def check_lion(answer: Callable[..., Any]) -> str:
    """`answer(p, gradients, lr, beta1, beta2, decay)`: the parameters after one step for each of the gradients."""
    given = [g.copy() for g in GRADIENTS]
    got = answer(START.copy(), given, LR, BETA1, BETA2, DECAY)
    if got is None:
        raise NotYet("your function returns nothing; return the parameters after the last step")
    if any(not np.array_equal(a, b) for a, b in zip(GRADIENTS, given, strict=True)):
        raise NotYet("a gradient was changed; m = g makes m a second name for g's array")
    got = np.asarray(got, dtype=float)
    if got.shape != START.shape:
        raise NotYet(f"expected the parameters, of shape {START.shape}, got shape {got.shape}")
    if np.allclose(got, _lion()):
        return "this is algorithm 2 of Chen et al."
    for name, words in MISTAKES.items():
        if np.allclose(got, _lion(name)):
            raise NotYet(words)
    raise NotYet(f"after three steps expected {np.round(_lion(), 4)}, got {np.round(got, 4)}")


@exercise
def check_steepest(answer: Callable[[Any], Any]) -> str:
    """`answer(G)`: the matrix X with spectral norm at most 1 for which the sum of G * X is largest."""
    rng = np.random.default_rng(0)
    for shape in ((3, 3), (4, 2), (2, 5)):
        G = rng.normal(size=shape)
        try:
            got = answer(G.copy())
        except ValueError as error:
            if shape == (3, 3):
                raise
            raise NotYet(f"for G of shape {shape} your code raises ValueError: {error}; full_matrices=False?") from None
        if got is None:
            raise NotYet("your function returns nothing")
        u, s, vt = np.linalg.svd(G, full_matrices=False)
        if np.shape(got) != shape:
            raise NotYet(f"for G of shape {shape} expected that shape, got {np.shape(got)}; full_matrices=False?")
        got, best = np.asarray(got, dtype=float), u @ vt
        if np.allclose(got, best, atol=1e-6):
            continue
        if np.allclose(got, -best, atol=1e-6):
            raise NotYet("that is the smallest sum; the step goes against it, the answer here does not")
        if shape[0] == shape[1] and np.allclose(got, u @ vt.T, atol=1e-6):
            raise NotYet("np.linalg.svd returns Vᵀ, not V; do not transpose it again")
        if np.allclose(got, np.sign(G)):
            raise NotYet("sign(G) is best if every element is at most 1; its spectral norm is above 1")
        if np.allclose(got, G / np.linalg.norm(G)):
            raise NotYet("that is best under the Frobenius norm; all singular values may be 1 here")
        if np.allclose(got, G / s[0]):
            raise NotYet("only the largest singular value is 1; let the others be 1 too")
        size = float(np.linalg.norm(got, 2))
        if size > 1 + 1e-6:
            raise NotYet(f"your matrix has the spectral norm {size:.3f}, more than 1")
        raise NotYet(f"your sum is {float(np.sum(G * got)):.4f}, the best is {float(s.sum()):.4f}")
    return "U Vᵀ, and the sum is the sum of the singular values."


def _rounds(s: float, target: float = 0.5) -> int:
    count = 0
    while s < target:
        s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
        count += 1
    return count


@exercise
def check_rounds(answer: Callable[[float], Any]) -> str:
    """`answer(s)`: how many rounds bring a singular value s, 0 < s <= 1, to 0.5 or more for the first time."""
    for s in (0.3, 0.1, 0.6, 1e-2, 1e-3, 1e-4, 1e-6):
        got, expected = answer(s), _rounds(s)
        if got is None:
            raise NotYet("your function returns nothing")
        if not isinstance(got, (int, float, np.number)) or got != int(got):
            raise NotYet(f"a number of rounds is whole; for s = {s:g} you give {got!r}")
        if got == expected:
            continue
        if s == 0.6:
            raise NotYet("0.6 is above 0.5 already: no round is needed")
        if got == expected + 1:
            raise NotYet(f"one round too many for s = {s:g}; stop as soon as s is 0.5 or more")
        if got == expected - 1:
            raise NotYet(f"one round too few for s = {s:g}; after them it is still below 0.5")
        raise NotYet(f"for s = {s:g} expected {expected}, got {int(got)}; each round multiplies a small s by 3.4445")
    return "about one round for each factor of 3.4."
