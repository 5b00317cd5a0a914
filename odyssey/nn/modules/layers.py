"""Layers: the functions of before, with parameters of their own."""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np

from ...autograd import Tensor
from .functions import embedding, gelu, linear, relu, shape_of, sigmoid, silu, tanh
from .initial import generator, kaiming_uniform_, normal_, uniform_
from .module import Parameter
from .state import Module


def whole(owner: str, name: str, value: Any, low: int = 1) -> int:
    """`value` as a Python int of at least `low`; TypeError or ValueError otherwise."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{owner}: expected {name} to be a whole number, got {value!r}")
    if value < low:
        raise ValueError(f"{owner}: expected {name} to be at least {low}, got {value}")
    return int(value)


class Linear(Module):
    """``x @ weight.T + bias``: (..., in_features) → (..., out_features).

    `weight` (out, in) and `bias` (out,) start uniform between ±1/sqrt(in), as in PyTorch.
    """

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, rng: Any = None
    ) -> None:
        self.in_features = whole("Linear", "in_features", in_features)
        self.out_features = whole("Linear", "out_features", out_features)
        rng, shape = generator(rng, "Linear"), (self.out_features, self.in_features)
        self.weight = kaiming_uniform_(Parameter(np.empty(shape, np.float32)), sqrt(5), rng=rng)
        self.bias = None
        if bias:
            bound = 1 / sqrt(self.in_features)
            empty = Parameter(np.empty(self.out_features, np.float32))
            self.bias = uniform_(empty, -bound, bound, rng)

    def forward(self, x: Any) -> Tensor:
        """x (..., in_features) → (..., out_features)."""
        if getattr(x, "shape", ())[-1:] != (self.in_features,):
            raise ValueError(f"Linear({self.in_features}, {self.out_features}): expected input of "
                             f"shape (..., {self.in_features}), got {shape_of(x)}")  # fmt: skip
        return linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}" + (
            "" if self.bias is not None else ", bias=False"
        )


class Embedding(Module):
    """A table of `num_embeddings` rows: integers of any shape → (..., embedding_dim).

    `weight` (num, dim) starts with standard normal numbers.
    """

    def __init__(self, num_embeddings: int, embedding_dim: int, rng: Any = None) -> None:
        self.num_embeddings = whole("Embedding", "num_embeddings", num_embeddings)
        self.embedding_dim = whole("Embedding", "embedding_dim", embedding_dim)
        empty = np.empty((self.num_embeddings, self.embedding_dim), np.float32)
        self.weight = normal_(Parameter(empty), rng=generator(rng, "Embedding"))

    def forward(self, indices: Any) -> Tensor:
        """Integers of shape (...) → (..., embedding_dim)."""
        return embedding(indices, self.weight)

    def extra_repr(self) -> str:
        return f"{self.num_embeddings}, {self.embedding_dim}"


class ReLU(Module):
    """``max(x, 0)``, element by element."""

    def forward(self, x: Any) -> Tensor:
        return relu(x)  # type: ignore[no-any-return]


class Tanh(Module):
    """The hyperbolic tangent, element by element."""

    def forward(self, x: Any) -> Tensor:
        return tanh(x)  # type: ignore[no-any-return]


class Sigmoid(Module):
    """``1 / (1 + exp(-x))``, element by element."""

    def forward(self, x: Any) -> Tensor:
        return sigmoid(x)  # type: ignore[no-any-return]


class SiLU(Module):
    """``x * sigmoid(x)``, element by element."""

    def forward(self, x: Any) -> Tensor:
        return silu(x)  # type: ignore[no-any-return]


class GELU(Module):
    """``x * Φ(x)``, element by element; `approximate`: "none" (exact) or "tanh"."""

    def __init__(self, approximate: str = "none") -> None:
        if approximate not in ("none", "tanh"):
            raise ValueError(f"GELU: expected approximate 'none' or 'tanh', got {approximate!r}")
        self.approximate = approximate

    def forward(self, x: Any) -> Tensor:
        return gelu(x, self.approximate)  # type: ignore[no-any-return]

    def extra_repr(self) -> str:
        return "" if self.approximate == "none" else f"approximate={self.approximate!r}"
