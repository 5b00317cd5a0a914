"""Freezes Adam, RMSprop and Adagrad of PyTorch 2.13.0 for the chapter adam: python tests/reference/make_adam.py

Twelve float64 parameters whose gradients span eight powers of ten, 40 steps, one set of options after another. Also one
step of Optax 0.2.8 for the table of *In the wild*: two places of epsilon, and AMSGrad's maximum.
"""

import json
from pathlib import Path

import numpy as np

SIZE, STEPS = 12, 40
CASES = [
    ["Adam", {}],
    ["Adam", {"lr": 0.01, "betas": [0.8, 0.95], "eps": 1e-3}],
    ["Adam", {"lr": 0.01, "weight_decay": 0.3}],
    ["Adam", {"lr": 0.01, "amsgrad": True}],
    ["Adam", {"lr": 0.01, "amsgrad": True, "weight_decay": 0.1, "eps": 1e-5, "betas": [0.5, 0.6]}],
    ["RMSProp", {}],
    ["RMSProp", {"alpha": 0.9, "eps": 1e-4, "weight_decay": 0.1}],
    ["RMSProp", {"momentum": 0.9, "centered": True}],
    ["Adagrad", {}],
    ["Adagrad", {"lr": 0.1, "lr_decay": 0.1, "initial_accumulator_value": 0.5, "weight_decay": 0.1, "eps": 1e-4}],
]
THEIRS = {"RMSProp": "RMSprop"}  # where PyTorch's name differs from ours


def optax_steps() -> dict:
    import jax
    import optax

    jax.config.update("jax_enable_x64", True)

    def walk(transform, gradients: list) -> np.ndarray:
        p = jax.numpy.zeros(1)
        state, steps = transform.init(p), []
        for g in gradients:
            update, state = transform.update(jax.numpy.full(1, g), state, p)
            steps.append(-float(update[0]))
        return np.array(steps)

    return {
        "optax": optax.__version__,
        "optax_outside": walk(optax.adam(1.0), [1e-7]),
        "optax_inside": walk(optax.adam(1.0, eps_root=1e-8), [1e-7]),
        "optax_amsgrad": walk(optax.amsgrad(1.0), [1e-7, 5e-8]),
    }


def main() -> None:
    import torch

    rng = np.random.default_rng(0)
    start = rng.standard_normal(SIZE)
    gradients = rng.standard_normal((STEPS, SIZE)) * np.logspace(-6, 2, SIZE)
    stored = {"start": start, "gradients": gradients, "cases": json.dumps(CASES), "torch": torch.__version__}
    for i, (kind, options) in enumerate(CASES):
        p = torch.tensor(start, requires_grad=True)
        optimizer, path = getattr(torch.optim, THEIRS.get(kind, kind))([p], **options), []
        for g in gradients:
            p.grad = torch.tensor(g)
            optimizer.step()
            path.append(p.detach().numpy().copy())
        stored[f"path{i}"] = np.array(path)
    p = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    optimizer, steps = torch.optim.Adam([p], lr=1.0, amsgrad=True), []
    for g in (1e-7, 5e-8):
        before, p.grad = p.item(), torch.full_like(p, g)
        optimizer.step()
        steps.append(before - p.item())
    stored["torch_amsgrad"] = np.array(steps)
    np.savez_compressed(Path(__file__).with_name("adam.npz"), **stored, **optax_steps())


if __name__ == "__main__":
    main()
