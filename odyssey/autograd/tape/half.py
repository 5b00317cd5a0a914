"""What `autocast` does to a product: its inputs are rounded, and the gradient of its result."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy import ndarray

from .entry import mode


def rounded(x: Any, half: Any) -> Any:
    """``half(x)`` of a float array of at most 32 bits; all else stays as it is."""
    if type(x) is not ndarray or x.dtype.kind not in "fV" or x.dtype.itemsize > 4:
        return x
    return half(x.astype(np.float32, copy=False))


def half_vjp(vjp: Any, half: Any) -> Any:
    """`vjp`, of gradients that are rounded first: a function, or one for each input, or None."""
    if isinstance(vjp, tuple):
        return tuple(half_vjp(f, half) for f in vjp)

    def of_rounded(g: Any) -> Any:
        with np.errstate(over="ignore", invalid="ignore"):  # an overflow is for GradScaler to see
            return vjp(rounded(g, half))

    return None if vjp is None else of_rounded


def halved(rule: Callable[..., Any], n: int) -> Callable[..., Any]:
    """`rule`, which inside `autocast` sees its `n` inputs rounded, and whose vjp its gradients."""

    @functools.wraps(rule)
    def half_rule(*args: Any, **options: Any) -> Any:
        half = mode.half
        if half is None:
            return rule(*args, **options)
        inputs = [rounded(x, half) for x in args[:n]]
        with np.errstate(over="ignore", invalid="ignore"):
            out, vjp = rule(*inputs, *args[n:], **options)
        return out, half_vjp(vjp, half)

    return half_rule
