"""Optimizers, with PyTorch's formulas, defaults and argument names."""

from .adam import Adagrad, Adam, RMSProp
from .adamw import AdamW
from .sgd import SGD, Optimizer

__all__ = [
    "Adagrad",
    "Adam",
    "AdamW",
    "Optimizer",
    "RMSProp",
    "SGD",
]
