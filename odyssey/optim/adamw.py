"""AdamW: weight decay that the second moment does not touch."""

from __future__ import annotations

from typing import Any

from ..autograd.tape.entry import Array
from .adam import Adam


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019, algorithm 2), as in PyTorch.

    ``p *= 1 - lr * weight_decay`` before the step of Adam, which knows nothing of the decay: the
    decay is multiplied by the rate, and follows its schedule. Options as in `Adam`.
    """

    def __init__(
        self, params: Any, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8, weight_decay: float = 1e-2, amsgrad: bool = False,
        state_dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, state_dtype)

    def update(
        self, p: Array, g: Array, state: list[Array], work: list[Array], t: int, group: Any
    ) -> None:
        if group["weight_decay"]:
            p *= 1 - group["lr"] * group["weight_decay"]
        super().update(p, g, state, work, t, {**group, "weight_decay": 0.0})
