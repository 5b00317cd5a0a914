"""LARS: a rate for each layer, in proportion to the size of its weights."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from functools import lru_cache
from math import inf, sqrt
from typing import Any, ClassVar

import numpy as np

from ..autograd.tape.entry import Array
from .sgd import BLOCK, Optimizer
from .sgd.checks import Check, flag, nonnegative

# BLAS adds many sums side by side, so that a row of 1024 numbers loses nothing. NumPy without it,
# as in a browser, adds one number after the other, and would lose the sixth digit.
ROW = 32 if sys.platform == "emscripten" else 1024
# Sums of rows wait until one call adds them: at most so many in float64, twice as many in float32.
SUMS = max(1024, BLOCK // ROW)


def blocks(arrays: Iterable[Array]) -> Iterator[Array]:
    """All numbers of `arrays` in arrays of at most BLOCK, those of float16 and the like as float64.

    What is small enough keeps its shape, the others are cut into flat pieces.
    """
    for x in arrays:
        half = x.itemsize < 4
        if x.size <= BLOCK and not half:
            yield x
            continue
        flat = x.reshape(-1)
        for start in range(0, flat.size, BLOCK):
            block = flat[start : start + BLOCK]
            yield block.astype(np.float64) if half else block


@lru_cache(maxsize=1024)
def row_length(size: int) -> int:
    """How long rows of `size` numbers are: their largest divisor near ROW, else ROW and a rest."""
    shortest = max(ROW // 2, size // SUMS)  # there is room for SUMS of them
    return next((k for k in range(ROW, shortest, -1) if size % k == 0), ROW)


def sum_of_squares(arrays: Iterable[Array]) -> float:
    """The sum of ``x * x`` over arrays of any shapes, each of at most BLOCK numbers.

    Short rows are summed, and their sums added pairwise by np.add: one float32 sum over ten million
    equal numbers could be off in the fifth digit.
    """
    total, sums, n = 0.0, np.empty(0, bool), 0  # bool is no x's dtype
    for x in arrays:
        length = row_length(x.size)
        count, rest = divmod(x.size, length)
        if rest:
            flat = x.reshape(-1)
            total += float(np.dot(flat[-rest:], flat[-rest:]))
            x = flat[:-rest]
        if count:
            if n + count > sums.size or sums.dtype != x.dtype:
                total, n = total + float(np.add.reduce(sums[:n])), 0
                if sums.dtype != x.dtype:
                    sums = np.empty(SUMS * max(1, 8 // x.itemsize), x.dtype)
            rows = x.reshape(count, length)
            np.vecdot(rows, rows, sums[n : n + count])
            n += count
    return total + float(np.add.reduce(sums[:n]))


@np.errstate(over="ignore")
def norm(*arrays: Array) -> float:
    """The Euclidean norm of all numbers in `arrays`, of any shapes, right to 1e-6."""
    squares = sum_of_squares(blocks(arrays))
    if not 1e-24 < squares < inf:  # squares leave the range of float32 early
        squares = sum_of_squares(block.astype(np.float64) for block in blocks(arrays))
    return sqrt(squares)


def trust_ratio(
    p: Array, g: Array, trust_coefficient: float, weight_decay: float, eps: float
) -> float:
    """``trust_coefficient * ‖p‖ / (‖g‖ + weight_decay * ‖p‖ + eps)``, or 1 if a norm is zero.

    You et al. 2017, equation 6. A parameter that starts at zero would never move otherwise.
    """
    p_norm, g_norm = norm(p), norm(g)
    if p_norm == 0 or g_norm == 0:
        return 1.0
    return trust_coefficient * p_norm / (g_norm + weight_decay * p_norm + eps)


def lars_step(
    p: Array, g: Array, v: Array, step: Array, *,
    rate: float, momentum: float, weight_decay: float, nesterov: bool,
) -> None:  # fmt: skip
    """``v = momentum * v + rate * (g + weight_decay * p)``, then ``p -= v``, in place.

    The rate stands inside the velocity, as in the paper. With `nesterov`, p moves by the new part
    of v plus ``momentum * v``. `step` has the shape of `p` and loses what it held.
    """
    np.multiply(p, weight_decay, out=step)
    step += g
    step *= rate
    v *= momentum
    v += step
    if nesterov:
        p -= step
        np.multiply(v, momentum, out=step)
        p -= step
    else:
        p -= v


class LARS(Optimizer):
    """Layer-wise adaptive rates for momentum SGD (You et al. 2017, algorithm 1).

    Each parameter moves by `lars_step` with the rate ``lr * trust_ratio(...)``. Options: `lr`;
    `momentum`; `weight_decay`, inside the ratio and the velocity; `trust_coefficient`; `eps`;
    `nesterov`. A group with ``exclude=True`` (biases, norms) has ratio 1 and no decay.
    """

    layerwise = True
    options: ClassVar[dict[str, Check]] = {
        "lr": nonnegative,
        "momentum": nonnegative,
        "weight_decay": nonnegative,
        "trust_coefficient": nonnegative,
        "eps": nonnegative,
        "nesterov": flag,
        "exclude": flag,
    }

    def __init__(
        self, params: Any, lr: float, momentum: float = 0.9, weight_decay: float = 0.0,
        trust_coefficient: float = 1e-3, eps: float = 0.0, nesterov: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay,
                                  "trust_coefficient": trust_coefficient, "eps": eps,
                                  "nesterov": nesterov, "exclude": False})  # fmt: skip

    def state_names(self, group: Any) -> tuple[str, ...]:
        return ("momentum_buffer",)

    def update(
        self, p: Array, g: Array, state: list[Array], work: list[Array], t: int, group: Any
    ) -> None:
        rate, decay = group["lr"], 0.0
        if not group["exclude"]:
            decay = group["weight_decay"]
            rate *= trust_ratio(p, g, group["trust_coefficient"], decay, group["eps"])
            rate = min(rate, 3e38)  # float32 cannot hold more, and 0 * inf is NaN
        lars_step(p, g, state[0], work[0], rate=rate, momentum=group["momentum"],
                  weight_decay=decay, nesterov=group["nesterov"])  # fmt: skip
