"""Checks for the exercises of the chapter clipping."""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite
from typing import Any

import numpy as np

from ._check import NotYet, exercise

# ---- the function ----


def _length(gradients: Any, power: float = 2) -> float:
    return float(sum(np.sum(np.abs(g) ** power) for g in gradients) ** (1 / power))


def _cases() -> list[tuple[list[Any], float]]:
    rng = np.random.default_rng(0)
    return [
        ([rng.normal(size=(4, 3)), 10 * rng.normal(size=5), np.array(0.5)], 2.0),
        ([np.array([1.0, 0.0]), np.array([0.0, 1.0])], 1.0),
        ([np.array([3.0, 4.0, 0.0])], 1.0),
        ([np.array([0.3, 0.4])], 1.0),
        ([np.zeros((2, 2))], 1.0),
    ]


@exercise
def check_clip(answer: Callable[..., Any]) -> str:
    """`answer(gradients, max_norm)`: shortens the arrays in place, and returns their common norm before."""
    for given, limit in _cases():
        gradients = [g.copy() for g in given]
        with np.errstate(all="ignore"):
            got = answer(gradients, limit)
        length = _length(given)
        expected = [g * min(1.0, limit / (length + 1e-6)) for g in given]
        each = [g * min(1.0, limit / (_length([g]) + 1e-6)) for g in given]

        def equal(wanted: list[Any], found: list[Any] = gradients, rtol: float = 1e-9) -> bool:
            pairs = zip(wanted, found, strict=True)
            return all(np.allclose(a, b, rtol=rtol, atol=1e-12, equal_nan=True) for a, b in pairs)

        where = f"for the gradients {given[0]}" if len(given) == 1 else f"for {len(given)} tensors"
        if any(not np.isfinite(g).all() for g in gradients):
            raise NotYet("a gradient of zeros became NaN: 0 / 0. Add 1e-6 to the norm in the denominator")
        if not equal(expected):
            if equal(given):
                if isinstance(got, list | tuple):
                    raise NotYet("the arrays are unchanged and a list came back; change them in place, g *= factor")
                raise NotYet(f"{where} nothing has changed; write g *= factor, not g = g * factor")
            if length <= limit and _length(gradients) > length * 1.01:
                raise NotYet("a gradient that was short enough became longer; the factor is at most 1: "
                             "min(1, max_norm / norm)")  # fmt: skip
            if equal(each, rtol=1e-5) or equal([g * limit / (_length([g]) + 1e-6) for g in given], rtol=1e-5):
                raise NotYet("each tensor is clipped on its own, and two unit tensors stay as they are; add all "
                             "squares first, then take one root")  # fmt: skip
            others = {
                "the factor divides by the sum of squares; the norm is its square root": length**2,
                "you added the norms of the tensors; add their squares, and take the root at the end": sum(
                    _length([g]) for g in given
                ),
                "that is the sum of absolute values; the norm is the root of the sum of squares": _length(given, 1),
            }
            for hint, other in others.items():
                if equal([g * min(1.0, limit / (other + 1e-6)) for g in given], rtol=1e-5):
                    raise NotYet(hint)
            if equal([np.clip(g, -limit, limit) for g in given]):
                raise NotYet("that is clipping by value, which turns the gradient; multiply all numbers by one factor")
            if equal(expected, rtol=1e-5):
                raise NotYet("right to five digits: the 1e-6 of PyTorch is missing in max_norm / (norm + 1e-6)")
            raise NotYet(f"{where} expected {expected[0].round(4)} at first, got {gradients[0].round(4)}")
        if got is None:
            raise NotYet("your function returns nothing; return the norm before clipping")
        if np.shape(got) != ():
            raise NotYet("the arrays are right; return one number, the norm before clipping")
        if not np.isclose(float(got), length):
            if np.isclose(float(got), _length(gradients)):
                raise NotYet("you return the norm after clipping; the one before is worth logging")
            if np.isclose(float(got), length**2):
                raise NotYet("you return the sum of squares; take the root")
            raise NotYet(f"{where} the norm before clipping is {length:.6g}, you return {float(got):.6g}")
    return "one factor for all, at most 1, and the norm to log."


# ---- from smoothness to options ----


