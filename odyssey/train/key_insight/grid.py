"""The grid: its levels, its budgets, its rates, and the generator of each run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from math import ceil
from typing import Any, NamedTuple

import numpy as np

from ...optim import SGD, Adam, AdamW, CosineAnnealingLR, OneCycleLR, Optimizer, StepLR
from .architectures import ARCHITECTURES

OPTIMIZERS: dict[str, Callable[[Any, float], Optimizer]] = {
    "SGD": lambda params, lr: SGD(params, lr),
    "Momentum": lambda params, lr: SGD(params, lr, momentum=0.9),
    "Adam": lambda params, lr: Adam(params, lr),
    "AdamW": lambda params, lr: AdamW(params, lr, weight_decay=0.1),
}

# The rate of the optimizer is the peak of each of them. One-cycle leaves the momentum alone, so
# that a schedule is a curve of rates and nothing else.
SCHEDULES: dict[str, Callable[[Optimizer, float, int], Any]] = {
    "constant": lambda optimizer, lr, steps: None,
    "step": lambda optimizer, lr, steps: StepLR(optimizer, ceil(steps / 3), gamma=0.1),
    "cosine": lambda optimizer, lr, steps: CosineAnnealingLR(optimizer, T_max=steps),
    "one-cycle": lambda optimizer, lr, steps: OneCycleLR(
        optimizer, max_lr=lr, total_steps=steps, cycle_momentum=False
    ),
}  # fmt: skip

BUDGETS = {"short": 3, "long": 12}  # in epochs
BATCH = 32
RATES = tuple(float(f"{10 ** (k / 2):.2g}") for k in range(-7, 4))  # 3.2e-4 to 32, half decades

PHASES = ("search", "final")
SEEDS = {"search": 2, "final": 8}


class Run(NamedTuple):
    """One training run: where it stands in the grid, its rate and its seed."""

    phase: str
    budget: str
    architecture: str
    optimizer: str
    schedule: str
    rate: float
    seed: int

    @property
    def cell(self) -> tuple[str, str, str, str]:
        """The cell of the grid that this run belongs to."""
        return self.budget, self.architecture, self.optimizer, self.schedule

    def rng(self) -> np.random.Generator:
        """The generator of this run alone, so that any part of the grid can be computed by itself.

        The rate does not enter: within a cell the rates of one seed start from the same weights
        and see the same batches. The two phases share no seed.
        """
        places: list[Iterable[str]] = [PHASES, BUDGETS, ARCHITECTURES, OPTIMIZERS, SCHEDULES]
        key = [list(names).index(name) for names, name in zip(places, self[:5], strict=True)]
        return np.random.default_rng(np.random.SeedSequence([*key, self.seed]))


def cells() -> Iterator[tuple[str, str, str, str]]:
    """(budget, architecture, optimizer, schedule) for the whole grid, in the stored order."""
    for budget in BUDGETS:
        for architecture in ARCHITECTURES:
            for optimizer in OPTIMIZERS:
                for schedule in SCHEDULES:
                    yield budget, architecture, optimizer, schedule
