"""Freezes trajectories of torch.optim.SGD (PyTorch 2.13.0): python tests/reference/make_sgd.py"""

import json
from pathlib import Path

import numpy as np

OPTIONS = [
    {"lr": 0.1},
    {"lr": 0.1, "momentum": 0.9},
    {"lr": 0.1, "momentum": 0.9, "nesterov": True},
    {"lr": 0.1, "momentum": 0.9, "dampening": 0.3},
    {"lr": 0.1, "weight_decay": 0.2},
    {"lr": 0.1, "momentum": 0.5, "weight_decay": 0.2},
    {"lr": 0.1, "momentum": 0.5, "weight_decay": 0.2, "nesterov": True},
    {"lr": 0.1, "momentum": 0.5, "weight_decay": 0.2, "dampening": 0.9},
]


def main() -> None:
    import torch

    rng = np.random.default_rng(0)
    start, gradients = rng.standard_normal(6), rng.standard_normal((12, 6))
    stored = {"start": start, "gradients": gradients, "options": json.dumps(OPTIONS), "torch": torch.__version__}
    for i, options in enumerate(OPTIONS):
        w = torch.tensor(start, requires_grad=True)
        optimizer, path = torch.optim.SGD([w], **options), []
        for g in gradients:
            w.grad = torch.tensor(g)
            optimizer.step()
            path.append(w.detach().numpy().copy())
        stored[f"path{i}"] = np.array(path)
    np.savez_compressed(Path(__file__).with_name("sgd.npz"), **stored)


if __name__ == "__main__":
    main()
