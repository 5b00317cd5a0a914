"""Freezes SGD to AdamW and Muon of PyTorch 2.13.0, and Lion, LAMB and LARS of Optax 0.2.8, in float64, for the tests.

    python tests/reference/make_optim_young.py      in an environment with PyTorch, JAX and Optax

Several tensors in two groups with different options, with some gradients missing and some zero. PyTorch's Muon
orthogonalises in bfloat16: `bfloat16()` is replaced by a copy, so that the formula is compared and not the rounding.
LARS of Optax puts weight decay into the norm of the gradient, so it is frozen without decay.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

CONFIGURATIONS, STEPS = 10, 9
SHAPES = [(), (3,), (4, 5), (2, 3, 2), (1, 7)]
MATRICES = [(4, 4), (6, 3), (3, 5), (1, 7), (5, 1)]
TORCH_NAMES = {"RMSProp": "RMSprop"}
FIRST = 2  # tensors in the first group


def problem(kind: str, seed: int) -> tuple[list[np.ndarray], list[list[np.ndarray | None]]]:
    """Starting points, and for each step the gradients, None where one is missing; sizes from 1e-5 to 1e+2."""
    rng = np.random.default_rng(seed)
    shapes = MATRICES if kind == "Muon" else SHAPES

    def draw(shape: tuple[int, ...], low: float, high: float) -> np.ndarray:
        zero = rng.random() < 0.1
        return np.asarray(rng.standard_normal(shape) * (0.0 if zero else 10 ** rng.uniform(low, high)))

    starts = [draw(shape, -2, 1) for shape in shapes]
    return starts, [[None if rng.random() < 0.15 else draw(s, -5, 2) for s in shapes] for _ in range(STEPS)]


def random_options(kind: str, rng: np.random.Generator) -> dict[str, Any]:
    betas = [float(rng.uniform(0, 0.99)), float(rng.uniform(0.5, 0.9999))]
    decay = float(rng.choice([0, 0.01, 0.5]))
    momentum, nesterov = float(rng.choice([0, 0.5, 0.95])), bool(rng.random() < 0.5)
    lr = float(10 ** rng.uniform(-4, -1))
    eps = float(10 ** rng.uniform(-8, -2))
    return {
        "AdamW": {"lr": lr, "betas": betas, "eps": eps, "weight_decay": decay, "amsgrad": nesterov},
        "Lion": {"lr": lr, "betas": betas, "weight_decay": decay},
        "LAMB": {"lr": lr, "betas": betas, "eps": eps, "weight_decay": decay},
        "LARS": {"lr": 30 * lr, "momentum": momentum, "nesterov": nesterov, "eps": eps,
                 "trust_coefficient": float(10 ** rng.uniform(-3, -1)), "exclude": bool(rng.random() < 0.3)},
        "Muon": {"lr": lr, "momentum": momentum, "nesterov": nesterov, "weight_decay": decay,
                 "ns_steps": int(rng.integers(1, 7))},
        "SGD": {"lr": lr, "momentum": momentum, "dampening": 0.0 if nesterov and momentum else betas[0],
                "weight_decay": decay, "nesterov": nesterov and momentum > 0},
        "Adagrad": {"lr": lr, "lr_decay": decay, "weight_decay": decay, "eps": eps,
                    "initial_accumulator_value": float(rng.choice([0, 0.1]))},
        "RMSProp": {"lr": lr, "alpha": betas[1], "eps": eps, "weight_decay": decay, "momentum": momentum,
                    "centered": nesterov},
        "Adam": {"lr": lr, "betas": betas, "eps": eps, "weight_decay": decay, "amsgrad": nesterov},
    }[kind]  # fmt: skip


def main() -> None:
    import jax
    import optax
    import torch

    jax.config.update("jax_enable_x64", True)
    torch.Tensor.bfloat16 = lambda self: self.clone()

    def of_torch(kind: str) -> Callable[[dict, np.ndarray], Callable[[np.ndarray], np.ndarray]]:
        def start(options: dict, x: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
            p = torch.tensor(x, requires_grad=True)
            optimizer = getattr(torch.optim, TORCH_NAMES.get(kind, kind))([p], **options)

            def step(g: np.ndarray) -> np.ndarray:
                p.grad = torch.tensor(g)
                optimizer.step()
                return p.detach().numpy().copy()

            return step

        return start

    def of_optax(kind: str) -> Callable[[dict, np.ndarray], Callable[[np.ndarray], np.ndarray]]:
        def start(options: dict, x: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
            options = dict(options)
            if "betas" in options:
                options["b1"], options["b2"] = options.pop("betas")
            if "exclude" in options:
                options["trust_ratio_mask"] = not options.pop("exclude")
            rule = getattr(optax, kind.lower())(options.pop("lr"), **options)
            p = jax.numpy.asarray(x)
            state = rule.init(p)

            def step(g: np.ndarray) -> np.ndarray:
                nonlocal p, state
                updates, state = rule.update(jax.numpy.asarray(g), state, p)
                p = optax.apply_updates(p, updates)
                return np.asarray(p)

            return step

        return start

    rng, cases, stored = np.random.default_rng(0), [], {}
    kinds = "AdamW LARS Lion LAMB Muon SGD Adagrad RMSProp Adam".split()
    makers = {k: of_optax(k) if k in ("LARS", "Lion", "LAMB") else of_torch(k) for k in kinds}
    for kind, make in makers.items():
        for _ in range(CONFIGURATIONS):
            groups = [random_options(kind, rng), random_options(kind, rng)]
            starts, gradients = problem(kind, len(cases))
            # an optimizer for each tensor: Optax has no gradient that is missing
            steps = [make(groups[i >= FIRST], x) for i, x in enumerate(starts)]
            now, path = list(starts), []
            for step in gradients:
                now = [x if g is None else f(g) for x, g, f in zip(now, step, steps, strict=True)]
                path.append(np.concatenate([x.ravel() for x in now]))
            stored[f"path{len(cases)}"] = np.array(path)
            cases.append([kind, groups])
    stored.update(cases=json.dumps(cases), torch=torch.__version__, optax=optax.__version__)
    np.savez_compressed(Path(__file__).with_name("optim_young.npz"), **stored)


if __name__ == "__main__":
    main()