@exercise
def check_options(answer: Callable[..., Any]) -> str:
    """`answer(L0, L1)`: the rate and the threshold of the step min(1/L0, 1/(L1 |g|)) g."""
    for L0, L1 in ((2000.0, 120.0), (10.0, 0.5), (3.0, 4.0)):
        got = answer(L0, L1)
        if got is None:
            raise NotYet("your function returns nothing; return lr, max_norm")
        if np.shape(got) != (2,):
            raise NotYet("return two numbers, lr and max_norm")
        lr, limit = map(float, got)
        if np.isclose(lr, L0 / L1) and np.isclose(limit, 1 / L0):
            raise NotYet("the two are swapped: first lr, then max_norm")
        if not np.isclose(lr, 1 / L0):
            raise NotYet(f"where the gradient is short nothing is clipped and the step is lr * g; for L0 = {L0:g} "
                         f"it should be g / {L0:g}, with your lr it is {lr:.4g} * g")  # fmt: skip
        if np.isclose(limit, 1 / L1):
            raise NotYet("1 / L1 is the length of the longest *step*; max_norm bounds the gradient, before the rate")
        if np.isclose(limit, L1 / L0):
            raise NotYet("max_norm is upside down: with a larger L1 the cliff is steeper, and the threshold lower")
        if not np.isclose(limit, L0 / L1):
            raise NotYet(f"for L0 = {L0:g} and L1 = {L1:g} the longest step is lr * max_norm = {lr * limit:.4g}, "
                         f"it should be 1 / L1 = {1 / L1:.4g}")  # fmt: skip
    return "the rate is 1 / L0 and the longest step 1 / L1."


# ---- where the sign turns ----


@exercise
def check_sign(answer: Any) -> str:
    """`answer`: the threshold above which 10 (share 0.2) and -1 (share 0.8) have a positive mean after clipping."""
    if answer is None:
        raise NotYet("assign a number to threshold")
    c = float(answer)
    if not isfinite(c) or c <= 0:
        raise NotYet("a threshold is a positive number")
    if np.isclose(c, 4):
        return "at 4 the mean of the clipped gradient is zero."
    if np.isclose(c, 10):
        raise NotYet("at 10 nothing is clipped any more and the mean is exact; the sign is right long before")
    mean = 0.2 * min(10.0, c) - 0.8 * min(1.0, c)
    if mean < 0:
        raise NotYet(f"with the threshold {c:g} the mean is {mean:.3g}, still of the wrong sign")
    raise NotYet(f"with the threshold {c:g} the mean is {mean:.3g}; a lower threshold has the right sign too")


# ---- a threshold from a log ----


@exercise
def check_threshold(answer: Callable[..., Any]) -> str:
    """`answer(norms, share)`: the threshold that would have clipped this share of the steps with a finite norm."""
    rng = np.random.default_rng(0)
    clean = np.exp(rng.normal(size=1001))
    for share in (0.1, 0.25):
        for bad in ([], [np.inf] * 150, [np.nan] * 3, [np.nan, np.inf, -0.0]):
            finite = clean[1:] if len(bad) == 3 and bad[-1] == 0 else clean
            norms = np.concatenate([np.atleast_1d(np.array(bad, dtype=float)), finite])
            healthy = norms[np.isfinite(norms)]
            kept = norms.copy()
            with np.errstate(all="ignore"):
                got = answer(norms, share)
            if got is None:
                raise NotYet("your function returns nothing")
            if np.shape(got) != ():
                raise NotYet("return one number")
            if not np.array_equal(norms, kept, equal_nan=True):
                raise NotYet("the log has changed; work on a copy")
            c = float(got)
            clipped = float(np.mean(healthy > c))
            if np.isnan(c) and np.isnan(norms).any():
                raise NotYet("one NaN in the log makes the quantile NaN; leave out what is not finite")
            if abs(clipped - (1 - share)) < 0.01:
                raise NotYet(f"this clips {clipped:.0%} of the steps, not {share:.0%}: the *longest* should be clipped")
            if len(bad) == 150 and not abs(clipped - share) < 0.01:
                raise NotYet("150 infinite norms have moved the threshold; leave out what is not finite")
            if not abs(clipped - share) < 0.01:
                raise NotYet(f"share = {share}: this clips {clipped:.1%} of the steps with a finite norm")
    return "the quantile 1 - share of the finite norms."
