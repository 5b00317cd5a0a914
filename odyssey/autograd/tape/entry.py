"""What one line of the tape is, and the switches that decide whether lines are written."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ContextDecorator
from itertools import count
from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

# What a rule returns beside its result: one function that maps the gradient of the result to a
# tuple with one gradient per input, or a tuple with one function per input.
Vjp: TypeAlias = Callable[..., tuple[Any, ...]] | tuple[Callable[..., Any] | None, ...]

# What a rule returns: its result and a Vjp, or its result and what the vjp of its decorator needs.
Rule: TypeAlias = tuple[Any, Any]

# One line of the Wengert list: [index, name, vjp, saved, parents, shape, dtype, gradient].
#
# index     its number in the order of recording: always larger than those of its parents
# name      of the primitive
# vjp       as above; None once the entry is used up
# saved     passed on to the vjp as second argument, unless it is None
# parents   for each input the entry that made it, the Tensor itself if it is a leaf, or None if it
#           needs no gradient
# shape, dtype   of the result, hence of its gradient. The result itself is not kept.
# gradient  what has arrived during a sweep; None before and after
#
# A list, because it is made once per operation: a class with slots takes several times as long.
Entry: TypeAlias = list[Any]
INDEX, NAME, VJP, SAVED, PARENTS, SHAPE, DTYPE, GRADIENT = range(8)


class LEAF:
    """Stands where a result has its entry, in a leaf that requires a gradient.

    The class itself, never an object of it: a copied or pickled class is still the same.
    """


# A C function: one call is one atomic step, so two threads never get the same number.
next_index = count().__next__


class Mode(threading.local):
    """The settings of the current thread. Other threads keep their own."""

    recording = True  # False inside no_grad()
    anomaly = False  # True inside detect_anomaly()
    half: Any = None  # inside autocast(), the function that rounds the inputs of products


mode = Mode()

# How many blocks of no_grad(), detect_anomaly() and autocast() are open, in all threads together.
# While there is none, the hot path need not look at `mode`: reading a thread-local costs several
# times as much.
open_blocks = [0]
_lock = threading.Lock()


def count_blocks(change: int) -> None:
    """Add `change` to the number of open blocks."""
    with _lock:
        open_blocks[0] += change


class no_grad(ContextDecorator):
    """Switch recording off in this thread: ``with no_grad():`` or ``@no_grad()``.

    Results computed inside need no gradient, whatever their inputs need. The previous state comes
    back at the end, also after an error, and the blocks nest.

    Examples
    --------
    >>> from odyssey import Tensor, no_grad
    >>> x = Tensor([1.0, 2.0], requires_grad=True)
    >>> with no_grad():
    ...     y = x * 2
    >>> y.requires_grad
    False
    """

    def __new__(cls, function: Any = None) -> Any:
        # `@no_grad` without parentheses decorates as well.
        return super().__new__(cls) if function is None else cls()(function)

    def __enter__(self) -> no_grad:
        # One decorated function may run in several threads, so the way back is kept per thread.
        mode.__dict__.setdefault("outer", []).append(mode.recording)
        mode.recording = False
        count_blocks(+1)
        return self

    def __exit__(self, *error: object) -> None:
        mode.recording = mode.__dict__["outer"].pop()
        count_blocks(-1)
