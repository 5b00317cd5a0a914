"""Three optimizers younger than Adam: Lion takes signs, LAMB layers, Muon whole matrices."""

from __future__ import annotations

from math import sqrt
from typing import Any, ClassVar

import numpy as np

from ..autograd.tape.entry import Array
from .adam import adam_direction
from .lars import norm
from .sgd import Optimizer
from .sgd.checks import Check, count, flag, nonnegative, two_fractions

# Coefficients of the quintic a x + b x³ + c x⁵ (Jordan et al. 2024): five rounds of it bring every
# singular value between 0.0015 and 1 to between 0.68 and 1.21, not exactly to 1.
QUINTIC = (3.4445, -4.7750, 2.0315)


class Lion(Optimizer):
    """Evolved sign momentum (Chen et al. 2023, algorithm 2): every parameter moves by `lr` a step.

    ``p -= lr * (sign(β₁ m + (1 - β₁) g) + weight_decay * p)``, then ``m = β₂ m + (1 - β₂) g``: what
    is stepped along forgets faster than what is remembered. Rates are 3 to 10 times smaller than
    Adam's, decays as much larger. Options: `lr`, `betas`, `weight_decay` (decoupled).
    """

    options: ClassVar[dict[str, Check]] = {
        "lr": nonnegative,
        "betas": two_fractions,
        "weight_decay": nonnegative,
    }

    def __init__(
        self, params: Any, lr: float = 1e-4, betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    def state_names(self, group: Any) -> tuple[str, ...]:
        return ("exp_avg",)

    def update(
        self, p: Array, g: Array, state: list[Array], work: list[Array], t: int, group: Any
    ) -> None:
        (m,), (step, part), (beta1, beta2) = state, work, group["betas"]
        np.multiply(m, beta1, out=step)
        np.multiply(g, 1 - beta1, out=part)
        step += part
        np.sign(step, out=step)
        step *= group["lr"]
        if group["weight_decay"]:
            p *= 1 - group["lr"] * group["weight_decay"]
        p -= step
        m *= beta2
        np.multiply(g, 1 - beta2, out=part)
        m += part


class LAMB(Optimizer):
    """The trust ratio of LARS on the direction of Adam (You et al. 2020, algorithm 2).

    u = (m / c₁) / (sqrt(v / c₂) + ε) + weight_decay * p, then ``p -= lr * ‖p‖ / ‖u‖ * u`` for each
    parameter, with ratio 1 if a norm is zero, and no bounds on ‖p‖, as in Optax. Options: `lr`,
    `betas`, `eps` (outside the root, after the correction), `weight_decay`.
    """

    layerwise = True
    options: ClassVar[dict[str, Check]] = {
        "lr": nonnegative,
        "betas": two_fractions,
        "eps": nonnegative,
        "weight_decay": nonnegative,
    }

    def __init__(
        self, params: Any, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6, weight_decay: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__(
            params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        )

    def state_names(self, group: Any) -> tuple[str, ...]:
        return ("exp_avg", "exp_avg_sq")

    def update(
        self, p: Array, g: Array, state: list[Array], work: list[Array], t: int, group: Any
    ) -> None:
        (m, v), (u, part) = state, work
        adam_direction(g, m, v, u, t=t, betas=group["betas"], eps=group["eps"])
        np.multiply(p, group["weight_decay"], out=part)
        u += part
        p_norm, u_norm = norm(p), norm(u)
        u *= group["lr"] * (p_norm / u_norm if p_norm and u_norm else 1.0)
        p -= u


def orthogonalize(x: Array, steps: int, work: list[Array]) -> None:
    """Bring all singular values of the matrix `x` near 1, in place, by Newton–Schulz iteration.

    `work` holds three arrays of the size of `x` or larger. The numbers are divided by the norm
    first, so that no singular value is above 1; a matrix of zeros stays as it is.
    """
    rows, columns = x.shape
    n = min(rows, columns)
    gram, square = (w.reshape(-1)[: n * n].reshape(n, n) for w in work[:2])
    # Fewer rows than columns: the product with its own transpose is then the small one.
    wide = x if rows <= columns else x.T
    product = work[2].reshape(-1)[: x.size].reshape(wide.shape)
    a, b, c = QUINTIC
    x *= 1 / max(norm(x), 1e-7)
    for _ in range(steps):
        np.matmul(wide, wide.T, out=gram)
        np.matmul(gram, gram, out=square)
        gram *= b
        square *= c
        gram += square
        np.matmul(gram, wide, out=product)
        x *= a
        wide += product


def momentum_direction(
    g: Array, b: Array, out: Array, spare: Array, momentum: float, nesterov: bool
) -> None:
    """``b = momentum * b + (1 - momentum) * g``; `out` becomes b, or one such step further on.

    With `nesterov`, ``out = momentum * b + (1 - momentum) * g``.
    """
    b *= momentum
    np.multiply(g, 1 - momentum, out=out)
    b += out
    if nesterov:
        np.multiply(b, momentum, out=spare)
        out += spare
    else:
        out[...] = b


class Muon(Optimizer):
    """Momentum whose matrices are orthogonalised before the step (Jordan et al. 2024).

    The step is `momentum_direction`, orthogonalised by `ns_steps` rounds of Newton–Schulz, times
    ``lr * sqrt(max(1, rows / columns))``; ``p *= 1 - lr * weight_decay`` comes before. For weight
    matrices only: train biases, embeddings and the last layer with AdamW beside it.
    """

    layerwise, shareable, work_arrays = True, False, 4
    options: ClassVar[dict[str, Check]] = {
        "lr": nonnegative,
        "momentum": nonnegative,
        "nesterov": flag,
        "weight_decay": nonnegative,
        "ns_steps": count,
    }

    def __init__(
        self, params: Any, lr: float, momentum: float = 0.95, nesterov: bool = True,
        weight_decay: float = 0.0, ns_steps: int = 5,
    ) -> None:  # fmt: skip
        super().__init__(params, {"lr": lr, "momentum": momentum, "nesterov": nesterov,
                                  "weight_decay": weight_decay, "ns_steps": ns_steps})  # fmt: skip

    def check_params(self, params: list[Any]) -> None:
        for i, p in enumerate(params):
            if p.ndim != 2:
                raise ValueError(f"Muon: parameter {i} has shape {p.shape}, expected a matrix; "
                                 f"train it with AdamW")  # fmt: skip

    def state_names(self, group: Any) -> tuple[str, ...]:
        return ("momentum_buffer",)

    def update(
        self, p: Array, g: Array, state: list[Array], work: list[Array], t: int, group: Any
    ) -> None:
        step, *spare = work
        momentum_direction(g, state[0], step, spare[0], group["momentum"], group["nesterov"])
        orthogonalize(step, group["ns_steps"], spare)
        step *= group["lr"] * sqrt(max(1, p.shape[0] / p.shape[1]))
        if group["weight_decay"]:
            p *= 1 - group["lr"] * group["weight_decay"]
        p -= step
