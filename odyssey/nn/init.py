"""Initial weights: fill a Parameter in place, under PyTorch's names; each takes `rng`."""

from .modules.initial import (
    constant_,
    gain_of,
    kaiming_normal_,
    kaiming_uniform_,
    normal_,
    uniform_,
    xavier_normal_,
    xavier_uniform_,
)

__all__ = [
    "constant_",
    "gain_of",
    "kaiming_normal_",
    "kaiming_uniform_",
    "normal_",
    "uniform_",
    "xavier_normal_",
    "xavier_uniform_",
]
