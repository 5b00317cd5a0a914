"""Optimizers, with PyTorch's formulas, defaults and argument names."""

from .adam import Adagrad, Adam, RMSProp
from .sgd import SGD, Optimizer

__all__ = ["SGD", "Adagrad", "Adam", "Optimizer", "RMSProp"]
