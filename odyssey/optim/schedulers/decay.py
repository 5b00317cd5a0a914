"""Schedules that are one formula: stairs, powers, a cosine, a warm-up, and any function."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable
from math import cos, pi
from typing import Any, ClassVar

from ..sgd.checks import count, nonnegative, number
from .checks import as_list, checked_optimizer, real
from .scheduler import Scheduler


class StepLR(Scheduler):
    """Multiply the rate by `gamma` every `step_size` steps: ``lr * gamma ** (t // step_size)``."""

    def __init__(self, optimizer: Any, step_size: int, gamma: float = 0.1) -> None:
        self.step_size = count("StepLR", "step_size", step_size)
        self.gamma = nonnegative("StepLR", "gamma", gamma)
        super().__init__(optimizer)

    def rates(self, t: int) -> list[float]:
        return [lr * self.gamma ** (t // self.step_size) for lr in self.base_lrs]


class MultiStepLR(Scheduler):
    """Multiply the rate by `gamma` at each of the `milestones`, which are numbers of steps."""

    def __init__(self, optimizer: Any, milestones: Iterable[int], gamma: float = 0.1) -> None:
        found = as_list("MultiStepLR", "milestones", milestones)
        self.milestones = sorted(count("MultiStepLR", "each milestone", m) for m in found)
        self.gamma = nonnegative("MultiStepLR", "gamma", gamma)
        super().__init__(optimizer)

    def rates(self, t: int) -> list[float]:
        return [lr * self.gamma ** bisect_right(self.milestones, t) for lr in self.base_lrs]


class ExponentialLR(Scheduler):
    """Multiply the rate by `gamma` at every step: ``lr * gamma ** t``."""

    def __init__(self, optimizer: Any, gamma: float) -> None:
        self.gamma = nonnegative("ExponentialLR", "gamma", gamma)
        super().__init__(optimizer)

    def rates(self, t: int) -> list[float]:
        return [lr * self.gamma**t for lr in self.base_lrs]


class LinearWarmup(Scheduler):
    """Grow from ``start_factor * lr`` to ``lr`` on a line, in `warmup_steps` steps; then stay.

    PyTorch's LinearLR with ``end_factor=1``. Reason and lengths: Goyal et al. 2017, section 2.2.
    """

    def __init__(self, optimizer: Any, warmup_steps: int, start_factor: float = 1 / 3) -> None:
        self.warmup_steps = count("LinearWarmup", "warmup_steps", warmup_steps)
        wanted = "a number in [0, 1]"
        self.start_factor = number(
            "LinearWarmup", "start_factor", start_factor, 0.0, 1 + 1e-12, wanted
        )
        super().__init__(optimizer)

    def rates(self, t: int) -> list[float]:
        done = min(t, self.warmup_steps) / self.warmup_steps
        return [lr * (self.start_factor + (1 - self.start_factor) * done) for lr in self.base_lrs]


class CosineAnnealingLR(Scheduler):
    """Half a cosine from `lr` down to `eta_min` in `T_max` steps (Loshchilov & Hutter 2017, eq. 5).

    ``eta_min + (lr - eta_min) * (1 + cos(π t / T_max)) / 2``. It has the period ``2 * T_max``:
    after `T_max` steps the rate grows again, as in PyTorch, whose warm restarts it does not have.
    """

    def __init__(self, optimizer: Any, T_max: int, eta_min: float = 0.0) -> None:
        self.T_max = count("CosineAnnealingLR", "T_max", T_max)
        self.eta_min = nonnegative("CosineAnnealingLR", "eta_min", eta_min)
        super().__init__(optimizer)

    def rates(self, t: int) -> list[float]:
        share = (1 + cos(pi * t / self.T_max)) / 2
        return [self.eta_min + (lr - self.eta_min) * share for lr in self.base_lrs]


class LambdaLR(Scheduler):
    """Multiply the rate by ``lr_lambda(t)``: any function of the number of steps, or one per group.

    The functions are not part of the state: give the same ones before `load_state_dict`.
    """

    kept_out: ClassVar[tuple[str, ...]] = ("optimizer", "lr_lambdas")

    def __init__(
        self, optimizer: Any, lr_lambda: Callable[[int], float] | list[Callable[[int], float]]
    ) -> None:
        groups = len(checked_optimizer("LambdaLR", optimizer).param_groups)
        found = list(lr_lambda) if isinstance(lr_lambda, list | tuple) else [lr_lambda] * groups
        if len(found) != groups or not all(map(callable, found)):
            raise ValueError(f"LambdaLR: expected a function, or a list of {groups}, one for each "
                             f"group, got {lr_lambda!r}")  # fmt: skip
        self.lr_lambdas = found
        super().__init__(optimizer)

    def rates(self, t: int) -> list[float]:
        pairs = zip(self.base_lrs, self.lr_lambdas, strict=True)
        return [lr * real("LambdaLR", f"lr_lambda({t})", f(t)) for lr, f in pairs]
