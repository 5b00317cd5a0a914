"""ML Odyssey: how neural networks are trained, as a package whose source is its textbook."""

from . import autograd
from .autograd import Tensor, detect_anomaly, gradcheck, no_grad
from .autograd import primitives as ops

__version__ = "0.1.0"
__all__ = ["Tensor", "autograd", "detect_anomaly", "gradcheck", "no_grad", "ops"]
