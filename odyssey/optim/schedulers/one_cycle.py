"""One cycle: up to a large rate and down to almost none, with the momentum in opposition."""

from __future__ import annotations

from collections.abc import Mapping
from math import cos, inf, pi
from typing import Any

from ..sgd.checks import count, flag, fraction, number
from .checks import checked_optimizer, per_group
from .scheduler import Scheduler


def positive(owner: str, name: str, value: Any) -> float:
    """A finite number above 0."""
    return number(owner, name, value, 5e-324, inf, "a finite number above 0")


def anneal(start: float, end: float, done: float, strategy: str) -> float:
    """From `start` at ``done=0`` to `end` at ``done=1``: on a line, or on half a cosine."""
    if strategy == "linear":
        return start + (end - start) * done
    return end + (start - end) / 2 * (1 + cos(pi * done))


def momentum_name(owner: str, group: Any) -> str:
    """The option of a parameter group that plays the part of momentum."""
    for name in ("momentum", "betas"):
        if name in group:
            return name
    raise ValueError(f"{owner}: the optimizer has neither momentum nor betas to cycle; pass "
                     f"cycle_momentum=False")  # fmt: skip


def cycle(
    t: int, low: float, high: float, end: float, total_steps: int, pct_start: float,
    strategy: str, three_phase: bool,
) -> float:  # fmt: skip
    """The value at step `t` of a cycle from `low` up to `high`, and down to `end`.

    With `three_phase` it first goes back to `low`, in as many steps as it went up.
    """
    peak, last = pct_start * total_steps - 1, total_steps - 1
    phases = (
        [(peak, high), (2 * peak, low), (last, end)] if three_phase else [(peak, high), (last, end)]
    )
    start, value = 0.0, low
    for stop, goal in phases:
        if t <= stop or stop == last:
            done = min(1.0, (t - start) / (stop - start)) if stop > start else 1.0
            return anneal(value, goal, done, strategy)
        start, value = stop, goal
    return end


class Cycle(Scheduler):
    """The options of one cycle, and where in it a step stands."""

    def __init__(
        self, optimizer: Any, max_lr: Any, total_steps: int, pct_start: float = 0.3,
        anneal_strategy: str = "cos", cycle_momentum: bool = True, base_momentum: Any = 0.85,
        max_momentum: Any = 0.95, div_factor: float = 25.0, final_div_factor: float = 1e4,
        three_phase: bool = False,
    ) -> None:  # fmt: skip
        owner, groups = "OneCycleLR", checked_optimizer("OneCycleLR", optimizer).param_groups
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f"{owner}: expected anneal_strategy 'cos' or 'linear', got "
                             f"{anneal_strategy!r}")  # fmt: skip
        self.total_steps = count(owner, "total_steps", total_steps)
        self.pct_start = number(owner, "pct_start", pct_start, 0.0, 1 + 1e-12, "a share in [0, 1]")
        self.anneal_strategy = anneal_strategy
        self.cycle_momentum = flag(owner, "cycle_momentum", cycle_momentum)
        self.three_phase = flag(owner, "three_phase", three_phase)
        self.div_factor = positive(owner, "div_factor", div_factor)
        self.final_div_factor = positive(owner, "final_div_factor", final_div_factor)
        n = len(groups)
        self.max_lrs = per_group(owner, "max_lr", max_lr, n, positive)
        self.base_momenta = per_group(owner, "base_momentum", base_momentum, n, fraction)
        self.max_momenta = per_group(owner, "max_momentum", max_momentum, n, fraction)
        for group in groups if self.cycle_momentum else ():
            momentum_name(owner, group)
        for group, peak in zip(groups, self.max_lrs, strict=True):
            group["lr"] = group["initial_lr"] = peak / self.div_factor
        super().__init__(optimizer)

    def along(self, t: int, low: float, high: float, end: float) -> float:
        """The value at step `t` of this cycle from `low` to `high`, and down to `end`."""
        return cycle(t, low, high, end, self.total_steps, self.pct_start, self.anneal_strategy,
                     self.three_phase)  # fmt: skip


class OneCycleLR(Cycle):
    """The 1cycle schedule (Smith & Topin 2018): one rise, one fall, in `total_steps` steps.

    From ``max_lr / div_factor`` up to `max_lr` in the share `pct_start` of the steps, and down to
    ``max_lr / div_factor / final_div_factor``. Momentum (of Adam: the first beta) goes from
    `max_momentum` to `base_momentum` and back. With `three_phase` the fall first mirrors the rise.
    `anneal_strategy` is "cos" or "linear"; `max_lr` and the momenta: one number, or one per group.
    Step number `total_steps` changes nothing any more; the next one raises ValueError.
    """

    def rates(self, t: int) -> list[float]:
        if t > self.total_steps:
            raise ValueError(f"OneCycleLR: step {t} of a cycle of {self.total_steps}; make it as "
                             f"long as the training, or stop calling step()")  # fmt: skip
        found = []
        for peak in self.max_lrs:
            low = peak / self.div_factor
            found.append(self.along(t, low, peak, low / self.final_div_factor))
        return found

    def move_to(self, t: int) -> None:
        """Set rates and momenta to what they are after `t` steps."""
        super().move_to(t)
        self._set_momenta()

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned, options included; set the rates and the momenta."""
        super().load_state_dict(state_dict)
        self._set_momenta()

    def _set_momenta(self) -> None:
        if not self.cycle_momentum:
            return
        groups = self.optimizer.param_groups
        for group, low, high in zip(groups, self.base_momenta, self.max_momenta, strict=True):
            momentum = self.along(self.last_epoch, high, low, high)
            if momentum_name("OneCycleLR", group) == "betas":
                group["betas"] = (momentum, group["betas"][1])
            else:
                group["momentum"] = momentum
