"""The stored grid: reading it, the choice of the rates, the advantage, and the verdict."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...autograd.tape.entry import Array
from .architectures import ARCHITECTURES
from .grid import BUDGETS, OPTIMIZERS, SCHEDULES
from .statistics import Interval, bootstrap, decompose, t_interval

RESULTS = Path(__file__).with_name("results.json")
IMAGES = 300  # in the validation set, and in the test set
FACTORS = ("architecture", "optimizer", "schedule")

Cell = tuple[str, str, str, str]


def best_rate(correct: Array, losses: Array) -> int:
    """Index of the rate (R, seeds) with most correct images; of ties, the one of least loss."""
    hits = np.asarray(correct, np.float64).mean(axis=-1)
    loss = np.nan_to_num(np.asarray(losses, np.float64).mean(axis=-1), nan=np.inf)
    return int(np.lexsort((loss, -hits))[0])


def table(cell: Cell, correct: Array) -> str:
    """One line: the cell, its mean accuracy in percent, and the 95 % interval of the mean."""
    mean, low, high = t_interval(100 * np.asarray(correct, np.float64) / IMAGES)
    return f"{'/'.join(cell):<40} {mean:6.2f} %  [{low:6.2f}, {high:6.2f}]"


@dataclass(frozen=True)
class Results:
    """The grid. All arrays begin with the axes budget, architecture, optimizer, schedule.

    Attributes
    ----------
    about : dict
        Command, date, versions, machine, seconds of the processor in all.
    rate : (2, 5, 4, 4)
        Place in `RATES` of the rate that the search chose.
    search_validation, search_loss, search_diverged : (2, 5, 4, 4, 11, 2)
        For each rate and seed of the search: correct of 300, mean loss in nats, ended early.
    test, validation, train_loss, diverged, seconds : (2, 5, 4, 4, 8)
        For each of the new seeds, at the chosen rate.
    curves : dict of (5, 4, 4, 8, epochs)
        For each budget: correct validation images after each epoch.
    """

    about: dict[str, Any]
    rate: Array
    search_validation: Array
    search_loss: Array
    search_diverged: Array
    test: Array
    validation: Array
    train_loss: Array
    diverged: Array
    seconds: Array
    curves: dict[str, Array]


def load_results(path: Path | str | None = None) -> Results:
    """The results that are shipped with the package, or those of another run of the script."""
    stored = json.loads(Path(RESULTS if path is None else path).read_text(encoding="utf-8"))
    shape = (len(BUDGETS), len(ARCHITECTURES), len(OPTIMIZERS), len(SCHEDULES))

    def grid(name: str, dtype: Any) -> Array:
        rows = np.array(stored[name], dtype=dtype)  # None becomes NaN
        return rows.reshape(*shape, *rows.shape[1:])

    half, curves = len(stored["curve"]) // len(BUDGETS), {}
    for i, (budget, epochs) in enumerate(BUDGETS.items()):
        rows = stored["curve"][i * half : (i + 1) * half]
        # A run that ended early stays where it was.
        padded = [[run + [(run or [0])[-1]] * (epochs - len(run)) for run in row] for row in rows]
        curves[budget] = np.array(padded, np.int64).reshape(*shape[1:], -1, epochs)
    counts, losses, flags = np.int64, np.float64, np.bool_
    return Results(
        stored["about"], grid("rate", counts), grid("search_validation", counts),
        grid("search_validation_loss", losses), grid("search_diverged", flags),
        grid("test", counts), grid("validation", counts), grid("train_loss", losses),
        grid("diverged", flags), grid("seconds", losses), curves,
    )  # fmt: skip


def policies(results: Results, budget: int) -> dict[str, Array]:
    """Accuracies (5, 4, 4, seeds) under three ways of choosing the rate, on the validation set.

    "one rate": the rate that is best for the mean of all cells. "one per optimizer": the best for
    the mean of its cells. "one per cell": the search, then new seeds. The first two reuse the runs
    of the search.
    """
    trials = results.search_validation[budget] / IMAGES
    by_rate = trials.mean(axis=(0, 1, 2, 4))
    one = trials[..., int(np.argmax(by_rate)), :]
    places = np.argmax(trials.mean(axis=(0, 2, 4)), axis=-1)
    each = np.stack([trials[:, i, :, place] for i, place in enumerate(places)], axis=1)
    cell = results.validation[budget] / IMAGES
    return {"one rate": one, "one per optimizer": each, "one per cell": cell}


def advantage(y: Array) -> float:
    """Share of optimizer, schedule and the two together, minus the share of the architecture."""
    parts = decompose(y, FACTORS)
    recipe = ("optimizer", "schedule", "optimizer × schedule")
    return sum(parts[name].omega for name in recipe) - parts["architecture"].omega


def judged(y: Array, rng: np.random.Generator, resamples: int = 1000) -> tuple[Interval, str]:
    """The advantage of the recipe in `y` (architectures, optimizers, schedules, seeds), and the
    verdict by the rule that was fixed before: holds, fails or undecided.
    """
    low, high = bootstrap(y, advantage, rng, resamples=resamples)
    verdict = "holds" if low > 0 else "fails" if high < 0 else "undecided"
    return Interval(advantage(y), float(low), float(high)), verdict
