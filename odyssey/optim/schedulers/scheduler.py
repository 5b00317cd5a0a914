"""What all schedules share: a rate is a function of the number of steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ..sgd import Optimizer
from .checks import check_rates, check_saved, checked_optimizer


class State:
    """The counter and the rates of a schedule, and their way into a dict and back."""

    kept_out: ClassVar[tuple[str, ...]] = ("optimizer",)  # what is not part of the state
    optimizer: Optimizer
    last_epoch: int
    last_lr: list[float]

    def get_last_lr(self) -> list[float]:
        """The rate of each parameter group that this scheduler set last."""
        return list(self.last_lr)

    def check_groups(self) -> None:
        """Raise ValueError if parameter groups were added since the scheduler was made."""
        now, then = len(self.optimizer.param_groups), len(self.last_lr)
        if now != then:
            name = type(self).__name__
            raise ValueError(f"{name}: the optimizer has {now} groups now, had {then}; add groups "
                             f"before making a scheduler")  # fmt: skip

    def set_rates(self, rates: list[float]) -> None:
        """Write one rate into each parameter group, and remember them."""
        self.check_groups()
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        self.last_lr = rates

    def state_dict(self) -> dict[str, Any]:
        """The counter, the rates and the options: all that JSON can hold."""
        found = {k: v for k, v in vars(self).items() if k not in self.kept_out}
        # lists are copied, and tuples are what JSON makes of them
        return {k: list(v) if isinstance(v, list | tuple) else v for k, v in found.items()}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned, options included, and set the rates.

        Several schedulers of one optimizer are loaded in the order in which they were made.
        Raises ValueError, with nothing changed, if it is not the state of such a scheduler.
        """
        groups = len(self.optimizer.param_groups)
        saved = check_saved(type(self).__name__, self.state_dict(), state_dict, groups)
        vars(self).update({k: list(v) if isinstance(v, list) else v for k, v in saved.items()})
        self.set_rates(list(self.last_lr))


class Scheduler(State):
    """Base of the schedules that are a formula: `rates` maps a number of steps to the rates.

    A new one sets its options, calls ``super().__init__(optimizer)`` last, and defines `rates`.
    The first rates are set at once, those after `t` steps by call number `t` of `step`. If somebody
    else has changed a rate in between, another scheduler perhaps, the change stays as a factor.
    """

    def __init__(self, optimizer: Any) -> None:
        self.optimizer = checked_optimizer(type(self).__name__, optimizer)
        groups = self.optimizer.param_groups
        # A second scheduler must not take for the base rate what the first has made of it.
        self.base_lrs = [group.setdefault("initial_lr", group["lr"]) for group in groups]
        self.last_lr, self.factors = list(self.base_lrs), [1.0] * len(groups)
        self.move_to(0)

    def rates(self, t: int) -> list[float]:
        """The rate of each group after `t` steps."""
        raise NotImplementedError(f"{type(self).__name__}: define rates")

    def step(self) -> None:
        """Set the rates of the next step of the optimizer. Call it after ``optimizer.step()``."""
        self.move_to(self.last_epoch + 1)

    def move_to(self, t: int) -> None:
        """Set the rates to what they are after `t` steps, and count on from there."""
        found = self.rates(t)
        check_rates(type(self).__name__, found, t)
        groups, factors = self.optimizer.param_groups, list(self.factors)
        for i, (group, mine) in enumerate(zip(groups, self.last_lr, strict=False)):
            if group["lr"] != mine and mine > 0 and group["lr"] > 0:
                factors[i] *= group["lr"] / mine
        self.set_rates([r * f for r, f in zip(found, factors, strict=True)])
        self.factors, self.last_epoch = factors, t

    def restart(self) -> None:
        """Forget the steps and all changes from outside, and begin again with the first rates."""
        self.check_groups()
        for group, rate in zip(self.optimizer.param_groups, self.base_lrs, strict=True):
            group["lr"] = rate
        self.last_lr, self.factors = list(self.base_lrs), [1.0] * len(self.base_lrs)
        self.move_to(0)
