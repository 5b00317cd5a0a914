"""Adam and its ancestors: rates that adapt to each parameter."""

from .adam import Adam, adam_direction, adam_step
from .adaptive import Adagrad, RMSProp, add_squares
from .half import Half, round_at_random

__all__ = [
    "Adagrad",
    "Adam",
    "Half",
    "RMSProp",
    "adam_direction",
    "adam_step",
    "add_squares",
    "round_at_random",
]
