"""Gradient clipping: a bound on the length of all gradients together, or on each number."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from itertools import groupby
from math import inf, isfinite
from operator import attrgetter
from typing import Any

import numpy as np

from ..autograd import Tensor
from ..autograd.tape.entry import Array
from .lars import blocks, norm
from .sgd.checks import number


def total_norm(gradients: list[Array], norm_type: float = 2.0) -> float:
    """The `norm_type`-norm of all numbers in `gradients` together; 0.0 if there are none.

    For the power 2 see `norm`; other powers are taken and summed in float64, block by block.
    """
    if norm_type == 2:
        return norm(*gradients)
    filled = [g for g in gradients if g.size]
    if norm_type == inf:
        # np.max gives NaN if there is one; Python's max() would pass over it
        return float(np.max([np.max(np.abs(g)) for g in filled])) if filled else 0.0
    top = total_norm(gradients, inf)
    if not (0 < top < inf):
        return top
    scaled = (np.abs(block.astype(np.float64) / top) for block in blocks(filled))
    powers = sum(float(np.sum(x**norm_type)) for x in scaled)
    with np.errstate(over="ignore"):
        return float(top * np.float64(powers) ** (1 / norm_type))


def gradients_of(owner: str, parameters: Any) -> list[Array]:
    """The gradients to clip, each once: those of Tensors that have one, and arrays as they are."""
    single = isinstance(parameters, Tensor | np.ndarray)
    if not single and not isinstance(parameters, Iterable):
        got = type(parameters).__name__
        raise TypeError(f"{owner}: expected Tensors or arrays, got {got}; put them into a list")
    found: dict[int, Array] = {}
    for i, p in enumerate([parameters] if single else parameters):
        g = p.grad if isinstance(p, Tensor) else p
        if g is None:
            continue
        if not isinstance(g, np.ndarray) or g.dtype.kind not in "fV":
            got = f"an array of {g.dtype}" if isinstance(g, np.ndarray) else type(g).__name__
            raise TypeError(f"{owner}: expected a Tensor or an array of floats at {i}, got {got}")
        if not g.flags.writeable:
            raise ValueError(f"{owner}: the gradient at {i}, of shape {g.shape}, is read-only; "
                             f"copy it first")  # fmt: skip
        found[id(g)] = g
    return list(found.values())


def at_least(owner: str, name: str, value: Any, low: float) -> float:
    """`value` as a Python float, from `low` up to and including infinity."""
    if isinstance(value, float) and value == inf:
        return inf
    return number(owner, name, value, low, inf, "a number of at least 0" if low == 0 else "above 0")


@np.errstate(invalid="ignore")  # infinity times 0
def rescale(gradients: list[Array], factor: float) -> None:
    """Multiply in place. Float16 and the like go through float32: they would round the factor."""
    for dtype, same in groupby(gradients, attrgetter("dtype")):
        half = dtype.itemsize < 4
        scale = np.array(factor, np.float32 if half else dtype)
        multiply = partial(np.multiply, dtype="f", casting="unsafe") if half else np.multiply
        for g in same:
            multiply(g, scale, g)


def clip_grad_norm(
    parameters: Any, max_norm: float, norm_type: float = 2.0, error_if_nonfinite: bool = False
) -> float:
    """Scale all gradients by one factor, so that their common norm is at most `max_norm`.

    The factor is ``min(1, max_norm / (norm + 1e-6))``; directions stay (Pascanu et al. 2013,
    section 3.2, and PyTorch's 1e-6). `parameters`: Tensors, whose ``grad`` is changed, or arrays.
    Returns the norm before clipping, 0.0 without gradients; ``max_norm=inf`` only measures it. If
    the norm is infinite or NaN, the result holds zeros and NaN, or with `error_if_nonfinite`
    nothing is changed and RuntimeError is raised.
    """
    owner = "clip_grad_norm"
    limit = at_least(owner, "max_norm", max_norm, 0.0)
    gradients = gradients_of(owner, parameters)
    length = total_norm(gradients, at_least(owner, "norm_type", norm_type, 5e-324))
    if error_if_nonfinite and not isfinite(length):
        raise RuntimeError(f"{owner}: the norm of the gradients is {length}; nothing was changed. "
                           f"Skip the step, or find the cause with detect_anomaly()")  # fmt: skip
    if limit < inf:
        factor = limit / (length + 1e-6)
        if not factor >= 1:  # so that NaN counts as too long
            rescale(gradients[::-1], factor)  # the last ones may still be cached
    return length


def clip_grad_value(parameters: Any, clip_value: float) -> None:
    """Bring each number of each gradient into ``[-clip_value, clip_value]``, in place.

    Directions change: a long gradient is turned towards the diagonals. NaN stays NaN.
    """
    owner = "clip_grad_value"
    limit = at_least(owner, "clip_value", clip_value, 0.0)
    for g in gradients_of(owner, parameters):
        bound = min(limit, float(np.finfo(g.dtype).max)) if g.dtype.kind == "f" else limit
        np.clip(g, -bound, bound, out=g)
