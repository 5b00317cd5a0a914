"""Learning-rate schedules: the rate as a function of the number of steps, or of a metric."""

from .decay import (
    CosineAnnealingLR,
    ExponentialLR,
    LambdaLR,
    LinearWarmup,
    MultiStepLR,
    StepLR,
)
from .one_cycle import OneCycleLR
from .plateau import ReduceOnPlateau
from .scheduler import Scheduler
from .sequential import SequentialLR

__all__ = [
    "CosineAnnealingLR",
    "ExponentialLR",
    "LambdaLR",
    "LinearWarmup",
    "MultiStepLR",
    "OneCycleLR",
    "ReduceOnPlateau",
    "Scheduler",
    "SequentialLR",
    "StepLR",
]
