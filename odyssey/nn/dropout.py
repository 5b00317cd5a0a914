"""Dropout: numbers left out at random in training, so that no unit can rely on another."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..autograd import Tensor
from ..autograd.tape.entry import Array
from .modules import Module
from .modules.initial import generator


def check_probability(owner: str, p: Any) -> float:
    """`p` as a Python float, if it is a number in [0, 1]; TypeError or ValueError otherwise."""
    if isinstance(p, bool) or not isinstance(p, float | int | np.floating | np.integer):
        raise TypeError(f"{owner}: expected p to be a number, got {p!r}; pass one like 0.5")
    if not 0 <= p <= 1:  # NaN fails both comparisons
        raise ValueError(f"{owner}: expected p in [0, 1], the share to leave out, got {p!r}")
    return float(p)


def check_floats(owner: str, x: Any) -> None:
    """Raise TypeError unless `x` is a Tensor or an array of floats."""
    if not isinstance(x, Tensor | np.ndarray):
        got = type(x).__name__
        raise TypeError(f"{owner}: expected a Tensor or an array, got {got}; wrap it: Tensor(x)")
    if x.dtype.kind not in "fV":
        raise TypeError(f"{owner}: expected floats, got {x.dtype}, which cannot hold the factor "
                        f"1 / (1 - p); convert the input")  # fmt: skip


def dropout_mask(shape: tuple[int, ...], p: float, dtype: Any, rng: np.random.Generator) -> Array:
    """0 with probability `p`, else ``1 / (1 - p)``: mean 1, whatever `p` is (all 0 for p = 1)."""
    if p in (0, 1):
        return np.full(shape, 1 - p, dtype)
    mask: Array = (rng.random(shape, np.float32) >= p) * np.asarray(1 / (1 - p), dtype)
    return mask


def dropout(x: Any, p: float = 0.5, training: bool = True, rng: Any = None) -> Tensor:
    """`x` times a new `dropout_mask`; `x` itself unless `training` (Srivastava et al. 2014).

    x: floats of any shape → the same shape and dtype. `rng` draws the mask.
    """
    p = check_probability("dropout", p)
    check_floats("dropout", x)
    if not isinstance(training, bool | np.bool_):
        got = type(training).__name__
        raise TypeError(f"dropout: expected training to be True or False, got {got}; pass a "
                        f"generator as rng=")  # fmt: skip
    if not training or p == 0:
        return x  # type: ignore[no-any-return]
    mask = dropout_mask(x.shape, p, x.dtype, generator(rng, "dropout"))
    return x * mask  # type: ignore[no-any-return]


class Dropout(Module):
    """Multiply by a `dropout_mask` in training; do nothing in eval.

    The mask of the last forward pass is `mask`, None in eval. The product remembers its mask for
    the backward pass, so a second forward before that does no harm. `rng` draws the masks.
    """

    def __init__(self, p: float = 0.5, rng: Any = None) -> None:
        self.p = check_probability(type(self).__name__, p)
        self.rng = generator(rng, type(self).__name__)
        self._mask: Array | None = None

    @property
    def mask(self) -> Array | None:
        """What the last forward pass multiplied by, in the dtype of its input; None in eval."""
        return self._mask if self.training else None

    def forward(self, x: Any) -> Tensor:
        """Floats of any shape → the same shape and dtype."""
        p = check_probability(type(self).__name__, self.p)  # it may have been assigned
        check_floats(type(self).__name__, x)
        shape = self.mask_shape(x)
        if not self.training:
            self._mask = None
            return x  # type: ignore[no-any-return]
        self._mask = dropout_mask(shape, p, x.dtype, self.rng)
        return x * self._mask if p else x  # type: ignore[no-any-return]

    def mask_shape(self, x: Any) -> tuple[int, ...]:
        """One number of the mask for each number of x."""
        return x.shape  # type: ignore[no-any-return]

    def extra_repr(self) -> str:
        return f"p={self.p}"


class Dropout2D(Dropout):
    """`Dropout` of whole channels of images (N, C, H, W): neighbours in an image are alike."""

    def mask_shape(self, x: Any) -> tuple[int, ...]:
        """One number of the mask for each channel of each image."""
        if x.ndim != 4:
            raise ValueError(f"Dropout2D: expected input of shape (N, C, H, W), got {x.shape}; "
                             f"for other shapes use Dropout")  # fmt: skip
        return (*x.shape[:2], 1, 1)
