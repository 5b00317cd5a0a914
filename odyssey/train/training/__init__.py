"""The training loop, what it measures, and checkpoints from which a run goes on bit for bit."""

from .callbacks import EarlyStopping, State
from .checkpoint import load_checkpoint, save_checkpoint
from .contents import CheckpointError
from .history import History
from .loop import fit

__all__ = [
    "CheckpointError",
    "EarlyStopping",
    "History",
    "State",
    "fit",
    "load_checkpoint",
    "save_checkpoint",
]
