"""Checks for the exercises of the chapter key_insight."""

from __future__ import annotations

from collections.abc import Callable
from math import comb, sqrt
from typing import Any

import numpy as np

from ._check import NotYet, exercise


def _numbers(got: Any, count: int, what: str) -> Any:
    """`got` as a float array of `count` numbers."""
    if got is None:
        raise NotYet(f"your function returns nothing; return {what}")
    try:
        found = np.asarray(got, dtype=float)
    except (TypeError, ValueError):
        raise NotYet(f"expected {what}, got {type(got).__name__}") from None
    if found.size != count:
        raise NotYet(f"expected {what}, got {found.size} numbers")
    return found.reshape(-1)


# ---- sums of squares ----


def _squares(y: Any) -> dict[str, Any]:
    a, b, n = y.shape
    mean, cell = y.mean(), y.mean(axis=2)
    rows, columns = cell.mean(axis=1) - mean, cell.mean(axis=0) - mean
    both = cell - mean - rows[:, None] - columns
    within = np.sum((y - cell[..., None]) ** 2)
    found = np.array([b * n * np.sum(rows**2), a * n * np.sum(columns**2), n * np.sum(both**2), within])
    cells = n * np.sum((cell - mean) ** 2)
    return {
        "right": found,
        "swapped": found[[1, 0, 2, 3]],
        "weights": found * np.array([a / b, b / a, 1, 1]),
        "unweighted": np.array([np.sum(rows**2), np.sum(columns**2), np.sum(both**2), within]),
        "no seeds": np.array([*found[:3] / n, within]),
        "cells": np.array([*found[:2], cells, within]),
        "mean squares": found / np.array([a - 1, b - 1, (a - 1) * (b - 1), a * b * (n - 1)]),
        "total": np.array([*found[:3], np.sum((y - mean) ** 2)]),
        "mean": np.array([*found[:2], n * np.sum((both - mean) ** 2), within]),
        "shares": found / found.sum(),
    }


SQUARES_HINTS = {
    "swapped": "the first two are exchanged: axis 0 holds the levels of the first factor",
    "unweighted": "each effect counts as often as numbers share it: b·n times for the first factor, a·n for the "
                  "second, n for the interaction",
    "weights": "the weights of the first two are exchanged: a level of the first factor has b·n runs, one of the "
               "second a·n",
    "no seeds": "the effects are weighted as if each cell had one seed; multiply by n",
    "cells": "the third number holds the two main effects as well; take them off the cell means first",
    "mean squares": "those are mean squares; leave out the division by the degrees of freedom",
    "total": "the last number is the total; the seeds' part is measured from the mean of each cell",
    "mean": "the interaction lacks the mean of all: cell - row - column takes it off twice, so add it once",
    "shares": "those are shares of the total; leave out the division",
}  # fmt: skip


@exercise
def check_squares(answer: Callable[..., Any]) -> str:
    """`answer(y)`: the sums of squares of factor 1, factor 2, their interaction and the seeds, from y (a, b, n)."""
    rng = np.random.default_rng(0)
    for shape in ((3, 2, 4), (2, 5, 3)):
        y = 90 + rng.normal(size=shape) + 3 * rng.normal(size=(shape[0], 1, 1)) + rng.normal(size=(*shape[:2], 1))
        given = y.copy()
        got = _numbers(answer(given), 4, "four numbers: factor 1, factor 2, interaction, seeds")
        if not np.array_equal(given, y):
            raise NotYet("the numbers that you were given have changed; y -= ... writes into them")
        cases = _squares(y)
        for name, hint in SQUARES_HINTS.items():
            if np.allclose(got, cases[name]):
                raise NotYet(hint)
        total = np.sum((y - y.mean()) ** 2)
        if not np.allclose(got, cases["right"]):
            apart = "" if np.isclose(got.sum(), total) else f"; they add to {got.sum():.4g}, the total is {total:.4g}"
            raise NotYet(f"for y of shape {shape} expected {cases['right'].round(3)}, got {got.round(3)}{apart}")
    return "the four add up to the whole, and none of them is counted twice."


# ---- an interval ----

T = {3: 4.302652730, 5: 2.776445105, 8: 2.364624252}  # 97.5 % quantiles of Student's t for n - 1 degrees
T_N = {3: 3.182446305, 5: 2.570581836, 8: 2.306004135}  # for n degrees
T_FAR = {3: 6.205346817, 5: 3.495405933, 8: 2.841244248}  # 98.75 % quantiles, what t_quantile(0.975, n - 1) gives


