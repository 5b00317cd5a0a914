"""The exercises of the chapter schedulers: each known mistake gets its own hint.

At the end: the rates of the package against those of PyTorch, which the chapter shows too.
"""

import json
from math import cos, inf, pi, radians
from pathlib import Path

import numpy as np
import pytest

from odyssey import Tensor, optim
from odyssey.exercises.schedulers import check_plan, check_rate_for, check_reading, check_reductions
from tests.exercises import hint

ROOT = Path(__file__).parents[2]

# ---- warm-up and cosine ----


def planned(fall=lambda share: (1 + cos(pi * share)) / 2, start=0.1, late=0, clock="own", hold=True, rise=None):
    def answer(t, lr, warmup, total):
        t = t + late
        if t < warmup:
            return lr * (start + (1 - start if rise is None else rise) * t / warmup)
        share = {"own": (t - warmup) / (total - warmup), "global": t / total, "long": (t - warmup) / total}[clock]
        return lr * fall(min(1.0, share) if hold else share)

    return answer


def test_the_schedulers_of_the_package_pass():
    def answer(t, lr, warmup, total):
        optimizer = optim.SGD([Tensor(np.zeros(1), True)], lr=lr)
        parts = [optim.LinearWarmup(optimizer, warmup, 0.1), optim.CosineAnnealingLR(optimizer, total - warmup)]
        schedule = optim.SequentialLR(optimizer, parts, [warmup])
        for _ in range(min(t, total)):
            schedule.step()
        return optimizer.param_groups[0]["lr"]

    assert check_plan(answer) is True
    assert check_plan(planned()) is True


@pytest.mark.parametrize(
    "answer, words",
    [
        (planned(lambda share: (1 + cos(share)) / 2), "lacks its π"),
        (planned(lambda share: (1 + cos(radians(pi * share))) / 2), "decays by degrees"),
        (planned(lambda share: (1 + cos(2 * pi * share)) / 2), "a whole period"),
        (planned(lambda share: 1 + cos(pi * share)), "halve it"),
        (planned(lambda share: cos(pi / 2 * share)), "a quarter of a cosine"),
        (planned(lambda share: 1 - share), "a straight line"),
        (planned(late=1), "the rate after t + 1 steps"),
        (planned(late=-1), "the rate after t - 1 steps"),
        (planned(start=0.0), "begins at 0"),
        (planned(rise=1.0), "overshoots"),
        (planned(clock="global"), "its own clock"),
        (planned(clock="long"), "training ends before the rate does"),
        (lambda t, lr, w, n: lr * (1 + cos(pi * min(1, (t - w) / (n - w)))) / 2, "there is no warm-up"),
        (planned(hold=False), "the rate grows again"),
        (lambda t, lr, w, n: None, "returns nothing for t = 0"),
        (lambda t, lr, w, n: lr, "after 0 steps expected 0.04"),
        (lambda t, lr, w, n: planned()(t, 0.4, 10, 50), "but not for 1.0, 4, 8"),
    ],
)
def test_mistakes_with_the_plan(answer, words, capsys):
    assert words in hint(check_plan, answer, capsys)


# ---- the floor ----


@pytest.mark.parametrize(
    "answer, words",
    [
        (lambda loss, c, s: 4 * loss / s**2, "right for small rates only"),
        (lambda loss, c, s: 2 * c * loss / (s**2 + c**2 * loss), "the variance of w equal to the given number"),
        (lambda loss, c, s: 4 * loss / (s + 2 * c * loss), "its square enters"),
        (lambda loss, c, s: 2 * loss / (s**2 + c * loss), "forgot the 2"),
        (lambda loss, c, s: 4 * c * loss / (s**2 + 2 * c**2 * loss), "forgot the curvature"),
        (lambda loss, c, s: None, "returns nothing"),
        (lambda loss, c, s: 1.0, "expected 0.454545, got 1"),
    ],
)
def test_mistakes_with_the_floor(answer, words, capsys):
    assert words in hint(check_rate_for, answer, capsys)


def test_the_rate_has_the_floor_that_it_should_have():
    loss, curvature, sigma = 0.3, 0.5, 2.0
    rate = 4 * loss / (sigma**2 + 2 * curvature * loss)
    assert check_rate_for(lambda loss, c, s: 4 * loss / (s**2 + 2 * c * loss)) is True
    variance = 0.0
    for _ in range(2000):
        variance = (1 - rate * curvature) ** 2 * variance + rate**2 * sigma**2
    assert np.isclose(curvature / 2 * variance, loss)


# ---- patience ----


def reductions(enough=lambda bad, patience: bad > patience, better=lambda a, b: a < b, **wrong):
    def answer(metrics, patience):
        best, bad, found = inf, 0, []
        for epoch, metric in enumerate(metrics, start=wrong.get("first", 1)):
            if better(metric, best):
                bad = 0
                if not wrong.get("frozen") or best == inf:
                    best = metric
            else:
                bad += 1
            if wrong.get("previous"):
                best = metric
            if enough(bad, patience):
                found.append(epoch)
                bad = 0 if wrong.get("reset", True) else bad
                best = inf if wrong.get("forgets") else best
        return found

    return answer


