"""Optimizers, with PyTorch's formulas, defaults and argument names."""

from .adam import Adagrad, Adam, RMSProp
from .adamw import AdamW
from .beyond_adam import LAMB, Lion, Muon
from .lars import LARS
from .sgd import SGD, Optimizer

__all__ = [
    "Adagrad",
    "Adam",
    "AdamW",
    "LAMB",
    "LARS",
    "Lion",
    "Muon",
    "Optimizer",
    "RMSProp",
    "SGD",
]
