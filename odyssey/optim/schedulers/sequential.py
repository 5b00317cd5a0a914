"""One schedule after the other."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from typing import Any, ClassVar

from ..sgd.checks import count
from .checks import as_list, check_saved, checked_optimizer
from .scheduler import Scheduler, State


def check_sequence(optimizer: Any, schedulers: list[Any], milestones: list[Any]) -> None:
    """Raise TypeError or ValueError unless `schedulers` can follow one another at `milestones`."""
    for i, s in enumerate(schedulers):
        if not isinstance(s, Scheduler):
            raise TypeError(f"SequentialLR: expected schedulers that are a formula of the step, "
                            f"got {type(s).__name__} at {i}")  # fmt: skip
        if s.optimizer is not optimizer:
            raise ValueError(f"SequentialLR: scheduler {i} was made with another optimizer")
    if not schedulers or len(milestones) != len(schedulers) - 1:
        raise ValueError(f"SequentialLR: expected one milestone less than schedulers, got "
                         f"{len(milestones)} and {len(schedulers)}")  # fmt: skip
    if sorted({count("SequentialLR", "each milestone", m) for m in milestones}) != milestones:
        raise ValueError(f"SequentialLR: expected milestones that increase, got {milestones}")


class SequentialLR(State):
    """Follow each of the `schedulers` from its milestone on, as if it started there.

    `milestones`, increasing, are the numbers of steps at which the next one takes over. From now on
    only this scheduler is stepped. Each starts from the rate that the group had first.
    """

    kept_out: ClassVar[tuple[str, ...]] = ("optimizer", "schedulers")

    def __init__(self, optimizer: Any, schedulers: list[Scheduler], milestones: list[int]) -> None:
        self.optimizer = checked_optimizer("SequentialLR", optimizer)
        self.schedulers = as_list("SequentialLR", "schedulers", schedulers)
        self.milestones = as_list("SequentialLR", "milestones", milestones)
        check_sequence(optimizer, self.schedulers, self.milestones)
        for s in reversed(self.schedulers):  # a OneCycleLR may have set other first rates
            s.base_lrs = [group["initial_lr"] for group in self.optimizer.param_groups]
            s.restart()
        self.last_epoch, self.last_lr = 0, self.schedulers[0].get_last_lr()

    def step(self) -> None:
        """Set the rates of the next step of the optimizer. Call it after ``optimizer.step()``."""
        t = self.last_epoch + 1
        now = self.schedulers[bisect_right(self.milestones, t)]
        (now.restart if t in self.milestones else now.step)()
        self.last_epoch, self.last_lr = t, now.get_last_lr()

    def state_dict(self) -> dict[str, Any]:
        """The counter, the rates and the states of all schedulers."""
        return {**super().state_dict(), "schedulers": [s.state_dict() for s in self.schedulers]}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned, and set the rates; ValueError changes nothing."""
        groups = len(self.optimizer.param_groups)
        saved = check_saved("SequentialLR", self.state_dict(), state_dict, groups)
        states = saved.pop("schedulers")
        if not isinstance(states, list) or len(states) != len(self.schedulers):
            raise ValueError(f"SequentialLR: expected {len(self.schedulers)} states of schedulers")
        for s, state in zip(self.schedulers, states, strict=True):
            check_saved(type(s).__name__, s.state_dict(), state, groups)
        now = bisect_right(self.milestones, saved["last_epoch"])
        for k in sorted(range(len(states)), key=lambda k: k == now):  # the active one comes last
            self.schedulers[k].load_state_dict(states[k])
        vars(self).update({k: list(v) if isinstance(v, list) else v for k, v in saved.items()})
        self.set_rates(list(self.last_lr))
