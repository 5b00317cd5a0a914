"""Checks for the exercises of the chapter schedulers."""

from __future__ import annotations

from collections.abc import Callable
from math import cos, pi, radians
from typing import Any

import numpy as np

from ._check import NotYet, exercise

# ---- warm-up and cosine ----

LR, WARMUP, TOTAL = 0.4, 10, 50


def _planned(t: int, mistake: str = "") -> float:
    """The rate after `t` steps; `mistake` names a known wrong turn."""
    lr, warmup, total = LR, WARMUP, TOTAL
    if mistake == "late":
        t += 1
    elif mistake == "early":
        t -= 1
    if t < warmup and mistake != "no warm-up":
        start = 0.0 if mistake == "from zero" else 0.1
        if mistake == "share":
            return lr * (0.1 + t / warmup)
        return lr * (start + (1 - start) * t / warmup)
    if mistake == "clock":
        done = t / total
    elif mistake == "length":
        done = (t - warmup) / total
    else:
        done = (t - warmup) / (total - warmup)
    if mistake != "periodic":
        done = min(done, 1.0)
    if mistake == "no pi":
        return lr * (1 + cos(done)) / 2
    if mistake == "degrees":
        return lr * (1 + cos(radians(pi * done))) / 2
    if mistake == "two pi":
        return lr * (1 + cos(2 * pi * done)) / 2
    if mistake == "not halved":
        return lr * (1 + cos(pi * done))
    if mistake == "quarter":
        return lr * cos(pi / 2 * done)
    if mistake == "line":
        return lr * (1 - done)
    return lr * (1 + cos(pi * done)) / 2


PLAN_MISTAKES = {
    "no pi": "the cosine lacks its π: cos(1) is 0.54, so the rate never falls below 77 %. Half a period is π",
    "degrees": "the cosine decays by degrees: its argument is in radians, and π · share is already right",
    "two pi": "a whole period brings the rate back up to where it was; half a period, π, ends at 0",
    "not halved": "1 + cos goes from 2 to 0; halve it, or the rate jumps to twice lr after the warm-up",
    "quarter": "that is a quarter of a cosine, steep at its end; take (1 + cos(π · share)) / 2",
    "line": "that is a straight line after the warm-up; take (1 + cos(π · share)) / 2",
    "late": "off by one: this is the rate after t + 1 steps. t counts the steps that are done, and is 0 at the first",
    "early": "off by one: this is the rate after t - 1 steps. t counts the steps that are done, and is 0 at the first",
    "from zero": "the warm-up begins at 0, and the first step is wasted; begin at lr / 10",
    "share": "the warm-up begins at lr / 10 and overshoots lr: only the missing 0.9 lr is spread over the steps",
    "clock": "after the warm-up the cosine has its own clock: its share of the way is (t - warmup) / (total - warmup)",
    "length": "the cosine is total - warmup steps long, not total; as it is, training ends before the rate does",
    "no warm-up": "there is no warm-up: for t < warmup the rate is on a line from lr / 10 to lr",
    "periodic": "after the last step the rate grows again, since the cosine is periodic; hold the share at 1",
}


@exercise
def check_plan(answer: Callable[..., Any]) -> str:
    """`answer(t, lr, warmup, total)`: a line from lr / 10 to lr, then half a cosine to 0 at `total`, and 0 after it."""
    steps = range(TOTAL + 21)
    got = []
    for t in steps:
        rate = answer(t, LR, WARMUP, TOTAL)
        if rate is None:
            raise NotYet(f"your function returns nothing for t = {t}")
        got.append(float(rate))
    for mistake, hint in PLAN_MISTAKES.items():
        if np.allclose(got, [_planned(t, mistake) for t in steps], rtol=1e-9, atol=1e-12):
            raise NotYet(hint)
    for t, rate in zip(steps, got, strict=True):
        if not np.isclose(rate, _planned(t), rtol=1e-9, atol=1e-12):
            raise NotYet(f"lr = {LR}, warmup = {WARMUP}, total = {TOTAL}: after {t} steps expected {_planned(t):.6g}, "
                         f"got {rate:.6g}")  # fmt: skip
    for lr, warmup, total, t, expected in (
        (1.0, 4, 8, 2, 0.55),
        (1.0, 4, 8, 6, 0.5),
        (2.0, 4, 8, 8, 0.0),
    ):
        if not np.isclose(float(answer(t, lr, warmup, total)), expected, atol=1e-12):
            raise NotYet(
                f"right for lr = {LR}, warmup = {WARMUP}, total = {TOTAL}, but not for {lr}, {warmup}, {total}"
            )
    return "a line up, half a cosine down, and nothing after it."


