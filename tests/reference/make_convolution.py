"""Write convolution.npz: PyTorch's convolutions and poolings, for the chapter convolution and its tests.

    python tests/reference/make_convolution.py      in an environment with PyTorch

Readers do not need it: they only load the file. The name of an array is `case/what`; the case names the function, the
dtype and the line of CONVOLUTIONS or POOLINGS with the options. What there is: the inputs `x`, `weight`, `bias`, the
gradient `g` that the backward pass starts with, the result `out` and the gradients `dx`, `dweight`, `dbias`. A file of
many small arrays is mostly headers, so all numbers stand in one array, one after the other as float64, beside their
names and shapes. `version` is PyTorch's.
"""

from pathlib import Path
from typing import Any

import numpy as np

# (N, C, H, W), O, kernel, stride, padding, dilation, groups, bias
CONVOLUTIONS = [
    ((2, 3, 5, 6), 4, (3, 3), (1, 1), (0, 0), (1, 1), 1, True),
    ((2, 3, 5, 6), 4, (3, 3), (1, 1), (1, 1), (1, 1), 1, False),
    ((1, 2, 7, 6), 3, (3, 2), (2, 1), (1, 0), (1, 1), 1, True),
    ((2, 2, 8, 7), 3, (3, 3), (2, 3), (2, 1), (2, 1), 1, True),
    ((1, 1, 9, 9), 2, (2, 4), (1, 2), (0, 3), (3, 2), 1, False),
    ((3, 5, 4, 4), 6, (1, 1), (1, 1), (0, 0), (1, 1), 1, True),
    ((2, 4, 5, 5), 3, (1, 1), (2, 2), (1, 1), (1, 1), 1, True),
    ((2, 4, 5, 5), 6, (3, 3), (1, 1), (1, 1), (1, 1), 2, True),
    ((1, 6, 6, 5), 3, (2, 3), (2, 1), (1, 2), (1, 2), 3, False),
    ((2, 3, 5, 5), 6, (3, 3), (1, 1), (1, 1), (1, 1), 3, True),
    ((2, 4, 6, 5), 4, (3, 3), (1, 1), (1, 1), (1, 1), 4, True),
    ((2, 3, 7, 8), 3, (3, 3), (2, 2), (1, 1), (1, 1), 3, True),
    ((1, 3, 9, 7), 3, (3, 2), (2, 3), (2, 0), (2, 3), 3, False),
    ((2, 2, 4, 4), 2, (4, 4), (1, 1), (0, 0), (1, 1), 2, True),
    ((0, 2, 4, 4), 3, (3, 3), (1, 1), (1, 1), (1, 1), 1, True),
    ((0, 2, 4, 4), 2, (3, 3), (1, 1), (1, 1), (1, 1), 2, True),
]
# (N, C, H, W), kernel, stride, padding
POOLINGS = [
    ((2, 3, 6, 6), (2, 2), (2, 2), (0, 0)),
    ((2, 2, 7, 5), (2, 2), (2, 2), (0, 0)),
    ((2, 2, 6, 7), (3, 3), (2, 2), (1, 1)),
    ((1, 3, 6, 6), (3, 2), (1, 1), (1, 1)),
    ((1, 2, 8, 7), (2, 3), (3, 4), (1, 0)),
    ((2, 2, 4, 5), (4, 5), (4, 5), (0, 0)),
    ((2, 2, 4, 5), (1, 1), (2, 2), (0, 0)),
]


def main() -> None:
    import torch
    import torch.nn.functional as F

    rng, arrays = np.random.default_rng(0), {}

    def leaf(shape: Any, dtype: str = "float64", ties: bool = False) -> Any:
        values = rng.integers(-1, 2, shape) if ties else rng.normal(size=shape)
        return torch.from_numpy(np.array(values).astype(dtype)).requires_grad_()

    def keep(case: str, out: Any, **inputs: Any) -> None:
        """`out`, and the gradients of the inputs for a random g."""
        g = leaf(out.shape, str(out.dtype).removeprefix("torch.")).detach()
        out.backward(g)
        found = {**inputs, "out": out, "g": g} | {f"d{name}": value.grad for name, value in inputs.items()}
        arrays.update({f"{case}/{name}": np.array(a.detach().numpy()) for name, a in found.items()})

    for dtype in ("float64", "float32"):
        for i, (shape, o, kernel, stride, padding, dilation, groups, bias) in enumerate(CONVOLUTIONS):
            inputs = {"x": leaf(shape, dtype), "weight": leaf((o, shape[1] // groups, *kernel), dtype)}
            if bias:
                inputs["bias"] = leaf((o,), dtype)
            out = F.conv2d(*inputs.values(), stride=stride, padding=padding, dilation=dilation, groups=groups)
            keep(f"conv2d {dtype} {i}", out, **inputs)
        for i, (shape, *options) in enumerate(POOLINGS):
            for name in ("max_pool2d", "avg_pool2d"):
                for ties in (False, True):
                    x = leaf(shape, dtype, ties)
                    keep(f"{name} {dtype} {i}{' ties' if ties else ''}", getattr(F, name)(x, *options), x=x)

    # a small network: convolution, relu, max pooling, depthwise, pointwise, relu, mean, linear
    shapes = [(4, 1, 3, 3), (4,), (4, 1, 3, 3), (4,), (6, 4, 1, 1), (6,), (3, 6), (3,)]
    weights, x = [leaf(shape) for shape in shapes], leaf((5, 1, 8, 8))
    h = F.max_pool2d(F.relu(F.conv2d(x, *weights[:2], padding=1)), 2)
    h = F.relu(F.conv2d(F.conv2d(h, *weights[2:4], padding=1, groups=4), *weights[4:6]))
    out = F.linear(F.adaptive_avg_pool2d(h, 1).flatten(1), *weights[6:])
    keep("network", out, x=x, **{f"weight{i}": w for i, w in enumerate(weights)})

    np.savez_compressed(
        Path(__file__).with_name("convolution.npz"),
        names=np.array(list(arrays)),
        shapes=np.array([" ".join(map(str, a.shape)) for a in arrays.values()]),
        numbers=np.concatenate([a.astype(np.float64).ravel() for a in arrays.values()]),
        version=np.array(torch.__version__),
    )


if __name__ == "__main__":
    main()
