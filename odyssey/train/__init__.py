"""Training: the loop, its checkpoints, and what the voyages on real data are made of."""

from .training import (
    CheckpointError,
    EarlyStopping,
    History,
    State,
    fit,
    load_checkpoint,
    save_checkpoint,
)

__all__ = [
    "CheckpointError",
    "EarlyStopping",
    "History",
    "State",
    "fit",
    "load_checkpoint",
    "save_checkpoint",
]
