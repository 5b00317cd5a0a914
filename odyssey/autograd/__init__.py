"""Reverse-mode automatic differentiation on a tape, in NumPy. Imports nothing else of `odyssey`."""

from . import primitives
from .gradcheck import gradcheck
from .tape import (
    NUMPY_RULES,
    PRIMITIVES,
    Row,
    Tape,
    Tensor,
    detect_anomaly,
    no_grad,
    primitive,
    unbroadcast,
)

__all__ = [
    "NUMPY_RULES",
    "PRIMITIVES",
    "Row",
    "Tape",
    "Tensor",
    "detect_anomaly",
    "gradcheck",
    "no_grad",
    "primitive",
    "primitives",
    "unbroadcast",
]
