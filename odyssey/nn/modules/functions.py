"""The functions behind the layers: an affine map, a table, and nonlinearities."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...autograd import Tensor, primitive
from ...autograd.primitives import matmul, relu, sigmoid, take, tanh
from ...autograd.tape.entry import Array, Rule
from .normal import cdf_and_density

__all__ = [
    "embedding",
    "gelu",
    "linear",
    "log_softmax",
    "relu",
    "sigmoid",
    "silu",
    "softmax",
    "tanh",
]


def shape_of(x: Any) -> Any:
    """The shape of a Tensor or an array; of anything else its type, for messages."""
    return getattr(x, "shape", f"a {type(x).__name__}, no Tensor")


def check_floats(x: Array) -> None:
    """Raise TypeError if `x` holds integers or bools; the primitive's name is added to it."""
    if x.dtype.kind in "iub":
        raise TypeError(f"expected floats, got {x.dtype}; convert them with x.astype(np.float32)")


BLOCK = 32768  # numbers at a time, so that what is computed in between stays in the cache


@primitive(product=True)
def affine(x: Array, weight: Array, bias: Array) -> Rule:
    """``x @ weight.T + bias`` for x (..., in), weight (out, in), bias (out,).

    All leading axes of x are rows of one matrix product. dx = g weight, dweight = gᵀ x, dbias the
    sum of the rows of g, which is a product with a row of ones.
    """
    rows = x.reshape(-1, x.shape[-1])
    out = rows @ weight.T
    out += bias

    def flat(g: Array) -> Array:
        return g.reshape(-1, g.shape[-1])

    return out.reshape(*x.shape[:-1], len(weight)), (
        lambda g: (flat(g) @ weight).reshape(x.shape),
        lambda g: flat(g).T @ rows,
        lambda g: np.ones(len(rows), g.dtype) @ flat(g),
    )


def linear(x: Any, weight: Any, bias: Any = None) -> Tensor:
    """``x @ weight.T + bias``: x (..., in), weight (out, in), bias (out,) or None → (..., out)."""
    out_in = getattr(weight, "shape", ())
    if len(out_in) != 2 or getattr(x, "shape", ())[-1:] != out_in[1:]:
        raise ValueError(f"linear: expected x (..., in) and weight (out, in), got {shape_of(x)} "
                         f"and {shape_of(weight)}; is it transposed?")  # fmt: skip
    if bias is None:
        return matmul(x, weight.T)  # type: ignore[no-any-return]
    if getattr(bias, "shape", ()) != out_in[:1]:
        raise ValueError(f"linear: expected bias {out_in[:1]}, got {shape_of(bias)}")
    return affine(x, weight, bias)  # type: ignore[no-any-return]


def integers(values: Any, owner: str, remedy: str) -> Array:
    """`values` as an array of integers; TypeError if they are none, ValueError if ragged."""
    try:
        found = values.data if isinstance(values, Tensor) else np.asarray(values)
    except ValueError as error:
        raise ValueError(f"{owner}: expected rows of equal length: {error}") from error
    if found.dtype.kind not in "iu":
        raise TypeError(f"{owner}: expected integers, got {found.dtype}; {remedy}")
    return found


def embedding(indices: Any, weight: Any) -> Tensor:
    """Row `indices` of the table `weight` (num, dim): integers of any shape → (..., dim).

    Raises TypeError for indices that are no integers and IndexError for one out of range; negative
    ones are out of range, as in PyTorch.
    """
    if getattr(weight, "ndim", 0) != 2:
        got = shape_of(weight)
        raise ValueError(f"embedding: expected a table (num, dim) as weight, got {got}")
    chosen = integers(indices, "embedding", "convert the indices with astype(np.int64)")
    if chosen.size and (chosen.min() < 0 or chosen.max() >= len(weight)):
        wrong = chosen.min() if chosen.min() < 0 else chosen.max()
        raise IndexError(f"embedding: index {wrong} in a table of {len(weight)} rows; they count "
                         f"from 0")  # fmt: skip
    return take(weight, chosen, axis=0)  # type: ignore[no-any-return]


def _silu_vjp(g: Array, saved: tuple[Array, Array]) -> Array:
    out, s = saved
    slope: Array = s + out * (1 - s)
    slope *= g
    return slope


@primitive(vjp=(_silu_vjp,))
def silu(x: Array) -> Rule:
    """``x * sigmoid(x)``, also called swish. d/dx = s + x s (1 - s), s the sigmoid."""
    s = 0.5 * np.tanh(0.5 * x) + 0.5
    out = x * s
    return out, (out, s)


@primitive()
def gelu(x: Array, approximate: str = "none") -> Rule:
    """``x * Φ(x)`` with the normal distribution function Φ (Hendrycks & Gimpel 2016).

    d/dx = Φ + x φ, computed here together with the result, block by block. `approximate="tanh"` is
    the formula ``0.5 x (1 + tanh(sqrt(2/π) (x + 0.044715 x³)))``.
    """
    if approximate not in ("none", "tanh"):
        raise ValueError(f"expected approximate 'none' or 'tanh', got {approximate!r}")
    check_floats(x)
    flat = np.ascontiguousarray(x).reshape(-1)
    out, slope = np.empty_like(flat), np.empty_like(flat)
    rule = _gelu_block if approximate == "none" else _tanh_block
    with np.errstate(over="ignore"):  # of x² where |x| > 1e19; the result is x or 0 all the same
        for start in range(0, flat.size, BLOCK):
            part = slice(start, start + BLOCK)
            rule(flat[part], out[part], slope[part])
    derivative = slope.reshape(x.shape)
    return out.reshape(x.shape), lambda g: (g * derivative,)


def _gelu_block(x: Array, out: Array, slope: Array) -> None:
    cdf_and_density(x, out, slope)
    slope *= x
    slope += out
    out *= x


def _tanh_block(x: Array, out: Array, slope: Array) -> None:
    c, k = 0.7978845608028654, 0.044715
    square = np.minimum(x * x, 100)  # from there on tanh is ±1, and its slope 0
    t = np.tanh(c * (x + k * square * x))
    half = 0.5 * (1 + t)
    np.multiply(x, half, out=out)
    slope[...] = half + 0.5 * x * (1 - t * t) * (c * (1 + 3 * k * square))


@primitive()
def softmax(x: Array, axis: int = -1) -> Rule:
    """``exp(x) / sum(exp(x))`` along `axis`, after subtracting the largest: nothing overflows.

    dx = p (g - sum(g p)). A row of -inf alone gives zeros.
    """
    p = _powers(x, axis)
    total = p.sum(axis=axis, keepdims=True)
    p /= np.where(total == 0, np.ones((), p.dtype), total)

    def vjp(g: Array) -> tuple[Array]:
        gp = g * p
        gp -= p * gp.sum(axis=axis, keepdims=True)
        return (gp,)

    return p, vjp


def _powers(x: Array, axis: int) -> Array:
    check_floats(x)
    m = x.max(axis=axis, keepdims=True)
    out = np.asarray(x - np.where(np.isfinite(m), m, np.zeros((), x.dtype)))
    np.exp(out, out=out)
    return out


@primitive()
def log_softmax(x: Array, axis: int = -1) -> Rule:
    """``log(softmax(x))``, computed as x - max - log(sum(exp(x - max))): exact for small p too.

    dx = g - p sum(g).
    """
    check_floats(x)
    shifted = x - x.max(axis=axis, keepdims=True)
    out = shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True))
    return out, lambda g: (g - np.exp(out) * g.sum(axis=axis, keepdims=True),)
