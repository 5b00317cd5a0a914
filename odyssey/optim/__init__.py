"""Optimizers, with PyTorch's formulas, defaults and argument names."""

from .adam import Adagrad, Adam, RMSProp
from .adamw import AdamW
from .beyond_adam import LAMB, Lion, Muon
from .clipping import clip_grad_norm, clip_grad_value
from .lars import LARS
from .mixed_precision import GradScaler, autocast
from .schedulers import (
    CosineAnnealingLR,
    ExponentialLR,
    LambdaLR,
    LinearWarmup,
    MultiStepLR,
    OneCycleLR,
    ReduceOnPlateau,
    Scheduler,
    SequentialLR,
    StepLR,
)
from .sgd import SGD, Optimizer

__all__ = [
    "Adagrad",
    "Adam",
    "AdamW",
    "CosineAnnealingLR",
    "ExponentialLR",
    "GradScaler",
    "LAMB",
    "LARS",
    "LambdaLR",
    "LinearWarmup",
    "Lion",
    "MultiStepLR",
    "Muon",
    "OneCycleLR",
    "Optimizer",
    "RMSProp",
    "ReduceOnPlateau",
    "SGD",
    "Scheduler",
    "SequentialLR",
    "StepLR",
    "autocast",
    "clip_grad_norm",
    "clip_grad_value",
]
