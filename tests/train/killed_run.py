"""A small training run that saves after every step: `python killed_run.py CHECKPOINT` starts it, or goes on with it.

One generator makes the weights, the batches and the dropout masks, as in many a script.
"""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from odyssey import Tensor, nn
from odyssey.data import DataLoader
from odyssey.nn.functional import cross_entropy
from odyssey.optim import Adam, GradScaler, OneCycleLR
from odyssey.train.training.checkpoint import load_checkpoint, save_checkpoint

STEPS = 80


def build(seed=0):
    """A model with dropout and all that trains it."""
    rng = np.random.default_rng(seed)
    layers = nn.Linear(4, 8, rng=rng), nn.BatchNorm(8), nn.ReLU(), nn.Dropout(0.3, rng=rng), nn.Linear(8, 3, rng=rng)
    model = nn.Sequential(*layers)
    optimizer = Adam(model.parameters(), state_dtype=np.float16)
    data = np.random.default_rng(1)
    X, y = data.normal(size=(22, 4)).astype(np.float32), data.integers(0, 3, 22)
    return dict(
        model=model,
        optimizer=optimizer,
        scheduler=OneCycleLR(optimizer, max_lr=0.05, total_steps=STEPS),
        # The scale grows fast, and from the start of the run to its end overflows again and again.
        scaler=GradScaler(init_scale=2.0**120, growth_interval=2),
        loader=DataLoader(X, y, batch_size=5, rng=rng),
    )


def train(parts, step=0, until=STEPS, after_step=lambda step: None):
    """Steps number `step` + 1 to `until`; the losses."""
    run, losses = SimpleNamespace(**parts), []
    while step < until:
        for X, y in run.loader:
            run.optimizer.zero_grad()
            loss = cross_entropy(run.model(Tensor(X)), y)
            with np.errstate(over="ignore", invalid="ignore"):
                run.scaler.scale(loss).backward()
            run.scaler.step(run.optimizer)
            run.scaler.update()
            run.scheduler.step()
            losses.append(loss.item())
            step += 1
            after_step(step)
            if step == until:
                break
    return losses


def everything(parts):
    """All that the run consists of, in a form that == compares bit by bit."""

    def bits(value):
        if isinstance(value, dict):
            return {key: bits(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [bits(item) for item in value]
        return (value.dtype.name, value.shape, value.tobytes()) if isinstance(value, np.ndarray) else repr(value)

    states = {name: bits(part.state_dict()) for name, part in parts.items()}
    rngs = [bits(m.rng.bit_generator.state) for m in parts["model"].modules() if hasattr(m, "rng")]
    return {**states, "rngs": rngs}


def go(path, seed=0):
    """Begin the run, or resume it if there is a checkpoint, and take it to its end."""
    parts, step = build(seed), 0
    if Path(path).exists():
        step = load_checkpoint(path, **parts)["step"]
    losses = train(parts, step, after_step=lambda step: save_checkpoint(path, **parts, step=step))
    return step, losses, everything(parts)


if __name__ == "__main__":
    go(sys.argv[1])
