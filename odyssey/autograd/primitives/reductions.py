"""Operations that make many numbers one.

Each element of the result sends its gradient back to all of its sources.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from ..tape import primitive
from ..tape.entry import Array, Rule

# int, tuple of int or None, and bool. NumPy's stubs split both by value, and reject the union.
Axis: TypeAlias = Any
Keep: TypeAlias = Any


def normalize_axis(axis: Axis, ndim: int) -> tuple[int, ...]:
    """The reduced axes as non-negative numbers, all for None. Raises AxisError out of range."""
    if axis is None:
        return tuple(range(ndim))
    return np.lib.array_utils.normalize_axis_tuple(axis, ndim)


def keep_axes(reduced: Any, shape: tuple[int, ...], axis: Axis) -> Array:
    """`reduced` with length 1 where `shape` was reduced along `axis`: it broadcasts against it."""
    axes = normalize_axis(axis, len(shape))
    return np.reshape(reduced, tuple(1 if i in axes else n for i, n in enumerate(shape)))


def count(shape: tuple[int, ...], axis: Axis) -> int:
    """How many elements of `shape` each element of a reduction along `axis` is made of."""
    n = 1
    for i in normalize_axis(axis, len(shape)):
        n *= shape[i]
    return n


def spread(g: Any, shape: tuple[int, ...], axis: Axis) -> Array:
    """A new array of `shape` that repeats `g` along the reduced `axis`: the transpose of a sum."""
    out = np.empty(shape, g.dtype)
    out[...] = keep_axes(g, shape, axis)
    return out


def wide(dtype: np.dtype[Any]) -> Any:
    """The dtype of a sum of integers or bools: 64 bits. For floats None, which is NumPy's choice.

    NumPy's choice for integers has 32 bits in a browser, where a sum would overflow silently.
    """
    return {"b": np.int64, "i": np.int64, "u": np.uint64}.get(dtype.kind)


@primitive(np.sum)
def sum(x: Array, axis: Axis = None, keepdims: Keep = False) -> Rule:
    """Sum over `axis`. Every summand gets the gradient of its sum."""
    shape = x.shape
    out = np.sum(x, axis=axis, dtype=wide(x.dtype), keepdims=keepdims)
    return out, lambda g: (spread(g, shape, axis),)


@primitive(np.mean)
def mean(x: Array, axis: Axis = None, keepdims: Keep = False) -> Rule:
    """Arithmetic mean over `axis`. d/dx = 1/n."""
    shape, n = x.shape, count(x.shape, axis)
    weight = 1 / (n or 1)  # not g / n: no float16 is as large as 70,000
    return np.mean(x, axis=axis, keepdims=keepdims), lambda g: (spread(g * weight, shape, axis),)


@primitive(np.var)
def var(x: Array, axis: Axis = None, ddof: int = 0, keepdims: Keep = False) -> Rule:
    """Variance over `axis`, divided by n - ddof (NumPy's default ddof=0, PyTorch's is 1).

    d/dx = 2 (x - mean) / (n - ddof): the part that goes through the mean sums to zero.
    """
    n = count(x.shape, axis) - ddof
    if n <= 0:
        got = f"along axis={axis}, got shape {x.shape}"
        raise ValueError(f"needs more than ddof={ddof} elements {got}")
    centred = x - np.mean(x, axis=axis, keepdims=True)
    out = np.mean(centred * centred, axis=axis, keepdims=keepdims) * (count(x.shape, axis) / n)
    return out, lambda g: (keep_axes(g, centred.shape, axis) * (2 / n) * centred,)


@primitive(np.max, np.amax)
def max(x: Array, axis: Axis = None, keepdims: Keep = False) -> Rule:
    """Largest element over `axis`. Elements that are equally large share the gradient equally."""
    out = np.max(x, axis=axis, keepdims=keepdims)
    return out, lambda g: (_to_winners(g, x, out, axis),)


@primitive(np.min, np.amin)
def min(x: Array, axis: Axis = None, keepdims: Keep = False) -> Rule:
    """Smallest element over `axis`. Elements that are equally small share the gradient equally."""
    out = np.min(x, axis=axis, keepdims=keepdims)
    return out, lambda g: (_to_winners(g, x, out, axis),)


def _to_winners(g: Any, x: Array, out: Any, axis: Axis) -> Array:
    winners = x == keep_axes(out, x.shape, axis)
    share = keep_axes(g, x.shape, axis) / np.count_nonzero(winners, axis=axis, keepdims=True)
    shared: Array = winners * share.astype(x.dtype)
    return shared


@primitive(np.prod)
def prod(x: Array, axis: Axis = None, keepdims: Keep = False) -> Rule:
    """Product over `axis`.

    d/dx_i is the product of all the others, right also where elements are 0.
    """
    out = np.prod(x, axis=axis, dtype=wide(x.dtype), keepdims=keepdims)

    def vjp(g: Any) -> tuple[Array]:
        axes = normalize_axis(axis, x.ndim)
        last = tuple(range(x.ndim - len(axes), x.ndim))
        moved = np.moveaxis(x, axes, last)
        rows = moved.reshape(*moved.shape[: x.ndim - len(axes)], count(x.shape, axis))
        ones = np.ones_like(rows[..., :1])
        before = np.concatenate([ones, rows[..., :-1]], axis=-1).cumprod(axis=-1)
        from_end = np.concatenate([ones, rows[..., :0:-1]], axis=-1)
        after = from_end.cumprod(axis=-1)[..., ::-1]
        others = np.moveaxis((before * after).reshape(moved.shape), last, axes)
        return (keep_axes(g, x.shape, axis) * others,)

    return out, vjp


@primitive()
def logsumexp(x: Array, axis: Axis = None, keepdims: Keep = False) -> Rule:
    """log(sum(exp(x))) over `axis`, computed as m + log(sum(exp(x - m))) with m = max(x).

    So no power overflows. d/dx = exp(x - m) / sum(exp(x - m)), the softmax. A row of -inf gives
    -inf, with gradient 0; a row with inf gives inf, with NaN.
    """
    m = np.max(x, axis=axis, keepdims=True)
    m = np.where(np.isfinite(m), m, np.zeros((), m.dtype))
    with np.errstate(over="ignore", divide="ignore"):
        powers = np.exp(x - m)
        total = np.sum(powers, axis=axis, keepdims=True)
        kept = np.log(total) + m
    out = kept if keepdims else np.squeeze(kept, normalize_axis(axis, x.ndim))

    def vjp(g: Any) -> tuple[Array]:
        # Not exp(x - out): the rounding error of a large out would stand in the exponent.
        softmax = powers / np.where(total == 0, 1, total)
        return (keep_axes(g, x.shape, axis) * softmax,)

    return out, vjp


@primitive(np.cumsum)
def cumsum(x: Array, axis: int | None = None) -> Rule:
    """Running sum along `axis`, of the flattened array if None. The vjp sums from the end."""
    shape = x.shape

    def vjp(g: Array) -> tuple[Array]:
        along = 0 if axis is None else axis
        return (np.flip(np.cumsum(np.flip(g, along), axis=along), along).reshape(shape),)

    return np.cumsum(x, axis=axis, dtype=wide(x.dtype)), vjp
