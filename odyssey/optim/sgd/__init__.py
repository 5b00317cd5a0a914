"""Gradient descent with momentum, and what every optimizer is built on."""

from .bucket import BLOCK, SMALL, Bucket, Dense, fill_buckets, working_dtype
from .optimizer import Optimizer
from .sgd import SGD, decayed, sgd_step

__all__ = [
    "BLOCK",
    "SMALL",
    "SGD",
    "Bucket",
    "Dense",
    "Optimizer",
    "decayed",
    "fill_buckets",
    "sgd_step",
    "working_dtype",
]
