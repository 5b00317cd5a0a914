"""The layers as functions, without parameters of their own; PyTorch calls it F."""

from .attention import scaled_dot_product_attention
from .convolution import avg_pool2d, conv2d, max_pool2d
from .dropout import dropout
from .modules import (
    cross_entropy,
    embedding,
    gelu,
    linear,
    log_softmax,
    mse_loss,
    relu,
    sigmoid,
    silu,
    softmax,
    tanh,
)
from .normalization import batch_norm, group_norm, layer_norm, rms_norm

__all__ = [
    "avg_pool2d",
    "batch_norm",
    "conv2d",
    "cross_entropy",
    "dropout",
    "embedding",
    "gelu",
    "group_norm",
    "layer_norm",
    "linear",
    "log_softmax",
    "max_pool2d",
    "mse_loss",
    "relu",
    "rms_norm",
    "scaled_dot_product_attention",
    "sigmoid",
    "silu",
    "softmax",
    "tanh",
]
