"""Pooling: one number for each window of an image."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...autograd import Tensor, primitive
from ...autograd.tape.entry import Array, Rule
from ..modules import Module
from .geometry import Pair, check_images, cropped, offsets, output_size, padded, pair

BLOCK = 131072  # numbers at a time, so that what is computed in between stays in the cache


def largest(x: Array, windows: list[Any], out: Array) -> Array:
    """The largest of the parts ``x[window]``, element by element; also returned."""
    first, second, *others = windows if len(windows) > 1 else windows * 2
    np.maximum(x[first], x[second], out=out)
    for window in others:
        np.maximum(out, x[window], out=out)
    return out


def winners(
    x: Array, wide: Array, out: Array, rows: list[Any], kernel: Pair, corners: Array
) -> Array:
    """Where in the flat x the element of each window stands that is ``out``; the first if tied.

    First the row: the number of rows before it whose best is smaller. Then the column, likewise.
    """
    flat, i = np.ascontiguousarray(x).reshape(-1), np.zeros(out.shape, np.intp)
    smaller: Any = True
    for row in rows[:-1]:
        smaller = (wide[row] < out) & smaller
        i += smaller
    i *= x.shape[-1]
    i += corners
    place, smaller = i.copy(), True
    for _ in range(kernel[1] - 1):
        smaller = (flat.take(place) < out) & smaller
        i += smaller
        place += 1
    return i


@primitive()
def _max_pool2d(x: Array, /, kernel: Pair, stride: Pair, padding: Pair) -> Rule:
    """The largest element in each window; g goes to the first one that is as large.

    The largest of each row's largest: kW + kH passes over the images instead of kW · kH.
    """
    x = padded(x.swapaxes(0, 1), padding, -np.inf)
    (c, n, h, w), size = x.shape, output_size("max_pool2d", x.shape, kernel, stride, (0, 0), (1, 1))
    rows = [(*index[:2], slice(None)) for index in offsets((kernel[0], 1), stride, (1, 1), size)]
    columns = [(..., index[2]) for index in offsets((1, kernel[1]), stride, (1, 1), size)]
    step = min(c, max(1, BLOCK // max(1, n * h * w)))  # channels at a time

    wide, out = np.empty((c, n, h, size[1]), x.dtype), np.empty((c, n, *size), x.dtype)
    for k in range(0, c, step):
        part = slice(k, k + step)
        largest(largest(x[part], columns, wide[part]), rows, out[part])

    def vjp(g: Array) -> tuple[Array]:
        dx, g = np.zeros(x.shape, x.dtype), g.swapaxes(0, 1)
        corners = np.arange(step * n * h * w).reshape(step, n, h, w)
        corners = corners[..., : size[0] * stride[0] : stride[0], : size[1] * stride[1] : stride[1]]
        corners = np.ascontiguousarray(corners)
        for k in range(0, c, step):
            part = slice(k, k + step)
            i = winners(x[part], wide[part], out[part], rows, kernel, corners[: c - k])
            if kernel[0] <= stride[0] and kernel[1] <= stride[1]:  # no element in two windows
                dx[part].reshape(-1)[i] = g[part]
            else:
                np.add.at(dx[part].reshape(-1), i, g[part])
        return (cropped(dx, padding).swapaxes(0, 1),)

    return out.swapaxes(0, 1), vjp


@primitive()
def _avg_pool2d(x: Array, /, kernel: Pair, stride: Pair, padding: Pair) -> Rule:
    """The mean of each window, zeros of the padding counted."""
    x = padded(x, padding)
    size = output_size("avg_pool2d", x.shape, kernel, stride, (0, 0), (1, 1))
    windows, share = list(offsets(kernel, stride, (1, 1), size)), 1 / (kernel[0] * kernel[1])
    out = x[windows[0]].copy(order="K")
    for index in windows[1:]:
        out += x[index]
    out *= share

    def vjp(g: Array) -> tuple[Array]:
        dx, part = np.zeros_like(x), g * share
        for index in windows:
            dx[index] += part
        return (cropped(dx, padding),)

    return out, vjp


def check_window(
    owner: str, kernel_size: Any, stride: Any, padding: Any
) -> tuple[Pair, Pair, Pair]:
    """The options of a pooling as pairs; `stride` None is the kernel's. ValueError if unfit."""
    kernel = pair(owner, "kernel_size", kernel_size)
    steps = kernel if stride is None else pair(owner, "stride", stride)
    border = pair(owner, "padding", padding, 0)
    if border[0] > kernel[0] // 2 or border[1] > kernel[1] // 2:
        raise ValueError(f"{owner}: padding {border} is more than half of the kernel {kernel}, "
                         f"which PyTorch refuses as well; pad less")  # fmt: skip
    return kernel, steps, border


def max_pool2d(x: Any, kernel_size: Any, stride: Any = None, padding: Any = 0) -> Tensor:
    """The largest element of each window: (N, C, H, W) → (N, C, H', W'). `stride`: the kernel's."""
    options = check_window("max_pool2d", kernel_size, stride, padding)
    check_images("max_pool2d", x)
    output_size("max_pool2d", x.shape, *options, (1, 1))
    return _max_pool2d(x, *options)  # type: ignore[no-any-return]


def avg_pool2d(x: Any, kernel_size: Any, stride: Any = None, padding: Any = 0) -> Tensor:
    """The mean of each window, padding counted as zeros, as in PyTorch. `stride`: the kernel's."""
    options = check_window("avg_pool2d", kernel_size, stride, padding)
    check_images("avg_pool2d", x)
    output_size("avg_pool2d", x.shape, *options, (1, 1))
    return _avg_pool2d(x, *options)  # type: ignore[no-any-return]


class Pool2D(Module):
    """What the two poolings share: a window, its stride and a border."""

    def __init__(self, kernel_size: Any, stride: Any = None, padding: Any = 0) -> None:
        options = check_window(type(self).__name__, kernel_size, stride, padding)
        self.kernel_size, self.stride, self.padding = options

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxPool2D(Pool2D):
    """`max_pool2d` as a module."""

    def forward(self, x: Any) -> Tensor:
        """(N, C, H, W) → (N, C, H', W')."""
        return max_pool2d(x, self.kernel_size, self.stride, self.padding)


class AvgPool2D(Pool2D):
    """`avg_pool2d` as a module."""

    def forward(self, x: Any) -> Tensor:
        """(N, C, H, W) → (N, C, H', W')."""
        return avg_pool2d(x, self.kernel_size, self.stride, self.padding)


class GlobalAvgPool2D(Module):
    """The mean of each channel: (N, C, H, W) → (N, C, 1, 1)."""

    def forward(self, x: Any) -> Tensor:
        """(N, C, H, W) → (N, C, 1, 1)."""
        check_images("GlobalAvgPool2D", x)
        return x.mean(axis=(2, 3), keepdims=True)  # type: ignore[no-any-return]
