"""Attention: a soft dictionary, its heads, and the transformer block."""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np

from ..autograd import Tensor, primitive
from ..autograd.tape.entry import Array, Rule
from .dropout import Dropout, check_probability, dropout_mask
from .modules import Linear, Module
from .modules.functions import gelu, shape_of
from .modules.initial import generator
from .modules.layers import whole
from .normalization import LayerNorm


def additive_mask(mask: Any, is_causal: bool, shape: tuple[int, ...], dtype: Any) -> Array | None:
    """What is added to scores of `shape` (..., Tq, Tk): 0, -inf or a float mask; None for nothing.

    A boolean `mask` is True where a query may attend. `is_causal`: query i sees keys 0 to i.
    """
    if not isinstance(is_causal, bool | np.bool_):
        got = type(is_causal).__name__
        raise TypeError(f"attention: expected is_causal to be True or False, got {got}; pass an "
                        f"array as mask=")  # fmt: skip
    found = None
    if mask is not None:
        if isinstance(mask, Tensor) and mask.requires_grad:
            raise TypeError("attention: no gradient flows to a mask; pass mask.detach()")
        mask = mask.data if isinstance(mask, Tensor) else np.asarray(mask)
        if mask.dtype.kind not in "bf":
            raise TypeError(f"attention: expected a boolean or a float mask, got {mask.dtype}; "
                            f"write mask == 1 for True where a query may attend")  # fmt: skip
        try:
            np.broadcast_to(mask, shape)
        except ValueError:
            axes = ", None" * (len(shape) - 2)
            raise ValueError(f"attention: a mask of shape {mask.shape} does not fit scores of "
                             f"shape {shape}, (..., queries, keys); a mask of the keys, (N, Tk), "
                             f"needs axes of length 1: mask[:{axes}]") from None  # fmt: skip
        if mask.dtype.kind == "f" and not mask.max(initial=-np.inf) < np.inf:  # or it is NaN
            raise ValueError("attention: expected a mask of finite floats or -inf, got inf or NaN; "
                             "use -inf where a query may not attend, 0 elsewhere")  # fmt: skip
        found = np.where(mask, 0, -np.inf) if mask.dtype.kind == "b" else mask
    if is_causal:
        later = np.triu(np.full(shape[-2:], -np.inf), 1)
        found = later if found is None else found + later
    with np.errstate(over="ignore"):  # -1e9 is -inf in float16, as it is meant
        return None if found is None else found.astype(dtype, copy=False)


def exponentials(scores: Array) -> Array:
    """Replace each column S of `scores` by exp(S - max S); return the sums of the columns.

    A column of -inf alone becomes zeros. Its sum counts as 1, so that zeros over it stay zeros.
    """
    top = scores.max(axis=-2, keepdims=True, initial=-np.inf)
    np.copyto(top, 0, where=np.isneginf(top))
    scores -= top
    np.exp(scores, out=scores)
    total: Array = np.ones(scores.shape[-2], scores.dtype) @ scores
    np.copyto(total, 1, where=total == 0)
    return total


@primitive(product=True)
def fused_attention(
    q: Array, k: Array, v: Array, /, *, mask: Array | None, drop: Array | None, scale: float
) -> Rule:
    """softmax(q kᵀ scale + mask) v, one element of the batch at a time, which stays in the cache.

    E, the exponentials, has a row for each key and a column for each query, as have `mask` and
    `drop`, which multiplies the weights. E is never divided by the sums l of its columns:
    out = Eᵀ v / l. With h = g / l: dv = E h, dS = E (v hᵀ - sum(h out)), dq = dSᵀ k scale,
    dk = dS q scale.
    """
    e = np.empty((*q.shape[:-2], k.shape[-2], q.shape[-2]), q.dtype)
    out = np.empty_like(q, shape=(*q.shape[:-1], v.shape[-1]))
    total = np.empty(q.shape[:-1], q.dtype)
    added = [None] * len(e) if mask is None else np.broadcast_to(mask, e.shape)
    for b in range(len(e)):
        np.matmul(k[b], (q[b] * scale).swapaxes(-1, -2), out=e[b])
        if added[b] is not None:
            e[b] += added[b]
        total[b] = exponentials(e[b])
        used = e[b] if drop is None else e[b] * drop[b]
        np.matmul(used.swapaxes(-1, -2), v[b], out=out[b])
        out[b] /= total[b][..., None]

    def vjp(g: Array) -> tuple[Array, Array, Array]:
        dq, dk, dv = np.empty_like(q), np.empty_like(k), np.empty_like(v)
        for b in range(len(e)):
            h = g[b] / total[b][..., None]
            np.matmul(e[b] if drop is None else e[b] * drop[b], h, out=dv[b])
            h *= scale
            ds = v[b] @ h.swapaxes(-1, -2)
            if drop is not None:
                ds *= drop[b]
            ds -= np.vecdot(h, out[b])[..., None, :]
            ds *= e[b]
            np.matmul(ds.swapaxes(-1, -2), k[b], out=dq[b])
            np.matmul(ds, q[b], out=dk[b])
        return dq, dk, dv

    return out, vjp