# ---- the floor ----


@exercise
def check_rate_for(answer: Callable[..., Any]) -> str:
    """`answer(loss, curvature, sigma)`: the constant rate whose mean loss at rest is `loss`."""
    for loss, curvature, sigma in ((0.5, 0.4, 2.0), (3.0, 2.0, 1.0), (0.01, 5.0, 0.3)):
        got = answer(loss, curvature, sigma)
        if got is None:
            raise NotYet("your function returns nothing")
        noise = sigma**2
        expected = 4 * loss / (noise + 2 * curvature * loss)
        wrong = {
            "that is right for small rates only; keep the factor 2 - rate * curvature": 4 * loss / noise,
            "that makes the variance of w equal to the given number; the loss is curvature / 2 times the variance":
                2 * curvature * loss / (noise + curvature**2 * loss),
            "sigma is a standard deviation; its square enters": 4 * loss / (sigma + 2 * curvature * loss),
            "the loss is curvature / 2 times the variance, and you forgot the 2":
                2 * loss / (noise + curvature * loss),
            "the loss is curvature / 2 times the variance, and you forgot the curvature":
                4 * curvature * loss / (noise + 2 * curvature**2 * loss),
        }  # fmt: skip
        for hint, value in wrong.items():
            if np.isclose(float(got), value, rtol=1e-6) and not np.isclose(value, expected, rtol=1e-6):
                raise NotYet(hint)
        if not np.isclose(float(got), expected, rtol=1e-6):
            raise NotYet(f"for loss {loss}, curvature {curvature} and sigma {sigma} expected {expected:.6g}, "
                         f"got {float(got):.6g}")  # fmt: skip
    return "4 L / (σ² + 2 λ L). As L grows it approaches 2/λ, where SGD diverges."


# ---- patience ----


def _cut(metrics: list[float], patience: int, mistake: str = "") -> list[int]:
    """The epochs, from 1, after which the rate is reduced."""
    best, bad, found, previous = float("inf"), 0, [], float("inf")
    for epoch, metric in enumerate(metrics, start=1):
        reference = previous if mistake == "previous" else best
        if metric < reference or (mistake == "equal" and metric == reference):
            bad = 0
        else:
            bad += 1
        best, previous = min(best, metric), metric
        if mistake == "frozen best":
            best = metrics[0]
        if bad > patience or (mistake == "at least" and bad >= patience):
            found.append(epoch)
            bad = bad if mistake == "not reset" else 0
            if mistake == "forgets":
                best = float("inf")
    return [epoch - 1 for epoch in found] if mistake == "from zero" else found


