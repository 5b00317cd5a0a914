"""Operations that move numbers without changing them. Their vjp moves the gradient back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..tape import NUMPY_RULES, Tensor, primitive, unbroadcast
from ..tape.entry import Array, Rule


@primitive(np.reshape)
def reshape(x: Array, /, shape: int | tuple[int, ...]) -> Rule:
    """The same numbers in row-major order under another shape; one length may be -1."""
    before = x.shape
    return np.reshape(x, shape), lambda g: (g.reshape(before),)


@primitive(np.transpose)
def transpose(x: Array, /, axes: tuple[int, ...] | None = None) -> Rule:
    """Axes in the order `axes`, reversed if None. The vjp applies the inverse permutation."""
    order = range(x.ndim)[::-1] if axes is None else [a % x.ndim for a in axes]
    inverse = tuple(int(i) for i in np.argsort(order))
    return np.transpose(x, axes), lambda g: (np.transpose(g, inverse),)


@primitive(np.swapaxes)
def swapaxes(x: Array, /, axis1: int, axis2: int) -> Rule:
    """Axes `axis1` and `axis2` exchanged. Its own inverse."""
    return np.swapaxes(x, axis1, axis2), lambda g: (np.swapaxes(g, axis1, axis2),)


@primitive(np.moveaxis)
def moveaxis(
    x: Array, /, source: int | tuple[int, ...], destination: int | tuple[int, ...]
) -> Rule:
    """Axes `source` moved to the places `destination`. The vjp moves them back."""
    return np.moveaxis(x, source, destination), lambda g: (np.moveaxis(g, destination, source),)


@primitive(np.squeeze)
def squeeze(x: Array, /, axis: int | tuple[int, ...] | None = None) -> Rule:
    """Without its axes of length 1: all of them, or `axis`, which must have length 1."""
    before = x.shape
    return np.squeeze(x, axis), lambda g: (g.reshape(before),)


@primitive(np.expand_dims)
def expand_dims(x: Array, /, axis: int | tuple[int, ...]) -> Rule:
    """With a new axis of length 1 at the place `axis` of the result."""
    before = x.shape
    return np.expand_dims(x, axis), lambda g: (g.reshape(before),)


@primitive(np.broadcast_to)
def broadcast_to(x: Array, /, shape: int | tuple[int, ...]) -> Rule:
    """Repeated to `shape`, not copied: the result is read-only. The vjp sums over the copies."""
    before = x.shape
    return np.broadcast_to(x, shape), lambda g: (unbroadcast(g, before),)


@primitive(np.concatenate, sequence=True)
def concatenate(arrays: list[Array], /, axis: int | None = 0) -> Rule:
    """The arrays joined along `axis`, flattened first if None. Each gets back its slice of g."""
    out = np.concatenate(arrays, axis=axis)
    shapes = [a.shape for a in arrays]
    along = 0 if axis is None else axis
    ends = np.cumsum([a.size if axis is None else a.shape[axis] for a in arrays])[:-1]
    return out, lambda g: tuple(
        part.reshape(shape)
        for part, shape in zip(np.split(g, ends, axis=along), shapes, strict=True)
    )


@primitive(np.stack, sequence=True)
def stack(arrays: list[Array], /, axis: int = 0) -> Rule:
    """The arrays, all of one shape, joined along a new `axis`. Each gets back its slice of g."""
    parts = range(len(arrays))
    return np.stack(arrays, axis=axis), lambda g: tuple(np.moveaxis(g, axis, 0)[i] for i in parts)


def split(x: Any, indices_or_sections: int | Sequence[int], axis: int = 0) -> list[Tensor]:
    """The list of parts of x along `axis`: a number of equal ones, or cut before the given indices.

    Made of slices, so it needs no rule of its own.
    """
    x = x if isinstance(x, Tensor) else Tensor(x)
    before = (slice(None),) * np.lib.array_utils.normalize_axis_index(axis, x.ndim, "split")
    parts = np.split(np.arange(x.shape[axis]), indices_or_sections)
    slices = [slice(int(p[0]), int(p[-1]) + 1) if p.size else slice(0, 0) for p in parts]
    return [x[(*before, part)] for part in slices]


NUMPY_RULES[np.split] = split


@primitive(np.pad)
def pad(x: Array, /, pad_width: Any, mode: str = "constant", constant_values: Any = 0) -> Rule:
    """Surrounded by constants: `pad_width` elements before and after each axis, as in `numpy.pad`.

    The vjp cuts the border off. Only the mode "constant" is differentiated.
    """
    if mode != "constant":
        remedy = "build others with concatenate"
        raise ValueError(f"only mode='constant' is differentiated, got {mode!r}; {remedy}")
    out = np.pad(x, pad_width, mode="constant", constant_values=constant_values)
    widths = np.broadcast_to(np.asarray(pad_width), (x.ndim, 2))
    inside = tuple(
        slice(int(first), int(first) + n) for (first, _), n in zip(widths, x.shape, strict=True)
    )
    return out, lambda g: (g[inside],)


@primitive(np.flip)
def flip(x: Array, /, axis: int | tuple[int, ...] | None = None) -> Rule:
    """In reverse order along `axis`, along all axes if None. Its own inverse."""
    return np.flip(x, axis), lambda g: (np.flip(g, axis),)
