"""Write optim_rates.npz: rates and momenta of PyTorch 2.13 schedulers at every step, and runs of its GradScaler.

    python tests/reference/make_optim_rates.py      in an environment with PyTorch

Readers need no PyTorch: the tests only load the file, and take `FUNCTIONS` and `gradients` from here.
"""

import json
import math
from pathlib import Path

import numpy as np

STEPS = 48


def inverse_root(t: int) -> float:
    return 1 / math.sqrt(1 + t)


def triangle(t: int) -> float:
    return 1 - abs(t % 12 - 6) / 6


def warm(t: int) -> float:
    return min(1.0, (t + 1) / 10) * 0.97**t


FUNCTIONS = {"inverse_root": inverse_root, "triangle": triangle, "warm": warm}


def configurations() -> list[dict]:
    """What to build, by the names of odyssey: kind, options, optimizer, two rates; only what JSON can hold."""
    rng = np.random.default_rng(20)
    found = []

    def number(low, high):
        return round(float(rng.uniform(low, high)), 4)

    def whole(low, high):
        return int(rng.integers(low, high))

    def add(kind, optimizer="SGD", **options):
        lrs = [round(float(10 ** rng.uniform(-3, -0.3)), 5) for _ in range(2)]
        found.append({"kind": kind, "options": options, "lrs": lrs, "optimizer": optimizer})

    def cosine():
        return ["CosineAnnealingLR", {"T_max": whole(8, 20), "eta_min": number(0, 5e-4)}]

    def warm_up(n):
        return ["LinearWarmup", {"warmup_steps": n, "start_factor": number(0.01, 0.9)}]

    for _ in range(2):
        add("StepLR", step_size=whole(1, 12), gamma=number(0.1, 1.05))
        add("ExponentialLR", gamma=number(0.8, 1.03))
        add("LinearWarmup", warmup_steps=whole(1, 40), start_factor=number(0.001, 1))
        add("CosineAnnealingLR", T_max=whole(5, 20), eta_min=number(0, 5e-4))
    add("CosineAnnealingLR", T_max=60)
    milestones = [whole(1, STEPS) for _ in range(4)]
    add("MultiStepLR", milestones=milestones, gamma=number(0.2, 0.9))
    add("MultiStepLR", milestones=[*milestones, milestones[2], milestones[2]], gamma=number(0.2, 0.9))
    add("LambdaLR", lr_lambda=["inverse_root", "triangle"])
    add("LambdaLR", optimizer="Adam", lr_lambda=["warm", "inverse_root"])
    for i in range(8):
        options = {
            "max_lr": [number(0.01, 1), number(0.01, 1)] if i % 4 else number(0.01, 1),
            "total_steps": STEPS - i,
            "pct_start": number(0.1, 0.48),
            "anneal_strategy": "cos" if i % 2 else "linear",
            "three_phase": i in (2, 3, 6, 7),
            "div_factor": number(2, 40),
            "final_div_factor": number(2, 2e4),
        }
        if i < 6:
            options |= {"base_momentum": [0.8, number(0.5, 0.9)], "max_momentum": [0.93, number(0.9, 0.99)]}
        add("OneCycleLR", optimizer="SGD" if i < 3 else "Adam", cycle_momentum=i != 5, **options)
    for _ in range(2):
        n = whole(3, 15)
        add("SequentialLR", schedulers=[warm_up(n), cosine()], milestones=[n])
    n, m = whole(3, 12), whole(13, 40)
    add("SequentialLR", schedulers=[warm_up(n), ["StepLR", {"step_size": 4, "gamma": 0.7}],
                                    ["ExponentialLR", {"gamma": 0.9}]], milestones=[n, m])  # fmt: skip
    add("SequentialLR", schedulers=[["LambdaLR", {"lr_lambda": ["inverse_root", "warm"]}], cosine(),
                                    ["MultiStepLR", {"milestones": [2, 2, 5], "gamma": 0.5}]],
        milestones=[m - 10, m])  # fmt: skip
    flat = ["CosineAnnealingLR", {"T_max": 60}]  # chained, PyTorch's is a factor only for eta_min=0 and before T_max
    for parts in (
        [warm_up(7), flat],
        [["ExponentialLR", {"gamma": 0.95}], ["MultiStepLR", {"milestones": [9, 9, 30], "gamma": 0.5}]],
        [["StepLR", {"step_size": 5, "gamma": 0.8}], warm_up(20)],
    ):
        add("Chained", schedulers=parts)
    for i in range(12):
        mode, threshold_mode = ("min", "max")[i % 2], ("rel", "abs")[i // 2 % 2]
        options = {"patience": whole(0, 5), "factor": number(0, 0.9), "threshold": number(0, 0.1)}
        if i >= 4:
            options |= {"cooldown": whole(0, 5), "min_lr": [number(0, 2e-3), number(0, 5e-4)], "eps": number(0, 4e-4)}
        add("ReduceOnPlateau", mode=mode, threshold_mode=threshold_mode, **options)
        series = np.exp(-np.arange(STEPS) / 8) + 0.1 * rng.normal(size=STEPS)
        if i >= 8:  # infinite at first, and now and then
            series[rng.random(STEPS) < 0.1] = np.inf
            series[0] = np.inf
        found[-1]["metrics"] = [float(m if mode == "min" else 1 - m) for m in series.round(4)]
    return found


SCALERS = [
    {"growth_interval": 3},
    {"init_scale": 4.0, "growth_interval": 1, "growth_factor": 4.0},
    {"init_scale": 1024.0, "growth_interval": 5, "backoff_factor": 0.25},
    {"init_scale": 1000.0, "growth_interval": 4, "growth_factor": 1.7, "backoff_factor": 0.3},
    {"init_scale": 2.0**120, "growth_interval": 1, "growth_factor": 2.0},
    {"enabled": False},
]


def gradients(number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For run `number`: two starts, gradients (step, parameter, entry), and what is written into them (or 0)."""
    rng = np.random.default_rng(number)
    starts = rng.standard_normal((2, 3)).astype(np.float32)
    found = (1e-3 * rng.standard_normal((STEPS, 2, 3))).astype(np.float32)
    bad = np.zeros(found.shape, np.float32)
    for step in range(STEPS):
        if SCALERS[number].get("enabled", True) and rng.random() < 0.2:
            bad[step, rng.integers(2), rng.integers(3)] = (np.inf, -np.inf, np.nan)[rng.integers(3)]
    return starts, found, bad


def build(optimizer, kind: str, options: dict):
    from torch.optim import lr_scheduler as schedulers

    if kind == "SequentialLR":
        parts = [build(optimizer, *part) for part in options["schedulers"]]
        return schedulers.SequentialLR(optimizer, parts, milestones=options["milestones"])
    if kind == "LinearWarmup":
        options = {"start_factor": options["start_factor"], "total_iters": options["warmup_steps"]}
        return schedulers.LinearLR(optimizer, **options)
    if kind == "LambdaLR":
        options = {"lr_lambda": [FUNCTIONS[name] for name in options["lr_lambda"]]}
    return getattr(schedulers, "ReduceLROnPlateau" if kind == "ReduceOnPlateau" else kind)(optimizer, **options)


def rates_and_momenta(config: dict) -> tuple[np.ndarray, np.ndarray]:
    import torch

    options = config["options"]
    params = [torch.zeros(1, requires_grad=True) for _ in config["lrs"]]
    groups = [{"params": [p], "lr": lr} for p, lr in zip(params, config["lrs"], strict=True)]
    optimizer = torch.optim.Adam(groups) if config["optimizer"] == "Adam" else torch.optim.SGD(groups, momentum=0.9)
    parts = options["schedulers"] if config["kind"] == "Chained" else [[config["kind"], options]]
    made = [build(optimizer, *part) for part in parts]
    rates, momenta = [], []
    for step in range(options.get("total_steps", STEPS)):
        rates.append([float(g["lr"]) for g in optimizer.param_groups])
        momenta.append([g["betas"][0] if "betas" in g else g["momentum"] for g in optimizer.param_groups])
        optimizer.step()
        if step + 1 < options.get("total_steps", STEPS + 1):
            for scheduler in made:
                scheduler.step(*([config["metrics"][step]] if "metrics" in config else []))
    return np.array(rates), np.array(momenta)


def scaled_run(number: int) -> dict[str, np.ndarray]:
    import torch

    starts, steps, bad = gradients(number)
    params = [torch.tensor(start, requires_grad=True) for start in starts]
    optimizer = torch.optim.SGD(params, lr=0.5, momentum=0.9)
    scaler = torch.amp.GradScaler("cpu", **SCALERS[number])
    scaler.scale(torch.ones(1))  # it makes its scale at the first use
    scales, trackers, path = [], [], []
    for step, wrong in zip(steps, bad, strict=True):
        for p, g, w in zip(params, step, wrong, strict=True):
            p.grad = torch.tensor(g * np.float32(scaler.get_scale()))
            p.grad[torch.tensor(w != 0)] = torch.tensor(w[w != 0])
        scaler.step(optimizer)
        scaler.update()
        scales.append(scaler.get_scale())
        trackers.append(scaler._get_growth_tracker() if scaler.is_enabled() else 0)
        path.append([p.detach().numpy().copy() for p in params])
    return {"scales": np.array(scales), "trackers": np.array(trackers), "path": np.array(path)}


def main() -> None:
    found = configurations()
    stored = {"configurations": np.array(json.dumps(found))}
    for i, config in enumerate(found):
        stored[f"rates{i}"], stored[f"momenta{i}"] = rates_and_momenta(config)
    for i in range(len(SCALERS)):
        stored |= {f"scaler{i}_{name}": array for name, array in scaled_run(i).items()}
    np.savez_compressed(Path(__file__).with_name("optim_rates.npz"), **stored)


if __name__ == "__main__":
    main()