def test_the_controller_of_the_package_passes():
    def answer(metrics, patience):
        optimizer = optim.SGD([Tensor(np.zeros(1), True)], lr=1.0)
        controller = optim.ReduceOnPlateau(optimizer, factor=0.5, patience=patience, threshold=0.0)
        rates = [1.0]
        for metric in metrics:
            controller.step(metric)
            rates.append(controller.get_last_lr()[0])
        return list(np.flatnonzero(np.diff(rates)) + 1)

    assert check_reductions(answer) is True
    assert check_reductions(reductions()) is True


@pytest.mark.parametrize(
    "answer, words",
    [
        (reductions(lambda bad, patience: bad >= patience), "one epoch too early"),
        (reductions(reset=False), "must begin again at 0"),
        (reductions(previous=True), "not with the one before"),
        (reductions(better=lambda a, b: a <= b), "only equals the best"),
        (reductions(frozen=True), "never updated"),
        (reductions(forgets=True), "keep it"),
        (reductions(first=0), "the epochs count from 1"),
        (lambda metrics, patience: None, "returns nothing"),
        (lambda metrics, patience: [], "expected [5], got []"),
    ],
)
def test_mistakes_with_patience(answer, words, capsys):
    assert words in hint(check_reductions, answer, capsys)


# ---- the range test ----


def smooth(losses, mode="valid"):
    return np.convolve(losses, np.ones(5) / 5, mode)


def changes_the_losses(rates, losses):
    losses[np.isnan(losses)] = np.inf
    return rates[0]


@pytest.mark.parametrize(
    "answer, words",
    [
        (lambda r, x: r[np.argmin(x)] / 10, "np.argmin takes NaN for the smallest"),
        (lambda r, x: r[np.argmin(smooth(x)) + 2] / 10, "np.argmin takes NaN for the smallest"),
        (lambda r, x: r[np.nanargmin(x)] / 10, "one lucky batch"),
        (lambda r, x: r[np.nanargmin(smooth(x)) + 2], "that is the minimum itself"),
        (lambda r, x: r[np.nanargmin(smooth(x))] / 10, "the rate in their middle"),
        (lambda r, x: r[np.nanargmin(smooth(x)) + 4] / 10, "the rate in their middle"),
        (changes_the_losses, "has changed the losses"),
        (lambda r, x: None, "returns nothing"),
        (lambda r, x: 1.0, "got 1"),
    ],
)
def test_mistakes_with_the_range_test(answer, words, capsys):
    assert words in hint(check_reading, answer, capsys)


def test_a_centred_average_of_the_same_length_passes():
    assert check_reading(lambda r, x: r[np.nanargmin(smooth(x, "same"))] / 10) is True


# ---- the stored rates ----


def build(optimizer, kind, options):
    if kind == "SequentialLR":
        parts = [build(optimizer, *part) for part in options["schedulers"]]
        return optim.SequentialLR(optimizer, parts, options["milestones"])
    return getattr(optim, kind)(optimizer, **options)


with np.load(ROOT / "tests" / "reference" / "schedulers.npz") as stored:
    CONFIGURATIONS = json.loads(str(stored["configurations"]))
    EXPECTED = [stored[f"rates_{i}"] for i in range(len(CONFIGURATIONS))]


@pytest.mark.parametrize("i", range(len(CONFIGURATIONS)), ids=lambda i: f"{i}-{CONFIGURATIONS[i]['kind']}")
def test_rates_and_momenta_are_those_of_pytorch(i):
    config, expected = CONFIGURATIONS[i], EXPECTED[i]
    groups = [{"params": [Tensor(np.zeros(1), True)], "lr": lr} for lr in config["lrs"]]
    optimizer = optim.SGD(groups, lr=0.1, momentum=0.9)
    schedule, rows = build(optimizer, config["kind"], config["options"]), []
    for t in range(len(expected)):
        rows.append([[g["lr"], g["momentum"]] for g in optimizer.param_groups])
        if t < len(expected) - 1:
            schedule.step(*([config["metrics"][t]] if "metrics" in config else []))
    np.testing.assert_allclose(rows, expected, rtol=1e-12, atol=1e-15)


def test_the_stored_configurations_are_varied():
    kinds = [config["kind"] for config in CONFIGURATIONS]
    assert len(kinds) == 21 and len(set(kinds)) == 8
    assert {len(config["lrs"]) for config in CONFIGURATIONS} == {1, 2}
    for config, expected in zip(CONFIGURATIONS, EXPECTED, strict=True):
        assert len(np.unique(expected[:, 0, 0])) >= 3, config["kind"]