def check_attention(q: Any, k: Any, v: Any) -> None:
    """Raise TypeError unless q, k and v are floats of one dtype, ValueError unless they fit."""
    for x in (q, k, v):
        if not isinstance(x, Tensor | np.ndarray):
            got = type(x).__name__
            raise TypeError(f"attention: expected Tensors or arrays, got {got}; wrap it: Tensor(x)")
    if not q.dtype == k.dtype == v.dtype or q.dtype.kind not in "fV":
        raise TypeError(f"attention: expected q, k and v of one float dtype, got {q.dtype}, "
                        f"{k.dtype} and {v.dtype}; convert the arrays first")  # fmt: skip
    same = q.ndim == k.ndim == v.ndim >= 2 and q.shape[:-2] == k.shape[:-2] == v.shape[:-2]
    if not same or not q.shape[-1] == k.shape[-1] > 0 or k.shape[-2] != v.shape[-2]:
        raise ValueError(f"attention: expected q (..., Tq, d), k (..., Tk, d), v (..., Tk, dv), "
                         f"leading axes equal, got {q.shape}, {k.shape} and {v.shape}")  # fmt: skip


def scaled_dot_product_attention(
    q: Any, k: Any, v: Any, mask: Any = None, is_causal: bool = False, dropout_p: float = 0.0,
    rng: Any = None,
) -> Tensor:  # fmt: skip
    """``softmax(q kᵀ / sqrt(d) + mask) v`` (Vaswani et al. 2017, eq. 1).

    q (..., Tq, d), k (..., Tk, d), v (..., Tk, dv) → (..., Tq, dv). `mask` fits (..., Tq, Tk): True
    where a query may attend, or floats to add. A query that may attend to nothing gives zeros.
    `is_causal`: query i sees keys 0 to i. `dropout_p` leaves out weights, drawn by `rng`.
    """
    check_attention(q, k, v)
    if q.ndim == 2:
        q, k, v = (x.reshape(1, *x.shape) for x in (q, k, v))
        out = scaled_dot_product_attention(q, k, v, mask, is_causal, dropout_p, rng)
        return out.reshape(out.shape[1:])  # type: ignore[no-any-return]
    lead, tq, tk = q.shape[:-2], q.shape[-2], k.shape[-2]
    added = additive_mask(mask, is_causal, (*lead, tq, tk), q.dtype)
    if added is not None:  # from here on a row for each key
        added = np.ascontiguousarray(np.atleast_2d(added).swapaxes(-1, -2))
    p = check_probability("attention", dropout_p)
    drop = dropout_mask((*lead, tk, tq), p, q.dtype, generator(rng, "attention")) if p else None
    # By name: inside autocast what stands by position is rounded, and -1e9 would become -inf.
    out = fused_attention(q, k, v, mask=added, drop=drop, scale=1 / sqrt(q.shape[-1]))
    return out  # type: ignore[no-any-return]