PATIENCE_MISTAKES = {
    "at least": "the rate falls one epoch too early: reduce when *more than* patience metrics in a row were bad, > and "
    "not >= (Keras has >=)",
    "not reset": "after a reduction the counter must begin again at 0, or the rate falls in every epoch that follows",
    "previous": "compare with the best metric so far, not with the one before: falling back from a rise is no progress",
    "equal": "a metric that only equals the best is no improvement; it counts as bad",
    "frozen best": "the best metric is never updated; you compare with the first one",
    "forgets": "a reduction does not make the best metric invalid; keep it",
    "from zero": "the epochs count from 1: the first metric belongs to epoch 1",
}
SERIES = (
    ([1.0, 0.9, 0.9, 0.9, 0.9, 0.8], 2),
    ([1.0, 1.1, 1.2, 1.1, 1.2, 1.1, 1.3, 1.2, 1.4, 1.3], 2),
    ([1.0, 0.5, 0.7, 0.6, 0.7, 0.6, 0.4, 0.4, 0.4, 0.4, 0.4, 0.3], 3),
    ([1.0, 1.0, 0.9, 0.95, 0.95], 1),
    ([3.0, 2.0, 2.5, 2.4, 2.6, 2.2, 2.1, 2.3, 1.9], 1),
)


@exercise
def check_reductions(answer: Callable[..., Any]) -> str:
    """`answer(metrics, patience)`: the epochs, from 1, after which ReduceOnPlateau reduces the rate; threshold 0."""
    got = []
    for metrics, patience in SERIES:
        epochs = answer(list(metrics), patience)
        if epochs is None:
            raise NotYet("your function returns nothing; return a list of epochs")
        got.append([int(epoch) for epoch in epochs])
    expected = [_cut(metrics, patience) for metrics, patience in SERIES]
    for mistake, hint in PATIENCE_MISTAKES.items():
        if got != expected and got == [_cut(metrics, patience, mistake) for metrics, patience in SERIES]:
            raise NotYet(hint)
    for (metrics, patience), mine, right in zip(SERIES, got, expected, strict=True):
        if mine != right:
            raise NotYet(f"patience {patience}, metrics {metrics}: expected {right}, got {mine}")
    return "it waits, acts, and begins to count anew."


# ---- the range test ----


def _test_curve() -> tuple[Any, Any]:
    """Rates and losses of a made-up range test: a valley, one lucky batch, and an explosion that ends in NaN."""
    rates = 1e-4 * 1.1 ** np.arange(120)
    x = np.log10(rates)
    losses = 2.3 - 2.0 / (1 + np.exp(-3 * (x + 1.5))) + 0.05 * np.sin(7.0 * np.arange(120))
    losses = losses + np.exp(np.clip(6 * (x - 0.2), None, 50))
    losses[30] = 0.01
    losses[-8:] = np.nan
    return rates, losses


@exercise
def check_reading(answer: Callable[..., Any]) -> str:
    """`answer(rates, losses)`: a tenth of the rate at which the running mean of five losses is lowest; NaN ignored."""
    rates, losses = _test_curve()
    given = losses.copy()
    got = answer(rates.copy(), losses)
    if not np.array_equal(losses, given, equal_nan=True):
        raise NotYet("your function has changed the losses that it was given; copy them first")
    if got is None:
        raise NotYet("your function returns nothing; return one rate")
    smooth = np.convolve(losses, np.ones(5) / 5, "valid")
    i = int(np.nanargmin(smooth))
    minimum, lucky = rates[i + 2], rates[30]
    expected = minimum / 10
    value = float(got)
    if np.isnan(value) or np.isclose(value, rates[np.argmin(losses)] / 10) or value in rates[-12:] / 10:
        raise NotYet("the last losses are NaN, and np.argmin takes NaN for the smallest; np.nanargmin leaves it out")
    if np.isclose(value, minimum):
        raise NotYet("that is the minimum itself, next to the explosion; take a tenth of it")
    if np.isclose(value, lucky / 10) or np.isclose(value, lucky):
        raise NotYet("one lucky batch has a tiny loss; smooth the losses before you look for the lowest")
    if any(np.isclose(value, rates[i + k] / 10) for k in (0, 4)):
        raise NotYet("the running mean of losses i to i + 4 belongs to the rate in their middle, number i + 2")
    if not np.isclose(value, expected, rtol=1e-6):
        raise NotYet(f"expected {expected:.4g}, got {value:.4g}")
    return "smoothed, centred, and a safe distance to the left."
