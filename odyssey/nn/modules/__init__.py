"""Parameters, the module tree, initial weights, the basic layers and losses."""

from .containers import Flatten, ModuleList, Sequential
from .functions import embedding, gelu, linear, log_softmax, relu, sigmoid, silu, softmax, tanh
from .layers import GELU, Embedding, Linear, ReLU, Sigmoid, SiLU, Tanh
from .losses import cross_entropy, mse_loss
from .module import Parameter
from .state import Module

__all__ = [
    "GELU",
    "Embedding",
    "Flatten",
    "Linear",
    "Module",
    "ModuleList",
    "Parameter",
    "ReLU",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Tanh",
    "cross_entropy",
    "embedding",
    "gelu",
    "linear",
    "log_softmax",
    "mse_loss",
    "relu",
    "sigmoid",
    "silu",
    "softmax",
    "tanh",
]
