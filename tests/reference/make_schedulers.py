"""Write schedulers.npz: the rates of PyTorch 2.13 schedulers after every step, for 21 random configurations.

Beside them: four more with an optimizer or options that JSON alone does not describe (`others`: Adam, whose first
beta is cycled, and LambdaLR, given by a list of factors), and three pairs of schedulers on one optimizer (`pairs`).

    python tests/reference/make_schedulers.py      in an environment with PyTorch

Readers need no PyTorch: the chapter schedulers and its tests only load the file.
"""

import json
from pathlib import Path

import numpy as np

STEPS = 60


def configurations() -> list[dict]:
    """What to build, by the names of odyssey: kind, options, the rates of the groups; numbers only, as JSON."""
    rng = np.random.default_rng(0)
    found = []

    def add(kind, **options):
        groups = 1 + len(found) % 2
        lrs = [round(float(10 ** rng.uniform(-3, 0)), 4) for _ in range(groups)]
        found.append({"kind": kind, "options": options, "lrs": lrs})

    def share(low, high):
        return round(float(rng.uniform(low, high)), 3)

    for _ in range(2):
        add("StepLR", step_size=int(rng.integers(3, 20)), gamma=share(0.1, 0.9))
        add("MultiStepLR", milestones=sorted({int(m) for m in rng.integers(1, 50, 3)}), gamma=share(0.1, 0.9))
        add("ExponentialLR", gamma=share(0.8, 1.05))
        add("LinearWarmup", warmup_steps=int(rng.integers(3, 30)), start_factor=share(0.01, 1))
        add("CosineAnnealingLR", T_max=int(rng.integers(10, 60)), eta_min=share(0, 0.001))
    for strategy, three_phase in (("cos", False), ("linear", False), ("cos", True), ("linear", True)):
        add("OneCycleLR", max_lr=share(0.01, 1), total_steps=STEPS, pct_start=share(0.1, 0.45),
            anneal_strategy=strategy, three_phase=three_phase, div_factor=share(2, 30))  # fmt: skip
    for _ in range(3):
        first = int(rng.integers(3, 15))
        second = first + int(rng.integers(3, 25))
        parts = [
            ["LinearWarmup", {"warmup_steps": first, "start_factor": share(0.01, 0.9)}],
            ["CosineAnnealingLR", {"T_max": STEPS - first}],
            ["ExponentialLR", {"gamma": share(0.8, 1)}],
        ]
        add("SequentialLR", schedulers=parts, milestones=[first, second])
    for mode, threshold_mode in (("min", "rel"), ("min", "abs"), ("max", "rel"), ("max", "abs")):
        series = np.exp(-np.arange(STEPS) / 10) + 0.05 * rng.normal(size=STEPS)
        metrics = [round(float(m if mode == "min" else 1 - m), 4) for m in series]
        add("ReduceOnPlateau", mode=mode, threshold_mode=threshold_mode, factor=share(0.2, 0.8),
            patience=int(rng.integers(0, 6)), threshold=share(0, 0.05), cooldown=int(rng.integers(0, 5)),
            min_lr=1e-4)  # fmt: skip
        found[-1]["metrics"] = metrics
    return found


def others() -> list[dict]:
    """One cycle with Adam, whose first beta takes the part of momentum; and LambdaLR with a list of factors."""
    rng = np.random.default_rng(1)
    found: list[dict] = []
    for strategy, three_phase in (("cos", False), ("linear", True)):
        options = {"max_lr": round(float(rng.uniform(0.01, 1)), 3), "total_steps": STEPS, "pct_start": 0.4,
                   "anneal_strategy": strategy, "three_phase": three_phase}  # fmt: skip
        found.append({"optimizer": "Adam", "kind": "OneCycleLR", "options": options, "lrs": [0.1, 0.02]})
    for groups in (1, 2):
        factors = [[round(float(f), 4) for f in rng.uniform(0.01, 1, STEPS + 1)] for _ in range(groups)]
        lrs = [0.1, 0.02][:groups]
        found.append({"optimizer": "SGD", "kind": "LambdaLR", "options": {"factors": factors}, "lrs": lrs})
    return found


PAIRS = [
    [["ExponentialLR", {"gamma": 0.9}], ["StepLR", {"step_size": 2, "gamma": 0.5}]],
    [["CosineAnnealingLR", {"T_max": 20, "eta_min": 0.01}], ["StepLR", {"step_size": 5, "gamma": 0.5}]],
    [["ExponentialLR", {"gamma": 0.9}], ["LambdaLR", {"factors": [[1 / (1 + t) for t in range(21)]]}]],
]


def build(optimizer, kind: str, options: dict):
    from torch.optim import lr_scheduler as torch_schedulers

    if kind == "SequentialLR":
        parts = [build(optimizer, *part) for part in options["schedulers"]]
        return torch_schedulers.SequentialLR(optimizer, parts, milestones=options["milestones"])
    if kind == "LinearWarmup":
        options = {"start_factor": options["start_factor"], "total_iters": options["warmup_steps"]}
        return torch_schedulers.LinearLR(optimizer, **options)
    if kind == "LambdaLR":
        options = {"lr_lambda": [factors.__getitem__ for factors in options["factors"]]}
    name = "ReduceLROnPlateau" if kind == "ReduceOnPlateau" else kind
    return getattr(torch_schedulers, name)(optimizer, **options)


def replay(config: dict) -> np.ndarray:
    """(steps + 1, groups, rate and momentum) of one configuration."""
    import torch

    params = [torch.zeros(1, requires_grad=True) for _ in config["lrs"]]
    groups = [{"params": [p], "lr": lr} for p, lr in zip(params, config["lrs"], strict=True)]
    adam = config.get("optimizer") == "Adam"
    optimizer = torch.optim.Adam(groups) if adam else torch.optim.SGD(groups, momentum=0.9)
    scheduler = build(optimizer, config["kind"], config["options"])
    last = STEPS - 1 if config["kind"] == "OneCycleLR" else STEPS
    rows = []
    for t in range(last + 1):
        rows.append([[g["lr"], g["betas"][0] if adam else g["momentum"]] for g in optimizer.param_groups])
        if t < last:
            optimizer.step()
            scheduler.step(*([config["metrics"][t]] if "metrics" in config else []))
    return np.array(rows)


def replay_pair(pair: list) -> np.ndarray:
    """The rates of 20 steps where two schedulers are stepped one after the other, from 0.1."""
    import torch

    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    schedulers, rates = [build(optimizer, *part) for part in pair], []
    for _ in range(20):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
    return np.array(rates)


def main() -> None:
    found, more = configurations(), others()
    out = {f"rates_{i}": replay(config) for i, config in enumerate(found)}
    out |= {f"other_{i}": replay(config) for i, config in enumerate(more)}
    out |= {f"pair_{i}": replay_pair(pair) for i, pair in enumerate(PAIRS)}
    texts = {"configurations": json.dumps(found), "others": json.dumps(more), "pairs": json.dumps(PAIRS)}
    np.savez_compressed(Path(__file__).with_name("schedulers.npz"), **texts, **out)


if __name__ == "__main__":
    main()
