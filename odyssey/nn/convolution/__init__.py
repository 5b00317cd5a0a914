"""Convolution, depthwise-separable convolution, pooling."""

from .layers import Conv2D, DepthwiseSeparableConv2D
from .pooling import AvgPool2D, GlobalAvgPool2D, MaxPool2D, avg_pool2d, max_pool2d
from .rules import conv2d

__all__ = [
    "AvgPool2D",
    "Conv2D",
    "DepthwiseSeparableConv2D",
    "GlobalAvgPool2D",
    "MaxPool2D",
    "avg_pool2d",
    "conv2d",
    "max_pool2d",
]
