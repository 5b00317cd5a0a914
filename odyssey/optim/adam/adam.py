"""Adam: momentum divided by the root of the mean square, both corrected for their start at zero."""

from __future__ import annotations

from math import sqrt
from typing import Any, ClassVar

import numpy as np

from ...autograd.tape.entry import Array
from ..sgd.bucket import Dense
from ..sgd.checks import Check, flag, nonnegative, two_fractions
from ..sgd.optimizer import Optimizer
from ..sgd.sgd import decayed
from .adaptive import add_squares
from .half import Half


def adam_direction(
    g: Array, m: Array, v: Array, out: Array, *, t: int, betas: tuple[float, float], eps: float,
    scale: float = 1.0, v_max: Array | None = None,
) -> None:  # fmt: skip
    """Update both moments; then ``out = scale * (m / c₁) / (sqrt(v / c₂) + eps)``.

    m += (1 - β₁) (g - m) and v = β₂ v + (1 - β₂) g², in place, with the corrections c₁ = 1 - β₁ᵗ
    and c₂ = 1 - β₂ᵗ, where `t` counts from 1: Kingma & Ba 2015, algorithm 1. ε stands outside the
    root, after the correction. With `v_max`, AMSGrad (Reddi et al. 2018): the largest v so far
    takes the place of v; as in PyTorch, the maximum is taken before the correction.
    """
    beta1, beta2 = betas
    np.subtract(g, m, out=out)  # both come from memory at the same time
    out *= 1 - beta1
    m += out
    add_squares(v, g, out, beta2, 1 - beta2)
    if v_max is not None:
        np.maximum(v_max, v, out=v_max)
        v = v_max
    # The corrections are numbers, not arrays: multiplied through, they cost no pass over memory.
    root = sqrt(1 - beta2**t)
    np.sqrt(v, out=out)
    out += eps * root
    np.divide(m, out, out=out)
    out *= scale * root / (1 - beta1**t)


def adam_step(
    p: Array, g: Array, m: Array, v: Array, work: Array, *,
    t: int, lr: float, betas: tuple[float, float], eps: float, v_max: Array | None = None,
) -> None:  # fmt: skip
    """``p -= lr * (m / c₁) / (sqrt(v / c₂) + eps)``, after `adam_direction` has updated m and v."""
    adam_direction(g, m, v, work, t=t, betas=betas, eps=eps, scale=lr, v_max=v_max)
    p -= work


def half_or_none(owner: str, name: str, value: Any) -> str | None:
    """None, or the name of float16, the one dtype that states can be packed into."""
    if value is None:
        return None
    if value in (np.float16, "float16") or value == np.dtype(np.float16):
        return "float16"
    raise ValueError(f"{owner}: expected {name} to be None or np.float16, got {value!r}")


class Adam(Optimizer):
    """Adam (Kingma & Ba 2015), with PyTorch's formulas; `adam_step` says where ε stands.

    Options: rate `lr`; `betas`, what the running means of g and of g² keep; `eps`; `weight_decay`,
    L2, added to the gradient; `amsgrad`; `state_dtype`: np.float16 stores the moments in half the
    memory, None in the dtype of the parameter.
    """

    options: ClassVar[dict[str, Check]] = {
        "lr": nonnegative,
        "betas": two_fractions,
        "eps": nonnegative,
        "weight_decay": nonnegative,
        "amsgrad": flag,
        "state_dtype": half_or_none,
    }

    def __init__(
        self, params: Any, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8, weight_decay: float = 0.0, amsgrad: bool = False,
        state_dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "amsgrad": amsgrad,
                                  "weight_decay": weight_decay,
                                  "state_dtype": state_dtype})  # fmt: skip

    def state_names(self, group: Any) -> tuple[str, ...]:
        largest = ("max_exp_avg_sq",) if group["amsgrad"] else ()
        return ("exp_avg", "exp_avg_sq", *largest)

    def new_state(self, group: Any, name: str, size: int, dtype: Any) -> Dense:
        packed = group["state_dtype"] is not None
        return Half(size, root=name != "exp_avg") if packed else Dense(size, dtype)

    def update(
        self, p: Array, g: Array, state: list[Array], work: list[Array], t: int, group: Any
    ) -> None:
        g = decayed(g, p, group["weight_decay"], out=work[1])
        m, v, *v_max = state
        adam_step(p, g, m, v, work[0], t=t, lr=group["lr"], betas=group["betas"],
                  eps=group["eps"], v_max=v_max[0] if v_max else None)  # fmt: skip
