"""Write normalization.npz: PyTorch's normalisation layers in float64, for the chapter normalization and its tests.

    python tests/reference/make_normalization.py      in an environment with PyTorch 2.13.0

Readers do not need it: they only load the file. The name of an array is `case/what`: the inputs `x`, `weight` and
`bias`, `g` that the backward pass starts with, `out`, and the gradients `dx`, `dweight`, `dbias`. Batch norm has `mean`
and `var` before, `new_mean` and `new_var` after. All arrays stand one after the other in `values`.
"""

from pathlib import Path
from typing import Any

import numpy as np

FEATURES = [((5, 6), 1), ((2, 3, 6), 1), ((2, 3, 6), 2), ((6,), 1), ((2, 3, 2, 2), 3), ((3, 1), 1)]
IMAGES = [(4, 6), (2, 6, 5), (3, 6, 2, 2), (1, 6, 2, 3), (2, 6, 2, 1, 2)]


def main() -> None:
    import torch
    import torch.nn.functional as F

    rng, arrays = np.random.default_rng(0), {}

    def leaf(*shape: int, shift: float = 0.0) -> Any:
        return torch.from_numpy(np.array(rng.normal(shift, 1.5, size=shape))).requires_grad_()

    def keep(case: str, out: Any, **inputs: Any) -> None:
        g = torch.from_numpy(np.array(rng.normal(size=tuple(out.shape))))
        out.backward(g)
        found = {name: x.detach() for name, x in inputs.items()} | {"g": g, "out": out.detach()}
        found |= {f"d{name}": x.grad for name, x in inputs.items() if x.requires_grad}
        arrays.update({f"{case}/{name}": x.numpy().copy() for name, x in found.items()})

    for shape, last in FEATURES:
        sizes = shape[len(shape) - last :]
        for eps in (1e-5, 0.1):
            x, weight, bias = leaf(*shape, shift=2.0), leaf(*sizes), leaf(*sizes)
            out = F.layer_norm(x, sizes, weight, bias, eps)
            keep(f"layer/{shape}, {last}, {eps}", out, x=x, weight=weight, bias=bias)
            x, weight = leaf(*shape, shift=2.0), leaf(*sizes)
            keep(f"rms/{shape}, {last}, {eps}", F.rms_norm(x, sizes, weight, eps), x=x, weight=weight)
        x = leaf(*shape, shift=2.0)
        keep(f"layer/{shape}, {last}, 0.01", F.layer_norm(x, sizes, eps=0.01), x=x)
        x = leaf(*shape, shift=2.0)
        keep(f"rms/{shape}, {last}, 0.01", F.rms_norm(x, sizes, eps=0.01), x=x)

    for shape in IMAGES:
        for groups in (1, 2, 3, 6):
            for eps in (1e-5, 0.1):
                x, weight, bias = leaf(*shape, shift=2.0), leaf(6), leaf(6)
                out = F.group_norm(x, groups, weight, bias, eps)
                keep(f"group/{shape}, {groups}, {eps}", out, x=x, weight=weight, bias=bias)
        if len(shape) > 2:
            x = leaf(*shape, shift=2.0)
            keep(f"instance/{shape}", F.instance_norm(x), x=x)
        for training in (True, False):
            for momentum, eps in ((0.1, 1e-5), (0.3, 0.1), (0.0, 1e-3), (1.0, 1e-3)):
                x, weight, bias = leaf(*shape, shift=2.0), leaf(6), leaf(6)
                mean, var = leaf(6).detach(), leaf(6).detach() ** 2 + 0.1
                start = {"mean": mean.clone(), "var": var.clone()}
                out = F.batch_norm(x, mean, var, weight, bias, training, momentum, eps)
                case = f"batch/{shape}, {training}, {momentum}, {eps}"
                keep(case, out, x=x, weight=weight, bias=bias, **start)
                arrays[f"{case}/new_mean"], arrays[f"{case}/new_var"] = mean.numpy(), var.numpy()

    # The module: running statistics after each of five batches, and the result of the first in eval mode after them.
    for options in ({}, {"momentum": 0.3, "eps": 0.01}, {"momentum": None}, {"affine": False}):
        for shape in ((4, 3), (2, 3, 2, 2)):
            layer = {2: torch.nn.BatchNorm1d, 4: torch.nn.BatchNorm2d}[len(shape)](3, dtype=torch.float64, **options)
            x, means, variances = leaf(5, *shape, shift=2.0).detach(), [], []
            for batch in x:
                layer(batch)
                means.append(layer.running_mean.numpy().copy())
                variances.append(layer.running_var.numpy().copy())
            layer.eval()
            case = f"running/{len(shape)}, {options}"
            arrays[f"{case}/x"], arrays[f"{case}/mean"], arrays[f"{case}/var"] = x.numpy(), means, variances
            arrays[f"{case}/eval"] = layer(x[0]).detach().numpy()
            arrays[f"{case}/tracked"] = layer.num_batches_tracked.numpy()

    # Long rows far from zero, in float32.
    seed = int(rng.integers(2**31))
    x = np.random.default_rng(seed).normal(1e5, 1.0, (50, 1000)).astype(np.float32)
    arrays["far/seed"] = np.array(seed)
    arrays["far/out"] = F.layer_norm(torch.from_numpy(x), (1000,)).numpy()[:, ::50]

    flat = {name: np.asarray(x, np.float64) for name, x in arrays.items()}
    shapes = np.array([",".join(map(str, x.shape)) for x in flat.values()])
    values = np.concatenate([x.ravel() for x in flat.values()])
    np.savez_compressed(
        Path(__file__).with_name("normalization.npz"), names=np.array(list(flat)), shapes=shapes, values=values
    )


if __name__ == "__main__":
    main()
