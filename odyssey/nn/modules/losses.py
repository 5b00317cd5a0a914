"""Losses: from the likelihood of the targets, averaged over the batch."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...autograd import Tensor, primitive
from ...autograd.primitives import square, subtract
from ...autograd.tape.entry import Array, Rule
from .functions import integers
from .layers import whole


def check_reduction(owner: str, reduction: Any) -> str:
    """`reduction`, if it is one of the three; ValueError otherwise."""
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"{owner}: expected reduction 'mean', 'sum' or 'none', got {reduction!r}")
    return str(reduction)


def check_targets(
    shape: tuple[int, ...], targets: Any, ignore_index: int
) -> tuple[Array, Array | None]:
    """`targets` as a flat array of classes of logits of `shape`, and the positions to ignore."""
    remedy = "for targets that are probabilities write -(p * log_softmax(z)).sum()"
    found = integers(targets, "cross_entropy", remedy)
    classes = shape[1] if len(shape) > 1 else shape[0] if shape else 0
    if classes == 0:
        raise ValueError(f"cross_entropy: expected logits (N, C, ...) of some classes, got {shape}")
    wanted = (shape[0], *shape[2:]) if len(shape) > 1 else ()
    if found.shape != wanted:
        raise ValueError(f"cross_entropy: logits of shape {shape} need targets of shape {wanted}, "
                         f"got {found.shape}; of one-hot rows take argmax(axis=1)")  # fmt: skip
    flat = found.reshape(-1)
    # Without a sign, -1 is the largest number of all: one comparison finds both kinds of strangers.
    largest_target = np.maximum.reduce(flat.astype(np.uint64), initial=0)
    if largest_target < classes and not 0 <= ignore_index < classes:
        return flat, None
    ignored = flat == ignore_index
    wrong = ((flat < 0) | (flat >= classes)) & ~ignored
    if wrong.any():
        raise IndexError(f"cross_entropy: target {flat[wrong][0]} among {classes} classes; they "
                         f"count from 0")  # fmt: skip
    return np.where(ignored, 0, flat), np.flatnonzero(ignored)


def largest(z: Array) -> Array:
    """The largest number of each row of z (N, C), as (N, 1)."""
    # NumPy is slow with many short rows: then it gets the columns, in a copy, which are long.
    columns = np.ascontiguousarray(z.T) if z.shape[1] < 64 else z.T
    return np.maximum.reduce(columns, axis=0)[:, None]  # type: ignore[no-any-return]


@primitive()
def _cross_entropy(
    z: Array, /, targets: Array, ignored: Any, label_smoothing: float, reduction: str
) -> Rule:
    """From logits (N, C). dz = (softmax(z) - q) times g, q the smoothed targets."""
    rows, classes = np.arange(len(z)), z.shape[1]
    p = z - largest(z)
    loss = p[rows, targets] * (label_smoothing - 1)
    if label_smoothing:
        loss -= p.sum(axis=1) * (label_smoothing / classes)
    np.exp(p, out=p)
    total = p @ np.ones(classes, p.dtype)
    loss += np.log(total)
    count = len(z) if reduction == "mean" else 1
    if ignored is not None:
        loss[ignored] = 0
        count -= len(ignored) if reduction == "mean" else 0

    def vjp(g: Array) -> tuple[Array]:
        d = p / total[:, None]
        d[rows, targets] += label_smoothing - 1
        if label_smoothing:
            d -= label_smoothing / classes
        d *= g[:, None] if reduction == "none" else g / max(count, 1)
        if ignored is not None:
            d[ignored] = 0
        return (d,)

    if reduction == "none":
        return loss, vjp
    return loss.sum() / count if count else np.full((), np.nan, z.dtype), vjp


def cross_entropy(
    logits: Any, targets: Any, label_smoothing: float = 0.0, reduction: str = "mean",
    ignore_index: int = -100,
) -> Tensor:  # fmt: skip
    """Minus the log-probability of the target class under the softmax of `logits`, in nats.

    `logits` (N, C), (C,) or (N, C, ...); `targets` integers of shape (N,), () or (N, ...), 0 to
    C - 1. Those equal to `ignore_index` do not count. With `label_smoothing` s the target is 1 - s
    of its class and s of all classes alike. `reduction`: "mean" over the targets that count, "sum"
    or "none".
    """
    check_reduction("cross_entropy", reduction)
    if not isinstance(label_smoothing, (float, int, np.floating)) or not 0 <= label_smoothing <= 1:
        got = repr(label_smoothing)
        raise ValueError(f"cross_entropy: expected label_smoothing in [0, 1], got {got}")
    dtype = getattr(logits, "dtype", None)
    if dtype is None or dtype.kind in "iub":
        got = dtype or type(logits).__name__
        raise TypeError(f"cross_entropy: expected float logits, a Tensor or an array, got {got}")
    ignore_index = whole("cross_entropy", "ignore_index", ignore_index, low=-(2**63))
    flat, ignored = check_targets(logits.shape, targets, ignore_index)
    z = logits if logits.ndim <= 2 else np.moveaxis(logits, 1, -1)
    z = z if z.ndim == 2 else z.reshape(-1, z.shape[-1])
    loss = _cross_entropy(z, flat, ignored, label_smoothing, reduction)
    out: Tensor = loss.reshape(np.shape(targets)) if reduction == "none" else loss
    return out


def mse_loss(prediction: Any, target: Any, reduction: str = "mean") -> Tensor:
    """The squared difference of two arrays of one shape: "mean" of all elements, "sum", "none"."""
    check_reduction("mse_loss", reduction)
    if np.shape(prediction) != np.shape(target):
        raise ValueError(f"mse_loss: expected equal shapes, got {np.shape(prediction)} and "
                         f"{np.shape(target)}")  # fmt: skip
    squares: Tensor = square(subtract(prediction, target))
    out: Tensor = squares if reduction == "none" else getattr(np, reduction)(squares)
    return out
