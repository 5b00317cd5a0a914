"""What the statistics accept: numbers of runs, and a confidence."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...autograd.tape.entry import Array


def checked_runs(owner: str, y: Any, axes: int) -> Array:
    """`y` as float64 with `axes` or more axes, two seeds or more in the last; or the error."""
    found = np.asarray(y)
    if found.dtype.kind not in "iuf":
        raise TypeError(f"{owner}: expected numbers, got dtype {found.dtype}; pass accuracies")
    if found.ndim < axes or 0 in found.shape or found.shape[-1] < 2:
        raise ValueError(f"{owner}: expected an array of {axes} or more axes with at least 2 seeds "
                         f"in the last, got shape {found.shape}; make more runs")  # fmt: skip
    if not np.isfinite(found).all():
        raise ValueError(f"{owner}: {np.sum(~np.isfinite(found))} of {found.size} numbers are not "
                         f"finite; count a run that failed with the accuracy it has")  # fmt: skip
    return found.astype(np.float64)


def checked_confidence(owner: str, confidence: float) -> float:
    """`confidence`, if it lies between 0 and 1."""
    if isinstance(confidence, bool) or not isinstance(confidence, int | float | np.floating):
        raise TypeError(f"{owner}: expected confidence to be a number, got {confidence!r}")
    if not 0 < confidence < 1:
        raise ValueError(f"{owner}: expected confidence between 0 and 1, got {confidence}; write "
                         f"0.95 for 95 %")  # fmt: skip
    return float(confidence)
