"""Rates that adapt to each parameter: Adagrad and RMSProp, on the way to Adam."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from ...autograd.tape.entry import Array
from ..sgd.bucket import Dense
from ..sgd.checks import Check, flag, fraction, nonnegative
from ..sgd.optimizer import Optimizer
from ..sgd.sgd import decayed


def add_squares(v: Array, g: Array, work: Array, keep: float, add: float) -> None:
    """``v = keep * v + add * g**2``, in place."""
    v *= keep
    np.square(g, out=work)
    work *= add
    v += work


class Adagrad(Optimizer):
    """Divides each gradient by the root of the sum of its squares so far (Duchi et al. 2011).

    ``p -= lr / (1 + (t - 1) * lr_decay) * g / (sqrt(sum) + eps)``: ε stands outside the root. The
    sum begins at `initial_accumulator_value`. `weight_decay` is L2. As in PyTorch, except that a
    group may have an `initial_accumulator_value` of its own (PyTorch takes the constructor's).
    """

    options: ClassVar[dict[str, Check]] = {
        "lr": nonnegative,
        "lr_decay": nonnegative,
        "weight_decay": nonnegative,
        "initial_accumulator_value": nonnegative,
        "eps": nonnegative,
    }

    def __init__(
        self, params: Any, lr: float = 1e-2, lr_decay: float = 0.0, weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0, eps: float = 1e-10,
    ) -> None:  # fmt: skip
        start = initial_accumulator_value
        super().__init__(params, {"lr": lr, "lr_decay": lr_decay, "weight_decay": weight_decay,
                                  "initial_accumulator_value": start, "eps": eps})  # fmt: skip

    def state_names(self, group: Any) -> tuple[str, ...]:
        return ("sum",)

    def new_state(self, group: Any, name: str, size: int, dtype: Any) -> Dense:
        return Dense(size, dtype, fill=group["initial_accumulator_value"])

    def update(
        self, p: Array, g: Array, state: list[Array], work: list[Array], t: int, group: Any
    ) -> None:
        (total,), (step, spare) = state, work
        g = decayed(g, p, group["weight_decay"], out=spare)
        np.square(g, out=step)
        total += step
        np.sqrt(total, out=step)
        step += group["eps"]
        np.divide(g, step, out=step)
        step *= group["lr"] / (1 + (t - 1) * group["lr_decay"])
        p -= step


def root_mean_square(
    v: Array, mean: Array | None, g: Array, out: Array, alpha: float, eps: float
) -> None:
    """``v = alpha * v + (1 - alpha) * g**2``; then ``out = sqrt(v) + eps``.

    With `mean`, a running mean of g, the root of the variance ``v - mean**2`` instead.
    """
    add_squares(v, g, out, alpha, 1 - alpha)
    if mean is None:
        np.sqrt(v, out=out)
    else:
        mean *= alpha
        np.multiply(g, 1 - alpha, out=out)
        mean += out
        np.square(mean, out=out)
        np.subtract(v, out, out=out)
        np.maximum(out, 0, out=out)  # rounding can make a variance of zero negative
        np.sqrt(out, out=out)
    out += eps


class RMSProp(Optimizer):
    """Divides each gradient by the root of a running mean of its squares (Tieleman & Hinton 2012).

    The step is ``lr * g / root_mean_square(...)``: ε outside the root, as in PyTorch. `centered`
    divides by the standard deviation of g instead; `momentum` makes a velocity of the quotient,
    which `lr` multiplies; `weight_decay` is L2.
    """

    options: ClassVar[dict[str, Check]] = {
        "lr": nonnegative,
        "alpha": fraction,
        "eps": nonnegative,
        "weight_decay": nonnegative,
        "momentum": nonnegative,
        "centered": flag,
    }

    def __init__(
        self, params: Any, lr: float = 1e-2, alpha: float = 0.99, eps: float = 1e-8,
        weight_decay: float = 0.0, momentum: float = 0.0, centered: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(params, {"lr": lr, "alpha": alpha, "eps": eps, "centered": centered,
                                  "weight_decay": weight_decay, "momentum": momentum})  # fmt: skip

    def state_names(self, group: Any) -> tuple[str, ...]:
        centered = ("grad_avg",) if group["centered"] else ()
        return ("square_avg", *centered, *(("momentum_buffer",) if group["momentum"] else ()))

    def update(
        self, p: Array, g: Array, state: list[Array], work: list[Array], t: int, group: Any
    ) -> None:
        (v, *others), (step, spare) = state, work
        g = decayed(g, p, group["weight_decay"], out=spare)
        mean = others.pop(0) if group["centered"] else None
        root_mean_square(v, mean, g, step, group["alpha"], group["eps"])
        np.divide(g, step, out=step)
        if others:
            velocity = others[0]
            velocity *= group["momentum"]
            velocity += step
            np.multiply(velocity, group["lr"], out=step)
        else:
            step *= group["lr"]
        p -= step
