"""What a callback sees of a run, and the callback that ends a run which no longer improves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any

from ...nn import Module
from ...optim import Optimizer
from ...optim.schedulers.plateau import whole
from ...optim.sgd.checks import count, nonnegative
from .history import History


@dataclass
class State:
    """A run of `fit` as its callbacks see it.

    `event` is "step" or "epoch", what has just ended; `epoch` counts the whole epochs so far, of
    `epochs`, and `step` the steps. The numbers are in `history`. ``state.stop("reason")`` ends it.
    """

    model: Module
    optimizer: Optimizer
    loader: Any
    scheduler: Any
    scaler: Any
    epochs: int
    history: History = field(default_factory=History)
    event: str = "step"

    @property
    def step(self) -> int:
        """How many steps have been made, skipped ones included."""
        return len(self.history.loss)

    @property
    def epoch(self) -> int:
        """How many epochs have been completed."""
        return len(self.history.seconds)

    @property
    def loss(self) -> float:
        """The loss of the last step."""
        return self.history.loss[-1]

    @property
    def metrics(self) -> dict[str, float]:
        """What the last validation gave; empty before the first."""
        return {name: values[-1] for name, values in self.history.validation.items() if values}

    def stop(self, reason: str = "a callback stopped it") -> None:
        """End the run after this step or epoch; `reason` goes into ``history.stopped``."""
        self.history.stopped = str(reason)


def metric_of(owner: str, metrics: Mapping[str, float], monitor: str | None) -> float:
    """The metric named `monitor`, or the only one there is; ValueError otherwise."""
    if not metrics:
        raise ValueError(f"{owner}: there is no validation metric; pass validate= to fit")
    if monitor is None and len(metrics) == 1:
        return next(iter(metrics.values()))
    if monitor is None or monitor not in metrics:
        raise ValueError(f"{owner}: expected monitor to be one of {sorted(metrics)}, got "
                         f"{monitor!r}")  # fmt: skip
    return metrics[monitor]


class Best:
    """The best metric so far, and how many epochs have gone by without a better one."""

    def __init__(self, mode: str, min_delta: float) -> None:
        if mode not in ("min", "max"):
            raise ValueError(f"EarlyStopping: expected mode 'min' or 'max', got {mode!r}")
        self.mode = mode
        self.min_delta = nonnegative("EarlyStopping", "min_delta", min_delta)
        self.best: float | None = None
        self.bad_epochs = 0

    def is_better(self, value: float) -> bool:
        """Whether `value` improves on the best metric so far by more than `min_delta`."""
        best = self.best if self.best is not None else inf if self.mode == "min" else -inf
        low, high = (value, best) if self.mode == "min" else (best, value)
        return low < high - self.min_delta if high != inf else low < high

    def state_dict(self) -> dict[str, Any]:
        """The best metric so far, and how many epochs have gone by without a better one."""
        return {"best": None if self.best is None else repr(self.best), "bad": self.bad_epochs}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned; ValueError changes nothing."""
        if not isinstance(state_dict, Mapping) or set(state_dict) != {"best", "bad"}:
            raise ValueError(f"EarlyStopping.load_state_dict: expected the keys best and bad, got "
                             f"{state_dict!r}; pass what state_dict() returned")  # fmt: skip
        bad = whole("EarlyStopping.load_state_dict", "bad", state_dict["bad"])
        best = None if state_dict["best"] is None else float(state_dict["best"])
        self.best, self.bad_epochs = best, bad


class EarlyStopping(Best):
    """A callback that ends the run when `patience` epochs in a row have not improved the metric.

    Better: below ``best - min_delta``, or above ``best + min_delta`` for ``mode="max"``; a metric
    that stays the same, or is NaN, is not better. `monitor` names the metric if the validation
    gives several. Nothing is restored: the model is as after the last epoch. The first metric
    counts as an improvement. It remembers: make a new one for each run.
    """

    def __init__(
        self, patience: int = 10, mode: str = "min", min_delta: float = 0.0,
        monitor: str | None = None,
    ) -> None:  # fmt: skip
        super().__init__(mode, min_delta)
        if monitor is not None and not isinstance(monitor, str):
            raise TypeError(f"EarlyStopping: expected monitor to be a name, got {monitor!r}")
        self.patience, self.monitor = count("EarlyStopping", "patience", patience), monitor

    def after_epoch(self, state: State) -> None:
        """Take the metric of one more epoch, and stop the run if it is time to."""
        value = metric_of("EarlyStopping", state.metrics, self.monitor)
        if self.is_better(value):
            self.best, self.bad_epochs = value, 0
            return
        self.bad_epochs += 1
        if self.bad_epochs >= self.patience:
            best = "none" if self.best is None else f"{self.best:.4g}"
            state.stop(f"EarlyStopping: no better metric in {self.bad_epochs} epochs, best {best}")


def checked_callbacks(callbacks: Any) -> list[Any]:
    """`callbacks` as a list; TypeError for what can be called after neither steps nor epochs."""
    if not isinstance(callbacks, Iterable):
        got = type(callbacks).__name__
        raise TypeError(f"fit: expected callbacks to be a list, got {got}; put it into one")
    found = list(callbacks)
    for i, callback in enumerate(found):
        named = any(hasattr(callback, f"after_{event}") for event in ("step", "epoch"))
        if isinstance(callback, type) or not (named or callable(callback)):
            raise TypeError(f"fit: callback {i} is {callback!r}; expected a function of the state, "
                            f"or an object with after_step or after_epoch")  # fmt: skip
    return found


class Callbacks:
    """The callbacks of a run: called in their order, saved with it if they have a state."""

    def __init__(self, callbacks: Any) -> None:
        self.callbacks = checked_callbacks(callbacks)

    def call(self, event: str, state: State) -> None:
        """Call all of them after a "step" or an "epoch"."""
        state.event = event
        for callback in self.callbacks:
            if hasattr(callback, "after_step") or hasattr(callback, "after_epoch"):
                method = getattr(callback, f"after_{event}", None)
            else:
                method = callback
            if method is not None:
                method(state)

    def state_dict(self) -> list[Any]:
        """The state of each callback, None for those without one."""
        return [c.state_dict() if hasattr(c, "load_state_dict") else None for c in self.callbacks]

    def check_states(self, states: Any) -> None:
        """Raise ValueError unless `states` has one entry for each callback, None or a state."""
        if not isinstance(states, list) or len(states) != len(self.callbacks):
            got = len(states) if isinstance(states, list) else states
            raise ValueError(f"it was saved with {got} callbacks, fit has {len(self.callbacks)} "
                             f"now; pass the same ones")  # fmt: skip
        for i, (callback, state) in enumerate(zip(self.callbacks, states, strict=True)):
            if hasattr(callback, "load_state_dict") != (state is not None):
                raise ValueError(f"callback {i}, {callback!r}, has another kind of state; pass the "
                                 f"same ones")  # fmt: skip

    def load_state_dict(self, states: list[Any]) -> None:
        """Hand each callback its state."""
        for callback, state in zip(self.callbacks, states, strict=True):
            if state is not None:
                callback.load_state_dict(state)
