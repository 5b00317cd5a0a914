"""Convolutions with weights of their own."""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np

from ...autograd import Tensor
from ..modules import Module, Parameter
from ..modules.initial import fans, generator, kaiming_uniform_, uniform_
from ..modules.layers import whole
from .geometry import check_images, pair
from .rules import conv2d


class Conv2D(Module):
    """`conv2d` with `weight` (out, in/groups, kH, kW) and `bias` (out,) of its own.

    Both start uniform between ±1/sqrt(in/groups · kH · kW), as in PyTorch.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Any, stride: Any = 1,
        padding: Any = 0, dilation: Any = 1, groups: int = 1, bias: bool = True, rng: Any = None,
    ) -> None:  # fmt: skip
        self.in_channels = whole("Conv2D", "in_channels", in_channels)
        self.out_channels = whole("Conv2D", "out_channels", out_channels)
        self.groups = whole("Conv2D", "groups", groups)
        if self.in_channels % self.groups or self.out_channels % self.groups:
            raise ValueError(f"Conv2D: groups={groups} must divide both the {in_channels} input "
                             f"and the {out_channels} output channels")  # fmt: skip
        self.kernel_size = pair("Conv2D", "kernel_size", kernel_size)
        self.stride = pair("Conv2D", "stride", stride)
        self.padding = pair("Conv2D", "padding", padding, 0)
        self.dilation = pair("Conv2D", "dilation", dilation)
        rng, shape = generator(rng, "Conv2D"), (self.out_channels, self.in_channels // self.groups)
        empty = Parameter(np.empty((*shape, *self.kernel_size), np.float32))
        self.weight = kaiming_uniform_(empty, sqrt(5), rng=rng)
        bound, self.bias = 1 / sqrt(fans(self.weight.shape)[0]), None
        if bias:
            self.bias = uniform_(
                Parameter(np.empty(self.out_channels, np.float32)), -bound, bound, rng
            )

    def forward(self, x: Any) -> Tensor:
        """(N, in_channels, H, W) → (N, out_channels, H', W')."""
        check_images(f"Conv2D({self.extra_repr()})", x, self.in_channels)
        return conv2d(
            x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups
        )

    def extra_repr(self) -> str:
        defaults = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), "groups": 1}
        other = [f"{k}={getattr(self, k)}" for k, v in defaults.items() if getattr(self, k) != v]
        other += [] if self.bias is not None else ["bias=False"]
        head = [self.in_channels, self.out_channels, f"kernel_size={self.kernel_size}"]
        return ", ".join(map(str, [*head, *other]))


class DepthwiseSeparableConv2D(Module):
    """A kernel for each channel, then a 1 × 1 convolution that mixes the channels (Chollet 2017).

    `depthwise` and `pointwise` are both `Conv2D`. k²·C + C·C' weights instead of k²·C·C'.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Any, stride: Any = 1,
        padding: Any = 0, dilation: Any = 1, bias: bool = True, rng: Any = None,
    ) -> None:  # fmt: skip
        rng = generator(rng, "DepthwiseSeparableConv2D")
        self.depthwise = Conv2D(in_channels, in_channels, kernel_size, stride, padding, dilation,
                                groups=in_channels, bias=bias, rng=rng)  # fmt: skip
        self.pointwise = Conv2D(in_channels, out_channels, 1, bias=bias, rng=rng)

    def forward(self, x: Any) -> Tensor:
        """(N, in_channels, H, W) → (N, out_channels, H', W')."""
        return self.pointwise(self.depthwise(x))  # type: ignore[no-any-return]
