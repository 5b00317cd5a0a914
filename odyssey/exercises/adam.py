"""Checks for the exercises of the chapter adam."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import sqrt
from typing import Any

import numpy as np

from ._check import NotYet, exercise

LR, BETA1, BETA2, EPS = 0.1, 0.9, 0.99, 1e-3


def _run(gradients: Any, mistake: str = "") -> Any:
    """Where Adam stands after `gradients`, from zero; `mistake` names a known wrong turn."""
    beta1, beta2 = (BETA2, BETA1) if mistake == "swapped" else (BETA1, BETA2)
    p, m, v = (np.zeros(gradients[0].shape) for _ in range(3))
    for t, g in enumerate(gradients, start=1):
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g * g
        c1, c2 = (1.0, 1.0) if mistake == "uncorrected" else (1 - beta1**t, 1 - beta2**t)
        if mistake == "hat":
            p = p - LR * sqrt(c2) / c1 * m / (np.sqrt(v) + EPS)
        elif mistake == "inside":
            p = p - LR * (m / c1) / np.sqrt(v / c2 + EPS)
        elif mistake == "unsquared":
            p = p - LR * (m / c1) / (v / c2 + EPS)
        else:
            p = p - LR * (m / c1) / (np.sqrt(v / c2) + EPS)
    return p


MISTAKES = {
    "uncorrected": "m and v are not corrected for their start at zero; divide by 1 - beta1**t and by 1 - beta2**t",
    "inside": "eps stands inside the root: sqrt(v + eps); add it to the root, sqrt(v) + eps",
    "swapped": "the two betas are swapped; beta1 belongs to m, beta2 to v",
    "hat": "eps is added before the correction of v; correct v first, then take the root, then add eps",
    "unsquared": "you divide by the mean square itself; take its root",
}


@exercise
def check_adam(answer: Callable[..., Any]) -> str:
    """`answer(p, gradients, lr, beta1, beta2, eps)`: the parameters after one step for each of the gradients."""
    rng = np.random.default_rng(0)
    gradients = [np.array([1.0, -0.01, 0.3]) * (1 + 0.5 * rng.normal(size=3)) for _ in range(4)]
    given = [g.copy() for g in gradients]
    p = np.zeros(3)
    with np.errstate(all="ignore"):
        try:
            got = answer(p, given, LR, BETA1, BETA2, EPS)
        except ZeroDivisionError:
            raise NotYet("a correction 1 - beta**t is zero, because t begins at 0; the first step is t = 1") from None
    if got is None:
        raise NotYet("your function returns nothing; return the parameters after the last step")
    if any(not np.array_equal(a, b) for a, b in zip(gradients, given, strict=True)):
        raise NotYet("a gradient was changed: m = g makes m a second name for g's array, and m *= beta1 writes into it")
    got = np.asarray(got, dtype=float)
    if got.shape != p.shape:
        raise NotYet(f"expected the parameters, of shape {p.shape}, got shape {got.shape}")
    if not np.isfinite(got).all():
        raise NotYet("the result is not finite: 1 - beta**t is zero for t = 0; the first step is t = 1")
    expected = _run(gradients)
    if np.allclose(got, expected, rtol=1e-9):
        return "this is Kingma and Ba's algorithm 1."
    for name, words in MISTAKES.items():
        if np.allclose(got, _run(gradients, name), rtol=1e-9):
            raise NotYet(words)
    if np.allclose(got, -expected, rtol=1e-9):
        raise NotYet("the sign is wrong; a step goes against the gradient")
    raise NotYet(f"after four steps expected {np.round(expected, 5)}, got {np.round(got, 5)}")


@exercise
def check_largest_step(answer: Callable[[float, float], float]) -> str:
    """`answer(beta1, beta2)`: the largest |m| / sqrt(v) that any sequence of gradients can cause."""
    for beta1, beta2 in ((0.9, 0.999), (0.0, 0.99), (0.5, 0.9)):
        got = answer(beta1, beta2)
        if got is None:
            raise NotYet("your function returns nothing")
        single = (1 - beta1) / sqrt(1 - beta2)
        expected = single / sqrt(1 - beta1**2 / beta2)
        if np.isclose(got, expected, rtol=1e-6):
            continue
        if np.isclose(got, 1):
            raise NotYet("1 is the ratio for a constant gradient; a growing one does worse")
        if np.isclose(got, single):
            raise NotYet(
                "that is the ratio after one gradient among zeros; gradients that grow from step to step do worse"
            )
        if np.isclose(got, expected**2):
            raise NotYet("that is the bound on m**2 / v; take its root")
        if np.isclose(got, (1 - beta1) / sqrt(1 - beta2) / sqrt(abs(1 - beta2**2 / max(beta1, 1e-300)))):
            raise NotYet("the two betas are swapped in the geometric sum; its ratio is beta1**2 / beta2")
        raise NotYet(f"for betas ({beta1}, {beta2}) expected {expected:.5g}, got {float(got):.5g}")
    return "Cauchy and Schwarz give the bound, and a growing gradient attains it."


@exercise
def check_half_speed(answer: Mapping[str, float]) -> str:
    """`answer`: for "outside", "hat" and "inside", the gradient whose first step is half the rate (eps = 1e-8)."""
    expected = {"outside": 1e-8, "hat": 1e-8 / sqrt(1e-3), "inside": sqrt(1e-8 / 3)}
    if not isinstance(answer, Mapping) or set(answer) != set(expected):
        raise NotYet("expected a dict with the keys 'outside', 'hat' and 'inside'")
    for name, value in expected.items():
        got = answer[name]
        if not isinstance(got, (int, float, np.number)):
            raise NotYet(f"{name}: expected a number, got {got!r}")
        if np.isclose(got, value, rtol=1e-3, atol=0):
            continue
        if name == "hat" and np.isclose(got, 1e-8, rtol=1e-3, atol=0):
            raise NotYet("hat: eps meets the root of the uncorrected v, which is sqrt(1 - beta2) * |g| at t = 1")
        if name == "hat" and np.isclose(got, 1e-8 * sqrt(1e-3), rtol=1e-3, atol=0):
            raise NotYet("hat: divide by sqrt(1 - beta2), do not multiply")
        if name == "inside" and np.isclose(got, 1e-4, rtol=1e-3, atol=0):
            raise NotYet("inside: for g**2 = eps the root is sqrt(2) |g|, not 2 |g|")
        raise NotYet(f"{name}: a gradient of {float(got):.3g} does not give half a step")
    return "three formulas with one eps, and the largest floor is almost 6,000 times the smallest."
