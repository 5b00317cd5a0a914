"""Write dropout.npz: PyTorch's dropout in float64 and float32, for the chapter dropout and its tests.

    python tests/reference/make_dropout.py      in an environment with PyTorch 2.13.0

Readers do not need it: they only load the file. The name of an array is `case/what`: the input `x`, the `mask` that
PyTorch drew (what becomes of ones, from the same seed), `g` that the backward pass starts with, the result `out`, and
the gradients `dx`, `dweight0`, ... A file of many small arrays is mostly headers, so all numbers stand in one array,
one after the other as float64, beside their names and shapes.
"""

from pathlib import Path
from typing import Any

import numpy as np

SHAPES = [(7,), (5, 6), (2, 3, 4), (2, 3, 4, 4), (), (0, 3)]
IMAGES = [(2, 3, 4, 4), (1, 6, 2, 3)]
RATES = (0.0, 0.1, 0.5, 0.8, 1.0)


def main() -> None:
    import torch
    import torch.nn.functional as F

    rng, arrays = np.random.default_rng(0), {}

    def leaf(*shape: int, dtype: str = "float64") -> Any:
        return torch.from_numpy(np.array(rng.normal(size=shape)).astype(dtype)).requires_grad_()

    def keep(case: str, drop: Any, *shape: int, dtype: str) -> None:
        """`drop` of ones and of a random x, from one seed; and the gradient for a random g."""
        x, seed = leaf(*shape, dtype=dtype), len(arrays)
        torch.manual_seed(seed)
        mask = drop(torch.ones_like(x))
        torch.manual_seed(seed)
        out = drop(x)
        g = leaf(*shape, dtype=dtype).detach()
        out.backward(g)
        found = {"x": x.detach(), "mask": mask.detach(), "g": g, "out": out.detach(), "dx": x.grad}
        arrays.update({f"{case}/{name}": np.array(a.numpy()) for name, a in found.items()})

    for dtype in ("float64", "float32"):
        for p in RATES:
            for shape in SHAPES:
                keep(f"dropout {dtype} {p} {shape}", lambda x, p=p: F.dropout(x, p), *shape, dtype=dtype)
            for shape in IMAGES:
                keep(f"dropout2d {dtype} {p} {shape}", lambda x, p=p: F.dropout2d(x, p), *shape, dtype=dtype)
            keep(f"eval {dtype} {p} (5, 6)", lambda x, p=p: F.dropout(x, p, training=False), 5, 6, dtype=dtype)

    # linear, relu, dropout, linear; the same weights in two forwards before one backward
    weights = [leaf(9, 4), leaf(9), leaf(3, 9), leaf(3)]
    first, second = leaf(5, 4), leaf(5, 4)
    masks, total = [], 0
    for seed, x in ((1, first), (2, second)):
        torch.manual_seed(seed)
        masks.append(F.dropout(torch.ones(5, 9, dtype=torch.float64), 0.4))
        torch.manual_seed(seed)
        hidden = F.dropout(F.relu(F.linear(x, *weights[:2])), 0.4)
        total = total + F.linear(hidden, *weights[2:])
    g = leaf(5, 3).detach()
    total.backward(g)
    found = {"x0": first, "x1": second, "mask0": masks[0], "mask1": masks[1], "g": g, "out": total}
    found |= {f"weight{i}": w for i, w in enumerate(weights)} | {f"dweight{i}": w.grad for i, w in enumerate(weights)}
    found |= {"dx0": first.grad, "dx1": second.grad}
    arrays.update({f"twice/{name}": np.array(a.detach().numpy()) for name, a in found.items()})

    # what is left out although it is infinite or not a number
    x = torch.tensor([np.inf, np.nan, -2.0, 0.0], dtype=torch.float64)
    arrays |= {"infinite/x": x.numpy(), "infinite/out": F.dropout(x, 1.0).numpy()}
    np.savez_compressed(
        Path(__file__).with_name("dropout.npz"),
        names=np.array(list(arrays)),
        shapes=np.array([" ".join(map(str, a.shape)) for a in arrays.values()]),
        numbers=np.concatenate([a.astype(np.float64).ravel() for a in arrays.values()]),
    )


if __name__ == "__main__":
    main()
