"""Initial weights: how large random numbers must be for signals to pass through many layers."""

from __future__ import annotations

from math import isfinite, prod, sqrt
from numbers import Real
from typing import Any

import numpy as np

from ...autograd import Tensor
from .module import Parameter

# How much a nonlinearity shrinks a signal of size 1, as PyTorch's calculate_gain has it: the
# weights are made larger by this factor.
GAINS = {"linear": 1.0, "sigmoid": 1.0, "tanh": 5 / 3, "relu": sqrt(2), "selu": 0.75}


def gain_of(nonlinearity: str, a: float = 0.0) -> float:
    """The factor for weights before a `nonlinearity`; `a` is the slope of a leaky ReLU."""
    if nonlinearity == "leaky_relu":
        return sqrt(2 / (1 + a * a))
    if nonlinearity not in GAINS:
        known = ", ".join([*GAINS, "leaky_relu"])
        raise ValueError(f"gain_of: unknown nonlinearity {nonlinearity!r}; choose one of {known}")
    return GAINS[nonlinearity]


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """(inputs, outputs) of one unit with a weight of `shape`: (out, in, *kernel)."""
    if len(shape) < 2 or 0 in shape:
        raise ValueError(
            f"fans: expected a weight of at least two axes, (out, in, ...), none empty, got {shape}"
        )
    kernel = prod(shape[2:])
    return shape[1] * kernel, shape[0] * kernel


def generator(rng: Any, owner: str = "init") -> np.random.Generator:
    """`rng`, or a new generator with a random seed if it is None; TypeError for anything else."""
    if rng is None:
        return np.random.default_rng()
    if not isinstance(rng, np.random.Generator):
        got = type(rng).__name__
        raise TypeError(f"{owner}: expected rng to be a numpy Generator, got {got}; "
                        f"use np.random.default_rng(0)")  # fmt: skip
    return rng


def shape_to_fill(p: Any) -> tuple[int, ...]:
    """The shape of the parameter `p`; TypeError if it is none, or holds integers."""
    if not isinstance(p, Tensor):
        got = type(p).__name__
        raise TypeError(f"init: expected a Parameter to fill, got {got}; wrap it in nn.Parameter")
    if p.dtype.kind in "iub":
        raise TypeError(f"init: expected a Parameter of floats, got {p.dtype}, which cannot hold "
                        f"random numbers")  # fmt: skip
    return p.shape  # type: ignore[no-any-return]


def fill(p: Parameter, values: Any) -> Parameter:
    """Give `p` new numbers, in its dtype."""
    p.data = np.asarray(values).astype(p.dtype)
    return p


def uniform_(p: Parameter, low: float = 0.0, high: float = 1.0, rng: Any = None) -> Parameter:
    """Fill `p` with numbers from [low, high), all equally likely. Returns `p`."""
    if not (isfinite(low) and isfinite(high) and low <= high):
        raise ValueError(f"uniform_: expected finite low <= high, got {low} and {high}")
    return fill(p, generator(rng).uniform(low, high, shape_to_fill(p)))


def normal_(p: Parameter, mean: float = 0.0, std: float = 1.0, rng: Any = None) -> Parameter:
    """Fill `p` with normal numbers of this mean and standard deviation. Returns `p`."""
    if not (isfinite(mean) and isfinite(std) and std >= 0):
        raise ValueError(f"normal_: expected a finite mean and std >= 0, got {mean} and {std}")
    return fill(p, generator(rng).normal(mean, std, shape_to_fill(p)))


def constant_(p: Parameter, value: float) -> Parameter:
    """Fill `p` with one number. Returns `p`."""
    if not isinstance(value, Real):
        raise TypeError(f"constant_: expected a number, got {value!r}")
    return fill(p, np.full(shape_to_fill(p), value))


def xavier_uniform_(p: Parameter, gain: float = 1.0, rng: Any = None) -> Parameter:
    """Uniform with variance ``2 gain² / (inputs + outputs)`` (Glorot & Bengio 2010, eq. 16)."""
    bound = gain * sqrt(6 / sum(fans(shape_to_fill(p))))
    return uniform_(p, -bound, bound, rng)


def xavier_normal_(p: Parameter, gain: float = 1.0, rng: Any = None) -> Parameter:
    """Normal with variance ``2 gain² / (inputs + outputs)`` (Glorot & Bengio 2010, eq. 12)."""
    return normal_(p, 0.0, gain * sqrt(2 / sum(fans(shape_to_fill(p)))), rng)


def kaiming_uniform_(
    p: Parameter, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu",
    rng: Any = None,
) -> Parameter:  # fmt: skip
    """Uniform with variance ``gain² / inputs`` (He et al. 2015, eq. 10); "fan_out": by outputs."""
    bound = sqrt(3) * gain_of(nonlinearity, a) / sqrt(fan(p, mode))
    return uniform_(p, -bound, bound, rng)


def kaiming_normal_(
    p: Parameter, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu",
    rng: Any = None,
) -> Parameter:  # fmt: skip
    """Normal with variance ``gain² / inputs`` (He et al. 2015, eq. 10); "fan_out": by outputs."""
    return normal_(p, 0.0, gain_of(nonlinearity, a) / sqrt(fan(p, mode)), rng)


def fan(p: Parameter, mode: str) -> int:
    """Inputs or outputs of one unit with the weight `p`."""
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"kaiming: expected mode 'fan_in' or 'fan_out', got {mode!r}")
    return fans(shape_to_fill(p))[mode == "fan_out"]
