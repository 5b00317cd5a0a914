"""Gradient descent with momentum, and what every optimizer is built on."""

from .bucket import BLOCK, SMALL, Bucket, Dense, fill_buckets, working_dtype
from .optimizer import Optimizer
from .sgd import SGD, decayed, sgd_step
from .threads import WORTH_SHARING, processors, share

__all__ = [
    "BLOCK",
    "SMALL",
    "WORTH_SHARING",
    "SGD",
    "Bucket",
    "Dense",
    "Optimizer",
    "decayed",
    "fill_buckets",
    "processors",
    "sgd_step",
    "share",
    "working_dtype",
]
