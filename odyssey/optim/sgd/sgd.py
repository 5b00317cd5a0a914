"""Gradient descent, with momentum, damping, Nesterov's look ahead and L2 decay."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from ...autograd.tape.entry import Array
from .checks import Check, finite, flag, nonnegative
from .optimizer import Optimizer


def decayed(g: Array, p: Array, weight_decay: float, out: Array) -> Array:
    """``g + weight_decay * p`` in `out`, the gradient with an L2 penalty; `g` if there is none."""
    if weight_decay == 0:
        return g
    np.multiply(p, weight_decay, out=out)
    out += g
    return out


def sgd_step(
    p: Array,
    g: Array,
    v: Array,
    work: Array,
    *,
    t: int,
    lr: float,
    momentum: float,
    dampening: float = 0.0,
    nesterov: bool = False,
) -> None:
    """One step of momentum: ``v = momentum * v + (1 - dampening) * g``, then ``p -= lr * v``.

    With `nesterov`, ``p -= lr * (g + momentum * v)``. In the first step (`t` = 1) v is g, whatever
    the dampening. `p` and `v` change in place; `work` has their shape and loses what it held.
    """
    if t == 1:
        v[...] = g
    else:
        v *= momentum
        np.multiply(g, 1 - dampening, out=work)
        v += work
    if nesterov:
        np.multiply(v, momentum, out=work)
        work += g
        work *= lr
    else:
        np.multiply(v, lr, out=work)
    p -= work


class SGD(Optimizer):
    """Stochastic gradient descent, with PyTorch's formulas: the rate multiplies the velocity.

    Options: rate `lr`; `momentum` μ, the part of the velocity that is kept; `dampening`, the part
    of the gradient left out of it; `weight_decay` λ, adds ``λ * p`` to the gradient (L2);
    `nesterov`, look ahead by one momentum step, needs momentum and no dampening (ValueError).
    Source: Polyak 1964, Nesterov 1983, Sutskever et al. 2013 (see `sgd_step` for the variant).
    """

    options: ClassVar[dict[str, Check]] = {
        "lr": nonnegative,
        "momentum": nonnegative,
        "dampening": finite,
        "weight_decay": nonnegative,
        "nesterov": flag,
    }

    def __init__(
        self, params: Any, lr: float, momentum: float = 0.0, dampening: float = 0.0,
        weight_decay: float = 0.0, nesterov: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(params, {"lr": lr, "momentum": momentum, "dampening": dampening,
                                  "weight_decay": weight_decay, "nesterov": nesterov})  # fmt: skip

    def checked(self, options: Mapping[str, Any]) -> dict[str, Any]:
        found = super().checked(options)
        if found["nesterov"] and (found["momentum"] == 0 or found["dampening"] != 0):
            got = f"momentum {found['momentum']} and dampening {found['dampening']}"
            raise ValueError(f"SGD: nesterov needs momentum above 0 and dampening 0, got {got}")
        return found

    def state_names(self, group: Any) -> tuple[str, ...]:
        return ("momentum_buffer",) if group["momentum"] else ()

    def update(
        self, p: Array, g: Array, state: list[Array], work: list[Array], t: int, group: Any
    ) -> None:
        g = decayed(g, p, group["weight_decay"], out=work[1])
        if state:
            sgd_step(p, g, state[0], work[0], t=t, lr=group["lr"], momentum=group["momentum"],
                     dampening=group["dampening"], nesterov=group["nesterov"])  # fmt: skip
        else:
            np.multiply(g, group["lr"], out=work[0])
            p -= work[0]
