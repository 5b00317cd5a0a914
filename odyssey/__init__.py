"""ML Odyssey: how neural networks are trained, as a package whose source is its textbook."""

from typing import TYPE_CHECKING, Any

from . import autograd
from .autograd import Tensor, detect_anomaly, gradcheck, no_grad
from .autograd import primitives as ops

if TYPE_CHECKING:
    from . import amp, data, nn, optim, train

__version__ = "0.1.0"
__all__ = [
    "Tensor", "amp", "autograd", "data", "detect_anomaly", "gradcheck", "nn", "no_grad", "ops", "optim",
    "train",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    # The other parts are loaded at their first use, so that `import odyssey` takes no longer than the tape does.
    if name in ("amp", "data", "nn", "optim", "train"):
        from importlib import import_module

        return import_module(f".{name}", __name__)
    raise AttributeError(f"module 'odyssey' has no attribute {name!r}")
