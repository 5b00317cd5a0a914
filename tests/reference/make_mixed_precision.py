"""Freezes torch.amp.GradScaler("cpu") of PyTorch for the chapter mixed_precision:

    python tests/reference/make_mixed_precision.py

Each run is one parameter of five float32 numbers under SGD with momentum, 60 steps long. In a tenth of the steps one
scaled gradient is infinite or NaN. Stored are the options, the true gradients, the steps that overflow, and after every
step the scale, the counter and the parameter.
"""

import json
from pathlib import Path

import numpy as np

STEPS, SIZE = 60, 5
CASES = [
    {"growth_interval": 2000},
    {"growth_interval": 5},
    {"init_scale": 2.0**8, "growth_interval": 3},
    {"init_scale": 1000.0, "growth_factor": 1.5, "backoff_factor": 0.25, "growth_interval": 4},
    {"init_scale": 2.0**120, "growth_interval": 2},
    {"growth_interval": 1},
    {"enabled": False},
]


def main() -> None:
    import torch

    rng = np.random.default_rng(0)
    stored = {"cases": json.dumps(CASES), "torch": torch.__version__}
    for i, options in enumerate(CASES):
        gradients = rng.standard_normal((STEPS, SIZE)).astype(np.float32)
        overflows = rng.choice([0, 1, -1], (STEPS,), p=[0.9, 0.05, 0.05])  # 1: infinity, -1: NaN
        p = torch.ones(SIZE, requires_grad=True)
        optimizer = torch.optim.SGD([p], lr=0.1 * 2.0**20, momentum=0.9)
        scaler = torch.amp.GradScaler("cpu", **options)
        scales, trackers, path = [], [], []
        for g, overflow in zip(gradients, overflows, strict=True):
            loss = torch.sum(p * torch.tensor(g)) * 2.0**-20  # so that the largest scale leaves room
            optimizer.zero_grad()
            scaler.scale(loss).backward()
            if overflow and scaler.is_enabled():
                p.grad[2] = torch.inf if overflow > 0 else torch.nan
            scaler.step(optimizer)
            scaler.update()
            scales.append(scaler.get_scale())
            trackers.append(scaler._get_growth_tracker() if scaler.is_enabled() else 0)
            path.append(p.detach().numpy().copy())
        stored |= {
            f"gradients{i}": gradients,
            f"overflows{i}": overflows.astype(np.int8),
            f"scales{i}": np.array(scales),
            f"trackers{i}": np.array(trackers),
            f"path{i}": np.array(path),
        }
    np.savez_compressed(Path(__file__).with_name("mixed_precision.npz"), **stored)


if __name__ == "__main__":
    main()
