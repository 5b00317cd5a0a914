"""A schedule that listens: a smaller rate when the metric no longer improves."""

from __future__ import annotations

from math import inf, isnan
from typing import Any

from ..sgd.checks import count, nonnegative, number
from .checks import checked_optimizer, per_group, real
from .scheduler import State


def whole(owner: str, name: str, value: Any) -> int:
    """A whole number of at least 0."""
    return 0 if type(value) is int and value == 0 else count(owner, name, value)


class Plateau(State):
    """The options of `ReduceOnPlateau`, and what counts as better."""

    def __init__(
        self, optimizer: Any, mode: str = "min", factor: float = 0.1, patience: int = 10,
        threshold: float = 1e-4, threshold_mode: str = "rel", cooldown: int = 0,
        min_lr: Any = 0.0, eps: float = 1e-8,
    ) -> None:  # fmt: skip
        owner = "ReduceOnPlateau"
        self.optimizer = checked_optimizer(owner, optimizer)
        for name, value, choices in (
            ("mode", mode, ("min", "max")), ("threshold_mode", threshold_mode, ("rel", "abs")),
        ):  # fmt: skip
            if value not in choices:
                raise ValueError(f"{owner}: expected {name} {choices[0]!r} or {choices[1]!r}, got "
                                 f"{value!r}")  # fmt: skip
        groups = optimizer.param_groups
        self.mode, self.threshold_mode = mode, threshold_mode
        self.factor = number(owner, "factor", factor, 0.0, 1.0, "a number in [0, 1)")
        self.patience = whole(owner, "patience", patience)
        self.threshold = nonnegative(owner, "threshold", threshold)
        self.cooldown = whole(owner, "cooldown", cooldown)
        self.min_lrs = per_group(owner, "min_lr", min_lr, len(groups), nonnegative)
        self.eps = nonnegative(owner, "eps", eps)
        self.best: float | None = None
        self.num_bad_epochs = self.cooldown_counter = self.last_epoch = 0
        self.last_lr = [group["lr"] for group in groups]

    def is_better(self, value: float) -> bool:
        """Whether `value` improves on the best metric by more than the threshold."""
        if self.best is None:
            return value != (inf if self.mode == "min" else -inf)
        step = self.threshold * (self.best if self.threshold_mode == "rel" else 1.0)
        return value < self.best - step if self.mode == "min" else value > self.best + step


class ReduceOnPlateau(Plateau):
    """Multiply the rate by `factor` after more than `patience` steps without a better metric.

    Better: below ``best * (1 - threshold)``, or ``best - threshold`` for ``threshold_mode="abs"``;
    for ``mode="max"`` above ``best * (1 + threshold)`` or ``best + threshold``. After a reduction
    `cooldown` steps do not count as bad. Rates stop at `min_lr`, a number or one per group, and do
    not move by `eps` or less. PyTorch calls it ReduceLROnPlateau.
    """

    def step(self, metric: Any) -> None:
        """Take the `metric` of one more epoch, a number, and reduce the rates if it is time to.

        NaN raises ValueError, and nothing has changed: it is neither better nor worse. An infinite
        metric is allowed and counts as bad, or as good, as it is.
        """
        self.check_groups()
        value = real("ReduceOnPlateau", "the metric", metric)
        if isnan(value):
            raise ValueError("ReduceOnPlateau: the metric is NaN; look for the step where training "
                             "diverged, or skip this call")  # fmt: skip
        self.last_epoch += 1
        if self.is_better(value):
            self.best, self.num_bad_epochs = value, 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0
            self.set_rates(
                [self._reduced(i, g["lr"]) for i, g in enumerate(self.optimizer.param_groups)]
            )
        self.last_lr = [group["lr"] for group in self.optimizer.param_groups]

    def _reduced(self, i: int, rate: float) -> float:
        new = max(rate * self.factor, self.min_lrs[i])
        return new if rate - new > self.eps else rate
