"""Intervals for means over seeds, and the parts of a variance: a balanced analysis of variance."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import combinations
from math import exp, lgamma, pi, prod, sqrt
from typing import Any, NamedTuple

import numpy as np

from ...autograd.tape.entry import Array
from .checks import checked_confidence, checked_runs

SEED = "seed"  # the name of what the factors leave unexplained


class Interval(NamedTuple):
    """An estimate and the ends of an interval around it."""

    estimate: float
    low: float
    high: float


class Part(NamedTuple):
    """What one source of variance contributes; the shares of all parts add to 1."""

    degrees: int  # of freedom
    squares: float  # sum of squares
    eta: float  # share of the total sum of squares
    omega: float  # share without what chance alone would give, hence unbiased, and maybe negative


def t_quantile(confidence: float, degrees: int) -> float:
    """The t for which Student's distribution has `confidence` of its mass between -t and t.

    With x = sqrt(degrees) tan(a) the density is a power of the cosine of a, on a finite range.
    """
    confidence = checked_confidence("t_quantile", confidence)
    if isinstance(degrees, bool) or not isinstance(degrees, int | np.integer) or degrees < 1:
        raise ValueError(f"t_quantile: expected degrees to be a whole number from 1, got "
                         f"{degrees!r}; n seeds have n - 1")  # fmt: skip
    a = np.linspace(0, pi / 2, 20001)
    density = np.cos(a) ** (degrees - 1)
    density *= 2 * exp(lgamma((degrees + 1) / 2) - lgamma(degrees / 2)) / sqrt(pi)
    steps = (density[1:] + density[:-1]) / 2 * (a[1] - a[0])
    mass = np.concatenate([[0.0], np.cumsum(steps)])
    return sqrt(degrees) * float(np.tan(np.interp(confidence, mass, a)))


def t_interval(values: Any, confidence: float = 0.95) -> Interval:
    """Mean of the runs `values` (n,), and Student's interval for the mean of all possible seeds.

    The half width is t · s / sqrt(n), with the unbiased variance s² and n - 1 degrees of freedom.
    """
    x = checked_runs("t_interval", values, 1)
    if x.ndim != 1:
        raise ValueError(f"t_interval: expected one row of numbers, got shape {x.shape}; call it "
                         f"for each row")  # fmt: skip
    mean = float(x.mean())
    half = t_quantile(confidence, len(x) - 1) * float(x.std(ddof=1)) / sqrt(len(x))
    return Interval(mean, mean - half, mean + half)


def effects(y: Array) -> dict[tuple[int, ...], Array]:
    """The effect of each set of factors, by their axes, from y (levels, ..., seeds).

    The mean over everything else, minus the effects of all smaller sets: equation
    eq-key-insight-effect. () is the mean of all. The effects add up to the means of the cells.
    """
    factors = range(y.ndim - 1)
    found: dict[tuple[int, ...], Array] = {}
    for size in range(y.ndim):
        for axes in combinations(factors, size):
            others = tuple(axis for axis in range(y.ndim) if axis not in axes)
            effect = y.mean(axis=others, keepdims=True)
            for smaller, lower in found.items():
                if set(smaller) < set(axes):
                    effect = effect - lower
            found[axes] = effect
    return found


def decompose(y: Any, factors: Iterable[str]) -> dict[str, Part]:
    """The parts of the variance of `y` (levels of factor 1, levels of factor 2, ..., seeds).

    One part for each of `factors`, one for each interaction, "optimizer × schedule", and "seed".
    With N numbers and the mean square of the seeds e, omega = (squares - degrees · e) /
    (total + e), as in Hays 1963: equation eq-key-insight-omega.
    """
    names = [factors] if isinstance(factors, str) else list(factors)
    y = checked_runs("decompose", y, 2)
    if len(names) != y.ndim - 1 or len(set(names)) < len(names):
        raise ValueError(f"decompose: expected a name for each axis but the last of {y.shape}, got "
                         f"{names}; the last axis is for the seeds")  # fmt: skip
    found = effects(y)
    squares = {axes: y.size / effect.size * float(np.sum(effect**2))
               for axes, effect in found.items() if axes}  # fmt: skip
    within = float(np.sum((y - y.mean(axis=-1, keepdims=True)) ** 2))
    total, degrees = sum(squares.values()) + within, y.size - y.size // y.shape[-1]
    if total == 0:
        raise ValueError("decompose: all numbers are equal, so there is no variance to explain")
    e = within / degrees
    parts = {}
    for axes, s in squares.items():
        free = prod(y.shape[axis] - 1 for axis in axes)
        name = " × ".join(names[axis] for axis in axes)
        parts[name] = Part(free, s, s / total, (s - free * e) / (total + e))
    parts[SEED] = Part(degrees, within, within / total, y.size * e / (total + e))
    return parts


def bootstrap(
    y: Any, statistic: Callable[[Array], Any], rng: np.random.Generator, *,
    resamples: int = 1000, confidence: float = 0.95,
) -> tuple[Array, Array]:  # fmt: skip
    """Ends (low, high) of the interval for ``statistic(y)`` over the seeds, the last axis of `y`.

    Each cell draws from its own seeds, with replacement. What is drawn is stretched about the mean
    of the cell by sqrt(n / (n - 1)), so that its variance is the unbiased one. The errors of the
    resamples are turned about the estimate θ, as in the basic bootstrap (Davison & Hinkley 1997,
    chapter 5), but measured from their own mean m: θ + m - quantiles. For the cells of a resample
    scatter more than the true ones, and a statistic without bias, like omega, is larger there.
    """
    y = checked_runs("bootstrap", y, 1)
    confidence = checked_confidence("bootstrap", confidence)
    if not isinstance(rng, np.random.Generator):
        got = type(rng).__name__
        raise TypeError(f"bootstrap: expected rng to be a numpy Generator, got {got}; use "
                        f"np.random.default_rng(0)")  # fmt: skip
    if isinstance(resamples, bool) or not isinstance(resamples, int) or resamples < 100:
        raise ValueError(f"bootstrap: expected resamples to be a whole number from 100, got "
                         f"{resamples!r}")  # fmt: skip
    n, mean = y.shape[-1], y.mean(axis=-1, keepdims=True)
    stretched = mean + sqrt(n / (n - 1)) * (y - mean)
    drawn = []
    for _ in range(resamples):
        picks = rng.integers(n, size=y.shape, dtype=np.int64)
        drawn.append(statistic(np.take_along_axis(stretched, picks, axis=-1)))
    tail = (1 - confidence) / 2
    low, high = np.quantile(np.array(drawn), [tail, 1 - tail], axis=0)
    centre = np.asarray(statistic(y)) + np.mean(np.array(drawn), axis=0)
    return centre - high, centre - low
