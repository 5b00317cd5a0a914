"""Normalisation: one formula, over different axes."""

from __future__ import annotations

from math import prod
from numbers import Real
from typing import Any, NamedTuple

import numpy as np

from ..autograd import Tensor, primitive
from ..autograd.tape.entry import Array, Rule
from .modules import Module, Parameter
from .modules.layers import whole


class Standard(NamedTuple):
    """Rows of mean 0 and variance 1, and what they were made with: one number for each row."""

    out: Array
    mean: Array
    variance: Array
    scale: Array


def standardize(rows: Array, eps: float, centered: bool = True) -> Standard:
    """``(rows - mean) / sqrt(variance + eps)`` along each row of (R, n), with the biased variance.

    Not `centered`: the mean counts as 0. Sums along rows are products with a vector: several times
    as fast as `sum`.
    """
    n = rows.shape[1]
    share = np.full(n, 1 / n, rows.dtype)
    if centered:
        mean = rows @ share
        out = rows - mean[:, None]
        # The mean was rounded, and not small against the deviations if those are tiny.
        rest = out @ share
        out -= rest[:, None]
        mean += rest
    else:
        mean, out = np.zeros(len(rows), rows.dtype), rows.copy()
    variance = np.vecdot(out, out) / n
    scale = 1 / np.sqrt(variance + eps)
    out *= scale[:, None]
    return Standard(out, mean, variance, scale)


def standardize_vjp(g: Array, out: Array, scale: Array, centered: bool = True) -> Array:
    """The gradient of the rows before: ``scale * (g - mean(g) - out * mean(g * out))``.

    A projection: what would change the mean or the length of a row changes nothing in the result.
    Not `centered`: without the mean.
    """
    n = g.shape[1]
    dx: Array = out * (np.vecdot(g, out) / -n)[:, None]
    dx += g
    if centered:
        dx -= (g @ np.full(n, 1 / n, g.dtype))[:, None]
    dx *= scale[:, None]
    return dx


@primitive()
def standardized(rows: Array, /, done: Standard) -> Rule:
    """``done.out``, where `done` is ``standardize(rows, eps)``, as a result on the tape."""
    return done.out, lambda g: (standardize_vjp(g, done.out, done.scale),)


# ---- what all of them accept ----


