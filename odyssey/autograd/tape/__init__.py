"""The tape: Tensors that record what is done to them, and the sweep that differentiates it."""

from .anomaly import detect_anomaly
from .entry import no_grad
from .listing import Row, Tape
from .memory import keep_freed_memory
from .primitive import primitive
from .sweep import unbroadcast
from .tensor import NUMPY_RULES, PRIMITIVES, Tensor

__all__ = [
    "NUMPY_RULES",
    "PRIMITIVES",
    "Row",
    "Tape",
    "Tensor",
    "detect_anomaly",
    "no_grad",
    "primitive",
    "unbroadcast",
]

keep_freed_memory()
