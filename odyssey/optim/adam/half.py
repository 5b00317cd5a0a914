"""Adam's moments in half the memory: scaled blocks of float16, rounded at random."""

from __future__ import annotations

import numpy as np

from ...autograd.tape.entry import Array
from ..sgd.bucket import BLOCK, Dense

# A block is scaled by a power of two so that its largest number lies near this one.
LARGEST = 15

# 2**15 itself is not reached: there the next power of two begins, and with it another scale.
TOP = 2.0**LARGEST - 2.0 ** (LARGEST - 11)

# The smallest number that float16 holds with full precision, 10**-8.7 of the largest of the block.
FLOOR = np.float32(2.0**-14)


def round_at_random(x: Array, rng: np.random.Generator) -> None:
    """Round the float32 array `x`, in place, to one of its two neighbours with 11 significant bits.

    The nearer one is the likelier, so that the mean of the result is x: a change too small to be
    stored happens now and then instead of never. What has no more than 11 bits stays as it is.
    Source: Gupta et al. 2015, section 3.
    """
    bits = x.view(np.uint32)
    # float32 has 24 bits, float16 has 11. A random number added to the 13 that will be cut off
    # carries into the 11 as often as these 13 are large.
    # (The generator's raw words, four numbers in each, cost a fifth of `rng.integers`.)
    words = rng.bit_generator.random_raw(-(-x.size // 4))
    bits += words.view(np.uint16)[: x.size].reshape(x.shape) >> 3
    bits &= np.uint32(0xFFFFE000)


def scale_for(x: Array) -> float:
    """The power of two that brings the largest number of `x` into the range of float16."""
    peak = float(np.max(np.abs(x), initial=0))
    if not np.isfinite(peak):  # a NaN is stored as one, and must not take the others with it
        peak = float(np.max(np.abs(x), where=np.isfinite(x), initial=0))
    exponent = int(np.frexp(peak)[1]) - LARGEST if peak else 0
    exponent += peak > TOP * 2.0**exponent  # it could be rounded up to 2**15
    return 2.0 ** max(exponent, -100)


class Half(Dense):
    """A state in float16, with one power of two as scale for each block of numbers.

    With `root`, for states that are never negative, the root is stored: the square 1e-10 as 1e-5,
    so that one block holds gradients that differ 10**8-fold. Smaller ones are rounded *up* to the
    smallest of these: a second moment that became zero would let the step explode. Reading is
    exact in float32, and storing again what was read changes nothing.
    """

    packed = True

    def __init__(self, size: int, root: bool) -> None:
        self.array = np.zeros(size, np.float16)
        self.scales = np.ones(-(-size // BLOCK), np.float32)
        self.root = root

    def read(self, start: int, stop: int, out: Array) -> Array:
        """The numbers from `start`, the beginning of a block, to `stop`, as floats in `out`."""
        out[...] = self.array[start:stop]
        out *= float(self.scales[start // BLOCK])
        if self.root:
            out *= out
        return out

    def write(self, start: int, stop: int, values: Array, t: int = 0) -> None:
        """Replace the numbers from `start` to `stop`; step `t` decides how they are rounded."""
        x = np.sqrt(values, dtype=np.float32) if self.root else values.astype(np.float32)
        scale = scale_for(x)
        x *= 1 / scale
        if self.root and x.any():
            np.maximum(x, FLOOR, out=x)
        # the same bits in a run that was interrupted and resumed at this step
        round_at_random(x, np.random.default_rng((t, start, self.root)))
        self.array[start:stop] = x
        self.scales[start // BLOCK] = scale
