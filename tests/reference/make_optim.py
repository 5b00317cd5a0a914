"""Freezes trajectories of PyTorch's optimizers (2.13.0): python tests/reference/make_optim.py

Three tensors in two groups, with some gradients missing. The test draws the gradients again, from the seed.
"""

import json
from pathlib import Path

import numpy as np

SHAPES = [(), (3,), (4, 5)]
STEPS = 15
KINDS = {"Adagrad": "Adagrad", "RMSProp": "RMSprop", "Adam": "Adam"}  # our name, theirs
RANDOM = {
    "Adagrad": lambda rng: {
        "lr_decay": float(rng.choice([0, 0.1])),
        "initial_accumulator_value": float(rng.choice([0, 0.5])),
        "eps": float(10 ** rng.uniform(-10, -2)),
    },
    "RMSProp": lambda rng: {
        "alpha": float(rng.uniform(0.5, 0.999)),
        "momentum": float(rng.choice([0, 0.9])),
        "centered": bool(rng.random() < 0.5),
        "eps": float(10 ** rng.uniform(-8, -2)),
    },
    "Adam": lambda rng: {
        "betas": (float(rng.uniform(0, 0.99)), float(rng.uniform(0.5, 0.9999))),
        "eps": float(10 ** rng.uniform(-8, -2)),
        "amsgrad": bool(rng.random() < 0.5),
    },
}


def problem(seed: int) -> tuple[list[np.ndarray], list[list[np.ndarray | None]]]:
    """Starting points, and for each step the gradients, None where one is missing."""
    rng = np.random.default_rng(seed)
    starts = [np.array(rng.standard_normal(shape)) for shape in SHAPES]
    gradients = [
        [None if rng.random() < 0.2 else np.asarray(rng.standard_normal(s) * 10 ** rng.uniform(-3, 1)) for s in SHAPES]
        for _ in range(STEPS)
    ]
    return starts, gradients


def main() -> None:
    import torch  # only to freeze; the test draws the same problems without it

    rng, cases, stored = np.random.default_rng(0), [], {}
    for kind, theirs in KINDS.items():
        for _ in range(12):
            common = {"lr": float(10 ** rng.uniform(-4, -1)), "weight_decay": float(rng.choice([0, 0.01, 0.3]))}
            options = {**common, **RANDOM[kind](rng)}
            number = len(cases)
            starts, gradients = problem(number)
            params = [torch.tensor(start, requires_grad=True) for start in starts]
            groups = [{"params": params[:1]}, {"params": params[1:], "lr": 2 * options["lr"]}]
            optimizer, path = getattr(torch.optim, theirs)(groups, **options), []
            for step in gradients:
                for p, g in zip(params, step, strict=True):
                    p.grad = None if g is None else torch.tensor(g)
                optimizer.step()
                path.append(np.concatenate([p.detach().numpy().ravel() for p in params]))
            cases.append([kind, options])
            stored[f"path{number}"] = np.array(path)
    stored.update(cases=json.dumps(cases), torch=torch.__version__)
    np.savez_compressed(Path(__file__).with_name("optim.npz"), **stored)


if __name__ == "__main__":
    main()