@exercise
def check_interval(answer: Callable[..., Any]) -> str:
    """`answer(values)`: the ends of the 95 % interval of Student for the mean."""
    rng = np.random.default_rng(1)
    for n, t in T.items():
        x = 0.9 + 0.02 * rng.normal(size=n)
        got = _numbers(answer(x.copy()), 2, "two numbers: the low end and the high end")
        mean, unbiased, biased = float(x.mean()), float(x.std(ddof=1)), float(x.std())
        if np.isclose(got[0], mean, rtol=1e-9):
            raise NotYet("the first number is the mean; return the low end and the high end")
        if got[0] > got[1]:
            raise NotYet("the ends are exchanged: the low one comes first")
        half = float(got[1] - got[0]) / 2
        wrong = {
            1.96 * unbiased / sqrt(n): "1.96 belongs to a standard deviation that is known; with n seeds it is "
                                       "estimated, and the factor is Student's t",
            1.96 * biased / sqrt(n): "two mistakes in one direction: 1.96 instead of t, and np.std without ddof=1",
            t * biased / sqrt(n): "np.std divides by n; the unbiased variance, ddof=1, divides by n - 1",
            T_N[n] * unbiased / sqrt(n): "t has n - 1 degrees of freedom here, one less than there are runs",
            T_FAR[n] * unbiased / sqrt(n): "t_quantile takes the confidence, 0.95; it leaves 2.5 % on each side itself",
            t * unbiased: "that is an interval for single runs; the mean of n runs is steadier, divide by sqrt(n)",
            t * unbiased / n: "divide by sqrt(n), not by n",
            unbiased / sqrt(n): "that is the standard error itself; multiply it by t",
            unbiased: "that is the mean plus and minus one standard deviation of single runs, no interval for the mean",
            t * unbiased**2 / sqrt(n): "that is the variance; take its root",
            2 * t * unbiased / sqrt(n): "twice too wide: t · s / sqrt(n) goes to each side",
        }  # fmt: skip
        right = t * unbiased / sqrt(n)
        if not np.isclose(half, right, rtol=1e-4):
            for value, hint in wrong.items():
                if np.isclose(half, value, rtol=2e-3):
                    raise NotYet(hint)
            raise NotYet(f"for {n} runs expected a half width of {right:.5f}, got {half:.5f}")
        if not np.isclose(got.mean(), mean, rtol=1e-6):
            raise NotYet(f"the width is right, the middle is not: expected {mean:.5f}, got {got.mean():.5f}")
    return "few seeds make a wide interval, for two reasons: sqrt(n), and t."


# ---- the best of k ----


def _best(x: Any, k: int) -> dict[str, float]:
    ordered, n = np.sort(x), len(x)
    i = np.arange(1, n + 1)
    chosen = np.array([comb(j - 1, k - 1) / comb(n, k) for j in i.tolist()])
    replaced = (i / n) ** k - ((i - 1) / n) ** k
    return {
        "right": float(ordered @ chosen),
        "replaced": float(ordered @ replaced),
        "worst": float(ordered[::-1] @ chosen),
        "all": float(ordered[-1]),
        "mean": float(x.mean()),
        "top": float(ordered[-k:].mean()),
        "first": float(x[:k].max()),
        "kth": float(ordered[-k]),
    }


BEST_HINTS = {
    "replaced": "that draws with replacement, and the same run may come twice; k different seeds give comb(n, k) sets",
    "worst": "that is the expected worst of k; the largest run is the best of most sets",
    "all": "that is the best of all n runs, whatever k is; average the best of each set of k",
    "mean": "that is the mean, which is the answer only for k = 1",
    "top": "that is the mean of the k best runs; take the best of k runs drawn at random",
    "kth": "that is the k-th best run; take the best of k runs drawn at random",
    "first": "that is the best of the first k runs, one set of many; average over all sets",
}


@exercise
def check_best(answer: Callable[..., Any]) -> str:
    """`answer(values, k)`: the mean, over all sets of k of the runs, of the best run in the set."""
    rng = np.random.default_rng(2)
    for n, k in ((6, 3), (8, 5), (7, 2)):
        x = 0.9 + 0.02 * rng.normal(size=n)
        low, *others, second, best = np.sort(x)
        mixed = rng.permutation(others).tolist()
        x = np.array([low, *mixed[: k - 2], second, *mixed[k - 2 :], best])  # the best is not among the first k
        got = float(_numbers(answer(x.copy(), k), 1, "one number")[0])
        cases = _best(x, k)
        for name, hint in BEST_HINTS.items():
            if np.isclose(got, cases[name], rtol=1e-9):
                raise NotYet(hint)
        if not np.isclose(got, cases["right"], rtol=1e-9):
            raise NotYet(f"for {n} runs and k = {k} expected {cases['right']:.6f}, got {got:.6f}")
    x = 0.9 + 0.02 * rng.normal(size=5)
    ends = [float(_numbers(answer(x.copy(), k), 1, "one number")[0]) for k in (1, 5)]
    if not np.allclose(ends, [x.mean(), x.max()]):
        raise NotYet("k = 1 should give the mean of all runs, and k = n the best of them")
    return "nothing about the method has changed, and the number grows with k."


# ---- what to report ----


@exercise
def check_report(answer: Callable[..., Any]) -> str:
    """`answer(validation, test)`: the number to report for the candidate that an honest search chooses."""
    rng = np.random.default_rng(3)
    for n in (5, 11, 40):
        # Continuous numbers, so that no two are equal, and the four candidates of the mistakes differ.
        skill = rng.normal(size=n)
        validation, test = skill + rng.normal(size=n), skill + rng.normal(size=n)
        chosen, peak = int(np.argmax(validation)), int(np.argmax(test))
        if chosen == peak:
            test[(chosen + 1) % n] = test.max() + 1
            peak = (chosen + 1) % n
        got = float(_numbers(answer(validation.copy(), test.copy()), 1, "one number")[0])
        if got == chosen:
            raise NotYet("that is the place of the candidate; report its test score")
        both = int(np.argmax(validation + test))
        wrong = [
            (test[peak], "you chose on the test set, so it no longer tells how the choice does on new images"),
            (validation[chosen], "that is the score that won the search, and it won in part by luck; report the test "
                                 "score of the winner"),
            (test.mean(), "that is the mean of all candidates; report the one that the validation set chose"),
            (test[both], "choosing on both sets together uses the test set as well; choose on the validation set"),
            (validation[peak], "the sets are exchanged: choose on the validation set, report the test set"),
        ]  # fmt: skip
        if not np.isclose(got, test[chosen]):
            for value, hint in wrong:
                if np.isclose(got, value):
                    raise NotYet(hint)
            raise NotYet(f"expected the test score of candidate {chosen}, {test[chosen]:.4f}, got {got:.4f}")
    return "the test set speaks once, after the choice."
