"""Layers of neural networks, with the names, shapes and defaults of PyTorch."""

from . import functional, init
from .attention import MultiHeadAttention, TransformerBlock
from .convolution import (
    AvgPool2D,
    Conv2D,
    DepthwiseSeparableConv2D,
    GlobalAvgPool2D,
    MaxPool2D,
)
from .dropout import Dropout, Dropout2D
from .modules import (
    GELU,
    Embedding,
    Flatten,
    Linear,
    Module,
    ModuleList,
    Parameter,
    ReLU,
    Sequential,
    Sigmoid,
    SiLU,
    Tanh,
)
from .normalization import BatchNorm, GroupNorm, InstanceNorm, LayerNorm, RMSNorm

__all__ = [
    "GELU",
    "AvgPool2D",
    "BatchNorm",
    "Conv2D",
    "DepthwiseSeparableConv2D",
    "Dropout",
    "Dropout2D",
    "Embedding",
    "Flatten",
    "GlobalAvgPool2D",
    "GroupNorm",
    "InstanceNorm",
    "LayerNorm",
    "Linear",
    "MaxPool2D",
    "Module",
    "ModuleList",
    "MultiHeadAttention",
    "Parameter",
    "RMSNorm",
    "ReLU",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Tanh",
    "TransformerBlock",
    "functional",
    "init",
]
