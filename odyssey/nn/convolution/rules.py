"""Convolution as a product of matrices, and depthwise as a sum of shifts, with their gradients."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...autograd import Tensor, primitive
from ...autograd.tape.entry import Array, Rule
from ..modules.layers import whole
from .geometry import Pair, check_images, columns, cropped, images, output_size, padded, pair

BLOCK = 65536  # numbers at a time, so that what is computed in between stays in the cache
PIECE = 1024  # columns at a time of a product that sums over very many


def products(
    x: Array, weight: Array, stride: Pair, padding: Pair, dilation: Pair, groups: int
) -> tuple[Array, Any, Any]:
    """Convolution as a product of matrices: the result (N, O, H', W'), and its two gradients.

    out = W columns(x); dW = g columns(x)ᵀ; dx = images(Wᵀ g): one product for each group.
    In memory the channels come first, so that all images of a channel stand in one row.
    """
    (o, *_), kernel = weight.shape, (weight.shape[2], weight.shape[3])
    x = padded(x.swapaxes(0, 1), padding)
    out = output_size("conv2d", x.shape, kernel, stride, (0, 0), dilation)
    seen = columns(x, kernel, stride, dilation, out, groups)
    w, shape = weight.reshape(groups, o // groups, -1), x.shape

    def rows(g: Array) -> Array:
        return g.swapaxes(0, 1).reshape(groups, o // groups, seen.shape[-1])

    def for_x(g: Array) -> Array:
        back = images(w.swapaxes(-1, -2) @ rows(g), shape, kernel, stride, dilation, out)
        return cropped(back, padding).swapaxes(0, 1)

    def for_weight(g: Array) -> Array:
        total, g = np.zeros(w.shape, np.result_type(g, seen)), rows(g)
        for k in range(0, seen.shape[-1], PIECE):
            part = ..., slice(k, k + PIECE)
            total += g[part] @ seen[part].swapaxes(-1, -2)
        return total.reshape(weight.shape)

    return (w @ seen).reshape(o, shape[1], *out).swapaxes(0, 1), for_x, for_weight


def gather_row(row: Array, values: list[float], steps: list[int], out: Array) -> None:
    """``out[t] = Σ values[i] * row[t + steps[i]]``, block by block: all stays in the cache."""
    part = np.empty(min(BLOCK, out.size), out.dtype)
    for start in range(0, out.size, BLOCK):
        total = out[start : start + BLOCK]
        spare = part[: total.size]
        np.multiply(row[start + steps[0] :][: total.size], values[0], out=total)
        for value, step in zip(values[1:], steps[1:], strict=True):
            np.multiply(row[start + step :][: total.size], value, out=spare)
            total += spare


def slopes_row(g: Array, row: Array, steps: list[int]) -> list[float]:
    """``Σ g[t] * row[t + step]`` for each of the `steps`: the gradients of `values`."""
    slopes = [0.0] * len(steps)
    for start in range(0, g.size, BLOCK):
        piece = g[start : start + BLOCK]
        for i, step in enumerate(steps):
            slopes[i] += float(np.dot(piece, row[start + step :][: piece.size]))
    return slopes


def shifts(
    x: Array, weight: Array, stride: Pair, padding: Pair, dilation: Pair
) -> tuple[Array, Any]:
    """Depthwise convolution, one kernel for each channel: a sum of shifted images.

    The padded images of a channel stand in one row, so that a shift by (i, j) is a shift of the row
    by i · width + j. What crosses the border of an image is computed too, and left out. The row is
    one for all channels in turn: it stays in the cache.
    """
    (n, c), kernel = x.shape[:2], (weight.shape[2], weight.shape[3])
    size = (x.shape[2] + 2 * padding[0], x.shape[3] + 2 * padding[1])
    out = output_size("conv2d", size, kernel, stride, (0, 0), dilation)
    steps = [int(i) * dilation[0] * size[1] + int(j) * dilation[1] for i, j in np.ndindex(kernel)]
    w, length = weight.reshape(c, -1).tolist(), n * size[0] * size[1] - steps[-1]
    places = ..., slice(0, stride[0] * out[0], stride[0]), slice(0, stride[1] * out[1], stride[1])

    def frames() -> tuple[Array, Array]:
        return np.zeros((n, *size), x.dtype), np.zeros((n, *size), x.dtype)

    (frame, total), result = frames(), np.empty((c, n, *out), x.dtype)
    for k in range(c):
        cropped(frame, padding)[...] = x[:, k]
        gather_row(frame.reshape(-1), w[k], steps, total.reshape(-1)[:length])
        result[k] = total[places]

    def vjp(g: Array) -> tuple[Array, Array]:
        dx, dw, (frame, total) = np.empty((c, n, *x.shape[2:]), x.dtype), [], frames()
        # g where its places stand in a row, and zeros before it, for the flipped kernel
        row = np.zeros(steps[-1] + total.size, g.dtype)
        full, back = row[steps[-1] :].reshape(total.shape), [steps[-1] - s for s in steps[::-1]]
        for k in range(c):
            cropped(frame, padding)[...] = x[:, k]
            full[places] = g[:, k]
            dw.append(slopes_row(full.reshape(-1)[:length], frame.reshape(-1), steps))
            gather_row(row, w[k][::-1], back, total.reshape(-1))
            dx[k] = cropped(total, padding)
        return dx.swapaxes(0, 1), np.array(dw, weight.dtype).reshape(weight.shape)

    return result.swapaxes(0, 1), vjp


def convolve(
    x: Array, weight: Array, stride: Pair, padding: Pair, dilation: Pair, groups: int
) -> Rule:
    """(result, vjp): by `shifts` if each channel has a kernel of its own, else `products`."""
    if x.dtype != weight.dtype:  # the wider one, as for any product
        dtype = np.result_type(x, weight)
        x, weight = x.astype(dtype, copy=False), weight.astype(dtype, copy=False)
    if 1 < groups == x.shape[1] == weight.shape[0]:
        return shifts(x, weight, stride, padding, dilation)
    out, for_x, for_weight = products(x, weight, stride, padding, dilation, groups)
    return out, (for_x, for_weight)


@primitive(product=True)
def plain_conv2d(
    x: Array, weight: Array, /, stride: Pair, padding: Pair, dilation: Pair, groups: int
) -> Rule:
    """The convolution without a bias."""
    return convolve(x, weight, stride, padding, dilation, groups)


@primitive(product=True)
def biased_conv2d(
    x: Array, weight: Array, bias: Array, /, stride: Pair, padding: Pair, dilation: Pair,
    groups: int,
) -> Rule:  # fmt: skip
    """The convolution with a bias for each output channel; dbias sums g over images and places."""
    out, vjp = convolve(x, weight, stride, padding, dilation, groups)
    out += bias[:, None, None]

    def for_bias(g: Array) -> Array:
        rows = g.swapaxes(0, 1).reshape(len(bias), g.size // len(bias))
        return rows @ np.ones(rows.shape[1], g.dtype)

    return out, (*vjp, for_bias) if isinstance(vjp, tuple) else lambda g: (*vjp(g), for_bias(g))


def check_conv2d(x: Any, weight: Any, bias: Any, groups: int) -> None:
    """Raise TypeError or ValueError unless the arrays fit: floats, channels, groups, bias."""
    for name, value in (("weight", weight), ("bias", bias)):
        if not (value is None and name == "bias") and not isinstance(value, Tensor | np.ndarray):
            raise TypeError(f"conv2d: expected {name} to be a Tensor or an array, got "
                            f"{type(value).__name__}")  # fmt: skip
        if value is not None and value.dtype.kind not in "fV":
            raise TypeError(f"conv2d: expected floats as {name}, got {value.dtype}; convert with "
                            f"astype(np.float32)")  # fmt: skip
    if weight.ndim != 4 or 0 in weight.shape:
        raise ValueError(f"conv2d: expected weight (O, C/groups, kH, kW), none of them 0, got "
                         f"{weight.shape}")  # fmt: skip
    check_images("conv2d", x)
    if x.shape[1] != weight.shape[1] * groups:
        needed = weight.shape[1] * groups
        raise ValueError(f"conv2d: a weight of shape {weight.shape} with groups={groups} needs "
                         f"images of {needed} channels, got {x.shape}")  # fmt: skip
    if weight.shape[0] % groups:
        raise ValueError(f"conv2d: groups={groups} does not divide the {weight.shape[0]} output "
                         f"channels of a weight of shape {weight.shape}")  # fmt: skip
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(f"conv2d: expected bias {weight.shape[:1]}, one number for each output "
                         f"channel, got {bias.shape}")  # fmt: skip


def conv2d(
    x: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1,
    groups: int = 1,
) -> Tensor:  # fmt: skip
    """Cross-correlation of images: x (N, C, H, W), weight (O, C/groups, kH, kW) → (N, O, H', W').

    ``out[n, o, y, x] = bias[o] + Σ weight[o, c, i, j] x[n, c, y s + i d - p, x s + j d - p]`` with
    stride s, dilation d, padding p (zeros): numbers, or pairs for height and width. With `groups`
    output channels see only the input channels of their group.
    """
    groups = whole("conv2d", "groups", groups)
    check_conv2d(x, weight, bias, groups)
    steps, border = pair("conv2d", "stride", stride), pair("conv2d", "padding", padding, 0)
    apart, kernel = pair("conv2d", "dilation", dilation), (weight.shape[2], weight.shape[3])
    output_size("conv2d", x.shape, kernel, steps, border, apart)
    options = steps, border, apart, groups
    if bias is None:
        return plain_conv2d(x, weight, *options)  # type: ignore[no-any-return]
    return biased_conv2d(x, weight, bias, *options)  # type: ignore[no-any-return]
