"""Five architectures for images of 8 × 8 pixels; the four networks have about 4,900 parameters."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from ...autograd import Tensor
from ...nn import (
    Conv2D,
    DepthwiseSeparableConv2D,
    Flatten,
    LayerNorm,
    Linear,
    MaxPool2D,
    Module,
    Parameter,
    ReLU,
    Sequential,
    TransformerBlock,
)

CLASSES = 10
PIXELS = 64


def logistic_regression(rng: np.random.Generator) -> Module:
    """One linear map from the pixels to the logits: no hidden layer at all."""
    return Sequential(Flatten(), Linear(PIXELS, CLASSES, rng=rng))


def mlp(rng: np.random.Generator) -> Module:
    """One hidden layer of 64 units."""
    return Sequential(
        Flatten(), Linear(PIXELS, 64, rng=rng), ReLU(), Linear(64, CLASSES, rng=rng)
    )  # fmt: skip


def conv_net(rng: np.random.Generator) -> Module:
    """Two 3 × 3 convolutions, each with a pooling, and a linear map."""
    return Sequential(
        Conv2D(1, 12, 3, padding=1, rng=rng), ReLU(), MaxPool2D(2),
        Conv2D(12, 32, 3, padding=1, rng=rng), ReLU(), MaxPool2D(2),
        Flatten(), Linear(32 * 2 * 2, CLASSES, rng=rng),
    )  # fmt: skip


def separable_net(rng: np.random.Generator) -> Module:
    """The same with a depthwise-separable second convolution, which buys more channels."""
    return Sequential(
        Conv2D(1, 16, 3, padding=1, rng=rng), ReLU(), MaxPool2D(2),
        DepthwiseSeparableConv2D(16, 80, 3, padding=1, rng=rng), ReLU(), MaxPool2D(2),
        Flatten(), Linear(80 * 2 * 2, CLASSES, rng=rng),
    )  # fmt: skip


class PatchTransformer(Module):
    """A transformer block over the 16 patches of 2 × 2 pixels (Dosovitskiy et al. 2021).

    Each patch becomes 24 features, plus a learned position. The logits come from the mean of the
    patches, so there is no class token.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self.embed = Linear(4, 24, rng=rng)
        self.position = Parameter(rng.normal(0, 0.02, (16, 24)).astype(np.float32))
        self.block = TransformerBlock(24, num_heads=4, ff_dim=32, rng=rng)
        self.norm = LayerNorm(24)
        self.head = Linear(24, CLASSES, rng=rng)

    def forward(self, x: Any) -> Tensor:
        """(N, 1, 8, 8) → (N, 10)."""
        n = len(x)
        patches = x.reshape(n, 4, 2, 4, 2).transpose(0, 1, 3, 2, 4).reshape(n, 16, 4)
        out = self.block(self.embed(patches) + self.position)
        return self.head(self.norm(out).mean(axis=1))  # type: ignore[no-any-return]


ARCHITECTURES: dict[str, Callable[[np.random.Generator], Module]] = {
    "logistic": logistic_regression,
    "MLP": mlp,
    "conv": conv_net,
    "separable": separable_net,
    "transformer": PatchTransformer,
}


def parameter_count(model: Module) -> int:
    """How many numbers the model learns."""
    return sum(p.size for p in model.parameters())


def multiply_adds(model: Module, image: np.ndarray[Any, Any]) -> int:
    """Multiply-adds of one forward pass of `image` (1, C, H, W), in products and convolutions.

    Read off the tape: each such line costs its outputs times the inputs of one output. What costs
    one operation an element (biases, ReLU, pooling, norms, softmax) is left out.
    """
    total, rows = 0, list(model(Tensor(image)).tape())
    for row in rows:
        shapes = [rows[i].shape for i in row.inputs if i is not None]
        if row.op == "fused_attention":  # scores and weighted sum: each query with each key
            total += 2 * prod(shapes[0]) * shapes[1][-2]
        elif row.op in ("affine", "biased_conv2d"):  # the last two inputs are weight and bias
            total += prod(row.shape) * prod(shapes[-2][1:])
    return total