class Heads(Module):
    """The four maps of attention, and the split of features into heads."""

    def __init__(
        self, embed_dim: int, num_heads: int, dropout: float = 0.0, bias: bool = True,
        rng: Any = None,
    ) -> None:  # fmt: skip
        self.embed_dim = whole("MultiHeadAttention", "embed_dim", embed_dim)
        self.num_heads = whole("MultiHeadAttention", "num_heads", num_heads)
        if self.embed_dim % self.num_heads:
            raise ValueError(f"MultiHeadAttention: {num_heads} heads do not divide {embed_dim}")
        self.head_dim = self.embed_dim // self.num_heads
        self.dropout = check_probability("MultiHeadAttention", dropout)
        self.rng = rng = generator(rng, "MultiHeadAttention")
        self.q_proj = Linear(embed_dim, embed_dim, bias, rng)
        self.k_proj = Linear(embed_dim, embed_dim, bias, rng)
        self.v_proj = Linear(embed_dim, embed_dim, bias, rng)
        self.out_proj = Linear(embed_dim, embed_dim, bias, rng)

    def heads(self, x: Any) -> Tensor:
        """(N, T, embed_dim) → (N, num_heads, T, head_dim)."""
        split = x.reshape(*x.shape[:2], self.num_heads, self.head_dim)
        out: Any = np.swapaxes(split, 1, 2)
        return out  # type: ignore[no-any-return]

    def extra_repr(self) -> str:
        return f"{self.embed_dim}, {self.num_heads}" + (
            f", dropout={self.dropout}" if self.dropout else ""
        )


class MultiHeadAttention(Heads):
    """`num_heads` attentions side by side, each on its own share of the features.

    Four `Linear` maps of embed_dim features: `q_proj`, `k_proj`, `v_proj`, `out_proj`. The shares,
    `head_dim` features each, lie next to one another, as in PyTorch. `dropout` leaves out weights
    in training.
    """

    def forward(
        self, query: Any, key: Any = None, value: Any = None, mask: Any = None,
        is_causal: bool = False,
    ) -> Tensor:  # fmt: skip
        """query (N, Tq, embed_dim), key and value (N, Tk, embed_dim) → (N, Tq, embed_dim).

        `key` is `query` if left out, `value` is `key`. `mask`: (Tq, Tk), (N, Tq, Tk), which may be
        (N, 1, Tk) for keys that are filler, or one that fits (N, num_heads, Tq, Tk).
        """
        key = query if key is None else key
        value = key if value is None else value
        for x in (query, key, value):
            shape = shape_of(x)
            if len(shape) != 3 or shape[-1] != self.embed_dim:
                raise ValueError(f"MultiHeadAttention({self.extra_repr()}): expected input of "
                                 f"shape (N, T, {self.embed_dim}), got {shape}")  # fmt: skip
        if mask is not None:
            mask = mask if isinstance(mask, Tensor) else np.asarray(mask)
            mask = mask[:, None] if mask.ndim == 3 else mask
        q, k, v = map(self.heads, (self.q_proj(query), self.k_proj(key), self.v_proj(value)))
        p = self.dropout if self.training else 0.0
        out = scaled_dot_product_attention(q, k, v, mask, is_causal, p, self.rng)
        out = self.out_proj(np.swapaxes(out, 1, 2).reshape(query.shape))
        return out  # type: ignore[no-any-return]


class TransformerBlock(Module):
    """Attention and a small network on each position, each added to its input (pre-norm).

    ``x + attention(norm1(x))``, then ``x + linear2(gelu(linear1(norm2(x))))`` (Xiong et al. 2020),
    with `dropout` on both sums and on the attention weights.
    """

    def __init__(
        self, embed_dim: int, num_heads: int, ff_dim: int, dropout: float = 0.0, rng: Any = None
    ) -> None:
        rng = generator(rng, "TransformerBlock")
        self.norm1 = LayerNorm(embed_dim)
        self.attention = MultiHeadAttention(embed_dim, num_heads, dropout, rng=rng)
        self.norm2 = LayerNorm(embed_dim)
        self.linear1 = Linear(embed_dim, ff_dim, rng=rng)
        self.linear2 = Linear(ff_dim, embed_dim, rng=rng)
        self.dropout1, self.dropout2 = Dropout(dropout, rng), Dropout(dropout, rng)

    def forward(self, x: Any, mask: Any = None, is_causal: bool = False) -> Tensor:
        """(N, T, embed_dim) → the same shape; `mask` and `is_causal` as in MultiHeadAttention."""
        attended = self.attention(self.norm1(x), mask=mask, is_causal=is_causal)
        x = x + self.dropout1(attended)
        hidden = gelu(self.linear1(self.norm2(x)))
        return x + self.dropout2(self.linear2(hidden))  # type: ignore[no-any-return]
