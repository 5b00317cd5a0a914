"""Mixed precision under the name that PyTorch gives it: `autocast` and `GradScaler`."""

from .optim.mixed_precision import GradScaler, autocast

__all__ = ["GradScaler", "autocast"]
