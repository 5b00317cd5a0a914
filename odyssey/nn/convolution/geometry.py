"""Where a kernel stands: sizes, borders, and what each of its places sees."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ...autograd import Tensor
from ...autograd.tape.entry import Array
from ..modules.layers import whole

Pair = tuple[int, int]


def pair(owner: str, name: str, value: Any, low: int = 1) -> Pair:
    """`value` for height and width: two whole numbers of at least `low`, or one for both."""
    if isinstance(value, tuple | list):
        if len(value) != 2:
            raise ValueError(f"{owner}: expected {name} to be a number or a pair, got {value!r}")
        return whole(owner, name, value[0], low), whole(owner, name, value[1], low)
    return (whole(owner, name, value, low),) * 2


def check_images(owner: str, x: Any, channels: Any = "C") -> None:
    """Raise TypeError or ValueError unless `x` is a batch of images, floats (N, channels, H, W)."""
    if not isinstance(x, Tensor | np.ndarray):
        got = type(x).__name__
        raise TypeError(f"{owner}: expected a Tensor or an array, got {got}; wrap it: Tensor(x)")
    if x.dtype.kind not in "fV":
        raise TypeError(f"{owner}: expected floats, got {x.dtype}; convert with astype(np.float32)")
    if x.ndim != 4 or channels not in ("C", x.shape[1]):
        raise ValueError(f"{owner}: expected input of shape (N, {channels}, H, W), got {x.shape}; "
                         f"channels come before rows, and one image alone is x[None]")  # fmt: skip
    if 0 in x.shape[1:]:
        raise ValueError(f"{owner}: the images of shape {x.shape[1:]} are empty; only N may be 0")


def output_length(n: int, kernel: int, stride: int, padding: int, dilation: int) -> int:
    """How many places a kernel finds along an axis of length `n`; 0 or less if it finds none."""
    return (n + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


def output_size(
    owner: str, size: tuple[int, ...], kernel: Pair, stride: Pair, padding: Pair, dilation: Pair
) -> Pair:
    """(height, width) of the result for an image of `size` (..., H, W); ValueError if none."""
    h, w = (
        output_length(n, *options)
        for n, *options in zip(size[-2:], kernel, stride, padding, dilation, strict=True)
    )
    if h < 1 or w < 1:
        raise ValueError(f"{owner}: a kernel of {kernel} with dilation {dilation} does not fit in "
                         f"images of {tuple(size[-2:])} with padding {padding}; pad more, or take "
                         f"a smaller kernel")  # fmt: skip
    return h, w


def offsets(kernel: Pair, stride: Pair, dilation: Pair, out: Pair) -> Iterator[tuple[Any, ...]]:
    """For each element of a kernel the index of what it meets: (..., rows, columns)."""
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            top, left = i * dilation[0], j * dilation[1]
            rows = slice(top, top + stride[0] * (out[0] - 1) + 1, stride[0])
            yield ..., rows, slice(left, left + stride[1] * (out[1] - 1) + 1, stride[1])


def padded(x: Array, padding: Pair, value: float = 0.0) -> Array:
    """`x` (..., H, W) with `value` around it; itself if there is no padding."""
    top, left = padding
    if not (top or left):
        return x
    shape = (*x.shape[:-2], x.shape[-2] + 2 * top, x.shape[-1] + 2 * left)
    out = np.full(shape, value, x.dtype) if value else np.zeros(shape, x.dtype)
    out[..., top : top + x.shape[-2], left : left + x.shape[-1]] = x
    return out


def cropped(x: Array, padding: Pair) -> Array:
    """`x` without the border that `padded` put around it."""
    top, left = padding
    return x[..., top : x.shape[-2] - top, left : x.shape[-1] - left]


def columns(x: Array, kernel: Pair, stride: Pair, dilation: Pair, out: Pair, groups: int) -> Array:
    """What the kernel sees: (C, N, H, W) → (groups, C/groups · kH · kW, N · places).

    Called im2col. A 1 × 1 kernel with stride 1 needs no copy.
    """
    (c, n), size = x.shape[:2], kernel[0] * kernel[1]
    shape = groups, c // groups * size, n * out[0] * out[1]
    if size == 1 and stride == (1, 1):
        return x.reshape(shape)
    seen = np.empty((c, size, n, *out), x.dtype)
    for k, index in enumerate(offsets(kernel, stride, dilation, out)):
        seen[:, k] = x[index]
    return seen.reshape(shape)


def images(
    seen: Array, shape: tuple[int, ...], kernel: Pair, stride: Pair, dilation: Pair, out: Pair
) -> Array:
    """The transpose of `columns`: each place adds back to what it saw. Called col2im."""
    c, n = shape[:2]
    if kernel == (1, 1) and stride == (1, 1):
        return seen.reshape(shape)
    parts, x = seen.reshape(c, kernel[0] * kernel[1], n, *out), np.zeros(shape, seen.dtype)
    for k, index in enumerate(offsets(kernel, stride, dilation, out)):
        x[index] += parts[:, k]
    return x
