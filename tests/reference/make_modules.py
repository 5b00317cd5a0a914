"""Write modules.npz and modules.safetensors: PyTorch's layers and losses, for the chapter modules and its tests.

    python tests/reference/make_modules.py      in an environment with PyTorch 2.13.0 and safetensors

Readers need neither: they only load the files. The name of an array is `function/case/what`: what goes in, `g` that the
backward pass starts with, `out`, and the gradients `dx`, `dweight`, ... A file of many small arrays is mostly headers,
so all numbers stand in one array, one after the other as float64, beside their names and shapes.
"""

from pathlib import Path
from typing import Any

import numpy as np

SHAPES = [(), (7,), (0,), (3, 4), (0, 3), (2, 3, 4), (2, 2, 3, 2)]
LOGITS = [((5, 3), (5,)), ((3,), ()), ((2, 3, 4), (2, 4)), ((2, 3, 2, 2), (2, 2, 2)), ((0, 3), (0,)), ((4, 1), (4,))]


def backward(out: Any, rng: np.random.Generator, **inputs: Any) -> dict[str, Any]:
    """The arrays of a case: inputs, a random g, the result, and the gradient of each float input."""
    import torch

    g = torch.from_numpy(np.array(rng.normal(size=tuple(out.shape))))
    out.backward(g)
    arrays = {name: x.detach().numpy() for name, x in inputs.items()}
    arrays |= {f"d{name}": x.grad.numpy() for name, x in inputs.items() if x.requires_grad}
    return {**arrays, "g": g.numpy(), "out": out.detach().numpy()}


def main() -> None:
    import torch
    import torch.nn.functional as F
    from safetensors.torch import load_file, save_file

    rng, arrays = np.random.default_rng(0), {}

    def leaf(*shape: int, scale: float = 1.0) -> Any:
        return torch.from_numpy(np.array(scale * rng.normal(size=shape))).requires_grad_()

    def keep(case: str, out: Any, **inputs: Any) -> None:
        arrays.update({f"{case}/{name}": value for name, value in backward(out, rng, **inputs).items()})

    functions = {
        "relu": F.relu, "tanh": torch.tanh, "sigmoid": torch.sigmoid, "silu": F.silu, "gelu": F.gelu,
        "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    }  # fmt: skip
    for name, function in functions.items():
        for shape in SHAPES:
            x = leaf(*shape, scale=2.0)
            keep(f"{name}/{shape}", function(x), x=x)
        x = torch.linspace(-40, 40, 400, dtype=torch.float64, requires_grad=True)
        keep(f"{name}/line", function(x), x=x)
        x = torch.tensor([-1e4, -50.0, -1e-8, 1e-8, 50.0, 1e4], dtype=torch.float64, requires_grad=True)
        keep(f"{name}/large", function(x), x=x)

    for name, function in {"softmax": F.softmax, "log_softmax": F.log_softmax}.items():
        for shape in [(7,), (3, 4), (0, 3), (2, 3, 4)]:
            for axis in range(-len(shape), len(shape)):
                if shape[axis]:
                    x = leaf(*shape)
                    keep(f"{name}/{shape}, {axis}", function(x, dim=axis), x=x)
        x = torch.tensor([[1e4, -1e4, 0.0], [1e4, 1e4, -1e4]], dtype=torch.float64, requires_grad=True)
        keep(f"{name}/large", function(x, dim=-1), x=x)

    for shape in [(4,), (5, 4), (0, 4), (2, 3, 4), (2, 0, 4), (1, 2, 3, 4)]:
        x, weight, bias = leaf(*shape), leaf(6, 4), leaf(6)
        keep(f"linear/{shape}, bias", F.linear(x, weight, bias), x=x, weight=weight, bias=bias)
        x, weight = leaf(*shape), leaf(6, 4)
        keep(f"linear/{shape}, no bias", F.linear(x, weight), x=x, weight=weight)

    for shape in [(), (4,), (0,), (2, 3), (9, 2)]:
        indices, weight = torch.from_numpy(np.array(rng.integers(0, 5, shape))), leaf(5, 3)
        keep(f"embedding/{shape}", F.embedding(indices, weight), indices=indices, weight=weight)

    for shape, wanted in LOGITS:
        for smoothing in (0.0, 0.1, 1.0):
            for reduction in ("mean", "sum", "none"):
                for ignore in (-100, 1):
                    targets = rng.integers(0, shape[min(1, len(shape) - 1)], wanted)
                    if reduction != "mean" and targets.size > 2:
                        targets.reshape(-1)[0] = ignore  # one that does not count
                    elif ignore == 1 and (targets == 1).all():
                        targets = 0 * targets  # a mean of none is nan
                    z, y = leaf(*shape, scale=3.0), torch.from_numpy(np.array(targets))
                    options: dict[str, Any] = {"reduction": reduction, "ignore_index": ignore}
                    out = F.cross_entropy(z, y, label_smoothing=smoothing, **options)
                    keep(f"cross_entropy/{shape}, {smoothing}, {reduction}, {ignore}", out, z=z, y=y)
    z = torch.tensor([[1e4, -1e4, 0.0], [-1e4, 1e4, 1e4]], dtype=torch.float64, requires_grad=True)
    keep("cross_entropy/(2, 3), 0.1, none, -100", F.cross_entropy(
        z, torch.tensor([1, 2]), label_smoothing=0.1, reduction="none"), z=z, y=torch.tensor([1, 2]))  # fmt: skip

    for shape in SHAPES:
        for reduction in ("mean", "sum", "none"):
            if reduction != "mean" or 0 not in shape:
                x, target = leaf(*shape), leaf(*shape)
                keep(f"mse_loss/{shape}, {reduction}", F.mse_loss(x, target, reduction=reduction), x=x, target=target)

    for kind in ("linear", "sigmoid", "tanh", "relu", "selu"):
        arrays[f"gain/{kind}"] = np.array(torch.nn.init.calculate_gain(kind))
    arrays["gain/leaky_relu"] = np.array(torch.nn.init.calculate_gain("leaky_relu", 0.2))

    # The tests write a file from our model and compare it with this one, byte for byte. So it counts as seen that
    # PyTorch reads such a file into its model, strictly, and computes the outputs that are kept here.
    def model() -> Any:
        hidden = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.ReLU())
        return torch.nn.Sequential(torch.nn.Embedding(5, 6), hidden, torch.nn.Linear(8, 3, bias=False))

    torch.manual_seed(0)
    path = Path(__file__).with_name("modules.safetensors")
    save_file(model().state_dict(), path, metadata={"format": "pt"})
    reader = model()
    reader.load_state_dict(load_file(path), strict=True)
    words = torch.from_numpy(rng.integers(0, 5, (7, 2)))
    arrays |= {"exchange/words": words.numpy(), "exchange/out": reader.double()(words).detach().numpy()}
    path = Path(__file__).with_name("modules.npz")
    numbers = np.concatenate([np.asarray(a, np.float64).reshape(-1) for a in arrays.values()])
    shapes = [" ".join(map(str, a.shape)) for a in arrays.values()]
    np.savez_compressed(path, names=list(arrays), shapes=shapes, numbers=numbers)


if __name__ == "__main__":
    main()
