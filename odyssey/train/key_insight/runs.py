"""One run of the grid, from its generator to the number of images it reads correctly."""

from __future__ import annotations

from time import process_time
from typing import NamedTuple

import numpy as np

from ...autograd import Tensor, no_grad
from ...autograd.tape.entry import Array
from ...data import DataLoader
from ...nn import Module
from ...nn.functional import cross_entropy
from ..training import History, fit
from .architectures import ARCHITECTURES
from .grid import BATCH, BUDGETS, OPTIMIZERS, SCHEDULES, Run

Digits = dict[str, tuple[Array, Array]]


class Outcome(NamedTuple):
    """What a run gave: correct images of each part, losses in nats, seconds of the processor."""

    validation: int
    validation_loss: float
    test: int | None  # None in the search, which must not look at the test set
    train_loss: float  # mean of the last epoch's batches
    diverged: bool  # ended early, by a loss or a gradient that was not finite
    curve: list[int]  # correct validation images after each epoch; empty in the search
    seconds: float


def score(model: Module, images: Array, labels: Array) -> tuple[int, float]:
    """How many of `images` the model reads correctly, and its mean loss on them."""
    with no_grad():
        logits = model(Tensor(images))
        loss = float(cross_entropy(logits, labels).item())
    return int((logits.numpy().argmax(axis=1) == labels).sum()), loss


def train(run: Run, digits: Digits) -> Outcome:
    """Train as `run` says; the test set is read in the final phase only, once, at the end.

    A run whose loss is no longer finite ends there, and counts with the weights that it has.
    """
    rng, start = run.rng(), process_time()
    model = ARCHITECTURES[run.architecture](rng)
    loader = DataLoader(*digits["train"], batch_size=BATCH, rng=rng, drop_last=True)
    optimizer = OPTIMIZERS[run.optimizer](model.parameters(), run.rate)
    steps = BUDGETS[run.budget] * len(loader)
    scheduler = SCHEDULES[run.schedule](optimizer, run.rate, steps)
    final, diverged, history = run.phase == "final", False, History()
    validate = (lambda _: score(model, *digits["validation"])[0]) if final else None
    # Rates that are far too large overflow before the loss is infinite: that is no error here.
    with np.errstate(all="ignore"):
        try:
            fit(model, cross_entropy, loader, optimizer, epochs=BUDGETS[run.budget],
                scheduler=scheduler, validate=validate, progress=False,
                history=history)  # fmt: skip
        except FloatingPointError:
            diverged = True
        correct, loss = score(model, *digits["validation"])
        test = score(model, *digits["test"])[0] if final else None
    curve = [int(n) for n in history.validation.get("validation", [])]
    tail = history.loss[-len(loader) :]
    train_loss = sum(tail) / len(tail) if tail else float("nan")
    seconds = process_time() - start
    return Outcome(correct, loss, test, train_loss, diverged, curve, seconds)
