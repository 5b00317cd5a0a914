"""A debugging mode that finds the operation behind a NaN, an infinity or a changed array."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from .entry import Vjp, count_blocks, mode


@contextmanager
def detect_anomaly() -> Iterator[None]:
    """Check every operation inside the block, forward and backward. Slow: for finding bugs.

    Raises
    ------
    RuntimeError
        Naming the primitive that first made a NaN or an infinity out of finite numbers, in the
        forward pass or in the backward sweep; or naming the primitive whose saved array somebody
        changed in place between the two.

    Notes
    -----
    A result is only watched if it was computed inside the block. NumPy's own floating-point
    warnings are silent inside, because the error says more. The setting belongs to this thread.

    Examples
    --------
    >>> import numpy as np
    >>> from odyssey import Tensor, detect_anomaly
    >>> with detect_anomaly():
    ...     np.log(Tensor([1.0, 0.0]))
    Traceback (most recent call last):
    ...
    RuntimeError: log: the forward pass made -inf out of finite inputs, first at index (1,) of
    shape (2,)
    """
    outer = mode.anomaly
    mode.anomaly = True
    count_blocks(+1)
    try:
        with np.errstate(all="ignore"):
            yield
    finally:
        mode.anomaly = outer
        count_blocks(-1)


def check_finite(name: str, direction: str, inputs: Iterable[Any], result: Any) -> None:
    """Raise RuntimeError if `result` has a NaN or an infinity that was in none of the `inputs`."""
    if _finite(result) or not all(_finite(value) for value in inputs):
        return
    where = tuple(int(i) for i in np.argwhere(~np.isfinite(result))[0])
    raise RuntimeError(
        f"{name}: the {direction} pass made {result[where]} out of finite inputs, "
        f"first at index {where} of shape {np.shape(result)}"
    )


def _finite(value: Any) -> bool:
    kind = getattr(getattr(value, "dtype", None), "kind", "")
    return kind not in "fc" or kind == "" or bool(np.isfinite(value).all())


def watch(name: str, vjp: Vjp, saved: Any) -> tuple[Any, None]:
    """A vjp that first compares the arrays it saved with what they were when recorded."""
    if isinstance(vjp, tuple):
        return tuple(None if f is None else _watched(name, f, saved) for f in vjp), None
    return _watched(name, vjp, saved), None


def _watched(name: str, function: Any, saved: Any) -> Any:
    fingerprints = [(kept, _fingerprint(kept)) for kept in _saved_arrays(function, saved)]

    def watched(g: Any) -> Any:
        for kept, before in fingerprints:
            if _fingerprint(kept) != before:
                raise RuntimeError(
                    f"{name}: an array of shape {kept.shape} that it saved for the backward pass "
                    f"was changed in place after it was recorded; "
                    f"assign a new array to Tensor.data instead"
                )
        return function(g) if saved is None else function(g, saved)

    return watched


def _saved_arrays(*holders: Any) -> Iterator[np.ndarray[Any, Any]]:
    # A function carries the arrays that it needs in its cells and defaults, a partial in its
    # arguments: no rule has to list them.
    waiting, seen = list(holders), set()
    while waiting:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, np.ndarray):
            yield value
        elif isinstance(value, list | tuple):
            waiting.extend(value)
        elif isinstance(value, dict):
            waiting.extend(value.values())
        elif callable(value):
            waiting.extend(cell.cell_contents for cell in getattr(value, "__closure__", None) or ())
            waiting.extend(getattr(value, "__defaults__", None) or ())
            waiting.extend(getattr(value, "args", ()))


def _fingerprint(array: np.ndarray[Any, Any]) -> int:
    return zlib.crc32(array.tobytes())
