"""Picking elements.

The vjp puts each gradient back where its element came from; twice picked, twice added.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..tape import primitive
from ..tape.entry import Array, Rule


@primitive()
def getitem(x: Array, /, index: Any) -> Rule:
    """x[index], with basic, integer-array and bool indexing. The vjp is a scatter-add."""
    shape = x.shape
    # A list may change before the sweep; an array of ours does not.
    parts = tuple(
        np.array(part, np.intp if part == [] else None) if isinstance(part, list) else part
        for part in (index if isinstance(index, tuple) else (index,))
    )
    index = parts if isinstance(index, tuple) else parts[0]
    basic = all(
        part is None or part is Ellipsis or isinstance(part, int | np.integer | slice)
        for part in parts
    )

    def vjp(g: Array) -> tuple[Array]:
        out = np.zeros(shape, g.dtype)
        if basic:  # a view: every element is picked at most once, so assignment is enough
            out[index] = g
        else:
            scatter_add(out, index, g)
        return (out,)

    return x[index], vjp


def scatter_add(out: Array, index: Any, g: Array) -> None:
    """``out[index] += g`` that counts an element as often as it was picked, for a contiguous `out`.

    ``out[index] += g`` itself would write one of the duplicates only. NumPy's ``add.at`` is right,
    and several times faster on flat positions than on many-dimensional ones.
    """
    positions = np.arange(out.size, dtype=np.intp).reshape(out.shape)[index]
    np.add.at(out.reshape(-1), positions.ravel(), g.ravel())


@primitive(np.take)
def take(x: Array, /, indices: Any, axis: int | None = None) -> Rule:
    """The elements at `indices` along `axis`, of the flattened array if None. As x[index]."""
    shape = x.shape
    chosen = np.array(indices) if np.size(indices) else np.zeros(np.shape(indices), np.intp)
    if chosen.dtype.kind not in "iu":
        raise TypeError(f"indices must be integers, got {chosen.dtype}")
    chosen = chosen.astype(np.intp, copy=False)  # a browser's has 32 bits, and refuses int64

    def vjp(g: Array) -> tuple[Array]:
        out = np.zeros(shape, g.dtype)
        if axis is None:
            scatter_add(out.reshape(-1), chosen, g)
        else:
            scatter_add(out, (slice(None),) * (axis % len(shape)) + (chosen,), g)
        return (out,)

    return np.take(x, chosen, axis=axis), vjp