def number(owner: str, name: str, value: Any, low: float, high: float, wanted: str) -> float:
    """`value` as a Python float, if it is a real number from `low` to `high`."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{owner}: expected {name} to be {wanted}, got {value!r}; pass a float")
    found = float(value)
    if not low <= found <= high:  # as of NaN
        raise ValueError(f"{owner}: expected {name} to be {wanted}, got {found}; choose another")
    return found


def check_eps(owner: str, eps: Any) -> float:
    """`eps` as a float. Zero, or what is zero in float32, would make a constant row NaN."""
    return number(owner, "eps", eps, 1e-38, 1e300, "a finite number of at least 1e-38")


def check_momentum(owner: str, momentum: Any) -> float:
    """`momentum` as a float: the share of what is new in a running mean."""
    return number(owner, "momentum", momentum, 0, 1, "a number in [0, 1]")


def floats(owner: str, x: Any) -> Tensor:
    """`x` as a Tensor; TypeError unless it is one, or an array, of float32 or float64."""
    if not isinstance(x, Tensor | np.ndarray) or x.dtype not in (np.float32, np.float64):
        got = x.dtype if isinstance(x, Tensor | np.ndarray) else type(x).__name__
        raise TypeError(f"{owner}: expected a Tensor or an array of float32 or float64, got {got}; "
                        f"convert it with astype(np.float32)")  # fmt: skip
    return x if isinstance(x, Tensor) else Tensor(x)


def check_shapes(owner: str, shape: tuple[int, ...], **given: Any) -> None:
    """Raise ValueError unless each of the arrays `given` has this `shape`, or is None."""
    for name, value in given.items():
        got = getattr(value, "shape", f"a {type(value).__name__}")
        if value is not None and got != shape:
            raise ValueError(f"{owner}: expected {name} of shape {shape}, got {got}")


def axes_shape(owner: str, normalized_shape: Any) -> tuple[int, ...]:
    """The sizes of the axes to normalise, as a tuple: one number, or one for each axis."""
    several = isinstance(normalized_shape, tuple | list)
    shape = tuple(normalized_shape) if several else (normalized_shape,)
    if not shape:
        raise ValueError(f"{owner}: expected normalized_shape to name at least one axis, got ()")
    return tuple(whole(owner, "normalized_shape", n) for n in shape)


def check_last_axes(owner: str, x: Any, shape: tuple[int, ...]) -> Tensor:
    """`x` as a Tensor; ValueError unless its last axes have this `shape`."""
    found = floats(owner, x)
    if found.shape[max(0, found.ndim - len(shape)) :] != shape:
        wanted = ", ".join(map(str, shape))
        raise ValueError(f"{owner}: expected input of shape (..., {wanted}), got {found.shape}")
    return found


# ---- over features ----


@primitive()
def affine_layer_norm(x: Array, weight: Array, bias: Array, /, eps: float) -> Rule:
    """Layer norm over as many last axes as `weight` has, scaled and shifted."""
    rows = x.reshape(-1, weight.size)
    out, _, _, scale = standardize(rows, eps)
    w = weight.reshape(-1)

    def vjp(g: Array) -> tuple[Array, Array, Array]:
        g = g.reshape(rows.shape)
        ones = np.ones(len(g), g.dtype)
        dw, db = ones @ (g * out), ones @ g
        dx = standardize_vjp(g * w, out, scale)
        return dx.reshape(x.shape), dw.reshape(weight.shape), db.reshape(weight.shape)

    result = out * w
    result += bias.reshape(-1)
    return result.reshape(x.shape), vjp


@primitive()
def scaled_rms_norm(x: Array, weight: Array, /, eps: float) -> Rule:
    """x over the root of its mean square, along as many last axes as `weight` has, scaled."""
    rows = x.reshape(-1, weight.size)
    out, _, _, scale = standardize(rows, eps, centered=False)
    w = weight.reshape(-1)

    def vjp(g: Array) -> tuple[Array, Array]:
        g = g.reshape(rows.shape)
        dw = np.ones(len(g), g.dtype) @ (g * out)
        dx = standardize_vjp(g * w, out, scale, centered=False)
        return dx.reshape(x.shape), dw.reshape(weight.shape)

    return (out * w).reshape(x.shape), vjp


def layer_norm(
    x: Any, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Tensor:
    """Each sample with mean 0 and variance 1 over its last axes (Ba et al. 2016, eq. 4).

    x has the shape ``(..., *normalized_shape)``; `weight`, a factor, and `bias`, a shift, have
    `normalized_shape`. The variance is the biased one; eps stands inside the root.
    """
    eps, shape = check_eps("layer_norm", eps), axes_shape("layer_norm", normalized_shape)
    x = check_last_axes("layer_norm", x, shape)
    check_shapes("layer_norm", shape, weight=weight, bias=bias)
    weight = np.ones(shape, x.dtype) if weight is None else weight
    bias = np.zeros(shape, x.dtype) if bias is None else bias
    return affine_layer_norm(x, weight, bias, eps)  # type: ignore[no-any-return]


def rms_norm(x: Any, normalized_shape: Any, weight: Any = None, eps: float = 1e-5) -> Tensor:
    """``x / sqrt(mean(x²) + eps)`` over the last axes, times `weight`; arguments as `layer_norm`.

    Zhang & Sennrich 2019, eq. 4, which has no eps.
    """
    eps, shape = check_eps("rms_norm", eps), axes_shape("rms_norm", normalized_shape)
    x = check_last_axes("rms_norm", x, shape)
    check_shapes("rms_norm", shape, weight=weight)
    weight = np.ones(shape, x.dtype) if weight is None else weight
    return scaled_rms_norm(x, weight, eps)  # type: ignore[no-any-return]


# ---- over groups of channels, and over the batch ----


def check_channels(owner: str, x: Any, channels: int | None = None) -> Tensor:
    """`x` as a Tensor; ValueError unless it is (N, C, ...), where C is `channels` if given."""
    found = floats(owner, x)
    if found.ndim < 2 or channels not in (None, found.shape[1]):
        raise ValueError(f"{owner}: expected input of shape (N, {channels or 'C'}, ...), got "
                         f"{found.shape}")  # fmt: skip
    return found


def per_channel(x: Any, weight: Any, bias: Any) -> Any:
    """x (N, C, ...) times `weight` plus `bias`, both (C,), or None."""
    shape = (1, -1) + (1,) * (x.ndim - 2)
    x = x if weight is None else x * weight.reshape(shape)
    return x if bias is None else x + bias.reshape(shape)


def group_norm(
    x: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Tensor:
    """Each group of channels of each sample with mean 0 and variance 1: x (N, C, ...).

    Then times `weight` plus `bias`, (C,) each (Wu & He 2018). `num_groups` C is instance norm.
    """
    groups, eps = whole("group_norm", "num_groups", num_groups), check_eps("group_norm", eps)
    x = check_channels("group_norm", x)
    n = prod(x.shape[1:]) // groups
    if x.shape[1] % groups or n == 0:
        raise ValueError(f"group_norm: expected x (N, C, ...) with C a multiple of {groups} and no "
                         f"empty axis after N, got {x.shape}")  # fmt: skip
    check_shapes("group_norm", x.shape[1:2], weight=weight, bias=bias)
    rows = x.reshape(x.shape[0] * groups, n)
    out = standardized(rows, standardize(rows.data, eps))
    return per_channel(out.reshape(x.shape), weight, bias)  # type: ignore[no-any-return]


def batch_norm(
    x: Any, running_mean: Any = None, running_var: Any = None, weight: Any = None, bias: Any = None,
    training: bool = False, momentum: float = 0.1, eps: float = 1e-5,
) -> Tensor:  # fmt: skip
    """Each channel of x (N, C, ...) with mean 0 and variance 1 (Ioffe & Szegedy 2015, alg. 1).

    In `training` the statistics are those of the batch, and the running ones, arrays (C,), move
    towards them in place: ``r += momentum * (batch - r)``, with the unbiased variance. Otherwise
    the running ones are used. Then times `weight` plus `bias`, (C,) each.
    """
    momentum = check_momentum("batch_norm", momentum)
    x, eps = check_channels("batch_norm", x), check_eps("batch_norm", eps)
    c, n = x.shape[1], x.shape[0] * prod(x.shape[2:])
    check_shapes("batch_norm", (c,), running_mean=running_mean, running_var=running_var,
                 weight=weight, bias=bias)  # fmt: skip
    if (running_mean is None) != (running_var is None) or (running_mean is None and not training):
        raise ValueError("batch_norm: expected running_mean and running_var, both, or in training "
                         "neither; one is missing")  # fmt: skip
    if any(isinstance(r, Tensor) or r.dtype.kind != "f" for r in (running_mean, running_var)
           if r is not None):  # fmt: skip
        raise TypeError("batch_norm: expected running_mean and running_var to be arrays of floats, "
                        "since training changes them in place; of a Tensor pass .data")
    if not training:
        apart = per_channel(x, None, -running_mean.astype(x.dtype))
        scale = 1 / np.sqrt(running_var.astype(x.dtype) + eps)
        same: Tensor = per_channel(apart, scale if weight is None else weight * scale, bias)
        return same
    if n < 2:
        raise ValueError(f"batch_norm: training needs more than one value in each channel, got "
                         f"x of shape {x.shape}; call eval(), or use a larger batch")  # fmt: skip
    rows = x.swapaxes(0, 1).reshape(c, n)
    done = standardize(rows.data, eps)
    if running_mean is not None:
        running_mean += momentum * (done.mean - running_mean)
        running_var += momentum * (done.variance * (n / (n - 1)) - running_var)
    out = standardized(rows, done).reshape(c, x.shape[0], *x.shape[2:])
    return per_channel(out.swapaxes(0, 1), weight, bias)  # type: ignore[no-any-return]


# ---- layers ----


def ones_and_zeros(shape: Any, affine: bool = True) -> tuple[Parameter | None, Parameter | None]:
    """A scale of ones and a shift of zeros, as parameters; None for both unless `affine`."""
    if not affine:
        return None, None
    return Parameter(np.ones(shape, np.float32)), Parameter(np.zeros(shape, np.float32))


class LayerNorm(Module):
    """`layer_norm` with `weight` (ones) and `bias` (zeros) of `normalized_shape`."""

    def __init__(self, normalized_shape: int | tuple[int, ...], eps: float = 1e-5) -> None:
        self.normalized_shape = axes_shape("LayerNorm", normalized_shape)
        self.eps = check_eps("LayerNorm", eps)
        self.weight, self.bias = ones_and_zeros(self.normalized_shape)

    def forward(self, x: Any) -> Tensor:
        """(..., *normalized_shape) → the same shape."""
        x = check_last_axes(f"LayerNorm({self.extra_repr()})", x, self.normalized_shape)
        return layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}"


class RMSNorm(Module):
    """`rms_norm` with `weight` (ones) of `normalized_shape`."""

    def __init__(self, normalized_shape: int | tuple[int, ...], eps: float = 1e-5) -> None:
        self.normalized_shape = axes_shape("RMSNorm", normalized_shape)
        self.eps = check_eps("RMSNorm", eps)
        self.weight, _ = ones_and_zeros(self.normalized_shape)

    def forward(self, x: Any) -> Tensor:
        """(..., *normalized_shape) → the same shape."""
        x = check_last_axes(f"RMSNorm({self.extra_repr()})", x, self.normalized_shape)
        return rms_norm(x, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}"


class GroupNorm(Module):
    """`group_norm`; with `affine`, a `weight` (ones) and a `bias` (zeros) for each channel."""

    def __init__(
        self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True
    ) -> None:
        self.num_groups = whole("GroupNorm", "num_groups", num_groups)
        self.num_channels = whole("GroupNorm", "num_channels", num_channels)
        if self.num_channels % self.num_groups:
            raise ValueError(f"GroupNorm: {num_groups} groups do not divide {num_channels} "
                             f"channels; choose a divisor")  # fmt: skip
        self.eps, self.affine = check_eps(type(self).__name__, eps), bool(affine)
        self.weight, self.bias = ones_and_zeros(num_channels, affine)

    def forward(self, x: Any) -> Tensor:
        """(N, num_channels, ...) → the same shape."""
        x = check_channels(f"{type(self).__name__}({self.extra_repr()})", x, self.num_channels)
        return group_norm(x, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}"


class InstanceNorm(GroupNorm):
    """Each channel of each image by itself (Ulyanov et al. 2016): `group_norm` with C groups."""

    def __init__(self, num_features: int, eps: float = 1e-5, affine: bool = False) -> None:
        whole("InstanceNorm", "num_features", num_features)
        super().__init__(num_features, num_features, eps, affine)

    def forward(self, x: Any) -> Tensor:
        """(N, num_features, ...) → the same shape."""
        owner = f"InstanceNorm({self.extra_repr()})"
        x = check_channels(owner, x, self.num_channels)
        if prod(x.shape[2:]) < 2:
            raise ValueError(f"{owner}: expected images of more than one pixel, got {x.shape}; one "
                             f"pixel minus its own mean is 0")  # fmt: skip
        return super().forward(x)

    def extra_repr(self) -> str:
        return f"{self.num_channels}, eps={self.eps}, affine={self.affine}"


class BatchNorm(Module):
    """`batch_norm` over (N, C, ...): batch statistics in training, running ones in eval.

    With `affine`, a `weight` (ones) and a `bias` (zeros), (C,) each. With `track_running_stats`,
    buffers `running_mean` (zeros), `running_var` (ones) and `num_batches_tracked`; without, batch
    statistics in eval too. `momentum` None: the running ones are means over all batches.
    """

    buffers: tuple[str, ...] = ("running_mean", "running_var", "num_batches_tracked")

    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1,
        affine: bool = True, track_running_stats: bool = True,
    ) -> None:  # fmt: skip
        self.num_features = whole("BatchNorm", "num_features", num_features)
        self.eps = check_eps("BatchNorm", eps)
        self.momentum = None if momentum is None else check_momentum("BatchNorm", momentum)
        self.affine, self.track_running_stats = bool(affine), bool(track_running_stats)
        self.weight, self.bias = ones_and_zeros(num_features, affine)
        self.running_mean = self.running_var = None
        if track_running_stats:
            self.running_mean = np.zeros(num_features, np.float32)
            self.running_var = np.ones(num_features, np.float32)
            self.num_batches_tracked = np.zeros((), np.int64)
        else:
            self.buffers = ()

    def forward(self, x: Any) -> Tensor:
        """(N, num_features, ...) → the same shape."""
        x = check_channels(f"BatchNorm({self.extra_repr()})", x, self.num_features)
        tracked, momentum = self.training and self.track_running_stats, self.momentum
        if momentum is None:
            momentum = 1 / (int(self.num_batches_tracked) + 1) if tracked else 0.0
        of_batch = self.training or not self.track_running_stats
        out = batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, of_batch,
                         momentum, self.eps)  # fmt: skip
        if tracked:
            self.num_batches_tracked += 1
        return out

    def extra_repr(self) -> str:
        switches = f"affine={self.affine}, track_running_stats={self.track_running_stats}"
        return f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, {switches}"
