"""What a run has measured: numbers for every step and for every epoch, and a picture of them."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from textwrap import fill
from typing import Any, Self

LISTS = ("loss", "lr", "grad_norm", "skipped", "epoch_ends", "seconds", "stopped", "validation")


def plain(value: Any) -> Any:
    """`value` as JSON can hold it: a copy, with "nan", "inf" and "-inf" for what is not finite."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return repr(value) if isinstance(value, float) and not isfinite(value) else value


def numbers(name: str, values: Any) -> list[float]:
    """`values` as a list of floats; ValueError if they are something else."""
    try:
        if isinstance(values, str):
            raise TypeError("it is a str")
        return [float(value) for value in values]
    except (TypeError, ValueError) as error:
        raise ValueError(f"History.from_dict: {name} is no list of numbers ({error}); pass what "
                         f"to_dict() returned") from error  # fmt: skip


class Numbers:
    """What `fit` writes down, in plain lists: after each step, and after each epoch."""

    def __init__(self) -> None:
        self.loss: list[float] = []
        self.lr: list[list[float]] = []
        self.grad_norm: list[float] = []
        self.skipped: list[int] = []
        self.validation: dict[str, list[float]] = {}
        self.seconds: list[float] = []
        self.epoch_ends: list[int] = []
        self.stopped: str | None = None

    def epoch_loss(self) -> list[float]:
        """The mean loss of the steps of each whole epoch."""
        ends = self.epoch_ends
        pieces = [self.loss[a:b] for a, b in zip([0, *ends], ends, strict=False)]
        return [sum(piece) / len(piece) for piece in pieces]

    def add_epoch(self, metrics: Mapping[str, float], seconds: float) -> None:
        """Write down the end of an epoch. ValueError if the names of the metrics have changed."""
        if self.seconds and set(metrics) != set(self.validation):
            raise ValueError(f"fit: the validation gave {sorted(metrics)} after epoch "
                             f"{len(self.seconds) + 1}, {sorted(self.validation)} before; return "
                             f"the same names each time")  # fmt: skip
        for name, value in metrics.items():
            self.validation.setdefault(name, []).append(value)
        self.seconds.append(seconds)
        self.epoch_ends.append(len(self.loss))

    def cut(self) -> None:
        """Drop a step or an epoch of which only some numbers were written before an interrupt."""
        steps: list[list[Any]] = [self.loss, self.lr, self.grad_norm]
        epochs: list[list[Any]] = [self.seconds, self.epoch_ends, *self.validation.values()]
        for lists in (steps, epochs):
            whole = min(map(len, lists))
            for values in lists:
                del values[whole:]
        self.skipped = [step for step in self.skipped if step <= len(self.loss)]


class Stored(Numbers):
    """Numbers that go into a checkpoint and come back."""

    def to_dict(self) -> dict[str, Any]:
        """A copy that `json.dumps` takes; numbers that are not finite as "nan", "inf", "-inf"."""
        found: dict[str, Any] = plain({name: getattr(self, name) for name in LISTS})
        return found

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> Self:
        """The history that `to_dict` was called on; ValueError if `saved` is something else."""
        if not isinstance(saved, Mapping) or set(saved) != set(LISTS):
            got = sorted(map(str, saved)) if isinstance(saved, Mapping) else type(saved).__name__
            raise ValueError(f"History.from_dict: expected a dict with {sorted(LISTS)}, got {got}")
        new, lrs, metrics = cls(), saved["lr"], saved["validation"]
        if not isinstance(lrs, list) or not isinstance(metrics, Mapping):
            raise ValueError("History.from_dict: expected lr to be a list, and validation a dict; "
                             "pass what to_dict() returned")  # fmt: skip
        new.loss = numbers("loss", saved["loss"])
        new.lr = [numbers("lr", rates) for rates in lrs]
        new.grad_norm = numbers("grad_norm", saved["grad_norm"])
        new.skipped = [int(step) for step in numbers("skipped", saved["skipped"])]
        new.validation = {name: numbers(name, values) for name, values in metrics.items()}
        new.seconds = numbers("seconds", saved["seconds"])
        new.epoch_ends = [int(step) for step in numbers("epoch_ends", saved["epoch_ends"])]
        new.stopped = None if saved["stopped"] is None else str(saved["stopped"])
        new.check()
        return new

    def check(self) -> None:
        """Raise ValueError unless the lists are as long as each other."""
        steps = {len(self.loss), len(self.lr), len(self.grad_norm)}
        epochs = {len(self.seconds), len(self.epoch_ends), *map(len, self.validation.values())}
        if len(steps) > 1 or len(epochs) > 1:
            raise ValueError("History.from_dict: the lists have different lengths; pass what "
                             "to_dict() returned")  # fmt: skip


class History(Stored):
    """The numbers of a run, in plain lists. `fit` fills and returns it.

    For every step: `loss`; `lr`, a list with the rate of each parameter group in that step; and
    `grad_norm`, the norm of all gradients before clipping. `skipped` holds the numbers of the steps
    that a GradScaler left out; step 1 is the first, and its loss is ``loss[0]``. For every epoch:
    `validation`, a dict of lists with what the validation gave; `seconds`, the time that it took;
    and `epoch_ends`, how many steps had been made at its end. `stopped` says why the run ended
    before its last epoch, or is None.
    """

    def __repr__(self) -> str:
        parts = [f"{len(self.seconds)} epochs", f"{len(self.loss)} steps"]
        if self.loss:
            parts.append(f"loss {self.loss[-1]:.4g}")
        parts += [f"{name} {values[-1]:.4g}" for name, values in self.validation.items() if values]
        parts += [f"stopped: {self.stopped}"] if self.stopped else []
        return f"History({', '.join(parts)})"

    def plot(self) -> list[Any]:
        """Draw the loss, each validation metric, the rates and the gradient norm against the step.

        Needs Matplotlib. Returns the axes, to be changed at will; in a script, call
        ``matplotlib.pyplot.show()`` afterwards.
        """
        return draw(self)


def draw(history: Numbers) -> list[Any]:
    """The picture that `History.plot` makes."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError("History.plot: needs Matplotlib; pip install matplotlib") from error
    count = 3 + len(history.validation)
    _, found = plt.subplots(
        count, 1, sharex=True, figsize=(6.4, 1.7 * count), squeeze=False, layout="constrained"
    )
    axes = list(found[:, 0])
    steps = range(1, len(history.loss) + 1)
    axes[0].plot(steps, history.loss, linewidth=0.8, alpha=0.5, label="every step")
    axes[0].plot(history.epoch_ends, history.epoch_loss(), marker="o", label="mean of an epoch")
    axes[0].set_ylabel("training loss")
    axes[0].legend()
    for ax, (name, values) in zip(axes[1:], history.validation.items(), strict=False):
        ax.plot(history.epoch_ends, values, marker="o")
        ax.set_ylabel(fill(name, 20))
    groups = len(history.lr[0]) if history.lr else 0
    for i in range(groups):
        axes[-2].plot(steps, [rates[i] for rates in history.lr], label=f"group {i}")
    axes[-2].set_ylabel("learning rate")
    if groups > 1:
        axes[-2].legend()
    axes[-1].plot(steps, history.grad_norm, linewidth=0.8)
    if all(0 < length < float("inf") for length in history.grad_norm) and history.grad_norm:
        axes[-1].set_yscale("log")
    axes[-1].set(xlabel="step", ylabel="gradient norm")
    return axes
