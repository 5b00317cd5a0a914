"""Freezes Lion and LAMB of Optax 0.2.8 and Muon of PyTorch 2.13.0: python tests/reference/make_beyond_adam.py

All in float64. PyTorch's Muon orthogonalises in bfloat16; here `bfloat16()` is replaced by a copy, so that the formula
is compared and not the rounding. One more step, `torch_bfloat16`, is frozen with the rounding.
"""

import json
from pathlib import Path

import numpy as np

STEPS = 8
CASES = [
    ["Lion", {"lr": 0.01}],
    ["Lion", {"lr": 0.01, "betas": [0.8, 0.95], "weight_decay": 0.3}],
    ["LAMB", {"lr": 0.01}],
    ["LAMB", {"lr": 0.03, "betas": [0.8, 0.95], "eps": 1e-3, "weight_decay": 0.1}],
    ["Muon", {"lr": 0.02}],
    ["Muon", {"lr": 0.02, "momentum": 0.8, "nesterov": False, "weight_decay": 0.3, "ns_steps": 3}],
]
SHAPES = [(4, 4), (6, 3), (3, 5)]


def optax_path(kind: str, options: dict, starts: list, gradients: list) -> list:
    import jax
    import optax

    jax.config.update("jax_enable_x64", True)
    options = {"weight_decay": 0.0, **options}
    b1, b2 = options.pop("betas", (0.9, 0.99) if kind == "Lion" else (0.9, 0.999))
    transform = getattr(optax, kind.lower())(options.pop("lr"), b1=b1, b2=b2, **options)
    params = [jax.numpy.asarray(start) for start in starts]
    state, path = transform.init(params), []
    for step in gradients:
        updates, state = transform.update([jax.numpy.asarray(g) for g in step], state, params)
        params = optax.apply_updates(params, updates)
        path.append(np.concatenate([np.asarray(p).ravel() for p in params]))
    return path


def torch_path(options: dict, starts: list, gradients: list) -> list:
    import torch

    options = {"weight_decay": 0.0, **options}
    params = [torch.tensor(start, requires_grad=True) for start in starts]
    optimizer, path = torch.optim.Muon(params, **options), []
    for step in gradients:
        for p, g in zip(params, step, strict=True):
            p.grad = torch.tensor(g)
        optimizer.step()
        path.append(np.concatenate([p.detach().numpy().ravel() for p in params]))
    return path


def main() -> None:
    import optax
    import torch

    rng = np.random.default_rng(0)
    starts = [rng.standard_normal(shape) for shape in SHAPES]
    gradients = [[rng.standard_normal(shape) for shape in SHAPES] for _ in range(STEPS)]
    flat = np.array([np.concatenate([g.ravel() for g in step]) for step in gradients])
    stored = {"start": np.concatenate([s.ravel() for s in starts]), "gradients": flat, "cases": json.dumps(CASES)}
    stored.update(shapes=json.dumps(SHAPES), torch=torch.__version__, optax=optax.__version__)
    stored["torch_bfloat16"] = torch_path({"lr": 1.0}, starts, gradients[:1])[0]
    torch.Tensor.bfloat16 = lambda s: s.clone()
    for i, (kind, options) in enumerate(CASES):
        path = (
            torch_path(options, starts, gradients) if kind == "Muon" else optax_path(kind, options, starts, gradients)
        )
        stored[f"path{i}"] = np.array(path)
    np.savez_compressed(Path(__file__).with_name("beyond_adam.npz"), **stored)


if __name__ == "__main__":
    main()
